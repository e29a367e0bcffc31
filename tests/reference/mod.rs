//! The naive reference: recurrent layers in scalar f64, one sum after the other, straight from the equations.
//!
//! It is the oracle of the tests and uses nothing of the crate under test. A row of the batch is computed on its own, from
//! its first step to its last. Gates are in the order i, f, g, o and r, z, n, in blocks of H rows.

#![allow(dead_code, reason = "each test binary uses a part of it")]

/// States below it become +0 in f32.
pub const FLUSH_F32: f64 = f64::from_bits((1023 - 100) << 52);
/// States below it become +0 in f64.
pub const FLUSH_F64: f64 = f64::from_bits((1023 - 960) << 52);

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    SimpleRnn(Activation),
    Lstm,
    Gru(Reset, Update),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Tanh,
    Relu,
}

/// Where the reset gate acts in the candidate n: after or before the recurrent product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reset {
    /// `n = tanh(W_n.x + b_wn + r*(R_n.h + b_rn))`
    After,
    /// `n = tanh(W_n.x + b_wn + R_n.(r*h) + b_rn)`
    Before,
}

/// What the update gate z multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// `h' = z*h + (1-z)*n`
    KeepsPast,
    /// `h' = (1-z)*h + z*n`
    TakesNew,
}

/// A layer's weights.
#[derive(Clone, Debug)]
pub struct Layer {
    pub cell: Cell,
    /// I
    pub input: usize,
    /// H
    pub hidden: usize,
    /// `[G*H, I]`
    pub w: Vec<f64>,
    /// `[G*H, H]`
    pub r: Vec<f64>,
    /// `[G*H]`, zeros if there is none.
    pub b_w: Vec<f64>,
    /// `[G*H]`, zeros if there is none.
    pub b_r: Vec<f64>,
}

/// What a layer is run over.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// T
    pub time: usize,
    /// N
    pub batch: usize,
    /// `[T, N, I]`
    pub x: Vec<f64>,
    /// `[N, H]`, zeros if `None`.
    pub h0: Option<Vec<f64>>,
    /// `[N, H]`, zeros if `None`; only an LSTM has one.
    pub c0: Option<Vec<f64>>,
    /// Components of a new state below this magnitude become +0. 0: none do.
    pub flush: f64,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// `[T, N, H]`
    pub y: Vec<f64>,
    /// `[N, H]`
    pub h: Vec<f64>,
    /// `[N, H]` of an LSTM, else empty.
    pub c: Vec<f64>,
}

/// The state of one row: h `[H]` and c `[H]`.
#[derive(Clone)]
struct State {
    h: Vec<f64>,
    c: Vec<f64>,
}

impl Cell {
    /// G
    pub fn gates(self) -> usize {
        match self {
            Cell::SimpleRnn(_) => 1,
            Cell::Lstm => 4,
            Cell::Gru(..) => 3,
        }
    }
}

impl Layer {
    /// Runs the layer over a sequence.
    pub fn run(&self, sequence: &Sequence) -> Output {
        self.check(sequence);
        let (time, batch, hidden) = (sequence.time, sequence.batch, self.hidden);
        let has_c = self.cell == Cell::Lstm;
        let row_of = |plane: &Option<Vec<f64>>, n: usize| match plane {
            Some(values) => values[n * hidden..(n + 1) * hidden].to_vec(),
            None => vec![0.0; hidden],
        };
        let mut y = vec![f64::NAN; time * batch * hidden];
        let (mut h, mut c) = (Vec::new(), Vec::new());
        for n in 0..batch {
            let mut state = State { h: row_of(&sequence.h0, n), c: row_of(&sequence.c0, n) };
            for t in 0..time {
                let x = &sequence.x[(t * batch + n) * self.input..][..self.input];
                state = self.step(x, &state);
                for value in state.h.iter_mut().chain(&mut state.c) {
                    if value.abs() < sequence.flush {
                        *value = 0.0;
                    }
                }
                y[(t * batch + n) * hidden..][..hidden].copy_from_slice(&state.h);
            }
            h.extend(state.h);
            c.extend(state.c.into_iter().filter(|_| has_c));
        }
        Output { y, h, c }
    }

    /// One step of one row: x `[I]`.
    fn step(&self, x: &[f64], state: &State) -> State {
        match self.cell {
            Cell::SimpleRnn(activation) => self.simple_rnn(activation, x, state),
            Cell::Lstm => self.lstm(x, state),
            Cell::Gru(reset, update) => self.gru(reset, update, x, state),
        }
    }

    fn simple_rnn(&self, activation: Activation, x: &[f64], state: &State) -> State {
        let h = (0..self.hidden).map(|u| {
            let a = self.of_input(0, u, x) + self.of_state(0, u, &state.h);
            match activation {
                Activation::Tanh => a.tanh(),
                Activation::Relu if a <= 0.0 => 0.0,
                Activation::Relu => a, // or NaN, which f64::max would drop
            }
        });
        State { h: h.collect(), c: state.c.clone() }
    }

    fn lstm(&self, x: &[f64], state: &State) -> State {
        let mut new = State { h: vec![], c: vec![] };
        for u in 0..self.hidden {
            let i = sigmoid(self.of_input(0, u, x) + self.of_state(0, u, &state.h));
            let f = sigmoid(self.of_input(1, u, x) + self.of_state(1, u, &state.h));
            let g = (self.of_input(2, u, x) + self.of_state(2, u, &state.h)).tanh();
            let o = sigmoid(self.of_input(3, u, x) + self.of_state(3, u, &state.h));
            let c = f * state.c[u] + i * g;
            new.c.push(c);
            new.h.push(o * c.tanh());
        }
        new
    }

    fn gru(&self, reset: Reset, update: Update, x: &[f64], state: &State) -> State {
        let h = &state.h;
        let gate = |g, u| sigmoid(self.of_input(g, u, x) + self.of_state(g, u, h));
        let r: Vec<f64> = (0..self.hidden).map(|u| gate(0, u)).collect();
        let z: Vec<f64> = (0..self.hidden).map(|u| gate(1, u)).collect();
        let r_h: Vec<f64> = r.iter().zip(h).map(|(r, h)| r * h).collect();
        let new = (0..self.hidden).map(|u| {
            let n = match reset {
                Reset::After => (self.of_input(2, u, x) + r[u] * self.of_state(2, u, h)).tanh(),
                Reset::Before => (self.of_input(2, u, x) + self.of_state(2, u, &r_h)).tanh(),
            };
            match update {
                Update::KeepsPast => z[u] * h[u] + (1.0 - z[u]) * n,
                Update::TakesNew => (1.0 - z[u]) * h[u] + z[u] * n,
            }
        });
        State { h: new.collect(), c: state.c.clone() }
    }

    /// `W.x + b_w` of a gate for a unit.
    fn of_input(&self, gate: usize, unit: usize, x: &[f64]) -> f64 {
        let row = gate * self.hidden + unit;
        self.b_w[row] + dot(&self.w[row * self.input..][..self.input], x)
    }

    /// `R.h + b_r` of a gate for a unit.
    fn of_state(&self, gate: usize, unit: usize, h: &[f64]) -> f64 {
        let row = gate * self.hidden + unit;
        self.b_r[row] + dot(&self.r[row * self.hidden..][..self.hidden], h)
    }

    /// Panics where lengths do not fit: a test is wrong then.
    fn check(&self, sequence: &Sequence) {
        let rows = self.cell.gates() * self.hidden;
        assert_eq!(self.w.len(), rows * self.input, "w [G*H, I]");
        assert_eq!(self.r.len(), rows * self.hidden, "r [G*H, H]");
        assert_eq!(self.b_w.len(), rows, "b_w [G*H]");
        assert_eq!(self.b_r.len(), rows, "b_r [G*H]");
        assert_eq!(sequence.x.len(), sequence.time * sequence.batch * self.input, "x [T, N, I]");
        assert!(sequence.c0.is_none() || self.cell == Cell::Lstm, "c0 is for an LSTM");
        for plane in [&sequence.h0, &sequence.c0].into_iter().flatten() {
            assert_eq!(plane.len(), sequence.batch * self.hidden, "h0, c0 [N, H]");
        }
    }
}

fn sigmoid(a: f64) -> f64 {
    1.0 / (1.0 + (-a).exp())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
