//! How weights start: as Keras and as PyTorch initialise them, from a seed.

use crate::random::Random;
use gatefold::cell::{Cell, Reset};
use gatefold::weights::{keras as layout, pytorch as torch};
use gatefold::{Element, Error, Result, Weights};

/// Weights as Keras 3 initialises `SimpleRNN`, `LSTM` and `GRU`: `kernel` Glorot uniform, `recurrent_kernel` orthogonal, each
/// over all gates as a whole; biases of zeros, but ones for the forget gate of an LSTM (`unit_forget_bias`).
///
/// ```
/// use gatefold::cell::Cell;
/// use gatefold_training::{Random, initial};
///
/// let weights = initial::keras::<f64>(Cell::Lstm, 3, 2, &mut Random::new(1))?;
/// assert_eq!(weights.b_w(), Some(&[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0][..])); // i, f, g, o
/// assert!(weights.w().iter().all(|w| w.abs() <= (6.0f64 / (3 + 8) as f64).sqrt()));
/// # Ok::<(), gatefold::Error>(())
/// ```
///
/// Cost: that of [`orthogonal`].
///
/// # Errors
/// [`Error::Zero`] and [`Error::TooLarge`] for `input` and `units`.
pub fn keras<T: Element>(cell: Cell, input: usize, units: usize, random: &mut Random) -> Result<Weights<T>> {
    let columns = size("units", cell.gates(), units)?;
    let kernel = uniform(size("input", input, columns)?, glorot(input, columns), random)?;
    let recurrent_kernel = orthogonal(units, columns, random)?;
    let mut bias = vec![T::ZERO; columns];
    if cell == Cell::Lstm {
        bias[units..2 * units].fill(T::ONE);
    }
    if cell == (Cell::Gru { reset: Reset::After }) {
        bias.extend_from_within(..);
    }
    let arrays = layout::Arrays { kernel: &kernel, recurrent_kernel: &recurrent_kernel, bias: Some(&bias) };
    match cell {
        Cell::SimpleRnn { activation } => layout::simple_rnn(input, units, activation, arrays),
        Cell::Lstm => layout::lstm(input, units, arrays),
        Cell::Gru { reset } => layout::gru(input, units, reset, arrays),
        _ => Err(Error::Unsupported { what: "an initial state of this cell", why: "Keras has none like it" }),
    }
}

/// Weights as PyTorch initialises `nn.RNN`, `nn.LSTM` and `nn.GRU`: all of them, biases too, uniform in ±1/√H. A GRU whose
/// reset gate acts before the product, which PyTorch does not have, is initialised alike.
///
/// # Errors
/// [`Error::Zero`] and [`Error::TooLarge`] for `input_size` and `hidden_size`.
pub fn pytorch<T: Element>(cell: Cell, input: usize, hidden: usize, random: &mut Random) -> Result<Weights<T>> {
    let rows = size("hidden_size", cell.gates(), hidden)?;
    let bound = (hidden as f64).sqrt().recip();
    let mut draw = |len| uniform(len, bound, random);
    let (w, r) = (draw(size("input_size", input, rows)?)?, draw(size("hidden_size", hidden, rows)?)?);
    let (b_w, b_r) = (draw(rows)?, draw(rows)?);
    Weights::new(cell, input, hidden, w, r, Some(b_w), Some(b_r))
}

/// The same for an `nn.LSTM` with `proj_size`: `weight_hr`, too, is uniform in ±1/√H.
///
/// # Errors
/// As [`pytorch`], with `proj_size` among the names.
pub fn pytorch_projected<T: Element>(
    input: usize,
    hidden: usize,
    projection: usize,
    random: &mut Random,
) -> Result<Weights<T>> {
    let rows = size("hidden_size", Cell::Lstm.gates(), hidden)?;
    let bound = (hidden as f64).sqrt().recip();
    let mut draw = |len| uniform(len, bound, random);
    let weight_ih = draw(size("input_size", input, rows)?)?;
    let weight_hh = draw(size("proj_size", projection, rows)?)?;
    let (bias_ih, bias_hh) = (draw(rows)?, draw(rows)?);
    let weight_hr = draw(size("proj_size", projection, hidden)?)?;
    let arrays = torch::Arrays {
        weight_ih: &weight_ih,
        weight_hh: &weight_hh,
        bias_ih: Some(&bias_ih),
        bias_hh: Some(&bias_hh),
    };
    torch::lstm_projected(input, hidden, arrays, &weight_hr)
}

/// The bound of Glorot and Bengio's uniform distribution (2010), √(6 / (fan_in + fan_out)). Keras' `GlorotUniform` over a
/// kernel `[fan_in, fan_out]`, PyTorch's `xavier_uniform_`.
pub fn glorot(fan_in: usize, fan_out: usize) -> f64 {
    (6.0 / (fan_in as f64 + fan_out as f64)).sqrt()
}

/// `len` values, uniform in ±`bound`.
///
/// # Errors
/// [`Error::Number`] for a bound that is negative or not finite, [`Error::TooLarge`] if there is no memory for them.
pub fn uniform<T: Element>(len: usize, bound: f64, random: &mut Random) -> Result<Vec<T>> {
    if !bound.is_finite() || bound < 0.0 {
        return Err(Error::Number { argument: "bound", expected: "a number of at least 0", found: bound });
    }
    let mut values = room("len", len)?;
    values.extend((0..len).map(|_| T::from_f64(bound * (2.0 * random.uniform() - 1.0))));
    Ok(values)
}

/// A random `[rows, columns]` matrix, row by row, of orthonormal rows if there are no more rows than columns, else of
/// orthonormal columns; each such matrix is as likely as any other (Saxe et al., arXiv:1312.6120). Keras' `Orthogonal`,
/// PyTorch's `orthogonal_`.
///
/// Gram and Schmidt's method in f64, twice over: 4 · min² · max floating-point operations.
///
/// # Errors
/// [`Error::Zero`] for a size of 0, [`Error::TooLarge`] if there is no memory for it.
pub fn orthogonal<T: Element>(rows: usize, columns: usize, random: &mut Random) -> Result<Vec<T>> {
    let len = size("columns", rows, columns)?;
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<f64> = room("columns", len)?;
    while basis.len() < count * length {
        let start = basis.len();
        basis.extend((0..length).map(|_| random.normal()));
        let (before, vector) = basis.split_at_mut(start);
        for _ in 0..2 {
            for other in before.chunks_exact(length) {
                let along = dot(other, vector);
                vector.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
            }
        }
        let norm = dot(vector, vector).sqrt();
        if norm > 0.0 {
            vector.iter_mut().for_each(|v| *v /= norm);
        } else {
            basis.truncate(start);
        }
    }
    let mut matrix = room("columns", len)?;
    if rows <= columns {
        matrix.extend(basis.into_iter().map(T::from_f64));
    } else {
        matrix.extend((0..rows).flat_map(|row| basis[row..].iter().step_by(length)).map(|&v| T::from_f64(v)));
    }
    Ok(matrix)
}

/// The inner product, as eight sums side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 8];
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum::<f64>() + rest
}

/// The product of two sizes that must be positive, if f64 values of so many can be addressed.
fn size(argument: &'static str, a: usize, b: usize) -> Result<usize> {
    if a == 0 || b == 0 {
        return Err(Error::Zero { argument });
    }
    let most = isize::MAX as usize / size_of::<f64>();
    a.checked_mul(b).filter(|&len| len <= most).ok_or(Error::TooLarge { argument })
}

fn room<T>(argument: &'static str, len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| Error::TooLarge { argument })?;
    Ok(values)
}
