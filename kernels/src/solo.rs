//! One row through a layer, each timestep in one pass over both panels: what a stream of frames needs.
//!
//! Every chain begins with its bias, goes on over the input and then over the state, and ends in the cell without leaving
//! the registers. There is no input product in memory, and as little as possible around a step: at a few units, comparing
//! sizes costs as much as the arithmetic. The sums are those of [`Relay`](crate::relay::Relay), to the bit. Its input
//! product of many steps at once reads W less often, which pays where W does not fit the first cache.

mod row;
mod units;

use crate::block::Block;
use crate::cell::{Chains, Stage, StageKind, StageVisitor};
use crate::epilogue::{MAX_PLANES, chained};
use crate::gang::{Share, lead};
use crate::gemm::store_up_to;
use crate::isa::{Dispatch, Isa, Op, Simd};
use crate::micro::{Prefetch, multiply, prefetch_all};
use crate::pack::Panel;
use crate::real::Real;
use crate::relay::{Walk, Wiring, check_panels, wiring};
use crate::seq::{SeqMut, SeqRef};
use crate::shape::ShapeError;
use row::{Pair, Row};
use std::marker::PhantomData;
use std::ops::Range;
use units::Units;

/// Every timestep of a layer, for one row.
#[derive(Debug)]
pub struct Solo<'a, 'b, T> {
    /// The instruction set; the panels must have been packed for it.
    pub isa: Isa,
    /// Threads that may share the units of a step.
    pub threads: usize,
    /// The stage that a step runs first.
    pub first: SoloStage<'a, T>,
    /// The one that it runs then, of a cell of two stages.
    pub second: Option<SoloStage<'a, T>>,
    /// The inputs, `[T, 1, I]`.
    pub x: SeqRef<'a, T>,
    /// Hidden state, `[units padded]` of the last stage; the first is what the first step reads.
    pub h: [&'b mut [T]; 2],
    /// Cell state likewise, of an LSTM; else empty.
    pub c: [&'b mut [T]; 2],
    /// What a first stage leaves for the second, `[H padded]`; empty if there is one stage.
    pub between: [&'b mut [T]; 2],
    /// Every output, `[T, 1, units]`.
    pub y: Option<SeqMut<'b, T>>,
    /// In which direction time is walked, and where outputs go.
    pub walk: Walk,
    /// Whether the first step walks over units backwards, see [`Step::reverse`](crate::step::Step::reverse).
    pub reverse: bool,
}

/// One stage of a layer.
#[derive(Clone, Copy, Debug)]
pub struct SoloStage<'a, T> {
    /// What it computes.
    pub kind: StageKind,
    /// The input weights with their biases as heads.
    pub input: &'a Panel<T>,
    /// The recurrent weights with the stage's own biases as heads.
    pub recurrent: &'a Panel<T>,
}

impl<'a, 'b, T: Real> Solo<'a, 'b, T> {
    /// Computes all steps; the final state stands in the first planes if T is even, else in the second. Nothing is
    /// allocated.
    ///
    /// # Errors
    /// A size that does not fit, by the name of the field, or a stage that only large layers have; then nothing was computed.
    #[inline(always)]
    pub fn run(self) -> Result<(), ShapeError> {
        T::solo(&mut self.ready()?);
        Ok(())
    }

    /// Compares all sizes, so that frames can be computed one by one with little beside the arithmetic: of `x` then only the
    /// number of channels counts, and `y` is not written.
    ///
    /// # Errors
    /// A size that does not fit, by the name of the field, or a stage that only large layers have.
    pub fn ready(self) -> Result<Ready<'a, 'b, T>, ShapeError> {
        ready(self)
    }
}

/// One row through a layer, its sizes compared: frames can come one by one.
///
/// Made by [`Solo::ready`].
#[derive(Debug)]
pub struct Ready<'a, 'b, T> {
    isa: Isa,
    threads: usize,
    /// Each stage with all its units.
    first: (SoloStage<'a, T>, Units<T>),
    second: Option<(SoloStage<'a, T>, Units<T>)>,
    row: Row<T>,
    life: PhantomData<(&'a [T], &'b mut [T])>,
}

// SAFETY: it has borrowed all that its pointers point to, the weights and x shared, the rest for itself alone.
unsafe impl<T: Send + Sync> Send for Ready<'_, '_, T> {}

// SAFETY: steps are computed through it by who borrows it for himself alone, and those with whom he shares one write the units
// of their own blocks, which no other of that stage reads.
unsafe impl<T: Send + Sync> Sync for Ready<'_, '_, T> {}

impl<T: Real> Ready<'_, '_, T> {
    /// Computes the next step from a frame `x`, `[I]`, and writes its output to `y`, `[units]`. The state that a step wrote, in
    /// the second planes at first, is what the next one reads. Nothing is allocated.
    ///
    /// # Errors
    /// `"x channels"` or `"y channels"` does not fit; then nothing was computed.
    #[inline(always)]
    pub fn step(&mut self, x: &[T], y: &mut [T]) -> Result<(), ShapeError> {
        ShapeError::same("x channels", self.row.channels, x.len())?;
        ShapeError::same("y channels", self.row.units, y.len())?;
        (self.row.x, self.row.y, self.row.time) = (x.as_ptr(), y.as_mut_ptr(), 1);
        T::solo(self);
        // The frame is the caller's again.
        self.row.time = 0;
        self.row.turn ^= 1;
        Ok(())
    }
}

impl<T: Real> Ready<'_, '_, T> {
    /// A share of a step of the first stage or of the second.
    fn round(&self, s: usize, stage: usize, share: Share) {
        let Ready { isa, first, second, row, .. } = self;
        let ((stage, _), last) = match second {
            Some(second) if stage == 1 => (second, true),
            second => (first, second.is_none()),
        };
        let units = Units::part(stage, share);
        stage.kind.visit(Visit { isa: *isa, row, units: &units, last, steps: s..s + 1 });
    }
}

/// The body of [`Solo::ready`].
fn ready<'a, 'b, T: Real>(mut args: Solo<'a, 'b, T>) -> Result<Ready<'a, 'b, T>, ShapeError> {
    let x = args.x.shape();
    ShapeError::same("x rows", 1, x.batch)?;
    let units = args.second.as_ref().unwrap_or(&args.first).recurrent.shape().units;
    let (mut y, mut y_stride) = (std::ptr::null_mut(), 0);
    if let Some(to) = &mut args.y {
        let shape = to.shape();
        ShapeError::same("y timesteps", x.time, shape.time)?;
        ShapeError::same("y rows", 1, shape.batch)?;
        ShapeError::same("y channels", units, shape.channels)?;
        (y, y_stride) = (to.as_mut_ptr(), shape.time_stride);
    }
    let row = Row {
        x: args.x.as_ptr(),
        x_stride: x.time_stride,
        time: x.time,
        channels: x.channels,
        units,
        h: Pair::of(&mut args.h),
        c: Pair::of(&mut args.c),
        between: Pair::of(&mut args.between),
        y,
        y_stride,
        walk: args.walk,
        reverse: args.reverse,
        turn: 0,
    };
    let lanes = <T as Dispatch>::lanes(args.isa);
    let check = |stage: &SoloStage<'_, T>, last| stage.kind.visit(Check { row: &row, lanes, stage, last });
    check(&args.first, args.second.is_none())?;
    if let Some(second) = &args.second {
        check(second, true)?;
    }
    let whole = |stage| (stage, Units::all(&stage));
    let (first, second) = (whole(args.first), args.second.map(whole));
    Ok(Ready { isa: args.isa, threads: args.threads, first, second, row, life: PhantomData })
}

/// All steps of the row of `ready`.
pub(crate) fn solo<T: Real>(ready: &mut Ready<'_, '_, T>) {
    let ready = &*ready;
    let time = ready.row.time;
    if ready.threads > 1 {
        return shared(ready);
    }
    let Ready { isa, first, second, row, .. } = ready;
    let alone = |(stage, units): &(SoloStage<'_, T>, Units<T>), last, steps| {
        stage.kind.visit(Visit { isa: *isa, row, units, last, steps });
    };
    let Some(second) = second else { return alone(first, true, 0..time) };
    for s in 0..time {
        alone(first, false, s..s + 1);
        alone(second, true, s..s + 1);
    }
}

/// The same on several threads. Not inlined: what a gang needs on the stack is made room for in every step.
#[inline(never)]
fn shared<T: Real>(ready: &Ready<'_, '_, T>) {
    let stages = 1 + usize::from(ready.second.is_some());
    lead(ready.threads, ready.row.time.saturating_mul(stages), |round, share| {
        ready.round(round / stages, round % stages, share);
    });
}

/// Compares the sizes of a stage.
struct Check<'a, T> {
    row: &'a Row<T>,
    lanes: usize,
    stage: &'a SoloStage<'a, T>,
    last: bool,
}

impl<T: Real> StageVisitor for Check<'_, T> {
    type Out = Result<(), ShapeError>;

    #[inline(always)]
    fn visit<C: Stage>(self, _: C) -> Self::Out {
        let Check { row, lanes, stage: SoloStage { input, recurrent, .. }, last } = self;
        ShapeError::same("stages of large layers alone", 0, usize::from(!C::ANY_SIZE))?;
        check_panels(const { C::KIND.shape() }, lanes, [input, recurrent], row.channels)?;
        let Wiring { operand, prev, next } = wiring(C::KIND, last);
        ShapeError::at_least("plane", recurrent.shape().k, row.len(operand))?;
        let padded = recurrent.shape().units.next_multiple_of(lanes);
        for &held in prev.iter().chain(next) {
            ShapeError::at_least("plane", padded, row.len(held))?;
        }
        Ok(())
    }
}

/// Some steps of a stage; made by [`solo`] alone.
struct Visit<'a, T> {
    isa: Isa,
    row: &'a Row<T>,
    units: &'a Units<T>,
    last: bool,
    steps: Range<usize>,
}

impl<T: Real> StageVisitor for Visit<'_, T> {
    type Out = ();

    #[inline(always)]
    fn visit<C: Stage>(self, stage: C) {
        let Visit { isa, row, units, last, steps } = self;
        // `Check` refused the others.
        if const { C::ANY_SIZE } {
            T::dispatch(isa, &Steps { stage, row, units, last, steps });
        }
    }
}

/// Some steps of a stage. All sizes were compared.
struct Steps<'a, T, C> {
    stage: C,
    row: &'a Row<T>,
    units: &'a Units<T>,
    last: bool,
    steps: Range<usize>,
}

/// Where a step reads and writes.
#[derive(Clone, Copy)]
struct Step<T> {
    x: *const T,
    operand: *const T,
    prev: [*const T; MAX_PLANES],
    next: [*mut T; MAX_PLANES],
    /// Null: not wanted.
    y: *mut T,
}

/// Bytes that a first cache holds, of weights and what else a step needs. Panels that are larger are read in groups of few
/// blocks, so that a step that turns round finds the last ones still there.
const FIRST_CACHE: usize = 40 << 10;

/// Most unit blocks whose chains run side by side, a power of two: as many as the registers allow with what waits for the
/// end, but none than keep two FMA units of latency 4 busy.
const fn most_blocks(gates: usize, late: usize, registers: usize) -> usize {
    let mut most = 8;
    while most > 1 && (most * (gates + late) + 2 > registers || most * gates > 16) {
        most /= 2;
    }
    most
}

/// The fewest blocks that have chains enough to keep up with a second cache.
const fn few_blocks(gates: usize) -> usize {
    let mut few = 1;
    while few * gates < 6 && few < 8 {
        few *= 2;
    }
    few
}

impl<T: Real, C: Stage> Op<T> for &Steps<'_, T, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for step in self.steps.clone() {
            self.step(s, step);
        }
    }
}

impl<T: Real, C: Stage> Steps<'_, T, C> {
    /// Where step `s` in the order of processing reads and writes.
    #[inline(always)]
    fn places(&self, s: usize) -> Step<T> {
        let (row, turn) = (self.row, self.row.turn + s);
        let t = if row.walk == Walk::Forward { s } else { row.time - 1 - s };
        let t_out = if row.walk == Walk::Flipped { s } else { t };
        let Wiring { operand, prev: reads, next: writes } = wiring(C::KIND, self.last);
        let (mut prev, mut next) = ([std::ptr::null(); MAX_PLANES], [std::ptr::null_mut(); MAX_PLANES]);
        for (plane, &held) in prev.iter_mut().zip(reads) {
            *plane = row.plane(held, turn).wrapping_add(self.units.first).cast_const();
        }
        for (plane, &held) in next.iter_mut().zip(writes) {
            *plane = row.plane(held, turn + 1).wrapping_add(self.units.first);
        }
        Step {
            x: row.x.wrapping_add(t * row.x_stride),
            operand: row.plane(operand, turn),
            prev,
            next,
            y: if self.last && !row.y.is_null() {
                row.y.wrapping_add(t_out * row.y_stride + self.units.first)
            } else {
                std::ptr::null_mut()
            },
        }
    }

    /// Step `s` in the order of processing.
    #[inline(always)]
    fn step<S: Simd<T>>(&self, s: S, number: usize) {
        let most = const {
            most_blocks(<C::Recurrent<()> as Block<()>>::N, <C::Late<()> as Block<()>>::N, <S as Simd<T>>::REGS)
        };
        let (places, units) = (self.places(number), self.units);
        let blocks = units.count.div_ceil(S::LANES);
        let [of_input, of_recurrent] = Self::strides(units);
        let is_large = blocks * (of_input + of_recurrent) * size_of::<T>() > FIRST_CACHE;
        let most = if is_large { most.min(few_blocks(<C::Recurrent<()> as Block<()>>::N)) } else { most };
        if is_large {
            // Other cores may have written it: its lines come sooner all at once than one after the other.
            prefetch_all(s, places.operand, units.recurrent.k);
        }
        let reverse = self.row.reverse != ((self.row.turn + number) % 2 == 1);
        let mut done = 0;
        while done < blocks {
            let left = blocks - done;
            let width = if left >= most { most } else { 1 << left.ilog2() };
            let first = if reverse { left - width } else { done };
            // SAFETY: all sizes were compared; these are blocks of both panels.
            unsafe {
                match width {
                    8 if most >= 8 => self.group::<S, 8>(s, &places, first),
                    4 if most >= 4 => self.group::<S, 4>(s, &places, first),
                    2 if most >= 2 => self.group::<S, 2>(s, &places, first),
                    _ => self.group::<S, 1>(s, &places, first),
                }
            }
            done += width;
        }
    }

    /// Values from one block of either panel to the next.
    #[inline(always)]
    fn strides(units: &Units<T>) -> [usize; 2] {
        let of = const { C::KIND.shape() };
        [units.input.stride(of.input, of.input), units.recurrent.stride(of.heads(), of.recurrent)]
    }

    /// U unit blocks, from the biases to the new state.
    ///
    /// # Safety
    /// The blocks from `first` are blocks of both panels, whose sizes are those of the stage and of all that
    /// `places` point to.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "u and g each run over several arrays")]
    unsafe fn group<S: Simd<T>, const U: usize>(&self, s: S, places: &Step<T>, first: usize) {
        let (Step { x, operand, .. }, Units { input, recurrent, .. }) = (*places, self.units);
        let zero = s.splat(T::ZERO);
        let inputs = <C::Input<S::V> as Block<S::V>>::N;
        let [of_input, of_recurrent] = Self::strides(self.units);
        let heads = input.heads.wrapping_add(first * of_input);
        let own_heads = recurrent.heads.wrapping_add(first * of_recurrent);
        let mut acc = [[<C::Input<S::V> as Block<S::V>>::fill(zero); U]; 1];
        let mut sums = [[<C::Recurrent<S::V> as Block<S::V>>::fill(zero); U]; 1];
        // SAFETY: the caller's promise; a block is its heads and then K times its gates.
        unsafe {
            if inputs > 0 {
                for u in 0..U {
                    for g in 0..inputs {
                        acc[0][u][g] = s.load(heads.add(u * of_input + g * S::LANES));
                    }
                }
                let weights = heads.wrapping_add(inputs * S::LANES);
                acc = multiply(s, acc, [x], weights, of_input, input.k, Prefetch::NONE);
            }
            for u in 0..U {
                for g in 0..chained::<C>() {
                    sums[0][u][g] = acc[0][u][g];
                }
                for g in chained::<C>()..<C::Recurrent<S::V> as Block<S::V>>::N {
                    sums[0][u][g] = s.load(own_heads.add(u * of_recurrent + (g - chained::<C>()) * S::LANES));
                }
            }
            let weights = own_heads.wrapping_add(const { C::KIND.shape().heads() } * S::LANES);
            sums = multiply(s, sums, [operand], weights, of_recurrent, recurrent.k, Prefetch::NONE);
            for u in 0..U {
                self.finish(s, places, first + u, sums[0][u], acc[0][u]);
            }
        }
    }

    /// The cell behind the finished chains of a block.
    ///
    /// # Safety
    /// As for `group`, for one block.
    #[inline(always)]
    unsafe fn finish<S: Simd<T>>(
        &self,
        s: S,
        places: &Step<T>,
        block: usize,
        recurrent: C::Recurrent<S::V>,
        input: C::Input<S::V>,
    ) {
        let zero = s.splat(T::ZERO);
        let mut late = <C::Late<S::V> as Block<S::V>>::fill(zero);
        let mut prev = <C::Prev<S::V> as Block<S::V>>::fill(zero);
        let from = block * S::LANES;
        // SAFETY: the caller's promise; planes are padded to whole vectors, y has `lanes` units at this block.
        unsafe {
            for g in 0..<C::Late<S::V> as Block<S::V>>::N {
                late[g] = input[chained::<C>() + g];
            }
            for i in 0..<C::Prev<S::V> as Block<S::V>>::N {
                prev[i] = s.load(places.prev[i].wrapping_add(from));
            }
            let (next, _) = self.stage.finish(s, Chains { recurrent, late }, prev);
            for i in 0..<C::Next<S::V> as Block<S::V>>::N {
                s.store(places.next[i].wrapping_add(from), next[i]);
            }
            if !places.y.is_null() {
                let lanes = S::LANES.min(self.units.count - from);
                store_up_to(s, places.y.wrapping_add(from), next[0], lanes);
            }
        }
    }
}
