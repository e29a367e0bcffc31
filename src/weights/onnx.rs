//! Weights as ONNX' operators `RNN`, `GRU` and `LSTM` hold them, one direction at a time.
//!
//! Source: the operators' specification, opset 22. Gate orders: LSTM i, o, f, c; GRU z, r, h; peepholes i, o, f.

use super::{Sizes, Weights, expect, order};
use crate::cell::{Activation, Cell, Reset};
use crate::error::Result;
use gatefold_kernels::real::Real;

/// The arrays of one direction: entry d of the node's inputs, whose first axis is the direction. G is the number of gates,
/// H the `hidden_size`.
#[derive(Clone, Copy, Debug)]
pub struct Arrays<'a, T> {
    /// `W`: `[G*H, I]`.
    pub w: &'a [T],
    /// `R`: `[G*H, H]`.
    pub r: &'a [T],
    /// `B`: `[2*G*H]`, first of the input, then of the recurrent product; `None` where the node has none.
    pub b: Option<&'a [T]>,
}

/// The weights of an `RNN`. Copies each array once.
///
/// # Errors
/// [`Shape`](crate::Error::Shape) if an array is not as long as [`Arrays`] says, [`Zero`](crate::Error::Zero) or
/// [`TooLarge`](crate::Error::TooLarge) for the sizes; named as ONNX names them.
pub fn rnn<T: Real>(
    input_size: usize,
    hidden_size: usize,
    activation: Activation,
    arrays: Arrays<'_, T>,
) -> Result<Weights<T>> {
    let weights = canonical(Cell::SimpleRnn { activation: Activation::Tanh }, input_size, hidden_size, arrays)?;
    weights.with_activations(&[activation])
}

/// The weights of a `GRU`; `linear_before_reset=1` is [`Reset::After`], 0, the default, [`Reset::Before`]. Copies each
/// array once.
///
/// ```
/// use gatefold::cell::Reset;
/// use gatefold::weights::onnx;
///
/// // Gates z, r, h in ONNX; r, z, n here.
/// let arrays = onnx::Arrays { w: &[0.1, 0.2, 0.3], r: &[1.1, 1.2, 1.3], b: None };
/// let weights = onnx::gru(1, 1, Reset::Before, arrays)?;
/// assert_eq!(weights.w(), [0.2, 0.1, 0.3]);
/// # Ok::<(), gatefold::Error>(())
/// ```
///
/// # Errors
/// As [`rnn`].
pub fn gru<T: Real>(input_size: usize, hidden_size: usize, reset: Reset, arrays: Arrays<'_, T>) -> Result<Weights<T>> {
    canonical(Cell::Gru { reset }, input_size, hidden_size, arrays)
}

/// The weights of an `LSTM`; `p` is its input P, `[3*H]`. Copies each array once.
///
/// # Errors
/// As [`rnn`].
pub fn lstm<T: Real>(
    input_size: usize,
    hidden_size: usize,
    arrays: Arrays<'_, T>,
    p: Option<&[T]>,
) -> Result<Weights<T>> {
    let weights = canonical(Cell::Lstm, input_size, hidden_size, arrays)?;
    match p {
        None => Ok(weights),
        Some(p) => {
            expect("P", 3 * hidden_size, p)?;
            weights.with_peepholes(order::blocks(p, &order::ONNX_PEEPHOLES))
        }
    }
}

fn canonical<T: Real>(cell: Cell, input: usize, hidden: usize, arrays: Arrays<'_, T>) -> Result<Weights<T>> {
    let sizes = Sizes::new::<T>(cell, ("input_size", input), ("hidden_size", hidden), ("hidden_size", hidden))?;
    expect("W", sizes.w, arrays.w)?;
    expect("R", sizes.r, arrays.r)?;
    if let Some(b) = arrays.b {
        expect("B", 2 * sizes.b, b)?;
    }
    let order = order::onnx(cell);
    let mut biases = arrays.b.into_iter().flat_map(|b| b.chunks_exact(sizes.b)).map(|b| order::blocks(b, order));
    let biases = [biases.next(), biases.next()];
    Ok(Weights::of(cell, input, hidden, order::blocks(arrays.w, order), order::blocks(arrays.r, order), biases))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn lstm_goes_from_iofc_to_ifgo() {
        let arrays = Arrays { w: &[1., 2., 3., 4.], r: &[5., 6., 7., 8.], b: Some(&[1., 2., 3., 4., 5., 6., 7., 8.]) };
        let weights = lstm(1, 1, arrays, Some(&[0.1, 0.2, 0.3])).unwrap();
        assert_eq!((weights.w(), weights.r()), (&[1., 3., 4., 2.][..], &[5., 7., 8., 6.][..]));
        assert_eq!(weights.b_w(), Some(&[1., 3., 4., 2.][..]));
        assert_eq!(weights.b_r(), Some(&[5., 7., 8., 6.][..]));
        assert_eq!(weights.peepholes(), Some(&[0.1, 0.3, 0.2][..]));
    }

    #[test]
    fn errors_use_the_names_of_onnx() {
        let arrays = Arrays { w: &[0f32; 4], r: &[0.; 4], b: None };
        let error = lstm(1, 1, arrays, Some(&[0.; 2])).unwrap_err();
        assert_eq!(error, Error::Shape { argument: "P", expected: 3, found: 2 });
        let error = lstm(1, 1, Arrays { b: Some(&[0.; 4]), ..arrays }, None).unwrap_err();
        assert_eq!(error, Error::Shape { argument: "B", expected: 8, found: 4 });
        let error = rnn(2, 2, Activation::Relu, arrays).unwrap();
        assert_eq!(error.cell(), Cell::SimpleRnn { activation: Activation::Relu });
        assert_eq!(gru(1, 0, Reset::Before, arrays).unwrap_err(), Error::Zero { argument: "hidden_size" });
    }
}
