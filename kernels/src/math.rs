//! exp, sigmoid and tanh on vectors: the same bits on every instruction set. What other activations need beside them is
//! in [`smooth`] and [`piecewise`].
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
//! - sigmoid(x) tanh(y) divides the product of the numerators by that of the denominators.
//!
//! `tools/minimax.py` computed the polynomials (Remez' algorithm: least greatest error) and every other constant of these
//! functions that the standard library does not have. Horner's rule evaluates them: Estrin's scheme would be one operation
//! more in f64, and was slower, since other elements fill the latency.
//!
//! # Accuracy
//! Greatest error in units in the last place where the true result is a normal number. Measured: in f32 of all 2^32
//! arguments, in f64 of tens of millions of pseudo-random ones, many of them where the bound is greatest (`tests/math`
//! repeats 20 million). Bound: every rounding error at its greatest, to first order (`tools/minimax.py`).
//!
//! | | f32 measured | f32 bound | f64 measured | f64 bound | promised |
//! | --- | --- | --- | --- | --- | --- |
//! | exp | 1.30 | 1.61 | 1.29 | 1.60 | 2 |
//! | sigmoid | 2.55 | 2.77 | 2.56 | 2.76 | 3 |
//! | tanh | 2.65 | 2.97 | 2.69 | 2.99 | 3 |
//!
//! Where the true result is less than the least normal number, it is exactly +0; for tanh, whose argument then is subnormal,
//! a zero of its sign. Results are exact at ±0, where tanh keeps the sign, and at ±infinity; NaN gives NaN; exp is +infinity
//! from where the true value rounds to it. tanh is odd to the bit, and never above 1.
//!
//! # Cost
//! Operations of [`Simd`] a vector, constants aside, and instructions of AVX2, moves aside. One of each is a division.
//!
//! | | f32 | f64 | AVX2, f32 | AVX2, f64 |
//! | --- | --- | --- | --- | --- |
//! | exp | 14 | 17 | 19 | 22 |
//! | sigmoid | 14 | 17 | 15 | 18 |
//! | tanh | 16 | 19 | 18 | 21 |

mod constants;
pub mod piecewise;
pub mod smooth;

use crate::isa::Simd;
use crate::real::Real;
pub use constants::Elementary;

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
    let (numerator, denominator) = sigmoid_fraction(s, x);
    s.select_lt(x, s.splat(T::EXP_NORMAL), s.splat(T::ZERO), s.div(numerator, denominator))
}

/// sigmoid(x) tanh(y), by one division: its error is at most the sum of both and two roundings. Where sigmoid(x) is less than
/// FLUSH, the result may be 0 instead: the product of the denominators may be infinite there.
#[inline(always)]
pub fn sigmoid_tanh<T: Real, S: Simd<T>>(s: S, x: S::V, y: S::V) -> S::V {
    let zero = s.splat(T::ZERO);
    let magnitude = s.abs(y);
    let (sigmoid, tanh) = (sigmoid_fraction(s, x), tanh_fraction(s, magnitude));
    let numerator = s.select_lt(magnitude, s.splat(T::LEAST_NORMAL), zero, s.mul(sigmoid.0, tanh.0));
    let product = s.div(numerator, s.mul(sigmoid.1, tanh.1));
    s.with_sign(s.select_lt(x, s.splat(T::EXP_NORMAL), zero, product), y)
}

/// sigmoid(x) as a fraction; any two values where x is less than EXP_NORMAL.
#[inline(always)]
fn sigmoid_fraction<T: Real, S: Simd<T>>(s: S, x: S::V) -> (S::V, S::V) {
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
    (denominator, s.fma(power, s.sub(q, z), denominator))
}

/// tanh(x). Range, accuracy and cost: see the [module](self).
#[inline(always)]
pub fn tanh<T: Real, S: Simd<T>>(s: S, x: S::V) -> S::V {
    let magnitude = s.abs(x);
    let (numerator, denominator) = tanh_fraction(s, magnitude);
    let y = s.div(numerator, denominator);
    s.with_sign(s.select_lt(magnitude, s.splat(T::LEAST_NORMAL), s.splat(T::ZERO), y), x)
}

/// tanh(x) of an x that is not negative, as a fraction whose denominator is at least 1.
#[inline(always)]
fn tanh_fraction<T: Real, S: Simd<T>>(s: S, x: S::V) -> (S::V, S::V) {
    let (t, r, q) = halves(s, s.min(s.splat(T::TANH_ONE), x), T::MAGIC_HALF_POWER);
    let half_power = s.ldexp(s.splat(T::ZERO), t);
    let m = s.sub(half_power, s.splat(T::from_f64(0.5)));
    let sum = s.add(q, r);
    (s.fma(m, sum, r), s.fma(m, sum, q))
}

/// exp(2x) = 2^n (Q + r) / (Q - r): the sum of n and `magic`, r and Q.
#[inline(always)]
fn halves<T: Real, S: Simd<T>>(s: S, x: S::V, magic: T) -> (S::V, S::V, S::V) {
    let magic = s.splat(magic);
    let t = s.fma(x, s.splat(T::TWICE_LOG2E), magic);
    let n = s.sub(t, magic);
    let r = s.fnma(n, s.splat(T::HALF_LN2), x);
    (t, r, polynomial(s, s.mul(r, r), T::HALF_COTH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Dispatch, Isa, Op};

    /// sigmoid(x) tanh(y), LANES values at a time.
    struct Products<'a>(&'a [(f32, f32)]);

    impl Op<f32> for Products<'_> {
        type Out = Vec<f32>;

        #[inline(always)]
        fn run<S: Simd<f32>>(self, s: S) -> Vec<f32> {
            let mut products = Vec::new();
            for part in self.0.chunks_exact(S::LANES) {
                let (x, y): (Vec<f32>, Vec<f32>) = part.iter().copied().unzip();
                let mut product = vec![f32::NAN; S::LANES];
                // SAFETY: each has LANES values.
                unsafe { s.store(product.as_mut_ptr(), sigmoid_tanh(s, s.load(x.as_ptr()), s.load(y.as_ptr()))) };
                products.extend(product);
            }
            products
        }
    }

    /// Pairs of arguments of both signs, a multiple of any LANES.
    fn pairs() -> Vec<(f32, f32)> {
        let magnitudes =
            [0.0, 1e-39, 1e-20, 0.01, 0.2, 0.5, 1.3, 4.0, 9.0, 9.2, 20.0, 40.0, 68.0, 80.0, 88.0, f32::INFINITY];
        let signed = magnitudes.iter().flat_map(|&m| [m, -m]).chain([f32::NAN; 16]);
        let all: Vec<f32> = signed.collect();
        all.iter().flat_map(|&x| all.iter().map(move |&y| (x, y))).collect()
    }

    #[test]
    fn a_product_divides_once_and_is_as_exact() {
        let pairs = pairs();
        let first = f32::dispatch(Isa::available()[0], Products(&pairs));
        for &isa in Isa::available() {
            for ((&(x, y), product), first) in pairs.iter().zip(f32::dispatch(isa, Products(&pairs))).zip(&first) {
                let sigmoid = 1.0 / (1.0 + (-f64::from(x)).exp());
                // A subnormal argument counts as 0.
                let truth = if y.abs() < f32::MIN_POSITIVE { sigmoid * 0.0 } else { sigmoid * f64::from(y).tanh() };
                let ulp = f64::from(f32::EPSILON) * 2f64.powi((truth.abs().max(1e-37)).log2().floor() as i32);
                let near = (f64::from(product) - truth).abs() <= 7.0 * ulp;
                let none = sigmoid < f64::from(f32::FLUSH) && product == 0.0;
                let what = format!("{x:e} {y:e} on {}: {product:e}, not {truth:e}", isa.name());
                assert!(near || none || truth.is_nan() && product.is_nan(), "{what}");
                assert!(product.is_nan() || product.is_sign_negative() == y.is_sign_negative(), "{what}");
                assert!(product.to_bits() == first.to_bits() || product.is_nan() && first.is_nan(), "{what}");
            }
        }
    }
}
