//! Views of sequences: `[T, N, C]` or `[N, T, C]`, a matter of strides; nothing is copied.
//!
//! T is time, N the batch, C the channels: I input features, or H hidden units.
//!
//! ```
//! use gatefold::seq::{SeqRef, SeqShape, batch_major, time_major};
//!
//! let data = [0.0, 0.1, 1.0, 1.1, 2.0, 2.1]; // T = 3, N = 1, C = 2
//! assert_eq!(time_major(&data, [3, 1, 2])?.row(2, 0), Some(&[2.0, 2.1][..]));
//! assert_eq!(batch_major(&data, [3, 1, 2])?.row(0, 2), Some(&[2.0, 2.1][..])); // N = 3, T = 1
//!
//! // Any other strides: every second timestep.
//! let shape = SeqShape { time: 2, time_stride: 4, ..SeqShape::time_major(3, 1, 2) };
//! assert_eq!(SeqRef::new(&data, shape)?.row(1, 0), Some(&[2.0, 2.1][..]));
//!
//! let error = time_major(&data, [3, 2, 2]).unwrap_err();
//! assert_eq!(error.to_string(), "data: expected 12 values, found 6");
//! # Ok::<(), gatefold::Error>(())
//! ```

pub use gatefold_kernels::mat::{MatMut, MatRef};
pub use gatefold_kernels::seq::{SeqMut, SeqRef, SeqShape};

use crate::error::{Error, Result};

/// All of `data` as `[T, N, C]`.
///
/// # Errors
/// [`Error::Shape`] for `data` if it is not T*N*C values long, [`Error::TooLarge`] if T*N*C cannot be counted.
pub fn time_major<T>(data: &[T], [time, batch, channels]: [usize; 3]) -> Result<SeqRef<'_, T>> {
    exact([time, batch, channels], data.len())?;
    Ok(SeqRef::new(data, SeqShape::time_major(time, batch, channels))?)
}

/// All of `data` as `[N, T, C]`.
///
/// # Errors
/// As [`time_major`].
pub fn batch_major<T>(data: &[T], [batch, time, channels]: [usize; 3]) -> Result<SeqRef<'_, T>> {
    exact([time, batch, channels], data.len())?;
    Ok(SeqRef::new(data, SeqShape::batch_major(batch, time, channels))?)
}

/// All of `data` as `[T, N, C]`, to be written.
///
/// # Errors
/// As [`time_major`].
pub fn time_major_mut<T>(data: &mut [T], [time, batch, channels]: [usize; 3]) -> Result<SeqMut<'_, T>> {
    exact([time, batch, channels], data.len())?;
    Ok(SeqMut::new(data, SeqShape::time_major(time, batch, channels))?)
}

/// All of `data` as `[N, T, C]`, to be written.
///
/// # Errors
/// As [`time_major`].
pub fn batch_major_mut<T>(data: &mut [T], [batch, time, channels]: [usize; 3]) -> Result<SeqMut<'_, T>> {
    exact([time, batch, channels], data.len())?;
    Ok(SeqMut::new(data, SeqShape::batch_major(batch, time, channels))?)
}

/// All of `data` as ONNX' Y `[T, 2, N, H]`, to be written: the forward direction and the backward one.
///
/// # Errors
/// As [`time_major`].
pub fn directions_mut<T>(data: &mut [T], [time, batch, hidden]: [usize; 3]) -> Result<[SeqMut<'_, T>; 2]> {
    let rows = batch.checked_mul(2).ok_or(Error::TooLarge { argument: "data" })?;
    let (forward, backward) = time_major_mut(data, [time, rows, hidden])?.split_batch(batch)?;
    Ok([forward, backward])
}

fn exact(sizes: [usize; 3], found: usize) -> Result<()> {
    match product(&sizes) {
        Some(expected) if expected == found => Ok(()),
        Some(expected) => Err(Error::Shape { argument: "data", expected, found }),
        None => Err(Error::TooLarge { argument: "data" }),
    }
}

/// The product of sizes, if it can be counted; 0 wherever one of them is.
pub(crate) fn product(sizes: &[usize]) -> Option<usize> {
    if sizes.contains(&0) {
        return Some(0);
    }
    sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
}

/// Whether timesteps of one row stand closer than rows: `[N, T, C]` rather than `[T, N, C]`.
pub(crate) fn is_batch_major(shape: SeqShape) -> bool {
    shape.time_stride < shape.batch_stride
}
