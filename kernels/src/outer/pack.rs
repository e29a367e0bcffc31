//! Packing: some columns of some rows, a vector after the other in every link.

use crate::gemm::load_up_to;
use crate::isa::Simd;
use crate::real::Real;
use std::ops::Range;

/// Vectors of columns that are packed side by side.
const TOGETHER: usize = 4;

/// Where vectors are packed to.
pub(super) struct Places<T> {
    pub(super) first: *mut T,
    /// Values from one vector of a link to the next.
    pub(super) vector: usize,
    /// Values from one link to the next.
    pub(super) link: usize,
}

/// Copies some columns of rows, zeros past the last; adds them up, too, if there are `sums`.
///
/// # Safety
/// The rows have these columns; there are places for whole vectors of them; so there are of `sums`.
#[inline(always)]
pub(super) unsafe fn pack<T: Real, S: Simd<T>>(
    s: S,
    rows: &[*const T],
    columns: Range<usize>,
    to: Places<T>,
    sums: Option<*mut T>,
) {
    let mut at = 0;
    while at < columns.len() {
        let left = columns.len() - at;
        // SAFETY: the caller's promise.
        unsafe {
            let to = Places { first: to.first.add(at / S::LANES * to.vector), ..to };
            let (from, sums) = (columns.start + at, sums.map(|sums| sums.add(at)));
            if left >= TOGETHER * S::LANES {
                vectors::<T, S, TOGETHER>(s, rows, from, S::LANES, to, sums);
                at += TOGETHER * S::LANES;
            } else {
                vectors::<T, S, 1>(s, rows, from, left.min(S::LANES), to, sums);
                at += S::LANES;
            }
        }
    }
}

/// `U` vectors of columns, the last one of `lanes`.
///
/// # Safety
/// As for [`pack`].
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "u runs over several arrays")]
unsafe fn vectors<T: Real, S: Simd<T>, const U: usize>(
    s: S,
    rows: &[*const T],
    from: usize,
    lanes: usize,
    to: Places<T>,
    sums: Option<*mut T>,
) {
    let mut acc = [s.splat(T::ZERO); U];
    // SAFETY: the caller's promise; sums are padded to whole vectors.
    unsafe {
        if let Some(sums) = sums {
            for u in 0..U {
                acc[u] = s.load(sums.add(u * S::LANES));
            }
        }
        for (i, row) in rows.iter().enumerate() {
            for u in 0..U {
                let v = load_up_to(s, row.add(from + u * S::LANES), lanes);
                s.store(to.first.add(u * to.vector + i * to.link), v);
                acc[u] = s.add(acc[u], v);
            }
        }
        if let Some(sums) = sums {
            for u in 0..U {
                s.store(sums.add(u * S::LANES), acc[u]);
            }
        }
    }
}
