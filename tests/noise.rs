//! Dropout and zoneout against the equations written out, what changes nothing, and what is refused. Gradients are compared
//! with differences where those of everything else are.

mod common;
mod reference;

use common::choice::{Choice, Chosen};
use common::model::{Bias, CELLS};
use common::numbers::Random;
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::{MatRef, SeqRef, SeqShape, time_major};
use gatefold::{Input, Layer, Level, Options, Output, Stack, StackWorkspace, State, Tape, Weights, Workspace};

const INPUT: usize = 3;
const HIDDEN: usize = 19;
const TIME: usize = 4;
const BATCH: usize = 3;

/// Masks of dropout `[N, H]`, and of h and c `[T, N, H]`.
#[derive(Clone)]
struct Masks {
    dropout: Vec<f64>,
    h: Vec<f64>,
    c: Vec<f64>,
}

impl Masks {
    fn random() -> Self {
        let mut random = Random(7);
        let mut mask = |len: usize, one: f64| -> Vec<f64> {
            random.values::<f64>(len, 1.0).iter().map(|&v| if v > 0.0 { one } else { 0.0 }).collect()
        };
        let all = TIME * BATCH * HIDDEN;
        Masks { dropout: mask(BATCH * HIDDEN, 2.0), h: mask(all, 1.0), c: mask(all, 1.0) }
    }

    fn on<'a>(&'a self, x: Input<'a, f64>, has_cell: bool) -> Input<'a, f64> {
        let seq = |mask| time_major(mask, [TIME, BATCH, HIDDEN]).unwrap();
        let x = x.recurrent_dropout(MatRef::dense(&self.dropout, BATCH, HIDDEN).unwrap()).zoneout(seq(&self.h));
        if has_cell { x.zoneout_cell(seq(&self.c)) } else { x }
    }
}

fn sigmoid(a: f64) -> f64 {
    1.0 / (1.0 + (-a).exp())
}

/// A step of one row straight from the equations: h' and c' from x, h and c, where `dropout` is the row's mask.
fn step(weights: &Weights<f64>, x: &[f64], h: &[f64], c: &[f64], dropout: &[f64]) -> [Vec<f64>; 2] {
    let masked: Vec<f64> = h.iter().zip(dropout).map(|(h, m)| h * m).collect();
    let dot = |w: &[f64], v: &[f64]| -> f64 { w.iter().zip(v).map(|(w, v)| w * v).sum() };
    let input = |g: usize, u: usize| {
        let i = g * HIDDEN + u;
        dot(&weights.w()[i * INPUT..][..INPUT], x) + weights.b_w().unwrap()[i]
    };
    let recurrent = |g: usize, u: usize, v: &[f64]| {
        let i = g * HIDDEN + u;
        dot(&weights.r()[i * HIDDEN..][..HIDDEN], v) + weights.b_r().unwrap()[i]
    };
    let gate = |g: usize, u: usize| input(g, u) + recurrent(g, u, &masked);
    let units = 0..HIDDEN;
    match weights.cell() {
        Cell::SimpleRnn { activation: Activation::Relu } => [units.map(|u| gate(0, u).max(0.0)).collect(), vec![]],
        Cell::SimpleRnn { .. } => [units.map(|u| gate(0, u).tanh()).collect(), vec![]],
        Cell::Lstm => {
            let new = |u| sigmoid(gate(1, u)) * c[u] + sigmoid(gate(0, u)) * gate(2, u).tanh();
            let c: Vec<f64> = units.clone().map(new).collect();
            [units.map(|u| sigmoid(gate(3, u)) * c[u].tanh()).collect(), c]
        }
        Cell::Gru { reset } => {
            let r: Vec<f64> = units.clone().map(|u| sigmoid(gate(0, u))).collect();
            let reset_h: Vec<f64> = r.iter().zip(&masked).map(|(r, h)| r * h).collect();
            let candidate = |u: usize| match reset {
                Reset::After => (input(2, u) + r[u] * recurrent(2, u, &masked)).tanh(),
                Reset::Before => (input(2, u) + recurrent(2, u, &reset_h)).tanh(),
            };
            // The state that z keeps is not masked.
            let new = |u: usize| sigmoid(gate(1, u)) * h[u] + (1.0 - sigmoid(gate(1, u))) * candidate(u);
            [units.map(new).collect(), vec![]]
        }
        _ => panic!("a cell that is not known here"),
    }
}

/// All outputs, from a state.
fn naive(weights: &Weights<f64>, x: &[f64], h0: &[f64], c0: &[f64], masks: &Masks) -> Vec<f64> {
    let (mut h, mut c, mut y) = (h0.to_vec(), c0.to_vec(), Vec::new());
    for (t, n) in (0..TIME).flat_map(|t| (0..BATCH).map(move |n| (t, n))) {
        let (at, row) = (t * BATCH + n, n * HIDDEN..(n + 1) * HIDDEN);
        let own_c = if c.is_empty() { &[][..] } else { &c[row.clone()] };
        let [new_h, new_c] =
            step(weights, &x[at * INPUT..][..INPUT], &h[row.clone()], own_c, &masks.dropout[row.clone()]);
        let mask = |masks: &[f64], old: &mut [f64], new: &[f64]| {
            for (u, (old, new)) in old.iter_mut().zip(new).enumerate() {
                let m = masks[at * HIDDEN + u];
                *old = m * *old + (1.0 - m) * new;
            }
        };
        mask(&masks.h, &mut h[row.clone()], &new_h);
        if !c.is_empty() {
            mask(&masks.c, &mut c[row.clone()], &new_c);
        }
        y.extend_from_slice(&h[row]);
    }
    y
}

fn layer(cell: Cell, peepholes: bool) -> (Layer<f64>, Weights<f64>) {
    let choice = Choice { peepholes, ..Choice::default() };
    let weights = Chosen::<f64>::random(cell, [INPUT, HIDDEN], Bias::Both, choice, 3).weights();
    (Layer::new(weights.clone(), Options { keep_weights: true, ..Options::default() }).unwrap(), weights)
}

fn state(layer: &Layer<f64>) -> State<f64> {
    let (mut state, mut random) = (layer.state(BATCH).unwrap(), Random(5));
    state.set_h(&random.values(BATCH * HIDDEN, 1.0)).unwrap();
    if layer.dims().cell.has_cell_state() {
        state.set_c(&random.values(BATCH * HIDDEN, 1.0)).unwrap();
    }
    state
}

#[test]
fn the_equations() {
    let x: Vec<f64> = Random(2).values(TIME * BATCH * INPUT, 1.0);
    for cell in CELLS {
        let (layer, weights) = layer(cell, false);
        let (state, masks) = (state(&layer), Masks::random());
        let has_cell = cell.has_cell_state();
        let input = masks.on(Input::from(time_major(&x, [TIME, BATCH, INPUT]).unwrap()), has_cell);
        let c0 = state.c_to_vec().unwrap_or_default();
        let half = Masks { h: vec![0.5; masks.h.len()], ..masks.clone() };
        let [expected, expectation] = [&masks, &half].map(|masks| naive(&weights, &x, &state.h_to_vec(), &c0, masks));
        let found = layer.forward(input, Some(&state)).unwrap().y;
        let worst = |found: &[f64], expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        assert!(worst(&found, &expected) < 1e-13, "{cell:?}");
        // The same expectation everywhere is a view without strides.
        let p = [0.5; HIDDEN];
        let shape = SeqShape { time: TIME, batch: BATCH, channels: HIDDEN, time_stride: 0, batch_stride: 0 };
        let found = layer.forward(input.zoneout(SeqRef::new(&p, shape).unwrap()), Some(&state)).unwrap().y;
        assert!(worst(&found, &expectation) < 1e-13, "{cell:?}: the expectation");
        assert!(worst(&found, &expected) > 1e-3, "{cell:?}: no mask counts");
    }
}

/// A mask of ones drops nothing and lets nothing be kept; one of ones for zoneout keeps everything.
#[test]
fn neutral_masks_change_no_bit() {
    let x: Vec<f64> = Random(2).values(TIME * BATCH * INPUT, 1.0);
    let x = Input::from(time_major(&x, [TIME, BATCH, INPUT]).unwrap());
    for cell in CELLS {
        let (layer, _) = layer(cell, false);
        let (state, has_cell) = (state(&layer), cell.has_cell_state());
        let all = TIME * BATCH * HIDDEN;
        let neutral = Masks { dropout: vec![1.0; BATCH * HIDDEN], h: vec![0.0; all], c: vec![0.0; all] };
        let expected = layer.forward(x, Some(&state)).unwrap();
        let found = layer.forward(neutral.on(x, has_cell), Some(&state)).unwrap();
        assert_eq!(found.y, expected.y, "{cell:?}");
        assert_eq!(found.state.c_to_vec(), expected.state.c_to_vec(), "{cell:?}");
        let kept = Masks { h: vec![1.0; all], c: vec![1.0; all], ..neutral };
        let found = layer.forward(kept.on(x, has_cell), Some(&state)).unwrap().state;
        assert_eq!((found.h_to_vec(), found.c_to_vec()), (state.h_to_vec(), state.c_to_vec()), "{cell:?}");
    }
}

#[test]
fn refuses_by_name() {
    let data = vec![0.5; TIME * BATCH * HIDDEN];
    let x = Input::from(time_major(&data[..TIME * BATCH * INPUT], [TIME, BATCH, INPUT]).unwrap());
    let matrix = |rows, cols| MatRef::dense(&data, rows, cols).unwrap();
    let seq = |time, batch, channels| time_major(&data[..time * batch * channels], [time, batch, channels]).unwrap();
    let (lstm, gru, peephole) = (layer(Cell::Lstm, false).0, layer(CELLS[3], false).0, layer(Cell::Lstm, true).0);
    let message = |layer: &Layer<f64>, input| {
        let recorded = layer
            .record(input, &mut layer.state(BATCH).unwrap(), Output::StateOnly, &mut Tape::new(), &mut Workspace::new())
            .unwrap_err();
        assert_eq!(layer.forward(input, None).unwrap_err(), recorded);
        recorded.to_string()
    };
    let starts = |message: String, with: &str| assert!(message.starts_with(with), "{message}");
    starts(message(&lstm, x.recurrent_dropout(matrix(2, HIDDEN))), "recurrent_dropout rows: expected 3");
    starts(message(&lstm, x.recurrent_dropout(matrix(BATCH, 18))), "recurrent_dropout columns: expected 19");
    let transposed = matrix(HIDDEN, BATCH).transposed();
    starts(message(&lstm, x.recurrent_dropout(transposed)), "recurrent_dropout column stride: expected 1");
    starts(message(&lstm, x.zoneout(seq(3, BATCH, HIDDEN))), "zoneout timesteps: expected 4");
    starts(message(&lstm, x.zoneout_cell(seq(TIME, 2, HIDDEN))), "zoneout_cell rows: expected 3");
    starts(message(&gru, x.zoneout_cell(seq(TIME, BATCH, HIDDEN))), "zoneout_cell is not supported: only an LSTM");
    let with_peepholes = message(&peephole, x.zoneout_cell(seq(TIME, BATCH, HIDDEN)));
    starts(with_peepholes, "zoneout_cell with peepholes is not supported");
    let packed = Input::packed(matrix(1, INPUT), &[1]).zoneout(seq(1, 1, HIDDEN));
    let refused = gru.forward(packed, None).unwrap_err().to_string();
    starts(refused, "dropout or zoneout of a packed sequence is not supported");
    let stack = Stack::from(Level::from(gru));
    let (mut state, input) = (stack.state(BATCH).unwrap(), x.zoneout(seq(TIME, BATCH, HIDDEN)));
    let refused = stack.forward_into(input, &mut state, Output::StateOnly, &mut StackWorkspace::new()).unwrap_err();
    starts(refused.to_string(), "dropout or zoneout of a stack is not supported");
}
