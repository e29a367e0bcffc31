//! Layers against what Keras and PyTorch compute: one layer, one direction, full rows, standard activations.

mod cases;

use cases::forward::{Arrays, Cell as CaseCell, Forward, Outputs};
use cases::{Case, tensor::Tensor, verify};
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::{SeqRef, batch_major, time_major};
use gatefold::weights::{UpdateGate, keras, pytorch};
use gatefold::{Backend, Element, Isa, Layer, Options, Weights};

fn to<T: Element>(tensor: &Tensor) -> Vec<T> {
    tensor.values.iter().map(|&x| T::from_f64(x)).collect()
}

fn cell(case: CaseCell) -> Cell {
    match case {
        CaseCell::SimpleRnn { relu: false } => Cell::SimpleRnn { activation: Activation::Tanh },
        CaseCell::SimpleRnn { relu: true } => Cell::SimpleRnn { activation: Activation::Relu },
        CaseCell::Lstm => Cell::Lstm,
        CaseCell::Gru { reset_after: true, .. } => Cell::Gru { reset: Reset::After },
        CaseCell::Gru { reset_after: false, .. } => Cell::Gru { reset: Reset::Before },
    }
}

/// Blocks of rows `[3, H, C]` in the order z, r, n to r, z, n.
fn swapped<T: Copy>(values: &[T]) -> Vec<T> {
    let block = values.len() / 3;
    [&values[block..2 * block], &values[..block], &values[2 * block..]].concat()
}

fn weights<T: Element>(case: &Forward<'_>) -> gatefold::Result<Weights<T>> {
    let (input, hidden) = (case.input, case.hidden);
    match case.arrays {
        Arrays::Keras { kernel, recurrent_kernel, bias } => {
            let (kernel, recurrent_kernel, bias) = (to(kernel), to(recurrent_kernel), bias.map(to));
            let arrays = keras::Arrays { kernel: &kernel, recurrent_kernel: &recurrent_kernel, bias: bias.as_deref() };
            match cell(case.cell) {
                Cell::SimpleRnn { activation } => keras::simple_rnn(input, hidden, activation, arrays),
                Cell::Lstm => keras::lstm(input, hidden, arrays),
                Cell::Gru { reset } => keras::gru(input, hidden, reset, arrays),
                other => panic!("{other:?}"),
            }
        }
        Arrays::PyTorch { weight_ih, weight_hh, bias_ih, bias_hh } => {
            let (weight_ih, weight_hh) = (to(weight_ih), to(weight_hh));
            let (bias_ih, bias_hh) = (bias_ih.map(to), bias_hh.map(to));
            let arrays = pytorch::Arrays {
                weight_ih: &weight_ih,
                weight_hh: &weight_hh,
                bias_ih: bias_ih.as_deref(),
                bias_hh: bias_hh.as_deref(),
            };
            match cell(case.cell) {
                Cell::SimpleRnn { activation } => pytorch::rnn(input, hidden, activation, arrays),
                Cell::Lstm => pytorch::lstm(input, hidden, arrays),
                Cell::Gru { reset: Reset::After } => pytorch::gru(input, hidden, arrays),
                other => panic!("{other:?}"),
            }
        }
        Arrays::Equations { w, r, b } => {
            let CaseCell::Gru { keeps_past, .. } = case.cell else { panic!("only GRUs are written as equations") };
            let convention = if keeps_past { UpdateGate::KeepsPast } else { UpdateGate::TakesNew };
            let (w, r, b) = (swapped(&to(w)), swapped(&to(r)), swapped(&to(b)));
            Weights::new(cell(case.cell), input, hidden, w, r, Some(b), None)?.update_gate(convention)
        }
    }
}

fn sequence<'a, T>(case: &Forward<'_>, x: &'a [T]) -> gatefold::Result<SeqRef<'a, T>> {
    match case.batch_first {
        true => batch_major(x, [case.batch, case.time, case.input]),
        false => time_major(x, [case.time, case.batch, case.input]),
    }
}

/// `[N, T, H]` as `[T, N, H]`.
fn time_first(values: Vec<f64>, case: &Forward<'_>) -> Vec<f64> {
    let (time, batch, hidden) = (case.time, case.batch, case.hidden);
    let row = |t: usize, n: usize| values[(n * time + t) * hidden..][..hidden].to_vec();
    match case.batch_first {
        true => (0..time).flat_map(|t| (0..batch).flat_map(move |n| row(t, n))).collect(),
        false => values,
    }
}

fn check<T: Element>(case: &Forward<'_>, isa: Isa, backend: Backend) -> Result<(), String> {
    let options = Options { isa: Some(isa), backend, ..Options::default() };
    let text = |e: gatefold::Error| e.to_string();
    let layer = Layer::new(weights::<T>(case).map_err(text)?, options).map_err(text)?;
    let x = to::<T>(case.x);
    let x = sequence(case, &x).map_err(text)?;
    for (k, call) in case.calls.iter().enumerate() {
        let mut state = layer.state(case.batch).map_err(text)?;
        if let Some(h0) = call.h0 {
            state.set_h(&to::<T>(h0)).map_err(text)?;
        }
        if let Some(c0) = call.c0 {
            state.set_c(&to::<T>(c0)).map_err(text)?;
        }
        let wide = |values: Vec<T>| values.into_iter().map(|v| v.to_f64()).collect::<Vec<_>>();
        let all = layer.forward(x, Some(&state)).map_err(text)?;
        let last = layer.forward_last(x, Some(&state)).map_err(text)?;
        let (h, c) = (wide(all.state.h_to_vec()), wide(all.state.c_to_vec().unwrap_or_default()));
        let y = time_first(wide(all.y), case);
        if y[y.len() - case.batch * case.hidden..] != wide(last.y) {
            return Err("the last output alone differs from the last of all".into());
        }
        case.compare(k, &Outputs { y, h, c })?;
    }
    Ok(())
}

/// Every backend that was compiled in, on every instruction set that there is.
fn on_all(case: &Forward<'_>) -> Result<(), String> {
    let mut backends = vec![Backend::Native];
    backends.extend(cfg!(feature = "matrixmultiply").then_some(Backend::MatrixMultiply));
    backends.extend(cfg!(feature = "openblas").then_some(Backend::OpenBlas));
    for &isa in Isa::available() {
        for &backend in &backends {
            let result =
                if case.is_f64() { check::<f64>(case, isa, backend) } else { check::<f32>(case, isa, backend) };
            result.map_err(|e| format!("{} with {backend:?}: {e}", isa.name()))?;
        }
    }
    Ok(())
}

#[test]
fn keras() {
    verify(&Case::read_all("keras"), 34, on_all);
}

#[test]
fn pytorch_and_the_tutorial() {
    verify(&Case::read_all("torch"), 40, on_all);
}
