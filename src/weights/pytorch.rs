//! Weights as PyTorch's `nn.RNN`, `nn.LSTM` and `nn.GRU` hold them, one layer and direction at a time.
//!
//! Source: the documentation of these modules. Gate orders: LSTM i, f, g, o; GRU r, z, n: the canonical ones.

use super::{Sizes, Weights, expect};
use crate::cell::{Activation, Cell, Reset};
use crate::error::Result;
use gatefold_kernels::real::Real;

/// The arrays of one layer and direction, row by row: in a `state_dict`, the names end in `_l0`, `_l0_reverse`, `_l1`
/// and so on (in `nn.GRUCell` and its like, in nothing). G is the number of gates, H the `hidden_size`.
#[derive(Clone, Copy, Debug)]
pub struct Arrays<'a, T> {
    /// `weight_ih`: `[G*H, I]`.
    pub weight_ih: &'a [T],
    /// `weight_hh`: `[G*H, H]`.
    pub weight_hh: &'a [T],
    /// `bias_ih`: `[G*H]`; `None` if `bias=False`.
    pub bias_ih: Option<&'a [T]>,
    /// `bias_hh`: `[G*H]`; `None` if `bias=False`.
    pub bias_hh: Option<&'a [T]>,
}

/// The weights of an `nn.RNN`; `activation` is its `nonlinearity`. Copies each array once.
///
/// # Errors
/// [`Shape`](crate::Error::Shape) if an array is not as long as [`Arrays`] says, [`Zero`](crate::Error::Zero) or
/// [`TooLarge`](crate::Error::TooLarge) for `input_size` and `hidden_size`; named as PyTorch names them.
pub fn rnn<T: Real>(
    input_size: usize,
    hidden_size: usize,
    activation: Activation,
    arrays: Arrays<'_, T>,
) -> Result<Weights<T>> {
    canonical(Cell::SimpleRnn { activation }, input_size, hidden_size, arrays)
}

/// The weights of an `nn.LSTM` without `proj_size`. Copies each array once.
///
/// # Errors
/// As [`rnn`].
pub fn lstm<T: Real>(input_size: usize, hidden_size: usize, arrays: Arrays<'_, T>) -> Result<Weights<T>> {
    canonical(Cell::Lstm, input_size, hidden_size, arrays)
}

/// The weights of an `nn.LSTM` with `proj_size`, P: `weight_hr: [P, H]`, and `weight_hh: [4*H, P]`. Copies each array once.
///
/// # Errors
/// As [`rnn`].
pub fn lstm_projected<T: Real>(
    input_size: usize,
    hidden_size: usize,
    arrays: Arrays<'_, T>,
    weight_hr: &[T],
) -> Result<Weights<T>> {
    let units = weight_hr.len() / hidden_size.max(1);
    let sizes = [("input_size", input_size), ("hidden_size", hidden_size), ("weight_hr", units)];
    checked(Cell::Lstm, sizes, arrays)?;
    expect("weight_hr", units * hidden_size, weight_hr)?;
    let [w, r] = [arrays.weight_ih, arrays.weight_hh].map(<[T]>::to_vec);
    let biases = [arrays.bias_ih, arrays.bias_hh].map(|bias| bias.map(<[T]>::to_vec));
    Weights::projected(input_size, hidden_size, w, r, biases, weight_hr.to_vec())
}

/// The weights of an `nn.GRU`, which is always a GRU with [`Reset::After`]. Copies each array once.
///
/// ```
/// use gatefold::weights::pytorch;
///
/// let arrays = pytorch::Arrays {
///     weight_ih: &[0.1, 0.2, 0.3],
///     weight_hh: &[1.1, 1.2, 1.3],
///     bias_ih: None,
///     bias_hh: None,
/// };
/// let weights = pytorch::gru(1, 1, arrays)?;
/// assert_eq!(weights.r(), [1.1, 1.2, 1.3]);
///
/// let error = pytorch::lstm(1, 1, arrays).unwrap_err();
/// assert_eq!(error.to_string(), "weight_ih: expected 4 values, found 3");
/// # Ok::<(), gatefold::Error>(())
/// ```
///
/// # Errors
/// As [`rnn`].
pub fn gru<T: Real>(input_size: usize, hidden_size: usize, arrays: Arrays<'_, T>) -> Result<Weights<T>> {
    canonical(Cell::Gru { reset: Reset::After }, input_size, hidden_size, arrays)
}

/// Checks the lengths of all arrays for an input, a hidden and an output size.
fn checked<T: Real>(cell: Cell, sizes: [(&'static str, usize); 3], arrays: Arrays<'_, T>) -> Result<()> {
    let [input, hidden, output] = sizes;
    let sizes = Sizes::new::<T>(cell, input, hidden, output)?;
    expect("weight_ih", sizes.w, arrays.weight_ih)?;
    expect("weight_hh", sizes.r, arrays.weight_hh)?;
    for (name, bias) in [("bias_ih", arrays.bias_ih), ("bias_hh", arrays.bias_hh)] {
        if let Some(bias) = bias {
            expect(name, sizes.b, bias)?;
        }
    }
    Ok(())
}

fn canonical<T: Real>(cell: Cell, input: usize, hidden: usize, arrays: Arrays<'_, T>) -> Result<Weights<T>> {
    checked(cell, [("input_size", input), ("hidden_size", hidden), ("hidden_size", hidden)], arrays)?;
    let biases = [arrays.bias_ih, arrays.bias_hh].map(|bias| bias.map(<[T]>::to_vec));
    Ok(Weights::of(cell, input, hidden, arrays.weight_ih.to_vec(), arrays.weight_hh.to_vec(), biases))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn arrays_arrive_as_they_are() {
        let w: Vec<f64> = (0..8).map(f64::from).collect();
        let arrays = Arrays { weight_ih: &w, weight_hh: &w[..4], bias_ih: Some(&w[2..6]), bias_hh: Some(&w[4..]) };
        let weights = lstm(2, 1, arrays).unwrap();
        assert_eq!((weights.w(), weights.r()), (&w[..], &w[..4]));
        assert_eq!((weights.b_w(), weights.b_r()), (Some(&w[2..6]), Some(&w[4..])));
        assert_eq!((weights.cell(), weights.input(), weights.hidden()), (Cell::Lstm, 2, 1));
    }

    #[test]
    fn cells_are_those_of_pytorch() {
        let arrays = Arrays { weight_ih: &[0f32; 3], weight_hh: &[0.; 3], bias_ih: None, bias_hh: None };
        assert_eq!(gru(1, 1, arrays).unwrap().cell(), Cell::Gru { reset: Reset::After });
        let arrays = Arrays { weight_ih: &[0f32], weight_hh: &[0.], bias_ih: None, bias_hh: None };
        let cell = rnn(1, 1, Activation::Relu, arrays).unwrap().cell();
        assert_eq!(cell, Cell::SimpleRnn { activation: Activation::Relu });
    }

    #[test]
    fn errors_use_the_names_of_pytorch() {
        let good =
            Arrays { weight_ih: &[0f32; 6], weight_hh: &[0.; 12], bias_ih: Some(&[0.; 6]), bias_hh: Some(&[0.; 6]) };
        assert!(gru(1, 2, good).is_ok());
        let cases = [
            (Arrays { weight_ih: &[0.; 5], ..good }, Error::Shape { argument: "weight_ih", expected: 6, found: 5 }),
            (Arrays { weight_hh: &[0.; 6], ..good }, Error::Shape { argument: "weight_hh", expected: 12, found: 6 }),
            (Arrays { bias_ih: Some(&[0.; 2]), ..good }, Error::Shape { argument: "bias_ih", expected: 6, found: 2 }),
            (Arrays { bias_hh: Some(&[]), ..good }, Error::Shape { argument: "bias_hh", expected: 6, found: 0 }),
        ];
        for (arrays, error) in cases {
            assert_eq!(gru(1, 2, arrays).unwrap_err(), error);
        }
        assert_eq!(gru(0, 2, good).unwrap_err(), Error::Zero { argument: "input_size" });
        assert_eq!(gru(1, usize::MAX / 2, good).unwrap_err(), Error::TooLarge { argument: "hidden_size" });
    }
}
