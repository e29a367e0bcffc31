//! Dropout and zoneout of whole stacks: masks drawn for a call.

use crate::dropout::{Share, check_rate, draw};
use crate::random::Random;
use gatefold::seq::{MatRef, SeqRef, SeqShape};
use gatefold::{Dims, Element, Error, Level, Noise, Result, Stack, StackNoise};

/// How much of a stack is dropped or kept, each from 0 to 1. Where it is 0, the default, there is no mask.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StackRates {
    /// Of the outputs of every level but the last. PyTorch: `dropout=` of a recurrent layer with `num_layers`.
    pub between: f64,
    /// Of h where it enters a recurrent product, the same values at every step. Keras: `recurrent_dropout=`.
    pub recurrent: f64,
    /// Of h that stays as it was before a step.
    pub zoneout: f64,
    /// Of c that stays, in layers that have one.
    pub zoneout_cell: f64,
}

/// Dropout and zoneout of a [`Stack`], with a mask of its own for every layer, direction and gap between levels. What is kept by
/// dropout is divided by 1 - rate; zoneout is not scaled, and its expectation is given instead when training is over.
///
/// Two LSTMs, half of what goes from one to the other dropped, and a quarter of their recurrent states:
///
/// ```
/// use gatefold::cell::Cell;
/// use gatefold::seq::{MatMut, time_major};
/// use gatefold::{
///     Accumulate, Input, Layer, Options, Output, Stack, StackGrads, StackTape, StackWorkspace, Upstream,
/// };
/// use gatefold_training::{
///     Adam, AdamOptions, Random, Share, StackDropout, StackRates, initial, mean_squared_error,
/// };
///
/// let mut random = Random::new(1);
/// let mut lstm = |input| {
///     let weights = initial::keras::<f32>(Cell::Lstm, input, 16, &mut random)?;
///     Layer::new(weights, Options { keep_weights: true, ..Options::default() })
/// };
/// let mut stack = Stack::new(vec![lstm(1)?.into(), lstm(16)?.into()])?;
/// let rates = StackRates { between: 0.5, recurrent: 0.25, ..StackRates::default() };
/// let mut dropout = StackDropout::new(rates, Share::Timesteps, 2)?;
/// let mut adam = Adam::new(AdamOptions { learning_rate: 0.01, ..AdamOptions::PYTORCH })?;
///
/// // To learn: a sine, of which every unit of the last layer is to give the next value.
/// let (time, batch) = (10, 8);
/// let wave = |t: usize, n: usize| ((t + 3 * n) as f32 * 0.5).sin() / 2.0;
/// let x: Vec<f32> = (0..time * batch).map(|i| wave(i / batch, i % batch)).collect(); // [T, N, 1]
/// let target: Vec<f32> = (0..batch * 16).map(|i| wave(time, i / 16)).collect(); // [N, H]
/// let x = Input::from(time_major(&x, [time, batch, 1])?);
///
/// let (mut tape, mut workspace, mut grads) = (StackTape::new(), StackWorkspace::new(), StackGrads::new());
/// let untrained = stack.forward_last(x, None)?.y;
/// for _ in 0..100 {
///     let (mut state, mut last) = (stack.state(batch)?, vec![0.0; batch * 16]);
///     let masks = dropout.draw(&stack, [time, batch])?;
///     let output = Output::Last(MatMut::dense(&mut last, batch, 16)?);
///     stack.record(x.stack_noise(masks.noise()), &mut state, output, &mut tape, &mut workspace)?;
///     let mut dh = vec![0.0; 2 * batch * 16]; // of both layers' final states
///     mean_squared_error(&last, &target, &mut dh[batch * 16..])?;
///     // The tape has the masks.
///     let upstream = Upstream { dh: Some(&dh), ..Upstream::default() };
///     stack.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite)?;
///     adam.step(&mut stack, &grads)?;
/// }
/// let trained = stack.forward_last(x, None)?.y; // without masks
/// let mut d = vec![0.0; trained.len()];
/// let [before, after] = [&untrained, &trained].map(|y| mean_squared_error(y, &target, &mut d));
/// assert!(after? < before? / 10.0);
/// # Ok::<(), gatefold::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StackDropout<T> {
    rates: StackRates,
    share: Share,
    random: Random,
    /// Of each layer and direction: dropout, zoneout of h and of c; empty where there is none.
    layers: Vec<[Vec<T>; 3]>,
    /// Of the outputs of each level but the last.
    between: Vec<Vec<T>>,
}

/// The masks of one call.
#[derive(Clone, Debug)]
pub struct StackMasks<'a, T> {
    layers: Vec<Noise<'a, T>>,
    between: Vec<Option<SeqRef<'a, T>>>,
}

impl<T> StackMasks<'_, T> {
    /// For [`Input::stack_noise`](gatefold::Input::stack_noise).
    pub fn noise(&self) -> StackNoise<'_, T> {
        StackNoise { layers: &self.layers, between: &self.between }
    }
}

impl<T: Element> StackDropout<T> {
    /// Dropout and zoneout of `rates`, whose draws `seed` decides. `share` is of the masks between levels: a channel of a row
    /// is dropped for all timesteps, or value by value.
    ///
    /// # Errors
    /// [`Error::Number`] if a rate is not between 0 and 1.
    pub fn new(rates: StackRates, share: Share, seed: u64) -> Result<Self> {
        let StackRates { between, recurrent, zoneout, zoneout_cell } = rates;
        for (argument, rate) in
            [("between", between), ("recurrent", recurrent), ("zoneout", zoneout), ("zoneout_cell", zoneout_cell)]
        {
            check_rate(argument, rate)?;
        }
        Ok(StackDropout { rates, share, random: Random::new(seed), layers: Vec::new(), between: Vec::new() })
    }

    /// Draws masks anew for a call of T steps of N rows in training, given as `[T, N]`. The numbers are written where those of the
    /// call before were; two short lists of views are allocated.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for sizes that cannot be counted.
    pub fn draw(&mut self, stack: &Stack<T>, [time, batch]: [usize; 2]) -> Result<StackMasks<'_, T>> {
        let StackRates { between, recurrent, zoneout, zoneout_cell } = self.rates;
        let kept = |rate: f64| [T::ZERO, T::from_f64(1.0 / (1.0 - rate))];
        let stays = [T::ONE, T::ZERO];
        let random = &mut self.random;
        let mut fill = |to: &mut Vec<T>, rate: f64, values: [T; 2], [steps, channels]: [usize; 2]| -> Result<()> {
            let len = steps.checked_mul(batch).and_then(|rows| rows.checked_mul(channels));
            let len = len.ok_or(Error::TooLarge { argument: "sizes" })?;
            draw(random, rate, values, if rate > 0.0 { len } else { 0 }, to);
            Ok(())
        };
        self.layers.resize_with(layers(stack).count(), Default::default);
        for (dims, [dropout, of_h, of_c]) in layers(stack).zip(&mut self.layers) {
            fill(dropout, recurrent, kept(recurrent), [1, dims.output()])?;
            fill(of_h, zoneout, stays, [time, dims.output()])?;
            fill(of_c, zoneout_cell, stays, [time, cells(dims)])?;
        }
        let steps = if self.share == Share::Timesteps { time.min(1) } else { time };
        self.between.resize_with(stack.levels().len() - 1, Default::default);
        for (level, to) in stack.levels().iter().zip(&mut self.between) {
            fill(to, between, kept(between), [steps, level.output()])?;
        }

        let dense = |channels| SeqShape::time_major(time, batch, channels);
        let mut noises = Vec::with_capacity(self.layers.len());
        for (dims, [dropout, of_h, of_c]) in layers(stack).zip(&self.layers) {
            let mask = (recurrent > 0.0).then(|| MatRef::dense(dropout, batch, dims.output())).transpose()?;
            noises.push(Noise { recurrent_dropout: mask, ..self.zoneouts(dims, [of_h, of_c], dense)? });
        }
        let mut gaps = Vec::with_capacity(self.between.len());
        for (level, mask) in stack.levels().iter().zip(&self.between) {
            let own = dense(level.output());
            let shape = if self.share == Share::Timesteps { SeqShape { time_stride: 0, ..own } } else { own };
            gaps.push((between > 0.0).then(|| SeqRef::new(mask, shape)).transpose()?);
        }
        Ok(StackMasks { layers: noises, between: gaps })
    }

    /// What a call of T steps of N rows, given as `[T, N]`, takes when training is over: nothing is dropped, and of every state its rate of
    /// zoneout stays, the expectation of what is drawn. Without zoneout there are no masks.
    ///
    /// # Errors
    /// Those of a view of a mask, of which there should be none.
    pub fn expectation(&mut self, stack: &Stack<T>, [time, batch]: [usize; 2]) -> Result<StackMasks<'_, T>> {
        let StackRates { zoneout, zoneout_cell, .. } = self.rates;
        self.layers.resize_with(layers(stack).count(), Default::default);
        for (dims, [_, of_h, of_c]) in layers(stack).zip(&mut self.layers) {
            for (values, rate, len) in [(of_h, zoneout, dims.output()), (of_c, zoneout_cell, cells(dims))] {
                values.clear();
                values.resize(len, T::from_f64(rate));
            }
        }
        // One row, for all rows of all steps.
        let row = |channels| SeqShape { time, batch, channels, time_stride: 0, batch_stride: 0 };
        let masks =
            layers(stack).zip(&self.layers).map(|(dims, [_, of_h, of_c])| self.zoneouts(dims, [of_h, of_c], row));
        Ok(StackMasks { layers: masks.collect::<Result<_>>()?, between: Vec::new() })
    }

    /// The views of zoneout's masks.
    fn zoneouts<'a>(
        &self,
        dims: Dims,
        [of_h, of_c]: [&'a [T]; 2],
        shape: impl Fn(usize) -> SeqShape,
    ) -> Result<Noise<'a, T>> {
        let StackRates { zoneout, zoneout_cell, .. } = self.rates;
        let view = |mask, rate: f64, channels| {
            (rate > 0.0 && channels > 0).then(|| SeqRef::new(mask, shape(channels))).transpose()
        };
        let (zoneout, zoneout_cell) = (view(of_h, zoneout, dims.output())?, view(of_c, zoneout_cell, cells(dims))?);
        Ok(Noise { recurrent_dropout: None, zoneout, zoneout_cell })
    }
}

/// The sizes of every layer and direction.
fn layers<T>(stack: &Stack<T>) -> impl Iterator<Item = Dims> {
    stack.levels().iter().flat_map(Level::layers).map(|(layer, _)| layer.dims())
}

/// Units of the cell state.
fn cells(dims: Dims) -> usize {
    if dims.cell.has_cell_state() { dims.hidden } else { 0 }
}
