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

#[test]
fn the_truth_agrees_with_mpmath() {
    use Activation::*;
    // (hi + lo) 2^exponent, computed by mpmath with 60 digits.
    let table = [
        (Gelu, 0.3, 1.4829874132534864, -1.1060572519306884e-16, -3),
        (Gelu, -0.7, -1.3549964524492089, -1.9614365330635354e-17, -3),
        (Gelu, -3.3, -1.633586861943261, 1.0646261492027269e-16, -10),
        (Gelu, 4.9, 1.2249994130004862, 6.204831559393031e-17, 2),
        (Gelu, -4.99, -1.5796413115704633, -1.8283860658161912e-17, -20),
        (Gelu, -5.01, -1.4297044229300058, -6.80606367928048e-17, -20),
        (Gelu, -9.5, -1.4712812166740454, -1.0113193588612504e-16, -67),
        (Gelu, -25.0, -1.7773804277005472, 8.795117599416456e-17, -453),
        (Gelu, -37.0, -1.1083738149499223, 1.646895237107629e-17, -989),
        (Softplus, 0.0, 1.3862943611198906, 4.638093627692599e-17, -1),
        (Softplus, 0.4, 1.8260305047999053, 2.202348976433599e-17, -1),
        (Softplus, -3.0, 1.554795250359746, -9.251567694420145e-17, -5),
        (Softplus, 12.5, 1.5625004658307786, -1.0211644854620713e-16, 3),
        (Softplus, -50.0, 1.821652727172946, -3.5461465527873087e-17, -73),
        (Softplus, -70.0, 1.0078962487803504, -8.530878596333249e-18, -101),
        (Softplus, -700.0, 1.081828175944821, 9.312926389907246e-18, -1010),
        (Mish, 0.2, 1.060792014897274, -7.30502891083389e-17, -3),
        (Mish, -0.3, -1.2090654171066766, 4.7215108098350885e-17, -3),
        (Mish, -59.0, -1.6977636562289085, 4.8219506020131824e-17, -80),
        (Mish, -61.0, -1.9004483854045497, 3.1297570729621794e-17, -83),
        (Mish, 7.0, 1.7499970949524353, 9.243597110036321e-17, 2),
        (Elu { alpha: 1.0 }, -0.1, -1.5226013114246468, -7.922087270281201e-17, -4),
        (Elu { alpha: 1.0 }, -0.39, -1.2917725020073412, -6.422187003719554e-17, -2),
        (Elu { alpha: 1.0 }, -0.41, -1.3453989994547224, -6.080222725024236e-17, -2),
        (Elu { alpha: 1.0 }, -1e-9, -1.073741823463129, -8.028615370206285e-17, -30),
        (Elu { alpha: 1.0 }, -35.0, -1.9999999999999987, -7.124427752078997e-17, -1),
        (Silu, 0.5, 1.2449186624037092, -5.71147741162461e-17, -2),
        (Silu, -20.0, -1.383216778462343, 5.009940706103448e-17, -25),
        (Silu, -690.0, -1.9600281007506433, 9.009031663585299e-17, -987),
    ];
    for (activation, x, hi, lo, exponent) in table {
        let truth = truth(activation, |parameter| parameter, x);
        let shift = 2f64.powi(truth.scale - exponent);
        let error = (truth.hi * shift - hi) + (truth.lo * shift - lo);
        assert!(error.abs() < 2f64.powi(-78), "{activation:?}({x}): {error:e}");
        assert_eq!(truth.exponent(), exponent, "{activation:?}({x})");
    }
}
