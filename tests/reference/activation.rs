//! Activations.

/// A function of one argument; sigmoid(x) = 1 / (1 + exp(-x)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Sigmoid,
    Tanh,
    /// max(x, 0)
    Relu,
    /// x
    Linear,
    /// min(max(x, 0), 6)
    Relu6,
    /// x where x >= 0, else alpha x
    LeakyRelu(f64),
    /// x where x >= alpha, else 0
    ThresholdedRelu(f64),
    /// x where x > 0, else alpha (exp(x) - 1)
    Elu(f64),
    /// 1.0507009873554805 x where x > 0, else 1.7580993408473766 (exp(x) - 1)
    Selu,
    /// x (1 + erf(x / sqrt(2))) / 2
    Gelu,
    /// x sigmoid(x)
    Silu,
    /// x tanh(softplus(x))
    Mish,
    /// log(1 + exp(x))
    Softplus,
    /// x / (1 + |x|)
    Softsign,
    /// exp(x)
    Exponential,
    /// min(max(alpha x + beta, 0), 1)
    HardSigmoid(f64, f64),
    /// x min(max(x/6 + 1/2, 0), 1)
    HardSilu,
    /// alpha x + beta
    Affine(f64, f64),
    /// alpha tanh(beta x)
    ScaledTanh(f64, f64),
}

impl Activation {
    /// Its value; NaN for NaN.
    pub fn of(self, x: f64) -> f64 {
        use Activation::*;
        match self {
            Sigmoid => sigmoid(x),
            Tanh => x.tanh(),
            Relu => bounded(x, 0.0, f64::INFINITY),
            Linear => x,
            Relu6 => bounded(x, 0.0, 6.0),
            LeakyRelu(alpha) => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            ThresholdedRelu(alpha) => {
                if x < alpha {
                    0.0
                } else {
                    x
                }
            }
            Elu(alpha) => {
                if x <= 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            Selu if x <= 0.0 => 1.7580993408473766 * x.exp_m1(),
            Selu => 1.0507009873554805 * x,
            Gelu => x * (1.0 + libm::erf(x / 2f64.sqrt())) / 2.0,
            Silu => x * sigmoid(x),
            Mish => x * softplus(x).tanh(),
            Softplus => softplus(x),
            Softsign => x / (1.0 + x.abs()),
            Exponential => x.exp(),
            HardSigmoid(alpha, beta) => bounded(alpha * x + beta, 0.0, 1.0),
            HardSilu => x * bounded(x / 6.0 + 0.5, 0.0, 1.0),
            Affine(alpha, beta) => alpha * x + beta,
            ScaledTanh(alpha, beta) => alpha * (beta * x).tanh(),
        }
    }
}

/// min(max(x, low), high), NaN for NaN; never -0 for a low of 0.
pub fn bounded(x: f64, low: f64, high: f64) -> f64 {
    if x <= low {
        low
    } else if x >= high {
        high
    } else {
        x
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))
fn softplus(x: f64) -> f64 {
    bounded(x, 0.0, f64::INFINITY) + (-x.abs()).exp().ln_1p()
}
