//! What tests of numbers share: element types as bits, random values, and buffers whose gaps are watched.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use gatefold_kernels::isa::Isa;
use gatefold_kernels::real::Real;
use proptest::test_runner::Config;

/// `f32` and `f64`, with what an oracle needs of them.
pub trait Scalar: Real {
    /// A quiet NaN of a payload that no operation makes: what memory holds before it is written.
    const CANARY: Self;
    /// The bits, in the low end.
    fn bits(self) -> u64;
    /// self * b + c, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// self + b.
    fn plus(self, b: Self) -> Self;
    /// Half the distance from 1 to the next value: the largest relative error of one rounding.
    const ROUNDING: f64;
}

macro_rules! scalar {
    ($t:ident $canary:literal) => {
        impl Scalar for $t {
            const CANARY: $t = $t::from_bits($canary);
            const ROUNDING: f64 = $t::EPSILON as f64 / 2.0;

            fn bits(self) -> u64 {
                self.to_bits().into()
            }

            fn fma(self, b: $t, c: $t) -> $t {
                self.mul_add(b, c)
            }

            fn plus(self, b: $t) -> $t {
                self + b
            }
        }
    };
}

scalar!(f32 0x7fca_4a27);
scalar!(f64 0x7ffc_a4a2_7ca4_a270);

/// Runs a test under every instruction set of this processor.
pub fn everywhere(mut test: impl FnMut(Isa)) {
    for &isa in Isa::available() {
        test(isa);
    }
}

/// So many cases of a property; a failing one is shown, not written to a file.
pub fn proptest(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Random numbers from a seed (Steele, Lea and Flood's SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `n`, which is small.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() >> 32) as usize % n
    }

    /// Between -1 and 1.
    pub fn unit<T: Real>(&mut self) -> T {
        T::from_f64((self.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    }

    /// `n` values between -scale and scale.
    pub fn values<T: Real>(&mut self, n: usize, scale: f64) -> Vec<T> {
        (0..n).map(|_| T::from_f64(scale * self.unit::<f64>())).collect()
    }

    /// The numbers below `n` in any order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// Panics where two arrays differ in a bit. A NaN equals a NaN, but for the canary, which equals nothing else.
#[track_caller]
pub fn assert_same<T: Scalar>(expected: &[T], found: &[T], what: &str) {
    assert_eq!(expected.len(), found.len(), "{what}: lengths");
    for (i, (&e, &f)) in expected.iter().zip(found).enumerate() {
        assert!(same(e, f), "{what}: value {i}: expected {e:?} ({:#x}), found {f:?} ({:#x})", e.bits(), f.bits());
    }
}

fn same<T: Scalar>(a: T, b: T) -> bool {
    let other_nan = |x: T| x.to_f64().is_nan() && x.bits() != T::CANARY.bits();
    a.bits() == b.bits() || other_nan(a) && other_nan(b)
}

/// Rows of values inside a larger buffer, all of it canaries at first.
#[derive(Clone, Debug)]
pub struct Canaries<T> {
    pub data: Vec<T>,
    /// Where each row starts.
    starts: Vec<usize>,
    len: usize,
}

impl<T: Scalar> Canaries<T> {
    /// `count` rows of `len` values, `stride` from one's start to the next one's, and room behind them.
    pub fn rows(count: usize, len: usize, stride: usize) -> Self {
        Self::at((0..count).map(|row| row * stride).collect(), len)
    }

    /// Rows of `len` values at `starts`, and room behind them.
    pub fn at(starts: Vec<usize>, len: usize) -> Self {
        let end = starts.iter().max().map_or(0, |last| last + len);
        Canaries { data: vec![T::CANARY; end + 5], starts, len }
    }

    /// The same, holding `values` in its rows.
    pub fn holding(mut self, values: &[T]) -> Self {
        assert_eq!(values.len(), self.starts.len() * self.len);
        for (&start, row) in self.starts.iter().zip(values.chunks_exact(self.len.max(1))) {
            self.data[start..start + self.len].copy_from_slice(row);
        }
        self
    }

    /// The rows, one after the other; panics if anything between them was written.
    #[track_caller]
    pub fn take(&self, what: &str) -> Vec<T> {
        let mut gap = vec![true; self.data.len()];
        for &start in &self.starts {
            gap[start..start + self.len].fill(false);
        }
        let touched = (0..gap.len()).find(|&i| gap[i] && self.data[i].bits() != T::CANARY.bits());
        assert_eq!(touched, None, "{what}: a value between the rows was written");
        self.starts.iter().flat_map(|&start| &self.data[start..start + self.len]).copied().collect()
    }
}
