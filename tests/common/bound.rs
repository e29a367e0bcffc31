//! How far rounding can take a layer's outputs from those of exact arithmetic.
//!
//! Every bound is over all units and rows at once, from the largest magnitudes that occur. A sum of n products in any
//! order is off by at most n u / (1 - n u) of the sum of their magnitudes, u being half a unit in the last place of 1
//! (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). An activation is promised to 3 units in the
//! last place, which is at most 6 u of its value; sigmoid has a slope of at most 1/4, tanh and ReLU of 1.

mod general;

pub use general::rounding_of_options;

use crate::reference::{Cell, Layer, Output, Reset, Sequence};

/// The largest deviation of any output or state of `layer` over `sequence`, computed with roundings of at most `u` and
/// with states below `sequence.flush` dropped. `exact` is what it is compared with.
pub fn rounding(layer: &Layer, sequence: &Sequence, exact: &Output, u: f64) -> f64 {
    let state = |plane: &Option<Vec<f64>>| plane.as_deref().map_or(0.0, largest);
    let bias = largest(&layer.b_w) + largest(&layer.b_r);
    let h = largest(&exact.y).max(largest(&exact.h)).max(state(&sequence.h0));
    let r = row_sum(&layer.r, layer.hidden);
    // Magnitudes in the sum of a gate, and how many roundings they go through: products, biases, sums of products.
    let sum = row_sum(&layer.w, layer.input) * largest(&sequence.x) + r * h + bias;
    let n = (layer.input + layer.hidden + 6) as f64;
    let of_sum = n * u / (1.0 - n * u) * sum;

    let activation = 6.0 * u;
    let mut c = state(&sequence.c0);
    let (mut of_h, mut of_c) = (0.0f64, 0.0);
    for _ in 0..sequence.time {
        let gate = of_sum + r * of_h;
        let sigmoid = gate / 4.0 + activation;
        let tanh = gate + activation;
        of_h = match layer.cell {
            Cell::SimpleRnn(_) => tanh,
            Cell::Lstm => {
                // c' = f c + i g, where all but c are below 1 in magnitude; h' = o tanh(c')
                of_c += c * sigmoid + sigmoid + tanh + 3.0 * u * (c + 1.0) + sequence.flush;
                c += 1.0;
                sigmoid + of_c + activation + 2.0 * u
            }
            Cell::Gru(reset, _) => {
                let candidate = match reset {
                    // x_n + r r_n, where r_n is no larger than all of the sum
                    Reset::After => gate + sum * sigmoid + 2.0 * u * sum,
                    // R (r h)
                    Reset::Before => of_sum + r * (of_h + h * sigmoid + u * h + sequence.flush),
                };
                // z h + (1 - z) n lies between h and n
                of_h.max(candidate + activation) + (h + 1.0) * (sigmoid + 4.0 * u)
            }
        } + sequence.flush;
    }
    of_h.max(of_c)
}

/// The largest magnitude.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0f64, |most, v| most.max(v.abs()))
}

/// The largest sum of a row's magnitudes.
fn row_sum(matrix: &[f64], cols: usize) -> f64 {
    matrix.chunks_exact(cols).map(|row| row.iter().map(|v| v.abs()).sum::<f64>()).fold(0.0, f64::max)
}
