//! What the processor can do at most: arithmetic that waits for nothing, and reading that computes nothing.
//!
//! Yardsticks for the other operations, not operations of a layer.

use crate::isa::{Isa, Op, Simd};
use crate::real::Real;
use std::hint::black_box;

/// Values in the longest vector.
const MOST_LANES: usize = 16;

/// Vectors that are read before the loop turns, each into a sum of its own.
const READS: usize = 8;

/// How many chains of fused multiply-adds run side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chains {
    /// One, which waits for its own results: it shows the latency.
    One,
    /// As many as the registers hold, more than latency times throughput: they show the throughput.
    Full,
}

/// Fused multiply-adds of vectors in registers.
#[derive(Clone, Copy, Debug)]
pub struct MultiplyAdds {
    /// The instruction set.
    pub isa: Isa,
    /// Chains side by side.
    pub chains: Chains,
    /// The length of each chain.
    pub length: u64,
}

/// Reading of memory from its first value to its last.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a, T> {
    /// The instruction set.
    pub isa: Isa,
    /// How often all of it is read.
    pub times: u64,
    /// What is read: eight whole vectors at a time, and not what is left over.
    pub values: &'a [T],
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worked<T> {
    /// Floating-point operations of multiply-adds, two for each value of a vector; bytes read.
    pub amount: u64,
    /// The sum of all results, which nothing could know without the work.
    pub sum: T,
}

impl MultiplyAdds {
    /// Computes the chains. It allocates nothing.
    pub fn run<T: Real>(self) -> Worked<T> {
        T::multiply_adds(self)
    }
}

impl<T: Real> Reading<'_, T> {
    /// Reads the values. It allocates nothing.
    pub fn run(self) -> Worked<T> {
        T::reading(self)
    }
}

/// The body of [`MultiplyAdds::run`] for one element type.
pub(crate) fn multiply_adds<T: Real>(args: MultiplyAdds) -> Worked<T> {
    T::dispatch(args.isa, args)
}

/// The body of [`Reading::run`] for one element type.
pub(crate) fn reading<T: Real>(args: Reading<'_, T>) -> Worked<T> {
    T::dispatch(args.isa, args)
}

impl<T: Real> Op<T> for MultiplyAdds {
    type Out = Worked<T>;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> Worked<T> {
        let length = self.length;
        match self.chains {
            Chains::One => chains::<T, S, 1>(s, length),
            // Beside the sums stand the two operands that all share.
            Chains::Full if S::REGS >= 32 => chains::<T, S, 24>(s, length),
            Chains::Full => chains::<T, S, 12>(s, length),
        }
    }
}

/// N chains from different starts, none of which the compiler may know.
#[inline(always)]
fn chains<T: Real, S: Simd<T>, const N: usize>(s: S, length: u64) -> Worked<T> {
    let known = |value: f64| s.splat(black_box(T::from_f64(value)));
    let (scale, offset) = (known(SCALE), known(OFFSET));
    let mut sums = [scale; N];
    for (n, sum) in sums.iter_mut().enumerate() {
        *sum = known(n as f64);
    }
    for _ in 0..length {
        for sum in &mut sums {
            *sum = s.fma(*sum, scale, offset);
        }
    }
    Worked { amount: 2 * (N * S::LANES) as u64 * length, sum: total(s, sums) }
}

/// A chain tends to OFFSET / (1 - SCALE), a number of ordinary size.
const SCALE: f64 = 0.75;
const OFFSET: f64 = 0.5;

impl<T: Real> Op<T> for Reading<'_, T> {
    type Out = Worked<T>;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> Worked<T> {
        let mut sums = [s.splat(T::ZERO); READS];
        let groups = self.values.chunks_exact(READS * S::LANES);
        let amount = (groups.len() * READS * S::LANES * size_of::<T>()) as u64;
        for _ in 0..self.times {
            for group in groups.clone() {
                for (n, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: a group has READS vectors, and n counts below READS.
                    *sum = s.add(*sum, unsafe { s.load(group.as_ptr().add(n * S::LANES)) });
                }
            }
        }
        Worked { amount: amount * self.times, sum: total(s, sums) }
    }
}

#[inline(always)]
fn total<T: Real, S: Simd<T>, const N: usize>(s: S, sums: [S::V; N]) -> T {
    let mut lanes = [T::ZERO; MOST_LANES];
    let mut total = T::ZERO;
    for sum in sums {
        // SAFETY: no vector has more than MOST_LANES values.
        unsafe { s.store(lanes.as_mut_ptr(), sum) };
        for &lane in &lanes[..S::LANES] {
            total = total + lane;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted_chains<T: Real>(chains: Chains, length: u64) {
        for &isa in Isa::available() {
            let Worked { amount, sum } = MultiplyAdds { isa, chains, length }.run::<T>();
            let lanes = T::lanes(isa) as u64;
            let side_by_side = if length == 0 { 0 } else { amount / (2 * lanes * length) };
            assert_eq!(amount, 2 * lanes * side_by_side * length, "{}", isa.name());
            let expected = match (chains, length) {
                (_, 0) => 0,
                (Chains::One, _) => 1,
                (Chains::Full, _) => [12, 24][usize::from(["avx512", "neon"].contains(&isa.name()))],
            };
            assert_eq!(side_by_side, expected, "{}", isa.name());
            let ends = (0..expected.max(1)).map(|n| (0..length).fold(n as f64, |sum, _| SCALE * sum + OFFSET));
            let exact = ends.sum::<f64>() * lanes as f64;
            if length > 0 {
                assert!((sum.to_f64() - exact).abs() <= 1e-5 * exact, "{}: {sum:?} for {exact}", isa.name());
            }
        }
    }

    #[test]
    fn every_multiply_add_is_done_and_counted() {
        for chains in [Chains::One, Chains::Full] {
            for length in [0, 1, 2, 7] {
                counted_chains::<f32>(chains, length);
                counted_chains::<f64>(chains, length);
            }
        }
    }

    fn counted_reads<T: Real>() {
        for &isa in Isa::available() {
            let group = READS * T::lanes(isa);
            for length in [0, 1, group - 1, group, group + 1, 3 * group + 5] {
                // Sums of small integers are exact.
                let values: Vec<T> = (0..length).map(|n| T::from_f64((n % 17) as f64)).collect();
                let whole = length / group * group;
                let exact: f64 = values[..whole].iter().map(|value| value.to_f64()).sum();
                for times in [0, 1, 3] {
                    let read = Reading { isa, times, values: &values }.run();
                    let amount = (whole * size_of::<T>()) as u64 * times;
                    let expected = Worked { amount, sum: T::from_f64(exact * times as f64) };
                    assert_eq!(read, expected, "{} {length} {times}", isa.name());
                }
            }
        }
    }

    #[test]
    fn every_value_of_whole_groups_is_read_and_counted() {
        counted_reads::<f32>();
        counted_reads::<f64>();
    }
}
