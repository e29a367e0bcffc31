//! Whole Keras models that are a chain of layers.

mod config;
mod conv;
mod dense;
mod embedding;
mod function;
mod norm;
mod pool;
mod rnn;
mod shape;
mod step;
mod value;

pub(crate) use rnn::recurrent_layers;

use crate::element::{Element, numbers, tensor};
use crate::error::{Error, Result};
use crate::keras::KerasModel;
use crate::recurrent::{Inputs, Outputs, Recurrent, Row};
use crate::tensor::Tensor;
use serde_json::Value as Json;
use std::path::Path;
use std::sync::Arc;
use step::{Context, Placed, place};
use value::Value;

/// A whole Keras model: a chain of layers from one input to one output, as Keras' `Sequential`.
///
/// ```no_run
/// use gatefold_models::{keras, numpy};
///
/// let model = keras::Model::<f32>::load("model.keras", gatefold::Options::default())?;
/// let x = numpy::read_npy("x.npy")?; // as for Keras' predict: [N, T, I], or [N, T] of integers into an Embedding
/// let y = model.predict(&x)?;
/// println!("{:?}", y.shape());
/// # Ok::<(), gatefold_models::Error>(())
/// ```
///
/// These classes of layers are computed, with the arguments of Keras 2 and 3:
///
/// | class | but for |
/// |---|---|
/// | `SimpleRNN`, `LSTM`, `GRU`, `CuDNNLSTM`, `CuDNNGRU` | `time_major=True` |
/// | `RNN` of a `SimpleRNNCell`, `LSTMCell` or `GRUCell`, of a list of them or of `StackedRNNCells` | |
/// | `Bidirectional` of these | a stack of cells, a forward layer with `go_backwards`, `merge_mode=None` |
/// | `Embedding`, `Masking`, `InputLayer` | |
/// | `Dense`, `TimeDistributed` of a layer that acts on the last axis | |
/// | `Activation`, `ReLU`, `LeakyReLU`, `ELU` | |
/// | `Conv1D`, `LayerNormalization`, `BatchNormalization` | channels first, groups, other axes than the last |
/// | `GlobalAveragePooling1D`, `GlobalMaxPooling1D` | channels first |
/// | `Flatten`, `Reshape`, `RepeatVector` | channels first |
/// | `Dropout`, `SpatialDropout1D`, `GaussianDropout`, `GaussianNoise`, `AlphaDropout`, `ActivityRegularization`, `Identity` | |
///
/// Everything else is refused by its place, name and class, and so is every argument that is not known, unless it is null.
/// Arguments without effect on `predict` are: `name`, `trainable`, initializers, regularizers, constraints, dropout rates,
/// noise shapes and seeds, `implementation`, `unroll`, `unit_forget_bias`, `use_cudnn`, momenta, input lengths and shapes.
/// Models of 16 bits, also mixed, are computed in T, more exactly than Keras does.
///
/// Masks go from layer to layer as in Keras: `Embedding` with `mask_zero` and `Masking` make one; recurrent layers and
/// averages heed it; recurrent layers that return sequences, and layers that work step by step, pass it on; `Conv1D`,
/// `Flatten`, `Reshape`, `RepeatVector` and `GlobalMaxPooling1D` ignore it and end it. Outputs before a row's first step that
/// counts are zeros, as on Keras' TensorFlow backend. Keras after 3.15 is about to end masks at recurrent layers: in
/// models of such versions, a layer that would heed a mask behind one is refused.
///
/// Layers that are `stateful` keep their state from one call to the next; clones of a model share it. See
/// [`reset_states`](Self::reset_states).
#[derive(Clone, Debug)]
pub struct Model<T> {
    layers: Vec<Arc<Placed<T>>>,
    recurrent: Vec<Arc<Recurrent<T>>>,
}

impl<T: Element> Model<T> {
    /// Reads a `.keras` or legacy `.h5` file of Keras 2 or 3.
    ///
    /// # Errors
    /// Those of [`read`](crate::keras::read); and for a layer of a class or with an argument that is not supported, by its
    /// place, name and class.
    pub fn load(path: impl AsRef<Path>, options: gatefold::Options) -> Result<Self> {
        let path = path.as_ref();
        Self::of(&crate::keras::read(path)?, options).map_err(|error| error.within(path.display()))
    }

    /// A model of what was read.
    ///
    /// # Errors
    /// For a layer of a class or with an argument that is not supported, by its place, name and class.
    pub fn of(model: &KerasModel, options: gatefold::Options) -> Result<Self> {
        if let Some(layer) = called_in_training(&model.config) {
            return Err(Error::unsupported(layer, "a layer that is called with training=True"));
        }
        let context = Context::new(&model.keras_version, options)?;
        let layers = model.layers.iter().enumerate().map(|(index, layer)| place(index, layer, &context).map(Arc::new));
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let recurrent = layers.iter().filter_map(|layer| layer.recurrent.clone()).collect();
        Ok(Model { layers, recurrent })
    }

    /// The model's output for `x`, whose first axis is the batch: Keras' `predict`, though a batch is not cut.
    ///
    /// # Errors
    /// If x does not fit the model; the error names the layer that it does not fit.
    pub fn predict(&self, x: &Tensor) -> Result<Tensor> {
        let mut value =
            Value::new(x.shape().to_vec(), numbers::<T>(x).map_err(|error| error.within("x"))?.into_owned());
        for layer in &self.layers {
            value = layer.step.run(value).map_err(|error| error.within(&layer.title))?;
        }
        tensor(value.shape, value.data)
    }

    /// The same; the outputs are y alone.
    ///
    /// # Errors
    /// As [`predict`](Self::predict), and for any other input than x.
    pub fn run<'a>(&self, inputs: impl Into<Inputs<'a>>) -> Result<Outputs> {
        let Inputs { x, h0, c0, lengths, mask } = inputs.into();
        for (name, other) in [("h0", h0), ("c0", c0), ("lengths", lengths), ("mask", mask)] {
            if other.is_some() {
                return Err(Error::unsupported(name, "an input of a whole model other than x"));
            }
        }
        Ok(Outputs { y: self.predict(x)?, hn: None, cn: None })
    }

    /// Sets the states of `stateful` layers to zeros, and lets the next batch be of another size.
    pub fn reset_states(&self) {
        self.layers.iter().for_each(|layer| layer.step.reset());
    }

    /// Its recurrent layers, which can be run alone.
    pub fn recurrent(&self) -> &[Arc<Recurrent<T>>] {
        &self.recurrent
    }

    /// A line for each layer; several for a recurrent one of several cells or directions.
    pub fn describe(&self) -> Vec<Row> {
        self.layers.iter().flat_map(|layer| layer.rows.clone()).collect()
    }
}

/// The name of a layer that a functional model calls with `training=True`, as if it were being trained.
fn called_in_training(config: &Json) -> Option<String> {
    fn holds(value: &Json) -> bool {
        match value {
            Json::Object(fields) => {
                fields.iter().any(|(key, value)| (key == "training" && *value == true) || holds(value))
            }
            Json::Array(values) => values.iter().any(holds),
            _ => false,
        }
    }
    let layers = config.get("config")?.get("layers")?.as_array()?;
    let trained = layers.iter().find(|layer| layer.get("inbound_nodes").is_some_and(holds))?;
    let name = trained.get("name").or_else(|| trained.get("config")?.get("name")).and_then(Json::as_str);
    Some(format!("layer {}", name.unwrap_or_default()))
}
