//! Layers on top of one another, each in one direction or in both.

mod level;
mod noise;
mod state;
mod train;
mod wave;
mod workspace;

pub use level::{Level, Merge};
pub use state::StackState;
pub use train::{StackGrads, StackTape};
pub use workspace::StackWorkspace;

use crate::error::{Error, Result, same};
use crate::gemm::Element;
use crate::input::{Direction, Input, Source};
use crate::layer::{NOT_KEPT, dense_output, values};
use crate::output::Output;
use crate::seq::{MatMut, product, time_major_mut};
use crate::tape::Tape;
use crate::weights::WeightsMut;
use gatefold_kernels::mat::MatRef;
use gatefold_kernels::seq::{SeqRef, SeqShape};
use level::Run;

/// Layers on top of one another: each takes the outputs of the one below. Cells and sizes may differ from layer to layer.
///
/// Two layers in both directions, PyTorch's `nn.LSTM(2, 3, num_layers=2, bidirectional=True)`:
///
/// ```
/// use gatefold::cell::Cell;
/// use gatefold::seq::time_major;
/// use gatefold::{Layer, Level, Merge, Options, Stack, Weights};
///
/// let lstm = |input: usize| {
///     let (w, r) = (vec![0.1f32; 12 * input], vec![-0.1; 36]);
///     Layer::new(Weights::new(Cell::Lstm, input, 3, w, r, None, None)?, Options::default())
/// };
/// let stack = Stack::new(vec![
///     Level::bidirectional(lstm(2)?, lstm(2)?, Merge::Concat)?,
///     Level::bidirectional(lstm(6)?, lstm(6)?, Merge::Concat)?,
/// ])?;
/// let x = [0.5; 5 * 4 * 2]; // T = 5, N = 4, I = 2
/// let run = stack.forward(time_major(&x, [5, 4, 2])?, None)?;
/// assert_eq!(run.y.len(), 5 * 4 * 6); // [T, N, 2*H]
/// assert_eq!(run.state.h_to_vec().len(), 4 * 4 * 3); // [L*D, N, H]
/// # Ok::<(), gatefold::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stack<T> {
    levels: Vec<Level<T>>,
}

/// What [`Stack::forward`] and [`Stack::forward_last`] return.
#[derive(Clone, Debug)]
pub struct StackForward<T> {
    /// The outputs of the last layer, dense: `[T, N, C]`, `[N, T, C]` or `[N, C]`, as the method says.
    pub y: Vec<T>,
    /// The final states.
    pub state: StackState<T>,
}

/// Where the last layer's outputs go.
pub(crate) enum Outputs<'a, T> {
    /// Merged, if it has two directions.
    Merged(Output<'a, T>),
    /// Of each direction.
    Apart([Output<'a, T>; 2]),
}

impl<T: Element> Stack<T> {
    /// Puts layers on top of one another, the first one at the bottom.
    ///
    /// # Errors
    /// [`Error::Zero`] for no layer, [`Error::Shape`] where a layer takes other channels than the one below gives.
    pub fn new(levels: Vec<Level<T>>) -> Result<Self> {
        if levels.is_empty() {
            return Err(Error::Zero { argument: "levels" });
        }
        for pair in levels.windows(2) {
            same("input of a layer", pair[0].output(), pair[1].input())?;
        }
        Ok(Stack { levels })
    }

    /// A state of zeros for `batch` rows, N, for every layer and direction.
    ///
    /// # Errors
    /// It does not fit in memory.
    pub fn state(&self, batch: usize) -> Result<StackState<T>> {
        StackState::zeros(self.levels.iter().flat_map(Level::layers).map(|(layer, _)| layer), batch)
    }

    /// Scratch memory for sequences of up to `time` steps, T, of up to `batch` rows, N: `forward_into` with these sizes and
    /// with smaller ones allocates nothing; see [`Layer::workspace`](crate::Layer::workspace).
    ///
    /// # Errors
    /// It does not fit in memory.
    pub fn workspace(&self, time: usize, batch: usize) -> Result<StackWorkspace<T>> {
        let mut workspace = StackWorkspace::new();
        let rows = product(&[time, batch]).ok_or(Error::TooLarge { argument: "batch" })?;
        workspace.reserve(&self.levels, rows, batch)?;
        wave::reserve(&self.levels, &mut workspace, time, batch)?;
        for level in &self.levels {
            for ((layer, _), workspace) in level.layers().zip(&mut workspace.layers) {
                layer.reserve(workspace, time, batch)?;
            }
        }
        Ok(workspace)
    }

    /// Runs `x: [T, N, I]` through all layers from `state`, which holds the final states afterwards, and writes the last
    /// layer's outputs to `y`. Lengths, a mask or packed steps hold for every layer; for dropout and zoneout see
    /// [`Input::stack_noise`]. Between layers stand T N C values, so that a long sequence is better cut into calls, where no
    /// layer goes backwards.
    ///
    /// In both directions with a merged `y`: the backward half stands beside the input that it belongs to, and where a
    /// mask leaves a step out, both give zeros, as Keras' `Bidirectional` does. [`Output::Last`] is the last output of each
    /// direction in its own order, the two final states: Keras' `return_sequences=False`.
    ///
    /// # Errors
    /// As [`Layer::forward_into`](crate::Layer::forward_into); [`Error::Unsupported`] for an input in reverse: layers have
    /// directions of their own.
    pub fn forward_into<'a>(
        &self,
        x: impl Into<Input<'a, T>>,
        state: &mut StackState<T>,
        y: Output<'_, T>,
        workspace: &mut StackWorkspace<T>,
    ) -> Result<()> {
        self.run(x.into(), state, Outputs::Merged(y), workspace)
    }

    /// The same, but the last layer's two directions are written apart, each beside its input. For ONNX' `[T, D, N, H]` see
    /// [`directions_mut`](crate::seq::directions_mut). Keras: `merge_mode=None`.
    ///
    /// # Errors
    /// As [`Stack::forward_into`]; [`Error::Unsupported`] if the last layer has one direction.
    pub fn forward_apart<'a>(
        &self,
        x: impl Into<Input<'a, T>>,
        state: &mut StackState<T>,
        y: [Output<'_, T>; 2],
        workspace: &mut StackWorkspace<T>,
    ) -> Result<()> {
        self.run(x.into(), state, Outputs::Apart(y), workspace)
    }

    /// Changes the weights of every layer and direction in place, in the order of [`StackState`], and packs them again. States
    /// stay valid; a tape does not. See [`Layer::update`](crate::Layer::update).
    ///
    /// # Errors
    /// [`Error::Unsupported`] if a layer is without its weights; then nothing was changed.
    pub fn update(&mut self, mut change: impl FnMut(usize, WeightsMut<'_, T>)) -> Result<()> {
        if self.levels.iter().flat_map(Level::layers).any(|(layer, _)| layer.weights().is_none()) {
            return Err(NOT_KEPT);
        }
        let mut layers = self.levels.iter_mut().flat_map(Level::layers_mut).enumerate();
        layers.try_for_each(|(k, layer)| layer.update(|weights| change(k, weights)))
    }

    fn run(
        &self,
        input: Input<'_, T>,
        state: &mut StackState<T>,
        y: Outputs<'_, T>,
        workspace: &mut StackWorkspace<T>,
    ) -> Result<()> {
        self.check(&input, state, &y)?;
        self.run_checked(input, state, y, workspace, None)
    }

    fn run_checked(
        &self,
        input: Input<'_, T>,
        state: &mut StackState<T>,
        mut y: Outputs<'_, T>,
        workspace: &mut StackWorkspace<T>,
        tapes: Option<&mut [Tape<T>]>,
    ) -> Result<()> {
        let [_, batch, _] = input.sizes();
        if batch == 0 {
            return Ok(());
        }
        if let (Outputs::Merged(y), None) = (&mut y, &tapes)
            && wave::run(&self.levels, &input, state.states_mut(), y, workspace)?
        {
            return Ok(());
        }
        let rows = input.all_rows().ok_or(Error::TooLarge { argument: "batch" })?;
        workspace.reserve(&self.levels, rows, batch)?;
        let StackWorkspace { layers: workspaces, between: [read, write], other, .. } = workspace;
        let (mut states, mut tapes, mut number) = (state.states_mut(), tapes, 0);
        let Some((last, lower)) = self.levels.split_last() else { return Ok(()) };
        for (i, level) in lower.iter().enumerate() {
            let from = match i.checked_sub(1) {
                Some(below) => above(&input, read, rows, lower[below].output())?,
                None => input,
            };
            let (now, later) = states.split_at_mut(level.directions());
            let y = Outputs::Merged(room(&input, write, rows, level.output())?);
            let (first, rest) = tapes.map(|tapes| tapes.split_at_mut(level.directions())).unzip();
            level.run(Run { input: from, number, states: now, y, workspaces, other, tapes: first })?;
            if let Some(mask) = input.stack_noise.above(i) {
                noise::multiply(&mut write[..rows * level.output()], mask);
            }
            std::mem::swap(read, write);
            (states, tapes, number) = (later, rest, number + level.directions());
        }
        let from = match lower.last() {
            Some(below) => above(&input, read, rows, below.output())?,
            None => input,
        };
        last.run(Run { input: from, number, states, y, workspaces, other, tapes })
    }

    /// Everything that could be refused, before anything is written.
    fn check(&self, input: &Input<'_, T>, state: &StackState<T>, y: &Outputs<'_, T>) -> Result<()> {
        if input.direction != Direction::Forward {
            return Err(Error::Unsupported { what: "an input in reverse", why: "layers have directions of their own" });
        }
        if !input.noise.is_none() {
            let why = "each layer needs masks of its own: give them by Input::stack_noise";
            return Err(Error::Unsupported { what: "dropout or zoneout of a stack", why });
        }
        let attended = self.levels.iter().flat_map(Level::layers).any(|(layer, _)| layer.dims().variant.attention);
        input.check(attended)?;
        let layers = self.levels.iter().flat_map(Level::layers);
        let [time, batch, channels] = input.sizes();
        same("x channels", self.input(), channels)?;
        same("states", layers.clone().count(), state.states().len())?;
        let given = self.levels[..self.levels.len().saturating_sub(1)].iter().map(Level::output);
        input.stack_noise.check(layers.clone().count(), [time, batch], given, input.is_packed())?;
        for (i, ((layer, direction), state)) in layers.zip(state.states()).enumerate() {
            layer.check_state(batch, state)?;
            let (dims, noise) = (layer.dims(), input.stack_noise.layer(i));
            input.for_layer(dims.variant.attention, direction, noise).check(dims.variant.attention)?;
            noise.check(dims, [time, batch], input.is_packed())?;
        }
        let packed = input.packed_rows();
        match (y, self.levels.last()) {
            (Outputs::Merged(y), Some(_)) => y.check(time, batch, packed, self.output()),
            (Outputs::Apart(ys), Some(Level::Both { forward, backward, .. })) => ys
                .iter()
                .zip([forward, backward])
                .try_for_each(|(y, layer)| y.check(time, batch, packed, layer.dims().output())),
            _ => Err(Error::Unsupported { what: "outputs apart", why: "the last layer has one direction" }),
        }
    }

    /// Runs `x: [T, N, I]` through all layers from `initial`, or from zeros, and returns every output of the last one in the
    /// order of `x`: `[T, N, C]`, `[N, T, C]` for a batch-major `x`, `[sum of the batch sizes, C]` for a packed one.
    ///
    /// # Errors
    /// As [`Stack::forward_into`].
    pub fn forward<'a>(&self, x: impl Into<Input<'a, T>>, initial: Option<&StackState<T>>) -> Result<StackForward<T>> {
        let (input, channels) = (x.into(), self.output());
        let mut y = values(&[input.all_rows().unwrap_or(usize::MAX), channels])?;
        let state = self.forward_from(input, initial, dense_output(&mut y, &input, channels)?)?;
        Ok(StackForward { y, state })
    }

    /// The same, but returns the last output only, `[N, C]`.
    ///
    /// # Errors
    /// As [`Stack::forward_into`].
    pub fn forward_last<'a>(
        &self,
        x: impl Into<Input<'a, T>>,
        initial: Option<&StackState<T>>,
    ) -> Result<StackForward<T>> {
        let (input, channels) = (x.into(), self.output());
        let [_, batch, _] = input.sizes();
        let mut y = values(&[batch, channels])?;
        let output = Output::Last(MatMut::dense(&mut y, batch, channels)?);
        let state = self.forward_from(input, initial, output)?;
        Ok(StackForward { y, state })
    }

    fn forward_from(
        &self,
        input: Input<'_, T>,
        initial: Option<&StackState<T>>,
        y: Output<'_, T>,
    ) -> Result<StackState<T>> {
        let [_, batch, _] = input.sizes();
        let mut state = match initial {
            Some(state) => state.clone(),
            None => self.state(batch)?,
        };
        self.forward_into(input, &mut state, y, &mut StackWorkspace::new())?;
        Ok(state)
    }
}

impl<T> Stack<T> {
    /// The layers, from the bottom to the top.
    pub fn levels(&self) -> &[Level<T>] {
        &self.levels
    }

    /// Channels that the first layer takes, I.
    pub fn input(&self) -> usize {
        self.levels.first().map_or(0, Level::input)
    }

    /// Channels that the last layer gives, C.
    pub fn output(&self) -> usize {
        self.levels.last().map_or(0, Level::output)
    }
}

impl<T: Element> From<Level<T>> for Stack<T> {
    fn from(level: Level<T>) -> Self {
        Stack { levels: vec![level] }
    }
}

/// The same rows and steps, of the outputs of a layer.
fn above<'a, T: Element>(input: &Input<'a, T>, buf: &'a [T], rows: usize, channels: usize) -> Result<Input<'a, T>> {
    let [time, batch, _] = input.sizes();
    let x = match input.x {
        Source::Padded(_) => Source::Padded(SeqRef::new(buf, SeqShape::time_major(time, batch, channels))?),
        Source::Packed { batch_sizes, .. } => Source::Packed { data: MatRef::dense(buf, rows, channels)?, batch_sizes },
    };
    Ok(Input { x, ..*input })
}

/// Where a layer's outputs go that the next one takes.
fn room<'a, T: Element>(input: &Input<'_, T>, buf: &'a mut [T], rows: usize, channels: usize) -> Result<Output<'a, T>> {
    let [time, batch, _] = input.sizes();
    Ok(match input.x {
        Source::Padded(_) => Output::Sequence(time_major_mut(&mut buf[..rows * channels], [time, batch, channels])?),
        Source::Packed { .. } => Output::Packed(MatMut::dense(buf, rows, channels)?),
    })
}
