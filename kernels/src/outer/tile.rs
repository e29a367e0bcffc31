//! Packing, and the tile: ROWS columns of A by some vectors of B's, in registers while the links of a chunk pass.

use crate::gemm::{load_up_to, store_up_to};
use crate::isa::Simd;
use crate::real::Real;
use std::marker::PhantomData;
use std::ops::Range;

/// Most vectors of a tile's row: 8 rows of 3 are 24 sums of 32 registers, 4 rows are 12 of 16. As many rows always stand
/// in one vector of a packed link, or fill several.
const MOST: usize = 3;

/// Vectors of columns that are packed side by side.
const PACKED: usize = 4;

/// Where a tile stands. Panels have a vector of columns for each link, `stride` links for each vector of columns.
pub(super) struct Corner<T> {
    pub(super) a: *const T,
    /// The first column of A.
    pub(super) column: usize,
    /// The panel of the first column of B.
    pub(super) b: *const T,
    pub(super) stride: usize,
    /// Links.
    pub(super) k: usize,
    /// Whether they go on from what C holds.
    pub(super) onto: bool,
    pub(super) c: *mut T,
    pub(super) row_stride: usize,
    /// Rows of C, from 1 to [`Tiles::ROWS`].
    pub(super) rows: usize,
    /// Columns of C.
    pub(super) cols: usize,
}

/// A chunk of the sums of a tile of C.
///
/// # Safety
/// The panels have the columns and `k` links of the corner, and C has its rows and columns, as many as the kernel has
/// vectors for.
pub(super) type Kernel<T, S> = unsafe fn(s: S, corner: &Corner<T>);

pub(super) struct Tiles<T, S>(PhantomData<(T, S)>);

impl<T: Real, S: Simd<T>> Tiles<T, S> {
    /// Rows of a whole tile.
    pub(super) const ROWS: usize = if S::REGS >= 32 { 8 } else { 4 };

    /// Vectors of a whole tile's row.
    pub(super) const BLOCKS: usize = MOST;

    /// By the vectors of a row, counted from 1.
    pub(super) const KERNELS: [Kernel<T, S>; MOST] = [Self::kernel::<1>(), Self::kernel::<2>(), Self::kernel::<3>()];

    const fn kernel<const U: usize>() -> Kernel<T, S> {
        if const { S::REGS >= 32 } { kernel::<T, S, 8, U> } else { kernel::<T, S, 4, U> }
    }
}

/// A function of its own for each size. (On one with target features, Rust 1.95 drops `inline(never)`.)
///
/// # Safety
/// As for a [`Kernel`].
#[inline(never)]
unsafe fn kernel<T: Real, S: Simd<T>, const R: usize, const U: usize>(s: S, corner: &Corner<T>) {
    s.vectorize(
        #[inline(always)]
        // SAFETY: the caller's promise.
        || unsafe { add::<T, S, R, U>(s, corner) },
    );
}

/// # Safety
/// As for a [`Kernel`].
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "m and u each run over several arrays")]
unsafe fn add<T: Real, S: Simd<T>, const R: usize, const U: usize>(s: S, corner: &Corner<T>) {
    let Corner { a, column, b, stride, k, onto, c, row_stride, rows, cols } = *corner;
    let lanes = cols - (U - 1) * S::LANES;
    let last = |u: usize| if u + 1 == U { lanes } else { S::LANES };
    let mut acc = [[s.splat(T::ZERO); U]; R];
    let mut values = [a; R];
    let mut vectors = [b; U];
    // SAFETY: the caller's promise. Rows past the last one take the values of the last, and are not stored.
    unsafe {
        for u in 0..U {
            vectors[u] = b.add(u * stride * S::LANES);
        }
        for m in 0..R {
            let column = column + m.min(rows - 1);
            values[m] = a.add(column / S::LANES * stride * S::LANES + column % S::LANES);
            if onto && m < rows {
                for u in 0..U {
                    acc[m][u] = load_up_to(s, c.add(m * row_stride + u * S::LANES), last(u));
                }
            }
        }
        // The tile below is the next one: its part of C comes from afar.
        for m in R..2 * R {
            for u in 0..U {
                s.prefetch(c.wrapping_add(m * row_stride + u * S::LANES));
            }
        }
        for i in 0..k {
            let mut b = [s.splat(T::ZERO); U];
            for u in 0..U {
                b[u] = s.load(vectors[u].add(i * S::LANES));
            }
            for m in 0..R {
                let a = s.splat(*values[m].add(i * S::LANES));
                for u in 0..U {
                    acc[m][u] = s.fma(a, b[u], acc[m][u]);
                }
            }
        }
        for m in 0..R {
            if m < rows {
                for u in 0..U {
                    store_up_to(s, c.add(m * row_stride + u * S::LANES), acc[m][u], last(u));
                }
            }
        }
    }
}

/// Copies some columns of rows to a panel, a vector of columns after the other, zeros past the last; adds them up, too, if
/// there are `sums`.
///
/// # Safety
/// `rows` are at most `stride` and have these columns; the panel has room for them, whole vectors; so have `sums`.
#[inline(always)]
pub(super) unsafe fn pack<T: Real, S: Simd<T>>(
    s: S,
    rows: &[*const T],
    columns: Range<usize>,
    to: *mut T,
    stride: usize,
    sums: Option<*mut T>,
) {
    let mut at = 0;
    while at < columns.len() {
        let left = columns.len() - at;
        // SAFETY: the caller's promise.
        unsafe {
            let (from, to) = (columns.start + at, to.add(at * stride));
            let sums = sums.map(|sums| sums.add(at));
            if left >= PACKED * S::LANES {
                vectors::<T, S, PACKED>(s, rows, from, S::LANES, to, stride, sums);
                at += PACKED * S::LANES;
            } else {
                vectors::<T, S, 1>(s, rows, from, left.min(S::LANES), to, stride, sums);
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
    to: *mut T,
    stride: usize,
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
                s.store(to.add((u * stride + i) * S::LANES), v);
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
