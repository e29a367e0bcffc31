//! One step of one row, of every cell with every option.

use super::activation::bounded;
use super::{Activation, Cell, Layer, Reset, Update};

/// In what a layer departs from the standard equations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Of gates, of the candidate, of the cell state on its way to the output; of a SimpleRNN the first one counts.
    pub activations: Option<[Activation; 3]>,
    /// Pre-activations a become min(max(a, -clip), clip).
    pub clip: Option<f64>,
    /// LSTM, `[3*H]` in the order i, f, o: i and f see c, o sees c'.
    pub peepholes: Option<Vec<f64>>,
    /// LSTM: f = 1 - i.
    pub coupled: bool,
    /// LSTM, `[P, H]`: h' = projection . (o h(c')).
    pub projection: Option<Vec<f64>>,
    /// GRU: (1 - a) z in the place of z.
    pub attended: bool,
}

/// The largest magnitudes that occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Largest {
    /// Before an activation of a gate, clipped.
    pub sum: f64,
    /// Of h, in what a step reads or writes.
    pub h: f64,
    /// Of c, likewise.
    pub c: f64,
}

/// The state of one row: h `[H]` or `[P]`, and c `[H]`.
#[derive(Clone)]
pub(super) struct State {
    pub(super) h: Vec<f64>,
    pub(super) c: Vec<f64>,
}

/// The steps of a layer.
pub(super) struct Steps<'a> {
    layer: &'a Layer,
    options: &'a Options,
    /// Of gates, of the candidate, of the cell state.
    activations: [Activation; 3],
    pub(super) largest: Largest,
}

impl<'a> Steps<'a> {
    pub(super) fn new(layer: &'a Layer, options: &'a Options) -> Self {
        let standard = match layer.cell {
            Cell::SimpleRnn(activation) => [activation; 3],
            Cell::Lstm | Cell::Gru(..) => [Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
        };
        let activations = options.activations.unwrap_or(standard);
        Steps { layer, options, activations, largest: Largest::default() }
    }

    /// One step: x `[I]`, and how much the row attends to it.
    pub(super) fn step(&mut self, x: &[f64], attention: f64, state: &State) -> State {
        let new = match self.layer.cell {
            Cell::SimpleRnn(_) => self.simple_rnn(x, state),
            Cell::Lstm => self.lstm(x, state),
            Cell::Gru(reset, update) => self.gru(reset, update, x, attention, state),
        };
        for state in [state, &new] {
            self.largest.h = most(self.largest.h, &state.h);
            self.largest.c = most(self.largest.c, &state.c);
        }
        new
    }

    fn simple_rnn(&mut self, x: &[f64], state: &State) -> State {
        let h = (0..self.layer.hidden).map(|u| self.gate(0, u, x, &state.h, 0.0)).collect();
        State { h, c: state.c.clone() }
    }

    fn lstm(&mut self, x: &[f64], state: &State) -> State {
        let hidden = self.layer.hidden;
        let peepholes = self.options.peepholes.clone().unwrap_or(vec![0.0; 3 * hidden]);
        let (mut out, mut new_c) = (vec![], vec![]);
        for u in 0..hidden {
            let (h, c) = (&state.h, state.c[u]);
            let i = self.gate(0, u, x, h, peepholes[u] * c);
            let f = match self.options.coupled {
                true => 1.0 - i,
                false => self.gate(1, u, x, h, peepholes[hidden + u] * c),
            };
            let g = self.gate(2, u, x, h, 0.0);
            let c = f * c + i * g;
            let o = self.gate(3, u, x, h, peepholes[2 * hidden + u] * c);
            out.push(o * self.activations[2].of(c));
            new_c.push(c);
        }
        let h = match &self.options.projection {
            Some(projection) => projection.chunks_exact(hidden).map(|row| dot(row, &out)).collect(),
            None => out,
        };
        State { h, c: new_c }
    }

    fn gru(&mut self, reset: Reset, update: Update, x: &[f64], attention: f64, state: &State) -> State {
        let (hidden, h) = (self.layer.hidden, &state.h);
        let r: Vec<f64> = (0..hidden).map(|u| self.gate(0, u, x, h, 0.0)).collect();
        let mut z: Vec<f64> = (0..hidden).map(|u| self.gate(1, u, x, h, 0.0)).collect();
        if self.options.attended {
            z = z.into_iter().map(|z| (1.0 - attention) * z).collect();
        }
        let r_h: Vec<f64> = r.iter().zip(h).map(|(r, h)| r * h).collect();
        let new = (0..hidden).map(|u| {
            let sum = match reset {
                Reset::After => self.of_input(2, u, x) + r[u] * self.of_state(2, u, h),
                Reset::Before => self.of_input(2, u, x) + self.of_state(2, u, &r_h),
            };
            let n = self.activate(1, sum);
            match update {
                Update::KeepsPast => z[u] * h[u] + (1.0 - z[u]) * n,
                Update::TakesNew => (1.0 - z[u]) * h[u] + z[u] * n,
            }
        });
        State { h: new.collect(), c: state.c.clone() }
    }

    /// A gate that is activated as it stands, with what a peephole adds.
    fn gate(&mut self, gate: usize, unit: usize, x: &[f64], h: &[f64], peephole: f64) -> f64 {
        let candidate = self.layer.cell == Cell::Lstm && gate == 2;
        let sum = self.of_input(gate, unit, x) + self.of_state(gate, unit, h) + peephole;
        self.activate(usize::from(candidate), sum)
    }

    fn activate(&mut self, which: usize, sum: f64) -> f64 {
        let sum = self.options.clip.map_or(sum, |clip| bounded(sum, -clip, clip));
        self.largest.sum = self.largest.sum.max(sum.abs());
        self.activations[which].of(sum)
    }

    /// `W.x + b_w` of a gate for a unit.
    fn of_input(&self, gate: usize, unit: usize, x: &[f64]) -> f64 {
        let (layer, row) = (self.layer, gate * self.layer.hidden + unit);
        layer.b_w[row] + dot(&layer.w[row * layer.input..][..layer.input], x)
    }

    /// `R.h + b_r` of a gate for a unit.
    fn of_state(&self, gate: usize, unit: usize, h: &[f64]) -> f64 {
        let (layer, row) = (self.layer, gate * self.layer.hidden + unit);
        layer.b_r[row] + dot(&layer.r[row * h.len()..][..h.len()], h)
    }
}

fn most(start: f64, values: &[f64]) -> f64 {
    values.iter().fold(start, |most, v| most.max(v.abs()))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
