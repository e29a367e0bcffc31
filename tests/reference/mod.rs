//! The naive reference: recurrent layers in scalar f64, one sum after the other, straight from the equations.
//!
//! It is the oracle of the tests and uses nothing of the crate under test. A row of the batch is computed on its own, from
//! its first step to its last, or the other way. Gates are in the order i, f, g, o and r, z, n, in blocks of H rows.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod activation;
mod cells;
pub mod stack;
mod walk;

pub use activation::Activation;
pub use cells::{Largest, Options};
pub use walk::{Direction, Masked, Order, Rows, Walk, Walked};

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
    /// `[G*H, H]`, or `[G*H, P]` with a projection.
    pub r: Vec<f64>,
    /// `[G*H]`, zeros if there is none.
    pub b_w: Vec<f64>,
    /// `[G*H]`, zeros if there is none.
    pub b_r: Vec<f64>,
}

/// What a layer is run over. Where there is a projection, h is `[N, P]`.
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
    /// Runs the layer by its standard equations over all steps of all rows, from the first to the last.
    pub fn run(&self, sequence: &Sequence) -> Output {
        let Walked { y, h, c, .. } = self.walk(&Options::default(), sequence, &Walk::default());
        Output { y, h, c }
    }
}
