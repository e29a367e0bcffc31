//! The same cells behind another product: one that cannot take the cell as its epilogue.

use crate::block::Block;
use crate::cell::{Stage, StageKind, StageVisitor};
use crate::epilogue::{Finish, Keep, Kept, StepState, TraceMut};
use crate::gemm::{GateStrides, load_up_to};
use crate::isa::{Dispatch, Isa, Op, Simd};
use crate::mat::MatRef;
use crate::pack::{GateOrder, Panel};
use crate::real::Real;
use crate::shape::ShapeError;
use crate::tile::{At, Epilogue, TOGETHER};
use std::ops::Range;

/// One timestep of one stage for N rows whose recurrent product was computed elsewhere.
#[derive(Debug)]
pub struct Pointwise<'a, 'b, T> {
    /// The instruction set; the panel must have been packed for it.
    pub isa: Isa,
    /// What the step computes.
    pub stage: StageKind,
    /// The recurrent product, `[N, G*H]` gate after gate. It is added to what the chains should have started from, the input
    /// product and the stage's biases.
    pub product: MatRef<'a, T>,
    /// A panel with the stage's heads: the recurrent one, or one of K = 0.
    pub heads: &'a Panel<T>,
    /// What else is read and written.
    pub state: StepState<'a, 'b, T>,
    /// Where what the backward pass needs is kept, if it is.
    pub trace: Option<TraceMut<'a, T>>,
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
    ShapeError::same("product columns", shape.recurrent * heads.units, args.product.cols())?;
    ShapeError::same("product column stride", 1, args.product.col_stride())?;
    args.stage.visit(Visit(args))
}

struct Visit<'a, 'b, T>(Pointwise<'a, 'b, T>);

impl<T: Real> StageVisitor for Visit<'_, '_, T> {
    type Out = Result<(), ShapeError>;

    fn visit<C: Stage>(self, stage: C) -> Self::Out {
        let Pointwise { isa, product, heads, mut state, mut trace, .. } = self.0;
        let (rows, units, select) = (product.rows(), heads.shape().units, state.select);
        Finish::<T, C>::check(isa, rows, units, &state)?;
        TraceMut::check(&trace, [1, rows, <C::Recurrent<()> as Block<()>>::N, units])?;
        // Rows without units have no memory behind them: there may be more than could ever be counted to.
        if units == 0 {
            return Ok(());
        }
        // SAFETY: checked; used below, once, inside the borrows.
        let finish = unsafe { Finish::new(stage, isa, units, &mut state) };
        let gates = GateStrides::of(GateOrder::Major, <C::Recurrent<()> as Block<()>>::N, units, heads.lanes());
        match trace.as_mut().map(|trace| Kept::first(trace, units)) {
            None => T::dispatch(isa, &Sweep { product, gates, select, heads, epilogue: finish }),
            Some(kept) => T::dispatch(isa, &Sweep { product, gates, select, heads, epilogue: Keep { finish, kept } }),
        }
        Ok(())
    }
}

/// The epilogue at every row and block, started as the micro-kernel would start it and handed the sums with the product.
struct Sweep<'a, T, E> {
    product: MatRef<'a, T>,
    gates: GateStrides,
    select: Option<&'a [u32]>,
    heads: &'a Panel<T>,
    epilogue: E,
}

impl<T: Real, E: Epilogue<T>> Sweep<'_, T, E> {
    /// Some blocks, which are whole if K is not 1, of K rows at a time as long as there are so many, from the row numbered
    /// `first` on; returns the number of the next.
    #[inline(always)]
    fn together<S: Simd<T>, const K: usize>(&self, s: S, mut first: usize, blocks: Range<usize>) -> usize {
        let count = self.select.map_or(self.product.rows(), <[u32]>::len);
        while count - first >= K {
            let mut rows = [0; K];
            for i in 0..K {
                rows[i] = self.select.map_or(first + i, |select| select[first + i] as usize);
            }
            for block in blocks.clone() {
                self.block::<S, K>(s, rows, block);
            }
            first += K;
        }
        first
    }

    /// A block of some rows.
    #[inline(always)]
    fn block<S: Simd<T>, const K: usize>(&self, s: S, rows: [usize; K], block: usize) {
        let (units, heads) = (self.heads.shape().units, self.heads);
        let lanes = if K == 1 { S::LANES.min(units - block * S::LANES) } else { S::LANES };
        let heads = heads.data().as_ptr().wrapping_add(block * heads.block_len());
        let mut at = [At { row: 0, block, lanes, heads }; K];
        let mut acc = <E::Acc<[S::V; K]> as Block<[S::V; K]>>::fill([s.splat(T::ZERO); K]);
        // SAFETY: the rows and the block are the product's and the epilogue's, whose sizes were compared.
        unsafe {
            for i in 0..K {
                at[i].row = rows[i];
                let start = self.epilogue.start(s, at[i]);
                for g in 0..<E::Acc<()> as Block<()>>::N {
                    let offset = rows[i] * self.product.row_stride() + self.gates.offset(block, g);
                    acc[g][i] = s.add(start[g], load_up_to(s, self.product.as_ptr().add(offset), lanes));
                }
            }
            self.epilogue.finish(s, at, acc);
        }
    }
}

/// By reference, as a [`Product`](crate::tile::Product) is.
impl<T: Real, E: Epilogue<T>> Op<T> for &Sweep<'_, T, E> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        // What is borrowed would be read again after every store.
        let this = Sweep { ..*self };
        let (whole, blocks) = (this.heads.shape().units / S::LANES, this.heads.blocks());
        let done = this.together::<S, TOGETHER>(s, 0, 0..whole);
        this.together::<S, 1>(s, done, 0..whole);
        this.together::<S, 1>(s, 0, whole..blocks);
    }
}
