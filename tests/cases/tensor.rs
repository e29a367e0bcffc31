//! Arrays with a shape, and their comparison.

use safetensors::{Dtype, tensor::TensorView};

/// An array, row by row. Values of f32 are exact in f64, and so are the integers that occur.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    pub values: Vec<f64>,
}

impl Tensor {
    pub fn new(view: &TensorView<'_>) -> Tensor {
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F32 => decode(bytes, |b| f64::from(f32::from_le_bytes(b))),
            Dtype::F64 => decode(bytes, f64::from_le_bytes),
            Dtype::I64 => decode(bytes, |b| i64::from_le_bytes(b) as f64),
            Dtype::I32 => decode(bytes, |b| f64::from(i32::from_le_bytes(b))),
            Dtype::U8 => bytes.iter().map(|&b| f64::from(b)).collect(),
            other => panic!("tensors of {other:?} are not read here"),
        };
        Tensor { shape: view.shape().to_vec(), dtype: view.dtype(), values }
    }

    /// `[K, A, B]` from K tensors `[A, B]`.
    pub fn stack<'a>(parts: impl Iterator<Item = &'a Tensor>) -> Tensor {
        let parts: Vec<_> = parts.collect();
        assert!(parts.iter().all(|part| part.shape == parts[0].shape), "tensors of one shape");
        Tensor {
            shape: [&[parts.len()], &parts[0].shape[..]].concat(),
            dtype: parts[0].dtype,
            values: parts.iter().flat_map(|part| &part.values).copied().collect(),
        }
    }

    /// `[B, A, C]` from `[A, B, C]`.
    pub fn swap_outer(&self) -> Tensor {
        let &[a, b, c] = &self.shape[..] else { panic!("expected three axes, found {:?}", self.shape) };
        let row = |i: usize, j: usize| &self.values[(i * b + j) * c..][..c];
        let values = (0..b).flat_map(|j| (0..a).flat_map(move |i| row(i, j))).copied().collect();
        Tensor { shape: vec![b, a, c], dtype: self.dtype, values }
    }

    /// The indices of a value, such as `[3, 0, 7]`.
    fn index(&self, mut place: usize) -> Vec<usize> {
        let mut index = vec![0; self.shape.len()];
        for (i, size) in index.iter_mut().zip(&self.shape).rev() {
            (place, *i) = (place / size, place % size);
        }
        index
    }
}

pub fn decode<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (values, rest) = bytes.as_chunks::<N>();
    assert!(rest.is_empty());
    values.iter().map(|&b| value(b)).collect()
}

/// Compares value by value. The largest deviation allowed is `tolerance` times the largest magnitude expected anywhere in the
/// tensor. The error tells where the largest deviation is.
pub fn compare(name: &str, expected: &Tensor, found: &[f64], tolerance: f64) -> Result<(), String> {
    let values = &expected.values;
    if values.is_empty() || found.len() != values.len() {
        return Err(format!("{name}: expected {} values, at least 1, found {}", values.len(), found.len()));
    }
    if let Some(k) = values.iter().position(|v| !v.is_finite()) {
        return Err(format!("{name}{:?}: {} cannot be compared with", expected.index(k), values[k]));
    }
    let allowed = tolerance * values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    // abs leaves a NaN with a positive sign, and total_cmp puts that last.
    let deviations = values.iter().zip(found).map(|(e, f)| (f - e).abs());
    let (k, worst) = deviations.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).expect("not empty");
    if worst <= allowed {
        return Ok(());
    }
    let (index, e, f) = (expected.index(k), values[k], found[k]);
    Err(format!("{name}{index:?}: expected {e}, found {f}: off by {worst:.2e}, allowed are {allowed:.2e}"))
}
