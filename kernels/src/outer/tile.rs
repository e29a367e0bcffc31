//! Packing, and the tile: ROWS columns of A by some vectors of B's, in registers while the links of a chunk pass.

use crate::gemm::{load_up_to, store_up_to};
use crate::isa::Simd;
use crate::micro::TURN;
use crate::real::Real;
use std::marker::PhantomData;
use std::ops::Range;

/// Most vectors of a tile's row: 8 rows of 3 are 24 sums of 32 registers, 4 rows are 12 of 16. As many rows always stand
/// in one vector of a packed link, or fill several.
const MOST: usize = 3;

/// Rows of a tile, by the registers: 32, or fewer.
const ROWS: [usize; 2] = [8, 4];

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
    /// Rows that count, from 1 to [`Tiles::ROWS`].
    pub(super) rows: usize,
}

/// A chunk of the sums of a tile of C.
///
/// # Safety
/// The panels have the corner's `k` links, A's its rows as columns and B's as many vectors as the kernel is for; so has C,
/// in all rows of a tile.
pub(super) type Kernel<T, S> = unsafe fn(s: S, corner: &Corner<T>);

pub(super) struct Tiles<T, S>(PhantomData<(T, S)>);

impl<T: Real, S: Simd<T>> Tiles<T, S> {
    /// Rows of a whole tile.
    pub(super) const ROWS: usize = if S::REGS >= 32 { ROWS[0] } else { ROWS[1] };

    /// Vectors of a whole tile's row.
    pub(super) const BLOCKS: usize = MOST;

    /// By the vectors of a row, counted from 1.
    pub(super) const KERNELS: [Kernel<T, S>; MOST] = [Self::kernel::<1>(), Self::kernel::<2>(), Self::kernel::<3>()];

    const fn kernel<const U: usize>() -> Kernel<T, S> {
        if const { S::REGS >= 32 } { kernel::<T, S, { ROWS[0] }, U> } else { kernel::<T, S, { ROWS[1] }, U> }
    }

    /// The sums of a tile of C that is so many columns wide: at least one, and no more than a whole tile.
    ///
    /// # Safety
    /// As for a [`Kernel`], but that C has the corner's rows and these columns.
    #[inline(always)]
    pub(super) unsafe fn run(s: S, corner: &Corner<T>, columns: usize) {
        let vectors = columns.div_ceil(S::LANES);
        let kernel = Self::KERNELS[vectors - 1];
        // SAFETY: the caller's promise: a whole tile has all rows and vectors.
        unsafe {
            if corner.rows == Self::ROWS && columns == vectors * S::LANES {
                kernel(s, corner);
            } else {
                Self::edge(s, corner, columns, kernel);
            }
        }
    }

    /// The sums of a tile at the edge of C, in a whole one on the stack.
    ///
    /// # Safety
    /// As for `run`, with the kernel for these columns.
    #[inline(always)]
    unsafe fn edge(s: S, corner: &Corner<T>, columns: usize, kernel: Kernel<T, S>) {
        let &Corner { onto, c, row_stride, rows, .. } = corner;
        let vectors = columns.div_ceil(S::LANES);
        let mut sums = [s.splat(T::ZERO); ROWS[0] * MOST];
        // SAFETY: the caller's promise; there is a vector for each of a tile.
        unsafe {
            let places = (0..rows).flat_map(|m| (0..vectors).map(move |u| (m, u * S::LANES)));
            let place = |(m, column): (usize, usize)| (c.add(m * row_stride + column), S::LANES.min(columns - column));
            if onto {
                for (sum, (from, lanes)) in sums.iter_mut().zip(places.clone().map(place)) {
                    *sum = load_up_to(s, from, lanes);
                }
            }
            let whole = Corner { onto: true, c: sums.as_mut_ptr().cast(), row_stride: vectors * S::LANES, ..*corner };
            kernel(s, &whole);
            for (&sum, (to, lanes)) in sums.iter().zip(places.map(place)) {
                store_up_to(s, to, sum, lanes);
            }
        }
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
    let Corner { a, column, b, stride, k, onto, c, row_stride, rows } = *corner;
    let mut acc = [[s.splat(T::ZERO); U]; R];
    let mut values = [a; R];
    let mut vectors = [b; U];
    // SAFETY: the caller's promise. Rows past the last one take the values of the last.
    unsafe {
        for u in 0..U {
            vectors[u] = b.add(u * stride * S::LANES);
        }
        for m in 0..R {
            let column = column + m.min(rows - 1);
            values[m] = a.add(column / S::LANES * stride * S::LANES + column % S::LANES);
        }
        if onto {
            for m in 0..R {
                for u in 0..U {
                    acc[m][u] = s.load(c.add(m * row_stride + u * S::LANES));
                }
            }
        }
        // The tile below is the next one. Its part of C comes from afar: asked for all at once it would fill the queue of
        // what the first cache level misses.
        let (mut first, mut below, mut asked) = (0, c.wrapping_add(R * row_stride), 1);
        while k - first >= TURN {
            for u in 0..U {
                s.prefetch(below.wrapping_add(u * S::LANES));
            }
            below = below.wrapping_add(if asked < R { row_stride } else { 0 });
            asked += 1;
            for i in first..first + TURN {
                link::<T, S, R, U>(s, &mut acc, &values, &vectors, i);
            }
            first += TURN;
        }
        for i in first..k {
            link::<T, S, R, U>(s, &mut acc, &values, &vectors, i);
        }
        for m in 0..R {
            for u in 0..U {
                s.store(c.add(m * row_stride + u * S::LANES), acc[m][u]);
            }
        }
    }
}

/// Adds the products of one link.
///
/// # Safety
/// `values` and `vectors` have this link.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "m and u each run over several arrays")]
unsafe fn link<T: Real, S: Simd<T>, const R: usize, const U: usize>(
    s: S,
    acc: &mut [[S::V; U]; R],
    values: &[*const T; R],
    vectors: &[*const T; U],
    i: usize,
) {
    let mut b = [s.splat(T::ZERO); U];
    // SAFETY: the caller's promise.
    unsafe {
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
