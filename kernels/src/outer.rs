//! C += A^T B, summed over the rows of sequences: the gradients of weights.
//!
//! Of both sides a row is a link of every chain, so nothing is transposed: rows are copied to panels as they stand, a
//! vector of columns after the other, and a tile takes single values of A's and vectors of B's. Chains run over all rows in
//! ascending order. They are cut into chunks of rows, of which a strip of B's stays in the first cache level, and go on from
//! what the last chunk stored in C. Tiles are whole: one at an edge of C is computed on the stack. Each asks for some lines of
//! what is packed next.

mod ahead;
mod tile;

use crate::buf::whole_lines;
use crate::isa::{Isa, Op, Simd};
use crate::mat::MatMut;
use crate::real::Real;
use crate::seq::SeqRef;
use crate::shape::ShapeError;
use crate::tile::part;
use ahead::Ahead;
use std::ops::Range;
use tile::{Corner, Tiles, pack};

/// Most rows of a chunk.
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
        whole_lines::<T>(columns).saturating_add(whole_lines::<T>(1))
    }

    /// Values of scratch for M columns of A, and the columns of each C; `usize::MAX` where they cannot be counted.
    pub fn room(columns: usize, c: impl Iterator<Item = usize>) -> usize {
        let panels = c.fold(Self::block(columns), |panels, columns| panels.saturating_add(whole_lines::<T>(columns)));
        panels.saturating_mul(CHUNK).saturating_add(Self::sums(columns))
    }

    /// Columns of a panel of A.
    fn block(columns: usize) -> usize {
        whole_lines::<T>(columns.min(COLUMNS))
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
    let uncounted = ShapeError { argument: "left rows", expected: usize::MAX, found: shape.time };
    shape.time.checked_mul(shape.batch).ok_or(uncounted)?;
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
        let (sums, room) = room.split_at_mut(Outer::<T>::sums(columns));
        sums.fill(T::ZERO);
        let count = left.walk(None).count();
        if count == 0 && !onto {
            for term in &mut *terms {
                (0..term.c.rows()).for_each(|row| term.c.row_mut(row).unwrap_or_default().fill(T::ZERO));
            }
        }
        let each = count.div_ceil(count.div_ceil(CHUNK).max(1)).max(1);
        let touching = touched(terms, 0..columns).unwrap_or(0..0);
        let (a, b) = room.split_at_mut(Outer::<T>::block(columns) * CHUNK);
        // Of rows of which no sum is asked for there may be more than could ever be counted to.
        let all = if touching.is_empty() { 0..0 } else { 0..count };
        for first in all.step_by(each) {
            let rows = first..count.min(first + each);
            let mut rest = &mut *b;
            for term in &*terms {
                let (own, others) = rest.split_at_mut(whole_lines::<T>(term.columns()) * CHUNK);
                pack_rows(s, term.right, rows.clone(), 0..term.columns(), own, None);
                rest = others;
            }
            for from in touching.clone().step_by(COLUMNS) {
                let of = |from: usize| from..touching.end.min(from + COLUMNS);
                let Some(columns) = touched(terms, of(from)) else { continue };
                pack_rows(s, left, rows.clone(), columns.clone(), a, Some(&mut sums[columns.start..]));
                let mut ahead = if of(from).end < touching.end {
                    Ahead::new(left, rows.clone(), of(from + COLUMNS))
                } else {
                    Ahead::new(left, rows.end..count.min(rows.end + each), of(touching.start))
                };
                Packed { columns, a: &*a, k: rows.len(), onto: onto || first > 0 }.add(s, terms, &*b, &mut ahead);
            }
        }
        for term in terms {
            let from = &sums[term.from..];
            term.sums.iter_mut().zip(from).for_each(|(to, &sum)| *to = if onto { *to + sum } else { sum });
        }
    }
}

/// Packs some columns of some rows, and adds them up to `sums`.
#[inline(always)]
fn pack_rows<T: Real, S: Simd<T>>(
    s: S,
    sequence: SeqRef<'_, T>,
    rows: Range<usize>,
    columns: Range<usize>,
    to: &mut [T],
    sums: Option<&mut [T]>,
) {
    let mut walk = sequence.walk_from(rows.start);
    let mut pointers = [std::ptr::null(); CHUNK];
    for pointer in &mut pointers[..rows.len()] {
        *pointer = walk.next().1;
    }
    let sums = sums.map(<[T]>::as_mut_ptr);
    // SAFETY: these are rows with these columns, and the panel and the sums have room for as many, padded.
    unsafe { pack(s, &pointers[..rows.len()], columns, to.as_mut_ptr(), CHUNK, sums) };
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

/// Columns of a chunk of A's rows, packed.
struct Packed<'a, T> {
    columns: Range<usize>,
    a: &'a [T],
    /// Rows of the chunk.
    k: usize,
    /// Whether sums go on from what C holds.
    onto: bool,
}

impl<T: Real> Packed<'_, T> {
    /// What these rows add to the rows of each C that come from these columns; `b` has the columns of each B.
    #[inline(always)]
    fn add<S: Simd<T>>(&self, s: S, terms: &mut [OuterTerm<'_, T>], mut b: &[T], ahead: &mut Ahead<'_, T>) {
        for term in terms {
            let (mut from, end) = (0, term.columns());
            let (own, rest) = b.split_at(whole_lines::<T>(end) * CHUNK);
            b = rest;
            while from < end {
                let vectors = part((end - from).div_ceil(S::LANES), Tiles::<T, S>::BLOCKS);
                let strip = from..end.min(from + vectors * S::LANES);
                from = strip.end;
                self.strip(s, term, &own[strip.start * CHUNK..], strip, ahead);
            }
        }
    }

    /// A strip of a C, tile by tile.
    #[inline(always)]
    fn strip<S: Simd<T>>(
        &self,
        s: S,
        term: &mut OuterTerm<'_, T>,
        b: &[T],
        strip: Range<usize>,
        ahead: &mut Ahead<'_, T>,
    ) {
        let (rows, row_stride) = (term.c.rows(), term.c.row_stride());
        let own = self.columns.start.max(term.from)..self.columns.end.min(term.from + rows);
        let c = term.c.as_mut_ptr();
        for row in own.clone().step_by(Tiles::<T, S>::ROWS) {
            ahead.ask(s);
            let corner = Corner {
                a: self.a.as_ptr(),
                column: row - self.columns.start,
                b: b.as_ptr(),
                stride: CHUNK,
                k: self.k,
                onto: self.onto,
                c: c.wrapping_add((row - term.from) * row_stride + strip.start),
                row_stride,
                rows: Tiles::<T, S>::ROWS.min(own.end - row),
            };
            // SAFETY: the columns were packed, and C has these rows and columns.
            unsafe { Tiles::<T, S>::run(s, &corner, strip.len()) };
        }
    }
}
