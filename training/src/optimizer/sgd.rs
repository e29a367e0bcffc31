//! Stochastic gradient descent.

use super::{Kept, learning_rate, number};
use crate::parameters::Parameters;
use gatefold::{Element, Result};

/// Stochastic gradient descent with momentum mu at a learning rate lr, as PyTorch's `SGD`:
///
/// ```text
/// v = mu v + g
/// p = p - lr v
/// ```
///
/// Keras' `SGD` keeps v = mu v - lr g and adds that, which is the same as long as the learning rate is.
///
/// ```
/// use gatefold_training::{Dense, DenseGrads, Sgd};
///
/// let mut dense = Dense::new(1, 1, vec![1.0], None)?;
/// let grads = DenseGrads { d_weight: vec![2.0], ..DenseGrads::new() };
/// let mut sgd = Sgd::new(0.25, 0.5)?;
/// sgd.step(&mut dense, &grads)?; // v = 2
/// sgd.step(&mut dense, &grads)?; // v = 3
/// assert_eq!(dense.weight(), [-0.25]);
/// # Ok::<(), gatefold::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sgd<T> {
    learning_rate: f64,
    momentum: f64,
    kept: Kept<T, 1>,
}

impl<T: Element> Sgd<T> {
    /// With a momentum of 0, plain gradient descent.
    ///
    /// # Errors
    /// [`Error::Number`](gatefold::Error::Number) for a learning rate that is negative or not finite, and for a momentum
    /// that is not from 0 to below 1.
    pub fn new(learning_rate: f64, momentum: f64) -> Result<Self> {
        self::learning_rate(learning_rate)?;
        number("momentum", momentum, (0.0..1.0).contains(&momentum), "a number from 0 to below 1")?;
        Ok(Sgd { learning_rate, momentum, kept: Kept::new() })
    }

    /// Changes the learning rate.
    ///
    /// # Errors
    /// As [`Sgd::new`].
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        self::learning_rate(learning_rate)?;
        self.learning_rate = learning_rate;
        Ok(())
    }

    /// One step of all parameters. Each is computed in f64 and rounded once.
    ///
    /// # Errors
    /// [`Error::Shape`](gatefold::Error::Shape) for gradients that are not those of such parameters, and for other
    /// parameters than those of the steps before; as [`Parameters::arrays`]. Nothing was changed then.
    pub fn step<P: Parameters<T>>(&mut self, parameters: &mut P, gradients: &P::Gradients) -> Result<()> {
        let (rate, momentum) = (self.learning_rate, self.momentum);
        self.kept.step(parameters, gradients, |value, gradient, [velocity]| {
            *velocity = momentum * *velocity + gradient;
            value - rate * *velocity
        })
    }
}
