//! Dropout and zoneout: masks that a call takes from its caller, who draws them.

use crate::dims::Dims;
use crate::error::{Error, Result, same};
use crate::seq::{MatRef, SeqRef};

/// The masks of a layer's call; the library draws none itself. A layer takes them one by one, by
/// [`Input::recurrent_dropout`](crate::Input::recurrent_dropout), [`Input::zoneout`](crate::Input::zoneout) and
/// [`Input::zoneout_cell`](crate::Input::zoneout_cell), which say what each does; a stack takes one `Noise` for each of its
/// layers, see [`StackNoise`].
#[derive(Clone, Copy, Debug)]
pub struct Noise<'a, T> {
    /// What h is multiplied by where it enters a recurrent product, `[N, H]`, `[N, P]` with a projection.
    pub recurrent_dropout: Option<MatRef<'a, T>>,
    /// How much of h stays, `[T, N, H]`, `[T, N, P]` with a projection.
    pub zoneout: Option<SeqRef<'a, T>>,
    /// How much of the c of an LSTM stays, `[T, N, H]`.
    pub zoneout_cell: Option<SeqRef<'a, T>>,
}

/// The masks of a stack's call, for [`Input::stack_noise`](crate::Input::stack_noise). The default is none.
#[derive(Clone, Copy, Debug)]
pub struct StackNoise<'a, T> {
    /// Of every layer and direction, in the order of [`StackState`](crate::StackState): that of layer l and direction d stands
    /// at l D + d. Empty: none.
    pub layers: &'a [Noise<'a, T>],
    /// For every level but the last, what its outputs, both directions merged, are multiplied by before they enter the next
    /// level, `[T, N, C]` at any strides: 0 or 1 / (1 - p). A view whose `time_stride` is 0 is one mask for all timesteps
    /// (Gal and Ghahramani, arXiv:1512.05287); one of T steps is the `dropout` of PyTorch's layers. Where it is 0, the product is
    /// +0, whatever was multiplied. Empty: none.
    pub between: &'a [Option<SeqRef<'a, T>>],
}

impl<T> Default for Noise<'_, T> {
    fn default() -> Self {
        Noise { recurrent_dropout: None, zoneout: None, zoneout_cell: None }
    }
}

impl<T> Default for StackNoise<'_, T> {
    fn default() -> Self {
        StackNoise { layers: &[], between: &[] }
    }
}

impl<'a, T: Copy> Noise<'a, T> {
    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        self.recurrent_dropout.is_none() && self.zoneout.is_none() && self.zoneout_cell.is_none()
    }

    /// Of h, and of c.
    pub(crate) fn zoneouts(&self) -> [Option<SeqRef<'a, T>>; 2] {
        [self.zoneout, self.zoneout_cell]
    }

    /// Of the batch rows `from..from + rows`.
    pub(crate) fn rows(&self, from: usize, rows: usize) -> Result<Self> {
        let part = |mask: Option<SeqRef<'a, T>>| mask.map(|mask| mask.rows(from, rows)).transpose();
        Ok(Noise {
            recurrent_dropout: self.recurrent_dropout.map(|mask| mask.rows_from(from, rows)).transpose()?,
            zoneout: part(self.zoneout)?,
            zoneout_cell: part(self.zoneout_cell)?,
        })
    }

    /// Compares the masks with the sizes of a call.
    pub(crate) fn check(&self, dims: Dims, [time, batch]: [usize; 2], packed: bool) -> Result<()> {
        let no = |what, why| Err(Error::Unsupported { what, why });
        if packed && !self.is_none() {
            return PACKED;
        }
        if let Some(mask) = self.recurrent_dropout {
            same("recurrent_dropout rows", batch, mask.rows())?;
            same("recurrent_dropout columns", dims.output(), mask.cols())?;
            if mask.cols() > 1 {
                same("recurrent_dropout column stride", 1, mask.col_stride())?;
            }
        }
        if self.zoneout_cell.is_some() && !dims.cell.has_cell_state() {
            return no("zoneout_cell", "only an LSTM has a cell state");
        }
        if self.zoneout_cell.is_some() && dims.variant.peepholes {
            return no("zoneout_cell with peepholes", "the output gate sees a cell state that is not kept");
        }
        let names = ["zoneout timesteps", "zoneout rows", "zoneout channels"];
        check_sequence(names, self.zoneout, [time, batch, dims.output()])?;
        let names = ["zoneout_cell timesteps", "zoneout_cell rows", "zoneout_cell channels"];
        check_sequence(names, self.zoneout_cell, [time, batch, dims.hidden])
    }
}

impl<'a, T: Copy> StackNoise<'a, T> {
    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        self.layers.iter().all(Noise::is_none) && self.between.iter().all(Option::is_none)
    }

    /// Of the layer and direction that stands at `index`.
    pub(crate) fn layer(&self, index: usize) -> Noise<'a, T> {
        self.layers.get(index).copied().unwrap_or_default()
    }

    /// Above the level that stands at `index`.
    pub(crate) fn above(&self, index: usize) -> Option<SeqRef<'a, T>> {
        self.between.get(index).copied().flatten()
    }

    /// Compares how many there are with a stack of `layers` layers and directions, and the masks between its levels with what
    /// each level but the last gives.
    pub(crate) fn check(
        &self,
        layers: usize,
        [time, batch]: [usize; 2],
        given: impl ExactSizeIterator<Item = usize>,
        packed: bool,
    ) -> Result<()> {
        if !self.layers.is_empty() {
            same("stack_noise layers", layers, self.layers.len())?;
        }
        if !self.between.is_empty() {
            same("stack_noise between", given.len(), self.between.len())?;
        }
        if packed && !self.is_none() {
            return PACKED;
        }
        let names = ["between timesteps", "between rows", "between channels"];
        self.between
            .iter()
            .zip(given)
            .try_for_each(|(mask, channels)| check_sequence(names, *mask, [time, batch, channels]))
    }
}

const PACKED: Result<()> =
    Err(Error::Unsupported { what: "dropout or zoneout of a packed sequence", why: "give lengths instead" });

/// Compares the sizes of a mask, by their names.
fn check_sequence<T>(names: [&'static str; 3], mask: Option<SeqRef<'_, T>>, sizes: [usize; 3]) -> Result<()> {
    let Some(shape) = mask.map(|mask| mask.shape()) else { return Ok(()) };
    let found = [shape.time, shape.batch, shape.channels];
    (0..3).try_for_each(|k| same(names[k], sizes[k], found[k]))
}
