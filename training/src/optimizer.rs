//! Optimisers: from gradients to the next parameters.

mod adam;
mod sgd;

pub use adam::{Adam, AdamOptions, Epsilon};
pub use sgd::Sgd;

use crate::parameters::{Gradients, Parameters, check, same};
use gatefold::{Element, Error, Result};

/// What an optimiser keeps for each parameter: `N` arrays for each array of parameters, zeros at first.
#[derive(Clone, Debug)]
struct Kept<T, const N: usize> {
    arrays: Vec<[Vec<T>; N]>,
    /// Steps that were made.
    steps: u32,
}

impl<T: Element, const N: usize> Kept<T, N> {
    const fn new() -> Self {
        Kept { arrays: Vec::new(), steps: 0 }
    }

    /// One step: calls `change` with the number of the step, counted from 1, a parameter, its gradient and what is kept
    /// for it. All in f64, and rounded once when stored.
    fn step<P: Parameters<T>>(
        &mut self,
        parameters: &mut P,
        gradients: &P::Gradients,
        change: impl Fn(f64, f64, &mut [f64; N]) -> f64,
    ) -> Result<()> {
        let lengths = check(parameters, gradients)?;
        if self.arrays.is_empty() {
            self.arrays = lengths.iter().map(|&len| std::array::from_fn(|_| vec![T::ZERO; len])).collect();
        }
        same("parameters", self.arrays.len(), lengths.len())?;
        for (kept, &len) in self.arrays.iter().zip(&lengths) {
            kept.iter().try_for_each(|array| same("parameters", array.len(), len))?;
        }
        self.steps = self.steps.saturating_add(1);
        let gradients = gradients.arrays();
        let mut arrays = self.arrays.iter_mut().zip(gradients);
        parameters.update(&mut |values| {
            if let Some((kept, (_, gradients))) = arrays.next() {
                step_of_array(values, gradients, kept, &change);
            }
        })
    }
}

fn step_of_array<T: Element, const N: usize>(
    values: &mut [T],
    gradients: &[T],
    kept: &mut [Vec<T>; N],
    change: impl Fn(f64, f64, &mut [f64; N]) -> f64,
) {
    // Slices of one length each, so that no index is checked in the loop.
    let mut kept = kept.each_mut().map(|array| &mut array[..values.len()]);
    for (k, (value, gradient)) in values.iter_mut().zip(gradients).enumerate() {
        let mut of_value = [0.0; N];
        for (to, from) in of_value.iter_mut().zip(&kept) {
            *to = from[k].to_f64();
        }
        *value = T::from_f64(change(value.to_f64(), gradient.to_f64(), &mut of_value));
        for (to, from) in kept.iter_mut().zip(of_value) {
            to[k] = T::from_f64(from);
        }
    }
}

/// Refuses a number outside of a range.
fn number(argument: &'static str, found: f64, fits: bool, expected: &'static str) -> Result<()> {
    if fits { Ok(()) } else { Err(Error::Number { argument, expected, found }) }
}

/// Refuses a learning rate that is negative or not finite.
fn learning_rate(found: f64) -> Result<()> {
    number("learning_rate", found, found >= 0.0 && found.is_finite(), "a number of at least 0")
}
