//! The sizes of a layer.

use crate::cell::Cell;

/// What a layer computes and how large it is: the only source of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Dims {
    /// The equations.
    pub cell: Cell,
    /// Input features, I.
    pub input: usize,
    /// Hidden units, H.
    pub hidden: usize,
}

impl Dims {
    pub(crate) fn new(cell: Cell, input: usize, hidden: usize) -> Self {
        Dims { cell, input, hidden }
    }

    /// Multiplications and additions of both products for one row and step: 2 G H (I + H).
    pub fn flops(&self) -> f64 {
        2.0 * self.cell.gates() as f64 * self.hidden as f64 * (self.input as f64 + self.hidden as f64)
    }

    /// Weights and both biases: G H (I + H + 2), at most `usize::MAX`.
    pub fn parameters(&self) -> usize {
        let of_a_unit = self.input.saturating_add(self.hidden).saturating_add(2);
        self.cell.gates().saturating_mul(self.hidden).saturating_mul(of_a_unit)
    }
}
