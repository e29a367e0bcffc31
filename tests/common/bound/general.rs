//! The same for layers with options: from the steepest slope and the largest value that an activation has over the sums
//! that occur.

use crate::reference::{Activation, Cell, Layer, Options, Reset, Sequence, Walked};

/// What an activation does to numbers up to some magnitude.
#[derive(Clone, Copy)]
struct Reach {
    /// The steepest slope.
    slope: f64,
    /// The largest magnitude of a result.
    most: f64,
    /// The largest magnitude of an argument.
    sum: f64,
}

impl Reach {
    /// A threshold is no slope: who draws one sees that no sum is near it.
    fn new(activation: Activation, sum: f64) -> Reach {
        use Activation::*;
        let slope = match activation {
            Sigmoid => 0.25,
            Tanh | Relu | Linear | Relu6 | ThresholdedRelu(_) | Softplus | Softsign => 1.0,
            LeakyRelu(alpha) | Elu(alpha) => alpha.abs().max(1.0),
            Selu => 1.7581,
            Gelu | Silu | Mish => 1.2,
            Exponential => sum.exp(),
            HardSigmoid(alpha, _) | Affine(alpha, _) => alpha.abs(),
            HardSilu => 1.5,
            ScaledTanh(alpha, beta) => (alpha * beta).abs(),
        };
        let most = match activation {
            Sigmoid | Tanh | Softsign | HardSigmoid(..) => 1.0,
            Exponential => sum.exp(),
            ScaledTanh(alpha, _) => alpha.abs(),
            _ => activation.of(0.0).abs() + slope * sum,
        };
        Reach { slope, most, sum }
    }

    /// The deviation of a result from that of its argument. An activation is promised to 9 units in the last place, and may
    /// round its argument once.
    fn off(self, argument: f64, u: f64) -> f64 {
        self.slope * (argument + u * self.sum) + 18.0 * u * self.most
    }
}

/// As [`rounding`](super::rounding), of a layer with options; `walked` is what it is compared with. NaN where numbers
/// overflow.
pub fn rounding_of_options(layer: &Layer, options: &Options, sequence: &Sequence, walked: &Walked, u: f64) -> f64 {
    let row_sum = super::row_sum;
    let largest = super::largest;
    let (most_h, most_c) = (walked.largest.h, walked.largest.c);
    let channels = options.projection.as_ref().map_or(layer.hidden, |p| p.len() / layer.hidden);
    let peephole = options.peepholes.as_deref().map_or(0.0, largest);
    let bias = largest(&layer.b_w) + largest(&layer.b_r);
    let r = row_sum(&layer.r, channels);
    let reaches = |activations: [Activation; 3], sums: [f64; 3]| [0, 1, 2].map(|i| Reach::new(activations[i], sums[i]));
    let activations = options.activations.unwrap_or(match layer.cell {
        Cell::SimpleRnn(activation) => [activation; 3],
        Cell::Lstm | Cell::Gru(..) => [Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
    });
    let [of_gates, of_candidate, of_cell] = reaches(activations, [walked.largest.sum, walked.largest.sum, most_c]);
    // An operand of a recurrent product is h, or r h.
    let operand = most_h * if matches!(layer.cell, Cell::Gru(Reset::Before, _)) { of_gates.most.max(1.0) } else { 1.0 };
    let sum = row_sum(&layer.w, layer.input) * largest(&sequence.x) + r * operand + bias + peephole * most_c;
    let n = (layer.input + channels + 8) as f64;
    let of_sum = n * u / (1.0 - n * u) * sum;

    // Factors that a gate may have: coupled gates are 1 - i, an attended z is (1 - a) z with |1 - a| <= 2.
    let most_f = if options.coupled { 1.0 + of_gates.most } else { of_gates.most };
    let attended = if options.attended { 2.0 } else { 1.0 };
    let (mut of_h, mut of_c) = (0.0f64, 0.0f64);
    for _ in 0..sequence.time {
        let before = of_sum + r * of_h;
        of_h = match layer.cell {
            Cell::SimpleRnn(_) => of_gates.off(before, u),
            Cell::Lstm => {
                let gate = of_gates.off(before + peephole * of_c, u) + u * most_f;
                let candidate = of_candidate.off(before, u);
                of_c = most_f * of_c
                    + most_c * gate
                    + of_gates.most * candidate
                    + of_candidate.most * gate
                    + 3.0 * u * (most_f * most_c + of_gates.most * of_candidate.most)
                    + sequence.flush;
                let output = of_gates.off(before + peephole * of_c, u);
                let hidden = of_gates.most * of_cell.off(of_c, u)
                    + of_cell.most * output
                    + 2.0 * u * of_gates.most * of_cell.most
                    + sequence.flush;
                match options.projection.as_deref().map(|p| row_sum(p, layer.hidden)) {
                    Some(p) => p * (hidden + (layer.hidden as f64 + 2.0) * u * of_gates.most * of_cell.most),
                    None => hidden,
                }
            }
            Cell::Gru(reset, _) => {
                let gate = of_gates.off(before, u);
                let z = attended * (gate + 2.0 * u * of_gates.most);
                let most_z = attended * of_gates.most;
                let candidate = of_candidate.off(
                    match reset {
                        Reset::After => {
                            let most_r = of_gates.most.max(1.0);
                            most_r * before + sum * gate + 3.0 * u * sum * most_r
                        }
                        Reset::Before => {
                            let reset = of_gates.most * of_h + most_h * gate + u * operand + sequence.flush;
                            of_sum + r * reset
                        }
                    },
                    u,
                );
                most_z * of_h
                    + (1.0 + most_z) * candidate
                    + (most_h + of_candidate.most) * z
                    + 5.0 * u * (most_z * most_h + (1.0 + most_z) * of_candidate.most)
            }
        } + sequence.flush;
    }
    // `max` would take NaN for the smaller one.
    if of_h.is_nan() || of_h > of_c { of_h } else { of_c }
}
