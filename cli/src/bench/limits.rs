//! What the machine does at most, on so many threads at once.

use super::level::Level;
use super::timing::{Repetition, Sample, best_rate};
use crate::arguments::pool;
use anyhow::Result;
use gatefold::Isa;
use gatefold::gemm::Element;
use gatefold_kernels::buf::Buf;
use gatefold_kernels::limits::{Chains, MultiplyAdds, Reading};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::yield_now;

/// Multiply-adds of a chain in one call: so many that its beginning and end do not show, which take as long as 70.
const LENGTH: u64 = 20_000;

/// Bytes that one call reads at least, so that its beginning and end do not show.
const SHORTEST_READ: usize = 1 << 20;

/// Floating-point operations in a second of all threads together, in registers alone.
pub fn multiply_adds<T: Element>(isa: Isa, threads: usize, budget: f64) -> Result<f64> {
    let chains = Chains::Full;
    together(threads, budget, |_| MultiplyAdds { isa, chains, length: LENGTH }.run::<T>().amount as f64)
}

/// Seconds until the result of a multiply-add can be used.
pub fn latency<T: Element>(isa: Isa, budget: f64) -> f64 {
    let chains = Chains::One;
    let rate = best_rate(budget, || {
        black_box(MultiplyAdds { isa, chains, length: LENGTH }.run::<T>());
        LENGTH as f64
    });
    1.0 / rate
}

/// Bytes that all threads together read in a second, each from a buffer of its own.
pub fn reading(isa: Isa, level: Level, threads: usize, budget: f64) -> Result<f64> {
    let buffer = |_| Buf::filled(level.sample_bytes() / size_of::<f32>(), 1.0f32).map_err(gatefold::Error::from);
    let buffers = (0..threads).map(buffer).collect::<Result<Vec<_>, _>>()?;
    let times = (SHORTEST_READ / level.sample_bytes()).max(1) as u64;
    together(threads, budget, |thread| Reading { isa, times, values: &buffers[thread] }.run().amount as f64)
}

/// What threads that start together do in a second: the best of many rounds. `work` is given the number of its thread.
fn together(threads: usize, budget: f64, work: impl Fn(usize) -> f64 + Sync) -> Result<f64> {
    let Repetition { calls, rounds } = Repetition::calibrated(budget, &mut || work(0));
    let arrived = AtomicUsize::new(0);
    let of_threads = pool(threads)?.broadcast(|thread| {
        let mut work = || work(thread.index());
        let sample = |round| {
            arrived.fetch_add(1, Ordering::Relaxed);
            // Not a barrier that sleeps: to wake up takes a part of a sample.
            while arrived.load(Ordering::Relaxed) < threads * (round + 1) {
                yield_now();
            }
            Sample::of(calls, &mut work)
        };
        (0..rounds).map(sample).collect::<Vec<_>>()
    });
    let round = |round: usize| Sample::rate(&of_threads.iter().map(|samples| samples[round]).collect::<Vec<_>>());
    Ok((0..rounds).map(round).fold(0.0, f64::max))
}
