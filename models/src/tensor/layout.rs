//! Arrays made of other arrays: strided views, transposes, concatenations, conversions.

use super::{Data, Dtype, Tensor, element_count};
use crate::error::{Error, Result};
use half::{bf16, f16};

/// The variant of `$data` with `$body` of its vector `$values`.
macro_rules! map_values {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            Data::F32($values) => Data::F32($body),
            Data::F64($values) => Data::F64($body),
            Data::I8($values) => Data::I8($body),
            Data::I16($values) => Data::I16($body),
            Data::I32($values) => Data::I32($body),
            Data::I64($values) => Data::I64($body),
            Data::U8($values) => Data::U8($body),
            Data::U16($values) => Data::U16($body),
            Data::U32($values) => Data::U32($body),
            Data::U64($values) => Data::U64($body),
            Data::Bool($values) => Data::Bool($body),
        }
    };
}
impl Tensor {
    /// The same values in another shape of as many.
    pub(crate) fn reshaped(self, shape: Vec<usize>) -> Result<Self> {
        if element_count(&shape) != Some(self.len()) {
            let expected = format_args!("one of {} values", self.len());
            return Err(Error::malformed("shape", expected, format_args!("{shape:?}")));
        }
        Ok(Tensor { shape, ..self })
    }

    /// What stands at `offset` and from there on every `strides[k]` values along axis `k`, copied.
    ///
    /// The caller bounds the number of values of `shape`; the places are checked here.
    pub(crate) fn strided(&self, shape: Vec<usize>, offset: usize, strides: &[isize]) -> Result<Self> {
        let outside = || {
            let found = format_args!("offset {offset}, strides {strides:?} and shape {shape:?}");
            Error::malformed("strides", format_args!("places inside of {} values", self.len()), found)
        };
        let count = element_count(&shape).filter(|_| shape.len() == strides.len()).ok_or_else(outside)?;
        if count > 0 {
            let (mut first, mut last) = (offset as i128, offset as i128);
            for (&size, &stride) in shape.iter().zip(strides) {
                let reach = (size as i128 - 1) * stride as i128;
                *(if reach < 0 { &mut first } else { &mut last }) += reach;
            }
            if first < 0 || last >= self.len() as i128 {
                return Err(outside());
            }
        }
        let data = map_values!(&self.data, values => pick(values, count, &shape, offset, strides));
        Ok(Tensor { shape, dtype: self.dtype, data })
    }

    /// The axes in the order of `axes`, which must hold each once.
    pub(crate) fn transposed(&self, axes: &[usize]) -> Result<Self> {
        let rank = self.shape.len();
        if axes.len() != rank || !(0..rank).all(|axis| axes.contains(&axis)) {
            return Err(Error::malformed("axes", format_args!("each of {rank} once"), format_args!("{axes:?}")));
        }
        let strides = row_major_strides(&self.shape);
        let shape = axes.iter().map(|&axis| self.shape[axis]).collect();
        self.strided(shape, 0, &axes.iter().map(|&axis| strides[axis]).collect::<Vec<_>>())
    }

    /// `parts`, of the same dtype, one behind the other along `axis`.
    pub(crate) fn concatenated(parts: &[Tensor], axis: usize) -> Result<Self> {
        let differ = || {
            let found: Vec<_> = parts.iter().map(|part| (part.dtype, &part.shape)).collect();
            Error::malformed(
                "parts",
                format_args!("arrays alike but for the size of axis {axis}"),
                format_args!("{found:?}"),
            )
        };
        let first = parts.first().filter(|first| axis < first.shape.len()).ok_or_else(differ)?;
        let alike = |part: &Tensor| {
            let rest = |shape: &[usize]| [&shape[..axis], &shape[axis + 1..]].concat();
            part.dtype == first.dtype
                && part.shape.len() == first.shape.len()
                && rest(&part.shape) == rest(&first.shape)
        };
        if !parts.iter().all(alike) {
            return Err(differ());
        }
        let mut shape = first.shape.clone();
        let size = parts.iter().try_fold(0_usize, |size, part| size.checked_add(part.shape[axis]));
        shape[axis] = size.ok_or_else(differ)?;
        element_count(&shape).ok_or_else(differ)?;
        let rows = shape[..axis].iter().product();
        let mut data = map_values!(&first.data, _values => Vec::new());
        for row in 0..rows {
            for part in parts {
                let len = part.len() / rows;
                data.extend(&part.data, row * len..(row + 1) * len);
            }
        }
        Ok(Tensor { shape, dtype: first.dtype, data })
    }

    /// The values converted to a floating-point type, rounded to nearest, or to i32 or i64 if they are integers.
    pub(crate) fn cast(&self, dtype: Dtype) -> Result<Self> {
        let data = match dtype {
            Dtype::F32 => Data::F32(self.as_f64().map(|v| v as f32).collect()),
            Dtype::F64 => Data::F64(self.as_f64().collect()),
            Dtype::F16 => Data::F32(self.as_f64().map(|v| f16::from_f64(v).to_f32()).collect()),
            Dtype::Bf16 => Data::F32(self.as_f64().map(|v| bf16::from_f64(v).to_f32()).collect()),
            Dtype::I64 => Data::I64(self.to_i64()?.into_owned()),
            Dtype::I32 => {
                let narrow = |&v: &i64| i32::try_from(v).map_err(|_| Error::malformed("value", "the range of i32", v));
                Data::I32(self.to_i64()?.iter().map(narrow).collect::<Result<_>>()?)
            }
            _ => return Err(Error::unsupported("", format_args!("conversion from {} to {dtype}", self.dtype))),
        };
        Ok(Tensor { shape: self.shape.clone(), dtype, data })
    }

    /// Every value as f64, integers beyond 2^53 rounded.
    pub(crate) fn as_f64(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match &self.data {
            Data::F32(values) => Box::new(values.iter().map(|&v| v.into())),
            Data::F64(values) => Box::new(values.iter().copied()),
            Data::I8(values) => Box::new(values.iter().map(|&v| v.into())),
            Data::I16(values) => Box::new(values.iter().map(|&v| v.into())),
            Data::I32(values) => Box::new(values.iter().map(|&v| v.into())),
            Data::I64(values) => Box::new(values.iter().map(|&v| v as f64)),
            Data::U8(values) => Box::new(values.iter().map(|&v| v.into())),
            Data::U16(values) => Box::new(values.iter().map(|&v| v.into())),
            Data::U32(values) => Box::new(values.iter().map(|&v| v.into())),
            Data::U64(values) => Box::new(values.iter().map(|&v| v as f64)),
            Data::Bool(values) => Box::new(values.iter().map(|&v| u8::from(v).into())),
        }
    }
}

impl Data {
    /// Appends the values of `range` of `other`, if it is of the same type.
    fn extend(&mut self, other: &Data, range: std::ops::Range<usize>) {
        match (self, other) {
            (Data::F32(to), Data::F32(from)) => to.extend_from_slice(&from[range]),
            (Data::F64(to), Data::F64(from)) => to.extend_from_slice(&from[range]),
            (Data::I8(to), Data::I8(from)) => to.extend_from_slice(&from[range]),
            (Data::I16(to), Data::I16(from)) => to.extend_from_slice(&from[range]),
            (Data::I32(to), Data::I32(from)) => to.extend_from_slice(&from[range]),
            (Data::I64(to), Data::I64(from)) => to.extend_from_slice(&from[range]),
            (Data::U8(to), Data::U8(from)) => to.extend_from_slice(&from[range]),
            (Data::U16(to), Data::U16(from)) => to.extend_from_slice(&from[range]),
            (Data::U32(to), Data::U32(from)) => to.extend_from_slice(&from[range]),
            (Data::U64(to), Data::U64(from)) => to.extend_from_slice(&from[range]),
            (Data::Bool(to), Data::Bool(from)) => to.extend_from_slice(&from[range]),
            _ => {}
        }
    }
}

/// The strides of an array of `shape` without gaps, the last axis being the densest.
pub(crate) fn row_major_strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1) as isize;
    }
    strides
}

/// The `count` values of a checked view.
fn pick<T: Copy>(values: &[T], count: usize, shape: &[usize], offset: usize, strides: &[isize]) -> Vec<T> {
    let mut picked = Vec::with_capacity(count);
    let mut index = vec![0; shape.len()];
    let mut at = offset as isize;
    while picked.len() < count {
        picked.push(values[at as usize]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            // An axis of size 1 may have any stride: what is added there is taken back.
            at = at.wrapping_add(strides[axis]);
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
            at = at.wrapping_sub(strides[axis].wrapping_mul(shape[axis] as isize));
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>() as i32;
        Tensor::new(shape.to_vec(), Data::I32((0..count).collect())).unwrap()
    }

    #[test]
    fn transposes_move_each_value_to_its_place() {
        let original = counted(&[2, 3, 4]);
        let turned = original.transposed(&[2, 0, 1]).unwrap();
        let (Data::I32(from), Data::I32(to)) = (original.data(), turned.data()) else { panic!() };
        assert_eq!(turned.shape(), [4, 2, 3]);
        for i in 0..2 {
            for j in 0..3 {
                for k in 0..4 {
                    assert_eq!(to[(k * 2 + i) * 3 + j], from[(i * 3 + j) * 4 + k]);
                }
            }
        }
        for axes in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3], &[0, 1, 2, 0]] {
            assert!(original.transposed(axes).is_err(), "{axes:?}");
        }
    }

    #[test]
    fn views_stay_inside() {
        let values = counted(&[6]);
        let view = |shape: &[usize], offset, strides: &[isize]| values.strided(shape.to_vec(), offset, strides);
        assert_eq!(view(&[2, 2], 1, &[3, 1]).unwrap().data(), &Data::I32(vec![1, 2, 4, 5]));
        assert_eq!(view(&[3], 5, &[-2]).unwrap().data(), &Data::I32(vec![5, 3, 1]));
        assert_eq!(view(&[2, 2], 1, &[0, 1]).unwrap().data(), &Data::I32(vec![1, 2, 1, 2]));
        assert_eq!(view(&[], 3, &[]).unwrap().data(), &Data::I32(vec![3]));
        assert_eq!(view(&[1, 2], 3, &[isize::MAX, 1]).unwrap().data(), &Data::I32(vec![3, 4]));
        assert_eq!(view(&[0, 9], 99, &[7, 7]).unwrap().len(), 0);
        for (shape, offset, strides) in [
            (&[7][..], 0, &[1][..]),
            (&[1], 6, &[1]),
            (&[2], 0, &[-1]),
            (&[2, 2], 0, &[isize::MAX, isize::MAX]),
            (&[usize::MAX, usize::MAX], 0, &[0, 0]),
            (&[2], 0, &[1, 1]),
        ] {
            assert!(view(shape, offset, strides).is_err(), "{shape:?} {offset} {strides:?}");
        }
    }

    #[test]
    fn parts_are_joined_along_an_axis() {
        let parts = [counted(&[2, 1]), counted(&[2, 2])];
        let joined = Tensor::concatenated(&parts, 1).unwrap();
        assert_eq!((joined.shape(), joined.data()), (&[2, 3][..], &Data::I32(vec![0, 0, 1, 1, 2, 3])));
        assert!(Tensor::concatenated(&parts, 0).is_err());
        assert!(Tensor::concatenated(&parts, 2).is_err());
        assert!(Tensor::concatenated(&[], 0).is_err());
        assert!(Tensor::concatenated(&[counted(&[2]), counted(&[2]).cast(Dtype::I64).unwrap()], 0).is_err());
    }

    #[test]
    fn values_are_converted_or_refused() {
        let values = Tensor::new(vec![2], Data::F64(vec![1.0 / 3.0, 1e300])).unwrap();
        assert_eq!(values.cast(Dtype::F32).unwrap().data(), &Data::F32(vec![1.0_f32 / 3.0, f32::INFINITY]));
        assert_eq!(values.cast(Dtype::F16).unwrap().data(), &Data::F32(vec![0.333_251_95, f32::INFINITY]));
        assert!(values.cast(Dtype::I64).is_err());
        assert!(values.to_f32().is_err(), "1e300 is no f32");
        let wide = Tensor::new(vec![1], Data::I64(vec![1 << 40])).unwrap();
        assert!(wide.cast(Dtype::I32).is_err());
        assert!(wide.to_f32().is_err() && wide.to_f64().is_err());
        assert_eq!(wide.to_i64().unwrap()[..], [1 << 40]);
    }
}
