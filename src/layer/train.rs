//! Training: a forward pass that keeps what the backward pass needs, and the backward pass.

use super::Layer;
use crate::backward::{Engine, Pass};
use crate::cell::{Activation, Cell};
use crate::error::{Error, Result, same};
use crate::gemm::Element;
use crate::grads::{Accumulate, Grads, Upstream};
use crate::input::{Input, Rows, Source};
use crate::output::Output;
use crate::schedule::Threads;
use crate::state::State;
use crate::tape::{Call, Tape};
use crate::weights::{Weights, expect};
use crate::workspace::Workspace;

impl<T: Element> Layer<T> {
    /// As [`Layer::forward_into`], with the same bits, and keeps on `tape` what [`Layer::backward`] needs. The layer must have
    /// its canonical weights, see [`Options::keep_weights`](crate::Options::keep_weights).
    ///
    /// ```
    /// use gatefold::cell::{Activation, Cell};
    /// use gatefold::seq::time_major;
    /// use gatefold::{Accumulate, Grads, Layer, Options, Output, Tape, Upstream, Weights, Workspace};
    ///
    /// // h' = relu(2 x + 3 h)
    /// let cell = Cell::SimpleRnn { activation: Activation::Relu };
    /// let weights = Weights::new(cell, 1, 1, vec![2.0], vec![3.0], None, None)?;
    /// let layer = Layer::new(weights, Options { keep_weights: true, ..Options::default() })?;
    ///
    /// let (mut state, mut tape, mut workspace) = (layer.state(1)?, Tape::new(), Workspace::new());
    /// let x = [1.0, 10.0];
    /// layer.record(time_major(&x, [2, 1, 1])?, &mut state, Output::StateOnly, &mut tape, &mut workspace)?;
    /// assert_eq!(state.h_to_vec(), [26.0]); // 2*10 + 3*(2*1)
    ///
    /// let mut grads = Grads::new();
    /// let of_state = Upstream { dh: Some(&[1.0]), ..Upstream::default() };
    /// layer.backward(&mut tape, of_state, &mut grads, Accumulate::Overwrite)?;
    /// assert_eq!((&grads.dx[..], &grads.dw[..], &grads.dr[..]), (&[6.0, 2.0][..], &[13.0][..], &[2.0][..]));
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    ///
    /// Cost: that of a forward pass whose gates are stored. With a tape and a workspace that were used for such sizes it
    /// allocates nothing.
    ///
    /// # Errors
    /// As [`Layer::forward_into`]; [`Error::Unsupported`] for a layer without its weights, anything but the standard
    /// equations (tanh or ReLU of a SimpleRNN, projection and peepholes of an LSTM, either reset gate), a mask, and packed
    /// sequences. The tape holds nothing then.
    pub fn record<'a>(
        &self,
        x: impl Into<Input<'a, T>>,
        state: &mut State<T>,
        y: Output<'_, T>,
        tape: &mut Tape<T>,
        workspace: &mut Workspace<T>,
    ) -> Result<()> {
        self.forward_on(self.threads, x.into(), state, y, workspace, Some(tape))
    }

    /// Goes back through the call that is on `tape`, by the weights that it was recorded with, and fills `grads`. The tape
    /// is used up: a second pass over it is refused.
    ///
    /// With the native backend the bits of all gradients are the same for any number of threads and every instruction set. Gradients of states become +0
    /// below 2^-100 (f32) or 2^-960 (f64), as states do.
    ///
    /// Cost: twice the floating-point operations of the forward pass; one step's product at a time for the gradients of
    /// states, and large products for those of weights and of x. R and W are packed again in every call, into memory that the
    /// tape keeps: with a tape and gradients that were used for such sizes it allocates nothing (a backend other than the
    /// native one may).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a tape without a call or with the call of a layer of another cell or size, and as
    /// [`Layer::record`]; [`Error::Shape`], naming what of `upstream` does not fit, or what of `grads` that is to be added
    /// to; nothing was changed then.
    pub fn backward(
        &self,
        tape: &mut Tape<T>,
        upstream: Upstream<'_, T>,
        grads: &mut Grads<T>,
        accumulate: Accumulate,
    ) -> Result<()> {
        self.backward_on(self.threads, tape, upstream, grads, accumulate)
    }

    /// The same on so many threads.
    pub(crate) fn backward_on(
        &self,
        threads: Threads,
        tape: &mut Tape<T>,
        upstream: Upstream<'_, T>,
        grads: &mut Grads<T>,
        accumulate: Accumulate,
    ) -> Result<()> {
        let weights = self.trainable()?;
        let call = self.check_tape(tape)?;
        self.check_upstream(call, upstream)?;
        grads.check(weights, accumulate)?;
        let engine = self.stages[0].foreign().map_or(Engine::Native(self.isa), Engine::Foreign);
        let pass = Pass { weights, isa: self.isa, engine, threads, call };
        pass.run(tape, upstream, grads, accumulate)?;
        tape.clear();
        Ok(())
    }

    /// The call on a tape, if it is one of this layer's.
    pub(crate) fn check_tape(&self, tape: &Tape<T>) -> Result<Call> {
        match tape.call() {
            Some(call) if call.dims == self.dims && call.replaced == self.replaced => Ok(call),
            Some(call) if call.dims == self.dims => {
                Err(Error::Unsupported { what: "tape", why: "the weights were replaced since it was recorded" })
            }
            Some(_) => Err(Error::Unsupported { what: "tape", why: "it holds a call of another cell or size" }),
            None => Err(Error::Unsupported { what: "tape", why: "it holds no call; a backward pass uses it up" }),
        }
    }

    fn check_upstream(&self, call: Call, Upstream { dy, dh, dc }: Upstream<'_, T>) -> Result<()> {
        if let Some(dy) = dy {
            same("dy timesteps", call.time, dy.shape().time)?;
            same("dy rows", call.batch, dy.shape().batch)?;
            same("dy channels", self.dims.output(), dy.shape().channels)?;
        }
        if let Some(dh) = dh {
            expect("dh", call.batch * self.dims.output(), dh)?;
        }
        match dc {
            Some(dc) if self.dims.cell.has_cell_state() => expect("dc", call.batch * self.dims.hidden, dc),
            Some(_) => Err(Error::Unsupported { what: "dc", why: "only an LSTM has a cell state" }),
            None => Ok(()),
        }
    }

    /// The weights, if there is a backward pass for the layer.
    pub(crate) fn trainable(&self) -> Result<&Weights<T>> {
        let no = |what, why| Err(Error::Unsupported { what, why });
        let (cell, variant) = (self.dims.cell, self.dims.variant);
        let standard = "gradients are computed of the standard equations";
        if let Cell::SimpleRnn { activation } = cell
            && !matches!(activation, Activation::Tanh | Activation::Relu)
        {
            return no("training of other activations", standard);
        }
        let departs = [
            ("training of coupled gates", variant.coupled),
            ("training of an attended update gate", variant.attention),
            ("training of clipped pre-activations", variant.clip.is_some()),
            ("training of other activations", variant.activations != cell.standard().activations),
        ];
        if let Some((what, _)) = departs.into_iter().find(|(_, departs)| *departs) {
            return no(what, standard);
        }
        match &self.weights {
            Some(weights) => Ok(weights),
            None => no("training without canonical weights", "build the layer with Options::keep_weights"),
        }
    }

    /// Refuses what cannot be recorded.
    pub(crate) fn check_record(&self, input: &Input<'_, T>) -> Result<()> {
        self.trainable()?;
        match (input.x, input.rows) {
            (Source::Packed { .. }, _) => {
                Err(Error::Unsupported { what: "training on packed sequences", why: "give lengths instead" })
            }
            (_, Rows::Mask { .. }) => {
                Err(Error::Unsupported { what: "training under a mask", why: "lengths are what can be recorded" })
            }
            _ => Ok(()),
        }
    }
}
