//! Running a recurrent layer in its framework's shapes.

use super::{Inputs, Origin, Outputs, Recurrent, Source};
use crate::element::{Element, numbers, tensor};
use crate::error::{Error, Result};
use crate::tensor::{Dtype, Tensor};
use gatefold::seq::{MatMut, SeqMut, SeqShape, batch_major, directions_mut, time_major};
use gatefold::{Dims, Input, Level, Masked, Output, StackState, StackWorkspace};
use std::borrow::Cow;

/// Which of the shapes of a source x has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Three axes.
    Batch,
    /// PyTorch: `[T, I]`, without a batch axis.
    OneSequence,
    /// A cell of PyTorch: `[N, I]`, without a time axis.
    OneStep,
}

/// The sizes of a call.
#[derive(Clone, Copy, Debug)]
struct Extent {
    time: usize,
    batch: usize,
    form: Form,
    batch_first: bool,
}

impl<T: Element> Recurrent<T> {
    /// Runs over `inputs`. Cost: that of the layers, and a copy of x if its dtype is another than T.
    ///
    /// # Errors
    /// If an input does not fit, is of another dtype, or is one that the framework does not have; by its name. If an
    /// ONNX node takes a state or lengths from elsewhere in its graph, and they are not given.
    pub fn run<'a>(&self, inputs: impl Into<Inputs<'a>>) -> Result<Outputs> {
        self.run_in_chunks(inputs, usize::MAX, |_| {})
    }

    /// The same, at most `chunk` steps at a time, which bounds the memory between layers; after each chunk, `progress` is
    /// called with the number of steps done so far. The whole is one chunk where [`is_causal`](Self::is_causal) does not
    /// hold, there is a mask, or the batch has no rows. The outputs have the same bits.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_in_chunks<'a>(
        &self,
        inputs: impl Into<Inputs<'a>>,
        chunk: usize,
        progress: impl FnMut(usize),
    ) -> Result<Outputs> {
        let inputs = inputs.into();
        let extent = self.extent(inputs.x)?;
        let mut state = self.initial(&inputs, extent)?;
        self.run_from(&inputs, &mut state, chunk, progress)
    }

    /// The state to start from.
    fn initial(&self, inputs: &Inputs<'_>, extent: Extent) -> Result<StackState<T>> {
        let mut state = self.stack.state(extent.batch)?;
        if let Some(h0) = given("h0", inputs.h0, &self.defaults.h0).map_err(|error| self.named(error))? {
            let h0 = self.state_values("h0", h0, extent, Dims::output, |_| true)?;
            state.set_h(&h0)?;
        }
        if let Some(c0) = given("c0", inputs.c0, &self.defaults.c0).map_err(|error| self.named(error))? {
            if !self.layers().any(has_cell_state) {
                return Err(self.at("c0", Error::unsupported("", "a cell state of a layer that has none")));
            }
            let c0 = self.state_values("c0", c0, extent, |dims| dims.hidden, has_cell_state)?;
            state.set_c(&c0)?;
        }
        Ok(state)
    }

    /// A state of zeros for the batch of `x`.
    pub(crate) fn zeros(&self, x: &Tensor) -> Result<StackState<T>> {
        Ok(self.stack.state(self.extent(x)?.batch)?)
    }

    /// Runs from `state`, which holds the final state afterwards; states among `inputs` do not count.
    pub(crate) fn run_from(
        &self,
        inputs: &Inputs<'_>,
        state: &mut StackState<T>,
        chunk: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Outputs> {
        let extent = self.extent(inputs.x)?;
        let Extent { time, batch, batch_first, .. } = extent;
        let x = numbers::<T>(inputs.x).map_err(|error| self.at("x", error))?;
        let channels = self.stack.input();
        let x = match batch_first {
            true => batch_major(&x, [batch, time, channels])?,
            false => time_major(&x, [time, batch, channels])?,
        };
        let lengths = self.lengths(inputs, extent)?;
        let mask = self.mask(inputs, extent)?;
        // A batch of no rows may have more steps than can be counted to.
        let whole = !self.is_causal() || mask.is_some() || batch == 0;
        let chunk = if whole { usize::MAX } else { chunk.max(1) };
        let shape = self.y_shape(extent);
        let mut y = room(&shape)?;
        let mut workspace = StackWorkspace::new();
        let (mut start, mut first) = (0, true);
        while start < time || first {
            let steps = chunk.min(time - start);
            let part = x.steps(start, steps).map_err(gatefold::Error::from)?;
            let cut: Option<Vec<usize>> = lengths
                .as_ref()
                .map(|lengths| lengths.iter().map(|&length| length.saturating_sub(start).min(steps)).collect());
            let mut input = Input::from(part);
            if let Some(cut) = &cut {
                input = input.lengths(cut);
            }
            if let Some((mask, masked)) = &mask {
                input = input.mask(batch_major(mask, [batch, time, 1])?, *masked);
            }
            self.write(input, state, &mut y, extent, start, steps, &mut workspace)
                .map_err(|error| self.named(error.into()))?;
            start += steps;
            first = false;
            progress(start);
        }
        let y = tensor(shape, y)?;
        let hn = self.state_tensor(extent, state.h_to_vec(), Dims::output, |_| true)?;
        let cn = match self.layers().any(has_cell_state) {
            true => self.state_tensor(extent, state.c_to_vec(), |dims| dims.hidden, has_cell_state)?,
            false => None,
        };
        Ok(Outputs { y, hn, cn })
    }

    /// Runs `steps` steps from `start` on, whose outputs go to their places in `y`.
    #[allow(clippy::too_many_arguments, reason = "one call, cut out of the loop over chunks")]
    fn write(
        &self,
        input: Input<'_, T>,
        state: &mut StackState<T>,
        y: &mut [T],
        extent: Extent,
        start: usize,
        steps: usize,
        workspace: &mut StackWorkspace<T>,
    ) -> gatefold::Result<()> {
        let Extent { time, batch, batch_first, .. } = extent;
        let channels = self.stack.output();
        match self.source {
            Source::Keras { return_sequences: false, .. } => {
                let y = Output::Last(MatMut::dense(y, batch, channels)?);
                self.stack.forward_into(input, state, y, workspace)
            }
            Source::Onnx { batch_first: false }
                if self.stack.levels().last().is_some_and(|level| level.directions() == 2) =>
            {
                // Never in chunks, since one of the two goes backwards.
                let [a, b] = directions_mut(y, [time, batch, channels / 2])?;
                self.stack.forward_apart(input, state, [Output::Sequence(a), Output::Sequence(b)], workspace)
            }
            _ => {
                let whole = match batch_first {
                    true => SeqShape::batch_major(batch, time, channels),
                    false => SeqShape::time_major(time, batch, channels),
                };
                let from = (start * whole.time_stride).min(y.len());
                let y = SeqMut::new(&mut y[from..], SeqShape { time: steps, ..whole })?;
                self.stack.forward_into(input, state, Output::Sequence(y), workspace)
            }
        }
    }

    /// The sizes of x, which must be of one of the shapes of the source.
    fn extent(&self, x: &Tensor) -> Result<Extent> {
        let channels = self.stack.input();
        let (cell, batch_first) = match self.source {
            Source::PyTorch { cell, time_major } => (cell, !time_major),
            Source::Onnx { batch_first } => (false, batch_first),
            Source::Keras { .. } => (false, true),
        };
        let pytorch = matches!(self.source, Source::PyTorch { .. });
        let extent = |time, batch, form| Extent { time, batch, form, batch_first };
        match *x.shape() {
            [n, t, i] if i == channels && batch_first => Ok(extent(t, n, Form::Batch)),
            [t, n, i] if i == channels => Ok(extent(t, n, Form::Batch)),
            [n, i] if i == channels && cell => Ok(extent(1, n, Form::OneStep)),
            [t, i] if i == channels && pytorch => Ok(extent(t, 1, Form::OneSequence)),
            _ => {
                let axes = if batch_first { "[N, T, I]" } else { "[T, N, I]" };
                let expected = format_args!("{axes} with I = {channels}").to_string();
                Err(self.at("x", Error::malformed("shape", expected, format_args!("{:?}", x.shape()))))
            }
        }
    }

    fn y_shape(&self, extent: Extent) -> Vec<usize> {
        let Extent { time, batch, form, batch_first } = extent;
        let channels = self.stack.output();
        let directions = self.stack.levels().last().map_or(1, Level::directions);
        match (self.source, form) {
            (Source::Keras { return_sequences: false, .. }, _) | (_, Form::OneStep) => vec![batch, channels],
            (_, Form::OneSequence) => vec![time, channels],
            (Source::Onnx { batch_first: true }, _) => vec![batch, time, directions, channels / directions],
            (Source::Onnx { batch_first: false }, _) => vec![time, directions, batch, channels / directions],
            _ if batch_first => vec![batch, time, channels],
            _ => vec![time, batch, channels],
        }
    }

    fn layers(&self) -> impl Iterator<Item = Dims> + '_ {
        self.stack.levels().iter().flat_map(Level::layers).map(|(layer, _)| layer.dims())
    }

    /// The shape of the states of width `width` that layers of `which` have; none if their widths differ.
    fn state_shape(&self, extent: Extent, width: fn(&Dims) -> usize, which: fn(Dims) -> bool) -> Option<Vec<usize>> {
        let widths: Vec<usize> = self.layers().filter(|&dims| which(dims)).map(|dims| width(&dims)).collect();
        let first = *widths.first()?;
        if widths.iter().any(|&width| width != first) {
            return None;
        }
        let (count, batch) = (widths.len(), extent.batch);
        Some(match (self.source, extent.form) {
            (Source::PyTorch { cell: true, .. }, Form::OneSequence | Form::OneStep | Form::Batch) => vec![batch, first],
            (_, Form::OneSequence) => vec![count, first],
            (Source::Onnx { batch_first: true }, _) => vec![batch, count, first],
            (Source::Keras { .. }, _) if count == 1 => vec![batch, first],
            _ => vec![count, batch, first],
        })
    }

    fn state_values<'t>(
        &self,
        name: &str,
        given: &'t Tensor,
        extent: Extent,
        width: fn(&Dims) -> usize,
        which: fn(Dims) -> bool,
    ) -> Result<Cow<'t, [T]>> {
        let expected = self.state_shape(extent, width, which);
        let expected =
            expected.ok_or_else(|| self.at(name, Error::unsupported("", "a state of cells of different sizes")))?;
        if given.shape() != expected {
            let found = format_args!("{:?}", given.shape()).to_string();
            return Err(self.at(name, Error::malformed("shape", format_args!("{expected:?}"), found)));
        }
        let values = match self.source {
            Source::Onnx { batch_first: true } => {
                let turned = given.transposed(&[1, 0, 2])?;
                T::values(&turned).map(|values| Cow::Owned(values.into_owned()))
            }
            _ => T::values(given),
        };
        values.map_err(|error| self.at(name, error))
    }

    fn state_tensor(
        &self,
        extent: Extent,
        values: Vec<T>,
        width: fn(&Dims) -> usize,
        which: fn(Dims) -> bool,
    ) -> Result<Option<Tensor>> {
        let Some(shape) = self.state_shape(extent, width, which) else { return Ok(None) };
        match self.source {
            Source::Onnx { batch_first: true } => {
                let turned = vec![shape[1], shape[0], shape[2]];
                tensor(turned, values)?.transposed(&[1, 0, 2]).map(Some)
            }
            _ => tensor(shape, values).map(Some),
        }
    }

    fn lengths(&self, inputs: &Inputs<'_>, extent: Extent) -> Result<Option<Vec<usize>>> {
        let given = given("lengths", inputs.lengths, &self.defaults.lengths).map_err(|error| self.named(error))?;
        let Some(lengths) = given else { return Ok(None) };
        if let Source::Keras { .. } = self.source {
            let why = "lengths of a Keras layer, which takes a mask,";
            return Err(self.at("lengths", Error::unsupported("", why)));
        }
        if extent.form != Form::Batch {
            return Err(
                self.at("lengths", Error::unsupported("", "lengths of an x without a batch axis or a time axis"))
            );
        }
        if lengths.shape() != [extent.batch] {
            let found = format_args!("{:?}", lengths.shape()).to_string();
            return Err(self.at("lengths", Error::malformed("shape", format_args!("[{}]", extent.batch), found)));
        }
        let length = |&length: &i64| match usize::try_from(length) {
            Ok(length) if length <= extent.time => Ok(length),
            _ => Err(Error::malformed("value", format_args!("0 to {} steps", extent.time), length)),
        };
        let lengths = lengths.to_i64().and_then(|lengths| lengths.iter().map(length).collect());
        lengths.map(Some).map_err(|error| self.at("lengths", error))
    }

    /// The mask `[N, T]`, and what is output where it is false.
    fn mask(&self, inputs: &Inputs<'_>, extent: Extent) -> Result<Option<(Vec<bool>, Masked)>> {
        let Some(mask) = inputs.mask else { return Ok(None) };
        let Source::Keras { zero_output_for_mask, .. } = self.source else {
            let why = "a mask of a layer that is not of Keras, which takes lengths,";
            return Err(self.at("mask", Error::unsupported("", why)));
        };
        let expected = [extent.batch, extent.time];
        if mask.shape() != expected {
            let found = format_args!("{:?}", mask.shape()).to_string();
            return Err(self.at("mask", Error::malformed("shape", format_args!("{expected:?}"), found)));
        }
        if let Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 = mask.dtype() {
            return Err(self.at("mask", Error::malformed("dtype", "booleans or integers", mask.dtype())));
        }
        let values = mask.to_i64().map_err(|error| self.at("mask", error))?;
        let masked = if zero_output_for_mask { Masked::Zero } else { Masked::Repeat };
        Ok(Some((values.iter().map(|&value| value != 0).collect(), masked)))
    }

    fn named(&self, error: Error) -> Error {
        if self.name.is_empty() { error } else { error.within(&self.name) }
    }
}

fn has_cell_state(dims: Dims) -> bool {
    dims.cell.has_cell_state()
}

/// What was given, else what the file has.
fn given<'a>(name: &str, given: Option<&'a Tensor>, default: &'a Origin) -> Result<Option<&'a Tensor>> {
    match (given, default) {
        (Some(given), _) => Ok(Some(given)),
        (None, Origin::None) => Ok(None),
        (None, Origin::Constant(constant)) => Ok(Some(constant)),
        (None, Origin::Outside(value)) => Err(Error::missing(
            "",
            format_args!("{name}, which the graph computes as {value:?} and which has to be given,"),
        )),
    }
}

/// Room for the values of `shape`.
pub(crate) fn room<T: Element>(shape: &[usize]) -> Result<Vec<T>> {
    let count = crate::tensor::element_count(shape);
    let mut values = Vec::new();
    let reserved = count.filter(|&count| values.try_reserve_exact(count).is_ok());
    let count =
        reserved.ok_or_else(|| Error::malformed("", "outputs that fit in memory", format_args!("shape {shape:?}")))?;
    values.resize(count, T::NAN);
    Ok(values)
}
