//! The way of finished sums through the epilogue.

use super::{At, Epilogue, Product, TOGETHER};
use crate::block::Block;
use crate::isa::Simd;
use crate::real::Real;
use std::ops::Range;

impl<T: Real, E: Epilogue<T>> Product<'_, T, E> {
    /// Finishes the sums of some rows and unit blocks, several rows at once where blocks are whole.
    ///
    /// # Safety
    /// As for `group`.
    #[inline(always)]
    pub(super) unsafe fn finish<S: Simd<T>>(
        &self,
        s: S,
        rows: usize,
        number: impl Fn(usize) -> usize,
        blocks: Range<usize>,
        sums: *const T,
    ) {
        let a_block = <E::Acc<()> as Block<()>>::N * S::LANES;
        let a_row = blocks.len() * a_block;
        let whole = blocks.start..blocks.end.min(self.panel.shape().units / S::LANES);
        let last = sums.wrapping_add(whole.len() * a_block);
        // SAFETY: the caller's promise.
        unsafe {
            let done = self.together::<S, TOGETHER>(s, 0..rows, &number, whole.clone(), sums, a_row);
            let rest = sums.wrapping_add(done * a_row);
            self.together::<S, 1>(s, done..rows, &number, whole.clone(), rest, a_row);
            self.together::<S, 1>(s, 0..rows, &number, whole.end..blocks.end, last, a_row);
        }
    }

    /// Finishes some blocks, which are whole if K is not 1, for K rows at a time, and returns the first row that is left.
    /// `sums` are those of the first row, with `a_row` values from one to the next.
    ///
    /// # Safety
    /// As for `group`, for these rows and blocks of it.
    #[inline(always)]
    unsafe fn together<S: Simd<T>, const K: usize>(
        &self,
        s: S,
        mut rows: Range<usize>,
        number: impl Fn(usize) -> usize,
        blocks: Range<usize>,
        mut sums: *const T,
        a_row: usize,
    ) -> usize {
        while rows.len() >= K {
            let mut sum = sums;
            for block in blocks.clone() {
                let place = self.place(s, block);
                // A constant where it can be one.
                let lanes = if K == 1 { place.lanes } else { S::LANES };
                let mut at = [At { lanes, ..place }; K];
                for (i, at) in at.iter_mut().enumerate() {
                    at.row = number(rows.start + i);
                }
                let mut acc = <E::Acc<[S::V; K]> as Block<[S::V; K]>>::fill([s.splat(T::ZERO); K]);
                // SAFETY: the caller's promise.
                unsafe {
                    for g in 0..<E::Acc<()> as Block<()>>::N {
                        for i in 0..K {
                            acc[g][i] = s.load(sum.add(i * a_row));
                        }
                        sum = sum.add(S::LANES);
                    }
                    self.epilogue.finish(s, at, acc);
                }
            }
            (rows.start, sums) = (rows.start + K, sums.wrapping_add(K * a_row));
        }
        rows.start
    }

    /// Finishes a unit block of one row.
    ///
    /// # Safety
    /// `at` is a row and block of the product.
    #[inline(always)]
    pub(super) unsafe fn finish_one<S: Simd<T>>(&self, s: S, at: At<T>, acc: E::Acc<S::V>) {
        let mut sums = <E::Acc<[S::V; 1]> as Block<[S::V; 1]>>::fill([s.splat(T::ZERO)]);
        for g in 0..<E::Acc<()> as Block<()>>::N {
            sums[g] = [acc[g]];
        }
        // SAFETY: the caller's promise.
        unsafe { self.epilogue.finish(s, [at], sums) };
    }
}
