//! A product and its epilogue: which rows and unit blocks meet in which tile, in what order.
//!
//! Every sum is one chain of fused multiply-adds over k in ascending order, started by the epilogue. No chain is split, so
//! that neither the shape of the tiles nor the width of a vector can change a bit of the result.
//!
//! One row alone goes through tiles of 1 row by a few unit blocks, compiled together with the epilogue: sums stay in
//! registers from start to finish, unless it is to be recorded, which is not worth code of its own. More rows are cut into
//! chunks. For a chunk and a group of unit blocks, tiles of the chunk's rows pass over the weights, and each prefetches its
//! share of the next group's weights. Sums that start from memory, or are stored as they are, stand in their places; else
//! all rows are started before, on the stack, or finished behind, two at a time, so that the processor overlaps the long
//! latencies of their activations.

mod behind;
mod finish;

use crate::block::Block;
use crate::isa::{Isa, Op, Simd, apart};
use crate::micro::{MOST, Prefetch, Sums, Task, Tiles, multiply, prefetch_all};
use crate::pack::{PanelRef, PanelShape};
use crate::real::Real;
use crate::seq::{RowWalk, SeqRef};
use std::mem::MaybeUninit;
use std::ops::Range;

/// What surrounds the product of one row and one unit block.
///
/// # Safety
/// Implementations touch only memory that belongs to the row and block they are called with.
pub(crate) unsafe trait Epilogue<T: Real>: Copy {
    /// The gates of a unit block.
    type Acc<V: Copy>: Block<V>;

    /// Most unit blocks of a row alone; 0 where it is not worth code of its own: then it goes the way of several, and is
    /// multiplied twice.
    const ALONE: usize = MOST;

    /// What the chains start from.
    ///
    /// # Safety
    /// `at` is a row and block of the product that the epilogue was made for.
    unsafe fn start<S: Simd<T>>(&self, s: S, at: At<T>) -> Self::Acc<S::V>;

    /// Takes the finished chains of a block, of K rows.
    ///
    /// # Safety
    /// As for `start`, for each of the rows, which are of one block. (The same row twice is stored twice, alike.)
    unsafe fn finish<S: Simd<T>, const K: usize>(&self, s: S, at: [At<T>; K], acc: Self::Acc<[S::V; K]>);

    /// Where what the chains start from stands, a whole vector each, for the rows and blocks from `at` on; None: it does not
    /// stand in memory. `stride` is that of the panel's blocks.
    #[inline(always)]
    fn starts<S: Simd<T>>(&self, _: S, _at: At<T>, _stride: usize) -> Option<Sums<T>> {
        None
    }

    /// Where `finish` writes what no cache may hold: the i-th kind, from `at` on, and the values to the next row.
    #[inline(always)]
    fn cold<S: Simd<T>>(&self, _: S, _at: At<T>, _i: usize) -> Option<(*const T, usize)> {
        None
    }

    /// Where finished chains are to be stored as they are, a whole vector each, likewise; None: `finish` takes them.
    #[inline(always)]
    fn stores<S: Simd<T>>(&self, _: S, _at: At<T>) -> Option<Sums<T>> {
        None
    }
}

/// A place in the product.
#[derive(Clone, Copy)]
pub(crate) struct At<T> {
    /// Row of the left operand.
    pub(crate) row: usize,
    /// Unit block.
    pub(crate) block: usize,
    /// Units in the block: LANES but for the last.
    pub(crate) lanes: usize,
    /// The heads of the block in the panel.
    pub(crate) heads: *const T,
}

/// Left operand times panel, each finished sum handed to the epilogue.
pub(crate) struct Product<'a, T, E> {
    rows: SeqRef<'a, T>,
    select: Option<&'a [u32]>,
    panel: PanelRef<'a, T>,
    /// The first k, and how many: all, but for a span of several rows.
    links: (usize, usize),
    reverse: bool,
    epilogue: &'a E,
}

/// Most rows of a chunk. The more there are, the fewer times weights are read from where they are, and the larger the sums.
pub(crate) const CHUNK: usize = 64;

/// Rows that are finished at once: the activations of one go on while those of another wait.
pub(crate) const TOGETHER: usize = 2;

/// Sums of a chunk of rows by a group of unit blocks, in vectors: 16 kB with the longest ones, on the stack.
const SUMS: usize = 4 * CHUNK;

/// The size of the next part of `left`, none larger than `most`: all parts are of that size, but for the last two, which
/// share evenly.
#[inline(always)]
pub(crate) fn part(left: usize, most: usize) -> usize {
    if left <= most {
        left
    } else if left >= 2 * most {
        most
    } else {
        left.div_ceil(2)
    }
}

impl<'a, T: Real, E: Epilogue<T>> Product<'a, T, E> {
    /// `reverse`: the unit blocks are walked from the last to the first. The sums are the same.
    ///
    /// # Safety
    /// The channels of `rows` are the panel's K, the panel has `E::Acc` gates and was packed for the instruction set
    /// this will run on, `select` are rows of the one timestep of `rows`, or there is no selection, and `epilogue` may be
    /// called for each of these rows and the blocks of the panel.
    pub(crate) unsafe fn new(
        rows: SeqRef<'a, T>,
        select: Option<&'a [u32]>,
        panel: PanelRef<'a, T>,
        reverse: bool,
        epilogue: &'a E,
    ) -> Self {
        Product { rows, select, panel, links: (0, panel.shape().k), reverse, epilogue }
    }

    /// The same for the weights of some k, of which the channels of `rows` are the values.
    ///
    /// # Safety
    /// As for `new`, but that `rows` have a channel for each of these k, which the panel has, and are two at least.
    pub(crate) unsafe fn of_span(
        rows: SeqRef<'a, T>,
        panel: PanelRef<'a, T>,
        span: Range<usize>,
        epilogue: &'a E,
    ) -> Self {
        Product { rows, select: None, panel, links: (span.start, span.len()), reverse: false, epilogue }
    }

    /// Computes it on the instruction set that it was made for.
    #[inline(always)]
    pub(crate) fn run_on(&self, isa: Isa) {
        T::dispatch(isa, self);
    }

    /// A unit block's place, of a row to be set.
    #[inline(always)]
    fn place<S: Simd<T>>(&self, _: S, block: usize) -> At<T> {
        let lanes = S::LANES.min(self.panel.shape().units - block * S::LANES);
        let heads = self.panel.data().as_ptr().wrapping_add(block * self.panel.block_len());
        At { row: 0, block, lanes, heads }
    }

    /// The weights of a block for the first k: K times all gates follow each other.
    #[inline(always)]
    fn weights<S: Simd<T>>(&self, _: S, at: At<T>) -> *const T {
        let PanelShape { heads, gates, .. } = self.panel.shape();
        at.heads.wrapping_add((heads + self.links.0 * gates) * S::LANES)
    }

    /// All unit blocks of one row.
    ///
    /// # Safety
    /// `operand` is the row of the left operand with this number.
    #[inline(always)]
    unsafe fn one<S: Simd<T>>(&self, s: S, row: usize, operand: *const T) {
        // Another core may have written it: its lines come sooner all at once than one after the other.
        prefetch_all(s, operand, self.links.1);
        let most = const {
            let (tiles, epilogue) = (Tiles::<T, S, E::Acc<S::V>>::ALONE, E::ALONE);
            if tiles < epilogue { tiles } else { epilogue }
        };
        let blocks = self.panel.shape().units.div_ceil(S::LANES);
        let mut done = 0;
        while done < blocks {
            let left = blocks - done;
            let width = part(left, most);
            let first = if self.reverse { left - width } else { done };
            // SAFETY: the caller's promise; these are blocks of the panel.
            unsafe {
                match width {
                    8 if most >= 8 => self.alone::<S, 8>(s, row, operand, first),
                    7 if most >= 8 => self.alone::<S, 7>(s, row, operand, first),
                    6 if most >= 8 => self.alone::<S, 6>(s, row, operand, first),
                    5 if most >= 8 => self.alone::<S, 5>(s, row, operand, first),
                    4 if most >= 4 => self.alone::<S, 4>(s, row, operand, first),
                    3 => self.alone::<S, 3>(s, row, operand, first),
                    2 => self.alone::<S, 2>(s, row, operand, first),
                    _ => self.alone::<S, 1>(s, row, operand, first),
                }
            }
            done += width;
        }
    }

    /// U unit blocks of one row.
    ///
    /// # Safety
    /// As for `one`, for the blocks from `first`.
    #[inline(always)]
    unsafe fn alone<S: Simd<T>, const U: usize>(&self, s: S, row: usize, operand: *const T, first: usize) {
        let zero = <E::Acc<S::V> as Block<S::V>>::fill(s.splat(T::ZERO));
        let (mut acc, mut places) = ([[zero; U]; 1], [At { row, ..self.place(s, first) }; U]);
        let (k, stride) = (self.panel.shape().k, self.panel.block_len());
        // SAFETY: the caller's promise.
        unsafe {
            for u in 0..U {
                places[u] = At { row, ..self.place(s, first + u) };
                acc[0][u] = self.epilogue.start(s, places[u]);
            }
            let weights = places[0].heads.wrapping_add(self.panel.shape().heads * S::LANES);
            acc = multiply(s, acc, [operand], weights, stride, k, Prefetch::NONE);
            for u in 0..U {
                self.finish_one(s, places[u], acc[0][u]);
            }
        }
    }

    /// A group of unit blocks for the rows of a chunk, multiplied tile by tile. Where sums start from memory, or go there as
    /// they are, tiles read and write them in their places; else all are started before, and finished afterwards.
    ///
    /// # Safety
    /// `rows` are rows of the product, two at least, and `number` says which, `blocks` are some of its unit blocks, as many as
    /// a tile of so many rows may have; `sums` has a vector for each row, block and gate.
    #[inline(always)]
    unsafe fn group<S: Simd<T>>(
        &self,
        s: S,
        rows: &[*const T],
        number: impl Fn(usize) -> usize,
        blocks: Range<usize>,
        next: *const T,
        sums: *mut T,
    ) {
        let kernels = &Tiles::<T, S, E::Acc<S::V>>::KERNELS;
        let (gates, width) = (<E::Acc<S::V> as Block<S::V>>::N, blocks.len());
        let most = Tiles::<T, S, E::Acc<S::V>>::ROWS[width - 1];
        let (k, stride, columns) = (self.links.1, self.panel.block_len(), width * gates);
        let own = Sums::dense(sums, width, gates, S::LANES);
        let at = At { row: number(0), ..self.place(s, blocks.start) };
        let whole = blocks.end * S::LANES <= self.panel.shape().units;
        let in_place = whole && self.select.is_none() && number(1) > number(0);
        let starts = if in_place { self.epilogue.starts(s, at, stride) } else { None };
        let stores = if in_place { self.epilogue.stores(s, at) } else { None };
        let (from, to) = (starts.as_ref().unwrap_or(&own), stores.as_ref().unwrap_or(&own));
        // SAFETY: the caller's promise; there is a kernel for each tile, and the epilogue's rows follow each other where none
        // were selected or multiplied twice.
        unsafe {
            if starts.is_none() {
                self.start(s, rows.len(), &number, blocks.clone(), sums);
            }
            let weights = self.weights(s, at);
            let (mut first, mut tile) = (0, 0);
            while first < rows.len() {
                // Each tile prefetches as many vectors as there are columns, until the next blocks are complete.
                let share = next.wrapping_add(tile / gates * stride + tile % gates * k * S::LANES);
                let read = Prefetch::reads(if tile < columns { share } else { weights });
                let prefetch = if in_place { self.behind(s, at, [width, rows.len()], tile, read) } else { read };
                let height = part(rows.len() - first, most);
                kernels[height - 1][width - 1](
                    s,
                    &Task { from, to, first, rows: rows.as_ptr().add(first), weights, stride, k, prefetch },
                );
                (first, tile) = (first + height, tile + 1);
            }
            if stores.is_none() {
                // The second of the same row has the same sums.
                let live = if rows.len() == 2 && number(0) == number(1) { 1 } else { rows.len() };
                self.finish(s, live, &number, blocks, sums);
            }
        }
    }

    /// Starts the sums of some rows and unit blocks.
    ///
    /// # Safety
    /// As for `group`.
    #[inline(always)]
    unsafe fn start<S: Simd<T>>(
        &self,
        s: S,
        rows: usize,
        number: impl Fn(usize) -> usize,
        blocks: Range<usize>,
        mut sum: *mut T,
    ) {
        for i in 0..rows {
            for block in blocks.clone() {
                // SAFETY: the caller's promise.
                unsafe {
                    let start = self.epilogue.start(s, At { row: number(i), ..self.place(s, block) });
                    for g in 0..<E::Acc<S::V> as Block<S::V>>::N {
                        s.store(sum, start[g]);
                        sum = sum.add(S::LANES);
                    }
                }
            }
        }
    }

    /// All unit blocks for a chunk of rows.
    ///
    /// # Safety
    /// As for `group`.
    #[inline(always)]
    unsafe fn chunk<S: Simd<T>>(
        &self,
        s: S,
        rows: &[*const T],
        number: impl Fn(usize) -> usize,
        reverse: bool,
        sums: *mut T,
    ) {
        let blocks = self.panel.shape().units.div_ceil(S::LANES);
        let most = Tiles::<T, S, E::Acc<S::V>>::BLOCKS[rows.len().min(MOST) - 1];
        let mut done = 0;
        while done < blocks {
            let width = part(blocks - done, most);
            let first = if reverse { blocks - done - width } else { done };
            done += width;
            let next = if done == blocks {
                first
            } else if reverse {
                first.saturating_sub(width)
            } else {
                first + width
            };
            let next = self.weights(s, self.place(s, next));
            // SAFETY: the caller's promise.
            unsafe { self.group(s, rows, &number, first..first + width, next, sums) };
        }
    }

    /// All unit blocks of `count` rows, chunk by chunk.
    ///
    /// # Safety
    /// `walk` has `count` rows.
    #[inline(always)]
    unsafe fn many<S: Simd<T>>(&self, s: S, mut walk: RowWalk<'a, T>, count: usize) {
        const {
            assert!(
                Tiles::<T, S, E::Acc<S::V>>::most_sums(CHUNK) <= SUMS,
                "a chunk has more sums than there is room for"
            )
        };
        // What is borrowed would be read again after every store.
        let epilogue = *self.epilogue;
        let this = Product { epilogue: &epilogue, ..*self };
        let mut sums = [const { MaybeUninit::<S::V>::uninit() }; SUMS];
        let mut rows = [std::ptr::null(); CHUNK];
        let (mut done, mut reverse) = (0, self.reverse);
        while done < count {
            let now = part(count - done, CHUNK);
            for row in &mut rows[..now] {
                *row = walk.next().1;
            }
            // No tile has one row: one alone is multiplied twice.
            let twice = E::ALONE == 0 && now == 1;
            if twice {
                rows[1] = rows[0];
            }
            let place = |i: usize| if twice { done } else { done + i };
            let number = |i: usize| self.select.map_or(place(i), |select| select[place(i)] as usize);
            let rows = &rows[..now + usize::from(twice)];
            // SAFETY: these are rows of the left operand with their numbers.
            unsafe { this.chunk(s, rows, number, reverse, sums.as_mut_ptr().cast()) };
            done += now;
            // Its last blocks are the ones that caches still hold.
            reverse = !reverse;
        }
    }
}

/// By reference: moved into the trampoline of an instruction set, it would be copied by vectors from what was stored by
/// words, which no processor forwards.
impl<T: Real, E: Epilogue<T>> Op<T> for &Product<'_, T, E> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let mut walk = self.rows.walk(self.select);
        // Rows without units have no memory behind them: there may be more than could ever be counted to.
        let count = if self.panel.shape().units == 0 { 0 } else { walk.count() };
        match count {
            0 => {}
            1 if E::ALONE > 0 => {
                let (row, operand) = walk.next();
                // SAFETY: this is the row of the left operand with this number.
                unsafe { self.one(s, row, operand) }
            }
            _ => apart(
                s,
                #[inline(always)]
                // SAFETY: the rows were counted above.
                || unsafe { self.many(s, walk, count) },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Dispatch, Isa};

    struct EveryTile;

    impl<T: Real> Op<T> for EveryTile {
        type Out = ();

        fn run<S: Simd<T>>(self, _: S) {
            every_tile::<T, S, [S::V; 1]>();
            every_tile::<T, S, [S::V; 2]>();
            every_tile::<T, S, [S::V; 3]>();
            every_tile::<T, S, [S::V; 4]>();
        }
    }

    /// Each tile that some rows and unit blocks are cut into has a kernel of its own.
    fn every_tile<T: Real, S: Simd<T>, A: Block<S::V>>() {
        for (rows, blocks) in (2..=CHUNK).flat_map(|rows| (1..20).map(move |blocks| (rows, blocks))) {
            let mut left = blocks;
            while left > 0 {
                let width = part(left, Tiles::<T, S, A>::BLOCKS[rows.min(MOST) - 1]);
                left -= width;
                let mut below = rows;
                while below > 0 {
                    let height = part(below, Tiles::<T, S, A>::ROWS[width - 1]);
                    assert!(Tiles::<T, S, A>::exists(height, width), "{} {}: {height} x {width}", S::NAME, A::N);
                    below -= height;
                }
            }
        }
    }

    #[test]
    fn there_is_a_kernel_for_every_tile() {
        for &isa in Isa::available() {
            f32::dispatch(isa, EveryTile);
            f64::dispatch(isa, EveryTile);
        }
    }

    #[test]
    fn the_last_two_parts_share_evenly() {
        let parts = |mut left: usize, most| {
            let mut parts = Vec::new();
            while left > 0 {
                parts.push(part(left, most));
                left -= parts[parts.len() - 1];
            }
            parts
        };
        assert_eq!(parts(5, 6), [5]);
        assert_eq!(parts(32, 6), [6, 6, 6, 6, 4, 4]);
        assert_eq!(parts(33, 8), [8, 8, 8, 5, 4]);
        assert_eq!(parts(16, 8), [8, 8]);
    }
}
