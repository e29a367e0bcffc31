//! The scope of the forward tests: one layer, one direction, every row of the batch of full length, standard activations.

use super::tensor::{Tensor, compare};
use super::{Case, F32_TOLERANCE, F64_TOLERANCE, OutOfScope, keras, torch};
use safetensors::Dtype;

/// What the layer of a case computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    SimpleRnn {
        relu: bool,
    },
    Lstm,
    Gru {
        reset_after: bool,
        /// `h' = z*h + (1-z)*n`; otherwise `h' = (1-z)*h + z*n`.
        keeps_past: bool,
    },
}

/// The weights in the layout of their source. G gates, I inputs, H hidden units.
#[derive(Clone, Copy, Debug)]
pub enum Arrays<'a> {
    /// `[I, G*H]`, `[H, G*H]`, and `[G*H]` or, for a GRU with `reset_after`, `[2, G*H]`. Gates i, f, c, o and z, r, h.
    Keras { kernel: &'a Tensor, recurrent_kernel: &'a Tensor, bias: Option<&'a Tensor> },
    /// `[G*H, I]`, `[G*H, H]` and twice `[G*H]`. Gates i, f, g, o and r, z, n.
    PyTorch { weight_ih: &'a Tensor, weight_hh: &'a Tensor, bias_ih: Option<&'a Tensor>, bias_hh: Option<&'a Tensor> },
    /// `[G*H, I]`, `[G*H, H]` and `[G*H]`, written for the equations alone. Gates z, r, n.
    Equations { w: &'a Tensor, r: &'a Tensor, b: &'a Tensor },
}

/// A forward pass over full sequences by one layer in one direction.
#[derive(Clone, Debug)]
pub struct Forward<'a> {
    pub name: &'a str,
    pub cell: Cell,
    pub arrays: Arrays<'a>,
    pub time: usize,
    pub batch: usize,
    pub input: usize,
    pub hidden: usize,
    /// `[T, N, I]`, or `[N, T, I]` if `batch_first`.
    pub x: &'a Tensor,
    /// Whether x and y have the batch as their first axis.
    pub batch_first: bool,
    /// More than one for a layer that keeps its state.
    pub calls: Vec<Call<'a>>,
}

/// A call of the layer: what it starts from, and what it is to return, `None` being what the case does not tell.
///
/// A later call starts from the state that the framework's own last call left. To go on from a state of one's own would
/// measure how the layer amplifies rounding: over the 27 steps of `simplernn_stateful`, f32 is 2.8e-5 away from f64.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `[N, H]`; zeros if `None`.
    pub h0: Option<&'a Tensor>,
    /// `[N, H]`; zeros if `None`.
    pub c0: Option<&'a Tensor>,
    /// All outputs, in the layout of x.
    pub y: Option<&'a Tensor>,
    /// The last output `[N, H]`.
    pub last: Option<&'a Tensor>,
    /// `[N, H]`
    pub h: Option<&'a Tensor>,
    /// `[N, H]`
    pub c: Option<&'a Tensor>,
}

/// What a forward pass returned.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// `[T, N, H]`
    pub y: Vec<f64>,
    /// `[N, H]`
    pub h: Vec<f64>,
    /// `[N, H]` of an LSTM, else empty.
    pub c: Vec<f64>,
}

impl<'a> Forward<'a> {
    /// What a case asks for, or why that is not a forward pass as described above.
    ///
    /// # Panics
    /// On an option or a tensor that is not known.
    pub fn new(case: &'a Case) -> Result<Forward<'a>, OutOfScope> {
        match case.options["framework"].as_str() {
            Some("keras") => keras::forward(case),
            Some("torch") => torch::forward(case),
            Some("torch autograd") => torch::equations(case),
            other => panic!("{}: unknown framework {other:?}", case.name),
        }
    }

    /// x as `[T, N, I]`.
    pub fn x_time_major(&self) -> Vec<f64> {
        if self.batch_first { self.x.swap_outer().values } else { self.x.values.clone() }
    }

    /// Whether the case is in f64; otherwise it is in f32.
    pub fn is_f64(&self) -> bool {
        self.x.dtype == Dtype::F64
    }

    /// Compares with everything that the case tells of a call.
    pub fn compare(&self, call: usize, found: &Outputs) -> Result<(), String> {
        let tolerance = if self.is_f64() { F64_TOLERANCE } else { F32_TOLERANCE };
        let shape = vec![self.time, self.batch, self.hidden];
        if found.y.len() != shape.iter().product::<usize>() {
            return Err(format!("y: expected {shape:?}, found {} values", found.y.len()));
        }
        let last = &found.y[found.y.len() - self.batch * self.hidden..];
        let y = Tensor { shape, dtype: Dtype::F64, values: found.y.clone() };
        let y = if self.batch_first { y.swap_outer() } else { y };
        let expected = &self.calls[call];
        let pairs = [
            ("y", expected.y, &y.values[..]),
            ("last y", expected.last, last),
            ("h", expected.h, &found.h),
            ("c", expected.c, &found.c),
        ];
        for (name, expected, found) in pairs {
            if let Some(expected) = expected {
                compare(name, expected, found, tolerance).map_err(|e| format!("call {call}: {e}"))?;
            }
        }
        Ok(())
    }

    /// A pass whose sizes are those of x.
    pub(super) fn sized(
        case: &'a Case,
        cell: Cell,
        arrays: Arrays<'a>,
        batch_first: bool,
        hidden: usize,
        calls: Vec<Call<'a>>,
    ) -> Self {
        let x = case.tensor("x");
        let &[outer, inner, input] = &x.shape[..] else { panic!("{}: x of shape {:?}", case.name, x.shape) };
        let (time, batch) = if batch_first { (inner, outer) } else { (outer, inner) };
        for call in &calls {
            let told = [call.y, call.last, call.h, call.c].into_iter().flatten().count();
            assert!(told > 0, "{}: nothing to compare with", case.name);
        }
        Forward { name: &case.name, cell, arrays, time, batch, input, hidden, x, batch_first, calls }
    }
}
