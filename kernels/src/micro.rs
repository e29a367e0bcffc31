//! The micro-kernel: sums of a tile of rows and unit blocks, in registers while k passes.
//!
//! A tile is MR rows by U unit blocks with all N gates of each unit: MR x U x N chains of fused multiply-adds. For each k
//! it loads MR values of the left operand, each into all lanes, and U x N vectors of weights, and each serves all of the
//! other side. So the wider and the higher a tile is, the fewer loads a multiplication needs; and at least 8 chains must
//! run side by side to keep two FMA units of latency 4 busy, more if nothing is to be lost at the edges of loops.
//!
//! Kernels know nothing of what surrounds them, not even the cell: one function for each size of a tile serves all that
//! have as many gates. Compiled together with an epilogue, LLVM would spill sums inside the loop.

use crate::block::Block;
use crate::buf::LINE;
use crate::isa::Simd;
use crate::pack::MAX_GATES;
use crate::real::Real;
use std::marker::PhantomData;

/// Most rows and most unit blocks of any tile.
pub(crate) const MOST: usize = 8;

/// Where the sums of rows, unit blocks and gates stand in memory, a vector each.
#[derive(Clone, Copy)]
pub(crate) struct Sums<T> {
    /// Of each gate the sum of the first row and block. Where it is only read, nothing is written through it.
    pub(crate) gates: [*mut T; MAX_GATES],
    /// Values from one row to the next.
    pub(crate) rows: [usize; MAX_GATES],
    /// Values from one unit block to the next.
    pub(crate) blocks: [usize; MAX_GATES],
}

impl<T> Sums<T> {
    /// Of so many gates, whose places are told one by one: the first, and the values to the next row and block.
    #[inline(always)]
    pub(crate) fn of(gates: usize, place: impl Fn(usize) -> (*mut T, usize, usize)) -> Self {
        let mut sums = Sums { gates: [std::ptr::null_mut(); MAX_GATES], rows: [0; MAX_GATES], blocks: [0; MAX_GATES] };
        for g in 0..gates {
            (sums.gates[g], sums.rows[g], sums.blocks[g]) = place(g);
        }
        sums
    }

    /// `[rows, blocks, gates]`, one behind the other.
    #[inline(always)]
    pub(crate) fn dense(first: *mut T, blocks: usize, gates: usize, lanes: usize) -> Self {
        Self::of(gates, |g| (first.wrapping_add(g * lanes), blocks * gates * lanes, gates * lanes))
    }

    /// Of each gate the sum of a row and the first block.
    #[inline(always)]
    fn row(&self, row: usize) -> [*mut T; MAX_GATES] {
        std::array::from_fn(|g| self.gates[g].wrapping_add(row * self.rows[g]))
    }
}

/// Adds the products of `k` columns to the sums of a tile. The task comes by reference: moved into the trampoline, it would be
/// copied by vectors from what was stored by words, which no processor forwards, and every tile would wait for the one
/// before it.
///
/// # Safety
/// The instruction set is the one the kernel was made for. `from` and `to` have the rows from `first` to MR more, U blocks and N
/// gates, `rows` are MR pointers to `k` values each, `weights` has U blocks at `stride` of `k` times N vectors.
pub(crate) type Kernel<T, S> = unsafe fn(s: S, task: &Task<'_, T>);

/// The arguments of a [`Kernel`].
pub(crate) struct Task<'a, T> {
    /// The sums so far.
    pub(crate) from: &'a Sums<T>,
    /// Where they go then.
    pub(crate) to: &'a Sums<T>,
    /// The tile's first row in both.
    pub(crate) first: usize,
    /// Rows of the left operand.
    pub(crate) rows: *const *const T,
    /// Weights of the first block.
    pub(crate) weights: *const T,
    /// Values from one unit block to the next.
    pub(crate) stride: usize,
    /// Columns.
    pub(crate) k: usize,
    /// What is prefetched meanwhile.
    pub(crate) prefetch: Prefetch<T>,
}

/// What a tile of more than one row prefetches while its columns pass.
#[derive(Clone, Copy)]
pub(crate) struct Prefetch<T> {
    /// What the next tiles will read: a vector of it with each column, line by line.
    pub(crate) read: *const T,
    /// The first of what will be written where no cache may have it: [`PLACES`] at a time, every [`STRETCH`] columns. All at
    /// once would fill the queue of misses, in which weights would then wait.
    pub(crate) write: *const T,
    /// Values from one of these places to the next.
    pub(crate) stride: usize,
    /// How many there are.
    pub(crate) count: usize,
}

impl<T: Real> Prefetch<T> {
    pub(crate) const NONE: Self = Self::reads(std::ptr::null());

    pub(crate) const fn reads(read: *const T) -> Self {
        Prefetch { read, write: std::ptr::null(), stride: 0, count: 0 }
    }

    /// The next places that will be written to, if there are as many as are due.
    #[inline(always)]
    fn places<S: Simd<T>>(&mut self, s: S) -> bool {
        if self.count < PLACES {
            return false;
        }
        for i in 0..PLACES {
            s.prefetch(self.write.wrapping_add(i * self.stride));
        }
        self.write = self.write.wrapping_add(PLACES * self.stride);
        self.count -= PLACES;
        true
    }
}

/// Columns that pass between two times that places to be written to are prefetched.
pub(crate) const STRETCH: usize = 8 * TURN;

/// How many are then: a tile of 256 columns reaches all places of one kind of 32 rows.
pub(crate) const PLACES: usize = 4;

/// Tiles for blocks of N gates on one instruction set.
pub(crate) struct Tiles<T, S, A>(PhantomData<(T, S, A)>);

impl<T: Real, S: Simd<T>, A: Block<S::V>> Tiles<T, S, A> {
    /// Most rows of a tile, by its unit blocks, counted from 1.
    pub(crate) const ROWS: [usize; MOST] = {
        let (mut rows, mut blocks) = ([1; MOST], 1);
        while blocks <= MOST {
            rows[blocks - 1] = Self::rows(blocks);
            blocks += 1;
        }
        rows
    };

    /// Most rows of a tile of so many unit blocks: as many as the registers allow.
    const fn rows(blocks: usize) -> usize {
        let mut rows = 1;
        while rows < MOST && Self::fits(rows + 1, blocks) {
            rows += 1;
        }
        rows
    }

    /// Most unit blocks of a row alone, whose sums never leave the registers. Where a vector is a whole cache line, four
    /// chains read lines as fast as a second cache gives them, and it gives four streams faster than eight.
    pub(crate) const ALONE: usize = match A::N {
        1 if size_of::<S::V>() >= LINE => 4,
        1 => 8,
        2 | 3 => 4,
        _ => 3,
    };

    /// The kernel of every tile, rows and blocks counted from 1.
    pub(crate) const KERNELS: [[Kernel<T, S>; MOST]; MOST] = [
        Self::of_rows::<1>(),
        Self::of_rows::<2>(),
        Self::of_rows::<3>(),
        Self::of_rows::<4>(),
        Self::of_rows::<5>(),
        Self::of_rows::<6>(),
        Self::of_rows::<7>(),
        Self::of_rows::<8>(),
    ];

    const fn of_rows<const MR: usize>() -> [Kernel<T, S>; MOST] {
        [
            Self::of::<MR, 1>(),
            Self::of::<MR, 2>(),
            Self::of::<MR, 3>(),
            Self::of::<MR, 4>(),
            Self::of::<MR, 5>(),
            Self::of::<MR, 6>(),
            Self::of::<MR, 7>(),
            Self::of::<MR, 8>(),
        ]
    }

    /// Tiles that are never chosen have no code of their own.
    const fn of<const MR: usize, const U: usize>() -> Kernel<T, S> {
        if const { Self::exists(MR, U) } { kernel::<T, S, A, MR, U> } else { kernel::<T, S, A, 2, 1> }
    }

    /// Whether a tile is ever chosen.
    pub(crate) const fn exists(rows: usize, blocks: usize) -> bool {
        2 <= rows && rows <= Self::rows(blocks) && blocks <= Self::blocks(rows)
    }

    /// Most sums of any rows, up to `rows`, by a tile's unit blocks.
    pub(crate) const fn most_sums(rows: usize) -> usize {
        let (mut most, mut high) = (0, 1);
        while high <= rows {
            let sums = high * Self::blocks(high) * A::N;
            most = if sums > most { sums } else { most };
            high += 1;
        }
        most
    }

    /// Most unit blocks of a tile, by its rows, counted from 1.
    pub(crate) const BLOCKS: [usize; MOST] = {
        let (mut blocks, mut rows) = ([1; MOST], 1);
        while rows <= MOST {
            blocks[rows - 1] = Self::blocks(rows);
            rows += 1;
        }
        blocks
    };

    /// Most unit blocks of a tile of `rows` rows: as many as the registers allow. Beyond a certain height a tile had
    /// better be wider than higher.
    const fn blocks(rows: usize) -> usize {
        let high = match (S::REGS >= 32, A::N) {
            (true, 1 | 3) => 8,
            (false, 3..) => 3,
            _ => 6,
        };
        let rows = if rows < high { rows } else { high };
        let mut blocks = 1;
        while blocks < MOST && Self::fits(rows, blocks + 1) {
            blocks += 1;
        }
        blocks
    }

    /// Whether registers hold a tile. (LLVM spills a sum in the loop where they are full and hold the weights of several
    /// blocks.)
    const fn fits(rows: usize, blocks: usize) -> bool {
        let used = Self::registers(rows, blocks);
        used < S::REGS || used == S::REGS && (blocks == 1 || rows < blocks * A::N)
    }

    /// Registers that hold the sums of a tile, the shorter of its sides and one value of the longer.
    const fn registers(rows: usize, blocks: usize) -> usize {
        let columns = blocks * A::N;
        let shorter = if rows < columns { rows } else { columns };
        rows * columns + shorter + 1
    }
}

/// Asks for the whole lines of the `n` values from `p` on.
#[inline(always)]
pub(crate) fn prefetch_all<T: Real, S: Simd<T>>(s: S, p: *const T, n: usize) {
    for line in 0..n * size_of::<T>() / LINE {
        s.prefetch(p.wrapping_byte_add(line * LINE));
    }
}

/// A function of its own for each size of a tile. (On one with target features, Rust 1.95 drops `inline(never)`.)
///
/// # Safety
/// As for a [`Kernel`].
#[inline(never)]
unsafe fn kernel<T: Real, S: Simd<T>, A: Block<S::V>, const MR: usize, const U: usize>(s: S, task: &Task<'_, T>) {
    const { assert!(Tiles::<T, S, A>::fits(MR, U), "the tile does not fit the registers") };
    s.vectorize(
        #[inline(always)]
        // SAFETY: the caller's promise.
        || unsafe { in_place::<T, S, A, MR, U>(s, task) },
    );
}

/// # Safety
/// As for a [`Kernel`].
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "m, u and g each run over several arrays")]
unsafe fn in_place<T: Real, S: Simd<T>, A: Block<S::V>, const MR: usize, const U: usize>(s: S, task: &Task<'_, T>) {
    let mut acc = [[A::fill(s.splat(T::ZERO)); U]; MR];
    let mut rows = [std::ptr::null(); MR];
    // Copied, since they are read again after every store where they are borrowed.
    let (from, to) = (*task.from, *task.to);
    let (mut starts, mut ends) = (from.row(task.first), to.row(task.first));
    // SAFETY: the caller's promise: sums and rows are as many as the tile has.
    unsafe {
        for m in 0..MR {
            rows[m] = *task.rows.add(m);
            for g in 0..A::N {
                for u in 0..U {
                    acc[m][u][g] = s.load(starts[g].wrapping_add(u * from.blocks[g]));
                }
                starts[g] = starts[g].wrapping_add(from.rows[g]);
            }
        }
        acc = multiply(s, acc, rows, task.weights, task.stride, task.k, task.prefetch);
        for m in 0..MR {
            for g in 0..A::N {
                for u in 0..U {
                    s.store(ends[g].wrapping_add(u * to.blocks[g]), acc[m][u][g]);
                }
                ends[g] = ends[g].wrapping_add(to.rows[g]);
            }
        }
    }
}

/// Columns between two turns of a loop over several rows. A core whose other hardware thread is busy leaves three
/// instructions a cycle, which is what 24 multiply-adds in 12 cycles and their loads need; the loop's own come on top.
pub(crate) const TURN: usize = 4;

/// The same of one row of so many unit blocks and gates. With one gate there are as many pointers to step as
/// multiply-adds, which is worth a second column while registers hold them all; of one block latency alone counts. With
/// more gates, weights come from the second cache level no faster.
const fn turn_alone(blocks: usize, gates: usize) -> usize {
    if gates == 1 && 2 <= blocks && blocks <= 6 { 2 } else { 1 }
}

/// The sums `acc` plus the products of their rows and gates, k ascending.
///
/// # Safety
/// `rows` are valid for reads of `k` values; `weights` is the first of U blocks at `stride` of `k` times N vectors.
#[inline(always)]
pub(crate) unsafe fn multiply<T: Real, S: Simd<T>, A: Block<S::V>, const MR: usize, const U: usize>(
    s: S,
    mut acc: [[A; U]; MR],
    rows: [*const T; MR],
    weights: *const T,
    stride: usize,
    k: usize,
    mut prefetch: Prefetch<T>,
) -> [[A; U]; MR] {
    let mut blocks = std::array::from_fn(|u| weights.wrapping_add(u * stride));
    let turn = if MR > 1 { TURN } else { turn_alone(U, A::N) };
    let mut step = A::N * S::LANES;
    if MR > 1 && matches!(A::N, 2 | 3) && const { Tiles::<T, S, A>::registers(MR, U) == S::REGS } {
        // LLVM gathers loads that it knows to be side by side, and has no register for those of the next column.
        step = std::hint::black_box(step);
    }
    let mut first = 0;
    while k - first >= turn {
        // A constant for one row, of which LLVM then makes one loop: else small steps take up to 80 % more instructions.
        let mut turns = if MR > 1 { (k - first) / turn } else { 1 };
        if MR > 1 && prefetch.places(s) {
            turns = turns.min(STRETCH / TURN);
        }
        for _ in 0..turns {
            for i in 0..turn {
                if MR > 1 && i % const { LINE.div_ceil(size_of::<S::V>()) } == 0 {
                    s.prefetch(prefetch.read.wrapping_add((first + i) * S::LANES));
                }
                // SAFETY: the caller's promise, first + i < k.
                unsafe { column(s, &mut acc, &rows, first + i, &mut blocks, step) };
            }
            first += turn;
        }
    }
    for i in first..k {
        // SAFETY: the caller's promise, i < k.
        unsafe { column(s, &mut acc, &rows, i, &mut blocks, step) };
    }
    acc
}

/// Adds the products of one column, whose weights are those at `blocks`, and goes on to the next ones. Of operands and weights
/// the fewer are held in registers while the others pass by. `step` are the values of a column of a block.
///
/// # Safety
/// Each of `rows` is valid for a read at `i`, each of `blocks` for one of N vectors.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "m, u and g each run over several arrays")]
unsafe fn column<T: Real, S: Simd<T>, A: Block<S::V>, const MR: usize, const U: usize>(
    s: S,
    acc: &mut [[A; U]; MR],
    rows: &[*const T; MR],
    i: usize,
    blocks: &mut [*const T; U],
    step: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if U * A::N <= MR {
            let mut b = [A::fill(s.splat(T::ZERO)); U];
            for u in 0..U {
                for g in 0..A::N {
                    b[u][g] = s.load(blocks[u].add(g * S::LANES));
                }
            }
            for m in 0..MR {
                let a = s.splat(*rows[m].add(i));
                for u in 0..U {
                    for g in 0..A::N {
                        acc[m][u][g] = s.fma(a, b[u][g], acc[m][u][g]);
                    }
                }
            }
        } else {
            let mut a = [s.splat(T::ZERO); MR];
            for m in 0..MR {
                a[m] = s.splat(*rows[m].add(i));
            }
            for u in 0..U {
                for g in 0..A::N {
                    let b = s.load(blocks[u].add(g * S::LANES));
                    for m in 0..MR {
                        acc[m][u][g] = s.fma(a[m], b, acc[m][u][g]);
                    }
                }
            }
        }
        for u in 0..U {
            blocks[u] = blocks[u].add(step);
        }
    }
}
