//! Frames one by one.

use crate::error::{Result, same};
use crate::gemm::Element;
use crate::layer::Layer;
use crate::output::Output;
use crate::seq::{time_major, time_major_mut};
use crate::solo::{Frames, Short};
use crate::state::State;
use crate::workspace::Workspace;

/// Steps of one row, frame by frame, with as little around the arithmetic as can be: what does not change from one frame to
/// the next is checked once, by [`Layer::steps`]. The same bits as [`Layer::forward_into`].
///
/// A [`Stream`](crate::Stream) is the comfortable way: it owns what this borrows, and takes several layers and rows.
#[derive(Debug)]
pub struct Steps<'a, T>(Way<'a, T>);

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and a box would be allocated")]
enum Way<'a, T> {
    Short(Frames<'a, T>),
    Call { layer: &'a Layer<T>, state: &'a mut State<T>, workspace: &'a mut Workspace<T> },
}

impl<T: Element> Layer<T> {
    /// Steps from `state`, of one row, which holds the state of the last step afterwards. How many threads share a step, if it
    /// is worth sharing, is counted once, here.
    ///
    /// ```
    /// use gatefold::cell::{Activation, Cell};
    /// use gatefold::{Layer, Options, Weights};
    ///
    /// // h' = relu(x + h): a running sum.
    /// let cell = Cell::SimpleRnn { activation: Activation::Relu };
    /// let sum = Layer::new(Weights::new(cell, 1, 1, vec![1.0f32], vec![1.0], None, None)?, Options::default())?;
    /// let (mut state, mut workspace) = (sum.state(1)?, sum.workspace(1, 1)?);
    ///
    /// let mut steps = sum.steps(&mut state, &mut workspace)?;
    /// let mut y = [0.0];
    /// for (x, sum) in [(1.0, 1.0), (2.0, 3.0), (4.0, 7.0)] {
    ///     steps.step(&[x], &mut y)?;
    ///     assert_eq!(y, [sum]);
    /// }
    /// assert_eq!(state.h_to_vec(), [7.0]);
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Layer::forward_into`] for `state`; or the workspace does not fit in memory.
    pub fn steps<'a>(&'a self, state: &'a mut State<T>, workspace: &'a mut Workspace<T>) -> Result<Steps<'a, T>> {
        self.check_state(1, state)?;
        if let Some(short) = Short::of(self.stages()) {
            let threads = self.sharers(self.threads(), 1);
            return Ok(Steps(Way::Short(Frames::new(short, self.dims().input, state, workspace, threads)?)));
        }
        self.reserve(workspace, 1, 1)?;
        Ok(Steps(Way::Call { layer: self, state, workspace }))
    }
}

impl<T: Element> Steps<'_, T> {
    /// The next step: from a frame `x`, `[I]`, the output `y`, `[H]` or `[P]`. With the native backend nothing is allocated and
    /// no lock is taken, and on one thread no system call is made.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if `x` or `y` has another length; then nothing was changed. Else as
    /// [`Layer::forward_into`].
    #[inline]
    pub fn step(&mut self, x: &[T], y: &mut [T]) -> Result<()> {
        match &mut self.0 {
            Way::Short(frames) => frames.step(x, y),
            Way::Call { layer, state, workspace } => {
                let (input, output) = (layer.dims().input, layer.dims().output());
                same("x channels", input, x.len())?;
                same("y channels", output, y.len())?;
                let (x, y) = (time_major(x, [1, 1, input])?, time_major_mut(y, [1, 1, output])?);
                layer.forward_into(x, state, Output::Sequence(y), workspace)
            }
        }
    }
}
