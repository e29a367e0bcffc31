//! Whether outputs agree with reference tensors.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// How far outputs may be from the reference: `relative` times the largest magnitude of the reference tensor, plus
/// `absolute`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Times the largest magnitude.
    pub relative: f64,
    /// On top of that.
    pub absolute: f64,
}

impl Default for Tolerance {
    /// 2e-5 and 1e-7, for f32.
    fn default() -> Self {
        Tolerance { relative: 2e-5, absolute: 1e-7 }
    }
}

/// The largest deviation of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Deviation {
    /// By how much; infinite where only one of the two is a number, or they are different infinities.
    pub size: f64,
    /// Where, an index for each axis.
    pub index: Vec<usize>,
    /// The reference there.
    pub expected: f64,
    /// What was found there.
    pub found: f64,
}

/// A tensor compared with its reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The largest deviation; none if there are no values.
    pub largest: Option<Deviation>,
    /// How large it may be.
    pub allowed: f64,
    /// The largest finite magnitude of the reference.
    pub magnitude: f64,
}

impl Comparison {
    /// Whether the largest deviation is within the tolerance.
    pub fn agrees(&self) -> bool {
        self.largest.as_ref().is_none_or(|largest| largest.size <= self.allowed)
    }
}

/// Compares `found` with `expected` value by value, in f64.
///
/// Two NaN at one place agree, as do two equal infinities.
///
/// ```
/// use gatefold_models::{Data, Tensor, Tolerance, compare};
///
/// let tensor = |values: &[f32]| Tensor::new(vec![2, 2], Data::F32(values.to_vec()));
/// let (expected, found) = (tensor(&[1.0, 2.0, 3.0, 4.0])?, tensor(&[1.0, 2.0, 3.5, 4.0])?);
/// let comparison = compare(&expected, &found, Tolerance::default())?;
/// assert!(!comparison.agrees());
/// let largest = comparison.largest.unwrap();
/// assert_eq!((largest.size, largest.index), (0.5, vec![1, 0]));
/// # Ok::<(), gatefold_models::Error>(())
/// ```
///
/// # Errors
/// If the shapes differ.
pub fn compare(expected: &Tensor, found: &Tensor, tolerance: Tolerance) -> Result<Comparison> {
    if expected.shape() != found.shape() {
        let shapes = [expected, found].map(|tensor| format!("{:?}", tensor.shape()));
        return Err(Error::malformed("shape", &shapes[0], &shapes[1]));
    }
    let magnitude = expected.as_f64().map(f64::abs).filter(|size| size.is_finite()).fold(0.0, f64::max);
    let deviations =
        expected.as_f64().zip(found.as_f64()).map(|(expected, found)| (deviation(expected, found), expected, found));
    let largest = deviations.enumerate().reduce(|most, next| if next.1.0 > most.1.0 { next } else { most });
    let largest = largest.map(|(place, (size, e, f))| Deviation {
        size,
        index: index(expected.shape(), place),
        expected: e,
        found: f,
    });
    Ok(Comparison { largest, allowed: tolerance.relative * magnitude + tolerance.absolute, magnitude })
}

fn deviation(expected: f64, found: f64) -> f64 {
    let same = expected == found || (expected.is_nan() && found.is_nan());
    let size = (expected - found).abs();
    match same {
        true => 0.0,
        false if size.is_nan() => f64::INFINITY,
        false => size,
    }
}

/// The index of the value at `place` in row-major order.
fn index(shape: &[usize], mut place: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (at, &size) in index.iter_mut().zip(shape).rev() {
        (place, *at) = (place / size, place % size);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Data;

    fn of(values: &[f64]) -> Tensor {
        Tensor::new(vec![values.len()], Data::F64(values.to_vec())).unwrap()
    }

    #[test]
    fn values_that_are_no_numbers_agree_with_their_like_alone() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let agree = |a: &[f64], b: &[f64]| compare(&of(a), &of(b), Tolerance::default()).unwrap().agrees();
        assert!(agree(&[nan, inf, 1.0], &[nan, inf, 1.0]));
        for (expected, found) in [(nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, inf), (inf, -inf), (nan, inf)] {
            assert!(!agree(&[expected, 1.0], &[found, 1.0]), "{expected} {found}");
        }
        // A magnitude that is infinite allows no deviation elsewhere.
        assert!(!agree(&[inf, 1.0], &[inf, 1.1]));
    }

    #[test]
    fn the_tolerance_is_of_the_largest_magnitude() {
        let tolerance = Tolerance { relative: 0.01, absolute: 0.5 };
        let agree = |found| compare(&of(&[100.0, 0.0]), &of(&[100.0, found]), tolerance).unwrap().agrees();
        assert!(agree(1.5) && agree(-1.5) && !agree(1.51) && !agree(-1.51));
        assert!(compare(&of(&[]), &of(&[]), tolerance).unwrap().agrees());
        assert!(compare(&of(&[1.0]), &of(&[1.0, 2.0]), tolerance).is_err());
    }
}
