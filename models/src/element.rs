//! The element types that models run in.

use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor};
use std::borrow::Cow;

/// `f32` or `f64`: what a model computes in, whatever its file stores.
pub trait Element: gatefold::Element {
    /// Every integer up to this is a value of the type.
    #[doc(hidden)]
    const EXACT_INTEGERS: i64;

    /// The floating-point values of `tensor`; see [`Tensor::to_f32`] and [`Tensor::to_f64`].
    ///
    /// # Errors
    /// If they are integers, or beyond the type.
    fn values(tensor: &Tensor) -> Result<Cow<'_, [Self]>>;

    /// The variant of [`Data`] that holds `values`.
    fn data(values: Vec<Self>) -> Data;
}

impl Element for f32 {
    const EXACT_INTEGERS: i64 = 1 << 24;

    fn values(tensor: &Tensor) -> Result<Cow<'_, [f32]>> {
        tensor.to_f32()
    }

    fn data(values: Vec<f32>) -> Data {
        Data::F32(values)
    }
}

impl Element for f64 {
    const EXACT_INTEGERS: i64 = 1 << 53;

    fn values(tensor: &Tensor) -> Result<Cow<'_, [f64]>> {
        tensor.to_f64()
    }

    fn data(values: Vec<f64>) -> Data {
        Data::F64(values)
    }
}

/// The values of `tensor`, integers and booleans converted where that is exact.
pub(crate) fn numbers<T: Element>(tensor: &Tensor) -> Result<Cow<'_, [T]>> {
    if let Data::F32(_) | Data::F64(_) = tensor.data() {
        return T::values(tensor);
    }
    let exact = |&value: &i64| match value.unsigned_abs() <= T::EXACT_INTEGERS.unsigned_abs() {
        true => Ok(T::from_f64(value as f64)),
        false => {
            let expected = format_args!("an integer of at most {} for this element type", T::EXACT_INTEGERS);
            Err(Error::malformed("value", expected, value))
        }
    };
    tensor.to_i64()?.iter().map(exact).collect::<Result<_>>().map(Cow::Owned)
}

/// `values` in `shape`.
pub(crate) fn tensor<T: Element>(shape: Vec<usize>, values: Vec<T>) -> Result<Tensor> {
    Tensor::new(shape, T::data(values))
}
