//! The activations that a gate may have. How they are computed, how exactly, and what they give at the infinities:
//! [`crate::math`], [`crate::math::smooth`] and [`crate::math::piecewise`].

use crate::isa::{Simd, apart};
use crate::math::piecewise::{affine, hard_sigmoid, hard_silu, leaky_relu, relu, relu6, softsign, thresholded_relu};
use crate::math::smooth::{elu, gelu, mish, scaled_tanh, silu, softplus};
use crate::math::{exp, sigmoid, tanh};
use crate::real::Real;

/// A function of one argument, with its parameters. In all of them sigmoid(x) = 1 / (1 + exp(-x)).
///
/// Parameters are f64 and rounded to the element type where they are used; ONNX' f32 parameters pass unchanged.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// 1 / (1 + exp(-x)): the standard activation of gates.
    Sigmoid,
    /// The hyperbolic tangent: the standard activation of candidates and outputs.
    Tanh,
    /// max(x, 0).
    Relu,
    /// x. Keras `linear`.
    Linear,
    /// min(max(x, 0), 6). Keras `relu6`.
    Relu6,
    /// x where x >= 0, else alpha x. ONNX `LeakyRelu`, alpha 0.01 by default.
    LeakyRelu {
        /// Slope on the negative side.
        alpha: f64,
    },
    /// x where x >= alpha, else 0. ONNX `ThresholdedRelu`, alpha 1 by default.
    ThresholdedRelu {
        /// The threshold.
        alpha: f64,
    },
    /// x where x > 0, else alpha (exp(x) - 1). ONNX `Elu` and Keras `elu`, alpha 1 by default.
    Elu {
        /// Minus the limit on the negative side.
        alpha: f64,
    },
    /// 1.0507009873554805 x where x > 0, else 1.7580993408473766 (exp(x) - 1) (Klambauer et al., arXiv:1706.02515).
    Selu,
    /// x (1 + erf(x / sqrt(2))) / 2. Keras `gelu` with `approximate=False`, its default.
    Gelu,
    /// x sigmoid(x). Keras `silu`, `swish`.
    Silu,
    /// x tanh(softplus(x)). Keras `mish`.
    Mish,
    /// log(1 + exp(x)).
    Softplus,
    /// x / (1 + |x|).
    Softsign,
    /// exp(x). Keras `exponential`.
    Exponential,
    /// min(max(alpha x + beta, 0), 1). ONNX: alpha 0.2, beta 0.5 by default; Keras 3: 1/6 and 0.5; Keras 1 and 2: 0.2 and 0.5.
    HardSigmoid {
        /// Slope.
        alpha: f64,
        /// Value at 0.
        beta: f64,
    },
    /// x times the hard sigmoid of slope 1/6. Keras 3 `hard_silu`, `hard_swish`.
    HardSilu,
    /// alpha x + beta. ONNX `Affine`, alpha 1 and beta 0 by default.
    Affine {
        /// Slope.
        alpha: f64,
        /// Value at 0.
        beta: f64,
    },
    /// alpha tanh(beta x). ONNX `ScaledTanh`, both 1 by default.
    ScaledTanh {
        /// Factor of the result.
        alpha: f64,
        /// Factor of the argument.
        beta: f64,
    },
}

impl Activation {
    /// Every activation there is, with ONNX' default parameters.
    pub const ALL: &'static [Activation] = &[
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::Linear,
        Activation::Relu6,
        Activation::LeakyRelu { alpha: 0.01 },
        Activation::ThresholdedRelu { alpha: 1.0 },
        Activation::Elu { alpha: 1.0 },
        Activation::Selu,
        Activation::Gelu,
        Activation::Silu,
        Activation::Mish,
        Activation::Softplus,
        Activation::Softsign,
        Activation::Exponential,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::HardSilu,
        Activation::Affine { alpha: 1.0, beta: 0.0 },
        Activation::ScaledTanh { alpha: 1.0, beta: 1.0 },
    ];

    /// The first parameter, if it has one.
    pub fn alpha(self) -> Option<f64> {
        match self {
            Activation::LeakyRelu { alpha }
            | Activation::ThresholdedRelu { alpha }
            | Activation::Elu { alpha }
            | Activation::HardSigmoid { alpha, .. }
            | Activation::Affine { alpha, .. }
            | Activation::ScaledTanh { alpha, .. } => Some(alpha),
            _ => None,
        }
    }

    /// The second parameter, if it has one.
    pub fn beta(self) -> Option<f64> {
        match self {
            Activation::HardSigmoid { beta, .. }
            | Activation::Affine { beta, .. }
            | Activation::ScaledTanh { beta, .. } => Some(beta),
            _ => None,
        }
    }
}

/// values = activation(values), element by element.
#[inline(always)]
pub(crate) fn activate<T: Real, S: Simd<T>>(s: S, activation: Activation, values: &mut [T]) {
    let at = values.as_mut_ptr();
    // SAFETY: all values may be read and written, and they lie at one place.
    unsafe { transform(s, activation, at, at, values.len()) }
}

/// y = activation(x), element by element. Code exists once for each element type and instruction set, as a function of
/// its own.
///
/// # Safety
/// `x` is valid for reads and `y` for writes of `len` values; they are one place or do not overlap.
#[inline(always)]
pub(crate) unsafe fn transform<T: Real, S: Simd<T>>(s: S, activation: Activation, x: *const T, y: *mut T, len: usize) {
    let sweep = Sweep { s, x, y, len };
    apart(
        s,
        #[inline(always)]
        // SAFETY: `sweep` has what the caller vouches for.
        || unsafe { sweep.run(activation) },
    );
}

/// Arguments and results, as the caller of [`transform`] vouches for them.
struct Sweep<T, S> {
    s: S,
    x: *const T,
    y: *mut T,
    len: usize,
}

impl<T: Real, S: Simd<T>> Sweep<T, S> {
    /// # Safety
    /// As for [`transform`].
    #[inline(always)]
    unsafe fn run(self, activation: Activation) {
        use Activation::*;
        let s = self.s;
        /// A loop for each activation. A closure without the attribute would be compiled without the instruction set.
        macro_rules! sweeps {
            ($($pattern:pat => ($x:ident $(, $parameter:ident = $value:expr)*) $result:expr;)+) => {
                match activation {
                    $($pattern => {
                        $(let $parameter = s.splat(T::from_f64($value));)*
                        // SAFETY: as the caller vouches.
                        unsafe { self.each(#[inline(always)] |$x| $result) }
                    })+
                }
            };
        }
        sweeps! {
            Sigmoid => (x) sigmoid(s, x);
            Tanh => (x) tanh(s, x);
            Relu => (x) relu(s, x);
            Linear => (x) x;
            Relu6 => (x) relu6(s, x);
            LeakyRelu { alpha } => (x, a = alpha) leaky_relu(s, x, a);
            ThresholdedRelu { alpha } => (x, a = alpha) thresholded_relu(s, x, a);
            Elu { alpha } => (x, a = alpha, b = 1.0) elu(s, x, a, b);
            Selu => (x, a = 1.7580993408473766, b = 1.0507009873554805) elu(s, x, a, b);
            Gelu => (x) gelu(s, x);
            Silu => (x) silu(s, x);
            Mish => (x) mish(s, x);
            Softplus => (x) softplus(s, x);
            Softsign => (x) softsign(s, x);
            Exponential => (x) exp(s, x);
            HardSigmoid { alpha, beta } => (x, a = alpha, b = beta) hard_sigmoid(s, x, a, b);
            HardSilu => (x) hard_silu(s, x);
            Affine { alpha, beta } => (x, a = alpha, b = beta) affine(s, x, a, b);
            ScaledTanh { alpha, beta } => (x, a = alpha, b = beta) scaled_tanh(s, x, a, b);
        }
    }

    /// A vector at a time, the last one in part. The body is one, so that `f` is compiled once.
    ///
    /// # Safety
    /// As for [`transform`].
    #[inline(always)]
    unsafe fn each(self, f: impl Fn(S::V) -> S::V) {
        let Sweep { s, x, y, len } = self;
        for done in (0..len).step_by(S::LANES) {
            let lanes = S::LANES.min(len - done);
            // SAFETY: `lanes` values from `done` on are within `len`; of each array no more than they are accessed, and
            // those of x are read before any of y is written.
            unsafe {
                let (x, y) = (x.add(done), y.add(done));
                let v = f(if lanes == S::LANES { s.load(x) } else { s.load_n(x, lanes) });
                if lanes == S::LANES { s.store(y, v) } else { s.store_n(y, v, lanes) }
            }
        }
    }
}
