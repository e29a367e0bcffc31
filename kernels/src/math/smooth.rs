//! The activations that are made of exp: elu, softplus, silu, mish, gelu.
//!
//! # Method
//! exp(x) = 2^n N / D with N = Q + z and D = Q - z, as the [parent](super) has it; E stands for it. Where a function
//! needs a division of its own, numerators and denominators are multiplied out, so that there is one division in all.
//!
//! - elu: exp(x) - 1 = 2^n (2r / (Q - r)) + (2^n - 1), with r and Q of tanh for x / 2. The last sum is one fma, and near 0,
//!   where n = 0, its second term is 0: nothing cancels. Never below -1.
//! - softplus(x) = max(x, 0) + log(1 + E) for E = exp(-|x|). log(1 + E) = 2 atanh(s), where s = E / (2 + E) <= 1/3:
//!   s times a polynomial in s².
//! - silu(x) = x sigmoid(x).
//! - mish: tanh(log(1 + E)) = A / (A + 2), where A = E (E + 2).
//! - gelu(x) = max(x, 0) - |x| Φ(-|x|), where Φ is the normal distribution function. Φ(-a) exp(a²/2) is a quotient of
//!   polynomials in a, of degrees 4 and 5 in f32, 9 and 10 in f64, without a negative coefficient. a² is taken with its
//!   rounding error, or else the relative error of exp would grow with it.
//!
//! `tools/activations.py` computed the polynomials (Remez' algorithm: least greatest relative error, which is 5e-9 in
//! f32, and in f64 1e-18 for softplus and 5e-17 for gelu).
//!
//! # Accuracy
//! Greatest error in units in the last place where the true result is a normal number, for silu and mish where x is at
//! least EXP_NORMAL (-87.3 in f32, -708.4 in f64). Measured with 6 million arguments in f32 and 4 million in f64, of
//! every magnitude and most of them where the functions vary, and 100 000 in each range of gelu (`tests/activations`).
//! Promised is more than was seen, but not proven.
//!
//! | | f32 measured | f64 measured | promised |
//! | --- | --- | --- | --- |
//! | elu, selu | 3.01 | 3.28 | 4 |
//! | softplus | 2.89 | 2.92 | 4 |
//! | silu | 3.20 | 3.30 | 4 |
//! | mish | 4.07 | 4.38 | 5 |
//! | gelu | 6.47 | 9.08 | 8 in f32, 12 in f64 |
//! | scaled tanh | 2.66 | 3.08 | 6; where alpha and beta are 1, that of tanh |
//!
//! Parameters are taken as the element type has them. The error of gelu is greatest far out on the negative side, where
//! results are tiny; by the range of x:
//!
//! | gelu | above 3 | 1 to 3 | 0.1 to 1 | -1 to 0.1 | -3 to -1 | -10 to -3 | below -10 |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | f32 | 0.50 | 1.18 | 3.15 | 4.58 | 5.49 | 6.47 | 6.28 |
//! | f64 | 0.50 | 1.25 | 3.55 | 5.06 | 6.08 | 7.52 | 9.08 |
//!
//! # Special values
//! NaN gives NaN, +infinity gives itself, and at ±0 all but softplus keep the sign. At -infinity elu is exactly -alpha,
//! softplus, mish and gelu are +0, and silu is -0. So are these four where x is below EXP_NORMAL (for gelu from
//! -TAIL_END on, -13.2 in f32 and -37.6 in f64); what is cut off there is less than the least normal number, and for
//! silu and mish less than 1.1e-36 in f32 and 1.6e-305 in f64. Other results that are no normal numbers are off by at
//! most a few units of the least subnormal one, or are 0 where the processor was told to flush subnormals.

use super::{halves, polynomial, sigmoid, tanh};
use crate::isa::Simd;
use crate::real::Real;

/// scale x where x is not below 0, else alpha (exp(x) - 1).
#[inline(always)]
pub fn elu<T: Real, S: Simd<T>>(s: S, x: S::V, alpha: S::V, scale: S::V) -> S::V {
    // The result is -alpha before, and so it is here, where r is 0.
    let clamped = s.max(s.splat(T::from_f64(-128.0 * T::HALF_LN2.to_f64())), x);
    let half = s.mul(clamped, s.splat(T::from_f64(0.5)));
    let (t, r, q) = halves(s, half, T::MAGIC_POWER);
    let power = s.ldexp(s.splat(T::ZERO), t);
    let quotient = s.div(s.add(r, r), s.sub(q, r));
    let below = s.fma(power, quotient, s.sub(power, s.splat(T::ONE)));
    s.select_lt(x, s.splat(T::ZERO), s.mul(alpha, below), s.mul(scale, x))
}

/// log(1 + exp(x)).
#[inline(always)]
pub fn softplus<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    let clamped = s.max(s.splat(T::EXP_NORMAL), s.neg(s.abs(x)));
    let (numerator, denominator) = fraction(s, clamped, None);
    let y = s.div(numerator, s.fma(s.splat(T::from_f64(2.0)), denominator, numerator));
    let square = s.mul(y, y);
    let (&constant, rest) = T::ATANH.split_first().expect("a polynomial has coefficients");
    // The constant term is 2: a product with it is exact.
    let log = s.fma(s.mul(y, square), polynomial(s, square, rest), s.mul(s.splat(constant), y));
    let y = s.add(s.max(s.splat(T::ZERO), x), log);
    s.select_lt(x, s.splat(T::EXP_NORMAL), s.splat(T::ZERO), y)
}

/// x / (1 + exp(-x)).
#[inline(always)]
pub fn silu<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    // The sigmoid is 0 below: an infinity must not meet it.
    s.mul(s.max(s.splat(T::EXP_NORMAL), x), sigmoid(s, x))
}

/// x tanh(log(1 + exp(x))).
#[inline(always)]
pub fn mish<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    let raised = s.max(s.splat(T::EXP_NORMAL), x);
    // The hyperbolic tangent is 1 before.
    let (numerator, denominator) = fraction(s, s.min(s.splat(T::from_f64(20.0)), raised), None);
    let twice = s.add(denominator, denominator);
    let a = s.mul(numerator, s.add(numerator, twice));
    let y = s.mul(raised, s.div(a, s.fma(twice, denominator, a)));
    s.select_lt(x, s.splat(T::EXP_NORMAL), s.splat(T::ZERO), y)
}

/// x Φ(x), where Φ is the normal distribution function.
#[inline(always)]
pub fn gelu<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    let magnitude = s.min(s.splat(T::TAIL_END), s.abs(x));
    let minus_half = s.splat(T::from_f64(-0.5));
    let square = s.mul(magnitude, magnitude);
    let rest = s.fma(magnitude, magnitude, s.neg(square));
    let (numerator, denominator) = fraction(s, s.mul(minus_half, square), Some(s.mul(minus_half, rest)));
    let numerator = s.mul(s.mul(numerator, magnitude), polynomial(s, magnitude, T::TAIL_NUMERATOR));
    let denominator = s.mul(denominator, polynomial(s, magnitude, T::TAIL_DENOMINATOR));
    let y = s.sub(s.max(s.splat(T::ZERO), x), s.div(numerator, denominator));
    s.select_lt(s.neg(s.splat(T::TAIL_END)), x, y, s.max(s.splat(T::ZERO), x))
}

/// alpha tanh(beta x).
#[inline(always)]
pub fn scaled_tanh<T: Real, S: Simd<T>>(s: S, x: S::V, alpha: S::V, beta: S::V) -> S::V {
    s.mul(alpha, tanh(s, s.mul(beta, x)))
}

/// exp(x + rest) as a numerator and a denominator between 2 and 4, for an exponential that is a normal number and a
/// `rest` that is small beside a rounding error of x.
#[inline(always)]
fn fraction<T: Real, S: Simd<T>>(s: S, x: S::V, rest: Option<S::V>) -> (S::V, S::V) {
    let log2e = s.splat(T::LOG2E);
    let magic = s.splat(T::MAGIC_POWER);
    let t = s.fma(x, log2e, magic);
    let z = s.fma(x, log2e, s.sub(magic, t));
    let mut z = s.fma(x, s.splat(T::LOG2E_LO), z);
    if let Some(rest) = rest {
        z = s.fma(rest, log2e, z);
    }
    let q = polynomial(s, s.mul(z, z), T::COTH);
    (s.mul(s.ldexp(s.splat(T::ZERO), t), s.add(q, z)), s.sub(q, z))
}
