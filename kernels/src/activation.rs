//! The activations that a gate may have.

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
