//! Streams: frames in, outputs out, the state kept.

use crate::error::{Error, Result, same};
use crate::gemm::Element;
use crate::input::Direction;
use crate::output::Output;
use crate::seq::{time_major, time_major_mut};
use crate::stack::{Level, Stack, StackState, StackWorkspace};
use std::sync::Arc;

/// A [`Stack`] with the state and the scratch memory of one stream, or of several in step. With the native backend
/// [`Stream::push`] allocates nothing and takes no lock, on one thread it makes no system call, and any cut of the
/// sequence into pushes gives the same bits.
///
/// ```
/// use gatefold::cell::{Activation, Cell};
/// use gatefold::{Layer, Level, Options, Stack, Stream, Weights};
///
/// // h' = relu(x + h): a running sum.
/// let cell = Cell::SimpleRnn { activation: Activation::Relu };
/// let sum = Layer::new(Weights::new(cell, 1, 1, vec![1.0f32], vec![1.0], None, None)?, Options::default())?;
/// let mut stream = Stream::new(Stack::new(vec![sum.into()])?, 1, 2)?;
///
/// let mut y = [0.0; 2];
/// stream.push(&[1.0], &mut y[..1])?;
/// assert_eq!(y[0], 1.0);
/// stream.push(&[2.0, 4.0], &mut y)?;
/// assert_eq!(y, [3.0, 7.0]);
/// # Ok::<(), gatefold::Error>(())
/// ```
///
/// Streams share a stack, and so its weights, by its [`Arc`].
#[derive(Clone, Debug)]
pub struct Stream<T> {
    stack: Arc<Stack<T>>,
    state: StackState<T>,
    workspace: StackWorkspace<T>,
    batch: usize,
    chunk: usize,
}

impl<T: Element> Stream<T> {
    /// A stream from zeros, of `batch` rows in step, with memory for up to `chunk` frames a push.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if a layer walks backwards: it would need the end of the sequence first; [`Error::Zero`] for
    /// `batch` or `chunk`; or it does not fit in memory.
    pub fn new(stack: impl Into<Arc<Stack<T>>>, batch: usize, chunk: usize) -> Result<Self> {
        let stack = stack.into();
        let backwards = |level: &Level<T>| level.layers().any(|(_, direction)| direction != Direction::Forward);
        if stack.levels().iter().any(backwards) {
            let why = "a layer that walks backwards needs the end of the sequence first";
            return Err(Error::Unsupported { what: "a stream through a layer in reverse", why });
        }
        for (argument, size) in [("batch", batch), ("chunk", chunk)] {
            if size == 0 {
                return Err(Error::Zero { argument });
            }
        }
        let (state, workspace) = (stack.state(batch)?, stack.workspace(chunk, batch)?);
        Ok(Stream { stack, state, workspace, batch, chunk })
    }

    /// Computes the next frames, `x: [T, N, I]` dense, and writes their outputs, `y: [T, N, C]` dense. T is as many as `x`
    /// has, from 0 to the `chunk` that the stream was made for.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` is no whole number of frames or `y` has not as many, [`Error::TooGreat`] for more frames
    /// than `chunk`; then nothing was changed.
    pub fn push(&mut self, x: &[T], y: &mut [T]) -> Result<()> {
        let (batch, input, output) = (self.batch, self.stack.input(), self.stack.output());
        let time = x.len() / (batch * input);
        if time > self.chunk {
            return Err(Error::TooGreat { argument: "frames", maximum: self.chunk, found: time });
        }
        for (argument, expected, found) in [("x", time * batch * input, x.len()), ("y", time * batch * output, y.len())]
        {
            same(argument, expected, found)?;
        }
        let x = time_major(x, [time, batch, input])?;
        let y = Output::Sequence(time_major_mut(y, [time, batch, output])?);
        self.stack.forward_into(x, &mut self.state, y, &mut self.workspace)
    }

    /// Sets the state to zero: the start of a new sequence.
    pub fn reset(&mut self) {
        self.state.reset();
    }
}

impl<T> Stream<T> {
    /// The state after the last push.
    pub fn state(&self) -> &StackState<T> {
        &self.state
    }

    /// The state, to set it, to keep or take up a snapshot, or to reset a row.
    pub fn state_mut(&mut self) -> &mut StackState<T> {
        &mut self.state
    }

    /// The stack.
    pub fn stack(&self) -> &Arc<Stack<T>> {
        &self.stack
    }
}
