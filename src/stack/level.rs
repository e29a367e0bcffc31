//! One layer of a stack: in one direction, or in both.

use super::Outputs;
use crate::error::{Error, Result, same};
use crate::gemm::Element;
use crate::input::{Direction, Input, Masked, Order, Rows};
use crate::layer::Layer;
use crate::output::Output;
use crate::schedule::{self, Threads};
use crate::seq::{MatMut, SeqMut};
use crate::state::State;
use crate::tape::Tape;
use crate::workspace::Workspace;
use gatefold_kernels::buf::Buf;

/// One layer of a [`Stack`](super::Stack).
#[allow(clippy::large_enum_variant, reason = "a stack has few layers, whose weights stand elsewhere")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Level<T> {
    /// In one direction.
    One {
        /// The layer.
        layer: Layer<T>,
        /// Its direction.
        direction: Direction,
    },
    /// In both directions; see [`Level::bidirectional`].
    Both {
        /// From the first step to the last.
        forward: Layer<T>,
        /// From the last step to the first.
        backward: Layer<T>,
        /// How the two outputs become one.
        merge: Merge,
    },
}

/// How the outputs of both directions become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// Side by side, the forward half first: PyTorch's, and the default of Keras' `merge_mode`.
    #[default]
    Concat,
    /// Their sum. oneDNN's `bidirectional_sum`, Keras' `"sum"`.
    Sum,
    /// Their product. Keras' `"mul"`.
    Mul,
    /// Half their sum. Keras' `"ave"`.
    Average,
}

impl<T> From<Layer<T>> for Level<T> {
    fn from(layer: Layer<T>) -> Self {
        Level::One { layer, direction: Direction::Forward }
    }
}

impl<T: Element> Level<T> {
    /// A layer that walks from the last step to the first.
    pub fn reverse(layer: Layer<T>, order: Order) -> Self {
        Level::One { layer, direction: Direction::Reverse(order) }
    }

    /// A layer for each direction. Keras' `Bidirectional`; for ONNX' and PyTorch's, [`Merge::Concat`].
    ///
    /// # Errors
    /// [`Error::Shape`] if the two take different channels, or give different ones and `merge` is not [`Merge::Concat`].
    pub fn bidirectional(forward: Layer<T>, backward: Layer<T>, merge: Merge) -> Result<Self> {
        let (a, b) = (forward.dims(), backward.dims());
        let outputs = if merge == Merge::Concat { 0..0 } else { a.output()..b.output() };
        for (argument, expected, found) in
            [("backward input", a.input, b.input), ("backward output", outputs.start, outputs.end)]
        {
            same(argument, expected, found)?;
        }
        Ok(Level::Both { forward, backward, merge })
    }
}

impl<T> Level<T> {
    /// Channels that it takes.
    pub fn input(&self) -> usize {
        match self {
            Level::One { layer, .. } | Level::Both { forward: layer, .. } => layer.dims().input,
        }
    }

    /// Channels that it gives.
    pub fn output(&self) -> usize {
        match self {
            Level::Both { forward, backward, merge: Merge::Concat } => {
                forward.dims().output() + backward.dims().output()
            }
            Level::One { layer, .. } | Level::Both { forward: layer, .. } => layer.dims().output(),
        }
    }

    /// Its layer, if it has one that walks from the first step to the last.
    pub(super) fn ahead(&self) -> Option<&Layer<T>> {
        match self {
            Level::One { layer, direction: Direction::Forward } => Some(layer),
            _ => None,
        }
    }

    /// Whether the backward outputs need room of their own.
    pub(super) fn merges_by_arithmetic(&self) -> bool {
        matches!(self, Level::Both { merge: Merge::Sum | Merge::Mul | Merge::Average, .. })
    }

    /// D: 1 or 2.
    pub fn directions(&self) -> usize {
        self.layers().count()
    }

    /// Its layers with their directions, the forward one first.
    pub fn layers(&self) -> impl Iterator<Item = (&Layer<T>, Direction)> + Clone {
        let (first, second) = match self {
            Level::One { layer, direction } => ((layer, *direction), None),
            Level::Both { forward, backward, .. } => {
                ((forward, Direction::Forward), Some((backward, Direction::Reverse(Order::Input))))
            }
        };
        std::iter::once(first).chain(second)
    }
}

impl<T> Level<T> {
    /// Its layers, the forward one first.
    pub(super) fn layers_mut(&mut self) -> impl Iterator<Item = &mut Layer<T>> {
        let (first, second) = match self {
            Level::One { layer, .. } => (layer, None),
            Level::Both { forward, backward, .. } => (forward, Some(backward)),
        };
        std::iter::once(first).chain(second)
    }
}

/// What a level is run with.
pub(super) struct Run<'a, 'b, T> {
    pub(super) input: Input<'a, T>,
    /// Where its first layer stands among those of the stack.
    pub(super) number: usize,
    pub(super) states: &'b mut [State<T>],
    pub(super) y: Outputs<'b, T>,
    /// One for each direction.
    pub(super) workspaces: &'b mut [Workspace<T>; 2],
    /// Room for the backward outputs, where they are merged by arithmetic.
    pub(super) other: &'b mut Buf<T>,
    /// One for each direction, if there is to be a backward pass.
    pub(super) tapes: Option<&'b mut [Tape<T>]>,
}

impl<T: Element> Level<T> {
    pub(super) fn run(&self, run: Run<'_, '_, T>) -> Result<()> {
        let Run { mut input, number, states, y, workspaces, other, tapes } = run;
        let mut tapes = tapes.into_iter().flatten();
        let tapes = [tapes.next(), tapes.next()];
        let merges_sequences = matches!(y, Outputs::Merged(Output::Sequence(_)));
        if let (Rows::Mask { masked, .. }, Level::Both { .. }, true) = (&mut input.rows, self, merges_sequences) {
            *masked = Masked::Zero;
        }
        match (self, states, y) {
            (Level::One { layer, direction }, [state], Outputs::Merged(y)) => {
                let noise = input.stack_noise.layer(number);
                let input = input.for_layer(layer.dims().variant.attention, *direction, noise);
                let [tape, _] = tapes;
                layer.forward_on(layer.threads(), input, state, y, &mut workspaces[0], tape)
            }
            (Level::Both { forward, backward, .. }, [a, b], Outputs::Apart(y)) => {
                both([forward, backward], (input, number), [a, b], y, workspaces, tapes)
            }
            (Level::Both { forward, backward, merge: Merge::Concat }, [a, b], Outputs::Merged(y)) => {
                let (y_a, y_b) = y.split_channels(forward.dims().output())?;
                both([forward, backward], (input, number), [a, b], [y_a, y_b], workspaces, tapes)
            }
            (Level::Both { forward, backward, merge }, [a, b], Outputs::Merged(mut y)) => {
                let like = y.like(other, backward.dims().output())?;
                both([forward, backward], (input, number), [a, b], [y.reborrow(), like], workspaces, tapes)?;
                merge.into_output(y, other)
            }
            _ => Err(Error::Unsupported { what: "outputs apart", why: "the last layer has one direction" }),
        }
    }
}

/// Both directions over the same input, at once where rows are too few to occupy all threads.
fn both<T: Element>(
    layers: [&Layer<T>; 2],
    (input, number): (Input<'_, T>, usize),
    [a, b]: [&mut State<T>; 2],
    [y_a, y_b]: [Output<'_, T>; 2],
    [workspace_a, workspace_b]: &mut [Workspace<T>; 2],
    [tape_a, tape_b]: [Option<&mut Tape<T>>; 2],
) -> Result<()> {
    let [time, batch, _] = input.sizes();
    let threads = layers.map(Layer::threads);
    let apart = Threads::apart(threads, layers.map(Layer::dims), time, batch);
    let threads = if apart { [Threads::One; 2] } else { threads };
    let input_of = |i: usize, direction| {
        input.for_layer(layers[i].dims().variant.attention, direction, input.stack_noise.layer(number + i))
    };
    let inputs = [input_of(0, Direction::Forward), input_of(1, Direction::Reverse(Order::Input))];
    schedule::both(
        apart,
        || layers[0].forward_on(threads[0], inputs[0], a, y_a, workspace_a, tape_a),
        || layers[1].forward_on(threads[1], inputs[1], b, y_b, workspace_b, tape_b),
    )
}

impl Merge {
    /// Merges what stands in `y` with `other`, which is dense.
    fn into_output<T: Element>(self, y: Output<'_, T>, other: &[T]) -> Result<()> {
        match y {
            Output::Sequence(mut y) => self.into_sequence(&mut y, other)?,
            Output::Last(mut y) | Output::Packed(mut y) => self.into_rows(&mut y, other),
            Output::StateOnly => {}
        }
        Ok(())
    }

    fn into_sequence<T: Element>(self, y: &mut SeqMut<'_, T>, other: &[T]) -> Result<()> {
        let (time, step) = (y.shape().time, y.shape().batch * y.shape().channels);
        for (t, other) in (0..time).zip(other.chunks_exact(step.max(1))) {
            self.into_rows(&mut y.step(t)?, other);
        }
        Ok(())
    }

    fn into_rows<T: Element>(self, y: &mut MatMut<'_, T>, other: &[T]) {
        let channels = y.cols();
        for (n, other) in (0..y.rows()).zip(other.chunks_exact(channels.max(1))) {
            for (y, &other) in y.row_mut(n).into_iter().flatten().zip(other) {
                *y = self.of(*y, other);
            }
        }
    }

    fn of<T: Element>(self, a: T, b: T) -> T {
        match self {
            Merge::Concat => a,
            Merge::Sum => a + b,
            Merge::Mul => a * b,
            Merge::Average => (a + b) * T::from_f64(0.5),
        }
    }
}
