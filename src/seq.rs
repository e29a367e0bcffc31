//! Views of sequences: `[T, N, C]` or `[N, T, C]`, a matter of strides; nothing is copied.

pub use gatefold_kernels::mat::{MatMut, MatRef};
pub use gatefold_kernels::seq::{SeqMut, SeqRef, SeqShape};

use crate::error::{Error, Result};

/// All of `data` as `[T, N, C]`.
///
/// # Errors
/// [`Error::Shape`] for `data` if it is not T*N*C values long.
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
