//! An array as a file holds it.

mod bytes;
mod layout;

pub(crate) use bytes::ByteOrder;
pub(crate) use layout::row_major_strides;

use crate::error::{Error, Result};
use std::borrow::Cow;
use std::fmt;

/// A dense array in row-major order, whose number of values is the product of its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    dtype: Dtype,
    data: Data,
}

/// The element type that the file stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the type of its name")]
pub enum Dtype {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
}

/// The values of a [`Tensor`]. Those stored as f16 and bf16 are widened to f32, which is exact.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is a vector of the type of its name")]
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
}

impl Tensor {
    /// `data` in `shape`; the dtype is that of the data.
    ///
    /// # Errors
    /// If the shape has another number of values than `data`.
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Self> {
        if element_count(&shape) != Some(data.len()) {
            return Err(Error::malformed("data", format_args!("the values of shape {shape:?}"), data.len()));
        }
        let dtype = data.dtype();
        Ok(Tensor { shape, dtype, data })
    }

    /// The sizes, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type that the file stored, which [`data`](Self::data) has widened if it is f16 or bf16.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The values in row-major order.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there is no value, as when a size is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as f32: borrowed if they are, f64 rounded to nearest.
    ///
    /// # Errors
    /// If they are integers, or a finite f64 is beyond f32.
    pub fn to_f32(&self) -> Result<Cow<'_, [f32]>> {
        match &self.data {
            Data::F32(values) => Ok(Cow::Borrowed(values)),
            Data::F64(values) => {
                let narrow: Vec<f32> = values.iter().map(|&v| v as f32).collect();
                match narrow.iter().zip(values).find(|(n, v)| n.is_infinite() && v.is_finite()) {
                    Some((_, v)) => Err(Error::malformed("value", "the range of f32", v)),
                    None => Ok(Cow::Owned(narrow)),
                }
            }
            _ => Err(self.wrong_dtype("floating-point values")),
        }
    }

    /// The values as f64: borrowed if they are, f32 widened.
    ///
    /// # Errors
    /// If they are integers.
    pub fn to_f64(&self) -> Result<Cow<'_, [f64]>> {
        match &self.data {
            Data::F32(values) => Ok(Cow::Owned(values.iter().map(|&v| v.into()).collect())),
            Data::F64(values) => Ok(Cow::Borrowed(values)),
            _ => Err(self.wrong_dtype("floating-point values")),
        }
    }

    /// The values as i64: borrowed if they are, other integers widened, false and true as 0 and 1.
    ///
    /// # Errors
    /// If they are floating-point values, or a u64 is beyond i64.
    pub fn to_i64(&self) -> Result<Cow<'_, [i64]>> {
        fn widen<T: Copy + Into<i64>>(values: &[T]) -> Result<Cow<'static, [i64]>> {
            Ok(Cow::Owned(values.iter().map(|&v| v.into()).collect()))
        }
        match &self.data {
            Data::I64(values) => Ok(Cow::Borrowed(values)),
            Data::I8(values) => widen(values),
            Data::I16(values) => widen(values),
            Data::I32(values) => widen(values),
            Data::U8(values) => widen(values),
            Data::U16(values) => widen(values),
            Data::U32(values) => widen(values),
            Data::Bool(values) => widen(values),
            Data::U64(values) => {
                let value = |&v| i64::try_from(v).map_err(|_| Error::malformed("value", "the range of i64", v));
                values.iter().map(value).collect::<Result<_>>().map(Cow::Owned)
            }
            Data::F32(_) | Data::F64(_) => Err(self.wrong_dtype("integers")),
        }
    }

    fn wrong_dtype(&self, expected: &str) -> Error {
        Error::malformed("dtype", expected, self.dtype)
    }
}

impl Data {
    /// The type of the values here, where f16 and bf16 have become f32.
    pub fn dtype(&self) -> Dtype {
        match self {
            Data::F32(_) => Dtype::F32,
            Data::F64(_) => Dtype::F64,
            Data::I8(_) => Dtype::I8,
            Data::I16(_) => Dtype::I16,
            Data::I32(_) => Dtype::I32,
            Data::I64(_) => Dtype::I64,
            Data::U8(_) => Dtype::U8,
            Data::U16(_) => Dtype::U16,
            Data::U32(_) => Dtype::U32,
            Data::U64(_) => Dtype::U64,
            Data::Bool(_) => Dtype::Bool,
        }
    }

    fn len(&self) -> usize {
        match self {
            Data::F32(values) => values.len(),
            Data::F64(values) => values.len(),
            Data::I8(values) => values.len(),
            Data::I16(values) => values.len(),
            Data::I32(values) => values.len(),
            Data::I64(values) => values.len(),
            Data::U8(values) => values.len(),
            Data::U16(values) => values.len(),
            Data::U32(values) => values.len(),
            Data::U64(values) => values.len(),
            Data::Bool(values) => values.len(),
        }
    }
}

impl Dtype {
    /// Bytes of a stored value.
    pub fn size(self) -> usize {
        match self {
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
            Dtype::F16 | Dtype::Bf16 | Dtype::I16 | Dtype::U16 => 2,
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
            Dtype::F64 | Dtype::I64 | Dtype::U64 => 8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::I8 => "i8",
            Dtype::I16 => "i16",
            Dtype::I32 => "i32",
            Dtype::I64 => "i64",
            Dtype::U8 => "u8",
            Dtype::U16 => "u16",
            Dtype::U32 => "u32",
            Dtype::U64 => "u64",
            Dtype::Bool => "bool",
        })
    }
}

/// More axes than any of the formats' own libraries have.
pub(crate) const MAX_RANK: usize = 64;

/// The number of values of a shape; none if its other sizes than 0 have a product that cannot be addressed, or it has
/// more than [`MAX_RANK`] axes.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    if shape.len() > MAX_RANK {
        return None;
    }
    let sized = shape.iter().filter(|&&size| size > 0).try_fold(1_usize, |count, &size| count.checked_mul(size))?;
    let count = if shape.contains(&0) { 0 } else { sized };
    // The widest value has 8 bytes.
    (sized <= isize::MAX as usize / 8).then_some(count)
}
