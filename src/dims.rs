//! The sizes of a layer.

use crate::cell::Cell;

/// What a layer computes and how large it is: the only source of sizes.
///
/// ```
/// use gatefold::cell::Cell;
/// use gatefold::{Lstm, Options, Weights};
///
/// let weights = Weights::new(Cell::Lstm, 2, 3, vec![0.1f32; 24], vec![0.1; 36], None, None)?;
/// let dims = Lstm::new(weights, Options::default())?.dims();
/// assert_eq!((dims.input, dims.hidden), (2, 3));
/// assert_eq!((dims.parameters(), dims.flops()), (84, 120.0));
/// # Ok::<(), gatefold::Error>(())
/// ```
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

    /// Floating-point operations of both products for one row and step, an FMA counted as two: 2 G H (I + H).
    pub fn flops(&self) -> f64 {
        2.0 * self.cell.gates() as f64 * self.hidden as f64 * (self.input as f64 + self.hidden as f64)
    }

    /// The number of weights, both biases included whether the layer has them or not: G H (I + H + 2), at most `usize::MAX`.
    pub fn parameters(&self) -> usize {
        let of_a_unit = self.input.saturating_add(self.hidden).saturating_add(2);
        self.cell.gates().saturating_mul(self.hidden).saturating_mul(of_a_unit)
    }
}
