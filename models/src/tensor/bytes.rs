//! Stored bytes to values and back.

use super::{Data, Dtype, Tensor, element_count};
use crate::error::{Error, Result};
use half::{bf16, f16};

/// The order of the bytes of a stored value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}
impl Tensor {
    /// The array of `shape` that `bytes` hold, and nothing else.
    pub(crate) fn from_bytes(dtype: Dtype, shape: Vec<usize>, bytes: &[u8], order: ByteOrder) -> Result<Self> {
        if element_count(&shape).and_then(|n| n.checked_mul(dtype.size())) != Some(bytes.len()) {
            let expected = format_args!("the bytes of {dtype} values of shape {shape:?}");
            return Err(Error::malformed("data", expected, format_args!("{} bytes", bytes.len())));
        }
        let data = match dtype {
            Dtype::F16 => Data::F32(decode(bytes, order, |b| f16::from_le_bytes(b).to_f32())),
            Dtype::Bf16 => Data::F32(decode(bytes, order, |b| bf16::from_le_bytes(b).to_f32())),
            Dtype::F32 => Data::F32(decode(bytes, order, f32::from_le_bytes)),
            Dtype::F64 => Data::F64(decode(bytes, order, f64::from_le_bytes)),
            Dtype::I8 => Data::I8(decode(bytes, order, i8::from_le_bytes)),
            Dtype::I16 => Data::I16(decode(bytes, order, i16::from_le_bytes)),
            Dtype::I32 => Data::I32(decode(bytes, order, i32::from_le_bytes)),
            Dtype::I64 => Data::I64(decode(bytes, order, i64::from_le_bytes)),
            Dtype::U8 => Data::U8(bytes.to_vec()),
            Dtype::U16 => Data::U16(decode(bytes, order, u16::from_le_bytes)),
            Dtype::U32 => Data::U32(decode(bytes, order, u32::from_le_bytes)),
            Dtype::U64 => Data::U64(decode(bytes, order, u64::from_le_bytes)),
            Dtype::Bool => Data::Bool(bytes.iter().map(|&b| b != 0).collect()),
        };
        Ok(Tensor { shape, dtype, data })
    }
}
impl Data {
    /// The values in little-endian order, of the type [`dtype`](Self::dtype).
    pub(crate) fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Data::F32(values) => encode(values, f32::to_le_bytes),
            Data::F64(values) => encode(values, f64::to_le_bytes),
            Data::I8(values) => encode(values, i8::to_le_bytes),
            Data::I16(values) => encode(values, i16::to_le_bytes),
            Data::I32(values) => encode(values, i32::to_le_bytes),
            Data::I64(values) => encode(values, i64::to_le_bytes),
            Data::U8(values) => values.clone(),
            Data::U16(values) => encode(values, u16::to_le_bytes),
            Data::U32(values) => encode(values, u32::to_le_bytes),
            Data::U64(values) => encode(values, u64::to_le_bytes),
            Data::Bool(values) => values.iter().map(|&v| v.into()).collect(),
        }
    }
}

fn decode<T, const N: usize>(bytes: &[u8], order: ByteOrder, value: impl Fn([u8; N]) -> T) -> Vec<T> {
    let stored = bytes.as_chunks().0.iter().copied();
    match order {
        ByteOrder::Little => stored.map(value).collect(),
        ByteOrder::Big => {
            let reversed = stored.map(|mut b| {
                b.reverse();
                b
            });
            reversed.map(value).collect()
        }
    }
}

fn encode<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(values.len() * N);
    values.iter().for_each(|&v| encoded.extend_from_slice(&bytes(v)));
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(dtype: Dtype, bytes: &[u8], order: ByteOrder) -> Data {
        let shape = vec![bytes.len() / dtype.size()];
        Tensor::from_bytes(dtype, shape, bytes, order).unwrap().data
    }

    #[test]
    fn every_half_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let Data::F32(wide) = values(Dtype::F16, &bits.to_le_bytes(), ByteOrder::Little) else { panic!() };
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let magnitude = match exponent {
                31 if fraction > 0.0 => f64::NAN,
                31 => f64::INFINITY,
                0 => fraction * 2_f64.powi(-24),
                _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
            };
            let expected = if bits >> 15 == 1 { -magnitude } else { magnitude };
            assert!(
                f64::from(wide[0]).total_cmp(&expected).is_eq() || wide[0].is_nan() && expected.is_nan(),
                "{bits:x}"
            );
            let Data::F32(wide) = values(Dtype::Bf16, &bits.to_le_bytes(), ByteOrder::Little) else { panic!() };
            let expected = f32::from_bits(u32::from(bits) << 16);
            assert!(wide[0].to_bits() == expected.to_bits() || wide[0].is_nan() && expected.is_nan(), "{bits:x}");
        }
    }

    #[test]
    fn both_byte_orders_are_read() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(values(Dtype::U16, &bytes, ByteOrder::Big), Data::U16(vec![0x0102, 0x0304, 0x0506, 0x0708]));
        assert_eq!(values(Dtype::U32, &bytes, ByteOrder::Little), Data::U32(vec![0x0403_0201, 0x0807_0605]));
        assert_eq!(values(Dtype::I64, &bytes, ByteOrder::Big), Data::I64(vec![0x0102_0304_0506_0708]));
        assert_eq!(values(Dtype::F32, &1.5_f32.to_be_bytes(), ByteOrder::Big), Data::F32(vec![1.5]));
    }

    #[test]
    fn written_bytes_are_read_back() {
        let bytes: Vec<u8> = (0..16).map(|b| b * 7).collect();
        let types = [Dtype::F32, Dtype::F64, Dtype::I8, Dtype::I16, Dtype::I32, Dtype::I64, Dtype::U8, Dtype::U16];
        for dtype in types.into_iter().chain([Dtype::U32, Dtype::U64]) {
            assert_eq!(values(dtype, &bytes, ByteOrder::Little).to_le_bytes(), bytes, "{dtype}");
        }
        assert_eq!(values(Dtype::Bool, &[0, 1, 2], ByteOrder::Little).to_le_bytes(), [0, 1, 1]);
    }

    #[test]
    fn a_wrong_number_of_bytes_is_refused() {
        for (shape, len) in [(vec![2], 7), (vec![2], 9), (vec![], 0), (vec![0], 4), (vec![usize::MAX, 2], 4)] {
            assert!(Tensor::from_bytes(Dtype::F32, shape, &vec![0; len], ByteOrder::Little).is_err());
        }
    }
}
