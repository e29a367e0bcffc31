//! Keras' recurrent layers.

use super::config::Config;
use super::function::of_gates;
use super::step::{self, Context, Source as Made, title};
use super::value::{Mask, Value};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::keras::KerasModel;
use crate::recurrent::{Inputs, Packed, Recurrent, Source};
use crate::tensor::{Data, Tensor};
use gatefold::cell::{Activation, Reset};
use gatefold::weights::keras::{self, Arrays};
use gatefold::{Level, Merge, Options, Order, StackState, Weights};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

/// The classes whose layers are recurrent.
pub(super) fn is_recurrent(class: &str) -> bool {
    ["SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU", "RNN", "Bidirectional"].contains(&class)
}

/// The recurrent layers of `model` that can be run alone, and why others cannot.
pub(crate) fn recurrent_layers<T: Element>(model: &KerasModel, options: Options) -> Vec<Result<Recurrent<T>>> {
    let context = match Context::new(&model.keras_version, options) {
        Ok(context) => context,
        Err(error) => return vec![Err(error)],
    };
    let recurrent = model.layers.iter().enumerate().filter(|(_, layer)| is_recurrent(&layer.class));
    let build = |(index, layer): (usize, &crate::keras::KerasLayer)| {
        let source = Made { class: &layer.class, config: &layer.config, weights: &layer.weights };
        let made = Step::new(&layer.name, source, &context).map_err(|error| error.within(title(index, layer)));
        made.map(|step| (*step.recurrent).clone())
    };
    recurrent.map(build).collect()
}

/// A recurrent layer of a model.
#[derive(Debug)]
pub(super) struct Step<T> {
    pub(super) recurrent: Arc<Recurrent<T>>,
    /// Of a stateful layer, the state after the last call.
    state: Option<Mutex<Option<StackState<T>>>>,
    return_sequences: bool,
    /// CuDNN's layers refuse a mask.
    takes_mask: bool,
    /// Whether it is not known that this version passes masks on.
    may_end_masks: bool,
}

/// What the options of an `RNN` layer say.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Walk {
    return_sequences: bool,
    zero_output_for_mask: bool,
    go_backwards: bool,
    stateful: bool,
}

/// A layer in one direction: its cells from the bottom to the top.
struct Layer<T> {
    cells: Vec<Packed<T>>,
    walk: Walk,
    takes_mask: bool,
}

impl<T: Element> Step<T> {
    pub(super) fn new(name: &str, source: Made<'_>, context: &Context) -> Result<Self> {
        let (levels, parts, walk, takes_mask) = match source.class {
            "Bidirectional" => bidirectional(source, context)?,
            _ => {
                let Layer { cells, walk, takes_mask } = layer(source, context)?;
                let count = cells.len();
                let (mut levels, mut parts) = (Vec::new(), Vec::new());
                for Packed { layer, part } in cells {
                    // Outputs of lower cells stay beside the inputs that the upper ones see them with.
                    let top = levels.len() + 1 == count;
                    let order = if top { Order::Processing } else { Order::Input };
                    levels.push(if walk.go_backwards { Level::reverse(layer, order) } else { layer.into() });
                    parts.push(part);
                }
                (levels, parts, walk, takes_mask)
            }
        };
        let Walk { return_sequences, zero_output_for_mask, stateful, .. } = walk;
        let shapes = Source::Keras { return_sequences, zero_output_for_mask };
        let recurrent = Arc::new(Recurrent::new(name, shapes, levels, parts)?);
        Ok(Step {
            recurrent,
            state: stateful.then(Mutex::default),
            return_sequences,
            takes_mask,
            may_end_masks: context.may_end_masks,
        })
    }
}

impl<T: Element> step::Step<T> for Step<T> {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        let [batch, time, _] = x.sequence()?;
        if x.mask.is_some() && !self.takes_mask {
            return Err(Error::unsupported("mask", "a mask for a layer of CuDNN"));
        }
        let mask = x.heeded()?.map(|steps| Tensor::new(vec![batch, time], Data::Bool(steps.to_vec()))).transpose()?;
        let tensor = Tensor::new(x.shape, T::data(x.data))?;
        let inputs = Inputs { mask: mask.as_ref(), ..Inputs::from(&tensor) };
        let y = match &self.state {
            None => self.recurrent.run(inputs)?.y,
            Some(kept) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let mut state = match &*kept {
                    Some(state) => state.clone(),
                    None => self.recurrent.zeros(&tensor)?,
                };
                let rows = state.states().first().map_or(0, gatefold::State::batch);
                if rows != batch {
                    return Err(Error::malformed(
                        "batch",
                        format_args!("{rows} rows, as before, for a stateful layer"),
                        batch,
                    ));
                }
                let y = self.recurrent.run_from(&inputs, &mut state, usize::MAX, |_| {})?.y;
                *kept = Some(state);
                y
            }
        };
        let mask = x.mask.filter(|_| self.return_sequences);
        let mask = mask.map(|mask| Mask { doubtful: self.may_end_masks, ..mask });
        Ok(Value { shape: y.shape().to_vec(), data: T::values(&y)?.into_owned(), mask })
    }

    fn reset(&self) {
        if let Some(kept) = &self.state {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

type Levels<T> = (Vec<Level<T>>, Vec<crate::recurrent::Part>, Walk, bool);

fn bidirectional<T: Element>(source: Made<'_>, context: &Context) -> Result<Levels<T>> {
    let config = Config::new(source.config)?;
    let merge = match source.config.get("merge_mode") {
        None => Merge::Concat,
        Some(Json::Null) => return Err(Error::unsupported("config", "merge_mode = null, which gives two outputs,")),
        Some(_) => match config.text("merge_mode", "concat")? {
            "concat" => Merge::Concat,
            "sum" => Merge::Sum,
            "mul" => Merge::Mul,
            "ave" => Merge::Average,
            other => return Err(Error::unsupported("config", format_args!("merge_mode = {other:?}"))),
        },
    };
    let (inner, backward) = (config.required("layer")?, config.get("backward_layer"));
    config.finish()?;
    let half = source.weights.len() / 2;
    let (forward, backward) = match backward {
        None if source.weights.len() % 2 == 1 => {
            let found = format_args!("{} arrays", source.weights.len());
            return Err(Error::malformed("weights", "as many of both directions", found));
        }
        None => {
            (half_layer(inner, &source.weights[..half], context)?, half_layer(inner, &source.weights[half..], context)?)
        }
        Some(backward) => {
            let first = count(inner)?.min(source.weights.len());
            let (own, others) = source.weights.split_at(first);
            let (forward, backward) = (half_layer(inner, own, context)?, half_layer::<T>(backward, others, context)?);
            let turned = Walk { go_backwards: false, ..backward.walk };
            let same = Walk { zero_output_for_mask: forward.walk.zero_output_for_mask, ..turned } == forward.walk;
            if !backward.walk.go_backwards || !same {
                return Err(Error::unsupported("backward_layer", "one that does not mirror the forward layer"));
            }
            (forward, backward)
        }
    };
    if forward.walk.go_backwards {
        return Err(Error::unsupported("layer", "go_backwards of a forward layer"));
    }
    let walk = Walk { zero_output_for_mask: forward.walk.return_sequences, ..forward.walk };
    let takes_mask = forward.takes_mask && backward.takes_mask;
    let [Some(mut forward), Some(mut backward)] = [forward, backward].map(one_cell) else {
        return Err(Error::unsupported("layer", "stacked cells in both directions"));
    };
    (forward.part.label, backward.part.label) = ("forward".to_owned(), "backward".to_owned());
    let level = Level::bidirectional(forward.layer, backward.layer, merge)?;
    Ok((vec![level], vec![forward.part, backward.part], walk, takes_mask))
}

fn one_cell<T>(layer: Layer<T>) -> Option<Packed<T>> {
    let mut cells = layer.cells.into_iter();
    cells.next().filter(|_| cells.next().is_none())
}

/// The class and the arguments of a layer or a cell inside of another.
fn made(of: &Json) -> Result<(&str, &Json)> {
    let class = of.get("class_name").and_then(Json::as_str).ok_or_else(|| Error::missing("layer", "class_name"))?;
    Ok((class, of.get("config").ok_or_else(|| Error::missing("layer", "config"))?))
}

/// One of the directions of a `Bidirectional`.
fn half_layer<T: Element>(of: &Json, weights: &[(String, Tensor)], context: &Context) -> Result<Layer<T>> {
    let (class, config) = made(of)?;
    if !is_recurrent(class) || class == "Bidirectional" {
        return Err(Error::unsupported("", format_args!("a {class} layer in both directions")));
    }
    layer(Made { class, config, weights }, context).map_err(|error| error.within(format_args!("its {class}")))
}

/// How many arrays a layer of one cell has.
fn count(of: &Json) -> Result<usize> {
    let (_, config) = made(of)?;
    let bias = config.get("use_bias").or_else(|| config.get("cell")?.get("config")?.get("use_bias"));
    Ok(if bias == Some(&Json::Bool(false)) { 2 } else { 3 })
}

/// A layer of the classes `SimpleRNN`, `LSTM`, `GRU`, `RNN` and CuDNN's.
fn layer<T: Element>(source: Made<'_>, context: &Context) -> Result<Layer<T>> {
    let config = Config::new(source.config)?;
    config.only("time_major", "false")?;
    // A chain of layers takes the first output alone, whatever others are given.
    config.boolean("return_state", false)?;
    let walk = Walk {
        return_sequences: config.boolean("return_sequences", false)?,
        zero_output_for_mask: config.boolean("zero_output_for_mask", false)?,
        go_backwards: config.boolean("go_backwards", false)?,
        stateful: config.boolean("stateful", false)?,
    };
    let cells = match source.class {
        "RNN" => cells(&config, source.weights, context)?,
        class => vec![cell(class, &config, source.weights, "", context)?],
    };
    config.finish()?;
    Ok(Layer { cells, walk, takes_mask: !source.class.starts_with("CuDNN") })
}

/// The cells of an `RNN`.
fn cells<T: Element>(config: &Config<'_>, weights: &[(String, Tensor)], context: &Context) -> Result<Vec<Packed<T>>> {
    let (class, inner) = made(config.required("cell")?)?;
    if class != "StackedRNNCells" {
        return Ok(vec![one_of(class, inner, weights, "", context)?]);
    }
    let stack = Config::new(inner)?;
    let listed =
        stack.required("cells")?.as_array().ok_or_else(|| Error::malformed("cells", "a list", "another value"))?;
    stack.only("reverse_state_order", "false")?;
    stack.finish()?;
    let (mut packed, mut rest) = (Vec::new(), weights);
    for (index, listed) in listed.iter().enumerate() {
        let (class, inner) = made(listed)?;
        let (own, others) = rest.split_at(count(listed)?.min(rest.len()));
        let label = format!("cell {index}");
        packed.push(one_of(class, inner, own, &label, context).map_err(|error| error.within(&label))?);
        rest = others;
    }
    match rest.first() {
        None => Ok(packed),
        Some((path, _)) => Err(Error::unsupported("weights", format_args!("{path:?}, which no cell has,"))),
    }
}

fn one_of<T: Element>(
    class: &str,
    config: &Json,
    weights: &[(String, Tensor)],
    label: &str,
    context: &Context,
) -> Result<Packed<T>> {
    let plain = match class {
        "SimpleRNNCell" => "SimpleRNN",
        "LSTMCell" => "LSTM",
        "GRUCell" => "GRU",
        _ => return Err(Error::unsupported("cell", format_args!("a cell of class {class}"))),
    };
    let config = Config::new(config)?;
    let packed = cell(plain, &config, weights, label, context)?;
    config.finish()?;
    Ok(packed)
}

/// The cell of a layer of `class`.
fn cell<T: Element>(
    class: &str,
    config: &Config<'_>,
    weights: &[(String, Tensor)],
    label: &str,
    context: &Context,
) -> Result<Packed<T>> {
    let units = config.size("units")?;
    let cudnn = class.starts_with("CuDNN");
    let biased = cudnn || config.boolean("use_bias", true)?;
    let (kernel, recurrent, bias) = match biased {
        true => step::arrays(weights, ["kernel", "recurrent_kernel", "bias"]).map(|[k, r, b]| (k, r, Some(b)))?,
        false => step::arrays(weights, ["kernel", "recurrent_kernel"]).map(|[k, r]| (k, r, None))?,
    };
    let input = match *kernel.shape() {
        [input, _] => input,
        _ => return Err(Error::malformed("kernel: shape", "[I, G*H]", format_args!("{:?}", kernel.shape()))),
    };
    let values = |name: &str, tensor| T::values(tensor).map_err(|error: Error| error.within(name));
    let kernel = values("kernel", kernel)?;
    let recurrent = values("recurrent_kernel", recurrent)?;
    let bias_shape = bias.map(Tensor::shape);
    let bias = bias.map(|bias| values("bias", bias)).transpose()?;
    let arrays = Arrays { kernel: &kernel, recurrent_kernel: &recurrent, bias: bias.as_deref() };
    let gate_activations = |weights: Weights<T>| {
        let (gates, other) =
            (of_gates(config, "recurrent_activation", context)?, of_gates(config, "activation", context)?);
        let activations = [gates, other, other];
        let count = if weights.cell().has_cell_state() { 3 } else { 2 };
        Ok::<_, Error>(weights.with_activations(&activations[..count])?)
    };
    let weights = match class {
        "SimpleRNN" => keras::simple_rnn(input, units, Activation::Tanh, arrays)?.with_activations(&[of_gates(
            config,
            "activation",
            context,
        )?])?,
        "LSTM" => gate_activations(keras::lstm(input, units, arrays)?)?,
        "GRU" => gate_activations(keras::gru(input, units, reset(config, bias_shape)?, arrays)?)?,
        "CuDNNLSTM" => {
            let bias = summed_halves(&bias.unwrap_or_default());
            let (kernel, recurrent) = (from_cudnn(&kernel, input, units, 4), turned(&recurrent, units, 4));
            keras::lstm(input, units, Arrays { kernel: &kernel, recurrent_kernel: &recurrent, bias: Some(&bias) })?
        }
        "CuDNNGRU" => {
            let (kernel, recurrent) = (from_cudnn(&kernel, input, units, 3), turned(&recurrent, units, 3));
            keras::gru(input, units, Reset::After, Arrays { kernel: &kernel, recurrent_kernel: &recurrent, ..arrays })?
        }
        _ => return Err(Error::unsupported("", format_args!("a layer of class {class}"))),
    };
    Packed::new(label, weights, context.options)
}

/// Where a GRU resets. Files older than the argument say it by the shape of the bias.
fn reset(config: &Config<'_>, bias: Option<&[usize]>) -> Result<Reset> {
    let by_bias = bias.map(|shape| shape.len() == 2);
    let given = config.get("reset_after").map(|_| config.boolean("reset_after", true)).transpose()?;
    match (given, by_bias) {
        (Some(given), Some(found)) if given != found => {
            let expected = if given { "[2, 3*H], for reset_after" } else { "[3*H], without reset_after" };
            Err(Error::malformed("bias: shape", expected, format_args!("{bias:?}")))
        }
        (Some(after), _) | (None, Some(after)) => Ok(if after { Reset::After } else { Reset::Before }),
        (None, None) => Err(Error::missing("config", "reset_after, which no bias tells,")),
    }
}

/// The kernel `[I, G*H]` of a layer of CuDNN in the layout of the plain layer: for each gate, what stands there row by row
/// as `[I, H]` is `[H, I]`, turned.
fn from_cudnn<T: Element>(kernel: &[T], input: usize, units: usize, gates: usize) -> Cow<'_, [T]> {
    if kernel.len() != input * units * gates {
        return Cow::Borrowed(kernel);
    }
    let at = |i: usize, column: usize| {
        let (gate, unit) = (column / units, column % units);
        let place = unit * input + i;
        kernel[place / units * units * gates + gate * units + place % units]
    };
    Cow::Owned(
        (0..input)
            .flat_map(|i| (0..units * gates).map(move |column| (i, column)))
            .map(|(i, column)| at(i, column))
            .collect(),
    )
}

/// The recurrent kernel `[H, G*H]` with each gate's block turned.
fn turned<T: Element>(recurrent: &[T], units: usize, gates: usize) -> Cow<'_, [T]> {
    if recurrent.len() != units * units * gates {
        return Cow::Borrowed(recurrent);
    }
    let at = |row: usize, column: usize| recurrent[column % units * units * gates + column / units * units + row];
    Cow::Owned(
        (0..units)
            .flat_map(|row| (0..units * gates).map(move |column| (row, column)))
            .map(|(row, column)| at(row, column))
            .collect(),
    )
}

/// The sum of the input's and the recurrent bias.
fn summed_halves<T: Element>(bias: &[T]) -> Vec<T> {
    let (input, recurrent) = bias.split_at(bias.len() / 2);
    input.iter().zip(recurrent).map(|(&a, &b)| a + b).collect()
}
