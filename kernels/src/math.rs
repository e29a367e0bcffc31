//! exp, sigmoid and tanh on vectors: the same bits on every instruction set.
//!
//! # Method
//! With n the integer nearest to x / ln 2 and r = x - n ln 2, |r| <= ln(2)/2,
//!
//! exp(x) = 2^n (Q + r) / (Q - r), where Q = r coth(r/2) = 2 + r²/6 - r⁴/360 + ... is even in r.
//!
//! Q is a polynomial in r² of degree 2 in f32 and 5 in f64, half the length of one for exp itself. The quotient costs
//! sigmoid and tanh nothing, for they have to divide anyway:
//!
//! - exp(x) = 2^n (1 + 2r / (Q - r)): rounding errors of the second term count for little beside the first.
//! - sigmoid(x) = 1 / (1 + exp(-x)) = D / (D + 2^n N), where n and r are those of -x, N = Q + r and D = Q - r.
//! - tanh(|x|) = (E - 1) / (E + 1), where E = exp(2|x|). With r of 2|x| and Q both halved, M = (2^n - 1) / 2 and
//!   N = Q + r it is (r + M N) / (Q + M N). Nothing cancels, and for small |x|, where n = 0, it is r / Q.
//!
//! Q has the least greatest relative error of all polynomials with constant term 2 (Remez' algorithm): 2.4e-9 in f32
//! and 1.1e-18 in f64, coefficients rounded. `tools/minimax.py` computed it, and every other constant of this file that
//! the standard library does not have. Horner's rule evaluates it: Estrin's scheme would be one operation more in f64,
//! and was slower, since other elements fill the latency.
//!
//! # Accuracy
//! Greatest error in units in the last place where the true result is a normal number: in f32 of all 2^32 arguments, in
//! f64 of 100 million pseudo-random ones (`kernels/tests/math`).
//!
//! | | f32 | f64 | promised |
//! | --- | --- | --- | --- |
//! | exp | 1.40 | TODO | 2 |
//! | sigmoid | 2.44 | TODO | 3 |
//! | tanh | 2.70 | TODO | 3 |
//!
//! Where the true result is less than the least normal number, it is exactly +0; for tanh, where the argument is
//! subnormal. Results are exact at ±0, where tanh keeps the sign, and at ±infinity; NaN gives NaN; exp is +infinity from
//! where the true value rounds to it. tanh is odd to the bit, and never above 1.
//!
//! # Cost
//! Operations of [`Simd`] a vector, constants aside, and instructions of AVX2, moves aside. One of each is a division.
//!
//! | | f32 | f64 | AVX2, f32 | AVX2, f64 |
//! | --- | --- | --- | --- | --- |
//! | exp | 14 | 17 | 19 | 22 |
//! | sigmoid | 14 | 17 | 15 | 18 |
//! | tanh | 17 | 20 | 19 | 22 |

use crate::isa::Simd;
use crate::real::Real;
use std::f32::consts as c32;
use std::f64::consts as c64;

/// The constants of the elementary functions for one element type.
pub trait Elementary: Sized + 'static {
    /// 1.5 * 2^MANTISSA_BITS. A sum with it is rounded to an integer, which its low bits hold for [`Simd::ldexp`].
    const MAGIC: Self;
    /// More by the bias of the exponent: [`Simd::ldexp`] of +0 then is 2^n, by a shift alone.
    const MAGIC_POWER: Self;
    /// One less: 2^n / 2.
    const MAGIC_HALF_POWER: Self;
    /// 1 / ln 2.
    const LOG2E: Self;
    /// 2 / ln 2.
    const TWICE_LOG2E: Self;
    /// ln 2, so short that n times it is exact.
    const LN2_HI: Self;
    /// The rest of ln 2.
    const LN2_LO: Self;
    /// ln(2) / 2 in one number, which is enough for tanh: the larger n, the less r counts.
    const HALF_LN2: Self;
    /// r coth(r/2) as a polynomial in r², the constant term first.
    const COTH: &'static [Self];
    /// The same halved, as a polynomial in (r/2)².
    const HALF_COTH: &'static [Self];
    /// The least argument whose exponential is a normal number; whose sigmoid is one, too.
    const EXP_NORMAL: Self;
    /// The least argument whose exponential rounds to infinity.
    const EXP_INFINITE: Self;
    /// Positive infinity.
    const INFINITY: Self;
}

const COTH_F32: [f32; 3] = [2.0, 0.16666625, -0.0027667636];

impl Elementary for f32 {
    const MAGIC: f32 = 12_582_912.0;
    const MAGIC_POWER: f32 = Self::MAGIC + 127.0;
    const MAGIC_HALF_POWER: f32 = Self::MAGIC + 126.0;
    const LOG2E: f32 = c32::LOG2_E;
    const TWICE_LOG2E: f32 = 2.0 * c32::LOG2_E;
    const LN2_HI: f32 = 0.69314575;
    const LN2_LO: f32 = 1.4286068e-6;
    const HALF_LN2: f32 = c32::LN_2 / 2.0;
    const COTH: &'static [f32] = &COTH_F32;
    const HALF_COTH: &'static [f32] = &[COTH_F32[0] / 2.0, COTH_F32[1] * 2.0, COTH_F32[2] * 8.0];
    const EXP_NORMAL: f32 = -87.33654;
    const EXP_INFINITE: f32 = 88.72284;
    const INFINITY: f32 = f32::INFINITY;
}

const COTH_F64: [f64; 6] = [
    2.0,
    0.16666666666666602,
    -0.002777777777701751,
    6.613756321987927e-5,
    -1.6533902790022723e-6,
    4.1381576873664725e-8,
];

impl Elementary for f64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const MAGIC_POWER: f64 = Self::MAGIC + 1023.0;
    const MAGIC_HALF_POWER: f64 = Self::MAGIC + 1022.0;
    const LOG2E: f64 = c64::LOG2_E;
    const TWICE_LOG2E: f64 = 2.0 * c64::LOG2_E;
    const LN2_HI: f64 = 0.6931471805598903;
    const LN2_LO: f64 = 5.497923018708371e-14;
    const HALF_LN2: f64 = c64::LN_2 / 2.0;
    const COTH: &'static [f64] = &COTH_F64;
    const HALF_COTH: &'static [f64] = &[
        COTH_F64[0] / 2.0,
        COTH_F64[1] * 2.0,
        COTH_F64[2] * 8.0,
        COTH_F64[3] * 32.0,
        COTH_F64[4] * 128.0,
        COTH_F64[5] * 512.0,
    ];
    const EXP_NORMAL: f64 = -708.3964185322641;
    const EXP_INFINITE: f64 = 709.7827128933841;
    const INFINITY: f64 = f64::INFINITY;
}

/// c0 + c1 x + c2 x² + ... by Horner's rule.
#[inline(always)]
fn polynomial<T: Real, S: Simd<T>>(s: S, x: S::V, coefficients: &[T]) -> S::V {
    let highest = coefficients.len() - 1;
    let mut sum = s.splat(coefficients[highest]);
    for k in (0..highest).rev() {
        sum = s.fma(sum, x, s.splat(coefficients[k]));
    }
    sum
}

/// exp(x). Range, accuracy and cost: see the [module](self).
#[inline(always)]
pub fn exp<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    let magic = s.splat(T::MAGIC);
    let t = s.fma(x, s.splat(T::LOG2E), magic);
    let n = s.sub(t, magic);
    let r = s.fnma(n, s.splat(T::LN2_HI), x);
    let r = s.fnma(n, s.splat(T::LN2_LO), r);
    let q = polynomial(s, s.mul(r, r), T::COTH);
    let y = s.fma(s.splat(T::from_f64(2.0)), s.div(r, s.sub(q, r)), s.splat(T::ONE));
    let y = s.ldexp(y, t);
    // Beyond either end y is any value, and so is it for NaN. The sum is +infinity or NaN.
    let y = s.select_lt(x, s.splat(T::EXP_INFINITE), y, s.add(x, s.splat(T::INFINITY)));
    s.select_lt(x, s.splat(T::EXP_NORMAL), s.splat(T::ZERO), y)
}

/// 1 / (1 + exp(-x)). Range, accuracy and cost: see the [module](self).
#[inline(always)]
pub fn sigmoid<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    // The result is 1 long before; beyond, 2^n would not be a normal number.
    let clamped = s.min(s.splat(T::from_f64(64.0)), x);
    let magic = s.splat(T::MAGIC_POWER);
    // n is that of -x; r has the sign that makes D = Q + r.
    let t = s.fnma(clamped, s.splat(T::LOG2E), magic);
    let n = s.sub(t, magic);
    let r = s.fma(n, s.splat(T::LN2_HI), clamped);
    let r = s.fma(n, s.splat(T::LN2_LO), r);
    let q = polynomial(s, s.mul(r, r), T::COTH);
    let power = s.ldexp(s.splat(T::ZERO), t);
    let denominator = s.add(q, r);
    let y = s.div(denominator, s.fma(power, s.sub(q, r), denominator));
    s.select_lt(x, s.splat(T::EXP_NORMAL), s.splat(T::ZERO), y)
}

/// tanh(x). Range, accuracy and cost: see the [module](self).
#[inline(always)]
pub fn tanh<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    let magnitude = s.abs(x);
    // The result is 1 before; beyond, 2^n would not be a number.
    let clamped = s.min(s.splat(T::from_f64(20.0)), magnitude);
    let magic = s.splat(T::MAGIC_HALF_POWER);
    let t = s.fma(clamped, s.splat(T::TWICE_LOG2E), magic);
    let n = s.sub(t, magic);
    let r = s.fnma(n, s.splat(T::HALF_LN2), clamped);
    let q = polynomial(s, s.mul(r, r), T::HALF_COTH);
    let half_power = s.ldexp(s.splat(T::ZERO), t);
    let m = s.sub(half_power, s.splat(T::from_f64(0.5)));
    let numerator = s.add(q, r);
    let y = s.div(s.fma(m, numerator, r), s.fma(m, numerator, q));
    let y = s.with_sign(y, x);
    // A subnormal argument of either sign gives +0, but -0 gives -0. One less in the field of the exponent makes NaN of
    // a subnormal, -infinity of +0 and a number of all else, even of NaN: one comparison tells subnormals apart.
    let lowered = s.ldexp(magnitude, s.splat(T::from_f64(T::MAGIC.to_f64() - 1.0)));
    s.select_lt(lowered, s.splat(T::INFINITY), y, s.splat(T::ZERO))
}
