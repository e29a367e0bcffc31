//! A layer with all that a call needs, its error, and its time.

use super::case::{Case, Sizes};
use super::timing::{self, Timing};
use crate::arguments::pool;
use anyhow::{Context, Result};
use gatefold::gemm::Element;
use gatefold::seq::{time_major, time_major_mut};
use gatefold::{Backend, Layer, Options, Output, State, Weights, Workspace};

/// What was measured of a case.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    pub timing: Timing,
    /// The largest distance of an output from that of the same layer computed natively in f64; of training that of a
    /// gradient, as a part of the largest value in its array.
    pub error: f64,
}

/// What is timed: a layer of a case, and what a call of it is.
pub trait Work: Sized {
    /// The layer, and all that a call needs.
    fn new(case: Case, options: Options) -> Result<Self>;
    /// A call.
    fn call(&mut self) -> Result<()>;
    /// What [`Timed::error`] says, of a call.
    fn error(&mut self, options: Options) -> Result<f64>;
    /// How long calls take, one after the other.
    fn calls(&mut self, budget: f64) -> Result<Timing> {
        timing::median(budget, || self.call())
    }
}

/// Measures `case`. The calls come from inside a pool of as many threads as the case has.
pub fn time<W: Work>(case: Case, options: Options, budget: f64) -> Result<Timed> {
    let work = || {
        let mut work = W::new(case, options)?;
        let error = work.error(options)?;
        Ok(Timed { timing: work.calls(budget)?, error })
    };
    if case.threads == 1 { work() } else { pool(case.threads)?.install(work) }
}

/// Unlike max, this keeps a NaN.
pub fn largest(most: f64, other: f64) -> f64 {
    if other <= most { most } else { other }
}

/// A forward pass.
pub struct Subject<T> {
    case: Case,
    layer: Layer<T>,
    x: Vec<T>,
    y: Vec<T>,
    state: State<T>,
    workspace: Workspace<T>,
}

impl<T: Element> Work for Subject<T> {
    /// The same weights and inputs for either type.
    fn new(case: Case, options: Options) -> Result<Self> {
        let (cell, Sizes { input, hidden, batch, time }) = (case.cell.cell(), case.sizes);
        let mut random = Random(1);
        let layer = layer(case, options, &mut random)?;
        let mut state = layer.state(batch)?;
        if time == 1 {
            state.set_h(&random.values(&[batch, hidden], 0.9)?)?;
            if cell.has_cell_state() {
                state.set_c(&random.values(&[batch, hidden], 0.9)?)?;
            }
        }
        let x = random.values(&[time, batch, input], 1.0)?;
        let y = random.values(&[time, batch, hidden], 0.0)?;
        Ok(Subject { workspace: layer.workspace(time, batch)?, case, layer, x, y, state })
    }

    /// The whole sequence from zeros, or a single step from where the last one ended.
    fn call(&mut self) -> Result<()> {
        let Sizes { input, hidden, batch, time } = self.case.sizes;
        if time > 1 {
            self.state.reset();
        }
        let x = time_major(&self.x, [time, batch, input])?;
        let y = Output::Sequence(time_major_mut(&mut self.y, [time, batch, hidden])?);
        Ok(self.layer.forward_into(x, &mut self.state, y, &mut self.workspace)?)
    }

    /// Of single steps of a row as a stream of frames makes them.
    fn calls(&mut self, budget: f64) -> Result<Timing> {
        let Subject { case, layer, x, y, state, workspace } = self;
        if (case.sizes.batch, case.sizes.time) != (1, 1) {
            return timing::median(budget, || self.call());
        }
        let mut steps = layer.steps(state, workspace)?;
        timing::median(budget, || Ok(steps.step(x, y)?))
    }

    fn error(&mut self, options: Options) -> Result<f64> {
        let mut exact = Subject::<f64>::new(self.case, Options { backend: Backend::Native, ..options })?;
        exact.call()?;
        self.call()?;
        let distances = self.y.iter().zip(&exact.y).map(|(y, exact)| (y.to_f64() - exact).abs());
        Ok(distances.fold(0.0, largest))
    }
}

/// A layer of random weights, the same for either type.
pub fn layer<T: Element>(case: Case, options: Options, random: &mut Random) -> Result<Layer<T>> {
    let (cell, Sizes { input, hidden, .. }) = (case.cell.cell(), case.sizes);
    // As PyTorch draws them: a state that neither dies nor saturates.
    let scale = 1.0 / (hidden as f32).sqrt();
    let rows = [cell.gates(), hidden];
    let w = random.values(&[&rows[..], &[input]].concat(), scale)?;
    let r = random.values(&[&rows[..], &[hidden]].concat(), scale)?;
    let biases = [random.values(&rows, scale)?, random.values(&rows, scale)?].map(Some);
    let [b_w, b_r] = biases;
    Ok(Layer::new(Weights::new(cell, input, hidden, w, r, b_w, b_r)?, options)?)
}

/// The generator of Knuth's MMIX, of which the upper bits are good.
pub struct Random(pub u64);

impl Random {
    /// As many values as the product of `sizes`, between -`scale` and `scale`: f32 numbers, whatever T is.
    pub fn values<T: Element>(&mut self, sizes: &[usize], scale: f32) -> Result<Vec<T>> {
        let len = sizes.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        let mut values = Vec::new();
        let room = len.and_then(|len| values.try_reserve_exact(len).ok());
        room.with_context(|| format!("an array of {sizes:?} values does not fit in memory"))?;
        values.extend((0..len.unwrap_or(0)).map(|_| {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let unit = (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            T::from_f64((unit * scale).into())
        }));
        Ok(values)
    }
}
