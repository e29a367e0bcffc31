//! The library's layers for a case.

use crate::cases::pass::{self, Arrays, Direction, Merge, Pass};
use crate::cases::tensor::Tensor;
use gatefold::cell::{Activation, Reset};
use gatefold::weights::{UpdateGate, keras, onnx, pytorch};
use gatefold::{Element, Layer, Level, Options, Order, Result, Stack, Weights};

/// All levels.
pub fn stack<T: Element>(pass: &Pass<'_>, options: Options) -> Result<Stack<T>> {
    let level = |layers: &Vec<pass::Layer<'_>>| match &layers[..] {
        [one] => {
            let layer = layer(one, options)?;
            Ok(match pass.direction {
                Direction::Forward => Level::from(layer),
                Direction::Reverse => Level::reverse(layer, Order::Input),
                Direction::GoBackwards => Level::reverse(layer, Order::Processing),
            })
        }
        [forward, backward] => {
            let merge = match pass.merge {
                Merge::Concat | Merge::Apart | Merge::Directions => gatefold::Merge::Concat,
                Merge::Sum => gatefold::Merge::Sum,
                Merge::Mul => gatefold::Merge::Mul,
                Merge::Average => gatefold::Merge::Average,
            };
            Level::bidirectional(layer(forward, options)?, layer(backward, options)?, merge)
        }
        other => panic!("{}: {} directions", pass.name, other.len()),
    };
    Stack::new(pass.levels.iter().map(level).collect::<Result<_>>()?)
}

fn layer<T: Element>(layer: &pass::Layer<'_>, options: Options) -> Result<Layer<T>> {
    let activations: Vec<_> = layer.activations.iter().copied().map(activation).collect();
    let weights = match layer.arrays {
        Arrays::Keras { kernel, recurrent_kernel, bias } => {
            of_keras(layer, &activations, to(kernel), to(recurrent_kernel), bias.map(to))
        }
        Arrays::PyTorch { .. } => of_pytorch(layer, &activations),
        Arrays::Onnx { w, r, b, p } => of_onnx(layer, &activations, [Some(w), Some(r), b, p].map(|v| v.map(values))),
        Arrays::Equations { w, r, b } => of_equations(layer, [w, r, b].map(|array| swapped(&to(array)))),
    };
    let mut weights = weights?.with_activations(&activations)?;
    if let Some(clip) = layer.clip {
        weights = weights.with_clip(clip)?;
    }
    if layer.input_forget {
        weights = weights.coupled()?;
    }
    Layer::new(weights, options)
}

fn of_keras<T: Element>(
    layer: &pass::Layer<'_>,
    activations: &[Activation],
    kernel: Vec<T>,
    recurrent_kernel: Vec<T>,
    bias: Option<Vec<T>>,
) -> Result<Weights<T>> {
    let arrays = keras::Arrays { kernel: &kernel, recurrent_kernel: &recurrent_kernel, bias: bias.as_deref() };
    match layer.cell {
        pass::Cell::SimpleRnn => keras::simple_rnn(layer.input, layer.hidden, activations[0], arrays),
        pass::Cell::Lstm => keras::lstm(layer.input, layer.hidden, arrays),
        pass::Cell::Gru { reset_after, .. } => keras::gru(layer.input, layer.hidden, reset(reset_after), arrays),
    }
}

fn of_pytorch<T: Element>(layer: &pass::Layer<'_>, activations: &[Activation]) -> Result<Weights<T>> {
    let Arrays::PyTorch { weight_ih, weight_hh, bias_ih, bias_hh, weight_hr } = layer.arrays else {
        panic!("not of PyTorch: {:?}", layer.cell)
    };
    let (weight_ih, weight_hh) = (to(weight_ih), to(weight_hh));
    let [bias_ih, bias_hh, weight_hr] = [bias_ih, bias_hh, weight_hr].map(|array| array.map(to));
    let arrays = pytorch::Arrays {
        weight_ih: &weight_ih,
        weight_hh: &weight_hh,
        bias_ih: bias_ih.as_deref(),
        bias_hh: bias_hh.as_deref(),
    };
    match (layer.cell, weight_hr) {
        (pass::Cell::SimpleRnn, None) => pytorch::rnn(layer.input, layer.hidden, activations[0], arrays),
        (pass::Cell::Lstm, None) => pytorch::lstm(layer.input, layer.hidden, arrays),
        (pass::Cell::Lstm, Some(hr)) => pytorch::lstm_projected(layer.input, layer.hidden, arrays, &hr),
        (pass::Cell::Gru { reset_after: true, .. }, None) => pytorch::gru(layer.input, layer.hidden, arrays),
        (other, _) => panic!("PyTorch has no such layer: {other:?}"),
    }
}

fn of_onnx<T: Element>(
    layer: &pass::Layer<'_>,
    activations: &[Activation],
    [w, r, b, p]: [Option<Vec<T>>; 4],
) -> Result<Weights<T>> {
    let arrays =
        onnx::Arrays { w: w.as_deref().unwrap_or_default(), r: r.as_deref().unwrap_or_default(), b: b.as_deref() };
    match layer.cell {
        pass::Cell::SimpleRnn => onnx::rnn(layer.input, layer.hidden, activations[0], arrays),
        pass::Cell::Lstm => onnx::lstm(layer.input, layer.hidden, arrays, p.as_deref()),
        pass::Cell::Gru { reset_after, .. } => onnx::gru(layer.input, layer.hidden, reset(reset_after), arrays),
    }
}

fn of_equations<T: Element>(layer: &pass::Layer<'_>, [w, r, b]: [Vec<T>; 3]) -> Result<Weights<T>> {
    let pass::Cell::Gru { reset_after, keeps_past } = layer.cell else { panic!("only GRUs are written as equations") };
    let cell = gatefold::cell::Cell::Gru { reset: reset(reset_after) };
    let convention = if keeps_past { UpdateGate::KeepsPast } else { UpdateGate::TakesNew };
    Weights::new(cell, layer.input, layer.hidden, w, r, Some(b), None)?.update_gate(convention)
}

fn reset(after: bool) -> Reset {
    if after { Reset::After } else { Reset::Before }
}

fn activation(activation: pass::Activation) -> Activation {
    match activation {
        pass::Activation::Sigmoid => Activation::Sigmoid,
        pass::Activation::Tanh => Activation::Tanh,
        pass::Activation::Relu => Activation::Relu,
        pass::Activation::Linear => Activation::Linear,
        pass::Activation::Softplus => Activation::Softplus,
        pass::Activation::Softsign => Activation::Softsign,
        pass::Activation::LeakyRelu(alpha) => Activation::LeakyRelu { alpha },
        pass::Activation::ThresholdedRelu(alpha) => Activation::ThresholdedRelu { alpha },
        pass::Activation::Elu(alpha) => Activation::Elu { alpha },
        pass::Activation::HardSigmoid(alpha, beta) => Activation::HardSigmoid { alpha, beta },
        pass::Activation::Affine(alpha, beta) => Activation::Affine { alpha, beta },
        pass::Activation::ScaledTanh(alpha, beta) => Activation::ScaledTanh { alpha, beta },
    }
}

pub fn to<T: Element>(tensor: &Tensor) -> Vec<T> {
    values(&tensor.values)
}

fn values<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::from_f64(x)).collect()
}

/// Blocks of rows `[3, H, C]` in the order z, r, n to r, z, n.
fn swapped<T: Copy>(values: &[T]) -> Vec<T> {
    let block = values.len() / 3;
    [&values[block..2 * block], &values[..block], &values[2 * block..]].concat()
}
