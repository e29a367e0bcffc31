//! Gradients clipped by their norm.

use crate::parameters::Gradients;
use gatefold::{Element, Error, Result};

/// Scales `gradients` so that the Euclidean norm of all of them together is at most `max_norm`, and returns what it was
/// before. As PyTorch's `clip_grad_norm_`: by max_norm / (norm + 1e-6) where that is below 1.
///
/// The norm is taken in f64, in ascending order. The gradients of inputs and of initial states do not count.
///
/// ```
/// use gatefold_training::{DenseGrads, clip_grad_norm};
///
/// let mut grads = DenseGrads { dx: vec![9.0], d_weight: vec![3.0f64], d_bias: vec![4.0] };
/// assert_eq!(clip_grad_norm(&mut grads, 1.0)?, 5.0);
/// assert!((grads.d_weight[0] - 0.6).abs() < 1e-6 && (grads.d_bias[0] - 0.8).abs() < 1e-6);
/// assert_eq!(grads.dx, [9.0]);
/// # Ok::<(), gatefold::Error>(())
/// ```
///
/// # Errors
/// [`Error::Number`] for a `max_norm` that is not positive, and for a norm that is not finite, which PyTorch refuses with
/// `error_if_nonfinite=True`; then nothing was changed.
pub fn clip_grad_norm<T: Element>(gradients: &mut impl Gradients<T>, max_norm: f64) -> Result<f64> {
    if max_norm.is_nan() || max_norm <= 0.0 {
        return Err(Error::Number { argument: "max_norm", expected: "a positive number", found: max_norm });
    }
    let arrays = gradients.arrays();
    let values = arrays.iter().flat_map(|(_, array)| array.iter());
    let norm = values.map(|value| value.to_f64() * value.to_f64()).sum::<f64>().sqrt();
    if !norm.is_finite() {
        return Err(Error::Number { argument: "norm of the gradients", expected: "a finite number", found: norm });
    }
    let scale = max_norm / (norm + 1e-6);
    if scale < 1.0 {
        for value in gradients.arrays_mut().into_iter().flat_map(|(_, array)| array) {
            *value = T::from_f64(value.to_f64() * scale);
        }
    }
    Ok(norm)
}
