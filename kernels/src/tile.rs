//! The micro-kernel: a tile of MR rows by U unit blocks, all gates of a unit in one register group.
//!
//! Every accumulator is one chain of fused multiply-adds over k in ascending order, started by the epilogue. K is never
//! split, so that neither the shape of the tile nor the width of a vector can change a bit of the result.

use crate::block::{Block, ByLength};
use crate::isa::{Op, Simd, apart};
use crate::pack::Panel;
use crate::real::Real;
use crate::seq::SeqRef;
use std::ops::Range;

/// What surrounds the product of one row and one unit block.
///
/// # Safety
/// Implementations touch only memory that belongs to the row and block they are called with.
pub(crate) unsafe trait Epilogue<T: Real>: Copy {
    /// The gates of a unit block.
    type Acc<V: Copy>: Block<V>;

    /// What the chains start from.
    ///
    /// # Safety
    /// `at` is a row and block of the product that the epilogue was made for.
    unsafe fn start<S: Simd<T>>(&self, s: S, at: At<T>) -> Self::Acc<S::V>;

    /// Takes the finished chains.
    ///
    /// # Safety
    /// As for `start`.
    unsafe fn finish<S: Simd<T>>(&self, s: S, at: At<T>, acc: Self::Acc<S::V>);
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

/// Left operand times panel, block by block, each tile handed to the epilogue.
pub(crate) struct Product<'a, T, E> {
    rows: SeqRef<'a, T>,
    select: Option<&'a [u32]>,
    panel: &'a Panel<T>,
    blocks: Range<usize>,
    epilogue: E,
}

impl<'a, T: Real, E: Epilogue<T>> Product<'a, T, E> {
    /// # Safety
    /// The channels of `rows` are the panel's K, the panel has `E::Acc` gates and was packed for the instruction set
    /// this will run on, `blocks` are blocks of the panel, `select` are rows of the one timestep of `rows`, or there is no
    /// selection, and `epilogue` may be called for each of these rows and blocks.
    pub(crate) unsafe fn new(rows: SeqRef<'a, T>, select: Option<&'a [u32]>, panel: &'a Panel<T>, epilogue: E) -> Self {
        Product { rows, select, panel, blocks: 0..panel.blocks(), epilogue }
    }

    /// The product in tiles of MR rows by U blocks. A last row alone goes through tiles of one row by U1 blocks;
    /// more rows than one but fewer than MR are a full tile whose spare rows repeat the last one and are not stored.
    #[inline(always)]
    fn walk<S: Simd<T>, const MR: usize, const U: usize, const U1: usize>(&self, s: S) {
        let start = self.rows.walk(self.select);
        let rows = start.count();
        if rows == 0 {
            // Units without rows have no memory behind them: there may be more than could ever be counted to.
            return;
        }
        let tiled = if rows % MR == 1 { rows - 1 } else { rows };
        let mut end = start;
        for first in self.blocks.clone().step_by(U) {
            let mut walk = start;
            for row in (0..tiled).step_by(MR) {
                let live = MR.min(tiled - row);
                let mut operands = [walk.next(); MR];
                for operand in &mut operands[1..live] {
                    *operand = walk.next();
                }
                let last = operands[live - 1];
                operands[live..].fill(last);
                // SAFETY: `operands` are rows of the left operand with their numbers.
                unsafe { self.tile::<S, MR, U>(s, operands, live, first) };
            }
            end = walk;
        }
        if tiled < rows {
            let last = end.next();
            for first in self.blocks.clone().step_by(U1) {
                // SAFETY: as above, for the last row.
                unsafe { self.tile::<S, 1, U1>(s, [last], 1, first) };
            }
        }
    }

    /// # Safety
    /// `operands` are numbers of rows of the product and pointers to their K values; 1 <= `live` <= MR.
    #[inline(always)]
    unsafe fn tile<S: Simd<T>, const MR: usize, const U: usize>(
        &self,
        s: S,
        operands: [(usize, *const T); MR],
        live: usize,
        first: usize,
    ) {
        const {
            let weights = U * <E::Acc<S::V> as Block<S::V>>::N;
            let held = if weights < MR { weights } else { MR };
            assert!(MR * weights + held < S::REGS, "the tile does not fit the registers");
        }
        let panel = self.panel;
        let (units, heads, block_len) = (panel.shape().units, panel.shape().heads, panel.block_len());
        let mut places = [At { row: 0, block: 0, lanes: 0, heads: panel.data().as_ptr() }; U];
        for (u, at) in places.iter_mut().enumerate() {
            // Spare blocks at the end repeat the last one and are not stored.
            at.block = (first + u).min(self.blocks.end - 1);
            at.lanes = S::LANES.min(units - at.block * S::LANES);
            at.heads = panel.data().as_ptr().wrapping_add(at.block * block_len);
        }
        // SAFETY: rows and blocks are the product's, so the epilogue may be called for them; a block's weights follow
        // its heads, K times all gates of LANES values.
        unsafe {
            let mut acc = [[<E::Acc<S::V> as Block<S::V>>::fill(s.splat(T::ZERO)); U]; MR];
            let mut rows = [std::ptr::null(); MR];
            for m in 0..MR {
                rows[m] = operands[m].1;
                for u in 0..U {
                    acc[m][u] = self.epilogue.start(s, At { row: operands[m].0, ..places[u] });
                }
            }
            let mut weights = [std::ptr::null(); U];
            for u in 0..U {
                weights[u] = places[u].heads.add(heads * S::LANES);
            }
            let k = panel.shape().k;
            if MR == 1 {
                acc = multiply(s, acc, rows, weights, k);
            } else {
                // A large tile takes every register: compiled together with what surrounds it, some would be spilled
                // inside the loop. As a function of its own it costs each accumulator one store and one load.
                acc = apart(
                    s,
                    #[inline(always)]
                    || multiply(s, acc, rows, weights, k),
                );
            }
            for (m, &(row, _)) in operands[..live].iter().enumerate() {
                for (u, &at) in places.iter().enumerate() {
                    if first + u < self.blocks.end {
                        self.epilogue.finish(s, At { row, ..at }, acc[m][u]);
                    }
                }
            }
        }
    }
}

/// The accumulators plus the products of their rows and gates, k ascending.
///
/// # Safety
/// `operands` are valid for reads of `k` values, `weights` of `k` times all gates of LANES values.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "m, u and g each run over several arrays")]
unsafe fn multiply<T: Real, S: Simd<T>, A: Block<S::V>, const MR: usize, const U: usize>(
    s: S,
    mut acc: [[A; U]; MR],
    operands: [*const T; MR],
    mut weights: [*const T; U],
    k: usize,
) -> [[A; U]; MR] {
    for i in 0..k {
        // SAFETY: i < k. Of operands and weights the fewer are held in registers while the others pass by.
        unsafe {
            if U * A::N <= MR {
                let mut b = [A::fill(s.splat(T::ZERO)); U];
                for u in 0..U {
                    for g in 0..A::N {
                        b[u][g] = s.load(weights[u].add(g * S::LANES));
                    }
                }
                for m in 0..MR {
                    let a = s.splat(*operands[m].add(i));
                    for u in 0..U {
                        for g in 0..A::N {
                            acc[m][u][g] = s.fma(a, b[u][g], acc[m][u][g]);
                        }
                    }
                }
            } else {
                let mut a = [s.splat(T::ZERO); MR];
                for m in 0..MR {
                    a[m] = s.splat(*operands[m].add(i));
                }
                for u in 0..U {
                    for g in 0..A::N {
                        let b = s.load(weights[u].add(g * S::LANES));
                        for m in 0..MR {
                            acc[m][u][g] = s.fma(a[m], b, acc[m][u][g]);
                        }
                    }
                }
            }
            for u in 0..U {
                weights[u] = weights[u].add(A::N * S::LANES);
            }
        }
    }
    acc
}

impl<T: Real, E: Epilogue<T>> Op<T> for Product<'_, T, E> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        <E::Acc<S::V> as Block<S::V>>::by_length(Walk { s, product: self });
    }
}

/// The choice of the tile: MR rows by U blocks, and U1 blocks where one row is alone.
///
/// At least 8 chains run side by side, as two FMA ports of latency 4 need; MR is as large as the registers allow, since
/// each weight loaded serves MR rows. (Three gates on 16 registers: 4 rows would take all 16, and LLVM then spills an
/// accumulator in the loop; 3 rows run as fast as 4 would.)
struct Walk<S, P> {
    s: S,
    product: P,
}

/// A tile shape for 16 vector registers and one for 32.
macro_rules! tiles {
    ($($gates:ident: $few:tt $many:tt;)+) => {$(
        #[inline(always)]
        fn $gates(self) {
            let Walk { s, product } = self;
            s.by_registers(
                #[inline(always)]
                || tiles!(@ product s $few),
                #[inline(always)]
                || tiles!(@ product s $many),
            );
        }
    )+};
    (@ $product:ident $s:ident ($mr:literal, $u:literal, $u1:literal)) => { $product.walk::<S, $mr, $u, $u1>($s) };
}

impl<T: Real, S: Simd<T>, E: Epilogue<T>> ByLength for Walk<S, Product<'_, T, E>> {
    tiles! {
        one: (6, 2, 8) (8, 2, 8);
        two: (6, 1, 4) (8, 1, 4);
        three: (3, 1, 3) (8, 1, 3);
        four: (3, 1, 2) (6, 1, 2);
    }
}
