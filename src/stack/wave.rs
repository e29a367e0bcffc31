//! Layers of a stack side by side: each works on a block of time while the one above works on the block before.
//!
//! ```text
//! wave        0    1    2    3    4
//! layer 0     a    b    c    d            blocks of time a, b, c, d
//! layer 1          a    b    c    d
//! ```
//!
//! Layers that stand in one column run at once. What a layer gives is read by the one above in the next wave, so that each
//! has two buffers by turns. A block is a call like any other: the split of time into calls changes no bit.

use super::{Level, StackWorkspace};
use crate::caches::Caches;
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::gemm::Element;
use crate::input::{Input, Source};
use crate::layer::Layer;
use crate::output::Output;
use crate::schedule::{self, Split, Threads, Wave};
use crate::seq::{SeqRef, SeqShape, product, time_major_mut};
use crate::state::State;
use crate::workspace::Workspace;
use gatefold_kernels::buf::Buf;

/// What a layer of a wave has beside its weights and state.
#[derive(Clone, Debug)]
pub(super) struct Lane<T> {
    workspace: Workspace<T>,
    /// What it gives in this wave.
    write: Buf<T>,
}

/// The sizes of the layers, if all walk from the first step to the last.
fn dims<T: Element>(levels: &[Level<T>]) -> Option<impl Iterator<Item = Dims> + Clone> {
    let all_ahead = levels.iter().all(|level| level.ahead().is_some());
    all_ahead.then(|| levels.iter().filter_map(Level::ahead).map(Layer::dims))
}

/// Makes room for every call of up to `time` steps of up to `batch` rows.
pub(super) fn reserve<T: Element>(
    levels: &[Level<T>],
    workspace: &mut StackWorkspace<T>,
    time: usize,
    batch: usize,
) -> Result<()> {
    let rows = dims(levels).and_then(|dims| Wave::rows(dims, time, size_of::<T>(), Caches::of_machine()));
    let Some(rows) = rows else { return Ok(()) };
    let rows = rows.saturating_add(batch);
    let StackWorkspace { lanes, ready, .. } = workspace;
    if lanes.len() < levels.len() {
        lanes.resize_with(levels.len(), || Lane { workspace: Workspace::new(), write: Buf::empty() });
        ready.resize_with(levels.len(), Buf::empty);
    }
    for ((level, lane), ready) in levels.iter().zip(lanes).zip(ready) {
        let len = product(&[rows, level.output()]).ok_or(Error::TooLarge { argument: "batch" })?;
        lane.write.reserve(len)?;
        ready.reserve(len)?;
        if let Some(layer) = level.ahead() {
            layer.reserve_alone(&mut lane.workspace, rows.min(time), batch)?;
        }
    }
    Ok(())
}

/// Runs the whole of `input`, whose sizes were checked, through `levels`, if waves are the way to do it.
pub(super) fn run<T: Element>(
    levels: &[Level<T>],
    input: &Input<'_, T>,
    states: &mut [State<T>],
    y: &mut Output<'_, T>,
    workspace: &mut StackWorkspace<T>,
) -> Result<bool> {
    let ([time, batch, _], Source::Padded(x)) = (input.sizes(), input.x) else { return Ok(false) };
    if !input.is_whole() || input.attention.is_some() {
        return Ok(false);
    }
    let Some(dims) = dims(levels) else { return Ok(false) };
    let threads = || levels.iter().filter_map(Level::ahead).map(|layer| layer.threads().count()).min().unwrap_or(1);
    let wave = Wave::new(dims, [time, batch], size_of::<T>(), Caches::of_machine(), threads);
    let Some(wave) = wave else { return Ok(false) };
    reserve(levels, workspace, time, batch)?;
    schedule::inside(|| waves(wave, levels, x, states, y, workspace))?;
    Ok(true)
}

/// One wave after the other.
fn waves<T: Element>(
    wave: Wave,
    levels: &[Level<T>],
    x: SeqRef<'_, T>,
    states: &mut [State<T>],
    y: &mut Output<'_, T>,
    workspace: &mut StackWorkspace<T>,
) -> Result<()> {
    let (blocks, top) = (x.shape().time.div_ceil(wave.block), levels.len() - 1);
    for now in 0..blocks + top {
        let active = now.saturating_sub(blocks - 1)..top.min(now) + 1;
        let lanes = Lanes {
            first: active.start,
            now,
            block: wave.block,
            levels: &levels[active.clone()],
            states: &mut states[active.clone()],
            lanes: &mut workspace.lanes[active.clone()],
            ready: &workspace.ready,
            x,
            y: if active.end == levels.len() { Some(y.reborrow()) } else { None },
        };
        schedule::run(lanes, wave.threads.min(active.len()))?;
        for (lane, ready) in workspace.lanes.iter_mut().zip(&mut workspace.ready) {
            std::mem::swap(&mut lane.write, ready);
        }
    }
    Ok(())
}

/// Neighbouring layers in one wave.
struct Lanes<'a, T> {
    /// The number of the first of them.
    first: usize,
    /// The number of the wave.
    now: usize,
    block: usize,
    levels: &'a [Level<T>],
    states: &'a mut [State<T>],
    lanes: &'a mut [Lane<T>],
    /// What every layer gave in the wave before.
    ready: &'a [Buf<T>],
    x: SeqRef<'a, T>,
    /// Where the outputs of the whole sequence go, if the last of the layers is the last one of all.
    y: Option<Output<'a, T>>,
}

impl<T: Element> Split for Lanes<'_, T> {
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)> {
        let Lanes { first, levels, states, lanes, y, .. } = self;
        let at = levels.len() * left / (left + right);
        let (levels_a, levels_b) = levels.split_at(at);
        let (states_a, states_b) = states.split_at_mut(at);
        let (lanes_a, lanes_b) = lanes.split_at_mut(at);
        let a = Lanes { levels: levels_a, states: states_a, lanes: lanes_a, y: None, ..self };
        Ok((a, Lanes { first: first + at, levels: levels_b, states: states_b, lanes: lanes_b, y, ..self }))
    }

    fn run(mut self) -> Result<()> {
        let (count, batch) = (self.levels.len(), self.x.shape().batch);
        for (i, (level, (state, lane))) in
            self.levels.iter().zip(self.states.iter_mut().zip(self.lanes.iter_mut())).enumerate()
        {
            let Some(layer) = level.ahead() else { continue };
            let number = self.first + i;
            let from = (self.now - number) * self.block;
            let steps = self.block.min(self.x.shape().time - from);
            let x = match number.checked_sub(1) {
                None => self.x.steps(from, steps)?,
                Some(below) => SeqRef::new(&self.ready[below], SeqShape::time_major(steps, batch, layer.dims().input))?,
            };
            let y = match self.y.as_mut().filter(|_| i + 1 == count) {
                Some(y) => y.steps(from, steps, self.x.shape().time)?,
                None => {
                    let channels = level.output();
                    let y = &mut lane.write[..steps * batch * channels];
                    Output::Sequence(time_major_mut(y, [steps, batch, channels])?)
                }
            };
            layer.forward_on(Threads::One, x.into(), state, y, &mut lane.workspace, None)?;
        }
        Ok(())
    }
}
