//! Adam.

use super::{Kept, learning_rate, number};
use crate::parameters::Parameters;
use gatefold::{Element, Result};

/// Where the small number is added that keeps Adam from dividing by 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epsilon {
    /// To the square root of the corrected moment, as in the paper's algorithm 1 and in PyTorch: p = p - lr m̂ / (√v̂ + ε).
    Corrected,
    /// To that of the moment itself, as in the paper's section 2 and in Keras:
    /// p = p - lr √(1-β₂ᵗ)/(1-β₁ᵗ) m / (√v + ε).
    Uncorrected,
}

/// The numbers of [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// lr.
    pub learning_rate: f64,
    /// β₁ and β₂, from 0 to below 1: how slowly the moments move.
    pub betas: [f64; 2],
    /// ε.
    pub epsilon: f64,
    /// Where ε is added.
    pub form: Epsilon,
}

impl AdamOptions {
    /// Those of `torch.optim.Adam`: lr = 0.001, β = 0.9 and 0.999, ε = 1e-8.
    pub const PYTORCH: Self =
        AdamOptions { learning_rate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-8, form: Epsilon::Corrected };

    /// Those of `keras.optimizers.Adam`: lr = 0.001, β = 0.9 and 0.999, ε = 1e-7.
    pub const KERAS: Self = AdamOptions { epsilon: 1e-7, form: Epsilon::Uncorrected, ..Self::PYTORCH };
}

/// Adam (Kingma and Ba, arXiv:1412.6980), without weight decay. With g the gradient and t the number of the step:
///
/// ```text
/// m = β₁ m + (1-β₁) g      m̂ = m / (1-β₁ᵗ)
/// v = β₂ v + (1-β₂) g²     v̂ = v / (1-β₂ᵗ)
/// p = p - lr m̂ / (√v̂ + ε)
/// ```
///
/// ```
/// use gatefold_training::{Adam, AdamOptions, Dense, DenseGrads};
///
/// let mut dense = Dense::new(1, 1, vec![1.0f64], None)?;
/// let mut adam = Adam::new(AdamOptions { learning_rate: 0.5, epsilon: 0.0, ..AdamOptions::PYTORCH })?;
/// adam.step(&mut dense, &DenseGrads { d_weight: vec![123.0], ..DenseGrads::new() })?;
/// assert!((dense.weight()[0] - 0.5).abs() < 1e-12); // the first step is lr, whatever the gradient
/// # Ok::<(), gatefold::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Adam<T> {
    options: AdamOptions,
    kept: Kept<T, 2>,
}

impl<T: Element> Adam<T> {
    /// Before its first step.
    ///
    /// # Errors
    /// [`Error::Number`](gatefold::Error::Number) for a learning rate or an epsilon that is negative or not finite, and for
    /// betas that are not from 0 to below 1.
    pub fn new(options: AdamOptions) -> Result<Self> {
        let AdamOptions { learning_rate: rate, betas, epsilon, .. } = options;
        learning_rate(rate)?;
        for beta in betas {
            number("betas", beta, (0.0..1.0).contains(&beta), "numbers from 0 to below 1")?;
        }
        number("epsilon", epsilon, epsilon >= 0.0 && epsilon.is_finite(), "a number of at least 0")?;
        Ok(Adam { options, kept: Kept::new() })
    }

    /// Changes the learning rate.
    ///
    /// # Errors
    /// As [`Adam::new`].
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        self::learning_rate(learning_rate)?;
        self.options.learning_rate = learning_rate;
        Ok(())
    }

    /// One step of all parameters. Each is computed in f64 and rounded once, as are the moments.
    ///
    /// # Errors
    /// As [`Sgd::step`](crate::Sgd::step).
    pub fn step<P: Parameters<T>>(&mut self, parameters: &mut P, gradients: &P::Gradients) -> Result<()> {
        let AdamOptions { learning_rate, betas: [beta1, beta2], epsilon, form } = self.options;
        let t = f64::from(self.kept.steps.saturating_add(1));
        let (bias1, root2) = (1.0 - libm::pow(beta1, t), (1.0 - libm::pow(beta2, t)).sqrt());
        // √v̂ + ε = (√v + ε root2) / root2: one formula for both.
        let epsilon = match form {
            Epsilon::Corrected => epsilon * root2,
            Epsilon::Uncorrected => epsilon,
        };
        let rate = learning_rate * root2 / bias1;
        self.kept.step(parameters, gradients, |value, gradient, [m, v]| {
            *m = beta1 * *m + (1.0 - beta1) * gradient;
            *v = beta2 * *v + (1.0 - beta2) * gradient * gradient;
            // Nothing was ever seen of it: 0/0 without an epsilon.
            if *m == 0.0 { value } else { value - rate * *m / (v.sqrt() + epsilon) }
        })
    }
}
