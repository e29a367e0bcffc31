//! In which order a step visits the weights of its stages.
//!
//! Steps walk over unit blocks to and fro, so that each finds the weights that the last one read still in a cache. Stages
//! that need each other's results spoil that: r and z, then n, then r and z again finds little where a stage alone fills
//! the cache. But z needs neither r nor n. So a GRU with a stage for each gate computes z of one half of the units first
//! in a step, and of the other half last; in the next step the other way round. What was read last is what is read first:
//!
//! ```text
//!   step   units       round 0            round 1
//!   even   upwards     z lower, r         n, z upper
//!   odd    downwards   z upper, r         n, z lower
//! ```
//!
//! Whichever comes last of a unit's z and n makes its state.

use super::MAX_STAGES;
use crate::cell::StageKind::{self, GruCandidate, GruEarlyCandidate, GruLateUpdate, GruReset, GruUpdate};
use crate::gang::Share;
use std::ops::Range;

/// Some blocks of a stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    /// Which stage of the layer.
    pub(super) stage: usize,
    /// What is computed there.
    pub(super) kind: StageKind,
    /// Whether the h that it writes, if it does, is that of the layer.
    pub(super) last: bool,
    part: Part,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    /// The half of the units that the step walks over first.
    First,
    Second,
}

const fn visit(stage: usize, kind: StageKind, last: bool, part: Part) -> Option<Visit> {
    Some(Visit { stage, kind, last, part })
}

/// Most visits of a round.
const MOST: usize = 3;

/// Most rows for which stages are visited by halves. With more, multiplying takes longer than reading, and what a visit's
/// first tile waits for counts.
const FEW_ROWS: usize = 8;

/// The stages of a GRU that are visited by halves.
const BY_GATE: [StageKind; 3] = [GruReset, GruUpdate, GruCandidate];

/// Their visits.
const HALVES: [[Option<Visit>; MOST]; 2] = [
    [
        visit(1, GruUpdate, false, Part::First),
        visit(0, GruReset, false, Part::First),
        visit(0, GruReset, false, Part::Second),
    ],
    [
        visit(2, GruCandidate, true, Part::First),
        visit(2, GruEarlyCandidate, false, Part::Second),
        visit(1, GruLateUpdate, true, Part::Second),
    ],
];

/// The rounds of a step.
pub(super) struct Rounds {
    visits: [[Option<Visit>; MOST]; MAX_STAGES],
    pub(super) count: usize,
}

impl Rounds {
    /// For so many rows, of stages by what they compute and for how many units.
    pub(super) fn of(rows: usize, stages: impl Iterator<Item = (StageKind, usize)> + Clone) -> Self {
        let mut visits = [[None; MOST]; MAX_STAGES];
        let mut units = stages.clone().map(|(_, units)| units);
        let first = units.next();
        if rows <= FEW_ROWS
            && stages.clone().map(|(kind, _)| kind).eq(BY_GATE)
            && units.all(|units| Some(units) == first)
        {
            visits[..HALVES.len()].copy_from_slice(&HALVES);
            return Rounds { visits, count: HALVES.len() };
        }
        let count = stages.clone().count();
        for (i, (round, (kind, _))) in visits.iter_mut().zip(stages).enumerate() {
            round[0] = visit(i, kind, i + 1 == count, Part::Whole);
        }
        Rounds { visits, count }
    }

    /// The visits of a round, in their order.
    #[inline(always)]
    pub(super) fn visits(&self, round: usize) -> impl Iterator<Item = Visit> {
        self.visits[round].iter().flatten().copied()
    }
}

impl Visit {
    /// The blocks of a share, of so many that the stage has; `reverse`: whether the step walks downwards.
    #[inline(always)]
    pub(super) fn blocks(self, blocks: usize, reverse: bool, share: Share) -> Range<usize> {
        let half = blocks / 2;
        share.part(match (self.part, reverse) {
            (Part::Whole, _) => 0..blocks,
            (Part::First, false) | (Part::Second, true) => 0..half,
            (Part::First, true) | (Part::Second, false) => half..blocks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::StageKind::{GruGates, Lstm};

    /// Every round of a step, as stage, kind and blocks of the first share of two.
    fn walk(rounds: &Rounds, blocks: usize, reverse: bool) -> Vec<Vec<(usize, StageKind, Range<usize>)>> {
        let share = Share { index: 0, of: 2 };
        let round =
            |round| rounds.visits(round).map(|visit| (visit.stage, visit.kind, visit.blocks(blocks, reverse, share)));
        (0..rounds.count).map(|i| round(i).collect()).collect()
    }

    #[test]
    fn other_stages_have_a_round_each() {
        let rounds = Rounds::of(1, [(Lstm, 5)].into_iter());
        assert_eq!(walk(&rounds, 8, true), [[(0, Lstm, 0..4)]]);
        let rounds = Rounds::of(1, [(GruGates, 5), (GruCandidate, 5)].into_iter());
        assert_eq!(walk(&rounds, 8, false), [[(0, GruGates, 0..4)], [(1, GruCandidate, 0..4)]]);
        let rounds = Rounds::of(1, BY_GATE.into_iter().zip([5, 5, 6]));
        assert_eq!(rounds.count, 3);
    }

    #[test]
    fn the_half_that_was_read_last_is_read_first() {
        let rounds = Rounds::of(1, BY_GATE.into_iter().zip([5; 3]));
        let (even, odd) = (walk(&rounds, 9, false), walk(&rounds, 9, true));
        assert_eq!(even[0], [(1, GruUpdate, 0..2), (0, GruReset, 0..2), (0, GruReset, 4..6)]);
        assert_eq!(even[1], [(2, GruCandidate, 0..2), (2, GruEarlyCandidate, 4..6), (1, GruLateUpdate, 4..6)]);
        assert_eq!(odd[0], [(1, GruUpdate, 4..6), (0, GruReset, 4..6), (0, GruReset, 0..2)]);
        assert_eq!(odd[1], [(2, GruCandidate, 4..6), (2, GruEarlyCandidate, 0..2), (1, GruLateUpdate, 0..2)]);
    }

    #[test]
    fn shares_meet_every_block_once() {
        for (blocks, of) in [(0, 2), (1, 1), (1, 3), (7, 2), (64, 16), (5, 9)] {
            for (part, reverse) in
                [(Part::Whole, false), (Part::First, true), (Part::Second, true), (Part::First, false)]
            {
                let visit = Visit { stage: 0, kind: Lstm, last: true, part };
                let whole = visit.blocks(blocks, reverse, Share::ALL);
                let met: Vec<_> =
                    (0..of).flat_map(|index| visit.blocks(blocks, reverse, Share { index, of })).collect();
                assert_eq!(met, whole.collect::<Vec<_>>());
            }
        }
    }
}
