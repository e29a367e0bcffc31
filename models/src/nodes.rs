//! Recurrent nodes of ONNX, made ready to run.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::onnx::{Cell, Direction, Input, Model, RecurrentNode};
use crate::recurrent::{Defaults, Origin, Packed, Recurrent, Source};
use gatefold::cell::{Activation, Reset};
use gatefold::weights::onnx::{self, Arrays};
use gatefold::{Level, Merge, Options, Order, Weights};

/// Every recurrent node of `model`, in their order; those that cannot be run as errors.
pub(crate) fn find<T: Element>(model: &Model, options: Options) -> Vec<Result<Recurrent<T>>> {
    let build = |node: Result<RecurrentNode>| {
        let node = node?;
        build(&node, options).map_err(|error| error.within(format_args!("node {}", node.path)))
    };
    model.recurrent_nodes().map(build).collect()
}

fn build<T: Element>(node: &RecurrentNode, options: Options) -> Result<Recurrent<T>> {
    let (w, r) = (T::values(&node.w)?, T::values(&node.r)?);
    let (b, p) = (node.b.as_ref().map(T::values).transpose()?, node.p.as_ref().map(T::values).transpose()?);
    let directions = if node.direction == Direction::Bidirectional { 2 } else { 1 };
    let input = node.w.shape().last().copied().unwrap_or(0);
    let activations = activations(node)?;
    let mut layers = Vec::new();
    for (direction, activations) in activations.chunks(activations.len() / directions).enumerate() {
        let part = |values: &'_ [T]| values.len() / directions;
        let of = |values| -> &[T] { direction_of(values, direction, part(values)) };
        let arrays = Arrays { w: of(&w), r: of(&r), b: b.as_deref().map(of) };
        let weights = weights(node, input, arrays, p.as_deref().map(of), activations)?;
        let label = match (directions, direction) {
            (1, _) => "",
            (_, 0) => "forward",
            _ => "reverse",
        };
        layers.push(Packed::new(label, weights, options)?);
    }
    let mut parts = Vec::new();
    let mut layers = layers.into_iter().map(|Packed { layer, part }| {
        parts.push(part);
        layer
    });
    let level = match (layers.next(), layers.next(), node.direction) {
        (Some(forward), Some(backward), _) => Level::bidirectional(forward, backward, Merge::Concat)?,
        (Some(layer), None, Direction::Reverse) => Level::reverse(layer, Order::Input),
        (Some(layer), None, _) => layer.into(),
        (None, ..) => return Err(Error::missing("W", "a direction")),
    };
    let source = Source::Onnx { batch_first: node.batch_first };
    let defaults =
        Defaults { h0: origin(&node.initial_h), c0: origin(&node.initial_c), lengths: origin(&node.sequence_lens) };
    Ok(Recurrent::new(node.path.as_str(), source, vec![level], parts)?.with_defaults(defaults))
}

/// Entry `direction` of the first axis, `len` values.
fn direction_of<T>(values: &[T], direction: usize, len: usize) -> &[T] {
    &values[direction * len..][..len]
}

fn weights<T: Element>(
    node: &RecurrentNode,
    input: usize,
    arrays: Arrays<'_, T>,
    p: Option<&[T]>,
    activations: &[Activation],
) -> Result<Weights<T>> {
    let hidden = node.hidden_size;
    let mut weights = match node.cell {
        Cell::Rnn => onnx::rnn(input, hidden, activations[0], arrays)?,
        Cell::Gru => {
            let reset = if node.linear_before_reset { Reset::After } else { Reset::Before };
            onnx::gru(input, hidden, reset, arrays)?.with_activations(activations)?
        }
        Cell::Lstm => onnx::lstm(input, hidden, arrays, p)?.with_activations(activations)?,
    };
    if node.input_forget {
        weights = weights.coupled()?;
    }
    match node.clip {
        Some(clip) => Ok(weights.with_clip(clip.into())?),
        None => Ok(weights),
    }
}

fn origin(input: &Input) -> Origin {
    match input {
        Input::Absent => Origin::None,
        Input::Constant(tensor) => Origin::Constant(tensor.clone()),
        Input::Computed(name) => Origin::Outside(name.clone()),
    }
}

/// The activations of all directions, with their parameters.
///
/// As ONNX Runtime reads the lists of parameters: each activation that has a parameter takes the next value of its list.
/// Values that are left over then would have been for something; they are refused unless they are 0.
fn activations(node: &RecurrentNode) -> Result<Vec<Activation>> {
    let mut alphas = node.activation_alpha.iter().map(|&alpha| f64::from(alpha));
    let mut betas = node.activation_beta.iter().map(|&beta| f64::from(beta));
    let mut read = |name: &String| {
        let mut alpha = |default| alphas.next().unwrap_or(default);
        let mut beta = |default| betas.next().unwrap_or(default);
        Ok(match name.to_ascii_lowercase().as_str() {
            "sigmoid" => Activation::Sigmoid,
            "tanh" => Activation::Tanh,
            "relu" => Activation::Relu,
            "softsign" => Activation::Softsign,
            "softplus" => Activation::Softplus,
            "affine" => Activation::Affine { alpha: alpha(1.0), beta: beta(0.0) },
            "leakyrelu" => Activation::LeakyRelu { alpha: alpha(f64::from(0.01_f32)) },
            "thresholdedrelu" => Activation::ThresholdedRelu { alpha: alpha(1.0) },
            "scaledtanh" => Activation::ScaledTanh { alpha: alpha(1.0), beta: beta(1.0) },
            "hardsigmoid" => Activation::HardSigmoid { alpha: alpha(f64::from(0.2_f32)), beta: beta(0.5) },
            "elu" => Activation::Elu { alpha: alpha(1.0) },
            _ => return Err(Error::unsupported("activations", format_args!("{name:?}"))),
        })
    };
    let activations = node.activations.iter().map(&mut read).collect::<Result<Vec<_>>>()?;
    for (name, left) in
        [("activation_alpha", alphas.find(|&left| left != 0.0)), ("activation_beta", betas.find(|&left| left != 0.0))]
    {
        if let Some(left) = left {
            let expected = "as many values as activations take";
            return Err(Error::malformed(name, expected, format_args!("{left} left over")));
        }
    }
    Ok(activations)
}
