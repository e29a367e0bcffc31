//! Scratch memory of stacks.

use super::Level;
use super::wave::Lane;
use crate::error::{Error, Result};
use crate::seq::product;
use crate::workspace::Workspace;
use gatefold_kernels::buf::Buf;
use gatefold_kernels::real::Real;

/// Scratch memory of a [`Stack`](super::Stack): the outputs between its layers, and a layer's [`Workspace`]. It grows to
/// what the largest call needs and is used again; a call that it is large enough for allocates nothing.
#[derive(Clone, Debug)]
pub struct StackWorkspace<T> {
    /// For a layer in each direction, since both may run at once.
    pub(super) layers: [Workspace<T>; 2],
    /// The outputs of a layer, read, and of the next one, written.
    pub(super) between: [Buf<T>; 2],
    /// For each layer, where they run side by side.
    pub(super) lanes: Vec<Lane<T>>,
    /// Backward outputs that are merged by arithmetic.
    pub(super) other: Buf<T>,
}

impl<T: Real> StackWorkspace<T> {
    /// An empty one, which the first call makes large enough.
    pub fn new() -> Self {
        let (layers, between) = ([Workspace::new(), Workspace::new()], [Buf::empty(), Buf::empty()]);
        StackWorkspace { layers, between, lanes: Vec::new(), other: Buf::empty() }
    }

    /// Makes the room between `levels` large enough for `rows` rows of all steps together, at least one step of `batch`.
    pub(super) fn reserve(&mut self, levels: &[Level<T>], rows: usize, batch: usize) -> Result<()> {
        let len = |channels: usize| product(&[rows.max(batch), channels]).ok_or(Error::TooLarge { argument: "batch" });
        let channels = levels.iter().rev().skip(1).map(Level::output).max().unwrap_or(0);
        self.between.iter_mut().try_for_each(|buf| buf.reserve(len(channels)?).map_err(Error::from))?;
        let merged = levels.iter().filter(|level| level.merges_by_arithmetic()).map(Level::output).max().unwrap_or(0);
        Ok(self.other.reserve(len(merged)?)?)
    }
}

impl<T: Real> Default for StackWorkspace<T> {
    fn default() -> Self {
        Self::new()
    }
}
