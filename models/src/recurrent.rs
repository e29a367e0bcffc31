//! One recurrent layer of a file, ready to run in the shapes of the framework that it comes from.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use gatefold::Stack;

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

/// A line of a description: one layer and direction of a [`Recurrent`], or a layer of a whole model.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The name in its file; of one among several layers and directions with those behind it.
    pub name: String,
    /// `SimpleRNN`, `LSTM` or `GRU`; of other layers their class.
    pub cell: String,
    /// In what it departs from the standard, such as `reset after, reverse, clip 3`; may be empty.
    pub variant: String,
    /// The shapes, as `I 8, H 32`.
    pub shapes: String,
    /// Weights and biases that the file stores for it.
    pub parameters: usize,
    /// Multiplications and additions for one row and step.
    pub macs: usize,
    /// Bytes of its weights in memory.
    pub packed_bytes: usize,
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

    /// A line for each layer and direction.
    pub fn describe(&self) -> Vec<Row> {
        Vec::new()
    }

    /// Whether steps are taken in order only, so that a long sequence can be cut into calls: no layer goes backwards.
    pub fn is_causal(&self) -> bool {
        false
    }

    /// Runs over `inputs`. Cost: that of the layers, and a copy of x if its dtype is another than T.
    ///
    /// # Errors
    /// If an input does not fit, is of another dtype, or is one that the framework does not have; by its name.
    pub fn run<'a>(&self, inputs: impl Into<Inputs<'a>>) -> Result<Outputs> {
        self.run_in_chunks(inputs, usize::MAX, |_| {})
    }

    /// The same, at most `chunk` steps a time, which bounds the memory between layers; after each, `progress` is called
    /// with the number of steps done. One chunk is the whole where [`is_causal`](Self::is_causal) does not hold or there is
    /// a mask. The outputs have the same bits.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_in_chunks<'a>(
        &self,
        inputs: impl Into<Inputs<'a>>,
        chunk: usize,
        progress: impl FnMut(usize),
    ) -> Result<Outputs> {
        let (_, _, _) = (inputs.into(), chunk, progress);
        Err(Error::unsupported(&self.name, "running"))
    }
}
