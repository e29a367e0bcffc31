//! Every timestep of a layer in one call: sizes are compared once, and a gang of threads may share the units of each step.
//!
//! Unit blocks are shared out, each thread having its own part of the weights and of the input product, so that at each
//! step every core reads its part from its own caches. What a step wrote is read by all in the next one: steps are rounds
//! of the gang. A cell of several stages has two rounds a step.

mod track;
mod visits;

pub use track::States;

use crate::block::Block;
use crate::cell::{Stage, StageKind, StageShape, StageVisitor};
use crate::epilogue::{Finish, Keep, Kept, MAX_PLANES, Plane, TraceMut};
use crate::gang::{Share, lead};
use crate::gemm::{self, GateStrides};
use crate::isa::{Dispatch, Isa};
use crate::mat::{MatMut, MatRef};
use crate::pack::{GateOrder, Panel, PanelRef};
use crate::real::Real;
use crate::seq::{SeqMut, SeqRef};
use crate::shape::ShapeError;
use crate::tile::{CHUNK, Product};
use std::ops::Range;
use track::{TraceTrack, Track, check_planes};
use visits::{Rounds, Visit};

/// Every timestep of a layer, for N rows.
#[derive(Debug)]
pub struct Relay<'a, 'b, T> {
    /// The instruction set; the panels must have been packed for it.
    pub isa: Isa,
    /// Threads that may share the units of a step.
    pub threads: usize,
    /// The layer's stages, in the order in which a step runs them. The three of a GRU with a stage for each gate are run by
    /// halves, so that a step first reads the weights that the last one read last.
    pub stages: [Option<RelayStage<'a, T>>; MAX_STAGES],
    /// The inputs, `[T, N, I]`.
    pub x: SeqRef<'a, T>,
    /// Hidden state, of the units of the last stage.
    pub h: States<'b, T>,
    /// Cell state, of an LSTM.
    pub c: Option<States<'b, T>>,
    /// What stages leave for those behind them, `[N, H padded]`.
    pub between: Option<[MatMut<'b, T>; 2]>,
    /// Every output, `[T, N, units]`.
    pub y: Option<SeqMut<'b, T>>,
    /// In which direction time is walked, and where outputs go.
    pub walk: Walk,
    /// Timesteps whose input product is computed at once, at least 1.
    pub block: usize,
    /// Whether the first step walks over units backwards; every other one does, see
    /// [`Step::reverse`](crate::step::Step::reverse).
    pub reverse: bool,
}

/// In which direction time is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first, each output beside its input.
    Backward,
    /// From the last step to the first, outputs in the order in which they are computed.
    Flipped,
}

/// One stage of a layer.
#[derive(Debug)]
pub struct RelayStage<'a, T> {
    /// What it computes.
    pub kind: StageKind,
    /// The input weights with their biases as heads.
    pub input: &'a Panel<T>,
    /// The recurrent weights with the stage's own biases as heads.
    pub recurrent: &'a Panel<T>,
    /// Room for the input product of a block of steps, `[block * N, product_cols]` of the input panel.
    pub product: &'a mut [T],
    /// Where all steps leave what the backward pass needs, if they do.
    pub trace: Option<TraceMut<'a, T>>,
}

impl<T: Real> Relay<'_, '_, T> {
    /// Computes all steps. Nothing is allocated, but when a gang of so many threads is needed for the first time.
    ///
    /// # Errors
    /// A size that does not fit, by the name of the field; then nothing was computed.
    pub fn run(self) -> Result<(), ShapeError> {
        T::relay(self)
    }
}

/// When a step is computed.
#[derive(Clone, Copy)]
struct Moment {
    /// Its number in the order of processing.
    s: usize,
    /// Its place in time.
    t: usize,
    /// Steps before it in its block.
    ahead: usize,
    /// Whether units are walked over backwards.
    reverse: bool,
}

/// A plane of state, by what it holds.
#[derive(Clone, Copy)]
pub(crate) enum Held {
    H,
    C,
    First,
    Second,
}

/// What a stage reads and writes.
pub(crate) struct Wiring {
    pub(crate) operand: Held,
    pub(crate) prev: &'static [Held],
    pub(crate) next: &'static [Held],
}

/// The wiring of a stage; `last`: whether it is the last one of its layer.
#[inline(always)]
pub(crate) fn wiring(kind: StageKind, last: bool) -> Wiring {
    use Held::{C, First, H, Second};
    let of = |operand, prev, next| Wiring { operand, prev, next };
    match kind {
        StageKind::SimpleTanh | StageKind::SimpleRelu => of(H, &[], &[H]),
        StageKind::Lstm if last => of(H, &[C], &[H, C]),
        StageKind::Lstm => of(H, &[C], &[First, C]),
        StageKind::Projection => of(First, &[], &[H]),
        StageKind::GruAfter => of(H, &[H], &[H]),
        StageKind::GruGates => of(H, &[H], &[First, Second]),
        StageKind::GruCandidate => of(First, &[H, Second], &[H]),
        StageKind::GruReset => of(H, &[H], &[First]),
        StageKind::GruUpdate => of(H, &[], &[Second]),
        StageKind::GruEarlyCandidate => of(First, &[], &[Second]),
        StageKind::GruLateUpdate => of(H, &[H, Second], &[H]),
    }
}

/// A stage with where its input product stands.
struct Wired<'a, T> {
    input: &'a Panel<T>,
    recurrent: &'a Panel<T>,
    product: *mut T,
    trace: Option<TraceTrack<T>>,
}

/// Stages that a layer has at most.
pub const MAX_STAGES: usize = 3;

/// All that the rounds share.
struct Shared<'a, T> {
    isa: Isa,
    stages: [Option<Wired<'a, T>>; MAX_STAGES],
    rounds: Rounds,
    x: SeqRef<'a, T>,
    h: Track<T>,
    c: Track<T>,
    between: [Plane<T>; 2],
    y: Option<(Plane<T>, usize)>,
    walk: Walk,
    block: usize,
    reverse: bool,
}

// SAFETY: a share of a round writes the units of its own blocks alone, in planes that no other share of that round reads at
// these units, nor any as its operand; and its own columns of the input product and of the trace. Else it reads what earlier
// rounds wrote.
unsafe impl<T: Sync> Sync for Shared<'_, T> {}

/// The body of [`Relay::run`] for one element type.
pub(crate) fn relay<T: Real>(mut args: Relay<'_, '_, T>) -> Result<(), ShapeError> {
    check(&args)?;
    let (time, batch) = (args.x.shape().time, args.x.shape().batch);
    let stages = args.stages.iter().flatten();
    // Where nothing is to be computed, strides were compared with nothing.
    if time == 0 || batch == 0 || stages.clone().all(|stage| stage.recurrent.blocks() == 0) {
        return Ok(());
    }
    let rounds = Rounds::of(batch, stages.map(|stage| (stage.kind, stage.recurrent.shape().units)));
    let (h, c) = (Track::of(&mut args.h), args.c.as_mut().map_or(Track::NONE, Track::of));
    let between = args.between.as_mut().map_or([Plane::NONE; 2], |planes| planes.each_mut().map(Plane::write));
    let y = args.y.as_mut().map(|y| (Plane::first(y), y.shape().time_stride));
    let mut stages = args.stages.iter_mut().flatten().map(|stage| Wired {
        input: stage.input,
        recurrent: stage.recurrent,
        product: stage.product.as_mut_ptr(),
        trace: stage.trace.as_mut().map(|trace| TraceTrack::of(trace, stage.recurrent.shape().units)),
    });
    let stages = std::array::from_fn(|_| stages.next());
    let Relay { isa, x, walk, block, reverse, .. } = args;
    let all = time * rounds.count;
    let mut shared = Shared { isa, stages, rounds, x, h, c, between, y, walk, block, reverse };
    // Rows that one thread takes through all steps at once: what they need beside the weights stays in its caches.
    let rows = if args.threads > 1 { batch } else { batch.div_ceil(batch.div_ceil(CHUNK)) };
    for from in (0..batch).step_by(rows) {
        shared.x = x.rows(from, rows.min(batch - from))?;
        // SAFETY: `check` compared all sizes; rounds come in order, each share once.
        lead(args.threads, all, |round, share| unsafe { shared.round(round, share) });
        shared.skip(rows);
    }
    Ok(())
}

/// Compares all sizes.
fn check<T: Real>(args: &Relay<'_, '_, T>) -> Result<(), ShapeError> {
    let (lanes, shape) = (<T as Dispatch>::lanes(args.isa), args.x.shape());
    ShapeError::at_least("block", 1, args.block)?;
    let uncounted = ShapeError { argument: "timesteps", expected: usize::MAX / MAX_STAGES, found: shape.time };
    shape.time.checked_mul(MAX_STAGES).ok_or(uncounted)?;
    let missing = ShapeError { argument: "planes", expected: 2, found: 0 };
    let planes = |held, cols| match held {
        Held::H => args.h.check(shape.time, shape.batch, cols),
        Held::C => args.c.as_ref().ok_or(missing)?.check(shape.time, shape.batch, cols),
        Held::First | Held::Second => check_planes(args.between.as_ref().ok_or(missing)?, shape.batch, cols),
    };
    let mut outputs = 0;
    let count = args.stages.iter().flatten().count();
    for (i, stage) in args.stages.iter().flatten().enumerate() {
        let recurrent = stage.recurrent.shape();
        check_panels(stage.kind.shape(), lanes, [stage.input, stage.recurrent], shape.channels)?;
        let rows = args.block.min(shape.time).checked_mul(shape.batch);
        let product = rows.and_then(|rows| rows.checked_mul(stage.input.product_cols())).unwrap_or(usize::MAX);
        ShapeError::at_least("product", product, stage.product.len())?;
        let padded = recurrent.units.next_multiple_of(lanes);
        let Wiring { operand, prev, next } = wiring(stage.kind, i + 1 == count);
        let least = [(operand, recurrent.k)].into_iter();
        for (held, cols) in least.chain(prev.iter().chain(next).map(|&held| (held, padded))) {
            planes(held, cols)?;
        }
        TraceMut::check(&stage.trace, [shape.time, shape.batch, recurrent.gates, recurrent.units])?;
        outputs = recurrent.units;
    }
    if let Some(y) = &args.y {
        ShapeError::same("y timesteps", shape.time, y.shape().time)?;
        ShapeError::same("y rows", shape.batch, y.shape().batch)?;
        ShapeError::same("y channels", outputs, y.shape().channels)?;
    }
    Ok(())
}

/// Compares the panels of a stage, of W and of R, with what the stage asks for and with the channels of x.
#[inline(always)]
pub(crate) fn check_panels<T: Real>(
    of: StageShape,
    lanes: usize,
    [input, recurrent]: [&Panel<T>; 2],
    channels: usize,
) -> Result<(), ShapeError> {
    ShapeError::same("panel lanes", lanes, input.lanes())?;
    ShapeError::same("panel lanes", lanes, recurrent.lanes())?;
    let (input, recurrent) = (input.shape(), recurrent.shape());
    ShapeError::same("input gates", of.input, input.gates)?;
    ShapeError::same("input heads", of.input, input.heads)?;
    ShapeError::same("recurrent gates", of.recurrent, recurrent.gates)?;
    ShapeError::same("recurrent heads", of.heads(), recurrent.heads)?;
    ShapeError::same("input units", recurrent.units, input.units)?;
    if of.input > 0 {
        ShapeError::same("x channels", input.k, channels)?;
    }
    Ok(())
}

impl<T: Real> Shared<'_, T> {
    /// Leaves out the first `rows` rows of all that is read and written, but for x.
    fn skip(&mut self, rows: usize) {
        self.h.skip(rows);
        self.c.skip(rows);
        self.between.iter_mut().for_each(|plane| plane.skip(rows));
        if let Some((y, _)) = &mut self.y {
            y.skip(rows);
        }
        for trace in self.stages.iter_mut().flatten().filter_map(|stage| stage.trace.as_mut()) {
            trace.skip(rows);
        }
    }

    /// The plane that holds this for the step `s`, at time `t`: before it, or after it.
    #[inline(always)]
    fn plane(&self, held: Held, [s, t]: [usize; 2], after: bool) -> Plane<T> {
        let after = usize::from(after);
        let t = if self.walk == Walk::Forward { t + after } else { t + 1 - after };
        match held {
            Held::H => self.h.at(s + after, t),
            Held::C => self.c.at(s + after, t),
            Held::First => self.between[0],
            Held::Second => self.between[1],
        }
    }

    /// The visits of one round of a step, for the unit blocks of a share.
    ///
    /// # Safety
    /// All sizes were compared, earlier rounds have ended, and no other call for this round has the same share.
    #[inline(always)]
    unsafe fn round(&self, round: usize, share: Share) {
        let (s, round) = (round / self.rounds.count, round % self.rounds.count);
        let reverse = self.reverse != (s % 2 == 1);
        let first = s - s % self.block;
        let (time, steps) = (self.x.shape().time, self.block.min(self.x.shape().time - first));
        let (start, t) = match self.walk {
            Walk::Forward => (first, s),
            Walk::Backward | Walk::Flipped => (time - first - steps, time - 1 - s),
        };
        for visit in self.rounds.visits(round) {
            let Some(stage) = &self.stages[visit.stage] else { continue };
            let blocks = visit.blocks(stage.recurrent.blocks(), reverse, share);
            if blocks.is_empty() {
                continue;
            }
            // SAFETY: the caller's promise.
            unsafe {
                if s == first {
                    self.input_product(stage, start..start + steps, blocks.clone());
                }
                self.step(stage, visit, Moment { s, t, ahead: t - start, reverse }, blocks);
            }
        }
    }

    /// The input product of some steps, for some unit blocks.
    ///
    /// # Safety
    /// As for `round`.
    unsafe fn input_product(&self, stage: &Wired<'_, T>, times: Range<usize>, blocks: Range<usize>) {
        let gates = stage.input.shape().gates;
        let Ok(x) = self.x.steps(times.start, times.len()) else { return };
        let c = stage.product.wrapping_add(blocks.start * gates * stage.input.lanes());
        // SAFETY: the product has `product_cols` columns for every row of a block of steps.
        unsafe { gemm::part(self.isa, x, stage.input.part(blocks), c, stage.input.product_cols()) }
    }

    /// A stage of a step, for some unit blocks.
    ///
    /// # Safety
    /// As for `round`.
    unsafe fn step(&self, stage: &Wired<'_, T>, visit: Visit, moment: Moment, blocks: Range<usize>) {
        let (Moment { s, t, ahead, reverse }, Visit { kind, last, .. }) = (moment, visit);
        let wiring = wiring(kind, last);
        let (batch, lanes) = (self.x.shape().batch, stage.recurrent.lanes());
        let unit = blocks.start * lanes;
        let (mut prev, mut next) = ([Plane::NONE; MAX_PLANES], [Plane::NONE; MAX_PLANES]);
        for (plane, &held) in prev.iter_mut().zip(wiring.prev) {
            *plane = self.plane(held, [s, t], false).shifted(unit);
        }
        for (plane, &held) in next.iter_mut().zip(wiring.next) {
            *plane = self.plane(held, [s, t], true).shifted(unit);
        }
        let cols = stage.input.product_cols();
        let row = stage.product.wrapping_add(ahead * batch * cols + unit * stage.input.shape().gates);
        let is_output = last && matches!(wiring.next.first(), Some(Held::H));
        let t_out = if self.walk == Walk::Flipped { s } else { t };
        let y = self.y.filter(|_| is_output).map(|(y, time_stride)| y.shifted(t_out * time_stride + unit));
        let kept = stage.trace.as_ref().map(|trace| trace.at(t, unit));
        let operand = self.plane(wiring.operand, [s, t], false);
        let panel = stage.recurrent.part(blocks);
        // SAFETY: the operand has K values in each of N rows.
        let operand = unsafe { MatRef::from_raw(operand.ptr, batch, panel.shape().k, operand.stride) };
        let Ok(rows) = SeqRef::from_matrix(operand) else { return };
        let input = Plane { ptr: row, stride: cols };
        kind.visit(StepPart { isa: self.isa, rows, panel, input, prev, next, y, kept, reverse });
    }
}

/// A stage of a step for a part of its units; made by [`Shared::step`] alone.
struct StepPart<'a, T> {
    isa: Isa,
    rows: SeqRef<'a, T>,
    panel: PanelRef<'a, T>,
    input: Plane<T>,
    prev: [Plane<T>; MAX_PLANES],
    next: [Plane<T>; MAX_PLANES],
    y: Option<Plane<T>>,
    kept: Option<Kept<T>>,
    reverse: bool,
}

impl<T: Real> StageVisitor for StepPart<'_, T> {
    type Out = ();

    #[inline(always)]
    fn visit<C: Stage>(self, stage: C) {
        let StepPart { isa, rows, panel, input, prev, next, y, kept, reverse } = self;
        let inputs = <C::Input<()> as Block<()>>::N;
        let gates = GateStrides::of(GateOrder::Panel, inputs, 0, panel.lanes());
        let finish = Finish { stage, input, gates, prev, next, y };
        // SAFETY: `check` compared all sizes with the panel's and the stage's.
        unsafe {
            match kept {
                None => Product::new(rows, None, panel, reverse, &finish).run_on(isa),
                Some(kept) => Product::new(rows, None, panel, reverse, &Keep { finish, kept }).run_on(isa),
            }
        }
    }
}
