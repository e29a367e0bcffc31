//! Dropout and zoneout: masks that a call takes from its caller, who draws them.

use crate::dims::Dims;
use crate::error::{Error, Result, same};
use crate::seq::{MatRef, SeqRef};

/// The masks of a call; the library draws none itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise<'a, T> {
    /// `[N, C]`, of h where it enters the recurrent product.
    pub(crate) dropout: Option<MatRef<'a, T>>,
    /// How much of h stays, `[T, N, C]`, and of c, `[T, N, H]`.
    pub(crate) zoneout: [Option<SeqRef<'a, T>>; 2],
}

impl<'a, T: Copy> Noise<'a, T> {
    pub(crate) const NONE: Self = Noise { dropout: None, zoneout: [None, None] };

    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        self.dropout.is_none() && self.zoneout.iter().all(Option::is_none)
    }

    /// Of the batch rows `from..from + rows`.
    pub(crate) fn rows(&self, from: usize, rows: usize) -> Result<Self> {
        let dropout = self.dropout.map(|mask| mask.rows_from(from, rows)).transpose()?;
        let [h, c] = self.zoneout.map(|mask| mask.map(|mask| mask.rows(from, rows)).transpose());
        Ok(Noise { dropout, zoneout: [h?, c?] })
    }

    /// Compares the masks with the sizes of a call.
    pub(crate) fn check(&self, dims: Dims, [time, batch]: [usize; 2], packed: bool) -> Result<()> {
        let no = |what, why| Err(Error::Unsupported { what, why });
        if packed && !self.is_none() {
            return no("dropout or zoneout of a packed sequence", "give lengths instead");
        }
        if let Some(mask) = self.dropout {
            same("recurrent_dropout rows", batch, mask.rows())?;
            same("recurrent_dropout columns", dims.output(), mask.cols())?;
            if mask.cols() > 1 {
                same("recurrent_dropout column stride", 1, mask.col_stride())?;
            }
        }
        let [h, c] = self.zoneout;
        if c.is_some() && !dims.cell.has_cell_state() {
            return no("zoneout_cell", "only an LSTM has a cell state");
        }
        if c.is_some() && dims.variant.peepholes {
            return no("zoneout_cell with peepholes", "the output gate sees a cell state that is not kept");
        }
        for (names, mask, channels) in [
            (["zoneout timesteps", "zoneout rows", "zoneout channels"], h, dims.output()),
            (["zoneout_cell timesteps", "zoneout_cell rows", "zoneout_cell channels"], c, dims.hidden),
        ] {
            if let Some(mask) = mask {
                same(names[0], time, mask.shape().time)?;
                same(names[1], batch, mask.shape().batch)?;
                same(names[2], channels, mask.shape().channels)?;
            }
        }
        Ok(())
    }
}
