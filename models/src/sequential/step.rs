//! The layers of a model by their classes.

use super::config::Config;
use super::function::{self, Function};
use super::value::Value;
use super::{conv, dense, embedding, norm, pool, rnn, shape};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::keras::KerasLayer;
use crate::recurrent::{Recurrent, Row};
use crate::tensor::Tensor;
use gatefold::{Isa, Options};
use std::fmt::Debug;
use std::sync::Arc;

/// What a layer computes.
pub(super) trait Step<T>: Debug + Send + Sync {
    /// The output for `x`, with its mask.
    fn run(&self, x: Value<T>) -> Result<Value<T>>;

    /// Forgets what was kept from calls before.
    fn reset(&self) {}

    /// Multiplications and additions for one row and step.
    fn macs(&self) -> usize {
        0
    }
}

/// A layer in its place.
#[derive(Debug)]
pub(super) struct Placed<T> {
    /// Its place, name and class.
    pub(super) title: String,
    pub(super) step: Box<dyn Step<T>>,
    pub(super) rows: Vec<Row>,
    pub(super) recurrent: Option<Arc<Recurrent<T>>>,
}

/// What holds for all layers of a model.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// The first number of the version of Keras.
    pub(super) major: u64,
    /// Whether recurrent layers may end masks. They pass them on up to Keras 3.15; later sources do not.
    pub(super) may_end_masks: bool,
    pub(super) options: Options,
    pub(super) isa: Isa,
}

impl Context {
    pub(super) fn new(keras_version: &str, options: Options) -> Result<Self> {
        let mut numbers = keras_version.split(['.', '-']).map(|number| number.parse::<u64>().ok());
        let (major, minor) = (numbers.next().flatten(), numbers.next().flatten().unwrap_or(0));
        let major = major.filter(|major| (2..=3).contains(major));
        let major = major.ok_or_else(|| Error::unsupported("keras_version", format_args!("Keras {keras_version}")))?;
        let may_end_masks = (major, minor) > (3, 15);
        let isa = options.isa.map_or_else(Isa::chosen, Ok).map_err(gatefold::Error::from)?;
        Ok(Context { major, may_end_masks, options, isa })
    }
}

/// What a layer was made with: its class, arguments and weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) class: &'a str,
    pub(super) config: &'a serde_json::Value,
    pub(super) weights: &'a [(String, Tensor)],
}

pub(super) fn title(index: usize, layer: &KerasLayer) -> String {
    format!("layer {index}, {:?} of class {}", layer.name, layer.class)
}

/// Makes the layer number `index` of a model.
pub(super) fn place<T: Element>(index: usize, layer: &KerasLayer, context: &Context) -> Result<Placed<T>> {
    let title = title(index, layer);
    let source = Source { class: &layer.class, config: &layer.config, weights: &layer.weights };
    if rnn::is_recurrent(&layer.class) {
        let made = rnn::Step::new(&layer.name, source, context).map_err(|error| error.within(&title))?;
        let (rows, recurrent) = (made.recurrent.describe(), Some(made.recurrent.clone()));
        return Ok(Placed { title, step: Box::new(made), rows, recurrent });
    }
    let step = make::<T>(source, context).map_err(|error| error.within(&title))?;
    let parameters = layer.weights.iter().map(|(_, tensor)| tensor.len()).sum();
    let row = Row {
        name: layer.name.clone(),
        cell: layer.class.clone(),
        variant: String::new(),
        shapes: shapes(&layer.weights),
        parameters,
        macs: step.macs(),
        packed_bytes: parameters * size_of::<T>(),
    };
    Ok(Placed { title, step, rows: vec![row], recurrent: None })
}

fn shapes(weights: &[(String, Tensor)]) -> String {
    weights.first().map_or(String::new(), |(_, tensor)| format!("{:?}", tensor.shape()))
}

/// A layer that is not recurrent.
pub(super) fn make<T: Element>(source: Source<'_>, context: &Context) -> Result<Box<dyn Step<T>>> {
    let config = Config::new(source.config)?;
    let step: Box<dyn Step<T>> = match source.class {
        "Dense" => Box::new(dense::Dense::new(&config, source.weights, context)?),
        "TimeDistributed" => Box::new(time_distributed(&config, source, context)?),
        "Embedding" => Box::new(embedding::Embedding::new(&config, source.weights)?),
        "Masking" => Box::new(embedding::Masking::new(&config)?),
        "InputLayer" => Box::new(shape::InputLayer::new(&config)?),
        "Flatten" => Box::new(shape::Flatten::new(&config)?),
        "Reshape" => Box::new(shape::Reshape::new(&config)?),
        "RepeatVector" => Box::new(shape::RepeatVector::new(&config)?),
        "Conv1D" => Box::new(conv::Conv1d::new(&config, source.weights, context)?),
        "LayerNormalization" => Box::new(norm::LayerNormalization::new(&config, source.weights)?),
        "BatchNormalization" => Box::new(norm::BatchNormalization::new(&config, source.weights)?),
        "GlobalAveragePooling1D" => Box::new(pool::GlobalPooling::new(&config, pool::Kind::Average)?),
        "GlobalMaxPooling1D" => Box::new(pool::GlobalPooling::new(&config, pool::Kind::Max)?),
        "Dropout"
        | "SpatialDropout1D"
        | "GaussianDropout"
        | "GaussianNoise"
        | "AlphaDropout"
        | "ActivityRegularization"
        | "Identity" => Box::new(Identity),
        class => match function::layer(class, &config, context)? {
            Some(function) => Box::new(Applied { function, context: context.clone() }),
            None => return Err(Error::unsupported("", "a layer of this class")),
        },
    };
    let weightless = !["Dense", "TimeDistributed", "Embedding", "Conv1D", "LayerNormalization", "BatchNormalization"]
        .contains(&source.class);
    if let Some((path, _)) = source.weights.first().filter(|_| weightless) {
        return Err(Error::unsupported("weights", format_args!("{path:?} of a layer that has none")));
    }
    if source.class == "InputLayer" { Ok(step) } else { config.finish().map(|()| step) }
}

/// The weights of a layer that has so many.
pub(super) fn arrays<'a, const N: usize>(weights: &'a [(String, Tensor)], names: [&str; N]) -> Result<[&'a Tensor; N]> {
    let found: Vec<&Tensor> = weights.iter().map(|(_, tensor)| tensor).collect();
    let count = found.len();
    found
        .try_into()
        .map_err(|_| Error::malformed("weights", format_args!("{}", names.join(", ")), format_args!("{count} arrays")))
}

/// The values of an array of `shape`.
pub(super) fn values<T: Element>(name: &str, tensor: &Tensor, shape: &[usize]) -> Result<Vec<T>> {
    if tensor.shape() != shape {
        let place = format!("{name}: shape");
        return Err(Error::malformed(place, format_args!("{shape:?}"), format_args!("{:?}", tensor.shape())));
    }
    T::values(tensor).map(|values| values.into_owned()).map_err(|error| error.within(name))
}

/// A layer for each step: of one that acts on the last axis alone, the layer itself, which has to have a time axis.
fn time_distributed<T: Element>(config: &Config<'_>, source: Source<'_>, context: &Context) -> Result<EachStep<T>> {
    let inner = config.required("layer")?;
    let class = inner.get("class_name").and_then(|class| class.as_str()).unwrap_or_default();
    let by_step = [
        "Dense",
        "Activation",
        "ReLU",
        "LeakyReLU",
        "ELU",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "LayerNormalization",
    ];
    if !by_step.contains(&class) {
        return Err(Error::unsupported("", format_args!("a {class} layer for each step")));
    }
    let config = inner.get("config").ok_or_else(|| Error::missing("layer", "config"))?;
    let inner = make(Source { class, config, weights: source.weights }, context)
        .map_err(|error| error.within(format_args!("its {class}")))?;
    Ok(EachStep { inner })
}

/// Keras' `TimeDistributed`.
#[derive(Debug)]
struct EachStep<T> {
    inner: Box<dyn Step<T>>,
}

impl<T: Element> Step<T> for EachStep<T> {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        if x.shape.len() < 3 {
            return Err(x.wrong("[N, T, ...]"));
        }
        self.inner.run(x)
    }

    fn macs(&self) -> usize {
        self.inner.macs()
    }
}

/// Dropout and the like.
#[derive(Debug)]
struct Identity;

impl<T: Element> Step<T> for Identity {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        Ok(x)
    }
}

/// Keras' `Activation`, and the layers that are one.
#[derive(Debug)]
struct Applied {
    function: Function,
    context: Context,
}

impl<T: Element> Step<T> for Applied {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        let last = x.shape.last().copied().unwrap_or(1);
        Ok(Value { data: self.function.apply(x.data, last, &self.context)?, shape: x.shape, mask: x.mask })
    }
}
