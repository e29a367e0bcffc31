//! The activations that are made of exp: elu, softplus, silu, mish, gelu.
//!
//! # Method
//! exp(x) = 2^n N / D with N = Q + z and D = Q - z, as the [parent](super) has it; E stands for it. Where a function needs a
//! division of its own, numerators and denominators are multiplied out, so that there is one division in all.
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
//! `tools/activations.py` computed the polynomials (Remez' algorithm). ACCURACY

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
