//! Weights as Keras' layers hold them.
//!
//! Sources: the `build` and `call` methods of Keras 3's `SimpleRNNCell`, `LSTMCell` and `GRUCell`. Gate orders: LSTM
//! i, f, c, o; GRU z, r, h.

use super::{Sizes, Weights, expect, order};
use crate::cell::{Activation, Cell, Reset};
use crate::error::Result;
use gatefold_kernels::real::Real;

/// The arrays of a Keras layer, row by row, as `layer.get_weights()` lists them. G is the number of gates, H the
/// layer's `units`.
#[derive(Clone, Copy, Debug)]
pub struct Arrays<'a, T> {
    /// `kernel`: `[I, G*H]`.
    pub kernel: &'a [T],
    /// `recurrent_kernel`: `[H, G*H]`.
    pub recurrent_kernel: &'a [T],
    /// `bias`: `[G*H]`, but `[2, 3*H]` for a GRU with `reset_after=True`: first of the input, then of the recurrent
    /// product. `None` if `use_bias=False`.
    pub bias: Option<&'a [T]>,
}

/// The weights of a Keras `SimpleRNN` of `input` features and `units` hidden units. Copies each array once.
///
/// # Errors
/// [`Shape`](crate::Error::Shape) if an array is not as long as [`Arrays`] says, [`Zero`](crate::Error::Zero) or
/// [`TooLarge`](crate::Error::TooLarge) for `input` and `units`; named as Keras names them.
pub fn simple_rnn<T: Real>(
    input: usize,
    units: usize,
    activation: Activation,
    arrays: Arrays<'_, T>,
) -> Result<Weights<T>> {
    canonical(Cell::SimpleRnn { activation }, input, units, arrays)
}

/// The weights of a Keras `LSTM` of `input` features and `units` hidden units. Copies each array once.
///
/// # Errors
/// As [`simple_rnn`].
pub fn lstm<T: Real>(input: usize, units: usize, arrays: Arrays<'_, T>) -> Result<Weights<T>> {
    canonical(Cell::Lstm, input, units, arrays)
}

/// The weights of a Keras `GRU` of `input` features and `units` hidden units; `reset_after=True` is [`Reset::After`].
/// Copies each array once.
///
/// ```
/// use gatefold::cell::Reset;
/// use gatefold::weights::keras;
///
/// // I = 1, H = 1: Keras' gate order is z, r, h; the canonical one r, z, n.
/// let arrays = keras::Arrays {
///     kernel: &[0.1, 0.2, 0.3],
///     recurrent_kernel: &[1.1, 1.2, 1.3],
///     bias: Some(&[2.1, 2.2, 2.3, 3.1, 3.2, 3.3]),
/// };
/// let weights = keras::gru(1, 1, Reset::After, arrays)?;
/// assert_eq!(weights.w(), [0.2, 0.1, 0.3]);
/// assert_eq!(weights.b_r(), Some(&[3.2, 3.1, 3.3][..]));
///
/// let error = keras::gru(1, 1, Reset::Before, arrays).unwrap_err();
/// assert_eq!(error.to_string(), "bias: expected 3 values, found 6");
/// # Ok::<(), gatefold::Error>(())
/// ```
///
/// # Errors
/// As [`simple_rnn`].
pub fn gru<T: Real>(input: usize, units: usize, reset: Reset, arrays: Arrays<'_, T>) -> Result<Weights<T>> {
    canonical(Cell::Gru { reset }, input, units, arrays)
}

fn canonical<T: Real>(cell: Cell, input: usize, units: usize, arrays: Arrays<'_, T>) -> Result<Weights<T>> {
    let sizes = Sizes::new::<T>(cell, ("input", input), ("units", units), ("units", units))?;
    let rows = if cell == (Cell::Gru { reset: Reset::After }) { 2 } else { 1 };
    expect("kernel", sizes.w, arrays.kernel)?;
    expect("recurrent_kernel", sizes.r, arrays.recurrent_kernel)?;
    if let Some(bias) = arrays.bias {
        expect("bias", rows * sizes.b, bias)?;
    }
    let order = order::keras(cell);
    let mut biases =
        arrays.bias.into_iter().flat_map(|bias| bias.chunks_exact(sizes.b)).map(|b| order::blocks(b, order));
    let w = order::transposed_blocks(arrays.kernel, sizes.b, order);
    let r = order::transposed_blocks(arrays.recurrent_kernel, sizes.b, order);
    Ok(Weights::of(cell, input, units, w, r, [biases.next(), biases.next()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// Values that tell by themselves where they stood: `base` + the index.
    fn counted(base: usize, length: usize) -> Vec<f32> {
        (0..length).map(|k| (base + k) as f32).collect()
    }

    #[test]
    fn gru_swaps_z_and_r_and_splits_two_biases() {
        // I = 2, H = 2; columns are z0 z1 r0 r1 h0 h1.
        let (kernel, recurrent) = (counted(0, 12), counted(100, 12));
        let bias = counted(200, 12);
        let arrays = Arrays { kernel: &kernel, recurrent_kernel: &recurrent, bias: Some(&bias) };
        let weights = gru(2, 2, Reset::After, arrays).unwrap();
        assert_eq!(weights.w(), [2., 8., 3., 9., 0., 6., 1., 7., 4., 10., 5., 11.]);
        assert_eq!(weights.r(), [102., 108., 103., 109., 100., 106., 101., 107., 104., 110., 105., 111.]);
        assert_eq!(weights.b_w(), Some(&[202., 203., 200., 201., 204., 205.][..]));
        assert_eq!(weights.b_r(), Some(&[208., 209., 206., 207., 210., 211.][..]));
        assert_eq!((weights.input(), weights.hidden()), (2, 2));
        assert_eq!(weights.cell(), Cell::Gru { reset: Reset::After });
    }

    #[test]
    fn gru_reset_before_has_one_bias() {
        let bias = counted(200, 3);
        let arrays = Arrays { kernel: &counted(0, 6), recurrent_kernel: &counted(100, 3), bias: Some(&bias) };
        let weights = gru(2, 1, Reset::Before, arrays).unwrap();
        assert_eq!(weights.b_w(), Some(&[201., 200., 202.][..]));
        assert_eq!(weights.b_r(), None);
    }

    #[test]
    fn lstm_and_simple_rnn_keep_the_order_of_gates() {
        let bias = counted(200, 4);
        let arrays = Arrays { kernel: &counted(0, 8), recurrent_kernel: &counted(100, 4), bias: Some(&bias) };
        let weights = lstm(2, 1, arrays).unwrap();
        assert_eq!(weights.w(), [0., 4., 1., 5., 2., 6., 3., 7.]);
        assert_eq!(weights.r(), [100., 101., 102., 103.]);
        assert_eq!((weights.b_w(), weights.b_r()), (Some(&bias[..]), None));

        let arrays = Arrays { kernel: &counted(0, 2), recurrent_kernel: &counted(100, 4), bias: None };
        let weights = simple_rnn(1, 2, Activation::Relu, arrays).unwrap();
        assert_eq!(weights.w(), [0., 1.]);
        assert_eq!(weights.r(), [100., 102., 101., 103.]);
        assert_eq!((weights.b_w(), weights.b_r()), (None, None));
        assert_eq!(weights.cell(), Cell::SimpleRnn { activation: Activation::Relu });
    }

    #[test]
    fn errors_use_the_names_of_keras() {
        let good = Arrays::<f32> { kernel: &[0.; 24], recurrent_kernel: &[0.; 48], bias: Some(&[0.; 24]) };
        let load = |arrays: Arrays<'_, f32>| gru(2, 4, Reset::After, arrays);
        assert!(load(good).is_ok());
        for length in [0, 23, 25] {
            let values = vec![0.; length];
            let error = load(Arrays { kernel: &values, ..good }).unwrap_err();
            assert_eq!(error, Error::Shape { argument: "kernel", expected: 24, found: length });
        }
        let error = load(Arrays { recurrent_kernel: &[0.; 36], ..good }).unwrap_err();
        assert_eq!(error.to_string(), "recurrent_kernel: expected 48 values, found 36");
        let error = load(Arrays { bias: Some(&[0.; 12]), ..good }).unwrap_err();
        assert_eq!(error, Error::Shape { argument: "bias", expected: 24, found: 12 });
        let error = gru(2, 0, Reset::After, good).unwrap_err();
        assert_eq!(error, Error::Zero { argument: "units" });
        let error = lstm(usize::MAX, 4, good).unwrap_err();
        assert_eq!(error, Error::TooLarge { argument: "input" });
    }
}
