//! What a case asks for: layers, a sequence, and what is to come out.

use super::tensor::{Tensor, compare};
use super::{Case, F32_TOLERANCE, F64_TOLERANCE, keras, onnx, torch};
use safetensors::Dtype;

/// All that a case says, read from its options and its tensors.
#[derive(Clone, Debug)]
pub struct Pass<'a> {
    pub name: &'a str,
    /// From the bottom to the top; each has one layer, or two: the forward one and the backward one.
    pub levels: Vec<Vec<Layer<'a>>>,
    /// Of levels that have one layer.
    pub direction: Direction,
    /// Of levels that have two.
    pub merge: Merge,
    pub sizes: Sizes,
    /// `[T, N, I]`, or `[N, T, I]` if `batch_first`.
    pub x: Tensor,
    /// Whether x and y have the batch as their first axis.
    pub batch_first: bool,
    pub rows: Rows,
    /// More than one for a layer that keeps its state.
    pub calls: Vec<Call>,
}

/// T, N and I.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    pub time: usize,
    pub batch: usize,
    pub input: usize,
}

/// A layer in one direction.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    pub cell: Cell,
    pub input: usize,
    pub hidden: usize,
    pub arrays: Arrays<'a>,
    /// As many as the cell has: of its gates, of its candidate, of the cell state on its way out.
    pub activations: Vec<Activation>,
    /// The largest magnitude of a pre-activation.
    pub clip: Option<f64>,
    /// f = 1 - i.
    pub input_forget: bool,
}

/// The recurrence, whatever its activations are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    SimpleRnn,
    Lstm,
    Gru {
        reset_after: bool,
        /// `h' = z*h + (1-z)*n`; otherwise `h' = (1-z)*h + z*n`.
        keeps_past: bool,
    },
}

/// Alpha and beta stand in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Sigmoid,
    Tanh,
    Relu,
    Linear,
    Softplus,
    Softsign,
    LeakyRelu(f64),
    ThresholdedRelu(f64),
    Elu(f64),
    HardSigmoid(f64, f64),
    Affine(f64, f64),
    ScaledTanh(f64, f64),
}

/// The weights in the layout of their source. G gates, I inputs, H hidden units, P projected ones.
#[derive(Clone, Copy, Debug)]
pub enum Arrays<'a> {
    /// `[I, G*H]`, `[H, G*H]`, and `[G*H]` or, for a GRU with `reset_after`, `[2, G*H]`. Gates i, f, c, o and z, r, h.
    Keras { kernel: &'a Tensor, recurrent_kernel: &'a Tensor, bias: Option<&'a Tensor> },
    /// `[G*H, I]`, `[G*H, H]`, twice `[G*H]`, and `[P, H]`. Gates i, f, g, o and r, z, n.
    PyTorch {
        weight_ih: &'a Tensor,
        weight_hh: &'a Tensor,
        bias_ih: Option<&'a Tensor>,
        bias_hh: Option<&'a Tensor>,
        weight_hr: Option<&'a Tensor>,
    },
    /// One direction's part of each: `[G*H, I]`, `[G*H, H]`, `[2*G*H]`, `[3*H]`. Gates i, o, f, c and z, r, h.
    Onnx { w: &'a [f64], r: &'a [f64], b: Option<&'a [f64]>, p: Option<&'a [f64]> },
    /// `[G*H, I]`, `[G*H, H]` and `[G*H]`, written for the equations alone. Gates z, r, n.
    Equations { w: &'a Tensor, r: &'a Tensor, b: &'a Tensor },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Direction {
    Forward,
    /// y at t belongs to x at t.
    Reverse,
    /// y at 0 belongs to the last x.
    GoBackwards,
}

/// How the outputs of two directions stand together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Merge {
    Concat,
    Sum,
    Mul,
    Average,
    /// Those of one direction after those of the other.
    Apart,
    /// `[T, 2, N, H]`.
    Directions,
}

/// Which rows take part in which steps.
#[derive(Clone, Debug, PartialEq)]
pub enum Rows {
    All,
    Lengths(Vec<usize>),
    /// `[N, T]`; whether a step that is left out has zeros as its output, not the output before it.
    Mask(Vec<bool>, bool),
}

/// A call: what it starts from, and what it is to return, `None` being what the case does not tell.
///
/// A later call starts from the state that the framework's own last call left. To go on from a state of one's own would
/// measure how the layer amplifies rounding: over the 27 steps of `simplernn_stateful`, f32 is 2.8e-5 away from f64.
#[derive(Clone, Debug)]
pub struct Call {
    /// `[L*D, N, H]`; zeros if `None`.
    pub h0: Option<Tensor>,
    /// `[L*D, N, H]`; zeros if `None`.
    pub c0: Option<Tensor>,
    /// All outputs; those at t, n and c at [`Pass::place`].
    pub y: Option<Tensor>,
    /// The last output `[N, C]`.
    pub last: Option<Tensor>,
    /// `[L*D, N, H]`
    pub h: Option<Tensor>,
    /// `[L*D, N, H]`
    pub c: Option<Tensor>,
}

/// What came out of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// All outputs; those at t, n and c at [`Pass::place`].
    pub y: Vec<f64>,
    /// The last output `[N, C]`.
    pub last: Vec<f64>,
    /// `[L*D, N, H]`
    pub h: Vec<f64>,
    /// `[L*D, N, H]` of an LSTM, else empty.
    pub c: Vec<f64>,
}

impl Cell {
    /// What it computes with unless something else is asked for.
    pub fn standard(self) -> Vec<Activation> {
        match self {
            Cell::SimpleRnn => vec![Activation::Tanh],
            Cell::Lstm => vec![Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
            Cell::Gru { .. } => vec![Activation::Sigmoid, Activation::Tanh],
        }
    }

    /// G
    pub fn gates(self) -> usize {
        match self {
            Cell::SimpleRnn => 1,
            Cell::Lstm => 4,
            Cell::Gru { .. } => 3,
        }
    }
}

impl Sizes {
    /// Those of x.
    pub fn of(case: &Case, x: &Tensor, batch_first: bool) -> Sizes {
        let &[outer, inner, input] = &x.shape[..] else { panic!("{}: x of shape {:?}", case.name, x.shape) };
        let (time, batch) = if batch_first { (inner, outer) } else { (outer, inner) };
        Sizes { time, batch, input }
    }
}

impl<'a> Layer<'a> {
    /// A layer without anything that departs from its cell's equations.
    pub fn standard(cell: Cell, [input, hidden]: [usize; 2], arrays: Arrays<'a>) -> Self {
        Layer { cell, input, hidden, arrays, activations: cell.standard(), clip: None, input_forget: false }
    }

    /// Channels of its outputs: H, or P.
    pub fn output(&self) -> usize {
        match self.arrays {
            Arrays::PyTorch { weight_hr: Some(weight_hr), .. } => weight_hr.shape[0],
            _ => self.hidden,
        }
    }
}

impl<'a> Pass<'a> {
    /// What a case asks for.
    ///
    /// # Panics
    /// On an option or a tensor that is not known, and if there is nothing to compare with.
    pub fn new(case: &'a Case) -> Pass<'a> {
        let pass = match case.options["framework"].as_str() {
            Some("keras") => keras::pass(case),
            Some("torch") => torch::pass(case),
            Some("torch autograd") => torch::equations(case),
            Some("onnx") => onnx::pass(case),
            other => panic!("{}: unknown framework {other:?}", case.name),
        };
        for call in &pass.calls {
            assert!(call.y.is_some() || call.last.is_some(), "{}: no output to compare with", case.name);
        }
        pass
    }

    /// Whether the case is in f64; otherwise it is in f32.
    pub fn is_f64(&self) -> bool {
        self.x.dtype == Dtype::F64
    }

    /// Channels of all outputs together.
    pub fn channels(&self) -> usize {
        let top = self.levels.last().expect("a level");
        match self.merge {
            Merge::Concat | Merge::Apart | Merge::Directions => top.iter().map(Layer::output).sum(),
            Merge::Sum | Merge::Mul | Merge::Average => top[0].output(),
        }
    }

    /// Where in y the output of step `t`, row `n` and channel `c` stands.
    pub fn place(&self, t: usize, n: usize, c: usize) -> usize {
        let Sizes { time, batch, .. } = self.sizes;
        let (channels, hidden) = (self.channels(), self.levels.last().expect("a level")[0].output());
        let (direction, unit) = (c / hidden, c % hidden);
        match self.merge {
            Merge::Directions => ((t * channels / hidden + direction) * batch + n) * hidden + unit,
            Merge::Apart if self.batch_first => ((direction * batch + n) * time + t) * hidden + unit,
            Merge::Apart => ((direction * time + t) * batch + n) * hidden + unit,
            _ if self.batch_first => (n * time + t) * channels + c,
            _ => (t * batch + n) * channels + c,
        }
    }

    /// A pass for every step, each from what the framework gave for the step before. Only for a layer whose outputs are all
    /// of its state, and over whole rows.
    pub fn steps(&self) -> Vec<Pass<'a>> {
        let Sizes { time, batch, .. } = self.sizes;
        let ([level], [call], Rows::All) = (&self.levels[..], &self.calls[..], &self.rows) else {
            panic!("{}: not one layer and one call over whole rows", self.name)
        };
        let simple = level.len() == 1 && level[0].cell != Cell::Lstm && self.direction == Direction::Forward;
        assert!(simple, "{}: the outputs are not the states", self.name);
        let y = call.y.as_ref().expect("all outputs");
        let step = |tensor: &Tensor, t: usize| {
            let channels = tensor.shape[2];
            let row = |n| if self.batch_first { n * time + t } else { t * batch + n };
            let values = (0..batch).flat_map(|n| &tensor.values[row(n) * channels..][..channels]).copied().collect();
            let shape = if self.batch_first { vec![batch, 1, channels] } else { vec![1, batch, channels] };
            Tensor { shape, dtype: tensor.dtype, values }
        };
        let state = |t| Tensor { shape: vec![1, batch, level[0].hidden], ..step(y, t) };
        let pass = |t: usize| {
            let h0 = if t == 0 { call.h0.clone() } else { Some(state(t - 1)) };
            let call = Call { h0, c0: None, y: Some(step(y, t)), last: None, h: Some(state(t)), c: None };
            let (x, sizes) = (step(&self.x, t), Sizes { time: 1, ..self.sizes });
            Pass { x, sizes, calls: vec![call], ..self.clone() }
        };
        (0..time).map(pass).collect()
    }

    /// Compares with everything that the case tells of a call.
    pub fn compare(&self, call: usize, found: &Found) -> Result<(), String> {
        let tolerance = if self.is_f64() { F64_TOLERANCE } else { F32_TOLERANCE };
        let expected = &self.calls[call];
        let pairs = [
            ("y", &expected.y, &found.y),
            ("last y", &expected.last, &found.last),
            ("h", &expected.h, &found.h),
            ("c", &expected.c, &found.c),
        ];
        for (name, expected, found) in pairs {
            if let Some(expected) = expected {
                compare(name, expected, found, tolerance).map_err(|e| format!("call {call}: {e}"))?;
            }
        }
        Ok(())
    }
}
