//! Memory on cache-line boundaries.

use crate::real::Real;
use crate::shape::ShapeError;
use std::ops::{Deref, DerefMut};

/// Bytes in a cache line, and in the longest vector.
pub const LINE: usize = 64;

/// Values in a [`Line`]: one cache line of f32, two of f64.
const VALUES: usize = 16;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line<T>([T; VALUES]);

/// `len` values rounded up to a whole number of cache lines: the row stride of a state plane. `usize::MAX`, which no
/// plane has, where that cannot be counted.
pub fn padded<T: Real>(len: usize) -> usize {
    len.checked_next_multiple_of(LINE / size_of::<T>()).unwrap_or(usize::MAX)
}

/// Values that start on a cache line; all of them are read and written as a slice. Scratch memory starts as NaN, so that
/// reading what nobody wrote shows in the results.
#[derive(Clone, Debug)]
pub struct Buf<T> {
    lines: Vec<Line<T>>,
    len: usize,
}

impl<T> Buf<T> {
    /// No values.
    pub const fn empty() -> Self {
        Buf { lines: Vec::new(), len: 0 }
    }
}

impl<T: Real> Buf<T> {
    /// `len` values, all `value`.
    ///
    /// # Errors
    /// `len` values do not fit in memory.
    pub fn filled(len: usize, value: T) -> Result<Self, ShapeError> {
        let count = len.div_ceil(VALUES);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| ShapeError { argument: "memory", expected: len, found: 0 })?;
        lines.resize(count, Line([value; VALUES]));
        Ok(Buf { lines, len })
    }

    /// `len` values of scratch: NaN.
    ///
    /// # Errors
    /// `len` values do not fit in memory.
    pub fn scratch(len: usize) -> Result<Self, ShapeError> {
        Self::filled(len, T::NAN)
    }

    /// Makes it at least `len` values long; what grows starts as NaN, with no promise on what was there before.
    ///
    /// # Errors
    /// `len` values do not fit in memory.
    pub fn reserve(&mut self, len: usize) -> Result<(), ShapeError> {
        if len > self.len {
            *self = Self::scratch(len)?;
        }
        Ok(())
    }
}

impl<T> Deref for Buf<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `lines` holds at least `len` values of T, initialised, one after the other without padding
        // (a Line is 16 values of 4 or 8 bytes, a multiple of its alignment).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T> DerefMut for Buf<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes the borrow unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_line_and_as_nan() {
        for len in [0, 1, 15, 16, 17, 100] {
            let buf = Buf::<f64>::scratch(len).unwrap();
            assert_eq!((buf.len(), buf.as_ptr() as usize % LINE), (len, 0));
            assert!(buf.iter().all(|x| x.is_nan()));
            assert_eq!(Buf::filled(len, 2.0f32).unwrap().to_vec(), vec![2.0f32; len]);
        }
    }

    #[test]
    fn refuses_what_cannot_be_had() {
        assert!(Buf::<f32>::scratch(usize::MAX).is_err());
        assert!(Buf::<f64>::scratch(isize::MAX as usize / 8).is_err());
    }

    #[test]
    fn grows_and_never_shrinks() {
        let mut buf = Buf::<f32>::empty();
        buf.reserve(20).unwrap();
        buf.reserve(3).unwrap();
        assert_eq!(buf.len(), 20);
    }

    #[test]
    fn pads_to_lines() {
        assert_eq!([padded::<f32>(0), padded::<f32>(1), padded::<f32>(17), padded::<f64>(9)], [0, 16, 32, 16]);
        assert_eq!(padded::<f32>(usize::MAX), usize::MAX);
    }
}
