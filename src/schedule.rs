//! How to cut the work: a plan that is plain data, and the only user of rayon.

use crate::caches::Caches;
use crate::dims::Dims;
use crate::error::Result;
use gatefold_kernels::gang::{MOST_THREADS, WORTH_WAKING};

/// How many threads a layer may use. The bits of the outputs do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Threads {
    /// The caller's thread alone.
    #[cfg_attr(not(feature = "rayon"), default)]
    One,
    /// The rayon pool that the caller is in, else the global one; only where there is enough work. Feature `rayon`.
    #[cfg(feature = "rayon")]
    #[default]
    Pool,
}

impl Threads {
    /// How many that is, here and now.
    pub fn count(self) -> usize {
        match self {
            Threads::One => 1,
            #[cfg(feature = "rayon")]
            Threads::Pool => rayon::current_num_threads(),
        }
    }
}

/// Floating-point operations that a part must have to be worth waking a thread for.
const WORTH_A_THREAD: f64 = 1e6;

/// Parts that are worth a thread each, if there were as many.
fn worth(dims: Dims, time: usize, batch: usize, bytes: usize, caches: Caches) -> usize {
    let work = dims.flops() * time as f64 * batch as f64;
    let panels = dims.parameters().saturating_mul(bytes);
    let rows = if panels <= caches.l2 / SMALL_OF_L2 { ROWS_OF_A_SMALL_PART } else { ROWS_OF_A_PART };
    ((work / WORTH_A_THREAD) as usize).min(batch / rows).max(1)
}

/// Fewest rows that a part has: with fewer, weights are read again for too little work; that costs less where they take
/// only this part of L2.
const ROWS_OF_A_PART: usize = 8;
const ROWS_OF_A_SMALL_PART: usize = 4;
const SMALL_OF_L2: usize = 4;

/// The part of L2 that the input product which is computed ahead of the steps may take: it should still be there when it
/// is used.
const BLOCK_OF_L2: usize = 8;

/// Rows that are computed ahead in any case: with fewer, W is read again for too little work.
const ROWS_OF_A_BLOCK: usize = 64;

/// Rows of the input product that are computed ahead of the steps.
fn block_rows(dims: Dims, bytes: usize, caches: Caches) -> usize {
    (caches.l2 / BLOCK_OF_L2 / row_bytes(dims, bytes).max(1)).max(ROWS_OF_A_BLOCK)
}

/// Bytes of a row's input product.
fn row_bytes(dims: Dims, bytes: usize) -> usize {
    dims.cell.gates().saturating_mul(dims.hidden).saturating_mul(bytes)
}

/// How a sequence of known sizes is computed: what [`Layer::plan`](crate::Layer::plan) decides. Any plan gives the same
/// bits with the native backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Parts that the batch rows are cut into, each computed by one thread.
    pub parts: usize,
    /// Timesteps whose input product is computed at once.
    pub block: usize,
    /// Threads that share the units of every step, where rows are too few to be shared: a gang, which meets at each step.
    pub gang: usize,
}

impl Plan {
    /// The plan for `[T, N, I]` on `threads` threads; `bytes` of an element. A pure function, at the cost of a few divisions.
    pub fn new(dims: Dims, time: usize, batch: usize, threads: usize, bytes: usize, caches: Caches) -> Plan {
        let parts = worth(dims, time, batch, bytes, caches).min(threads).max(1);
        let rows = batch.div_ceil(parts).max(1);
        let most = (block_rows(dims, bytes, caches) / rows).clamp(1, time.max(1));
        let block = time.div_ceil(time.div_ceil(most).max(1)).max(1);
        let gang = if parts == 1 { gang(dims, time, batch).min(threads).max(1) } else { 1 };
        Plan { parts, block, gang }
    }

    /// The same for calls of other sizes: with no more parts than rows, nor steps in a block than there are.
    pub(crate) fn within(self, time: usize, batch: usize) -> Plan {
        let Plan { parts, block, gang } = self;
        Plan {
            parts: parts.clamp(1, batch.max(1)),
            block: block.clamp(1, time.max(1)),
            gang: gang.clamp(1, MOST_THREADS),
        }
    }

    /// The most rows that the blocks of a part have, all steps together, for up to `time` steps of up to `rows` rows.
    pub(crate) fn most_rows(dims: Dims, time: usize, rows: usize, bytes: usize, caches: Caches) -> usize {
        block_rows(dims, bytes, caches).min(time.saturating_mul(rows)).max(rows)
    }
}

/// Floating-point operations between two meetings that are worth a thread's coming to them: a third of a microsecond.
const WORTH_A_MEETING: f64 = 2.4e4;

/// Threads that are worth sharing the units of a step, if there were as many.
fn gang(dims: Dims, time: usize, batch: usize) -> usize {
    let of_a_row = 2.0 * dims.cell.gates() as f64 * dims.hidden as f64 * dims.output() as f64;
    let step = of_a_row * batch as f64;
    let is_worth = match time {
        0..WORTH_WAKING => dims.flops() * batch as f64 >= WORTH_A_GANG_AWAKE,
        _ => step * time as f64 >= WORTH_A_GANG,
    };
    if !is_worth {
        return 1;
    }
    let meetings = if dims.has_two_stages() { 2.0 } else { 1.0 };
    ((step / meetings / WORTH_A_MEETING) as usize).min(dims.hidden / UNITS_OF_A_MEMBER).min(MOST_THREADS)
}

/// Operations in all steps that a gang is woken for, where there are enough of them to be woken at all.
const WORTH_A_GANG: f64 = 5e6;

/// Operations of a step, its input product among them, that a gang is called for if it is awake: two microseconds.
const WORTH_A_GANG_AWAKE: f64 = 1.5e5;

/// Fewest units of a member.
const UNITS_OF_A_MEMBER: usize = 48;

impl Threads {
    /// Threads of those that there are now that share the units of a step. They are counted only where it is worth more than
    /// one.
    pub(crate) fn gang(self, dims: Dims, time: usize, batch: usize) -> usize {
        match gang(dims, time, batch) {
            0 | 1 => 1,
            useful => useful.min(self.count()),
        }
    }

    /// The plan for `[T, N, I]` with the threads that there are now. They are counted only where the work is worth more
    /// than one: counting starts rayon's global pool.
    pub(crate) fn plan(self, dims: Dims, time: usize, batch: usize, bytes: usize) -> Plan {
        let caches = Caches::of_machine();
        let useful = worth(dims, time, batch, bytes, caches).max(gang(dims, time, batch));
        let threads = if useful > 1 { self.count() } else { 1 };
        Plan::new(dims, time, batch, threads, bytes, caches)
    }
}

/// Layers of a stack that share blocks of time: each computes a block while the one above computes the block before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wave {
    /// Timesteps of a block.
    pub(crate) block: usize,
    /// Layers that run at once.
    pub(crate) threads: usize,
}

/// Floating-point operations that a block must have of a layer: a core that goes from layer to layer fetches the weights of
/// each anew.
const WORTH_A_WAVE: f64 = 4e6;

/// Fewest blocks for each layer: at either end of the sequence some layers have nothing to do.
const BLOCKS_OF_A_LAYER: usize = 4;

impl Wave {
    /// How layers of these sizes share time, if that is worth it: rows are too few to occupy all threads, sharing the units
    /// of each step would not occupy more of them, and there are blocks enough. `threads` are asked for only where the work
    /// is worth it; `bytes` of an element.
    pub(crate) fn new(
        layers: impl Iterator<Item = Dims> + Clone,
        [time, batch]: [usize; 2],
        bytes: usize,
        caches: Caches,
        threads: impl FnOnce() -> usize,
    ) -> Option<Wave> {
        let rows = Self::rows(layers.clone(), time, bytes, caches)?;
        let (count, block) = (layers.clone().count(), rows.div_ceil(batch.max(1)));
        if time.div_ceil(block) < BLOCKS_OF_A_LAYER.saturating_mul(count) {
            return None;
        }
        let available = threads();
        let by_units = layers.map(|dims| gang(dims, time, batch)).max().unwrap_or(1).min(available);
        let threads = count.min(available);
        let is_best = threads >= 2 && threads >= by_units && batch / ROWS_OF_A_PART < threads;
        is_best.then_some(Wave { block, threads })
    }

    /// Rows of a block, all its steps together, so that it is worth a thread; a block has at most a step more. None where no
    /// batch of so few steps would be computed in waves, or a layer's weights do not fit L2: a gang whose members keep
    /// their units' share of them is then better.
    pub(crate) fn rows(
        layers: impl Iterator<Item = Dims> + Clone,
        time: usize,
        bytes: usize,
        caches: Caches,
    ) -> Option<usize> {
        let count = layers.clone().count();
        if count < 2 || time < BLOCKS_OF_A_LAYER.saturating_mul(count) {
            return None;
        }
        let weights = layers.clone().map(|dims| dims.parameters()).max()?.saturating_mul(bytes);
        let least = layers.map(|dims| dims.flops()).fold(f64::INFINITY, f64::min);
        (weights <= caches.l2).then_some((WORTH_A_WAVE / least.max(1.0)).ceil() as usize)
    }
}

/// Whether two directions over the same `[T, N, I]` are computed side by side: each is worth a thread, and neither alone
/// would use them all by its rows.
pub(crate) fn directions_apart([forward, backward]: [Dims; 2], time: usize, batch: usize, threads: usize) -> bool {
    let work = forward.flops().min(backward.flops()) * time as f64 * batch as f64;
    threads >= 2 && work >= WORTH_A_THREAD && batch / ROWS_OF_A_PART < threads
}

impl Threads {
    /// The same with the threads that there are now, of layers that may use so many; they are counted only where the work
    /// is worth it.
    pub(crate) fn apart(both: [Threads; 2], dims: [Dims; 2], time: usize, batch: usize) -> bool {
        directions_apart(dims, time, batch, usize::MAX)
            && directions_apart(dims, time, batch, both[0].count().min(both[1].count()))
    }
}

/// Both, at once if `apart`.
pub(crate) fn both<A, B>(apart: bool, a: A, b: B) -> Result<()>
where
    A: FnOnce() -> Result<()> + Send,
    B: FnOnce() -> Result<()> + Send,
{
    if apart {
        let (a, b) = join(a, b);
        a.and(b)
    } else {
        a()?;
        b()
    }
}

/// Work that can be cut in two.
pub(crate) trait Split: Sized + Send {
    /// Two pieces, of `left` and `right` parts.
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)>;
    /// Computes it on this thread.
    fn run(self) -> Result<()>;
}

/// Runs `job` in `parts` parts by `join` alone, which allocates nothing inside the pool.
pub(crate) fn run<J: Split>(job: J, parts: usize) -> Result<()> {
    if parts <= 1 {
        return job.run();
    }
    let (left, right) = (parts / 2, parts - parts / 2);
    let (a, b) = job.split(left, right)?;
    let (a, b) = join(|| run(a, left), || run(b, right));
    a.and(b)
}

/// Runs `work` on a thread of the pool if it will be cut into parts again and again: each time from outside would take tens
/// of microseconds.
pub(crate) fn inside<R: Send>(parts: usize, work: impl FnOnce() -> R + Send) -> R {
    if parts > 1 { join(work, || ()).0 } else { work() }
}

#[cfg(feature = "rayon")]
use rayon::join;

/// Both, one after the other: no plan has more than one part without rayon.
#[cfg(not(feature = "rayon"))]
fn join<A, B>(a: impl FnOnce() -> A, b: impl FnOnce() -> B) -> (A, B) {
    (a(), b())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Cell, Reset};

    const GRU: Cell = Cell::Gru { reset: Reset::After };
    const CACHES: Caches = Caches { l1: 48 << 10, l2: 2 << 20, l3: 32 << 20 };

    fn plan(input: usize, hidden: usize, batch: usize, time: usize, threads: usize) -> Plan {
        Plan::new(
            Dims { cell: GRU, variant: GRU.standard(), input, hidden, projection: None },
            time,
            batch,
            threads,
            4,
            CACHES,
        )
    }

    #[test]
    fn small_work_wakes_nobody() {
        assert_eq!(plan(8, 4, 32, 10, 2).parts, 1);
        assert_eq!(plan(64, 64, 1, 100, 8).parts, 1);
        assert_eq!(plan(256, 256, 1, 1, 8).parts, 1);
    }

    #[test]
    fn large_batches_are_shared() {
        assert_eq!(plan(256, 256, 32, 50, 1).parts, 1);
        assert_eq!(plan(256, 256, 32, 50, 2).parts, 2);
        assert_eq!(plan(256, 256, 32, 50, 64).parts, 4);
        assert_eq!(plan(256, 256, 15, 50, 64).parts, 1);
    }

    #[test]
    fn directions_are_apart_where_rows_are_few() {
        let dims = |hidden| Dims { cell: GRU, variant: GRU.standard(), input: hidden, hidden, projection: None };
        let apart = |hidden, time, batch, threads| directions_apart([dims(hidden); 2], time, batch, threads);
        assert!(apart(64, 100, 1, 2));
        assert!(!apart(64, 100, 1, 1));
        assert!(!apart(8, 10, 1, 2));
        assert!(!apart(256, 50, 32, 2));
        assert!(apart(256, 50, 8, 4));
    }

    #[test]
    fn layers_are_side_by_side_where_rows_are_few_and_weights_fit() {
        let dims = |hidden| Dims { cell: GRU, variant: GRU.standard(), input: hidden, hidden, projection: None };
        let wave = |layers, hidden, time, batch, threads| {
            Wave::new(vec![dims(hidden); layers].into_iter(), [time, batch], 4, CACHES, || threads)
        };
        assert_eq!(wave(2, 128, 400, 1, 2), Some(Wave { block: 21, threads: 2 }));
        assert_eq!(wave(2, 128, 400, 1, 1), None);
        assert_eq!(wave(1, 128, 400, 1, 2), None);
        assert_eq!(wave(2, 128, 120, 1, 2), None);
        assert_eq!(wave(3, 128, 400, 1, 2), Some(Wave { block: 21, threads: 2 }));
        assert_eq!(wave(3, 128, 400, 1, 8), Some(Wave { block: 21, threads: 3 }));
        assert_eq!(wave(2, 128, 400, 16, 2), None);
        assert_eq!(wave(2, 256, 400, 1, 2), Some(Wave { block: 6, threads: 2 }));
        assert_eq!(wave(2, 512, 400, 1, 2), None);
        assert_eq!(wave(0, 128, 400, 1, 2), None);
    }

    #[test]
    fn a_gang_meets_for_large_steps_of_few_rows() {
        assert_eq!(plan(64, 64, 1, 400, 2).gang, 1);
        assert_eq!(plan(64, 96, 1, 100, 2).gang, 2);
        assert_eq!(plan(64, 128, 1, 100, 2).gang, 2);
        assert_eq!(plan(128, 256, 1, 100, 2).gang, 2);
        assert_eq!(plan(256, 512, 1, 50, 2).gang, 2);
        assert_eq!(plan(256, 512, 1, 50, 1).gang, 1);
        assert_eq!(plan(256, 512, 1, 1, 2).gang, 2);
        assert_eq!(plan(64, 128, 1, 1, 2).gang, 1);
        assert_eq!(plan(128, 128, 1, 1, 2).gang, 2);
        assert_eq!(plan(256, 512, 32, 50, 2).gang, 1);
        assert_eq!(plan(1024, 1024, 1, 50, 64).gang, 16);
        // Two meetings a step want twice the work.
        let before = |hidden| {
            let cell = Cell::Gru { reset: Reset::Before };
            let dims = Dims { cell, variant: cell.standard(), input: 64, hidden, projection: None };
            Plan::new(dims, 100, 1, 2, 4, CACHES).gang
        };
        assert_eq!([96, 128].map(before), [1, 2]);
    }

    #[test]
    fn blocks_of_time_stay_in_the_cache() {
        // 85 steps would leave a short block.
        assert_eq!(plan(256, 256, 1, 1000, 1).block, 84);
        // W is worth reading for 64 rows, however long they are.
        assert_eq!(plan(1024, 1024, 1, 25, 1).block, 25);
        assert_eq!(plan(1024, 1024, 16, 25, 1).block, 4);
        assert_eq!(plan(256, 256, 32, 50, 1).block, 2);
        assert_eq!(plan(256, 256, 4096, 50, 1).block, 1);
        assert_eq!(plan(1, 1, 1, 7, 1).block, 7);
    }

    #[test]
    fn no_block_has_more_rows_than_the_most() {
        for (input, hidden) in [(1, 1), (64, 64), (256, 300), (8, 1000)] {
            let dims = Dims { cell: GRU, variant: GRU.standard(), input, hidden, projection: None };
            for (time, batch) in [(0, 3), (1, 40), (7, 64), (1000, 33)] {
                for (t, n, threads) in (0..=time).step_by(3).flat_map(|t| (0..=batch).map(move |n| (t, n, 1 + n % 5))) {
                    let Plan { parts, block, .. } = Plan::new(dims, t, n, threads, 4, CACHES);
                    let rows = n.div_ceil(parts);
                    assert!(rows <= batch.div_ceil(parts));
                    assert!(block * rows <= Plan::most_rows(dims, time, batch.div_ceil(parts), 4, CACHES));
                    assert!(parts <= Plan::new(dims, time, batch, threads, 4, CACHES).parts);
                }
            }
        }
    }

    #[test]
    fn nothing_to_do_is_a_plan_too() {
        for (batch, time) in [(0, 5), (5, 0), (0, 0)] {
            assert_eq!(plan(3, 5, batch, time, 8).parts, 1);
            assert!(plan(3, 5, batch, time, 8).block >= 1);
        }
        assert_eq!(plan(usize::MAX / 4, 1, 1 << 40, 1 << 40, 2).block, 1 << 40 >> 40);
    }
}
