//! The weights of ONNX Runtime's `DynamicQuantizeLSTM`, from integers back to numbers.

use crate::error::{Error, Result};
use crate::tensor::{Data, Dtype, Tensor};

/// `(quantized - zero_point) * scale` in f32, in the layout of the plain operator.
///
/// The integers are `[D, I, 4*H]`, transposed against `W` of an `LSTM`, as 8 bits with or without sign. Scales and zero
/// points are one for each direction, `[D]`, or one for each of its columns, `[D, 4*H]`.
pub(super) fn weights(quantized: &Tensor, scale: &Tensor, zero_point: &Tensor) -> Result<Tensor> {
    let &[directions, inputs, columns] = quantized.shape() else {
        return Err(Error::malformed("shape", "three sizes", format_args!("{:?}", quantized.shape())));
    };
    for (name, dtype) in [("quantized", quantized.dtype()), ("zero point", zero_point.dtype())] {
        if ![Dtype::I8, Dtype::U8].contains(&dtype) || dtype != quantized.dtype() {
            return Err(Error::malformed(name, "i8 or u8, both alike", dtype));
        }
    }
    let per_column = match (scale.shape(), zero_point.shape()) {
        (&[d], &[z]) if d == directions && z == directions => false,
        (&[d, c], &[z, k]) if [d, z] == [directions; 2] && [c, k] == [columns; 2] => true,
        (found, _) => {
            let expected = format_args!("[{directions}] or [{directions}, {columns}], both alike");
            return Err(Error::malformed("scale and zero point: shape", expected, format_args!("{found:?}")));
        }
    };
    let scales = scale.to_f32()?;
    let (values, zeros) = (quantized.to_i64()?, zero_point.to_i64()?);
    let number = |(index, &value): (usize, &i64)| {
        let (direction, column) = (index / (inputs * columns), index % columns);
        let at = if per_column { direction * columns + column } else { direction };
        // The difference of two bytes is exact in f32.
        (value - zeros[at]) as f32 * scales[at]
    };
    let numbers = values.iter().enumerate().map(number).collect();
    Tensor::new(vec![directions, inputs, columns], Data::F32(numbers))?.transposed(&[0, 2, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_become_numbers_of_the_plain_layout() {
        let quantized = Tensor::new(vec![1, 2, 3], Data::U8(vec![0, 1, 2, 128, 254, 255])).unwrap();
        let scale = Tensor::new(vec![1], Data::F32(vec![0.5])).unwrap();
        let zero = Tensor::new(vec![1], Data::U8(vec![128])).unwrap();
        let plain = weights(&quantized, &scale, &zero).unwrap();
        assert_eq!(plain.shape(), [1, 3, 2]);
        assert_eq!(plain.data(), &Data::F32(vec![-64.0, 0.0, -63.5, 63.0, -63.0, 63.5]));

        let quantized = Tensor::new(vec![2, 1, 2], Data::I8(vec![1, 2, 3, 4])).unwrap();
        let scale = Tensor::new(vec![2, 2], Data::F32(vec![1.0, 10.0, 100.0, 1000.0])).unwrap();
        let zero = Tensor::new(vec![2, 2], Data::I8(vec![0, 1, 0, -1])).unwrap();
        let plain = weights(&quantized, &scale, &zero).unwrap();
        assert_eq!(plain.data(), &Data::F32(vec![1.0, 10.0, 300.0, 5000.0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let quantized = Tensor::new(vec![1, 1, 2], Data::U8(vec![0, 1])).unwrap();
        let scale =
            |shape: &[usize]| Tensor::new(shape.to_vec(), Data::F32(vec![1.0; shape.iter().product()])).unwrap();
        let zero = |shape: &[usize]| Tensor::new(shape.to_vec(), Data::U8(vec![1; shape.iter().product()])).unwrap();
        assert!(weights(&quantized, &scale(&[1]), &zero(&[1])).is_ok());
        assert!(weights(&quantized, &scale(&[2]), &zero(&[2])).is_err());
        assert!(weights(&quantized, &scale(&[1, 2]), &zero(&[1])).is_err());
        assert!(weights(&quantized, &scale(&[1, 1]), &zero(&[1, 1])).is_err());
        assert!(weights(&quantized, &zero(&[1]), &zero(&[1])).is_err());
        let signed = Tensor::new(vec![1], Data::I8(vec![1])).unwrap();
        assert!(weights(&quantized, &scale(&[1]), &signed).is_err());
    }
}
