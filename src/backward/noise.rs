//! Dropout and zoneout, backwards.

use super::factor::Factor;
use crate::error::{Error, Result};
use crate::input;
use crate::seq::{MatMut, MatRef, SeqRef, product};
use gatefold_kernels::backward::Join;
use gatefold_kernels::blend::{Blend, BlendKind};
use gatefold_kernels::buf::Buf;
use gatefold_kernels::isa::Isa;
use gatefold_kernels::real::Real;

/// The masks of a recorded call, and planes to work on, of some rows.
pub(super) struct Noise<'a, T> {
    pub(super) isa: Isa,
    /// `[N, C]`
    pub(super) dropout: Option<MatRef<'a, T>>,
    /// Of h, `[T, N, C]`, and of c, `[T, N, H]`.
    pub(super) zoneout: [Option<SeqRef<'a, T>>; 2],
    /// What zoneout lets past a step, of dh `[N, C]` and of dc `[N, H]`; without columns where there is none.
    pub(super) past: [MatMut<'a, T>; 2],
    /// What dropout is still to be applied to, `[N, C]`; without columns where there is none.
    pub(super) whole: MatMut<'a, T>,
}

impl<'a, T: Real> Noise<'a, T> {
    /// Of `batch` rows of `[C, H]` units, with `room` to work in.
    pub(super) fn new(
        isa: Isa,
        masks: input::Noise<'a, T>,
        [batch, output, hidden]: [usize; 3],
        room: &'a mut [Buf<T>; 3],
    ) -> Result<Self> {
        let (dropout, zoneout) = (masks.recurrent_dropout, masks.zoneouts());
        let [h, c] = zoneout.map(|mask| mask.is_some());
        let [for_h, for_c, for_product] = room;
        let plane = |buf: &'a mut Buf<T>, has: bool, units: usize| {
            let units = if has { units } else { 0 };
            buf.reserve(product(&[batch, units]).ok_or(Error::TooLarge { argument: "batch" })?)?;
            Ok::<_, Error>(MatMut::dense(buf, batch, units)?)
        };
        let past = [plane(for_h, h, output)?, plane(for_c, c, hidden)?];
        Ok(Noise { isa, dropout, zoneout, past, whole: plane(for_product, dropout.is_some(), output)? })
    }

    /// The first `rows` rows of `batch`, and the rest.
    pub(super) fn split(self, rows: usize, batch: usize) -> Result<(Self, Self)> {
        let Noise { isa, dropout, zoneout, past: [h, c], whole } = self;
        let ((h_a, h_b), (c_a, c_b)) = (h.split_rows(rows)?, c.split_rows(rows)?);
        let (whole_a, whole_b) = whole.split_rows(rows)?;
        let part = |from, count, past, whole| {
            let dropout = dropout.map(|mask| mask.rows_from(from, count)).transpose()?;
            let [h, c] = zoneout.map(|mask| mask.map(|mask| mask.rows(from, count)).transpose());
            Ok::<_, Error>(Noise { isa, dropout, zoneout: [h?, c?], past, whole })
        };
        Ok((part(0, rows, [h_a, c_a], whole_a)?, part(rows, batch - rows, [h_b, c_b], whole_b)?))
    }

    /// Leaves in the gradients of h' and c' what goes through the cell at step t, and keeps what does not.
    pub(super) fn enter(&mut self, t: usize, states: [MatMut<'_, T>; 2], select: Option<&[u32]>) -> Result<()> {
        for ((mask, past), mut state) in self.zoneout.iter().zip(&mut self.past).zip(states) {
            let Some(mask) = mask.map(|mask| mask.steps(t, 1)).transpose()?.and_then(|step| step.matrices().next())
            else {
                continue;
            };
            let (isa, also, from, to) = (self.isa, None, Some(state.as_ref()), past.reborrow());
            Blend { isa, kind: BlendKind::Take, mask, from, to, also, select }.run()?;
            let (also, to) = (None, state.reborrow());
            Blend { isa, kind: BlendKind::Rest, mask, from: None, to, also, select }.run()?;
        }
        Ok(())
    }

    /// Adds what was kept.
    pub(super) fn leave(&mut self, states: [MatMut<'_, T>; 2], select: Option<&[u32]>) -> Result<()> {
        for ((mask, past), dh) in self.zoneout.iter().zip(&self.past).zip(states) {
            if mask.is_some() {
                Join { isa: self.isa, dh, dy: Some(past.as_ref()), select }.run()?;
            }
        }
        Ok(())
    }

    /// The gradient of h before a step from those of the gates, added to what it holds if `onto`.
    pub(super) fn product(
        &mut self,
        factor: &Factor<'_, T>,
        gates: SeqRef<'_, T>,
        dh: MatMut<'_, T>,
        onto: bool,
        select: Option<&[u32]>,
    ) -> Result<()> {
        let Some(mask) = self.dropout else { return factor.product(gates, dh, onto, select) };
        factor.product(gates, self.whole.reborrow(), false, select)?;
        let kind = if onto { BlendKind::Add } else { BlendKind::Take };
        let from = Some(self.whole.as_ref());
        Ok(Blend { isa: self.isa, kind, mask, from, to: dh, also: None, select }.run()?)
    }

    /// Applies dropout to what entered a product, or to its gradient.
    pub(super) fn drop(&self, to: MatMut<'_, T>, select: Option<&[u32]>) -> Result<()> {
        let Some(mask) = self.dropout else { return Ok(()) };
        Ok(Blend { isa: self.isa, kind: BlendKind::Scale, mask, from: None, to, also: None, select }.run()?)
    }
}
