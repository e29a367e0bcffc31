//! Training of stacks: the layers' forward passes on a tape each, and back from the top to the bottom.

use super::noise::{Kept, multiply};
use super::{Level, Merge, Outputs, Stack, StackState, StackWorkspace};
use crate::error::{Error, Result, same};
use crate::gemm::Element;
use crate::grads::{Accumulate, Grads, Upstream};
use crate::input::{Input, Noise};
use crate::layer::Layer;
use crate::output::Output;
use crate::schedule::{self, Threads};
use crate::seq::{SeqRef, SeqShape, product};
use crate::tape::Tape;
use crate::weights::expect;
use gatefold_kernels::buf::Buf;
use gatefold_kernels::real::Real;

/// What [`Stack::record`] keeps of a call for [`Stack::backward`]: a [`Tape`] for each layer and direction.
#[derive(Clone, Debug)]
pub struct StackTape<T> {
    tapes: Vec<Tape<T>>,
    /// Of the outputs of every level but the last.
    masks: Vec<Kept<T>>,
    /// The gradient of the outputs of a level, where it is not that of one layer's input, and that of outputs that are averaged.
    between: [Buf<T>; 2],
}

impl<T: Real> StackTape<T> {
    /// An empty one, which the first call makes large enough.
    pub const fn new() -> Self {
        StackTape { tapes: Vec::new(), masks: Vec::new(), between: [Buf::empty(), Buf::empty()] }
    }
}

impl<T: Real> Default for StackTape<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The gradients of a stack.
#[derive(Clone, Debug, PartialEq)]
pub struct StackGrads<T> {
    /// Of the stack's input, `[T, N, I]` dense. Always overwritten.
    pub dx: Vec<T>,
    /// Of every layer and direction, in the order of [`StackState`]: that of layer l and direction d stands at l D + d. The dx of
    /// each is that of the layer's own input.
    pub layers: Vec<Grads<T>>,
}

impl<T> StackGrads<T> {
    /// Without values.
    pub const fn new() -> Self {
        StackGrads { dx: Vec::new(), layers: Vec::new() }
    }
}

impl<T> Default for StackGrads<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Element> Stack<T> {
    /// As [`Stack::forward_into`], with the same bits, and keeps on `tape` what [`Stack::backward`] needs.
    ///
    /// # Errors
    /// As [`Stack::forward_into`] and [`Layer::record`]; [`Error::Unsupported`] for [`Merge::Mul`].
    pub fn record<'a>(
        &self,
        x: impl Into<Input<'a, T>>,
        state: &mut StackState<T>,
        y: Output<'_, T>,
        tape: &mut StackTape<T>,
        workspace: &mut StackWorkspace<T>,
    ) -> Result<()> {
        let (input, y) = (x.into(), Outputs::Merged(y));
        tape.tapes.iter_mut().for_each(Tape::clear);
        for level in &self.levels {
            level.check_merge()?;
            level.layers().try_for_each(|(layer, _)| layer.check_record(&input))?;
        }
        self.check(&input, state, &y)?;
        tape.tapes.resize_with(state.states().len(), Tape::new);
        tape.masks.resize_with(self.levels.len().saturating_sub(1), Kept::new);
        for (i, kept) in tape.masks.iter_mut().enumerate() {
            kept.keep(input.stack_noise.above(i))?;
        }
        let (batch, recorded) = (input.sizes()[1], &mut tape.tapes[..]);
        self.run_checked(input, state, y, workspace, Some(recorded))?;
        if batch == 0 {
            // Nothing was run.
            self.begin_empty(&input, &mut tape.tapes);
        }
        Ok(())
    }

    /// Tapes of a call without rows.
    fn begin_empty(&self, input: &Input<'_, T>, tapes: &mut [Tape<T>]) {
        for ((layer, direction), tape) in self.levels.iter().flat_map(Level::layers).zip(tapes) {
            tape.finish(layer.call(&input.for_layer(false, direction, Noise::default())));
        }
    }

    /// Goes back through the call that is on `tape`, see [`Layer::backward`]. Of `upstream`, dy is `[T, N, C]` in the order
    /// in which the call wrote y, dh and dc are laid out as [`StackState::h_to_vec`] and [`StackState::c_to_vec`] give
    /// them.
    ///
    /// # Errors
    /// As [`Layer::backward`]; [`Error::Shape`] for `grads` of another number of layers that are to be added to. Nothing was
    /// changed then.
    pub fn backward(
        &self,
        tape: &mut StackTape<T>,
        upstream: Upstream<'_, T>,
        grads: &mut StackGrads<T>,
        accumulate: Accumulate,
    ) -> Result<()> {
        let [time, batch] = self.check_backward(tape, upstream, grads, accumulate)?;
        if accumulate == Accumulate::Overwrite || grads.layers.is_empty() {
            grads.layers.resize_with(self.layers().count(), Grads::new);
        }
        let StackTape { tapes, masks, between: [both, half] } = tape;
        self.reserve_backward([time, batch], masks, both, half)?;
        let (mut dh, mut dc) = (upstream.dh, upstream.dc);
        let (mut tapes, mut rest) = (&mut tapes[..], &mut grads.layers[..]);
        let mut above: Option<&[T]> = None;
        for (i, level) in self.levels.iter().enumerate().rev() {
            let (lower, own) = tapes.split_at_mut(tapes.len() - level.directions());
            let (lower_grads, own_grads) = rest.split_at_mut(rest.len() - level.directions());
            let dy = match above {
                Some(dx) => Some(SeqRef::new(dx, SeqShape::time_major(time, batch, level.output()))?),
                None => upstream.dy,
            };
            let states = level.take_last(batch, &mut dh, &mut dc);
            level.backward((own, half), dy, states, own_grads, accumulate)?;
            above = Some(of_input(own_grads, below(masks, i).map_or(Ok(None), Kept::mask)?, both));
            (tapes, rest) = (lower, lower_grads);
        }
        grads.dx.clear();
        grads.dx.extend_from_slice(above.unwrap_or_default());
        Ok(())
    }

    fn layers(&self) -> impl Iterator<Item = &Layer<T>> {
        self.levels.iter().flat_map(Level::layers).map(|(layer, _)| layer)
    }

    /// Room for the gradients of inputs that two layers took or that were masked, and for those of averaged outputs.
    fn reserve_backward(
        &self,
        [time, batch]: [usize; 2],
        masks: &[Kept<T>],
        both: &mut Buf<T>,
        half: &mut Buf<T>,
    ) -> Result<()> {
        let len = |channels| product(&[time, batch, channels]).ok_or(Error::TooLarge { argument: "batch" });
        for (i, level) in self.levels.iter().enumerate() {
            if level.directions() == 2 || below(masks, i).is_some_and(Kept::is_some) {
                both.reserve(len(level.input())?)?;
            }
            if let Level::Both { merge, .. } = level {
                half.reserve(if *merge == Merge::Average { len(level.output())? } else { 0 })?;
            }
        }
        Ok(())
    }

    /// Everything that could be refused. Returns T and N.
    fn check_backward(
        &self,
        tape: &StackTape<T>,
        upstream: Upstream<'_, T>,
        grads: &mut StackGrads<T>,
        accumulate: Accumulate,
    ) -> Result<[usize; 2]> {
        let fits = |(level, mask): (&Level<T>, &Kept<T>)| mask.fits(level.output());
        let masks_fit = tape.masks.len() + 1 == self.levels.len() && self.levels.iter().zip(&tape.masks).all(fits);
        if self.layers().count() != tape.tapes.len() || !masks_fit {
            return Err(Error::Unsupported { what: "tape", why: "it holds no call, or that of another stack" });
        }
        self.levels.iter().try_for_each(Level::check_merge)?;
        let mut sizes = [0, 0];
        for ((layer, direction), tape) in self.levels.iter().flat_map(Level::layers).zip(&tape.tapes) {
            layer.trainable()?;
            let call = layer.check_tape(tape)?;
            if call.direction != direction {
                return Err(Error::Unsupported { what: "tape", why: "it holds a call of another stack" });
            }
            sizes = [call.time, call.batch];
        }
        let [time, batch] = sizes;
        if accumulate == Accumulate::Add && !grads.layers.is_empty() {
            expect("layers", tape.tapes.len(), &grads.layers)?;
            self.layers()
                .zip(&mut grads.layers)
                .try_for_each(|(layer, grads)| grads.check(layer.trainable()?, accumulate))?;
        }
        if let Some(dy) = upstream.dy {
            same("dy timesteps", time, dy.shape().time)?;
            same("dy rows", batch, dy.shape().batch)?;
            same("dy channels", self.output(), dy.shape().channels)?;
        }
        if let Some(dh) = upstream.dh {
            expect("dh", self.layers().map(|layer| batch * layer.dims().output()).sum(), dh)?;
        }
        if let Some(dc) = upstream.dc {
            expect("dc", self.layers().map(|layer| batch * cells(layer)).sum(), dc)?;
        }
        Ok(sizes)
    }
}

/// The mask on what level `i` takes.
fn below<T>(masks: &[Kept<T>], i: usize) -> Option<&Kept<T>> {
    masks.get(i.checked_sub(1)?)
}

/// The gradient of what a level takes, from those of its layers' inputs; under a mask, that of what the mask was applied to.
/// Where it is not that of one layer's input, it stands in `room`.
fn of_input<'a, T: Element>(grads: &'a [Grads<T>], mask: Option<SeqRef<'_, T>>, room: &'a mut [T]) -> &'a [T] {
    let dx = match (grads, mask) {
        ([a, b], _) => {
            room.iter_mut().zip(&a.dx).zip(&b.dx).for_each(|((to, &a), &b)| *to = a + b);
            &mut room[..a.dx.len()]
        }
        ([one], Some(_)) => {
            let to = &mut room[..one.dx.len()];
            to.copy_from_slice(&one.dx);
            to
        }
        _ => return grads.first().map_or(&[], |grads| &grads.dx),
    };
    if let Some(mask) = mask {
        multiply(dx, mask);
    }
    dx
}

/// Units of the cell state.
fn cells<T>(layer: &Layer<T>) -> usize {
    if layer.dims().cell.has_cell_state() { layer.dims().hidden } else { 0 }
}

impl<T: Element> Level<T> {
    fn check_merge(&self) -> Result<()> {
        match self {
            Level::Both { merge: Merge::Mul, .. } => {
                Err(Error::Unsupported { what: "training of multiplied directions", why: "outputs are not kept" })
            }
            _ => Ok(()),
        }
    }

    /// The gradients of this level's final states, h and c of each direction, cut off the end of those of all levels up to
    /// it.
    fn take_last<'a>(
        &self,
        batch: usize,
        dh: &mut Option<&'a [T]>,
        dc: &mut Option<&'a [T]>,
    ) -> [[Option<&'a [T]>; 2]; 2] {
        let mut of = |layer: &Layer<T>| {
            let take = |all: &mut Option<&'a [T]>, units: usize| {
                let (rest, own) = all.map(|all| all.split_at(all.len() - batch * units)).unzip();
                *all = rest;
                own.filter(|_| units > 0)
            };
            [take(dh, layer.dims().output()), take(dc, cells(layer))]
        };
        match self {
            Level::One { layer, .. } => [of(layer), [None; 2]],
            Level::Both { forward, backward, .. } => {
                let last = of(backward);
                [of(forward), last]
            }
        }
    }

    /// Back through one level.
    fn backward(
        &self,
        (tapes, half): (&mut [Tape<T>], &mut [T]),
        dy: Option<SeqRef<'_, T>>,
        [[dh_a, dc_a], [dh_b, dc_b]]: [[Option<&[T]>; 2]; 2],
        grads: &mut [Grads<T>],
        accumulate: Accumulate,
    ) -> Result<()> {
        match (self, tapes, grads) {
            (Level::One { layer, .. }, [tape], [grads]) => {
                layer.backward(tape, Upstream { dy, dh: dh_a, dc: dc_a }, grads, accumulate)
            }
            (Level::Both { forward, backward, merge }, [tape_a, tape_b], [a, b]) => {
                let (dy_a, dy_b) = match (merge, dy) {
                    (Merge::Concat, Some(dy)) => {
                        let (first, second) = (forward.dims().output(), backward.dims().output());
                        (Some(dy.channels(0, first)?), Some(dy.channels(first, second)?))
                    }
                    (Merge::Average, Some(dy)) => {
                        halve(dy, half);
                        let SeqShape { time, batch, channels, .. } = dy.shape();
                        let dy = Some(SeqRef::new(half, SeqShape::time_major(time, batch, channels))?);
                        (dy, dy)
                    }
                    (_, dy) => (dy, dy),
                };
                let (layers, threads) = ([forward, backward], [forward.threads(), backward.threads()]);
                let call = forward.check_tape(tape_a)?;
                let apart = Threads::apart(threads, layers.map(Layer::dims), call.time, call.batch);
                let threads = if apart { [Threads::One; 2] } else { threads };
                let of_a = Upstream { dy: dy_a, dh: dh_a, dc: dc_a };
                let of_b = Upstream { dy: dy_b, dh: dh_b, dc: dc_b };
                schedule::both(
                    apart,
                    || forward.backward_on(threads[0], tape_a, of_a, a, accumulate),
                    || backward.backward_on(threads[1], tape_b, of_b, b, accumulate),
                )
            }
            _ => Err(Error::Unsupported { what: "tape", why: "it holds a call of another stack" }),
        }
    }
}

/// A sequence times 1/2, dense.
fn halve<T: Element>(sequence: SeqRef<'_, T>, to: &mut [T]) {
    let SeqShape { time, batch, .. } = sequence.shape();
    let rows = (0..if batch == 0 { 0 } else { time }).flat_map(|t| (0..batch).filter_map(move |n| sequence.row(t, n)));
    to.iter_mut().zip(rows.flatten()).for_each(|(to, &value)| *to = value * T::from_f64(0.5));
}
