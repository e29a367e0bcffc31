//! Layers: packed weights that sequences run through.

mod typed;

pub use typed::{Gru, Lstm, SimpleRnn};

use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::gemm::{Backend, Element, Gemm};
use crate::schedule::{self, Plan, Threads};
use crate::seq::{SeqRef, SeqShape, batch_major_mut, is_batch_major, product, time_major_mut};
use crate::sequence::{Job, Output, Workspace};
use crate::stages::Stage;
use crate::state::State;
use crate::weights::Weights;
use gatefold_kernels::isa::Isa;
use gatefold_kernels::mat::MatMut;
use std::sync::Arc;

/// Choices that are made once, when a layer is built.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// What computes the products.
    pub backend: Backend,
    /// The instruction set; `None`: what `GATEFOLD_ISA` names, else the best of the processor.
    pub isa: Option<Isa>,
    /// How many threads may work on a call.
    pub threads: Threads,
    /// Whether the canonical weights stay beside the packed ones, for [`Layer::weights`].
    pub keep_weights: bool,
}

/// A recurrent layer. [`Gru`], [`Lstm`] and [`SimpleRnn`] are this with a known cell.
///
/// With the native backend every output has the same bits whatever the batch around its row, the number of threads,
/// the split of time into calls, and the instruction set.
#[derive(Clone, Debug)]
pub struct Layer<T> {
    dims: Dims,
    stages: Vec<Stage<T>>,
    weights: Option<Weights<T>>,
    isa: Isa,
    threads: Threads,
}

/// What [`Layer::forward`] and [`Layer::forward_last`] return.
#[derive(Clone, Debug)]
pub struct Forward<T> {
    /// The outputs, dense.
    pub y: Vec<T>,
    /// The final state.
    pub state: State<T>,
}

impl<T: Element> Layer<T> {
    /// Packs `weights`.
    ///
    /// # Errors
    /// [`Error::Isa`] if `GATEFOLD_ISA` names none that is available, [`Error::Unsupported`] if the library was built
    /// without the backend, [`Error::Shape`] for `memory` that cannot be had.
    pub fn new(weights: Weights<T>, options: Options) -> Result<Self> {
        let product = T::foreign(options.backend)?;
        Self::build(weights, options, product)
    }

    /// A layer whose products are computed by `product` instead of one of the backends. If it fails in the middle of a
    /// sequence, the call returns its error, and `y` and the state are left between the steps.
    ///
    /// # Errors
    /// As [`Layer::new`]; [`Error::Unsupported`] if `options` names a backend too.
    pub fn with_gemm(weights: Weights<T>, options: Options, product: Arc<dyn Gemm<T>>) -> Result<Self> {
        if options.backend != Backend::Native {
            return Err(Error::Unsupported { what: "backend", why: "a product of one's own takes its place" });
        }
        Self::build(weights, options, Some(product))
    }

    fn build(weights: Weights<T>, options: Options, product: Option<Arc<dyn Gemm<T>>>) -> Result<Self> {
        let isa = options.isa.map_or_else(Isa::chosen, Ok)?;
        let dims = Dims::new(weights.cell(), weights.input(), weights.hidden());
        let stages = Stage::all(isa, product, &weights)?;
        Ok(Layer { dims, stages, weights: options.keep_weights.then_some(weights), isa, threads: options.threads })
    }

    /// Replaces the weights, in the same memory.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another cell, [`Error::Shape`] for other sizes; the layer stays as it was.
    pub fn set_weights(&mut self, weights: Weights<T>) -> Result<()> {
        if weights.cell() != self.dims.cell {
            return Err(Error::Unsupported { what: "cell", why: "a layer keeps the cell that it was built with" });
        }
        for (argument, expected, found) in
            [("input", self.dims.input, weights.input()), ("hidden", self.dims.hidden, weights.hidden())]
        {
            if expected != found {
                return Err(Error::Shape { argument, expected, found });
            }
        }
        Stage::pack(&mut self.stages, &weights)?;
        if self.weights.is_some() {
            self.weights = Some(weights);
        }
        Ok(())
    }

    /// A state of zeros for `batch` rows.
    ///
    /// # Errors
    /// It does not fit in memory.
    pub fn state(&self, batch: usize) -> Result<State<T>> {
        State::zeros(self.dims, batch)
    }

    /// Scratch memory for sequences of up to `time` steps of up to `batch` rows.
    ///
    /// # Errors
    /// It does not fit in memory.
    pub fn workspace(&self, time: usize, batch: usize) -> Result<Workspace<T>> {
        let mut workspace = Workspace::new();
        workspace.reserve(&self.stages, self.dims, self.plan(time, batch), batch)?;
        Ok(workspace)
    }

    /// How a sequence of `time` steps of `batch` rows is cut, with the threads that there are now.
    pub fn plan(&self, time: usize, batch: usize) -> Plan {
        Plan::new(self.dims, time, batch, self.threads.count(), size_of::<T>())
    }

    /// Runs `x: [T, N, I]` through the layer from `state`, which holds the final state afterwards, and writes `y`.
    ///
    /// Allocates nothing if `workspace` has been used for such sizes, or was made for them by [`Layer::workspace`];
    /// calls in sequence with the same state give the same bits as one call with the whole.
    ///
    /// # Errors
    /// [`Error::Shape`], naming `x`, `state` or `y`, before anything is written.
    pub fn forward_into(
        &self,
        x: SeqRef<'_, T>,
        state: &mut State<T>,
        y: Output<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<()> {
        let SeqShape { time, batch, channels, .. } = x.shape();
        let same = |argument, expected, found| match expected == found {
            true => Ok(()),
            false => Err(Error::Shape { argument, expected, found }),
        };
        same("x channels", self.dims.input, channels)?;
        same("state rows", batch, state.batch())?;
        if state.dims() != self.dims {
            return Err(Error::Unsupported { what: "state", why: "it was made for a layer of another cell or size" });
        }
        y.check(time, batch, self.dims.hidden)?;
        if batch == 0 {
            // Steps without rows have no memory behind them: there may be more than could ever be counted to.
            return Ok(());
        }
        let plan = self.plan(time, batch);
        workspace.reserve(&self.stages, self.dims, plan, batch)?;
        let (dims, stages, scratch) = (self.dims, &self.stages[..], workspace.parts(plan));
        let job = Job { dims, stages, plan, x, state: state.planes(), y, scratch };
        schedule::run(job, plan.parts)?;
        state.advance(time);
        Ok(())
    }

    /// Runs `x: [T, N, I]` through the layer from `initial`, or from zeros, and returns every output in the order of
    /// `x`: `[T, N, H]`, or `[N, T, H]` for a batch-major `x`. Keras: `return_sequences=True`.
    ///
    /// # Errors
    /// As [`Layer::forward_into`].
    pub fn forward(&self, x: SeqRef<'_, T>, initial: Option<&State<T>>) -> Result<Forward<T>> {
        let (SeqShape { time, batch, .. }, hidden) = (x.shape(), self.dims.hidden);
        let mut y = self.values(&[time, batch, hidden])?;
        let output = match is_batch_major(x.shape()) {
            true => batch_major_mut(&mut y, [batch, time, hidden])?,
            false => time_major_mut(&mut y, [time, batch, hidden])?,
        };
        let state = self.forward_from(x, initial, Output::Sequence(output))?;
        Ok(Forward { y, state })
    }

    /// The same, but returns the last output only, `[N, H]`. Keras: `return_sequences=False`.
    ///
    /// # Errors
    /// As [`Layer::forward_into`].
    pub fn forward_last(&self, x: SeqRef<'_, T>, initial: Option<&State<T>>) -> Result<Forward<T>> {
        let (batch, hidden) = (x.shape().batch, self.dims.hidden);
        let mut y = self.values(&[batch, hidden])?;
        let output = Output::Last(MatMut::dense(&mut y, batch, hidden)?);
        let state = self.forward_from(x, initial, output)?;
        Ok(Forward { y, state })
    }

    fn forward_from(&self, x: SeqRef<'_, T>, initial: Option<&State<T>>, y: Output<'_, T>) -> Result<State<T>> {
        let mut state = match initial {
            Some(state) => state.clone(),
            None => self.state(x.shape().batch)?,
        };
        self.forward_into(x, &mut state, y, &mut Workspace::new())?;
        Ok(state)
    }

    fn values(&self, sizes: &[usize]) -> Result<Vec<T>> {
        let len = product(sizes).ok_or(Error::TooLarge { argument: "y" })?;
        let mut values = Vec::new();
        values.try_reserve_exact(len).map_err(|_| Error::TooLarge { argument: "y" })?;
        values.resize(len, T::NAN);
        Ok(values)
    }
}

impl<T> Layer<T> {
    /// Its cell and sizes.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// The instruction set that it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The canonical weights, if [`Options::keep_weights`] asked for them.
    pub fn weights(&self) -> Option<&Weights<T>> {
        self.weights.as_ref()
    }
}

impl<T: Element> Layer<T> {
    /// Bytes of the packed weights.
    pub fn packed_bytes(&self) -> usize {
        self.stages.iter().map(Stage::bytes).sum()
    }
}
