//! C += A^T B, summed over the rows of sequences: the gradients of weights.
//!
//! Of both sides a row is a link of every chain, so nothing is transposed: rows are copied to panels as they stand, a
//! vector of columns after the other, and a tile takes single values of A's and vectors of B's. Chains run over all rows in
//! ascending order. They are cut into chunks of rows, of which B's stay in the first cache level, and go on from what the
//! last chunk stored in C. Tiles are whole: one at an edge of C is computed on the stack. Where C is large, a few chunks pass
//! over a part of it that stays in the second level before the next.

mod tile;

use crate::buf::padded;
use crate::isa::{Isa, Op, Simd};
use crate::mat::MatMut;
use crate::real::Real;
use crate::seq::{RowWalk, SeqRef};
use crate::shape::ShapeError;
use crate::tile::part;
use std::ops::Range;
use tile::{Corner, Tiles, pack};

/// Most rows of a chunk.
const CHUNK: usize = 160;

/// Chunks that are packed at once where C is large: it comes from afar once for all of them. A small one stays in the second
/// level anyway, and what was packed rather in the first.
const AT_ONCE: usize = 4;

/// Bytes of all C together from which they are large.
const LARGE: usize = 2 << 20;

/// Columns of A that are packed at once, a multiple of all vectors and tiles.
const COLUMNS: usize = 512;

/// Bytes of a row of the part of C that chunks pass over one after the other: of 512 rows they are half of an L2 of 2 MB.
const WIDTH: usize = 2 << 10;

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

    /// Values of scratch for T N rows, M columns of A, and the rows and columns of each C; `usize::MAX` where they cannot be
    /// counted.
    pub fn room(rows: usize, columns: usize, c: impl Iterator<Item = [usize; 2]>) -> usize {
        let (mut panels, mut values) = (padded::<T>(columns.min(COLUMNS)), 0usize);
        for [rows, cols] in c {
            panels = panels.saturating_add(padded::<T>(cols));
            values = values.saturating_add(rows.saturating_mul(cols));
        }
        let chunks = rows.div_ceil(CHUNK).min(chunks_at_once::<T>(values));
        panels.saturating_mul(chunks * CHUNK).saturating_add(Self::sums(columns))
    }
}

/// Chunks that are packed at once for so many values of all C together.
fn chunks_at_once<T>(values: usize) -> usize {
    if values.saturating_mul(size_of::<T>()) < LARGE { 1 } else { AT_ONCE }
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
    let uncounted = ShapeError { argument: "left rows", expected: usize::MAX, found: shape.time };
    let rows = shape.time.checked_mul(shape.batch).ok_or(uncounted)?;
    let room = Outer::<T>::room(rows, shape.channels, args.terms.iter().map(|term| [term.c.rows(), term.columns()]));
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
        let (sums, room) = room.split_at_mut(Outer::<T>::sums(columns));
        sums.fill(T::ZERO);
        let count = left.walk(None).count();
        if count == 0 && !onto {
            for term in &mut *terms {
                (0..term.c.rows()).for_each(|row| term.c.row_mut(row).unwrap_or_default().fill(T::ZERO));
            }
        }
        let values: usize = terms.iter().map(|term| term.c.rows() * term.columns()).sum();
        let each = count.div_ceil(count.div_ceil(CHUNK).max(1)).max(1);
        let at_once = chunks_at_once::<T>(values) * each;
        for first in (0..count).step_by(at_once) {
            let chunks = Chunks { count: at_once.min(count - first), each };
            let (a, b) = room.split_at_mut(padded::<T>(columns.min(COLUMNS)) * chunks.rows());
            let mut rest = &mut *b;
            for term in &*terms {
                let (own, others) = rest.split_at_mut(padded::<T>(term.columns()) * chunks.rows());
                chunks.pack(s, skipped(term.right, first), 0..term.columns(), own, None);
                rest = others;
            }
            for from in (0..columns).step_by(COLUMNS) {
                let Some(range) = touched(terms, from..columns.min(from + COLUMNS)) else { continue };
                chunks.pack(s, skipped(left, first), range.clone(), a, Some(&mut sums[range.start..]));
                block(s, terms, range, [&*a, &*b], chunks, onto || first > 0);
            }
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

/// Rows that are packed at once.
#[derive(Clone, Copy)]
struct Chunks {
    /// All rows.
    count: usize,
    /// Rows of a chunk, but of the last: chunks share evenly.
    each: usize,
}

impl Chunks {
    /// Rows of all panels together, each as long as the longest chunk.
    fn rows(self) -> usize {
        self.count.div_ceil(self.each) * CHUNK
    }

    /// The rows of each chunk, with its number.
    #[inline(always)]
    fn iter(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.count).step_by(self.each).map(move |first| self.each.min(self.count - first)).enumerate()
    }

    /// Packs some columns of the next rows, a panel for each chunk, and adds them up to `sums`.
    #[inline(always)]
    fn pack<T: Real, S: Simd<T>>(
        self,
        s: S,
        mut rows: RowWalk<'_, T>,
        columns: Range<usize>,
        to: &mut [T],
        mut sums: Option<&mut [T]>,
    ) {
        let len = padded::<T>(columns.len()) * CHUNK;
        for (number, k) in self.iter() {
            let mut pointers = [std::ptr::null(); CHUNK];
            for pointer in &mut pointers[..k] {
                *pointer = rows.next().1;
            }
            let to = &mut to[number * len..][..len];
            let sums = sums.as_deref_mut().map(<[T]>::as_mut_ptr);
            // SAFETY: these are rows with these columns, and the panel and the sums have room for as many, padded.
            unsafe { pack(s, &pointers[..k], columns.clone(), to.as_mut_ptr(), CHUNK, sums) };
        }
    }
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

/// What these chunks add to the rows of each C that come from these packed columns of A: to what it holds if `onto`.
#[inline(always)]
fn block<T: Real, S: Simd<T>>(
    s: S,
    terms: &mut [OuterTerm<'_, T>],
    packed: Range<usize>,
    [a, mut b]: [&[T]; 2],
    chunks: Chunks,
    onto: bool,
) {
    let widest = Tiles::<T, S>::BLOCKS * S::LANES;
    let width = (WIDTH / size_of::<T>() / widest).max(1) * widest;
    for term in terms {
        let columns = term.columns();
        let (own, rest) = b.split_at(padded::<T>(columns) * chunks.rows());
        b = rest;
        for first in (0..columns).step_by(width) {
            for (number, k) in chunks.iter() {
                let a = &a[number * padded::<T>(packed.len()) * CHUNK..];
                let b = &own[number * padded::<T>(columns) * CHUNK..];
                let (mut from, end) = (first, columns.min(first + width));
                while from < end {
                    let vectors = part((end - from).div_ceil(S::LANES), Tiles::<T, S>::BLOCKS);
                    let strip = from..end.min(from + vectors * S::LANES);
                    from = strip.end;
                    strip_of(s, term, packed.clone(), [a, &b[strip.start * CHUNK..]], strip, k, onto || number > 0);
                }
            }
        }
    }
}

/// A strip of a C, tile by tile.
#[inline(always)]
fn strip_of<T: Real, S: Simd<T>>(
    s: S,
    term: &mut OuterTerm<'_, T>,
    packed: Range<usize>,
    [a, b]: [&[T]; 2],
    strip: Range<usize>,
    k: usize,
    onto: bool,
) {
    let (rows, row_stride) = (term.c.rows(), term.c.row_stride());
    let own = packed.start.max(term.from)..packed.end.min(term.from + rows);
    let c = term.c.as_mut_ptr();
    for row in own.clone().step_by(Tiles::<T, S>::ROWS) {
        let corner = Corner {
            a: a.as_ptr(),
            column: row - packed.start,
            b: b.as_ptr(),
            stride: CHUNK,
            k,
            onto,
            c: c.wrapping_add((row - term.from) * row_stride + strip.start),
            row_stride,
            rows: Tiles::<T, S>::ROWS.min(own.end - row),
        };
        // SAFETY: the columns were packed, and C has these rows and columns.
        unsafe { Tiles::<T, S>::run(s, &corner, strip.len()) };
    }
}
