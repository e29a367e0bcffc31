//! exp, sigmoid and tanh on vectors: the same bits on every instruction set.
//!
//! # Method
//! With n the integer nearest to x / ln 2 and z = x / ln 2 - n, |z| <= 1/2,
//!
//! exp(x) = 2^n (Q + z) / (Q - z), where Q = z coth(z ln(2)/2) is even in z.
//!
//! Q is a polynomial in z² of degree 2 in f32 and 5 in f64, half the length of one for exp itself. The quotient costs
//! sigmoid and tanh nothing, for they have to divide anyway:
//!
//! - exp(x) = 2^n (1 + 2z / (Q - z)): rounding errors of the second term count for little beside the first.
//! - sigmoid(x) = 1 / (1 + exp(-x)) = D / (D + 2^n N), where n and z are those of -x, N = Q + z and D = Q - z.
//! - tanh(|x|) = (E - 1) / (E + 1), where E = exp(2|x|). Here r = |x| - n ln(2)/2 takes the place of z, for r is exact,
//!   and Q = r coth r. With M = (2^n - 1) / 2 and N = Q + r it is (r + M N) / (Q + M N). Nothing cancels, and for small
//!   |x|, where n = 0, it is r / Q.
//!
//! `tools/minimax.py` computed the polynomials (Remez' algorithm: least greatest error) and every other constant of this
//! file that the standard library does not have. Horner's rule evaluates them: Estrin's scheme would be one operation
//! more in f64, and was slower, since other elements fill the latency.
//!
//! # Accuracy
//! Greatest error in units in the last place where the true result is a normal number. Measured: in f32 of all 2^32
//! arguments, in f64 of 20 million pseudo-random ones (`tests/math`). Bound: every rounding error at its greatest, to
//! first order (`tools/minimax.py`).
//!
//! | | f32 measured | f32 bound | f64 measured | f64 bound | promised |
//! | --- | --- | --- | --- | --- | --- |
//! | exp | TODO | 1.61 | TODO | 1.60 | 2 |
//! | sigmoid | TODO | 2.77 | TODO | 2.76 | 3 |
//! | tanh | TODO | 2.97 | TODO | 2.99 | 3 |
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

/// The constants of the elementary functions for one element type.
pub trait Elementary: Sized + 'static {
    /// 1.5 * 2^MANTISSA_BITS. A sum with it is rounded to an integer, which its low bits hold for [`Simd::ldexp`].
    const MAGIC: Self;
    /// More by the bias of the exponent: [`Simd::ldexp`] of +0 then is 2^n, by a shift alone.
    const MAGIC_POWER: Self;
    /// One less: 2^n / 2.
    const MAGIC_HALF_POWER: Self;
    /// 1 / ln 2, rounded.
    const LOG2E: Self;
    /// The rest of 1 / ln 2.
    const LOG2E_LO: Self;
    /// 2 / ln 2.
    const TWICE_LOG2E: Self;
    /// ln(2) / 2. Its rest would count for n = 1 and 2 only, where the errors of HALF_COTH cancel it.
    const HALF_LN2: Self;
    /// z coth(z ln(2)/2) as a polynomial in z², the constant term first.
    const COTH: &'static [Self];
    /// r coth r as a polynomial in r².
    const HALF_COTH: &'static [Self];
    /// The least argument whose exponential is a normal number; whose sigmoid is one, too.
    const EXP_NORMAL: Self;
    /// The least argument whose exponential rounds to infinity.
    const EXP_INFINITE: Self;
    /// Positive infinity.
    const INFINITY: Self;
}

impl Elementary for f32 {
    const MAGIC: f32 = 12_582_912.0;
    const MAGIC_POWER: f32 = Self::MAGIC + 127.0;
    const MAGIC_HALF_POWER: f32 = Self::MAGIC + 126.0;
    const LOG2E: f32 = std::f32::consts::LOG2_E;
    const LOG2E_LO: f32 = 1.925963e-8;
    const TWICE_LOG2E: f32 = 2.0 * Self::LOG2E;
    const HALF_LN2: f32 = std::f32::consts::LN_2 / 2.0;
    const COTH: &'static [f32] = &[2.88539, 0.11552478, -0.0009229696];
    const HALF_COTH: &'static [f32] = &[1.0, 0.33333224, -0.022117939];
    const EXP_NORMAL: f32 = -87.33654;
    const EXP_INFINITE: f32 = 88.72284;
    const INFINITY: f32 = f32::INFINITY;
}

impl Elementary for f64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const MAGIC_POWER: f64 = Self::MAGIC + 1023.0;
    const MAGIC_HALF_POWER: f64 = Self::MAGIC + 1022.0;
    const LOG2E: f64 = std::f64::consts::LOG2_E;
    const LOG2E_LO: f64 = 2.0355273740931033e-17;
    const TWICE_LOG2E: f64 = 2.0 * Self::LOG2E;
    const HALF_LN2: f64 = std::f64::consts::LN_2 / 2.0;
    const COTH: &'static [f64] = &[
        2.8853900817779268,
        0.11552453009332665,
        -0.0009250684777813299,
        1.0582189052506253e-5,
        -1.2710432536528578e-7,
        1.5311599786296891e-9,
    ];
    const HALF_COTH: &'static [f64] = &[
        1.0,
        0.33333333333333737,
        -0.022222222223717492,
        0.002116402131953925,
        -0.00021163528071922082,
        2.1178634290417457e-5,
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
    let minus_n = s.sub(magic, t);
    let z = s.fma(x, s.splat(T::LOG2E), minus_n);
    let z = s.fma(x, s.splat(T::LOG2E_LO), z);
    let q = polynomial(s, s.mul(z, z), T::COTH);
    let y = s.fma(s.splat(T::from_f64(2.0)), s.div(z, s.sub(q, z)), s.splat(T::ONE));
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
    // n is that of -x, but z that of x: the sum and the difference change places.
    let t = s.fnma(clamped, s.splat(T::LOG2E), magic);
    let n = s.sub(t, magic);
    let z = s.fma(clamped, s.splat(T::LOG2E), n);
    let z = s.fma(clamped, s.splat(T::LOG2E_LO), z);
    let q = polynomial(s, s.mul(z, z), T::COTH);
    let power = s.ldexp(s.splat(T::ZERO), t);
    let denominator = s.add(q, z);
    let y = s.div(denominator, s.fma(power, s.sub(q, z), denominator));
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
