//! The same cells over finished products: what runs behind a GEMM that cannot take the cell as its epilogue.

use crate::block::Block;
use crate::cell::{Stage, StageKind, StageVisitor};
use crate::epilogue::{Finish, Plane, StepState};
use crate::gemm::{GateStrides, load_up_to, store_up_to};
use crate::isa::{Dispatch, Isa, Op, Simd};
use crate::mat::{MatMut, MatRef};
use crate::pack::{GateOrder, Panel};
use crate::real::Real;
use crate::shape::ShapeError;
use crate::tile::{At, Epilogue};

/// One timestep of one stage for N rows whose recurrent product was computed elsewhere.
#[derive(Debug)]
pub struct Pointwise<'a, 'b, T> {
    /// The instruction set; the panel must have been packed for it.
    pub isa: Isa,
    /// What the step computes.
    pub stage: StageKind,
    /// The recurrent product: `[N, G*H]`, or `[N, G*H padded to LANES]` in panel order.
    pub product: MatRef<'a, T>,
    /// How `product` stands.
    pub order: GateOrder,
    /// Whether the chains in `product` are finished; else they are added to what they should have started from, the
    /// input product and the stage's biases.
    pub finished: bool,
    /// A panel with the stage's heads: the recurrent one, or one of K = 0.
    pub heads: &'a Panel<T>,
    /// What else is read and written.
    pub state: StepState<'a, 'b, T>,
    /// Where what the backward pass needs is kept, if it is.
    pub trace: Option<TraceMut<'a, T>>,
}

/// What a step leaves for the backward pass.
#[derive(Debug)]
pub struct TraceMut<'a, T> {
    /// The activated gates, `[N, G*H]` gate after gate.
    pub gates: MatMut<'a, T>,
    /// What cannot be had from them again, `[N, H]`: R_n h + b_rn of a GRU whose reset gate acts after the product, r h of one
    /// where it acts before, h' of others.
    pub beside: Option<MatMut<'a, T>>,
}

impl<T: Real> Pointwise<'_, '_, T> {
    /// Computes the step. Cost: the activations, N H times; nothing is allocated.
    ///
    /// # Errors
    /// A size that does not fit the heads or the stage, by the name of the field.
    pub fn run(self) -> Result<(), ShapeError> {
        T::pointwise(self)
    }
}

/// The body of [`Pointwise::run`] for one element type.
pub(crate) fn pointwise<T: Real>(args: Pointwise<'_, '_, T>) -> Result<(), ShapeError> {
    let (shape, heads) = (args.stage.shape(), args.heads.shape());
    ShapeError::same("heads lanes", <T as Dispatch>::lanes(args.isa), args.heads.lanes())?;
    ShapeError::same("heads", shape.heads(), heads.heads)?;
    let units = match args.order {
        GateOrder::Panel => args.heads.blocks() * args.heads.lanes(),
        GateOrder::Major => heads.units,
    };
    ShapeError::same("product columns", shape.recurrent * units, args.product.cols())?;
    ShapeError::same("product column stride", 1, args.product.col_stride())?;
    if let Some(TraceMut { gates, beside }) = &args.trace {
        ShapeError::same("trace rows", args.product.rows(), gates.rows())?;
        ShapeError::same("trace columns", shape.recurrent * heads.units, gates.cols())?;
        if let Some(beside) = beside {
            ShapeError::same("trace rows", args.product.rows(), beside.rows())?;
            ShapeError::same("trace columns", heads.units, beside.cols())?;
        }
    }
    args.stage.visit(Visit(args))
}

struct Visit<'a, 'b, T>(Pointwise<'a, 'b, T>);

impl<T: Real> StageVisitor for Visit<'_, '_, T> {
    type Out = Result<(), ShapeError>;

    fn visit<C: Stage>(self, stage: C) -> Self::Out {
        let Pointwise { isa, product, order, finished, heads, mut state, mut trace, .. } = self.0;
        let (rows, units, select) = (product.rows(), heads.shape().units, state.select);
        Finish::<T, C>::check(isa, rows, units, &state)?;
        // SAFETY: checked; used below, once, inside the borrows.
        let epilogue = unsafe { Finish::new(stage, isa, units, &mut state) };
        let gates = GateStrides::of(order, <C::Recurrent<()> as Block<()>>::N, units, heads.lanes());
        // Rows without units have no memory behind them: there may be more than could ever be counted to.
        if units > 0 {
            let beside = trace.as_mut().and_then(|trace| trace.beside.as_mut()).map(Plane::write);
            let trace = trace.as_mut().map(|trace| (Plane::write(&mut trace.gates), beside));
            T::dispatch(isa, Sweep { product, gates, finished, select, heads, epilogue, trace });
        }
        Ok(())
    }
}

/// The epilogue at every row and block, started as the micro-kernel would start it and handed the finished sums.
struct Sweep<'a, T, C> {
    product: MatRef<'a, T>,
    gates: GateStrides,
    finished: bool,
    select: Option<&'a [u32]>,
    heads: &'a Panel<T>,
    epilogue: Finish<T, C>,
    /// The gates, and what stands beside them.
    trace: Option<(Plane<T>, Option<Plane<T>>)>,
}

impl<T: Real, C: Stage> Sweep<'_, T, C> {
    #[inline(always)]
    fn row<S: Simd<T>>(&self, s: S, row: usize) {
        let (units, heads) = (self.heads.shape().units, self.heads);
        for block in 0..heads.blocks() {
            let lanes = S::LANES.min(units - block * S::LANES);
            let at = At { row, block, lanes, heads: heads.data().as_ptr().wrapping_add(block * heads.block_len()) };
            // SAFETY: the row and block are the product's, the epilogue's and the trace's, whose sizes were compared.
            unsafe {
                let mut acc = <C::Recurrent<S::V> as Block<S::V>>::fill(s.splat(T::ZERO));
                if !self.finished {
                    acc = self.epilogue.start(s, at);
                }
                for g in 0..<C::Recurrent<S::V> as Block<S::V>>::N {
                    let offset = row * self.product.row_stride() + self.gates.offset(block, g);
                    let sum = load_up_to(s, self.product.as_ptr().add(offset), lanes);
                    acc[g] = if self.finished { sum } else { s.add(acc[g], sum) };
                }
                let kept = self.epilogue.trace(s, at, acc);
                if let Some((gates, beside)) = self.trace {
                    for g in 0..<C::Recurrent<S::V> as Block<S::V>>::N {
                        store_up_to(s, gates.at(row, g * units + block * S::LANES), kept.gates[g], lanes);
                    }
                    if let Some(beside) = beside {
                        store_up_to(s, beside.at(row, block * S::LANES), kept.beside, lanes);
                    }
                }
            }
        }
    }
}

impl<T: Real, C: Stage> Op<T> for Sweep<'_, T, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for i in 0..self.select.map_or(self.product.rows(), <[u32]>::len) {
            let row = self.select.map_or(i, |select| select[i] as usize);
            self.row(s, row);
        }
    }
}
