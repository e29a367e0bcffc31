//! Scratch memory of layers.

use crate::caches::Caches;
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::roster::Roster;
use crate::schedule::Plan;
use crate::seq::product;
use crate::stages::Stage;
use gatefold_kernels::buf::{Buf, padded};
use gatefold_kernels::real::Real;
use std::fmt;

/// Scratch memory of a layer: the input product of a block of steps, and what passes between stages. It grows to what
/// the largest call needs and is used again; a call that it is large enough for allocates nothing. It carries no values
/// from call to call, so one serves any number of layers and states of an element type.
#[derive(Clone)]
pub struct Workspace<T> {
    parts: Vec<Scratch<T>>,
}

impl<T> fmt::Debug for Workspace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl<T> Workspace<T> {
    /// An empty one, which the first call makes large enough; [`Layer::workspace`](crate::Layer::workspace) makes one that
    /// is already.
    pub const fn new() -> Self {
        Workspace { parts: Vec::new() }
    }
}

impl<T: Real> Workspace<T> {
    /// Makes it large enough for a call.
    pub(crate) fn reserve(&mut self, stages: &[Stage<T>], dims: Dims, plan: Plan, batch: usize) -> Result<()> {
        let rows = batch.div_ceil(plan.parts);
        let block = product(&[plan.block, rows]).ok_or(Error::TooLarge { argument: "batch" })?;
        self.with_parts(plan.parts).iter_mut().try_for_each(|part| part.reserve(stages, dims, block, rows))
    }

    /// Makes it large enough for every call of up to `time` steps of up to `batch` rows, in up to `parts` parts: a smaller
    /// one may have fewer parts, and so more rows in each.
    pub(crate) fn reserve_up_to(
        &mut self,
        stages: &[Stage<T>],
        dims: Dims,
        [time, batch]: [usize; 2],
        parts: usize,
    ) -> Result<()> {
        for (others, part) in self.with_parts(parts).iter_mut().enumerate() {
            let rows = batch.div_ceil(others + 1);
            part.reserve(stages, dims, Plan::most_rows(dims, time, rows, size_of::<T>(), Caches::of_machine()), rows)?;
        }
        Ok(())
    }

    /// Makes it large enough for dropout.
    pub(crate) fn reserve_dropped(&mut self, dims: Dims, plan: Plan, batch: usize) -> Result<()> {
        let len = product(&[batch.div_ceil(plan.parts), padded::<T>(dims.output())]);
        let len = len.ok_or(Error::TooLarge { argument: "batch" })?;
        Ok(self.with_parts(plan.parts).iter_mut().try_for_each(|part| part.dropped.reserve(len))?)
    }

    fn with_parts(&mut self, parts: usize) -> &mut [Scratch<T>] {
        if self.parts.len() < parts {
            self.parts.resize_with(parts, Scratch::default);
        }
        &mut self.parts[..parts]
    }

    /// Two planes of a row, for what a first stage leaves for a second.
    pub(crate) fn between(&mut self, dims: Dims) -> Result<&mut [Buf<T>; 2]> {
        let [part, ..] = self.with_parts(1) else { return Err(Error::TooLarge { argument: "batch" }) };
        part.reserve_between(padded::<T>(dims.hidden))?;
        Ok(&mut part.between)
    }

    pub(crate) fn parts(&mut self, plan: Plan) -> &mut [Scratch<T>] {
        &mut self.parts[..plan.parts]
    }
}

impl<T> Default for Workspace<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What one thread needs.
#[derive(Clone)]
pub(crate) struct Scratch<T> {
    /// The input product of a block of steps, for each stage.
    pub(crate) products: Vec<Buf<T>>,
    /// A recurrent product, where it is stored.
    pub(crate) recurrent: Buf<T>,
    /// Planes that a first stage leaves for the second.
    pub(crate) between: [Buf<T>; 2],
    /// One value a row, of those that a step brings with it.
    pub(crate) row: Buf<T>,
    /// The hidden state after dropout.
    pub(crate) dropped: Buf<T>,
    pub(crate) roster: Roster,
}

impl<T: Real> Default for Scratch<T> {
    fn default() -> Self {
        let [recurrent, first, second, row, dropped] = std::array::from_fn(|_| Buf::empty());
        Scratch { products: Vec::new(), recurrent, between: [first, second], row, dropped, roster: Roster::default() }
    }
}

impl<T: Real> Scratch<T> {
    /// For blocks of `block` rows, all steps together, and steps of `rows` rows.
    fn reserve(&mut self, stages: &[Stage<T>], dims: Dims, block: usize, rows: usize) -> Result<()> {
        let len = |sizes: &[usize]| product(sizes).ok_or(Error::TooLarge { argument: "batch" });
        if self.products.len() < stages.len() {
            self.products.resize_with(stages.len(), Buf::empty);
        }
        let mut recurrent = 0;
        for (buf, stage) in self.products.iter_mut().zip(stages) {
            let (cols, recurrent_cols) = stage.product_cols();
            buf.reserve(len(&[block, cols])?)?;
            recurrent = recurrent.max(recurrent_cols);
        }
        self.recurrent.reserve(len(&[rows, recurrent])?)?;
        if stages.len() > 1 {
            self.reserve_between(len(&[rows, padded::<T>(dims.hidden)])?)?;
        }
        if dims.variant.attention {
            self.row.reserve(rows)?;
        }
        self.roster.reserve(rows);
        Ok(())
    }

    fn reserve_between(&mut self, plane: usize) -> Result<()> {
        Ok(self.between.iter_mut().try_for_each(|between| between.reserve(plane))?)
    }
}
