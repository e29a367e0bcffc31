//! The true value of every activation, to about 80 bits: double-double arithmetic and series.

use crate::oracle;
use crate::wide::Wide;
use gatefold_kernels::activation::Activation;

/// The activation with its parameters as the element type has them.
pub fn rounded(activation: Activation, round: fn(f64) -> f64) -> Activation {
    use Activation::*;
    match activation {
        LeakyRelu { alpha } => LeakyRelu { alpha: round(alpha) },
        ThresholdedRelu { alpha } => ThresholdedRelu { alpha: round(alpha) },
        Elu { alpha } => Elu { alpha: round(alpha) },
        HardSigmoid { alpha, beta } => HardSigmoid { alpha: round(alpha), beta: round(beta) },
        Affine { alpha, beta } => Affine { alpha: round(alpha), beta: round(beta) },
        ScaledTanh { alpha, beta } => ScaledTanh { alpha: round(alpha), beta: round(beta) },
        other => other,
    }
}

/// Of a finite x. Parameters, those of selu too, are rounded by `round` before. ScaledTanh: beta x must be an f64.
pub fn truth(activation: Activation, round: fn(f64) -> f64, x: f64) -> Wide {
    use Activation::*;
    let wide = Wide::from;
    match rounded(activation, round) {
        Sigmoid | Exponential | Tanh => oracle::wide(activation, x.clamp(-2000.0, 2000.0)),
        Linear => wide(x),
        Relu => wide(x.max(0.0)),
        Relu6 => wide(x.clamp(0.0, 6.0)),
        LeakyRelu { alpha } => {
            if x < 0.0 {
                line(alpha, x, 0.0)
            } else {
                wide(x)
            }
        }
        ThresholdedRelu { alpha } => wide(if x >= alpha { x } else { 0.0 }),
        Elu { alpha } => elu(x, alpha, 1.0),
        // The constants of Klambauer et al., as Keras and PyTorch write them.
        Selu => elu(x, round(1.0507009873554805 * 1.6732632423543772), round(1.0507009873554805)),
        Gelu => gelu(x),
        Silu => times(x, oracle::wide(Sigmoid, x.clamp(-2000.0, 2000.0))),
        Mish => mish(x),
        Softplus => softplus(x),
        Softsign => wide(x).div(wide(1.0).add(wide(x.abs()))),
        HardSigmoid { alpha, beta } => clamped(line(alpha, x, beta), 1.0),
        HardSilu => times(x, clamped(wide(x).add(wide(3.0)), 6.0).div(wide(6.0))),
        Affine { alpha, beta } => line(alpha, x, beta),
        ScaledTanh { alpha, beta } => wide(alpha).mul(oracle::wide(Tanh, beta * x)),
        other => panic!("{other:?} has no true values here"),
    }
}

/// alpha x + beta.
fn line(alpha: f64, x: f64, beta: f64) -> Wide {
    if x.abs() > 2f64.powi(900) {
        // The product may be no f64, and beta does not count.
        return Wide { scale: 64, ..Wide::from(alpha).mul((x * 2f64.powi(-64)).into()) };
    }
    Wide::from(alpha).mul(x.into()).add(beta.into())
}

/// x times a number of any scale.
fn times(x: f64, y: Wide) -> Wide {
    Wide { scale: y.scale, ..Wide::from(x).mul(Wide { scale: 0, ..y }) }
}

fn clamped(x: Wide, top: f64) -> Wide {
    if x.hi < 0.0 {
        0.0.into()
    } else if x.hi >= top {
        top.into()
    } else {
        x
    }
}

fn elu(x: f64, alpha: f64, scale: f64) -> Wide {
    let below = match x {
        _ if x >= 0.0 => return line(scale, x, 0.0),
        // x + x²/2 + ...: the terms of a series underflow here.
        _ if x > -1e-100 => x.into(),
        _ if x > -0.4 => Wide::from(x).exp_m1(),
        _ => Wide::exp(x.max(-700.0)).flat().add((-1.0).into()),
    };
    Wide::from(alpha).mul(below)
}

/// log(1 + e) = 2 (s + s³/3 + s⁵/5 + ...), where s = e / (2 + e) <= 1/3.
fn log_1p(e: Wide) -> Wide {
    let s = e.div(e.add(2.0.into()));
    let square = s.mul(s);
    let mut sum = Wide::from(0.0);
    for k in (0..36).rev() {
        sum = sum.mul(square).add(Wide::from(1.0).div(f64::from(2 * k + 1).into()));
    }
    s.mul(sum).mul(2.0.into())
}

fn softplus(x: f64) -> Wide {
    let e = Wide::exp(-x.abs().min(2000.0));
    match x {
        // log(1 + e) = e - e²/2 + ...
        _ if x < -60.0 => e,
        _ if x < 0.0 => log_1p(e.flat()),
        _ => Wide::from(x).add(log_1p(e.flat())),
    }
}

/// tanh(log(1 + e)) = (e² + 2e) / (e² + 2e + 2).
fn mish(x: f64) -> Wide {
    let e = Wide::exp(x.clamp(-2000.0, 60.0));
    if x < -60.0 {
        return times(x, e);
    }
    let e = e.flat();
    let a = e.mul(e.add(2.0.into()));
    times(x, a.div(a.add(2.0.into())))
}

/// x Φ(x) by the normal distribution function.
fn gelu(x: f64) -> Wide {
    let a = x.abs().min(60.0);
    // exp(-a²/2) / sqrt(2 pi): the square's rounding error is a factor of its own.
    let square = Wide::from(a).mul(a.into());
    let rest = Wide::from(-0.5 * square.lo).exp_m1().add(1.0.into());
    let e = Wide::exp(-0.5 * square.hi);
    let root = Wide { hi: 2.5066282746310007, lo: -1.8328579980459167e-16, scale: 0 };
    let density = Wide { scale: e.scale, ..Wide { scale: 0, ..e }.mul(rest).div(root) };
    let tail = if a < 5.0 {
        // Φ(a) = 1/2 + density (a + a³/3 + a⁵/(3 5) + ...) (Marsaglia, 2004). Up to 22 bits cancel.
        let mut sum = Wide::from(1.0);
        for k in (1..120).rev() {
            sum = Wide::from(1.0).add(square.div(f64::from(2 * k + 1).into()).mul(sum));
        }
        Wide::from(0.5).add(density.flat().mul(sum).mul(a.into()).neg())
    } else {
        // Laplace's continued fraction: density / (a + 1/(a + 2/(a + 3/(a + ...)))).
        let mut fraction = Wide::from(a);
        for k in (1..100).rev() {
            fraction = Wide::from(f64::from(k)).div(fraction).add(a.into());
        }
        Wide { scale: density.scale, ..Wide { scale: 0, ..density }.div(fraction) }
    };
    if x < 0.0 { times(x, tail) } else { times(x, Wide::from(1.0).add(tail.flat().neg())) }
}
