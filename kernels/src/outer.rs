//! C += A^T B, summed over the rows of sequences: the gradients of weights.
//!
//! Of both sides a row is a link of every chain, so nothing is transposed, and a tile takes single values of A's rows and
//! vectors of B's. Some columns of A are packed, a vector of them after the other, and stay in the second cache level while
//! B's strips pass, a tile's row wide. B's rows are read where they stand, but for a strip that does not end with a whole
//! vector. Chains run over all rows in ascending order. They are cut into chunks of rows and go on from what the last chunk
//! stored in C. Tiles are whole: one at an edge of C is computed on the stack.

mod pack;
mod tile;

use crate::buf::{LINE, whole_lines};
use crate::isa::{Isa, Op, Simd};
use crate::mat::MatMut;
use crate::real::Real;
use crate::seq::SeqRef;
use crate::shape::ShapeError;
use crate::tile::part;
use pack::{Places, pack};
use std::ops::Range;
use tile::{Corner, MOST, Tiles};

/// Most rows of a chunk. C is read and written once for each, and a large one comes from afar.
const CHUNK: usize = 400;

/// Columns of A that are packed at once, a multiple of all vectors and tiles: 400 kB of f32.
const COLUMNS: usize = 256;

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

    /// Values of scratch for M columns of A; `usize::MAX` where they cannot be counted.
    pub fn room(columns: usize) -> usize {
        ((Self::block(columns) + Self::STRIP) * CHUNK).saturating_add(Self::sums(columns))
    }

    /// Most columns of a strip of B's.
    const STRIP: usize = MOST * LINE / size_of::<T>();

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
    let room = Outer::<T>::room(shape.channels);
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
        let (panel, strip) = room.split_at_mut(Outer::<T>::block(columns) * CHUNK);
        sums.fill(T::ZERO);
        let count = left.walk(None).count();
        if count == 0 && !onto {
            for term in &mut *terms {
                (0..term.c.rows()).for_each(|row| term.c.row_mut(row).unwrap_or_default().fill(T::ZERO));
            }
        }
        let each = count.div_ceil(count.div_ceil(CHUNK).max(1)).max(1);
        let touching = touched(terms, 0..columns).unwrap_or(0..0);
        // Of rows of which no sum is asked for there may be more than could ever be counted to.
        let all = if touching.is_empty() { 0..0 } else { 0..count };
        let mut links = [std::ptr::null(); CHUNK];
        for first in all.step_by(each) {
            let rows = first..count.min(first + each);
            let links = &mut links[..rows.len()];
            for from in touching.clone().step_by(COLUMNS) {
                let Some(columns) = touched(terms, from..touching.end.min(from + COLUMNS)) else { continue };
                point(left, rows.start, links);
                let to = Places { first: panel.as_mut_ptr(), vector: CHUNK * S::LANES, link: S::LANES };
                let sums = sums[columns.start..].as_mut_ptr();
                // SAFETY: these are rows with these columns; panel and sums have room for as many, padded.
                unsafe { pack(s, links, columns.clone(), to, Some(sums)) };
                let packed = Packed { columns, panel: &*panel, onto: onto || first > 0 };
                for term in &mut *terms {
                    point(term.right, rows.start, links);
                    packed.add(s, term, links, strip);
                }
            }
        }
        for term in terms {
            let from = &sums[term.from..];
            term.sums.iter_mut().zip(from).for_each(|(to, &sum)| *to = if onto { *to + sum } else { sum });
        }
    }
}

/// The rows from the `first` on, as many as `links` has.
#[inline(always)]
fn point<T: Real>(sequence: SeqRef<'_, T>, first: usize, links: &mut [*const T]) {
    let mut walk = sequence.walk_from(first);
    for link in links {
        *link = walk.next().1;
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

/// Columns of a chunk of A's rows, packed.
struct Packed<'a, T> {
    columns: Range<usize>,
    panel: &'a [T],
    /// Whether sums go on from what C holds.
    onto: bool,
}

impl<T: Real> Packed<'_, T> {
    /// The columns of the panel that a term needs.
    #[inline(always)]
    fn own(&self, term: &OuterTerm<'_, T>) -> Range<usize> {
        let at = |column: usize| column.clamp(self.columns.start, self.columns.end) - self.columns.start;
        at(term.from)..at(term.from + term.c.rows())
    }

    /// What these rows add to the rows of a C that come from these columns; `room` has the columns of a strip.
    #[inline(always)]
    fn add<S: Simd<T>>(&self, s: S, term: &mut OuterTerm<'_, T>, links: &[*const T], room: &mut [T]) {
        let (mut from, end) = (0, if self.own(term).is_empty() { 0 } else { term.columns() });
        let mut packed = [std::ptr::null(); CHUNK];
        while from < end {
            let vectors = part((end - from).div_ceil(S::LANES), MOST);
            let strip = from..end.min(from + vectors * S::LANES);
            from = strip.end;
            let right = if strip.len() == vectors * S::LANES {
                let after = if from < end { from } else { 0 };
                Right { links, column: strip.start, after: Some(after) }
            } else {
                let link = vectors * S::LANES;
                let to = Places { first: room.as_mut_ptr(), vector: S::LANES, link };
                // SAFETY: these are rows with these columns, and there is room for a strip of as many.
                unsafe { pack(s, links, strip.clone(), to, None) };
                let packed = &mut packed[..links.len()];
                packed.iter_mut().zip(room.chunks_exact(link)).for_each(|(to, link)| *to = link.as_ptr());
                Right { links: packed, column: 0, after: None }
            };
            self.strip(s, term, strip, right);
        }
    }

    /// A strip of a C, tile by tile.
    #[inline(always)]
    fn strip<S: Simd<T>>(&self, s: S, term: &mut OuterTerm<'_, T>, strip: Range<usize>, right: Right<'_, T>) {
        let (own, block) = (self.own(term), &self.columns);
        let row_stride = term.c.row_stride();
        let c = term.c.as_mut_ptr().wrapping_add(strip.start);
        let tiles = own.start / Tiles::<T, S>::ROWS..own.end.div_ceil(Tiles::<T, S>::ROWS);
        let Right { links, column, after } = right;
        let each = links.len().div_ceil(tiles.len().max(1));
        for (i, tile) in tiles.enumerate() {
            let first = tile * Tiles::<T, S>::ROWS;
            let rows = own.start.max(first)..own.end.min(first + Tiles::<T, S>::ROWS);
            let corner = Corner {
                a: self.panel[first / S::LANES * CHUNK * S::LANES + first % S::LANES..].as_ptr(),
                b: links,
                column,
                onto: self.onto,
                c: c.wrapping_add((block.start + rows.start - term.from) * row_stride),
                row_stride,
                rows: rows.start - first..rows.end - first,
                after: after.unwrap_or(0),
                asked: if after.is_some() { i * each..links.len().min((i + 1) * each) } else { 0..0 },
            };
            // SAFETY: the columns were packed, the links have the strip's vectors, and C has these rows and columns.
            unsafe { Tiles::<T, S>::run(s, &corner, strip.len()) };
        }
    }
}

/// A strip of a chunk of B's rows.
struct Right<'a, T> {
    links: &'a [*const T],
    /// Its first column.
    column: usize,
    /// The first column of the next strip.
    after: Option<usize>,
}
