//! The naive reference against steps worked by hand.
//!
//! sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4, sigmoid(0) = 1/2, tanh(ln 2) = 3/5 and tanh(ln 3) = 4/5: where the sums
//! before the activations are such logarithms, every gate is a simple fraction.

mod reference;

use reference::{Activation, Cell, FLUSH_F32, FLUSH_F64, Layer, Output, Reset, Sequence, Update};
use std::f64::consts::LN_2;

const LN_3: f64 = 1.098_612_288_668_109_8;

/// Equal up to the rounding of a few operations on numbers around 1.
#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let close = found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-14);
    assert!(close, "expected {expected:?}, found {found:?}");
}

/// A sequence of one row.
fn row(time: usize, x: &[f64], h0: &[f64], c0: Option<&[f64]>) -> Sequence {
    let c0 = c0.map(<[f64]>::to_vec);
    Sequence { time, batch: 1, x: x.to_vec(), h0: Some(h0.to_vec()), c0, flush: 0.0 }
}

/// A layer of one input and one unit. A gate is (w, b_w, r, b_r).
fn one_unit(cell: Cell, gates: &[(f64, f64, f64, f64)]) -> Layer {
    let column = |f: fn(&(f64, f64, f64, f64)) -> f64| gates.iter().map(f).collect();
    Layer {
        cell,
        input: 1,
        hidden: 1,
        w: column(|g| g.0),
        b_w: column(|g| g.1),
        r: column(|g| g.2),
        b_r: column(|g| g.3),
    }
}

#[test]
#[should_panic(expected = "expected [0.5], found [0.6]")]
fn assert_close_can_fail() {
    assert_close(&[0.6], &[0.5]);
}

#[test]
#[should_panic(expected = "found [NaN]")]
fn assert_close_refuses_nan() {
    assert_close(&[f64::NAN], &[0.5]);
}

#[test]
fn simple_rnn_tanh() {
    // t = 0: ln2*1 + 3 + 2*0.5 - 4 = ln 2                      -> h = 0.6
    // t = 1: ln2*x + 3 + 2*0.6 - 4 = ln2*x + 0.2 = ln 3        -> h = 0.8
    let layer = one_unit(Cell::SimpleRnn(Activation::Tanh), &[(LN_2, 3.0, 2.0, -4.0)]);
    let output = layer.run(&row(2, &[1.0, (LN_3 - 0.2) / LN_2], &[0.5], None));
    assert_close(&output.y, &[0.6, 0.8]);
    assert_close(&output.h, &[0.8]);
    assert!(output.c.is_empty());
}

#[test]
fn simple_rnn_relu_over_time_batch_and_units() {
    // I = 2, H = 2, T = 2, N = 2. W = [[1, 2], [3, -1]], R = [[0, 1], [2, 0]], b_w = [1, 0], b_r = [0, -2].
    // Row 0: x = [1, 1], [0, 2], h0 = [1, 2]:
    //   t = 0: [1+2 + 1 + 2 + 0, 3-1 + 0 + 2 - 2]  = [6, 2]
    //   t = 1: [4   + 1 + 2 + 0, -2  + 0 + 12 - 2] = [7, 8]
    // Row 1: x = [2, 0], [-4, 0], h0 = [0, 0]:
    //   t = 0: [2  + 1 + 0 + 0, 6   + 0 + 0 - 2]   = [3, 4]
    //   t = 1: [-4 + 1 + 4 + 0, -12 + 0 + 6 - 2]   = [1, -8] -> [1, 0]
    let layer = Layer {
        cell: Cell::SimpleRnn(Activation::Relu),
        input: 2,
        hidden: 2,
        w: vec![1.0, 2.0, 3.0, -1.0],
        r: vec![0.0, 1.0, 2.0, 0.0],
        b_w: vec![1.0, 0.0],
        b_r: vec![0.0, -2.0],
    };
    let x = vec![1.0, 1.0, 2.0, 0.0, 0.0, 2.0, -4.0, 0.0];
    let h0 = Some(vec![1.0, 2.0, 0.0, 0.0]);
    let output = layer.run(&Sequence { time: 2, batch: 2, x, h0, ..Sequence::default() });
    let y = vec![6.0, 2.0, 3.0, 4.0, 7.0, 8.0, 1.0, 0.0];
    assert_eq!(output, Output { y, h: vec![7.0, 8.0, 1.0, 0.0], c: vec![] });
}

#[test]
fn lstm() {
    // x = 2, h0 = 0.5.
    // i:  ln3/2*2 - 3 + 4*0.5 + 1   =  ln 3 -> 0.75
    // f: -ln3/2*2 + 3 - 2*0.5 - 2   = -ln 3 -> 0.25
    // g:  ln2/2*2 - 1 + 6*0.5 - 2   =  ln 2 -> 0.6
    // o:      1*2 + 1.5 - 8*0.5 + 0.5 = 0   -> 0.5
    // c0 such that c' = 0.25*c0 + 0.75*0.6 = ln 3; h' = 0.5*tanh(ln 3) = 0.4
    let gates = [
        (LN_3 / 2.0, -3.0, 4.0, 1.0),
        (-LN_3 / 2.0, 3.0, -2.0, -2.0),
        (LN_2 / 2.0, -1.0, 6.0, -2.0),
        (1.0, 1.5, -8.0, 0.5),
    ];
    let layer = one_unit(Cell::Lstm, &gates);
    let output = layer.run(&row(1, &[2.0], &[0.5], Some(&[(LN_3 - 0.45) / 0.25])));
    assert_close(&output.c, &[LN_3]);
    assert_close(&output.h, &[0.4]);
    assert_eq!(output.y, output.h);
}

#[test]
fn lstm_carries_both_states() {
    // All weights 0: i = f = o = 0.5, g = tanh(ln 2) = 0.6 from its bias; c' = 0.5*c + 0.3, h' = 0.5*tanh(c').
    // c: 0.6 -> 0.6 -> 0.6; with c0 = 1: 0.8, 0.7, 0.65.
    let gates = [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, LN_2, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)];
    let layer = one_unit(Cell::Lstm, &gates);
    let output = layer.run(&row(3, &[9.0, 9.0, 9.0], &[0.0], Some(&[1.0])));
    assert_close(&output.c, &[0.65]);
    assert_close(&output.y, &[0.5 * 0.8f64.tanh(), 0.5 * 0.7f64.tanh(), 0.5 * 0.65f64.tanh()]);
    // Without initial states both are 0: c = 0.3.
    let output = layer.run(&Sequence { time: 1, batch: 1, x: vec![9.0], ..Sequence::default() });
    assert_close(&output.c, &[0.3]);
}

/// x = 2, h0 = 0.4.
/// r: -ln3/2*2 - 1 + 5*0.4 - 1  = -ln 3 -> 0.25
/// z:  ln3/2*2 + 2 - 10*0.4 + 2 =  ln 3 -> 0.75
/// n, from the input: ln2/2*2 - 1 = ln 2 - 1; from the state: as given.
fn gru_of_one_unit(reset: Reset, update: Update, r_n: f64, b_rn: f64) -> Vec<f64> {
    let gates = [(-LN_3 / 2.0, -1.0, 5.0, -1.0), (LN_3 / 2.0, 2.0, -10.0, 2.0), (LN_2 / 2.0, -1.0, r_n, b_rn)];
    one_unit(Cell::Gru(reset, update), &gates).run(&row(1, &[2.0], &[0.4], None)).h
}

#[test]
fn gru_reset_after() {
    // ln 2 - 1 + 0.25*(30*0.4 - 8) = ln 2 -> n = 0.6
    // 0.75*0.4 + 0.25*0.6 = 0.45; the other convention 0.25*0.4 + 0.75*0.6 = 0.55
    assert_close(&gru_of_one_unit(Reset::After, Update::KeepsPast, 30.0, -8.0), &[0.45]);
    assert_close(&gru_of_one_unit(Reset::After, Update::TakesNew, 30.0, -8.0), &[0.55]);
}

#[test]
fn gru_reset_before() {
    // ln 2 - 1 + 30*(0.25*0.4) - 2 = ln 2 -> n = 0.6
    assert_close(&gru_of_one_unit(Reset::Before, Update::KeepsPast, 30.0, -2.0), &[0.45]);
    assert_close(&gru_of_one_unit(Reset::Before, Update::TakesNew, 30.0, -2.0), &[0.55]);
}

/// H = 2 with r = [0.25, 0.75], z = [0.5, 0.5] and R_n = [[0, a], [b, 0]], from h0 = [0.4, 0.8].
fn gru_of_two_units(reset: Reset, a: f64, b: f64) -> Vec<f64> {
    let mut r = vec![0.0; 12];
    (r[9], r[10]) = (a, b);
    let b_w = vec![-LN_3, LN_3, 0.0, 0.0, 0.0, 0.0];
    let cell = Cell::Gru(reset, Update::KeepsPast);
    let layer = Layer { cell, input: 1, hidden: 2, w: vec![0.0; 6], r, b_w, b_r: vec![0.0; 6] };
    layer.run(&row(1, &[0.0], &[0.4, 0.8], None)).h
}

#[test]
fn gru_reset_gates_of_all_units() {
    // After: n = tanh([0.25*a*0.8, 0.75*b*0.4]); each unit's own r. h' = 0.5*[0.4, 0.8] + 0.5*[0.6, 0.8]
    assert_close(&gru_of_two_units(Reset::After, LN_2 / 0.2, LN_3 / 0.3), &[0.5, 0.8]);
    // Before: r*h = [0.1, 0.6]; n = tanh([a*0.6, b*0.1]); the r of the unit that is read.
    assert_close(&gru_of_two_units(Reset::Before, LN_2 / 0.6, LN_3 / 0.1), &[0.5, 0.8]);
}

#[test]
fn small_states_become_positive_zero() {
    assert_eq!((FLUSH_F32, FLUSH_F64), (0.5f64.powi(100), 0.5f64.powi(960)));
    for flush in [FLUSH_F32, FLUSH_F64] {
        // tanh(a) = a for an a this small.
        let layer = one_unit(Cell::SimpleRnn(Activation::Tanh), &[(1.0, 0.0, 0.0, 0.0)]);
        for (x, expected) in [(flush, flush), (-flush, -flush), (flush / 2.0, 0.0), (-flush / 2.0, 0.0), (0.0, 0.0)] {
            let sequence = Sequence { flush, ..row(1, &[x], &[1.0], None) };
            let output = layer.run(&sequence);
            assert_eq!(output.h[0].to_bits(), expected.to_bits(), "{x:e}");
            assert_eq!(output.y[0].to_bits(), expected.to_bits(), "{x:e}");
            let kept = layer.run(&Sequence { flush: 0.0, ..sequence });
            assert_eq!(kept.h, [x]);
        }
    }
}

#[test]
fn small_cell_states_become_zero() {
    // All weights 0: c' = 0.5*c.
    let layer = one_unit(Cell::Lstm, &[(0.0, 0.0, 0.0, 0.0); 4]);
    let c0 = [2.0 * FLUSH_F32];
    let run = |time, flush| layer.run(&Sequence { flush, ..row(time, &vec![0.0; time], &[0.0], Some(&c0)) });
    assert_eq!(run(1, FLUSH_F32).c, [FLUSH_F32]);
    assert_eq!(run(2, FLUSH_F32).c, [0.0]);
    assert_eq!(run(2, 0.0).c, [FLUSH_F32 / 2.0]);
}
