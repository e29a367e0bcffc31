//! Dropout between the levels of a stack: masks applied to what goes up and to the gradient that comes down.

use crate::error::{Error, Result};
use crate::seq::{SeqRef, SeqShape, product};
use gatefold_kernels::buf::Buf;
use gatefold_kernels::real::Real;

/// Multiplies `values`, dense `[T, N, C]`, by a mask of these sizes. What is dropped is +0, whatever it was.
pub(super) fn multiply<T: Real>(values: &mut [T], mask: SeqRef<'_, T>) {
    let SeqShape { batch, channels, .. } = mask.shape();
    for (i, row) in values.chunks_exact_mut(channels.max(1)).enumerate() {
        let mask = mask.row(i / batch.max(1), i % batch.max(1)).unwrap_or_default();
        for (value, &mask) in row.iter_mut().zip(mask) {
            *value = if mask == T::ZERO { T::ZERO } else { *value * mask };
        }
    }
}

/// A mask of a recorded call, or none.
#[derive(Clone, Debug)]
pub(super) struct Kept<T> {
    /// `[T, N, C]`, or `[N, C]` for all timesteps.
    values: Buf<T>,
    shape: Option<SeqShape>,
}

impl<T: Real> Kept<T> {
    pub(super) fn new() -> Self {
        Kept { values: Buf::empty(), shape: None }
    }

    /// Takes down a mask; one for all timesteps once.
    pub(super) fn keep(&mut self, mask: Option<SeqRef<'_, T>>) -> Result<()> {
        self.shape = None;
        let Some(mask) = mask else { return Ok(()) };
        let SeqShape { time, batch, channels, time_stride, .. } = mask.shape();
        let dense = SeqShape::time_major(time, batch, channels);
        let (steps, shape) =
            if time_stride == 0 { (time.min(1), SeqShape { time_stride: 0, ..dense }) } else { (time, dense) };
        self.values.reserve(product(&[steps, batch, channels]).ok_or(Error::TooLarge { argument: "batch" })?)?;
        let rows = (0..if batch == 0 { 0 } else { steps }).flat_map(|t| (0..batch).map(move |n| (t, n)));
        for ((t, n), to) in rows.zip(self.values.chunks_exact_mut(channels.max(1))) {
            to.copy_from_slice(mask.row(t, n).unwrap_or_default());
        }
        self.shape = Some(shape);
        Ok(())
    }

    /// The mask.
    pub(super) fn mask(&self) -> Result<Option<SeqRef<'_, T>>> {
        Ok(self.shape.map(|shape| SeqRef::new(&self.values, shape)).transpose()?)
    }

    pub(super) fn is_some(&self) -> bool {
        self.shape.is_some()
    }

    /// Whether it is none, or one of so many channels.
    pub(super) fn fits(&self, channels: usize) -> bool {
        self.shape.is_none_or(|shape| shape.channels == channels)
    }
}
