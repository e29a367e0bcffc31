//! C += A^T B, summed over the rows of sequences: the gradients of weights.
//!
//! Of both sides a row is a link of every chain, so nothing is transposed: rows are copied to panels as they stand, a
//! vector of columns after the other, and a tile takes single values of A's and vectors of B's. Chains run over all rows in
//! ascending order. They are cut into chunks of rows, of which B's stay in the first cache level, and go on from what the
//! last chunk stored in C.

mod tile;

use crate::buf::padded;
use crate::isa::{Isa, Op, Simd};
use crate::mat::MatMut;
use crate::real::Real;
use crate::seq::{RowWalk, SeqRef};
use crate::shape::ShapeError;
use std::ops::Range;
use tile::{Corner, Tiles, pack};

/// Rows of a chunk.
const CHUNK: usize = 160;

/// Columns of A that are packed at once, a multiple of all vectors and tiles.
const COLUMNS: usize = 512;

/// Sums over the T N rows of sequences.
#[derive(Debug)]
pub struct Outer<'a, 'b, T> {
    /// The instruction set; the result has the same bits under every one.
    pub isa: Isa,
    /// A, `[T, N, M]`.
    pub left: SeqRef<'a, T>,
    /// What is summed.
    pub terms: &'b mut [OuterTerm<'a, T>],
    /// Whether it is added to what C and the sums hold; else they are not read.
    pub onto: bool,
    /// At least [`Outer::room`] values.
    pub room: &'b mut [T],
}

/// C += A'^T B, where A' are some columns of A.
#[derive(Debug)]
pub struct OuterTerm<'a, T> {
    /// The first column of A'.
    pub from: usize,
    /// B, `[T, N, C]`.
    pub right: SeqRef<'a, T>,
    /// C, a row for each column of A'.
    pub c: MatMut<'a, T>,
    /// To each the sum of a column of A' is added, `[rows of C]`; or nothing.
    pub sums: &'a mut [T],
}

impl<T: Real> OuterTerm<'_, T> {
    /// Columns of B that are needed: none if C has no rows.
    fn columns(&self) -> usize {
        if self.c.rows() == 0 { 0 } else { self.c.cols() }
    }
}

impl<T: Real> Outer<'_, '_, T> {
    /// Computes all terms. Cost: 2 T N floating-point operations for each value of a C; nothing is allocated.
    ///
    /// # Errors
    /// A size that does not fit, by the name of the field; nothing was computed then.
    pub fn run(self) -> Result<(), ShapeError> {
        T::outer(self)
    }

    /// Room for the sums of all columns, read and written by whole vectors that start at any of them.
    fn sums(columns: usize) -> usize {
        padded::<T>(columns).saturating_add(padded::<T>(1))
    }

    /// Values of scratch for M columns of A and terms of so many columns of B; `usize::MAX` where they cannot be counted.
    pub fn room(columns: usize, right: impl Iterator<Item = usize>) -> usize {
        let panels = right.map(padded::<T>).fold(padded::<T>(columns.min(COLUMNS)), usize::saturating_add);
        panels.saturating_mul(CHUNK).saturating_add(Self::sums(columns))
    }
}

/// The body of [`Outer::run`] for one element type.
pub(crate) fn outer<T: Real>(args: Outer<'_, '_, T>) -> Result<(), ShapeError> {
    let shape = args.left.shape();
    for term in &*args.terms {
        let (right, rows) = (term.right.shape(), term.c.rows());
        ShapeError::same("right timesteps", shape.time, right.time)?;
        ShapeError::same("right rows", shape.batch, right.batch)?;
        ShapeError::same("c columns", right.channels, term.c.cols())?;
        ShapeError::at_least("left columns", term.from.saturating_add(rows), shape.channels)?;
        if !term.sums.is_empty() {
            ShapeError::same("sums", rows, term.sums.len())?;
        }
    }
    let room = Outer::<T>::room(shape.channels, args.terms.iter().map(OuterTerm::columns));
    ShapeError::at_least("room", room, args.room.len())?;
    T::dispatch(args.isa, Sweep(args));
    Ok(())
}

struct Sweep<'a, 'b, T>(Outer<'a, 'b, T>);

impl<T: Real> Op<T> for Sweep<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Outer { left, terms, onto, room, .. } = self.0;
        let columns = left.shape().channels;
        let (a_len, sums_len) = (padded::<T>(columns.min(COLUMNS)) * CHUNK, Outer::<T>::sums(columns));
        let (a_room, room) = room.split_at_mut(a_len);
        let (sums, b_room) = room.split_at_mut(sums_len);
        sums.fill(T::ZERO);
        let mut rows = left.walk(None);
        let count = rows.count();
        if count == 0 && !onto {
            for term in &mut *terms {
                (0..term.c.rows()).for_each(|row| term.c.row_mut(row).unwrap_or_default().fill(T::ZERO));
            }
        }
        let mut done = 0;
        while done < count {
            let k = CHUNK.min(count - done);
            let mut b_rest = &mut *b_room;
            for term in &*terms {
                let (b, rest) = b_rest.split_at_mut(padded::<T>(term.columns()) * CHUNK);
                let pointers = chunk(&mut skipped(term.right, done), k);
                // SAFETY: these are rows of B, and the panel has room for its columns, padded.
                unsafe { pack(s, &pointers[..k], 0..term.columns(), b.as_mut_ptr(), CHUNK, None) };
                b_rest = rest;
            }
            let pointers = chunk(&mut rows, k);
            for first in (0..columns).step_by(COLUMNS) {
                let Some(range) = touched(terms, first..columns.min(first + COLUMNS)) else { continue };
                // SAFETY: these are rows of A and columns of them, of which the panel and the sums have room for as many.
                unsafe {
                    let sums = sums.as_mut_ptr().add(range.start);
                    pack(s, &pointers[..k], range.clone(), a_room.as_mut_ptr(), CHUNK, Some(sums));
                }
                block(s, terms, range, [&*a_room, &*b_room], k, onto || done > 0);
            }
            done += k;
        }
        for term in terms {
            let from = &sums[term.from..];
            term.sums.iter_mut().zip(from).for_each(|(to, &sum)| *to = if onto { *to + sum } else { sum });
        }
    }
}

/// A walk over the rows from number `first` on.
#[inline(always)]
fn skipped<T>(rows: SeqRef<'_, T>, first: usize) -> RowWalk<'_, T> {
    let mut walk = rows.walk(None);
    walk.skip(first);
    walk
}

/// The next `k` rows.
#[inline(always)]
fn chunk<T>(rows: &mut RowWalk<'_, T>, k: usize) -> [*const T; CHUNK] {
    let mut pointers = [std::ptr::null(); CHUNK];
    for pointer in &mut pointers[..k] {
        *pointer = rows.next().1;
    }
    pointers
}

/// The columns of A in `block` that terms need, and what is between them.
#[inline(always)]
fn touched<T: Real>(terms: &[OuterTerm<'_, T>], block: Range<usize>) -> Option<Range<usize>> {
    let mut all: Option<Range<usize>> = None;
    for term in terms {
        let own = block.start.max(term.from)..block.end.min(term.from + term.c.rows());
        if own.start < own.end {
            let so_far = all.unwrap_or(own.clone());
            all = Some(so_far.start.min(own.start)..so_far.end.max(own.end));
        }
    }
    all
}

/// What `k` links add to the rows of each C that come from these packed columns of A: to what it holds if `onto`.
#[inline(always)]
fn block<T: Real, S: Simd<T>>(
    s: S,
    terms: &mut [OuterTerm<'_, T>],
    packed: Range<usize>,
    [a, mut b]: [&[T]; 2],
    k: usize,
    onto: bool,
) {
    for term in terms {
        let (own_b, rest) = b.split_at(padded::<T>(term.columns()) * CHUNK);
        b = rest;
        let (rows, cols, row_stride) = (term.c.rows(), term.c.cols(), term.c.row_stride());
        let own = packed.start.max(term.from)..packed.end.min(term.from + rows);
        let c = term.c.as_mut_ptr();
        for first in (0..cols).step_by(Tiles::<T, S>::BLOCKS * S::LANES) {
            let width = (cols - first).min(Tiles::<T, S>::BLOCKS * S::LANES);
            for row in own.clone().step_by(Tiles::<T, S>::ROWS) {
                let live = Tiles::<T, S>::ROWS.min(own.end - row);
                let corner = Corner {
                    a: a.as_ptr(),
                    column: row - packed.start,
                    b: own_b[first * CHUNK..].as_ptr(),
                    stride: CHUNK,
                    k,
                    onto,
                    c: c.wrapping_add((row - term.from) * row_stride + first),
                    row_stride,
                    rows: live,
                    cols: width,
                };
                // SAFETY: the columns were packed, and C has these rows and columns.
                unsafe { Tiles::<T, S>::KERNELS[width.div_ceil(S::LANES) - 1](s, &corner) };
            }
        }
    }
}
