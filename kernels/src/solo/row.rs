//! Where the row of a [`Solo`](super::Solo) reads and writes.

use crate::real::Real;
use crate::relay::{Held, Walk};

/// Two planes, each of at least `len` values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<T> {
    planes: [*mut T; 2],
    len: usize,
}

impl<T> Pair<T> {
    #[inline(always)]
    pub(super) fn of([first, second]: &mut [&mut [T]; 2]) -> Self {
        Pair { planes: [first.as_mut_ptr(), second.as_mut_ptr()], len: first.len().min(second.len()) }
    }
}

/// All that the steps of a row share.
#[derive(Debug)]
pub(super) struct Row<T> {
    pub(super) x: *const T,
    /// Values from one timestep to the next.
    pub(super) x_stride: usize,
    /// Timesteps that `x`, and `y` if it is wanted, have.
    pub(super) time: usize,
    pub(super) channels: usize,
    pub(super) units: usize,
    pub(super) h: Pair<T>,
    pub(super) c: Pair<T>,
    pub(super) between: Pair<T>,
    /// Null: not wanted.
    pub(super) y: *mut T,
    pub(super) y_stride: usize,
    pub(super) walk: Walk,
    pub(super) reverse: bool,
    /// Steps before these, modulo 2.
    pub(super) turn: usize,
}

impl<T: Real> Row<T> {
    /// Values that a plane has which holds this.
    #[inline(always)]
    pub(super) fn len(&self, held: Held) -> usize {
        match held {
            Held::H => self.h.len,
            Held::C => self.c.len,
            Held::First | Held::Second => self.between.len,
        }
    }

    /// The plane that holds this, of the state by turns.
    #[inline(always)]
    pub(super) fn plane(&self, held: Held, turn: usize) -> *mut T {
        match held {
            Held::H => self.h.planes[turn % 2],
            Held::C => self.c.planes[turn % 2],
            Held::First => self.between.planes[0],
            Held::Second => self.between.planes[1],
        }
    }
}
