//! Layers of a stack side by side: each works on a block of time while the one above works on the block before.
//!
//! ```text
//! wave        0    1    2    3    4
//! layer 0     a    b    c    d            blocks of time a, b, c, d
//! layer 1          a    b    c    d
//! ```
//!
//! Layers that stand in one column run at once, shared by a gang. What a layer gives is read by the one above in the next
//! wave, so that each has two buffers by turns. A block is a call like any other: the split of time into calls changes no bit.

use super::{Level, StackWorkspace};
use crate::caches::Caches;
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::gemm::Element;
use crate::input::{Input, Source};
use crate::layer::Layer;
use crate::output::Output;
use crate::schedule::{Threads, Wave};
use crate::seq::{SeqRef, SeqShape, product, time_major_mut};
use crate::state::State;
use crate::workspace::Workspace;
use gatefold_kernels::buf::Buf;
use gatefold_kernels::gang::{Share, lead};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a layer of a wave works with. Nobody ever waits for a lock of these: in each wave one thread has a layer, and one has
/// each buffer.
#[derive(Debug)]
pub(super) struct Lane<T> {
    own: Mutex<Own<T>>,
    /// What the layer gives, block by block by turns.
    given: [Mutex<Buf<T>>; 2],
}

#[derive(Debug)]
struct Own<T> {
    workspace: Workspace<T>,
    /// The layer's state while waves run.
    state: Option<State<T>>,
}

impl<T> Lane<T> {
    fn new() -> Self {
        let given = [Mutex::new(Buf::empty()), Mutex::new(Buf::empty())];
        Lane { own: Mutex::new(Own { workspace: Workspace::new(), state: None }), given }
    }
}

impl<T> Clone for Lane<T> {
    /// It carries no values from call to call.
    fn clone(&self) -> Self {
        Lane::new()
    }
}

/// What a lock protects; whoever panicked left nothing that is read again.
fn unlock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    let lanes = &mut workspace.lanes;
    if lanes.len() < levels.len() {
        lanes.resize_with(levels.len(), Lane::new);
    }
    for (level, lane) in levels.iter().zip(lanes) {
        let len = product(&[rows, level.output()]).ok_or(Error::TooLarge { argument: "batch" })?;
        for given in &lane.given {
            unlock(given).reserve(len)?;
        }
        if let Some(layer) = level.ahead() {
            layer.reserve_alone(&mut unlock(&lane.own).workspace, rows.min(time), batch)?;
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
    if !input.is_whole() || input.attention.is_some() || !input.stack_noise.is_none() {
        return Ok(false);
    }
    let Some(dims) = dims(levels) else { return Ok(false) };
    let threads = || levels.iter().filter_map(Level::ahead).map(|layer| layer.threads().count()).min().unwrap_or(1);
    let wave = Wave::new(dims, [time, batch], size_of::<T>(), Caches::of_machine(), threads);
    let Some(wave) = wave else { return Ok(false) };
    reserve(levels, workspace, time, batch)?;
    let lanes = &workspace.lanes[..levels.len()];
    for (state, lane) in states.iter_mut().zip(lanes) {
        unlock(&lane.own).state = Some(state.take());
    }
    let waves = Waves { levels, lanes, block: wave.block, x, y: Mutex::new(y), failed: Mutex::new(None) };
    let blocks = time.div_ceil(wave.block);
    lead(wave.threads, blocks + levels.len() - 1, |number, share| waves.run(number, blocks, share));
    let failed = unlock(&waves.failed).take();
    for (state, lane) in states.iter_mut().zip(lanes) {
        if let Some(moved) = unlock(&lane.own).state.take() {
            *state = moved;
        }
    }
    failed.map_or(Ok(true), Err)
}

/// All that waves share.
struct Waves<'a, 'b, 'c, T> {
    levels: &'a [Level<T>],
    lanes: &'a [Lane<T>],
    block: usize,
    x: SeqRef<'a, T>,
    y: Mutex<&'b mut Output<'c, T>>,
    failed: Mutex<Option<Error>>,
}

impl<T: Element> Waves<'_, '_, '_, T> {
    /// A share of the layers that have a block in this wave.
    fn run(&self, number: usize, blocks: usize, share: Share) {
        let first = number.saturating_sub(blocks - 1);
        let count = self.levels.len().min(number + 1) - first;
        for i in count * share.index / share.of..count * (share.index + 1) / share.of {
            if let Err(error) = self.layer(first + i, number - first - i) {
                unlock(&self.failed).get_or_insert(error);
            }
        }
    }

    /// A block of a layer.
    fn layer(&self, number: usize, block: usize) -> Result<()> {
        let Some(layer) = self.levels[number].ahead() else { return Ok(()) };
        let (time, batch) = (self.x.shape().time, self.x.shape().batch);
        let from = block * self.block;
        let steps = self.block.min(time - from);
        let below = number.checked_sub(1).map(|below| unlock(&self.lanes[below].given[block % 2]));
        let x = match &below {
            None => self.x.steps(from, steps)?,
            Some(given) => SeqRef::new(given, SeqShape::time_major(steps, batch, layer.dims().input))?,
        };
        let mut own = unlock(&self.lanes[number].own);
        let Own { workspace, state: Some(state) } = &mut *own else { return Ok(()) };
        if number + 1 == self.levels.len() {
            let mut y = unlock(&self.y);
            return layer.forward_on(Threads::One, x.into(), state, y.steps(from, steps, time)?, workspace, None);
        }
        let mut given = unlock(&self.lanes[number].given[block % 2]);
        let channels = layer.dims().output();
        let y = time_major_mut(&mut given[..steps * batch * channels], [steps, batch, channels])?;
        layer.forward_on(Threads::One, x.into(), state, Output::Sequence(y), workspace, None)
    }
}
