//! Which equations a layer computes.
//!
//! In all of them `x: [I]` is the input of this step, `h: [H]` the hidden state of the step before and `h'` the new one,
//! `c: [H]` and `c'` likewise the cell state; `W: [H, I]` is an input weight, `R: [H, H]` a recurrent one, `b: [H]` a bias;
//! `*` is elementwise, `.` a matrix product, and sigmoid(a) = 1 / (1 + exp(-a)).
//! A gate has two biases, `b_w` beside W and `b_r` beside R; either may be absent.

pub use gatefold_kernels::activation::Activation;
pub use gatefold_kernels::elementwise::Elementwise;
pub use gatefold_kernels::general::Variant;

/// The recurrence of a layer. What departs from its standard equations is a [`Variant`] of it.
///
/// ```
/// use gatefold::cell::{Cell, Reset};
///
/// let cell = Cell::Gru { reset: Reset::After };
/// assert_eq!((cell.gates(), cell.has_cell_state()), (3, false));
/// assert_eq!((Cell::Lstm.gates(), Cell::Lstm.has_cell_state()), (4, true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// The fully recurrent layer of Elman (Finding structure in time, 1990); Keras' `SimpleRNN`, PyTorch's and ONNX' `RNN`.
    ///
    /// ```text
    /// h' = activation(W.x + b_w + R.h + b_r)
    /// ```
    SimpleRnn {
        /// What the sum goes through.
        activation: Activation,
    },
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997) with the forget gate of Gers, Schmidhuber and Cummins
    /// (Learning to forget, 2000); Keras, PyTorch and ONNX compute this one.
    ///
    /// ```text
    /// i = sigmoid(W_i.x + b_wi + R_i.h + b_ri)     input gate
    /// f = sigmoid(W_f.x + b_wf + R_f.h + b_rf)     forget gate
    /// g = tanh   (W_g.x + b_wg + R_g.h + b_rg)     candidate
    /// o = sigmoid(W_o.x + b_wo + R_o.h + b_ro)     output gate
    /// c' = f*c + i*g
    /// h' = o*tanh(c')
    /// ```
    Lstm,
    /// The gated recurrent unit (Cho et al., arXiv:1406.1078, 2014), whose update gate z keeps the past:
    ///
    /// ```text
    /// r = sigmoid(W_r.x + b_wr + R_r.h + b_rr)     reset gate
    /// z = sigmoid(W_z.x + b_wz + R_z.h + b_rz)     update gate
    /// n = the candidate, see Reset
    /// h' = z*h + (1-z)*n
    /// ```
    ///
    /// For h' = (1-z)*h + z*n, as in Chung et al. (arXiv:1412.3555, 2014) and many tutorials, see
    /// [`UpdateGate`](crate::weights::UpdateGate): it is a conversion of the weights, not another cell.
    Gru {
        /// Where the reset gate acts.
        reset: Reset,
    },
}

/// Where the reset gate of a [`Cell::Gru`] acts in its candidate n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reset {
    /// On the recurrent product. PyTorch, cuDNN, Keras' default (`reset_after=True`), ONNX with `linear_before_reset=1`.
    ///
    /// ```text
    /// n = tanh(W_n.x + b_wn + r*(R_n.h + b_rn))
    /// ```
    After,
    /// On the state before the recurrent product, as in Cho et al. Keras with `reset_after=False`, ONNX' default.
    /// It costs a second pass over the units in each step, since R_n needs all of r*h.
    ///
    /// ```text
    /// n = tanh(W_n.x + b_wn + R_n.(r*h) + b_rn)
    /// ```
    Before,
}

impl Cell {
    /// G, the number of gates, the candidate included: blocks of H rows in each weight array. 1, 4 or 3.
    pub const fn gates(self) -> usize {
        match self {
            Cell::SimpleRnn { .. } => 1,
            Cell::Lstm => 4,
            Cell::Gru { .. } => 3,
        }
    }

    /// Whether a cell state c is carried beside the hidden state h.
    pub const fn has_cell_state(self) -> bool {
        matches!(self, Cell::Lstm)
    }

    /// The equations as they stand above.
    pub fn standard(self) -> Variant {
        match self {
            Cell::SimpleRnn { activation } => {
                let [_, candidate, cell] = Variant::default().activations;
                Variant { activations: [activation, candidate, cell], ..Variant::default() }
            }
            Cell::Lstm | Cell::Gru { .. } => Variant::default(),
        }
    }
}
