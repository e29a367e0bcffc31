//! What departs from a cell's standard equations: options that are part of what was trained.

use super::{Weights, expect};
use crate::cell::{Activation, Cell};
use crate::error::{Error, Result};
use gatefold_kernels::real::Real;

impl<T: Real> Weights<T> {
    /// An LSTM whose output is projected to P units, h' = W_hr (o tanh(c')): `w: [4*H, I]`, `r: [4*H, P]`,
    /// `projection: [P, H]`, biases `[4*H]`. PyTorch's `proj_size`, oneDNN's LSTMP (Sak, Senior and Beaufays,
    /// arXiv:1402.1128). P is `projection.len() / hidden`.
    ///
    /// # Errors
    /// As [`Weights::new`], `"projection"` among the names.
    pub fn projected(
        input: usize,
        hidden: usize,
        w: Vec<T>,
        r: Vec<T>,
        [b_w, b_r]: [Option<Vec<T>>; 2],
        projection: Vec<T>,
    ) -> Result<Self> {
        let units = projection.len() / hidden.max(1);
        let output = ("projection", units);
        let mut weights = Weights::sized(Cell::Lstm, input, hidden, output, w, r, [b_w, b_r])?;
        expect("projection", units * hidden, &projection)?;
        weights.dims.projection = Some(units);
        weights.projection = Some(projection);
        Ok(weights)
    }

    /// An LSTM with peepholes: i and f see c, o sees c' (Gers and Schmidhuber, Recurrent nets that time and count, 2000;
    /// ONNX' input P). `peepholes: [3*H]` in the order i, f, o.
    ///
    /// # Errors
    /// [`Error::Shape`] for another length, [`Error::Unsupported`] for a cell that is no LSTM.
    pub fn with_peepholes(mut self, peepholes: Vec<T>) -> Result<Self> {
        self.only(Cell::Lstm, "peepholes")?;
        expect("peepholes", 3 * self.dims.hidden, &peepholes)?;
        self.dims.variant.peepholes = true;
        self.peepholes = Some(peepholes);
        Ok(self)
    }

    /// An LSTM whose forget gate is f = 1 - i; the weights of f do not count. ONNX' `input_forget`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a cell that is no LSTM.
    pub fn coupled(mut self) -> Result<Self> {
        self.only(Cell::Lstm, "coupled gates")?;
        self.dims.variant.coupled = true;
        Ok(self)
    }

    /// Other activations than the standard ones: one of a SimpleRNN; two of a GRU, of its gates and of its candidate; three
    /// of an LSTM, of its gates, of its candidate and of the cell state on its way to the output. ONNX' f, g, h; Keras'
    /// `recurrent_activation`, `activation` and, for an LSTM, `activation` again.
    ///
    /// ```
    /// use gatefold::Weights;
    /// use gatefold::cell::{Activation, Cell};
    ///
    /// let weights = Weights::new(Cell::Lstm, 1, 1, vec![0.5f32; 4], vec![0.1; 4], None, None)?;
    /// let hard = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };
    /// let weights = weights.with_activations(&[hard, Activation::Tanh, Activation::Tanh])?;
    /// assert!(weights.with_activations(&[hard]).is_err());
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of them, [`Error::Number`] for a parameter that is not finite as a T,
    /// [`Error::Unsupported`] as [`Weights::update_gate`].
    pub fn with_activations(mut self, activations: &[Activation]) -> Result<Self> {
        let expected = match self.dims.cell {
            Cell::SimpleRnn { .. } => 1,
            Cell::Gru { .. } => 2,
            Cell::Lstm => 3,
        };
        expect("activations", expected, activations)?;
        for activation in activations {
            for (argument, found) in [("alpha", activation.alpha()), ("beta", activation.beta())] {
                if let Some(found) = found.filter(|&parameter| !T::from_f64(parameter).to_f64().is_finite()) {
                    return Err(Error::Number { argument, expected: "a finite number", found });
                }
            }
        }
        self.dims.variant.activations[..expected].copy_from_slice(activations);
        if let Cell::SimpleRnn { activation } = &mut self.dims.cell {
            *activation = activations[0];
        }
        self.check_turned()?;
        Ok(self)
    }

    /// Pre-activations are bounded to -clip and clip. ONNX' `clip`.
    ///
    /// # Errors
    /// [`Error::Number`] if `clip` is not positive as a T.
    pub fn with_clip(mut self, clip: f64) -> Result<Self> {
        if T::from_f64(clip) > T::ZERO {
            self.dims.variant.clip = Some(clip);
            Ok(self)
        } else {
            Err(Error::Number { argument: "clip", expected: "a positive number", found: clip })
        }
    }

    /// A GRU whose update gate is attended: (1 - a) z in the place of z, where a is one value for each row and step, given
    /// by [`Input::attention`](crate::Input::attention). oneDNN's AUGRU (Zhou et al., arXiv:1809.03672), with the reset
    /// gate after the product or before it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a cell that is no GRU, and as [`Weights::update_gate`].
    pub fn attended(mut self) -> Result<Self> {
        let Cell::Gru { .. } = self.dims.cell else {
            return Err(Error::Unsupported { what: "attention", why: "only a GRU has an update gate" });
        };
        self.dims.variant.attention = true;
        self.check_turned()?;
        Ok(self)
    }

    fn only(&self, cell: Cell, what: &'static str) -> Result<()> {
        if self.dims.cell == cell { Ok(()) } else { Err(Error::Unsupported { what, why: "only an LSTM has such" }) }
    }
}
