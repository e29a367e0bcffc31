//! What a kernel may ask of an instruction set.
//!
//! Operations are methods of a zero-sized *token*. A token can only be had from [`crate::isa::Isa`],
//! which hands it out after it has seen that the processor has the instructions, so holding one is
//! the proof that its operations may run.

use std::fmt::Debug;

/// A proof that the running processor has one instruction set.
pub trait Token: Copy + Debug + PartialEq + Send + Sync + 'static {
    /// The name that [`crate::isa::Isa::name`] prints and `GATEFOLD_ISA` takes.
    const NAME: &'static str;

    /// Runs `f` with the instruction set enabled. Everything that `f` calls must be
    /// `#[inline(always)]`: what is not inlined here is compiled without the instruction set.
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R;
}

/// Runs `f` in a function of its own. (On one with target features, Rust 1.95 drops `inline(never)`.)
#[inline(never)]
pub(crate) fn apart<S: Token, R>(s: S, f: impl FnOnce() -> R) -> R {
    s.vectorize(f)
}

/// Vectors of `T` under one instruction set.
///
/// Every operation gives the same bits on every instruction set: one IEEE rounding each, the default
/// rounding mode, no estimates. NaN results are NaN everywhere, with no promise on their payload.
pub trait Simd<T>: Token {
    /// [`Simd::LANES`] values of `T`.
    type V: Copy;
    /// Values in a vector.
    const LANES: usize;
    /// Vector registers: what a tile may hold at once.
    const REGS: usize;

    /// All lanes `x`.
    fn splat(self, x: T) -> Self::V;

    /// # Safety
    /// `p` is valid for reads of `LANES` values; no alignment is asked for.
    unsafe fn load(self, p: *const T) -> Self::V;

    /// The first `n` lanes from memory, +0 in the others.
    ///
    /// # Safety
    /// `p` is valid for reads of `n` values and `n <= LANES`; nothing past them is read.
    unsafe fn load_n(self, p: *const T, n: usize) -> Self::V;

    /// # Safety
    /// `p` is valid for writes of `LANES` values; no alignment is asked for.
    unsafe fn store(self, p: *mut T, v: Self::V);

    /// The first `n` lanes to memory.
    ///
    /// # Safety
    /// `p` is valid for writes of `n` values and `n <= LANES`; nothing past them is written.
    unsafe fn store_n(self, p: *mut T, v: Self::V, n: usize);

    /// Asks for the cache line of `p` in the first cache level. Any address is allowed.
    fn prefetch(self, p: *const T);

    /// a * b + c, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c - a * b, rounded once.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a - b.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a / b, a true division.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// -a, by the sign bit.
    fn neg(self, a: Self::V) -> Self::V;
    /// |a|, by the sign bit.
    fn abs(self, a: Self::V) -> Self::V;
    /// `a`, which is +0, greater, or NaN, with the sign bit of `sign`.
    fn with_sign(self, a: Self::V, sign: Self::V) -> Self::V;
    /// Per lane: `a` where a < b, else `b`, so that a NaN in `b` stays.
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        self.select_lt(a, b, a, b)
    }
    /// Per lane: `a` where a > b, else `b`, so that a NaN in `b` stays.
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        self.select_lt(b, a, a, b)
    }
    /// Per lane: `yes` where a < b, else `no`. A comparison with NaN is false.
    fn select_lt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// The bits of `t`, shifted left by MANTISSA_BITS, added as an integer to those of `a`, whatever both are.
    /// Where `t` is an integer n plus 1.5 * 2^MANTISSA_BITS, and so holds n in its low bits, that is a * 2^n if `a` and
    /// the result are normal numbers, and 2^(n - bias of the exponent) if `a` is +0 and the result a normal number.
    fn ldexp(self, a: Self::V, t: Self::V) -> Self::V;
}

/// An operation over vectors of `T`: a struct whose named fields are the argument list.
pub trait Op<T> {
    /// What it returns.
    type Out;
    /// The body; `#[inline(always)]` in every implementation.
    fn run<S: Simd<T>>(self, s: S) -> Self::Out;
}

/// Declares a token: `Avx2 "avx2" by is_x86_feature_detected: "avx2" "fma"`. Its detection and its
/// trampoline, with the only `#[target_feature]` of that instruction set, read one list of features.
#[allow(unused_macros, reason = "an architecture of which only the portable code is known has no such token")]
macro_rules! token {
    ($(#[$doc:meta])* $token:ident $name:literal by $detected:ident: $($feature:tt)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $token(());

        impl $token {
            /// The proof, if the running processor has every feature.
            pub(super) fn detect() -> Option<Self> {
                ($(std::arch::$detected!($feature))&&+).then_some(Self(()))
            }
        }

        impl Token for $token {
            const NAME: &'static str = $name;

            #[inline(always)]
            fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
                #[target_feature($(enable = $feature),+)]
                fn go<R>(f: impl FnOnce() -> R) -> R {
                    f()
                }
                // SAFETY: `self` came from `detect`, which found each feature of `go`.
                unsafe { go(f) }
            }
        }
    };
}

/// Writes the operations from vectors to a vector, one expression of intrinsics each.
#[allow(unused_macros, reason = "an architecture of which only the portable code is known has no intrinsics")]
macro_rules! lanewise {
    ($($op:ident($($arg:ident),+) = $intrinsics:expr;)+) => {$(
        #[inline(always)]
        fn $op(self, $($arg: Self::V),+) -> Self::V {
            // SAFETY: arithmetic on values; the token proves that the processor has the instructions.
            unsafe { $intrinsics }
        }
    )+};
}

#[allow(unused_imports, reason = "as above")]
pub(super) use {lanewise, token};
