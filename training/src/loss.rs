//! Losses with their gradients.

use crate::parameters::same;
use gatefold::cell::{Activation, Elementwise};
use gatefold::{Element, Error, Isa, Result};

/// The mean of (y - target)², and its gradient 2 (y - target) / n in `dy`. PyTorch's `MSELoss`, Keras' `MeanSquaredError`.
///
/// The sum is taken in f64, in ascending order.
///
/// ```
/// use gatefold_training::mean_squared_error;
///
/// let mut dy = [0.0; 2];
/// let loss = mean_squared_error(&[1.0, 5.0], &[0.0, 3.0], &mut dy)?;
/// assert_eq!((loss, dy), (2.5, [1.0, 2.0]));
/// # Ok::<(), gatefold::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] for `target` or `dy` of another length than `y`, [`Error::Zero`] if that is 0; then nothing was written.
pub fn mean_squared_error<T: Element>(y: &[T], target: &[T], dy: &mut [T]) -> Result<f64> {
    same("target", y.len(), target.len())?;
    same("dy", y.len(), dy.len())?;
    if y.is_empty() {
        return Err(Error::Zero { argument: "y" });
    }
    let (n, mut sum) = (y.len() as f64, 0.0);
    for ((&y, &target), dy) in y.iter().zip(target).zip(dy) {
        let difference = y.to_f64() - target.to_f64();
        sum += difference * difference;
        *dy = T::from_f64(2.0 * difference / n);
    }
    Ok(sum / n)
}

/// The mean over rows of -log softmax(logits)\[target\] in nats, and its gradient (softmax - onehot) / rows in `d_logits`.
/// `logits` and `d_logits` are `[rows, classes]`, `targets: [rows]` are class indices below `classes`. PyTorch's
/// `CrossEntropyLoss`, Keras' `SparseCategoricalCrossentropy(from_logits=True)`.
///
/// log sum exp is taken from a row's greatest logit on, so that no exponential overflows. exp is the kernels' own, with the
/// same bits on every instruction set; sums are taken in f64, in ascending order. A row with a NaN, with +inf or with
/// nothing but -inf has a loss of NaN.
///
/// ```
/// use gatefold_training::cross_entropy;
///
/// let mut d_logits = [0.0; 4];
/// let loss = cross_entropy(&[1000.0f64, 1000.0, 0.0, -1000.0], &[0, 0], &mut d_logits)?;
/// assert!((loss - 2f64.ln() / 2.0).abs() < 1e-15);
/// assert_eq!(d_logits, [-0.25, 0.25, 0.0, 0.0]);
/// # Ok::<(), gatefold::Error>(())
/// ```
///
/// # Errors
/// [`Error::Zero`] for no `targets` or no classes, [`Error::Shape`] for `logits` that are not `targets.len()` rows or for
/// `d_logits` of another length, [`Error::TooGreat`] for a target that is no class; then nothing was written.
pub fn cross_entropy<T: Element>(logits: &[T], targets: &[usize], d_logits: &mut [T]) -> Result<f64> {
    let rows = targets.len();
    let classes = match logits.len().checked_div(rows) {
        None => return Err(Error::Zero { argument: "targets" }),
        Some(0) => return Err(Error::Zero { argument: "classes" }),
        Some(classes) => classes,
    };
    same("logits", classes * rows, logits.len())?;
    same("d_logits", logits.len(), d_logits.len())?;
    if let Some(&found) = targets.iter().find(|&&target| target >= classes) {
        return Err(Error::TooGreat { argument: "targets", maximum: classes - 1, found });
    }
    let (isa, function) = (Isa::chosen()?, Activation::Exponential);
    let (mut below, mut sum) = (vec![T::ZERO; classes], 0.0);
    for ((logits, &target), gradient) in
        logits.chunks_exact(classes).zip(targets).zip(d_logits.chunks_exact_mut(classes))
    {
        let greatest = logits.iter().copied().fold(logits[0], |a, b| if b > a { b } else { a }).to_f64();
        for (below, logit) in below.iter_mut().zip(logits) {
            *below = T::from_f64(logit.to_f64() - greatest);
        }
        Elementwise { isa, function, x: &below, y: gradient }.run()?;
        let total: f64 = gradient.iter().map(|e| e.to_f64()).sum();
        sum += libm::log(total) - below[target].to_f64();
        let scale = 1.0 / (total * rows as f64);
        for e in gradient.iter_mut() {
            *e = T::from_f64(e.to_f64() * scale);
        }
        gradient[target] = T::from_f64(gradient[target].to_f64() - 1.0 / rows as f64);
    }
    Ok(sum / rows as f64)
}
