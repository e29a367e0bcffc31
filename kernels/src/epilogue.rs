//! The epilogue that is a cell: finished chains in, new state out.

use crate::block::Block;
use crate::cell::{Chains, Stage, TraceOf};
use crate::gemm::{GateStrides, check_selection, load_up_to, store_up_to};
use crate::isa::{Dispatch, Isa, Several, Simd};
use crate::mat::{MatMut, MatRef};
use crate::micro::{MOST, Sums};
use crate::pack::GateOrder;
use crate::real::Real;
use crate::seq::SeqMut;
use crate::shape::ShapeError;
use crate::tile::{At, Epilogue};

/// Most state planes that a stage reads or writes.
pub(crate) const MAX_PLANES: usize = 2;

/// What a stage reads and writes beside its recurrent product: N rows each.
#[derive(Debug)]
pub struct StepState<'a, 'b, T> {
    /// The step's rows of the stage's input product: `[N, G*H]`, or `[N, G*H padded to LANES]` in panel order.
    pub input: MatRef<'a, T>,
    /// How `input` stands.
    pub order: GateOrder,
    /// State before the step, in the order the stage lists: `[N, H padded]` each, see [`padded`](crate::buf::padded); at
    /// least to a multiple of LANES.
    pub prev: &'a [MatRef<'a, T>],
    /// State after the step, in the order the stage lists: `[N, H padded]` each. Whole vectors are written.
    pub next: &'a mut [MatMut<'b, T>],
    /// A second place for the first of `next`, `[N, H]`: the layer's output.
    pub y: Option<MatMut<'a, T>>,
    /// One value a row, `[N]`, where a stage of [`General`](crate::general::General) has such: the attention of a GRU's update
    /// gate. Else none.
    pub row: Option<&'a [T]>,
    /// The rows to compute; `None`: all. Others are not touched.
    pub select: Option<&'a [u32]>,
}

/// Where steps leave what the backward pass needs: of one step, `[1, N, ..]`, or of all.
#[derive(Debug)]
pub struct TraceMut<'a, T> {
    /// The activated gates, `[T, N, G*H]` gate after gate.
    pub gates: SeqMut<'a, T>,
    /// What cannot be had from them again, `[T, N, H]`: R_n h + b_rn of a GRU whose reset gate acts after the product, r h of
    /// one where it acts before, h' of others; z or n of a stage that computes it alone or last.
    pub beside: Option<SeqMut<'a, T>>,
}

impl<T> TraceMut<'_, T> {
    /// Compares the sizes, if there is one, with those of `time` steps of `rows` rows, `gates` gates and `units` units.
    pub(crate) fn check(this: &Option<Self>, [time, rows, gates, units]: [usize; 4]) -> Result<(), ShapeError> {
        let of = |seq: &SeqMut<'_, T>, columns| {
            ShapeError::same("trace timesteps", time, seq.shape().time)?;
            ShapeError::same("trace rows", rows, seq.shape().batch)?;
            ShapeError::same("trace columns", columns, seq.shape().channels)
        };
        let Some(TraceMut { gates: kept, beside }) = this else { return Ok(()) };
        of(kept, gates.saturating_mul(units))?;
        beside.as_ref().map_or(Ok(()), |beside| of(beside, units))
    }
}

/// The stage with pointers to all that it reads and writes.
#[derive(Clone, Copy)]
pub(crate) struct Finish<T, C> {
    pub(crate) stage: C,
    pub(crate) input: Plane<T>,
    pub(crate) gates: GateStrides,
    pub(crate) prev: [Plane<T>; MAX_PLANES],
    pub(crate) next: [Plane<T>; MAX_PLANES],
    pub(crate) y: Option<Plane<T>>,
}

/// Rows at a stride. What is only read is never written through it.
pub(crate) struct Plane<T> {
    pub(crate) ptr: *mut T,
    pub(crate) stride: usize,
}

impl<T> Clone for Plane<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Plane<T> {}

impl<T> Plane<T> {
    pub(crate) const NONE: Self = Plane { ptr: std::ptr::null_mut(), stride: 0 };

    fn read(m: &MatRef<'_, T>) -> Self {
        Plane { ptr: m.as_ptr().cast_mut(), stride: m.row_stride() }
    }

    pub(crate) fn write(m: &mut MatMut<'_, T>) -> Self {
        Plane { ptr: m.as_mut_ptr(), stride: m.row_stride() }
    }

    /// The first step of a sequence.
    pub(crate) fn first(seq: &mut SeqMut<'_, T>) -> Self {
        Plane { stride: seq.shape().batch_stride, ptr: seq.as_mut_ptr() }
    }

    /// The same rows so many values further on.
    #[inline(always)]
    pub(crate) fn shifted(self, values: usize) -> Self {
        Plane { ptr: self.ptr.wrapping_add(values), ..self }
    }

    /// Leaves out the first rows. Those of a plane without columns may have any stride.
    pub(crate) fn skip(&mut self, rows: usize) {
        self.ptr = self.ptr.wrapping_add(rows.wrapping_mul(self.stride));
    }

    #[inline(always)]
    pub(crate) fn at(self, row: usize, unit: usize) -> *mut T {
        self.ptr.wrapping_add(row * self.stride + unit)
    }

    /// Where a block stands in a row, and the values from one row to the next.
    #[inline(always)]
    fn block<S: Simd<T>>(self, _: S, at: At<T>) -> (*const T, usize)
    where
        T: Real,
    {
        (self.at(at.row, at.block * S::LANES).cast_const(), self.stride)
    }
}

impl<T: Real, C: Stage> Finish<T, C> {
    /// Checks `state` for `rows` rows of `units` units.
    ///
    /// # Errors
    /// A size that does not fit, by the name of the field.
    #[inline(always)]
    pub(crate) fn check(isa: Isa, rows: usize, units: usize, state: &StepState<'_, '_, T>) -> Result<(), ShapeError> {
        let lanes = <T as Dispatch>::lanes(isa);
        let padded = units.next_multiple_of(lanes);
        let inputs = <C::Input<()> as Block<()>>::N;
        let input_cols = match state.order {
            GateOrder::Panel => inputs * padded,
            GateOrder::Major => inputs * units,
        };
        ShapeError::same("input rows", rows, state.input.rows())?;
        ShapeError::same("input columns", input_cols, state.input.cols())?;
        ShapeError::same("input column stride", 1, state.input.col_stride())?;
        ShapeError::same("prev", <C::Prev<()> as Block<()>>::N, state.prev.len())?;
        ShapeError::same("next", <C::Next<()> as Block<()>>::N, state.next.len())?;
        for m in state.prev {
            ShapeError::same("prev rows", rows, m.rows())?;
            ShapeError::at_least("prev columns", padded, m.cols())?;
            ShapeError::same("prev column stride", 1, m.col_stride())?;
        }
        for m in &*state.next {
            ShapeError::same("next rows", rows, m.rows())?;
            ShapeError::at_least("next columns", padded, m.cols())?;
        }
        if let Some(y) = &state.y {
            ShapeError::same("y rows", rows, y.rows())?;
            ShapeError::same("y columns", units, y.cols())?;
        }
        // No stage here has such values: attention is an option of cells, which go the general way.
        ShapeError::same("row", 0, state.row.map_or(0, <[T]>::len))?;
        check_selection(state.select, 1, rows)
    }

    /// Borrows `state`. Inline, so that it is made where it is used and never copied.
    ///
    /// # Safety
    /// `check` approved of `state` for these `units` and `isa`. The result is used while the borrows in `state` last, for
    /// the rows and units of that check only, and with no block at the same time as itself.
    #[inline(always)]
    pub(crate) unsafe fn new(stage: C, isa: Isa, units: usize, state: &mut StepState<'_, '_, T>) -> Self {
        let (lanes, inputs) = (<T as Dispatch>::lanes(isa), <C::Input<()> as Block<()>>::N);
        let (mut prev, mut next) = ([Plane::NONE; MAX_PLANES], [Plane::NONE; MAX_PLANES]);
        for (plane, m) in prev.iter_mut().zip(state.prev) {
            *plane = Plane::read(m);
        }
        for (plane, m) in next.iter_mut().zip(&mut *state.next) {
            *plane = Plane::write(m);
        }
        Finish {
            stage,
            input: Plane::read(&state.input),
            gates: GateStrides::of(state.order, inputs, units, lanes),
            prev,
            next,
            y: state.y.as_mut().map(Plane::write),
        }
    }

    /// A gate of the input product.
    ///
    /// # Safety
    /// `at` is a row and block that this was made for.
    #[inline(always)]
    unsafe fn input_gate<S: Simd<T>>(&self, s: S, at: At<T>, gate: usize) -> S::V {
        // SAFETY: the input product has this row, block and gate.
        unsafe { load_up_to(s, self.input.at(at.row, self.gates.offset(at.block, gate)), at.lanes) }
    }

    /// Takes the finished chains of a block of K rows, and gives what the backward pass needs of them.
    ///
    /// # Safety
    /// `at` are rows of a block that this was made for.
    #[inline(always)]
    unsafe fn trace<S: Simd<T>, const K: usize>(
        &self,
        s: S,
        at: [At<T>; K],
        acc: C::Recurrent<[S::V; K]>,
    ) -> TraceOf<C, [S::V; K]> {
        let zero = [s.splat(T::ZERO); K];
        let mut late = <C::Late<[S::V; K]> as Block<[S::V; K]>>::fill(zero);
        let mut prev = <C::Prev<[S::V; K]> as Block<[S::V; K]>>::fill(zero);
        let unit = at[0].block * S::LANES;
        // SAFETY: the caller's promise; planes are padded to whole vectors, y has `lanes` units at this block.
        unsafe {
            for g in 0..<C::Late<()> as Block<()>>::N {
                for row in 0..K {
                    late[g][row] = self.input_gate(s, at[row], chained::<C>() + g);
                }
            }
            for i in 0..<C::Prev<()> as Block<()>>::N {
                for row in 0..K {
                    prev[i][row] = s.load(self.prev[i].at(at[row].row, unit));
                }
            }
            let (next, trace) = self.stage.finish(Several(s), Chains { recurrent: acc, late }, prev);
            for row in 0..K {
                let at = at[row];
                for i in 0..<C::Next<()> as Block<()>>::N {
                    s.store(self.next[i].at(at.row, unit), next[i][row]);
                }
                if let Some(y) = self.y {
                    store_up_to(s, y.at(at.row, unit), next[0][row], at.lanes);
                }
            }
            trace
        }
    }
}

/// Gates of the input product that the recurrent one continues.
pub(crate) const fn chained<C: Stage>() -> usize {
    <C::Input<()> as Block<()>>::N - <C::Late<()> as Block<()>>::N
}

// SAFETY: of every plane only the row's units of the block are touched; planes that are written are padded to whole
// vectors, y is stored by lanes.
unsafe impl<T: Real, C: Stage> Epilogue<T> for Finish<T, C> {
    type Acc<V: Copy> = C::Recurrent<V>;

    const ALONE: usize = if C::ANY_SIZE { MOST } else { MOST / 2 };

    #[inline(always)]
    unsafe fn start<S: Simd<T>>(&self, s: S, at: At<T>) -> C::Recurrent<S::V> {
        let mut acc = <C::Recurrent<S::V> as Block<S::V>>::fill(s.splat(T::ZERO));
        let own = chained::<C>();
        // SAFETY: the caller's promise; the recurrent panel has a head for every gate past the chained ones.
        unsafe {
            for g in 0..own {
                acc[g] = self.input_gate(s, at, g);
            }
            for g in own..<C::Recurrent<S::V> as Block<S::V>>::N {
                acc[g] = s.load(at.heads.add((g - own) * S::LANES));
            }
        }
        acc
    }

    #[inline(always)]
    unsafe fn finish<S: Simd<T>, const K: usize>(&self, s: S, at: [At<T>; K], acc: C::Recurrent<[S::V; K]>) {
        // SAFETY: the caller's promise.
        unsafe { self.trace(s, at, acc) };
    }

    #[inline(always)]
    fn starts<S: Simd<T>>(&self, _: S, at: At<T>, stride: usize) -> Option<Sums<T>> {
        let own = chained::<C>();
        let input = |g| (self.input.at(at.row, self.gates.offset(at.block, g)), self.input.stride, self.gates.blocks());
        let head = |g| (at.heads.wrapping_add((g - own) * S::LANES).cast_mut(), 0, stride);
        Some(Sums::of(<C::Recurrent<()> as Block<()>>::N, |g| if g < own { input(g) } else { head(g) }))
    }

    #[inline(always)]
    fn cold<S: Simd<T>>(&self, s: S, at: At<T>, i: usize) -> Option<(*const T, usize)> {
        self.y.filter(|_| i == 0).map(|y| y.block(s, at))
    }
}

/// Where a step leaves what the backward pass needs.
pub(crate) struct Kept<T> {
    pub(crate) gates: Plane<T>,
    /// Values from one gate to the next.
    pub(crate) gate: usize,
    pub(crate) beside: Option<Plane<T>>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Kept<T> {}

impl<T> Kept<T> {
    /// Of the first step of a trace of so many units.
    pub(crate) fn first(trace: &mut TraceMut<'_, T>, units: usize) -> Self {
        let beside = trace.beside.as_mut().map(Plane::first);
        Kept { gates: Plane::first(&mut trace.gates), gate: units, beside }
    }
}

/// A stage that leaves what the backward pass needs.
#[derive(Clone, Copy)]
pub(crate) struct Keep<T, C> {
    pub(crate) finish: Finish<T, C>,
    pub(crate) kept: Kept<T>,
}

// SAFETY: as of `Finish`; what is kept has the row's units of the block, and is stored by lanes.
unsafe impl<T: Real, C: Stage> Epilogue<T> for Keep<T, C> {
    type Acc<V: Copy> = C::Recurrent<V>;

    const ALONE: usize = 0;

    #[inline(always)]
    unsafe fn start<S: Simd<T>>(&self, s: S, at: At<T>) -> C::Recurrent<S::V> {
        // SAFETY: the caller's promise.
        unsafe { self.finish.start(s, at) }
    }

    #[inline(always)]
    unsafe fn finish<S: Simd<T>, const K: usize>(&self, s: S, at: [At<T>; K], acc: C::Recurrent<[S::V; K]>) {
        let Kept { gates, gate, beside } = self.kept;
        let unit = at[0].block * S::LANES;
        // SAFETY: the caller's promise.
        unsafe {
            let trace = self.finish.trace(s, at, acc);
            for row in 0..K {
                let at = at[row];
                for g in 0..<C::Recurrent<()> as Block<()>>::N {
                    store_up_to(s, gates.at(at.row, g * gate + unit), trace.gates[g][row], at.lanes);
                }
                if let Some(beside) = beside {
                    store_up_to(s, beside.at(at.row, unit), trace.beside[row], at.lanes);
                }
            }
        }
    }

    #[inline(always)]
    fn starts<S: Simd<T>>(&self, s: S, at: At<T>, stride: usize) -> Option<Sums<T>> {
        self.finish.starts(s, at, stride)
    }

    #[inline(always)]
    fn cold<S: Simd<T>>(&self, s: S, at: At<T>, i: usize) -> Option<(*const T, usize)> {
        let Kept { gates, gate, beside } = self.kept;
        let (kept, next) = (<C::Recurrent<()> as Block<()>>::N, <C::Next<()> as Block<()>>::N);
        let plane = if i < kept {
            gates.shifted(i * gate)
        } else if i < kept + next {
            self.finish.next[i - kept]
        } else {
            match beside {
                Some(beside) if i == kept + next => beside,
                _ => return self.finish.cold(s, at, i - kept - next - usize::from(beside.is_some())),
            }
        };
        Some(plane.block(s, at))
    }
}
