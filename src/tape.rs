//! What a forward pass leaves for the backward pass.

mod room;

pub(crate) use room::{PartRoom, Room};

use crate::cell::{Cell, Reset};
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::input::{Direction, Input, Noise, Rows, Source};
use crate::seq::{MatRef, SeqMut, SeqRef, SeqShape, product};
use gatefold_kernels::buf::{Buf, padded};
use gatefold_kernels::pack::Panel;
use gatefold_kernels::real::Real;
use std::fmt;

/// What [`Layer::record`](crate::Layer::record) keeps of a call for [`Layer::backward`](crate::Layer::backward): the input,
/// the activated gates and the states of every step. It grows to what the largest call needs and is used again, by any
/// layer of its element type.
///
/// It takes T N values of each input and state, and H values for each gate: one for a SimpleRNN, four for an LSTM and a
/// GRU; with a projection H + P more. All rows are padded to whole cache lines, long ones to an odd number of them. For the
/// backward pass it keeps the packed weights and scratch memory, too.
#[derive(Clone)]
pub struct Tape<T> {
    call: Option<Call>,
    /// `[T, N, I padded]`, zeros where a row has ended.
    x: Buf<T>,
    /// `[T, N, width padded]`: the activated gates, then their gradients; see [`width`].
    gates: Buf<T>,
    /// `[T + 1, N, H or P padded]`: that before a step and that after it side by side, see [`planes`].
    h: Buf<T>,
    /// `[T + 1, N, H padded]`, of an LSTM.
    c: Buf<T>,
    /// Of every row, if the call had lengths.
    lengths: Vec<usize>,
    /// `[N, H or P]`, if there was dropout.
    dropout: Buf<T>,
    /// `[T, N, H or P]` and `[T, N, H]`, if there was zoneout.
    zoneout: [Buf<T>; 2],
    /// Scratch memory of the backward pass.
    room: Room<T>,
}

/// The call that is on a tape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) dims: Dims,
    /// How often the layer's weights had been replaced.
    pub(crate) replaced: usize,
    pub(crate) time: usize,
    pub(crate) batch: usize,
    pub(crate) direction: Direction,
    pub(crate) has_lengths: bool,
    pub(crate) has_dropout: bool,
    /// Of h, and of c.
    pub(crate) has_zoneout: [bool; 2],
}

impl Call {
    pub(crate) fn new<T: Copy>(dims: Dims, replaced: usize, input: &Input<'_, T>) -> Self {
        let [time, batch, _] = input.sizes();
        let has_lengths = matches!(input.rows, Rows::Lengths(_));
        let (has_dropout, has_zoneout) =
            (input.noise.recurrent_dropout.is_some(), input.noise.zoneouts().map(|mask| mask.is_some()));
        Call { dims, replaced, time, batch, direction: input.direction, has_lengths, has_dropout, has_zoneout }
    }
}

impl<T> fmt::Debug for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("call", &self.call).finish_non_exhaustive()
    }
}

/// Values that a row of the tape has for a step, in blocks of H:
///
/// | | recorded | after back-propagation |
/// | --- | --- | --- |
/// | SimpleRNN | h' | da |
/// | LSTM | i, f, g, o | da_i, da_f, da_g, da_o |
/// | with projection | the same, m = o tanh(c'), room for P values | the same, m, dh' |
/// | GRU, reset after | r, z, n, R_n h + b_rn | da_r, da_z, r da_n, da_n |
/// | GRU, reset before | r, z, n, r h | da_r, da_z, da_n, r h |
pub(crate) fn width(dims: Dims) -> Option<usize> {
    let blocks = match dims.cell {
        Cell::SimpleRnn { .. } => 1,
        Cell::Lstm if dims.projection.is_some() => 5,
        Cell::Lstm | Cell::Gru { .. } => 4,
    };
    dims.hidden.checked_mul(blocks)?.checked_add(dims.projection.unwrap_or(0))
}

/// Gates whose gradients stand side by side on a tape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// The first gate, in the canonical order.
    pub(crate) gate: usize,
    /// Where its gradient stands, in blocks of H columns.
    pub(crate) block: usize,
    /// How many gates.
    pub(crate) count: usize,
}

/// The gradients on the side of W.
pub(crate) fn runs_of_w(cell: Cell) -> &'static [Run] {
    match cell {
        Cell::SimpleRnn { .. } => &[Run { gate: 0, block: 0, count: 1 }],
        Cell::Lstm => &[Run { gate: 0, block: 0, count: 4 }],
        Cell::Gru { reset: Reset::After } => {
            &[Run { gate: 0, block: 0, count: 2 }, Run { gate: 2, block: 3, count: 1 }]
        }
        Cell::Gru { reset: Reset::Before } => &[Run { gate: 0, block: 0, count: 3 }],
    }
}

/// The gradients on the side of R, with the block of what R was multiplied with where that is on the tape and not h.
pub(crate) fn runs_of_r(cell: Cell) -> &'static [(Run, Option<usize>)] {
    match cell {
        Cell::SimpleRnn { .. } => &[(Run { gate: 0, block: 0, count: 1 }, None)],
        Cell::Lstm => &[(Run { gate: 0, block: 0, count: 4 }, None)],
        Cell::Gru { reset: Reset::After } => &[(Run { gate: 0, block: 0, count: 3 }, None)],
        Cell::Gru { reset: Reset::Before } => {
            &[(Run { gate: 0, block: 0, count: 2 }, None), (Run { gate: 2, block: 2, count: 1 }, Some(3))]
        }
    }
}

/// The planes of a state before and after the step at time t, of T + 1.
pub(crate) fn planes(direction: Direction, t: usize) -> (usize, usize) {
    match direction {
        Direction::Forward => (t, t + 1),
        Direction::Reverse(_) => (t + 1, t),
    }
}

/// A tape, to be written by some rows of a batch.
pub(crate) struct TapeMut<'a, T> {
    pub(crate) gates: SeqMut<'a, T>,
    /// With its padding, as c.
    pub(crate) h: SeqMut<'a, T>,
    /// Without channels where there is no cell state.
    pub(crate) c: SeqMut<'a, T>,
}

impl<'a, T> TapeMut<'a, T> {
    /// The first `rows` rows, and the rest.
    pub(crate) fn split(self, rows: usize) -> Result<(Self, Self)> {
        let ((gates0, gates1), (h0, h1), (c0, c1)) =
            (self.gates.split_batch(rows)?, self.h.split_batch(rows)?, self.c.split_batch(rows)?);
        Ok((TapeMut { gates: gates0, h: h0, c: c0 }, TapeMut { gates: gates1, h: h1, c: c1 }))
    }
}

/// A tape that was recorded: its gates are overwritten by their gradients.
pub(crate) struct Recorded<'a, T> {
    pub(crate) x: SeqRef<'a, T>,
    pub(crate) h: SeqMut<'a, T>,
    pub(crate) c: SeqRef<'a, T>,
    pub(crate) gates: &'a mut [T],
    pub(crate) shape: SeqShape,
    pub(crate) lengths: Option<&'a [usize]>,
    pub(crate) noise: Noise<'a, T>,
}

/// The sizes of what stands on a tape.
struct Shapes {
    x: SeqShape,
    gates: SeqShape,
    h: SeqShape,
    c: SeqShape,
}

impl Shapes {
    fn new<T: Real>(Call { dims, time, batch, .. }: Call) -> Option<Self> {
        let whole = |time, channels| SeqShape { channels, ..SeqShape::time_major(time, batch, padded::<T>(channels)) };
        let cell = if dims.cell.has_cell_state() { dims.hidden } else { 0 };
        let more = time.checked_add(1)?;
        Some(Shapes {
            x: whole(time, dims.input),
            gates: whole(time, width(dims)?),
            h: whole(more, dims.output()),
            c: whole(more, cell),
        })
    }
}

/// Values of padded steps.
fn len(shape: SeqShape) -> Option<usize> {
    product(&[shape.time, shape.batch, shape.batch_stride])
}

impl<T: Real> Tape<T> {
    /// An empty one, which the first call makes large enough.
    pub fn new() -> Self {
        let [x, gates, h, c, dropout, of_h, of_c] = std::array::from_fn(|_| Buf::empty());
        Tape { call: None, x, gates, h, c, lengths: Vec::new(), dropout, zoneout: [of_h, of_c], room: Room::new() }
    }

    /// Takes down x, and makes room for the rest. It holds nothing before [`Tape::finish`].
    pub(crate) fn begin(&mut self, call: Call, input: &Input<'_, T>) -> Result<TapeMut<'_, T>> {
        self.call = None;
        let Call { dims, time, batch, has_lengths, .. } = call;
        let Source::Padded(x) = input.x else {
            return Err(Error::Unsupported { what: "training on a packed sequence", why: "give lengths instead" });
        };
        self.lengths.clear();
        self.lengths.reserve(batch);
        if let Rows::Lengths(lengths) = input.rows {
            self.lengths.extend_from_slice(lengths);
        }
        let shapes = Shapes::new::<T>(call).ok_or(Error::TooLarge { argument: "batch" })?;
        for (buf, shape) in
            [(&mut self.x, shapes.x), (&mut self.gates, shapes.gates), (&mut self.h, shapes.h), (&mut self.c, shapes.c)]
        {
            buf.reserve(len(shape).ok_or(Error::TooLarge { argument: "batch" })?)?;
        }
        let steps = if batch == 0 { 0 } else { time };
        let rows = (0..steps).flat_map(|t| (0..batch).map(move |n| (t, n)));
        for ((t, n), to) in rows.zip(self.x.chunks_exact_mut(shapes.x.batch_stride)) {
            let to = &mut to[..dims.input];
            let has_ended = has_lengths && t >= self.lengths[n];
            match x.row(t, n) {
                Some(from) if !has_ended => to.copy_from_slice(from),
                _ => to.fill(T::ZERO),
            }
        }
        self.keep(call, input.noise)?;
        let whole = |shape: SeqShape| SeqShape { channels: shape.batch_stride, ..shape };
        Ok(TapeMut {
            gates: SeqMut::new(&mut self.gates, shapes.gates)?,
            h: SeqMut::new(&mut self.h, whole(shapes.h))?,
            c: SeqMut::new(&mut self.c, whole(shapes.c))?,
        })
    }

    /// Takes down the masks.
    fn keep(&mut self, Call { dims, time, batch, .. }: Call, noise: Noise<'_, T>) -> Result<()> {
        let len = |sizes: &[usize]| product(sizes).ok_or(Error::TooLarge { argument: "batch" });
        if let Some(mask) = noise.recurrent_dropout {
            self.dropout.reserve(len(&[batch, dims.output()])?)?;
            for (n, to) in self.dropout.chunks_exact_mut(dims.output()).enumerate().take(batch) {
                to.copy_from_slice(mask.row(n).unwrap_or_default());
            }
        }
        let zoneouts = noise.zoneouts().into_iter().zip(&mut self.zoneout);
        for ((mask, buf), channels) in zoneouts.zip([dims.output(), dims.hidden]) {
            let Some(mask) = mask else { continue };
            buf.reserve(len(&[time, batch, channels])?)?;
            let steps = if batch == 0 { 0 } else { time };
            let rows = (0..steps).flat_map(|t| (0..batch).map(move |n| (t, n)));
            for ((t, n), to) in rows.zip(buf.chunks_exact_mut(channels)) {
                to.copy_from_slice(mask.row(t, n).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// The call has been recorded.
    pub(crate) fn finish(&mut self, call: Call) {
        self.call = Some(call);
    }

    /// Forgets the call, as after an error or a backward pass.
    pub(crate) fn clear(&mut self) {
        self.call = None;
    }

    /// The call that is on it.
    pub(crate) fn call(&self) -> Option<Call> {
        self.call
    }

    /// What was recorded, and the scratch memory of the backward pass.
    pub(crate) fn recorded(&mut self, call: Call) -> Result<(Recorded<'_, T>, &mut Room<T>)> {
        let shapes = Shapes::new::<T>(call).ok_or(Error::TooLarge { argument: "batch" })?;
        let Call { dims, time, batch, .. } = call;
        let dropout = call.has_dropout.then(|| MatRef::dense(&self.dropout, batch, dims.output())).transpose()?;
        let [of_h, of_c] = &self.zoneout;
        let mask = |has: bool, values, channels| {
            has.then(|| SeqRef::new(values, SeqShape::time_major(time, batch, channels))).transpose()
        };
        let noise = Noise {
            recurrent_dropout: dropout,
            zoneout: mask(call.has_zoneout[0], of_h, dims.output())?,
            zoneout_cell: mask(call.has_zoneout[1], of_c, dims.hidden)?,
        };
        let recorded = Recorded {
            x: SeqRef::new(&self.x, shapes.x)?,
            h: SeqMut::new(&mut self.h, shapes.h)?,
            c: SeqRef::new(&self.c, shapes.c)?,
            gates: &mut self.gates,
            shape: shapes.gates,
            lengths: call.has_lengths.then_some(&self.lengths[..]),
            noise,
        };
        Ok((recorded, &mut self.room))
    }

    /// The memory of packed weights; to be given back.
    pub(crate) fn take_panels(&mut self) -> [Panel<T>; 4] {
        std::mem::replace(&mut self.room.panels, [const { Panel::empty() }; 4])
    }

    pub(crate) fn give_panels(&mut self, panels: [Panel<T>; 4]) {
        self.room.panels = panels;
    }
}

impl<T: Real> Default for Tape<T> {
    fn default() -> Self {
        Self::new()
    }
}
