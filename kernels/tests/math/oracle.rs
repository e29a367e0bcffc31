//! The true values: for f64 results by double-double arithmetic and Taylor series, for f32 results by the standard
//! library's f64 functions. Nothing here is shared with the kernels.

use super::wide::Wide;
use gatefold_kernels::activation::Activation;

/// The true value for a finite f64, to about 100 bits. exp and sigmoid: of an argument of magnitude below 2000.
pub fn wide(function: Activation, x: f64) -> Wide {
    match function {
        Activation::Exponential => Wide::exp(x),
        Activation::Sigmoid => {
            let e = Wide::exp(-x.abs());
            let denominator = Wide::from(1.0).add(e.flat());
            let scale = if x < 0.0 { e.scale } else { 0 };
            let numerator = if x < 0.0 { Wide { scale: 0, ..e } } else { 1.0.into() };
            Wide { scale, ..numerator.div(denominator) }
        }
        // x - x³/3 + ...
        Activation::Tanh if x.abs() < 2f64.powi(-60) => x.into(),
        Activation::Tanh => {
            let twice = 2.0 * x.abs().min(100.0);
            let e = if twice < 0.4 { Wide::from(twice).exp_m1() } else { Wide::exp(twice).flat().add((-1.0).into()) };
            let y = e.div(e.add(2.0.into()));
            if x < 0.0 { y.neg() } else { y }
        }
        other => panic!("{other:?} has no true values here"),
    }
}

/// The true value, but for the last bits of an f64.
pub fn narrow(function: Activation, x: f64) -> f64 {
    match function {
        Activation::Exponential => x.exp(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        other => panic!("{other:?} has no true values here"),
    }
}
