//! Activations of a few operations: lines, their pieces, and one quotient.
//!
//! # Accuracy
//! | | roundings | greatest error, in units in the last place |
//! | --- | --- | --- |
//! | [`relu`], [`relu6`], [`thresholded_relu`] | none | 0 |
//! | [`leaky_relu`], [`affine`], [`hard_sigmoid`] | one | 0.5 |
//! | [`softsign`] | two | 1.5 (measured 1.49) |
//! | [`hard_silu`] | three | 2.5 (measured 1.86) |
//!
//! Parameters are taken as the element type has them; the error of rounding a parameter to it is not counted.
//!
//! # Special values
//! NaN gives NaN. At the infinities every function takes its limit: softsign is ±1 and hard_silu(-infinity) is -0. The
//! sign of zero stays, but where a constant is added. Subnormal numbers are numbers as any, unless the processor was
//! told to flush them.

use crate::isa::Simd;
use crate::real::Real;

/// x where it is not below 0, else +0.
#[inline(always)]
pub fn relu<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    let zero = s.splat(T::ZERO);
    s.select_lt(x, zero, zero, x)
}

/// [`relu`], but at most 6.
#[inline(always)]
pub fn relu6<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    clamp(s, x, 6.0)
}

/// x where it is not below 0, else alpha x.
#[inline(always)]
pub fn leaky_relu<T: Real, S: Simd<T>>(s: S, x: S::V, alpha: S::V) -> S::V {
    s.select_lt(x, s.splat(T::ZERO), s.mul(alpha, x), x)
}

/// x where it is not below alpha, else +0.
#[inline(always)]
pub fn thresholded_relu<T: Real, S: Simd<T>>(s: S, x: S::V, alpha: S::V) -> S::V {
    s.select_lt(x, alpha, s.splat(T::ZERO), x)
}

/// alpha x + beta, rounded once.
#[inline(always)]
pub fn affine<T: Real, S: Simd<T>>(s: S, x: S::V, alpha: S::V, beta: S::V) -> S::V {
    s.fma(alpha, x, beta)
}

/// alpha x + beta, rounded once, but at least 0 and at most 1.
#[inline(always)]
pub fn hard_sigmoid<T: Real, S: Simd<T>>(s: S, x: S::V, alpha: S::V, beta: S::V) -> S::V {
    clamp(s, s.fma(alpha, x, beta), 1.0)
}

/// x (min(max(x + 3, 0), 6) / 6). The sum is exact where x is near -3, so that the relative error is small there, too.
#[inline(always)]
pub fn hard_silu<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    let three = T::from_f64(3.0);
    let gate = s.div(clamp(s, s.add(x, s.splat(three)), 6.0), s.splat(T::from_f64(6.0)));
    // The gate is 0 below -3: an infinity must not meet it.
    s.mul(s.max(s.splat(T::from_f64(-3.0)), x), gate)
}

/// x / (1 + |x|).
#[inline(always)]
pub fn softsign<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    // The quotient is 1 long before.
    let magnitude = s.min(s.splat(T::from_f64(2f64.powi(60))), s.abs(x));
    s.with_sign(s.div(magnitude, s.add(s.splat(T::ONE), magnitude)), x)
}

/// min(max(x, 0), top), NaN for NaN.
#[inline(always)]
fn clamp<T: Real, S: Simd<T>>(s: S, x: S::V, top: f64) -> S::V {
    s.min(s.splat(T::from_f64(top)), relu(s, x))
}
