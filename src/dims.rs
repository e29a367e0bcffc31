//! The sizes of a layer.

use crate::cell::{Cell, Reset, Variant};

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
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Dims {
    /// The equations.
    pub cell: Cell,
    /// In what they depart from the standard.
    pub variant: Variant,
    /// Input features, I.
    pub input: usize,
    /// Hidden units, H.
    pub hidden: usize,
    /// Units of the projection of an LSTM's output, P.
    pub projection: Option<usize>,
}

impl Dims {
    /// Channels of the output and of the hidden state: P if there is a projection, else H.
    pub fn output(&self) -> usize {
        self.projection.unwrap_or(self.hidden)
    }

    /// Floating-point operations of the products for one row and step, an FMA counted as two: 2 G H (I + H), or
    /// 2 G H (I + P) + 2 P H with a projection.
    pub fn flops(&self) -> f64 {
        let [gates, input, hidden, output] =
            [self.cell.gates(), self.input, self.hidden, self.output()].map(|size| size as f64);
        let projection = self.projection.map_or(0.0, |_| 2.0 * output * hidden);
        2.0 * gates * hidden * (input + output) + projection
    }

    /// Whether a step has two products, the second of what comes of the first.
    pub(crate) fn has_two_stages(&self) -> bool {
        self.projection.is_some() || self.cell == Cell::Gru { reset: Reset::Before }
    }

    /// The number of weights, both biases included whether the layer has them or not: G H (I + H + 2), or
    /// G H (I + P + 2) + P H with a projection, and 3 H of peepholes; at most `usize::MAX`.
    pub fn parameters(&self) -> usize {
        let of_a_unit = self.input.saturating_add(self.output()).saturating_add(2);
        let of_gates = self.cell.gates().saturating_mul(self.hidden).saturating_mul(of_a_unit);
        let of_projection = self.projection.map_or(0, |units| units.saturating_mul(self.hidden));
        let of_peepholes = if self.variant.peepholes { self.hidden.saturating_mul(3) } else { 0 };
        of_gates.saturating_add(of_projection).saturating_add(of_peepholes)
    }
}
