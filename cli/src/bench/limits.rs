//! What the machine does at most, on so many threads at once.

use super::caches::Level;
use super::subject::pool;
use super::timing::best_rate;
use anyhow::{Result, ensure};
use gatefold::Isa;
use gatefold::gemm::Element;
use gatefold_kernels::buf::Buf;
use gatefold_kernels::limits::{Chains, MultiplyAdds, Reading};
use std::hint::black_box;
use std::sync::Barrier;

/// Multiply-adds of a chain in one call: about a microsecond.
const LENGTH: u64 = 1000;

/// Floating-point operations in a second of all threads together, in registers alone.
pub fn multiply_adds<T: Element>(isa: Isa, threads: usize, budget: f64) -> Result<f64> {
    let chains = Chains::Full;
    together(threads, |barrier| {
        Ok(best_rate(budget, barrier, || MultiplyAdds { isa, chains, length: LENGTH }.run::<T>().amount as f64))
    })
}

/// Seconds until the result of a multiply-add can be used.
pub fn latency<T: Element>(isa: Isa, budget: f64) -> f64 {
    let chains = Chains::One;
    let rate = best_rate(
        budget,
        || {},
        || {
            black_box(MultiplyAdds { isa, chains, length: LENGTH }.run::<T>());
            LENGTH as f64
        },
    );
    1.0 / rate
}

/// Bytes that all threads together read in a second, each from a buffer of its own.
pub fn reading(isa: Isa, level: Level, threads: usize, budget: f64) -> Result<f64> {
    together(threads, |barrier| {
        let values = Buf::filled(level.sample_bytes() / size_of::<f32>(), 1.0f32);
        // All threads have to arrive at the barrier, with or without memory.
        let values = values.or_else(|_| Buf::filled(0, 1.0));
        let values = values.map_err(gatefold::Error::from)?;
        let rate = best_rate(budget, barrier, || Reading { isa, values: &values }.run().amount as f64);
        ensure!(!values.is_empty(), "{} bytes for each thread do not fit in memory", level.sample_bytes());
        Ok(rate)
    })
}

/// The sum of the rates that `work` returns on each of so many threads. It calls the barrier before each sample.
fn together(threads: usize, work: impl Fn(&(dyn Fn() + Sync)) -> Result<f64> + Sync) -> Result<f64> {
    let barrier = Barrier::new(threads);
    let wait = || {
        barrier.wait();
    };
    pool(threads)?.broadcast(|_| work(&wait)).into_iter().sum()
}
