//! Which units of a stage are computed, and where their weights stand.

use super::SoloStage;
use crate::gang::Share;
use crate::pack::PanelRef;
use crate::real::Real;

/// Blocks of a panel, whose heads and gates the stage says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks<T> {
    /// The heads of the first.
    pub(super) heads: *const T,
    pub(super) k: usize,
    /// Told apart from the instruction set, of which LLVM knows it: else it makes chains of additions of what is from one
    /// block to the next, in the loop over k.
    lanes: usize,
}

impl<T: Real> Blocks<T> {
    #[inline(always)]
    fn of(panel: PanelRef<'_, T>) -> Self {
        Blocks { heads: panel.data().as_ptr(), k: panel.shape().k, lanes: panel.lanes() }
    }

    /// Values from one block to the next.
    #[inline(always)]
    pub(super) fn stride(&self, heads: usize, gates: usize) -> usize {
        (heads + gates * self.k) * self.lanes
    }
}

/// Some units of a stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units<T> {
    /// The first of them, in the stage.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Their input weights.
    pub(super) input: Blocks<T>,
    /// Their recurrent weights.
    pub(super) recurrent: Blocks<T>,
}

impl<T: Real> Units<T> {
    /// All units of a stage.
    #[inline(always)]
    pub(super) fn all(stage: &SoloStage<'_, T>) -> Self {
        Self::of(0, stage.input.whole(), stage.recurrent.whole())
    }

    /// The units of a share.
    pub(super) fn part(stage: &SoloStage<'_, T>, share: Share) -> Self {
        let blocks = share.part(0..stage.recurrent.blocks());
        let first = blocks.start * stage.recurrent.lanes();
        Self::of(first, stage.input.part(blocks.clone()), stage.recurrent.part(blocks))
    }

    #[inline(always)]
    fn of(first: usize, input: PanelRef<'_, T>, recurrent: PanelRef<'_, T>) -> Self {
        let count = recurrent.shape().units;
        Units { first, count, input: Blocks::of(input), recurrent: Blocks::of(recurrent) }
    }
}
