//! The naive reference against every case of Keras, PyTorch and ONNX Runtime in scope: oracle and frameworks agree.

mod cases;
mod reference;

use cases::forward::{Forward, Outputs};
use cases::pass::{self, Arrays};
use cases::tensor::Tensor;
use cases::{Case, verify};
use reference::{Activation, Cell, Layer, Reset, Sequence, Update};

#[test]
fn keras() {
    verify(&Case::read_all("keras"), 34, check);
}

#[test]
fn torch() {
    verify(&Case::read_all("torch"), 40, check);
}

#[test]
fn onnx() {
    verify(&Case::read_all("onnx"), 19, check);
}

fn check(forward: &Forward) -> Result<(), String> {
    let layer = layer(forward);
    let values = |plane: &Option<Tensor>| plane.as_ref().map(|plane| plane.values.clone());
    for (k, call) in forward.calls.iter().enumerate() {
        let output = layer.run(&Sequence {
            time: forward.time,
            batch: forward.batch,
            x: forward.x_time_major(),
            h0: values(&call.h0),
            c0: values(&call.c0),
            flush: 0.0,
        });
        forward.compare(k, &Outputs { y: output.y, h: output.h, c: output.c })?;
    }
    Ok(())
}

/// The layer of a case.
fn layer(forward: &Forward) -> Layer {
    let (input, hidden) = (forward.input, forward.hidden);
    let cell = match forward.cell {
        pass::Cell::SimpleRnn => Cell::SimpleRnn(if forward.relu { Activation::Relu } else { Activation::Tanh }),
        pass::Cell::Lstm => Cell::Lstm,
        pass::Cell::Gru { reset_after, keeps_past } => Cell::Gru(
            if reset_after { Reset::After } else { Reset::Before },
            if keeps_past { Update::KeepsPast } else { Update::TakesNew },
        ),
    };
    let rows = cell.gates() * hidden;
    let gru = matches!(cell, Cell::Gru(..));
    // Where the sources put z before r.
    let swapped = |array: Vec<f64>| {
        if gru { swap_first_two_of_three(&array) } else { array }
    };
    let or_zeros = |bias: Option<&Tensor>| bias.map_or(vec![0.0; rows], |bias| bias.values.clone());
    // ONNX' i, o, f, c.
    let of_onnx = |array: Vec<f64>| match cell {
        Cell::SimpleRnn(_) => array,
        Cell::Gru(..) => swap_first_two_of_three(&array),
        Cell::Lstm => [0, 2, 3, 1].map(|gate| &array[gate * array.len() / 4..][..array.len() / 4]).concat(),
    };
    let [w, r, b_w, b_r] = match forward.arrays {
        Arrays::Keras { kernel, recurrent_kernel, bias } => {
            let mut b_w = or_zeros(bias);
            let b_r = if b_w.len() == 2 * rows { b_w.split_off(rows) } else { vec![0.0; rows] };
            [transpose(kernel), transpose(recurrent_kernel), b_w, b_r].map(swapped)
        }
        Arrays::PyTorch { weight_ih, weight_hh, bias_ih, bias_hh, .. } => {
            [weight_ih.values.clone(), weight_hh.values.clone(), or_zeros(bias_ih), or_zeros(bias_hh)]
        }
        Arrays::Onnx { w, r, b, .. } => {
            let mut b_w = b.map_or(vec![0.0; 2 * rows], <[f64]>::to_vec);
            let b_r = b_w.split_off(rows);
            [w.to_vec(), r.to_vec(), b_w, b_r].map(of_onnx)
        }
        Arrays::Equations { w, r, b } => {
            [w.values.clone(), r.values.clone(), b.values.clone(), vec![0.0; rows]].map(swapped)
        }
    };
    Layer { cell, input, hidden, w, r, b_w, b_r }
}

/// `[B, A]` from `[A, B]`.
fn transpose(tensor: &Tensor) -> Vec<f64> {
    let &[a, b] = &tensor.shape[..] else { panic!("expected two axes, found {:?}", tensor.shape) };
    (0..b).flat_map(|j| (0..a).map(move |i| tensor.values[i * b + j])).collect()
}

fn swap_first_two_of_three(array: &[f64]) -> Vec<f64> {
    let third = array.len() / 3;
    [&array[third..2 * third], &array[..third], &array[2 * third..]].concat()
}
