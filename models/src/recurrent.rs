//! One recurrent layer of a file, ready to run in the shapes of the framework that it comes from.

mod describe;
mod run;

pub(crate) use describe::Part;
pub use describe::Row;
pub(crate) use run::room;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use gatefold::{Direction, Layer, Level, Options, Stack, Weights};

/// Which framework's shapes a [`Recurrent`] takes and gives.
///
/// T is time, N the batch, I input features, L layers, D directions, H hidden units, P projected units (H without a
/// projection), C = D*P channels.
///
/// | | x | y | h0, hn | c0, cn | lengths |
/// |---|---|---|---|---|---|
/// | PyTorch | `[N, T, I]`, or `[T, N, I]` if time-major | `[N, T, C]`, `[T, N, C]` | `[L*D, N, P]` | `[L*D, N, H]` | `[N]` |
/// | PyTorch, one sequence | `[T, I]` | `[T, C]` | `[L*D, P]` | `[L*D, H]` | none |
/// | PyTorch, a cell | `[N, T, I]` as above, or one step `[N, I]` | as above, or `[N, H]` | `[N, H]` | `[N, H]` | `[N]` |
/// | ONNX | `[T, N, I]` | `[T, D, N, H]` | `[D, N, H]` | `[D, N, H]` | `[N]` |
/// | ONNX, layout 1 | `[N, T, I]` | `[N, T, D, H]` | `[N, D, H]` | `[N, D, H]` | `[N]` |
/// | Keras | `[N, T, I]` | `[N, T, C]`, or `[N, C]` without `return_sequences` | `[N, H]`; `[S, N, H]` of S cells or directions | as h | none, but a mask `[N, T]` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A module of PyTorch, or one of its cells.
    PyTorch {
        /// Whether it is an `nn.RNNCell`, `nn.LSTMCell` or `nn.GRUCell`.
        cell: bool,
        /// Whether x is `[T, N, I]` rather than `[N, T, I]`.
        time_major: bool,
    },
    /// A node of ONNX.
    Onnx {
        /// The attribute `layout`: whether batches come first.
        batch_first: bool,
    },
    /// A layer of Keras.
    Keras {
        /// Whether every output is given, or the last one.
        return_sequences: bool,
        /// Whether masked steps give zeros rather than the output before them.
        zero_output_for_mask: bool,
    },
}

/// A recurrent module, node or layer that is ready to run.
///
/// It is not changed by running it, and may be run from several threads.
#[derive(Clone, Debug)]
pub struct Recurrent<T> {
    name: String,
    source: Source,
    stack: Stack<T>,
    parts: Vec<Part>,
    defaults: Defaults,
}

/// Where inputs come from that are not given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) h0: Origin,
    pub(crate) c0: Origin,
    pub(crate) lengths: Origin,
}

/// Where an input comes from that is not given.
#[derive(Clone, Debug, Default)]
pub(crate) enum Origin {
    /// States are zeros, rows are whole.
    #[default]
    None,
    /// The file has it.
    Constant(Tensor),
    /// From the value of this name, which is computed outside: it has to be given.
    Outside(String),
}

/// A layer that was packed, and what its file stores of it.
pub(crate) struct Packed<T> {
    pub(crate) layer: Layer<T>,
    pub(crate) part: Part,
}

impl<T: Element> Packed<T> {
    pub(crate) fn new(label: impl Into<String>, weights: Weights<T>, options: Options) -> Result<Self> {
        let part = Part { label: label.into(), parameters: stored(&weights) };
        Ok(Packed { layer: Layer::new(weights, options)?, part })
    }
}

/// The number of values of `weights`.
fn stored<T>(weights: &Weights<T>) -> usize {
    let optional = [weights.b_w(), weights.b_r(), weights.peepholes(), weights.projection()];
    weights.w().len() + weights.r().len() + optional.into_iter().flatten().map(<[T]>::len).sum::<usize>()
}

/// What a [`Recurrent`] is run over. A tensor alone is x, from a state of zeros.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The sequences, in the shape that [`Source`] says.
    pub x: &'a Tensor,
    /// The hidden state to start from.
    pub h0: Option<&'a Tensor>,
    /// The cell state to start from.
    pub c0: Option<&'a Tensor>,
    /// How many steps each row has, `[N]`, integers. PyTorch and ONNX. A row of length 0 keeps its initial state; ONNX
    /// Runtime gives zeros.
    pub lengths: Option<&'a Tensor>,
    /// Which steps of each row take part, `[N, T]`, booleans or integers. Keras.
    pub mask: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for Inputs<'a> {
    fn from(x: &'a Tensor) -> Self {
        Inputs { x, h0: None, c0: None, lengths: None, mask: None }
    }
}

/// What running gives, in the shapes that [`Source`] says.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// The outputs.
    pub y: Tensor,
    /// The final hidden state; none of a whole model, nor of Keras' stacked cells of different sizes.
    pub hn: Option<Tensor>,
    /// The final cell state of an LSTM.
    pub cn: Option<Tensor>,
}

impl<T: Element> Recurrent<T> {
    /// Its name in the file: the prefix of a module, which is empty for one at the root; the path of a node; a layer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it comes from, and so the shapes that it takes.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Its layers and directions.
    pub fn stack(&self) -> &Stack<T> {
        &self.stack
    }

    /// Whether steps are taken in order only, so that a long sequence can be cut into calls: no layer goes backwards.
    pub fn is_causal(&self) -> bool {
        let mut directions = self.stack.levels().iter().flat_map(Level::layers).map(|(_, direction)| direction);
        directions.all(|direction| direction == Direction::Forward)
    }

    /// A recurrent layer of `levels`, whose layers and directions `parts` describes in their order.
    pub(crate) fn new(
        name: impl Into<String>,
        source: Source,
        levels: Vec<Level<T>>,
        parts: Vec<Part>,
    ) -> Result<Self> {
        let stack = Stack::new(levels)?;
        Ok(Recurrent { name: name.into(), source, stack, parts, defaults: Defaults::default() })
    }

    pub(crate) fn with_defaults(self, defaults: Defaults) -> Self {
        Recurrent { defaults, ..self }
    }

    /// The error at what is called `what` of this layer.
    fn at(&self, what: &str, error: Error) -> Error {
        let error = error.within(what);
        if self.name.is_empty() { error } else { error.within(&self.name) }
    }
}
