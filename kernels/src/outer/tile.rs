//! The tile: ROWS columns of A by some vectors of B's, in registers while the links of a chunk pass.

use super::CHUNK;
use crate::gemm::{load_up_to, store_up_to};
use crate::isa::Simd;
use crate::micro::TURN;
use crate::real::Real;
use std::marker::PhantomData;
use std::ops::Range;

/// Most vectors of a tile's row: 8 rows of 3 are 24 sums of 32 registers, 4 rows are 12 of 16. As many rows always stand
/// in one vector of a packed link, or fill several.
pub(super) const MOST: usize = 3;

/// Rows of a tile, by the registers: 32, or fewer.
const ROWS: [usize; 2] = [8, 4];

/// Links of a turn of the loop: one where registers are few, as LLVM takes more values of several links ahead than there are
/// registers for, and spills the sums.
const fn turn(registers: usize) -> usize {
    if registers >= 32 { TURN } else { 1 }
}

/// Where a tile stands.
pub(super) struct Corner<'a, T> {
    /// The panel's first link of the tile's first column of A, which is a multiple of [`Tiles::ROWS`].
    pub(super) a: *const T,
    /// B's rows: the links.
    pub(super) b: &'a [*const T],
    /// The first column of B.
    pub(super) column: usize,
    /// Whether sums go on from what C holds.
    pub(super) onto: bool,
    /// Of the first row that counts.
    pub(super) c: *mut T,
    pub(super) row_stride: usize,
    /// The rows of the tile that count, of [`Tiles::ROWS`].
    pub(super) rows: Range<usize>,
    /// The first column of B's next strip, and the links of which it is asked for.
    pub(super) after: usize,
    pub(super) asked: Range<usize>,
}

/// A chunk of the sums of a tile of C.
///
/// # Safety
/// The panel has a link for each of the corner's, a tile's rows as columns, and B's rows have as many vectors as the kernel
/// is for from its column on; so has C, in all rows of a tile. The links that are asked for are some of the corner's.
pub(super) type Kernel<T, S> = unsafe fn(s: S, corner: &Corner<'_, T>);

pub(super) struct Tiles<T, S>(PhantomData<(T, S)>);

impl<T: Real, S: Simd<T>> Tiles<T, S> {
    /// Rows of a whole tile.
    pub(super) const ROWS: usize = if S::REGS >= 32 { ROWS[0] } else { ROWS[1] };

    /// By the vectors of a row, counted from 1.
    pub(super) const KERNELS: [Kernel<T, S>; MOST] = [Self::kernel::<1>(), Self::kernel::<2>(), Self::kernel::<3>()];

    const fn kernel<const U: usize>() -> Kernel<T, S> {
        if const { S::REGS >= 32 } { kernel::<T, S, { ROWS[0] }, U> } else { kernel::<T, S, { ROWS[1] }, U> }
    }

    /// The sums of a tile of C that is so many columns wide: at least one, and no more than a whole tile.
    ///
    /// # Safety
    /// As for a [`Kernel`], but that C has the corner's rows that count and these columns.
    #[inline(always)]
    pub(super) unsafe fn run(s: S, corner: &Corner<'_, T>, columns: usize) {
        let vectors = columns.div_ceil(S::LANES);
        let kernel = Self::KERNELS[vectors - 1];
        // SAFETY: the caller's promise: a whole tile has all rows and vectors.
        unsafe {
            if corner.rows.len() == Self::ROWS && columns == vectors * S::LANES {
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
    unsafe fn edge(s: S, corner: &Corner<'_, T>, columns: usize, kernel: Kernel<T, S>) {
        let Corner { onto, c, row_stride, ref rows, .. } = *corner;
        let vectors = columns.div_ceil(S::LANES);
        let mut sums = [s.splat(T::ZERO); ROWS[0] * MOST];
        let counted = rows.start * vectors..rows.end * vectors;
        // SAFETY: the caller's promise; there is a vector for each of a tile.
        unsafe {
            let places = (0..rows.len()).flat_map(|m| (0..vectors).map(move |u| (m, u * S::LANES)));
            let place = |(m, column): (usize, usize)| (c.add(m * row_stride + column), S::LANES.min(columns - column));
            if onto {
                for (sum, (from, lanes)) in sums[counted.clone()].iter_mut().zip(places.clone().map(place)) {
                    *sum = load_up_to(s, from, lanes);
                }
            }
            let (rows, asked) = (0..Self::ROWS, 0..0);
            let c = sums.as_mut_ptr().cast();
            kernel(s, &Corner { onto: true, c, row_stride: vectors * S::LANES, rows, asked, ..*corner });
            for (&sum, (to, lanes)) in sums[counted].iter().zip(places.map(place)) {
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
unsafe fn kernel<T: Real, S: Simd<T>, const R: usize, const U: usize>(s: S, corner: &Corner<'_, T>) {
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
unsafe fn add<T: Real, S: Simd<T>, const R: usize, const U: usize>(s: S, corner: &Corner<'_, T>) {
    let Corner { a, b, column, onto, c, row_stride, after, ref asked, .. } = *corner;
    let mut acc = [[s.splat(T::ZERO); U]; R];
    // SAFETY: the caller's promise.
    unsafe {
        if onto {
            for m in 0..R {
                for u in 0..U {
                    acc[m][u] = s.load(c.add(m * row_stride + u * S::LANES));
                }
            }
        }
        // What comes next comes from afar: asked for all at once it would fill the queue of what the first cache level
        // misses. The tile below is the next one; then B's next strip, of which each tile asks for a part.
        let (mut below, end) = (c.wrapping_add(R * row_stride), c.wrapping_add(2 * R * row_stride));
        let mut asked = asked.clone();
        let (mut a, mut links) = (a, b.as_ptr());
        let turn = const { turn(S::REGS) };
        for _ in 0..b.len() / turn {
            let mut ask = std::ptr::null();
            if below != end {
                ask = below.cast_const();
                below = below.wrapping_add(row_stride);
            } else if asked.start < asked.end {
                ask = (*b.as_ptr().add(asked.start)).wrapping_add(after);
                asked.start += 1;
            }
            if !ask.is_null() {
                for u in 0..U {
                    s.prefetch(ask.wrapping_add(u * S::LANES));
                }
            }
            for i in 0..turn {
                link::<T, S, R, U>(s, &mut acc, a.add(i * S::LANES), (*links.add(i)).add(column));
            }
            (a, links) = (a.add(turn * S::LANES), links.add(turn));
        }
        for i in 0..b.len() % turn {
            link::<T, S, R, U>(s, &mut acc, a.add(i * S::LANES), (*links.add(i)).add(column));
        }
        for m in 0..R {
            for u in 0..U {
                s.store(c.add(m * row_stride + u * S::LANES), acc[m][u]);
            }
        }
    }
}

/// Adds the products of one link: of the panel's columns, a vector of them each [`CHUNK`] links, and B's vectors.
///
/// # Safety
/// They have R columns and U vectors.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "m and u each run over several arrays")]
unsafe fn link<T: Real, S: Simd<T>, const R: usize, const U: usize>(
    s: S,
    acc: &mut [[S::V; U]; R],
    columns: *const T,
    vectors: *const T,
) {
    let mut b = [s.splat(T::ZERO); U];
    // SAFETY: the caller's promise.
    unsafe {
        for u in 0..U {
            b[u] = s.load(vectors.add(u * S::LANES));
        }
        for m in 0..R {
            let a = s.splat(*columns.add(m / S::LANES * CHUNK * S::LANES + m % S::LANES));
            for u in 0..U {
                acc[m][u] = s.fma(a, b[u], acc[m][u]);
            }
        }
    }
}
