//! What a layer is run over: a sequence, and what there is to say about it.

mod noise;

pub use noise::{Noise, StackNoise};

use crate::error::{Error, Result, same};
use crate::seq::{MatRef, SeqRef, product};
use gatefold_kernels::relay::Walk;

/// A sequence with all that a call may say about it. A [`SeqRef`] alone is one: whole rows, from the first step to the last.
///
/// ```
/// use gatefold::cell::{Activation, Cell};
/// use gatefold::seq::batch_major;
/// use gatefold::{Input, Layer, Options, Order, Weights};
///
/// // h' = relu(x + h): a running sum.
/// let cell = Cell::SimpleRnn { activation: Activation::Relu };
/// let sum = Layer::new(Weights::new(cell, 1, 1, vec![1.0f32], vec![1.0], None, None)?, Options::default())?;
///
/// let x = [1.0, 2.0, 4.0, /* next row */ 8.0, 16.0, 32.0];
/// let x = Input::from(batch_major(&x, [2, 3, 1])?);
/// assert_eq!(sum.forward(x, None)?.y, [1.0, 3.0, 7.0, 8.0, 24.0, 56.0]);
///
/// let x = x.lengths(&[3, 1]);
/// assert_eq!(sum.forward(x, None)?.y, [1.0, 3.0, 7.0, 8.0, 0.0, 0.0]);
/// assert_eq!(sum.forward(x.reverse(Order::Input), None)?.y, [7.0, 6.0, 4.0, 8.0, 0.0, 0.0]);
/// # Ok::<(), gatefold::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Input<'a, T> {
    pub(crate) x: Source<'a, T>,
    pub(crate) rows: Rows<'a>,
    pub(crate) attention: Option<SeqRef<'a, T>>,
    pub(crate) direction: Direction,
    pub(crate) noise: Noise<'a, T>,
    pub(crate) stack_noise: StackNoise<'a, T>,
}

/// Where the steps of a sequence stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a, T> {
    /// `[T, N, I]`.
    Padded(SeqRef<'a, T>),
    /// `[sum of the batch sizes, I]`, step after step.
    Packed { data: MatRef<'a, T>, batch_sizes: &'a [usize] },
}

/// Which rows take part in which steps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    All,
    Lengths(&'a [usize]),
    Mask { mask: SeqRef<'a, bool>, masked: Masked },
}

/// What a layer outputs at a step that is masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Masked {
    /// The output of the last step of this call that was not masked, and zeros before there is one. Keras' default, on the
    /// TensorFlow backend.
    #[default]
    Repeat,
    /// Zeros. Keras: `zero_output_for_mask=True`.
    Zero,
}

/// In which direction time is walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the first step to the last.
    #[default]
    Forward,
    /// From the last step to the first, of each row that has a length from its own last step.
    Reverse(Order),
}

/// Where the outputs of a walk from the last step to the first go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each beside its input: y at t belongs to x at t. ONNX' `reverse`, PyTorch's `_reverse`.
    #[default]
    Input,
    /// In the order in which they are computed: y at 0 belongs to the last x. Keras' `go_backwards`.
    Processing,
}

impl Direction {
    /// The same for the kernels that walk through time.
    pub(crate) fn walk(self) -> Walk {
        match self {
            Direction::Forward => Walk::Forward,
            Direction::Reverse(Order::Input) => Walk::Backward,
            Direction::Reverse(Order::Processing) => Walk::Flipped,
        }
    }
}

impl<'a, T: Copy> From<SeqRef<'a, T>> for Input<'a, T> {
    fn from(x: SeqRef<'a, T>) -> Self {
        Input::of(Source::Padded(x))
    }
}

impl<'a, T: Copy> Input<'a, T> {
    /// Steps of fewer and fewer rows, without padding: PyTorch's `PackedSequence`. `batch_sizes: [T]`, none greater than
    /// the one before it; `data: [sum of batch_sizes, I]`, step after step. Outputs stand likewise, see
    /// [`Output::Packed`](crate::Output::Packed). N is the first batch size. The rows of states are in the order of the
    /// data: for `sorted_indices` see [`State::gather`](crate::State::gather). One thread computes it.
    pub fn packed(data: MatRef<'a, T>, batch_sizes: &'a [usize]) -> Self {
        Input::of(Source::Packed { data, batch_sizes })
    }

    fn of(x: Source<'a, T>) -> Self {
        let (noise, stack_noise) = (Noise::default(), StackNoise::default());
        Input { x, rows: Rows::All, attention: None, direction: Direction::Forward, noise, stack_noise }
    }

    /// Row n ends after `lengths[n]` steps: outputs past them are zeros, its state stays what it was after the last one, and
    /// nothing is computed for it any more. A row of length 0 keeps its initial state (ONNX Runtime gives zeros). It takes
    /// the place of a mask. ONNX' `sequence_lens`.
    pub fn lengths(self, lengths: &'a [usize]) -> Self {
        Input { rows: Rows::Lengths(lengths), ..self }
    }

    /// Where `mask: [T, N, 1]` is false, a row's step is left out: its state stays as it is, and `masked` says what is
    /// output. The last output of a row without any step is zeros. It takes the place of lengths. Keras' `mask`, with the
    /// results of its TensorFlow backend.
    pub fn mask(self, mask: SeqRef<'a, bool>, masked: Masked) -> Self {
        Input { rows: Rows::Mask { mask, masked }, ..self }
    }

    /// How much each row attends to each step, `[T, N, 1]`: the a of [`Weights::attended`](crate::Weights::attended).
    pub fn attention(self, attention: SeqRef<'a, T>) -> Self {
        Input { attention: Some(attention), ..self }
    }

    /// Dropout of the recurrent state (Gal and Ghahramani, arXiv:1512.05287; Keras' `recurrent_dropout`): where h enters a
    /// recurrent product it is multiplied by `mask: [N, H]`, `[N, P]` with a projection, the same at every step: 0 or
    /// 1 / (1 - p), which the caller draws. Not where h is used otherwise, as in z*h of a GRU; in a GRU whose reset gate acts
    /// before the product, also r*h is multiplied by it. A layer takes it; for a stack see [`Input::stack_noise`].
    pub fn recurrent_dropout(mut self, mask: MatRef<'a, T>) -> Self {
        self.noise.recurrent_dropout = Some(mask);
        self
    }

    /// Zoneout (Krueger et al., arXiv:1606.01305): h' becomes m*h + (1-m)*h', where `m: [T, N, H]`, `[T, N, P]` with a
    /// projection, is 1 where h stays as it was and 0 elsewhere in training, as the caller draws it; for inference give its
    /// expectation everywhere, as a view of one row of p whose strides are 0. The step at time t uses m at t. A layer takes
    /// it; for a stack see [`Input::stack_noise`].
    ///
    /// ```
    /// use gatefold::cell::{Activation, Cell};
    /// use gatefold::seq::{SeqRef, SeqShape, time_major};
    /// use gatefold::{Input, Layer, Options, Weights};
    ///
    /// // h' = relu(x), three quarters of which are kept out.
    /// let cell = Cell::SimpleRnn { activation: Activation::Relu };
    /// let layer = Layer::new(Weights::new(cell, 1, 1, vec![1.0f32], vec![0.0], None, None)?, Options::default())?;
    /// let shape = SeqShape { time: 2, batch: 1, channels: 1, time_stride: 0, batch_stride: 0 };
    /// let x = Input::from(time_major(&[4.0, 8.0], [2, 1, 1])?).zoneout(SeqRef::new(&[0.75], shape)?);
    /// assert_eq!(layer.forward(x, None)?.y, [1.0, 2.75]);
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    pub fn zoneout(mut self, mask: SeqRef<'a, T>) -> Self {
        self.noise.zoneout = Some(mask);
        self
    }

    /// The same of the cell state of an LSTM, `[T, N, H]`; h' comes from c' as it was before. Not with peepholes.
    pub fn zoneout_cell(mut self, mask: SeqRef<'a, T>) -> Self {
        self.noise.zoneout_cell = Some(mask);
        self
    }

    /// The masks of dropout and zoneout of a stack: of each of its layers and directions, and between its levels. A stack takes
    /// it, a layer does not. [`StackGrads`](crate::StackGrads) are the gradients under the same masks, which the tape keeps.
    ///
    /// ```
    /// use gatefold::cell::{Activation, Cell};
    /// use gatefold::seq::{MatRef, SeqRef, SeqShape, time_major};
    /// use gatefold::{Input, Layer, Noise, Options, Stack, StackNoise, Weights};
    ///
    /// // Two layers of h' = relu(x + h): running sums.
    /// let cell = Cell::SimpleRnn { activation: Activation::Relu };
    /// let sum = Layer::new(Weights::new(cell, 1, 1, vec![1.0f32], vec![1.0], None, None)?, Options::default())?;
    /// let stack = Stack::new(vec![sum.clone().into(), sum.into()])?;
    ///
    /// // The first keeps nothing from step to step, and twice its outputs enter the second: the same mask at all steps.
    /// let shape = SeqShape { time: 3, batch: 1, channels: 1, time_stride: 0, batch_stride: 1 };
    /// let forgets = Noise { recurrent_dropout: Some(MatRef::dense(&[0.0], 1, 1)?), ..Noise::default() };
    /// let noise = StackNoise {
    ///     layers: &[forgets, Noise::default()],
    ///     between: &[Some(SeqRef::new(&[2.0], shape)?)],
    /// };
    /// let x = Input::from(time_major(&[1.0, 2.0, 4.0], [3, 1, 1])?);
    /// assert_eq!(stack.forward(x, None)?.y, [1.0, 4.0, 11.0]);
    /// assert_eq!(stack.forward(x.stack_noise(noise), None)?.y, [2.0, 6.0, 14.0]);
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    pub fn stack_noise(self, noise: StackNoise<'a, T>) -> Self {
        Input { stack_noise: noise, ..self }
    }

    /// Time is walked from the last step to the first.
    pub fn reverse(self, order: Order) -> Self {
        Input { direction: Direction::Reverse(order), ..self }
    }

    /// For a layer of a stack: in its direction, with its masks, with attention if the layer asks for it.
    pub(crate) fn for_layer(self, attended: bool, direction: Direction, noise: Noise<'a, T>) -> Self {
        let attention = self.attention.filter(|_| attended);
        Input { attention, direction, noise, stack_noise: StackNoise::default(), ..self }
    }

    /// T, N and I.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        match self.x {
            Source::Padded(x) => [x.shape().time, x.shape().batch, x.shape().channels],
            Source::Packed { data, batch_sizes } => {
                [batch_sizes.len(), batch_sizes.first().copied().unwrap_or(0), data.cols()]
            }
        }
    }

    /// Whether every row takes part in every step.
    pub(crate) fn is_whole(&self) -> bool {
        matches!((self.x, self.rows), (Source::Padded(_), Rows::All))
    }

    /// Whether steps hold fewer and fewer rows.
    pub(crate) fn is_packed(&self) -> bool {
        matches!(self.x, Source::Packed { .. })
    }

    /// Rows of a packed sequence, of all steps together.
    pub(crate) fn packed_rows(&self) -> Option<usize> {
        match self.x {
            Source::Padded(_) => None,
            Source::Packed { data, .. } => Some(data.rows()),
        }
    }

    /// Rows of all steps together, if they can be counted.
    pub(crate) fn all_rows(&self) -> Option<usize> {
        let [time, batch, _] = self.sizes();
        self.packed_rows().or_else(|| product(&[time, batch]))
    }

    /// Checks everything against the sizes of x, and attention against whether the layer asks for it.
    pub(crate) fn check(&self, attended: bool) -> Result<()> {
        let [time, batch, _] = self.sizes();
        if let Source::Packed { data, batch_sizes } = self.x {
            for pair in batch_sizes.windows(2) {
                at_most("batch_sizes", pair[0], pair[1])?;
            }
            let rows = batch_sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
            same("data rows", rows.ok_or(Error::TooLarge { argument: "batch_sizes" })?, data.rows())?;
            if data.cols() > 1 {
                same("data column stride", 1, data.col_stride())?;
            }
            if self.attention.is_some() || !matches!(self.rows, Rows::All) {
                let why = "its batch sizes already say which rows end when, and attention stands in [T, N]";
                return Err(Error::Unsupported { what: "lengths, mask or attention of a packed sequence", why });
            }
        }
        if !self.is_whole() {
            at_most("rows that are not whole", u32::MAX as usize, batch)?;
        }
        match self.rows {
            Rows::All => {}
            Rows::Lengths(lengths) => {
                same("lengths", batch, lengths.len())?;
                lengths.iter().try_for_each(|&length| at_most("lengths", time, length))?;
            }
            Rows::Mask { mask, .. } => {
                let shape = mask.shape();
                same("mask timesteps", time, shape.time)?;
                same("mask rows", batch, shape.batch)?;
                same("mask channels", 1, shape.channels)?;
            }
        }
        if self.direction == Direction::Reverse(Order::Processing) && (self.is_packed() || self.has_lengths()) {
            let why = "rows of other lengths are computed at other times; ask for the order of the input";
            return Err(Error::Unsupported { what: "order of processing of rows with lengths", why });
        }
        match (self.attention, attended) {
            (None, false) => Ok(()),
            (Some(attention), true) => {
                let shape = attention.shape();
                same("attention timesteps", time, shape.time)?;
                same("attention rows", batch, shape.batch)?;
                same("attention channels", 1, shape.channels)
            }
            (Some(_), false) => {
                Err(Error::Unsupported { what: "attention", why: "the layer's weights were not made for it" })
            }
            (None, true) => {
                Err(Error::Unsupported { what: "no attention", why: "the layer's update gate asks for it" })
            }
        }
    }

    fn has_lengths(&self) -> bool {
        matches!(self.rows, Rows::Lengths(_))
    }

    /// The batch rows `from..from + rows` of a sequence that is not packed.
    pub(crate) fn rows(&self, from: usize, rows: usize) -> Result<Self> {
        let x = match self.x {
            Source::Padded(x) => Source::Padded(x.rows(from, rows)?),
            packed => packed,
        };
        let attention = self.attention.map(|attention| attention.rows(from, rows)).transpose()?;
        let noise = self.noise.rows(from, rows)?;
        let rows = match self.rows {
            Rows::All => Rows::All,
            Rows::Lengths(lengths) => Rows::Lengths(&lengths[from..from + rows]),
            Rows::Mask { mask, masked } => Rows::Mask { mask: mask.rows(from, rows)?, masked },
        };
        Ok(Input { x, rows, attention, noise, ..*self })
    }
}

fn at_most(argument: &'static str, maximum: usize, found: usize) -> Result<()> {
    if found <= maximum { Ok(()) } else { Err(Error::TooGreat { argument, maximum, found }) }
}
