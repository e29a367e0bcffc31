//! The same cells over finished products: what runs behind a GEMM that cannot take the cell as its epilogue.

use crate::block::Block;
use crate::cell::{Stage, StageKind, StageVisitor};
use crate::epilogue::{Finish, StepState};
use crate::gemm::load_up_to;
use crate::isa::{Dispatch, Isa, Op, Simd};
use crate::mat::MatRef;
use crate::pack::Panel;
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
    /// The recurrent product without biases, `[N, G*H]` gate-major.
    pub product: MatRef<'a, T>,
    /// The stage's own biases as heads; K is 0.
    pub heads: &'a Panel<T>,
    /// What else is read and written.
    pub state: StepState<'a, 'b, T>,
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
    ShapeError::same("heads", shape.own_biases(), heads.heads)?;
    ShapeError::same("heads k", 0, heads.k)?;
    ShapeError::same("product columns", shape.recurrent * heads.units, args.product.cols())?;
    ShapeError::same("product column stride", 1, args.product.col_stride())?;
    args.stage.visit(Visit(args))
}

struct Visit<'a, 'b, T>(Pointwise<'a, 'b, T>);

impl<T: Real> StageVisitor for Visit<'_, '_, T> {
    type Out = Result<(), ShapeError>;

    fn visit<C: Stage>(self, stage: C) -> Self::Out {
        let Pointwise { isa, product, heads, mut state, .. } = self.0;
        // SAFETY: used below, once, inside the borrows, for the rows and units given.
        let epilogue = unsafe { Finish::new(stage, isa, product.rows(), heads.shape().units, &mut state)? };
        T::dispatch(isa, Sweep { product, heads, epilogue });
        Ok(())
    }
}

/// The epilogue at every row and block, started as the micro-kernel would start it and handed the finished sums.
struct Sweep<'a, T, C> {
    product: MatRef<'a, T>,
    heads: &'a Panel<T>,
    epilogue: Finish<T, C>,
}

impl<T: Real, C: Stage> Op<T> for Sweep<'_, T, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let (units, heads) = (self.heads.shape().units, self.heads);
        for row in 0..self.product.rows() {
            for block in 0..heads.blocks() {
                let unit = block * S::LANES;
                let heads = heads.data().as_ptr().wrapping_add(block * heads.block_len());
                let at = At { row, block, lanes: S::LANES.min(units - unit), heads };
                // SAFETY: the row and block are the product's and the epilogue's, whose sizes were compared.
                unsafe {
                    let mut acc = self.epilogue.start(s, at);
                    for g in 0..<C::Recurrent<S::V> as Block<S::V>>::N {
                        let offset = row * self.product.row_stride() + g * units + unit;
                        let sum = load_up_to(s, self.product.as_ptr().add(offset), at.lanes);
                        acc[g] = s.add(acc[g], sum);
                    }
                    self.epilogue.finish(s, at, acc);
                }
            }
        }
    }
}
