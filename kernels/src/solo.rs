//! One row through a layer, each timestep in one pass over both panels: what a stream of frames needs.
//!
//! Every chain begins with its bias, goes on over the input and then over the state, and ends in the cell without leaving
//! the registers. There is no input product in memory, and as little as possible around a step: at a few units, comparing
//! sizes costs as much as the arithmetic. The sums are those of [`Relay`](crate::relay::Relay), to the bit. Its input
//! product of many steps at once reads W less often, which pays where W does not fit the first cache.

use crate::block::Block;
use crate::cell::{Own, Stage, StageKind, StageVisitor, Sums};
use crate::epilogue::{MAX_PLANES, chained};
use crate::gemm::store_up_to;
use crate::isa::{Dispatch, Isa, Op, Simd};
use crate::micro::multiply;
use crate::pack::{Panel, PanelRef};
use crate::real::Real;
use crate::relay::{Held, Walk, Wiring, wiring};
use crate::seq::{SeqMut, SeqRef};
use crate::shape::ShapeError;

/// Every timestep of a layer, for one row.
#[derive(Debug)]
pub struct Solo<'a, 'b, T> {
    /// The instruction set; the panels must have been packed for it.
    pub isa: Isa,
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

impl<T: Real> Solo<'_, '_, T> {
    /// Computes all steps; the final state stands in the first planes if T is even, else in the second. Nothing is
    /// allocated.
    ///
    /// # Errors
    /// A size that does not fit, by the name of the field; then nothing was computed.
    pub fn run(self) -> Result<(), ShapeError> {
        T::solo(self)
    }

    /// The stages, and whether each is the last.
    fn stages(&self) -> impl Iterator<Item = (SoloStage<'_, T>, bool)> {
        std::iter::once((self.first, self.second.is_none())).chain(self.second.map(|second| (second, true)))
    }
}

/// The body of [`Solo::run`] for one element type.
pub(crate) fn solo<T: Real>(mut args: Solo<'_, '_, T>) -> Result<(), ShapeError> {
    check(&args)?;
    let shape = args.x.shape();
    let raw = |planes: &mut [&mut [T]; 2]| planes.each_mut().map(|plane| plane.as_mut_ptr());
    let (h, c, between) = (raw(&mut args.h), raw(&mut args.c), raw(&mut args.between));
    let at = |held, turn: usize| match held {
        Held::H => h[turn],
        Held::C => c[turn],
        Held::First => between[0],
        Held::Second => between[1],
    };
    let first = args.x.as_ptr();
    let y = args.y.as_mut().map(|y| (y.as_mut_ptr(), y.shape().time_stride));
    for s in 0..shape.time {
        let t = if args.walk == Walk::Forward { s } else { shape.time - 1 - s };
        let t_out = if args.walk == Walk::Flipped { s } else { t };
        for (stage, last) in args.stages() {
            let Wiring { operand, prev, next } = wiring(stage.kind, last);
            let mut planes = [std::ptr::null_mut(); 2 * MAX_PLANES];
            for (plane, &held) in planes.iter_mut().zip(prev) {
                *plane = at(held, s % 2);
            }
            for (plane, &held) in planes[MAX_PLANES..].iter_mut().zip(next) {
                *plane = at(held, (s + 1) % 2);
            }
            let y = y.filter(|_| last).map(|(y, stride)| y.wrapping_add(t_out * stride));
            stage.kind.visit(Visit(Row {
                isa: args.isa,
                x: first.wrapping_add(t * shape.time_stride),
                operand: at(operand, s % 2),
                input: stage.input.whole(),
                recurrent: stage.recurrent.whole(),
                prev: [planes[0], planes[1]],
                next: [planes[2], planes[3]],
                y: y.unwrap_or(std::ptr::null_mut()),
                reverse: args.reverse != (s % 2 == 1),
            }));
        }
    }
    Ok(())
}

/// Compares all sizes.
#[inline(always)]
fn check<T: Real>(args: &Solo<'_, '_, T>) -> Result<(), ShapeError> {
    let (lanes, shape) = (<T as Dispatch>::lanes(args.isa), args.x.shape());
    ShapeError::same("x rows", 1, shape.batch)?;
    let mut outputs = 0;
    for (stage, last) in args.stages() {
        let (of, input, recurrent) = (stage.kind.shape(), stage.input.shape(), stage.recurrent.shape());
        ShapeError::same("panel lanes", lanes, stage.input.lanes())?;
        ShapeError::same("panel lanes", lanes, stage.recurrent.lanes())?;
        ShapeError::same("input gates", of.input, input.gates)?;
        ShapeError::same("input heads", of.input, input.heads)?;
        ShapeError::same("recurrent gates", of.recurrent, recurrent.gates)?;
        ShapeError::same("recurrent heads", of.heads(), recurrent.heads)?;
        ShapeError::same("input units", recurrent.units, input.units)?;
        if of.input > 0 {
            ShapeError::same("x channels", input.k, shape.channels)?;
        }
        let Wiring { operand, prev, next } = wiring(stage.kind, last);
        let long_enough = |held, least: usize| {
            let planes = match held {
                Held::H => &args.h,
                Held::C => &args.c,
                Held::First | Held::Second => &args.between,
            };
            ShapeError::at_least("plane", least, planes[0].len().min(planes[1].len()))
        };
        long_enough(operand, recurrent.k)?;
        for &held in prev.iter().chain(next) {
            long_enough(held, stage.recurrent.blocks() * lanes)?;
        }
        outputs = recurrent.units;
    }
    if let Some(y) = &args.y {
        ShapeError::same("y timesteps", shape.time, y.shape().time)?;
        ShapeError::same("y rows", 1, y.shape().batch)?;
        ShapeError::same("y channels", outputs, y.shape().channels)?;
    }
    Ok(())
}

/// A stage of one step.
#[derive(Clone, Copy)]
struct Row<'a, T> {
    isa: Isa,
    x: *const T,
    operand: *const T,
    input: PanelRef<'a, T>,
    recurrent: PanelRef<'a, T>,
    prev: [*const T; MAX_PLANES],
    next: [*mut T; MAX_PLANES],
    /// Null: not wanted.
    y: *mut T,
    reverse: bool,
}

/// A stage of a step that may be run; made by [`solo`] alone.
struct Visit<'a, T>(Row<'a, T>);

impl<T: Real> StageVisitor for Visit<'_, T> {
    type Out = ();

    #[inline(always)]
    fn visit<C: Stage>(self, stage: C) {
        T::dispatch(self.0.isa, &Stepping { stage, row: self.0 });
    }
}

/// A [`Row`] with its stage known. Made of what was checked.
struct Stepping<'a, T, C> {
    stage: C,
    row: Row<'a, T>,
}

/// Most unit blocks whose chains run side by side, a power of two: as many as the registers allow with what waits for the
/// end, but none than keep two FMA units of latency 4 busy.
const fn most_blocks(gates: usize, late: usize, registers: usize) -> usize {
    let mut most = 8;
    while most > 1 && (most * (gates + late) + 2 > registers || most * gates > 16) {
        most /= 2;
    }
    most
}

impl<T: Real, C: Stage> Op<T> for &Stepping<'_, T, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let most = const {
            most_blocks(<C::Recurrent<()> as Block<()>>::N, <C::Late<()> as Block<()>>::N, <S as Simd<T>>::REGS)
        };
        let blocks = self.row.recurrent.shape().units.div_ceil(S::LANES);
        let mut done = 0;
        while done < blocks {
            let left = blocks - done;
            let width = (1 << left.ilog2()).min(most);
            let first = if self.row.reverse { left - width } else { done };
            // SAFETY: `check` compared all sizes; these are blocks of both panels.
            unsafe {
                match width {
                    8 if most >= 8 => self.group::<S, 8>(s, first),
                    4 if most >= 4 => self.group::<S, 4>(s, first),
                    2 if most >= 2 => self.group::<S, 2>(s, first),
                    _ => self.group::<S, 1>(s, first),
                }
            }
            done += width;
        }
    }
}

impl<T: Real, C: Stage> Stepping<'_, T, C> {
    /// U unit blocks, from the biases to the new state.
    ///
    /// # Safety
    /// The blocks from `first` are blocks of both panels, whose sizes are those of the stage and of all that the row points
    /// to.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "u and g each run over several arrays")]
    unsafe fn group<S: Simd<T>, const U: usize>(&self, s: S, first: usize) {
        let Row { x, operand, input, recurrent, .. } = self.row;
        let zero = s.splat(T::ZERO);
        let inputs = <C::Input<S::V> as Block<S::V>>::N;
        let (of_input, of_recurrent) = (input.block_len(), recurrent.block_len());
        let heads = input.data().as_ptr().wrapping_add(first * of_input);
        let own_heads = recurrent.data().as_ptr().wrapping_add(first * of_recurrent);
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
                let weights = heads.wrapping_add(input.shape().heads * S::LANES);
                acc = multiply(s, acc, [x], weights, of_input, input.shape().k, x);
            }
            for u in 0..U {
                for g in 0..chained::<C>() {
                    sums[0][u][g] = acc[0][u][g];
                }
                for g in chained::<C>()..<C::Recurrent<S::V> as Block<S::V>>::N {
                    sums[0][u][g] = s.load(own_heads.add(u * of_recurrent + (g - chained::<C>()) * S::LANES));
                }
            }
            let weights = own_heads.wrapping_add(recurrent.shape().heads * S::LANES);
            sums = multiply(s, sums, [operand], weights, of_recurrent, recurrent.shape().k, operand);
            for u in 0..U {
                self.finish(s, first + u, sums[0][u], acc[0][u], own_heads.add(u * of_recurrent));
            }
        }
    }

    /// The cell behind the finished chains of a block.
    ///
    /// # Safety
    /// As for `group`, for one block and its heads in the recurrent panel.
    #[inline(always)]
    unsafe fn finish<S: Simd<T>>(
        &self,
        s: S,
        block: usize,
        recurrent: C::Recurrent<S::V>,
        input: C::Input<S::V>,
        heads: *const T,
    ) {
        let zero = s.splat(T::ZERO);
        let mut late = <C::Late<S::V> as Block<S::V>>::fill(zero);
        let mut prev = <C::Prev<S::V> as Block<S::V>>::fill(zero);
        let mut unit = <C::Unit<S::V> as Block<S::V>>::fill(zero);
        let from = block * S::LANES;
        let biases = <C::Recurrent<()> as Block<()>>::N - chained::<C>();
        // SAFETY: the caller's promise; planes are padded to whole vectors, y has `lanes` units at this block.
        unsafe {
            for g in 0..<C::Late<S::V> as Block<S::V>>::N {
                late[g] = input[chained::<C>() + g];
            }
            for i in 0..<C::Prev<S::V> as Block<S::V>>::N {
                prev[i] = s.load(self.row.prev[i].wrapping_add(from));
            }
            for i in 0..<C::Unit<S::V> as Block<S::V>>::N {
                unit[i] = s.load(heads.add((biases + i) * S::LANES));
            }
            let next = self.stage.finish(s, Sums { recurrent, late }, Own { unit, row: zero }, prev);
            for i in 0..<C::Next<S::V> as Block<S::V>>::N {
                s.store(self.row.next[i].wrapping_add(from), next[i]);
            }
            if !self.row.y.is_null() {
                let lanes = S::LANES.min(self.row.recurrent.shape().units - from);
                store_up_to(s, self.row.y.wrapping_add(from), next[0], lanes);
            }
        }
    }
}
