//! What stands beside the steps of a relay: the states and the trace, and where those of a step are.

use crate::epilogue::{Kept, Plane, TraceMut};
use crate::mat::MatMut;
use crate::seq::SeqMut;
use crate::shape::ShapeError;

/// A state before and after each step.
#[derive(Debug)]
pub enum States<'a, T> {
    /// Two planes in turn, `[N, units padded]`: the first is what the first step reads, and the last step wrote it if T is even,
    /// else the second.
    InTurn([MatMut<'a, T>; 2]),
    /// All of them, `[T + 1, N, units padded]`: step t reads plane t and writes plane t + 1 or, where time is walked backwards,
    /// the other way round.
    Each(SeqMut<'a, T>),
}

/// Compares two planes with the rows that they have, and the columns at least.
pub(super) fn check_planes<T>(planes: &[MatMut<'_, T>; 2], rows: usize, cols: usize) -> Result<(), ShapeError> {
    planes.iter().try_for_each(|plane| {
        ShapeError::same("plane rows", rows, plane.rows())?;
        ShapeError::at_least("plane columns", cols, plane.cols())
    })
}

impl<T> States<'_, T> {
    /// Compares them with the timesteps, the rows, and the columns that they have at least.
    pub(super) fn check(&self, time: usize, rows: usize, cols: usize) -> Result<(), ShapeError> {
        match self {
            States::InTurn(planes) => check_planes(planes, rows, cols),
            States::Each(planes) => {
                ShapeError::same("planes", time + 1, planes.shape().time)?;
                ShapeError::same("plane rows", rows, planes.shape().batch)?;
                ShapeError::at_least("plane columns", cols, planes.shape().channels)
            }
        }
    }
}

/// [`States`] as pointers.
#[derive(Clone, Copy)]
pub(super) enum Track<T> {
    InTurn([Plane<T>; 2]),
    Each {
        first: Plane<T>,
        /// Values from one plane to the next.
        stride: usize,
    },
}

impl<T> Track<T> {
    pub(super) const NONE: Self = Track::InTurn([Plane::NONE; 2]);

    pub(super) fn of(states: &mut States<'_, T>) -> Self {
        match states {
            States::InTurn(planes) => Track::InTurn(planes.each_mut().map(Plane::write)),
            States::Each(planes) => Track::Each { stride: planes.shape().time_stride, first: Plane::first(planes) },
        }
    }

    /// The plane after so many steps, which is number `t` in time.
    #[inline(always)]
    pub(super) fn at(&self, steps: usize, t: usize) -> Plane<T> {
        match *self {
            Track::InTurn(planes) => planes[steps % 2],
            // Planes without columns may have any strides; they are not read.
            Track::Each { first, stride } => first.shifted(t.wrapping_mul(stride)),
        }
    }

    pub(super) fn skip(&mut self, rows: usize) {
        match self {
            Track::InTurn(planes) => planes.iter_mut().for_each(|plane| plane.skip(rows)),
            Track::Each { first, .. } => first.skip(rows),
        }
    }
}

/// A trace as pointers.
pub(super) struct TraceTrack<T> {
    first: Kept<T>,
    /// Values from one step to the next, of the gates and of what stands beside them.
    strides: [usize; 2],
}

impl<T> TraceTrack<T> {
    pub(super) fn of(trace: &mut TraceMut<'_, T>, units: usize) -> Self {
        let beside = trace.beside.as_ref().map_or(0, |beside| beside.shape().time_stride);
        TraceTrack { strides: [trace.gates.shape().time_stride, beside], first: Kept::first(trace, units) }
    }

    /// Of the step at time t, from a unit on.
    pub(super) fn at(&self, t: usize, unit: usize) -> Kept<T> {
        let [gates, beside] = self.strides.map(|stride| t * stride + unit);
        let Kept { gates: plane, gate, beside: other } = self.first;
        Kept { gates: plane.shifted(gates), gate, beside: other.map(|plane| plane.shifted(beside)) }
    }

    pub(super) fn skip(&mut self, rows: usize) {
        self.first.gates.skip(rows);
        if let Some(beside) = &mut self.first.beside {
            beside.skip(rows);
        }
    }
}
