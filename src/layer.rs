//! Layers: packed weights that sequences run through.

mod train;
mod typed;

pub use typed::{Gru, Lstm, SimpleRnn};

use crate::caches::Caches;
use crate::dims::Dims;
use crate::error::{Error, Result, same};
use crate::gemm::{Backend, Element, Gemm};
use crate::input::{Input, Source};
use crate::output::Output;
use crate::schedule::{self, Plan, Threads};
use crate::seq::{batch_major_mut, is_batch_major, product, time_major_mut};
use crate::sequence::Job;
use crate::solo::Row;
use crate::stages::Stage;
use crate::state::{Planes, State};
use crate::tape::{Call, Tape, TapeMut};
use crate::weights::{Weights, WeightsMut};
use crate::workspace::Workspace;
use gatefold_kernels::isa::Isa;
use gatefold_kernels::mat::MatMut;
use std::sync::Arc;

/// Choices that are made once, when a layer is built.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// What computes the products.
    pub backend: Backend,
    /// The instruction set; `None`: what the environment variable `GATEFOLD_ISA` names, else the best of the processor.
    pub isa: Option<Isa>,
    /// How many threads may work on a call.
    pub threads: Threads,
    /// How calls are cut; `None`: as [`Plan::new`] chooses for the sizes of each. No plan has more parts than rows, a larger
    /// block than there are steps, or more threads in its gang than 16. On one thread ([`Threads::One`], packed sequences, and
    /// layers that run beside others) only its blocks count.
    pub plan: Option<Plan>,
    /// Whether the canonical weights stay beside the packed ones, for [`Layer::weights`]; this doubles the memory.
    pub keep_weights: bool,
}

/// Why weights cannot be changed in place.
pub(crate) const NOT_KEPT: Error = Error::Unsupported {
    what: "an update without canonical weights",
    why: "build the layer with Options::keep_weights",
};

/// A recurrent layer. [`Gru`], [`Lstm`] and [`SimpleRnn`] are this with a known cell.
///
/// With the native backend every output has the same bits whatever the batch around its row, the number of threads,
/// the split of time into calls, and the instruction set:
///
/// ```
/// use gatefold::cell::Cell;
/// use gatefold::seq::time_major;
/// use gatefold::{Layer, Options, Output, Weights, Workspace};
///
/// let weights = Weights::new(Cell::Lstm, 2, 3, vec![0.1f32; 24], vec![-0.2; 36], None, None)?;
/// let lstm = Layer::new(weights, Options::default())?;
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // T = 3, N = 1, I = 2
/// let whole = lstm.forward(time_major(&x, [3, 1, 2])?, None)?;
///
/// let (mut state, mut workspace) = (lstm.state(1)?, Workspace::new());
/// for frame in x.chunks(2) {
///     let frame = time_major(frame, [1, 1, 2])?;
///     lstm.forward_into(frame, &mut state, Output::StateOnly, &mut workspace)?;
/// }
/// assert_eq!(state.h_row(0), Some(&whole.y[6..]));
/// # Ok::<(), gatefold::Error>(())
/// ```
///
/// A layer is not changed by running it: threads may share one, each with a state and a workspace of its own.
#[derive(Clone, Debug)]
pub struct Layer<T> {
    dims: Dims,
    stages: Vec<Stage<T>>,
    weights: Option<Weights<T>>,
    isa: Isa,
    /// Of the packed weights.
    bytes: usize,
    threads: Threads,
    fixed: Option<Plan>,
    /// How often the weights were replaced.
    replaced: usize,
}

/// What [`Layer::forward`] and [`Layer::forward_last`] return.
#[derive(Clone, Debug)]
pub struct Forward<T> {
    /// The outputs, dense: `[T, N, H]`, `[N, T, H]` or `[N, H]`, as the method says.
    pub y: Vec<T>,
    /// The final state.
    pub state: State<T>,
}

impl<T: Element> Layer<T> {
    /// Packs `weights`. Cost: every weight is copied once; the packed ones take [`Layer::packed_bytes`].
    ///
    /// # Errors
    /// [`Error::Isa`] if `GATEFOLD_ISA` names none that is available, [`Error::Unsupported`] if the library was built
    /// without the backend, [`Error::Shape`] for `memory` that cannot be had.
    pub fn new(weights: Weights<T>, options: Options) -> Result<Self> {
        let product = T::foreign(options.backend)?;
        Self::build(weights, options, product)
    }

    /// A layer whose products are computed by `product` instead of one of the backends. `product` is called at every step,
    /// from every thread that works on a call.
    ///
    /// ```
    /// use gatefold::cell::{Activation, Cell};
    /// use gatefold::gemm::Gemm;
    /// use gatefold::seq::{MatMut, MatRef, time_major};
    /// use gatefold::{Layer, Options, Weights};
    ///
    /// #[derive(Debug)]
    /// struct Loops;
    ///
    /// impl Gemm<f64> for Loops {
    ///     fn gemm(&self, a: MatRef<f64>, b: MatRef<f64>, beta: f64, mut c: MatMut<f64>) -> gatefold::Result<()> {
    ///         for m in 0..a.rows() {
    ///             for (n, c) in c.row_mut(m).into_iter().flatten().enumerate() {
    ///                 let dot: f64 = (0..a.cols()).filter_map(|k| Some(a.get(m, k)? * b.get(k, n)?)).sum();
    ///                 *c = if beta == 0.0 { dot } else { dot + beta * *c };
    ///             }
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let cell = Cell::SimpleRnn { activation: Activation::Relu };
    /// let weights = Weights::new(cell, 1, 1, vec![2.0], vec![3.0], Some(vec![1.0]), None)?;
    /// let layer = Layer::with_gemm(weights, Options::default(), std::sync::Arc::new(Loops))?;
    /// let y = layer.forward(time_major(&[1.0, 1.0], [2, 1, 1])?, None)?.y;
    /// assert_eq!(y, [3.0, 12.0]); // 2*1 + 1, 2*1 + 1 + 3*3
    /// # Ok::<(), gatefold::Error>(())
    /// ```
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
        // They are read now, so that no call has to.
        Caches::of_machine();
        let dims = weights.dims();
        let stages = Stage::all(isa, product, &weights)?;
        let weights = options.keep_weights.then_some(weights);
        let bytes = stages.iter().map(Stage::bytes).sum();
        Ok(Layer { dims, stages, weights, isa, bytes, threads: options.threads, fixed: options.plan, replaced: 0 })
    }

    /// Replaces the weights: they are packed into the same memory. States of the layer stay valid.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another cell, [`Error::Shape`] for other sizes; the layer stays as it was.
    pub fn set_weights(&mut self, weights: Weights<T>) -> Result<()> {
        let (own, other) = (self.dims, weights.dims());
        if own.cell != other.cell || own.variant != other.variant {
            return Err(Error::Unsupported { what: "cell", why: "a layer keeps the cell that it was built with" });
        }
        same("input", own.input, other.input)?;
        same("hidden", own.hidden, other.hidden)?;
        same("projection", own.projection.unwrap_or(0), other.projection.unwrap_or(0))?;
        Stage::pack(&mut self.stages, &weights)?;
        self.replaced = self.replaced.wrapping_add(1);
        if self.weights.is_some() {
            self.weights = Some(weights);
        }
        Ok(())
    }

    /// Changes the weights in place, and packs them again. States of the layer stay valid; a tape does not.
    ///
    /// ```
    /// use gatefold::cell::{Activation, Cell};
    /// use gatefold::{Layer, Options, Weights};
    ///
    /// let cell = Cell::SimpleRnn { activation: Activation::Tanh };
    /// let weights = Weights::new(cell, 1, 1, vec![2.0], vec![3.0], None, None)?;
    /// let mut layer = Layer::new(weights, Options { keep_weights: true, ..Options::default() })?;
    /// layer.update(|weights| weights.r[0] -= 0.5)?;
    /// assert_eq!(layer.weights().map(|weights| weights.r()), Some(&[2.5][..]));
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a layer without its weights, see [`Options::keep_weights`].
    pub fn update(&mut self, change: impl FnOnce(WeightsMut<'_, T>)) -> Result<()> {
        // Should `change` panic, the layer is left without them, and runs on what was packed.
        let Some(mut weights) = self.weights.take() else { return Err(NOT_KEPT) };
        change(weights.values_mut());
        self.replaced = self.replaced.wrapping_add(1);
        let packed = Stage::pack(&mut self.stages, &weights);
        self.weights = Some(weights);
        packed
    }

    /// A state of zeros for `batch` rows, N.
    ///
    /// # Errors
    /// It does not fit in memory.
    pub fn state(&self, batch: usize) -> Result<State<T>> {
        State::zeros(self.dims, batch)
    }

    /// Scratch memory for sequences of up to `time` steps, T, of up to `batch` rows, N: `forward_into` with these sizes and
    /// with smaller ones allocates nothing, whatever the [`Input`] says about rows and direction, as long as there are no
    /// more threads than now. It serves any layer and sizes, and grows where it must.
    ///
    /// # Errors
    /// It does not fit in memory.
    pub fn workspace(&self, time: usize, batch: usize) -> Result<Workspace<T>> {
        let mut workspace = Workspace::new();
        self.reserve(&mut workspace, time, batch)?;
        Ok(workspace)
    }

    pub(crate) fn reserve(&self, workspace: &mut Workspace<T>, time: usize, batch: usize) -> Result<()> {
        match self.fixed {
            Some(_) => [self.threads, Threads::One].into_iter().try_for_each(|threads| {
                workspace.reserve(&self.stages, self.dims, self.plan_on(threads, time, batch), batch)
            }),
            None => workspace.reserve_up_to(&self.stages, self.dims, [time, batch], self.plan(time, batch).parts),
        }
    }

    /// The same for calls on one thread.
    pub(crate) fn reserve_alone(&self, workspace: &mut Workspace<T>, time: usize, batch: usize) -> Result<()> {
        match self.fixed {
            Some(_) => workspace.reserve(&self.stages, self.dims, self.plan_on(Threads::One, time, batch), batch),
            None => workspace.reserve_up_to(&self.stages, self.dims, [time, batch], 1),
        }
    }

    /// Refuses a state that this layer cannot carry on from.
    pub(crate) fn check_state(&self, batch: usize, state: &State<T>) -> Result<()> {
        same("state rows", batch, state.batch())?;
        state.check_dims(self.dims)
    }

    /// How a sequence of `time` steps, T, of `batch` rows, N, is cut, with the threads that there are now.
    pub fn plan(&self, time: usize, batch: usize) -> Plan {
        self.plan_on(self.threads, time, batch)
    }

    fn plan_on(&self, threads: Threads, time: usize, batch: usize) -> Plan {
        match self.fixed {
            Some(plan) if threads == Threads::One => Plan { parts: 1, gang: 1, ..plan.within(time, batch) },
            Some(plan) => plan.within(time, batch),
            None => threads.plan(self.dims, time, batch, size_of::<T>()),
        }
    }

    /// Runs `x: [T, N, I]` through the layer from `state`, which holds the final state afterwards, and writes `y`, see
    /// [`Output`]. T and N may be 0. `x` is a [`SeqRef`](crate::seq::SeqRef), or an [`Input`] that says more about it.
    ///
    /// Cost: T N times [`Dims::flops`], and the activations. With the native backend it allocates nothing if `workspace` has
    /// been used for such sizes, or was made for them by [`Layer::workspace`]; calls in sequence with the same state give
    /// the same bits as one call with the whole.
    ///
    /// # Errors
    /// [`Error::Shape`], naming what of `x`, `state` or `y` does not fit; [`Error::Unsupported`] for the state of another
    /// layer, and for what does not go together in an [`Input`]; or the workspace does not fit in memory: before anything
    /// is written. What a product that is not the native one refuses comes back as well, and then `state` and `y` hold
    /// something in between.
    pub fn forward_into<'a>(
        &self,
        x: impl Into<Input<'a, T>>,
        state: &mut State<T>,
        y: Output<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<()> {
        self.forward_on(self.threads, x.into(), state, y, workspace, None)
    }

    /// What a tape keeps of a call.
    pub(crate) fn call(&self, input: &Input<'_, T>) -> Call {
        Call::new(self.dims, self.replaced, input)
    }

    /// The same on so many threads, and on a tape if there is one.
    pub(crate) fn forward_on(
        &self,
        threads: Threads,
        input: Input<'_, T>,
        state: &mut State<T>,
        y: Output<'_, T>,
        workspace: &mut Workspace<T>,
        mut tape: Option<&mut Tape<T>>,
    ) -> Result<()> {
        if let Some(tape) = &mut tape {
            tape.clear();
            self.check_record(&input)?;
        }
        let [time, batch, channels] = input.sizes();
        same("x channels", self.dims.input, channels)?;
        input.check(self.dims.variant.attention)?;
        if !input.stack_noise.is_none() {
            let why = "a layer takes recurrent_dropout, zoneout and zoneout_cell";
            return Err(Error::Unsupported { what: "stack_noise of a layer", why });
        }
        input.noise.check(self.dims, [time, batch], input.is_packed())?;
        self.check_state(batch, state)?;
        y.check(time, batch, input.packed_rows(), self.dims.output())?;
        if tape.is_none()
            && let Some(row) = Row::of(&input, &self.stages, self.bytes)
        {
            return row.run(state, y, workspace, self.sharers(threads, time));
        }
        let call = self.call(&input);
        let recording = tape.as_mut().map(|tape| tape.begin(call, &input)).transpose()?;
        // Steps without rows have no memory behind them: there may be more than could ever be counted to.
        if batch > 0 {
            self.walk(threads, input, state.planes(), y, workspace, recording)?;
            state.advance(time);
        }
        if let Some(tape) = tape {
            tape.finish(call);
        }
        Ok(())
    }

    /// Threads that had better share the units of a row's steps. Weights that stay in the first cache are never shared.
    pub(crate) fn sharers(&self, threads: Threads, time: usize) -> usize {
        if threads == Threads::One || self.bytes <= Caches::of_machine().l1 {
            return 1;
        }
        self.fixed.map_or_else(|| threads.gang(self.dims, time, 1), |plan| plan.within(time, 1).gang)
    }

    /// All steps of arguments that were checked.
    fn walk(
        &self,
        threads: Threads,
        input: Input<'_, T>,
        state: Planes<'_, T>,
        y: Output<'_, T>,
        workspace: &mut Workspace<T>,
        tape: Option<TapeMut<'_, T>>,
    ) -> Result<()> {
        let [time, batch, _] = input.sizes();
        let plan = match input.x {
            Source::Padded(_) => self.plan_on(threads, time, batch),
            Source::Packed { .. } => self.plan_on(Threads::One, time, batch),
        };
        workspace.reserve(&self.stages, self.dims, plan, batch)?;
        if input.noise.recurrent_dropout.is_some() {
            workspace.reserve_dropped(self.dims, plan, batch)?;
        }
        let (dims, stages, scratch) = (self.dims, &self.stages[..], workspace.parts(plan));
        let job = Job { dims, stages, plan, input, state, y, scratch, tape };
        schedule::run(job, plan.parts)
    }

    /// Runs `x: [T, N, I]` through the layer from `initial`, or from zeros, and returns every output in the order of
    /// `x`: `[T, N, H]`, `[N, T, H]` for a batch-major `x`, `[sum of the batch sizes, H]` for a packed one. Keras:
    /// `return_sequences=True`.
    ///
    /// # Errors
    /// As [`Layer::forward_into`].
    pub fn forward<'a>(&self, x: impl Into<Input<'a, T>>, initial: Option<&State<T>>) -> Result<Forward<T>> {
        let input = x.into();
        let channels = self.dims.output();
        let mut y = values(&[input.all_rows().unwrap_or(usize::MAX), channels])?;
        let state = self.forward_from(input, initial, dense_output(&mut y, &input, channels)?)?;
        Ok(Forward { y, state })
    }

    /// The same, but returns the last output only, `[N, H]`. Keras: `return_sequences=False`.
    ///
    /// # Errors
    /// As [`Layer::forward_into`].
    pub fn forward_last<'a>(&self, x: impl Into<Input<'a, T>>, initial: Option<&State<T>>) -> Result<Forward<T>> {
        let input = x.into();
        let ([_, batch, _], channels) = (input.sizes(), self.dims.output());
        let mut y = values(&[batch, channels])?;
        let output = Output::Last(MatMut::dense(&mut y, batch, channels)?);
        let state = self.forward_from(input, initial, output)?;
        Ok(Forward { y, state })
    }

    fn forward_from(&self, input: Input<'_, T>, initial: Option<&State<T>>, y: Output<'_, T>) -> Result<State<T>> {
        let [_, batch, _] = input.sizes();
        let mut state = match initial {
            Some(state) => state.clone(),
            None => self.state(batch)?,
        };
        self.forward_into(input, &mut state, y, &mut Workspace::new())?;
        Ok(state)
    }
}

/// `y`, which [`values`] made for all of it, as the outputs of a call in the order of its input.
pub(crate) fn dense_output<'a, T: Element>(
    y: &'a mut [T],
    input: &Input<'_, T>,
    channels: usize,
) -> Result<Output<'a, T>> {
    let [time, batch, _] = input.sizes();
    Ok(match input.x {
        Source::Padded(x) if is_batch_major(x.shape()) => {
            Output::Sequence(batch_major_mut(y, [batch, time, channels])?)
        }
        Source::Padded(_) => Output::Sequence(time_major_mut(y, [time, batch, channels])?),
        Source::Packed { data, .. } => Output::Packed(MatMut::dense(y, data.rows(), channels)?),
    })
}

/// Room for outputs.
pub(crate) fn values<T: Element>(sizes: &[usize]) -> Result<Vec<T>> {
    let len = product(sizes).ok_or(Error::TooLarge { argument: "y" })?;
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| Error::TooLarge { argument: "y" })?;
    values.resize(len, T::NAN);
    Ok(values)
}

impl<T> Layer<T> {
    /// The cell and the sizes.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    pub(crate) fn stages(&self) -> &[Stage<T>] {
        &self.stages
    }

    /// How many threads it may use.
    pub(crate) fn threads(&self) -> Threads {
        self.threads
    }

    /// The instruction set that the weights were packed for and that computes.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The canonical weights, if [`Options::keep_weights`] asked for them.
    pub fn weights(&self) -> Option<&Weights<T>> {
        self.weights.as_ref()
    }
}

impl<T: Element> Layer<T> {
    /// Bytes of the packed weights: those of [`Dims::parameters`], and what pads units to whole vectors.
    pub fn packed_bytes(&self) -> usize {
        self.bytes
    }
}
