//! One timestep of a stage, fused: the recurrent product with the cell as its epilogue.

use crate::block::Block;
use crate::cell::{Stage, StageKind, StageVisitor};
use crate::epilogue::{Finish, Keep, Kept, StepState, TraceMut};
use crate::isa::{Dispatch, Isa};
use crate::mat::MatRef;
use crate::pack::Panel;
use crate::real::Real;
use crate::seq::SeqRef;
use crate::shape::ShapeError;
use crate::tile::Product;

/// One timestep of one stage for N rows.
#[derive(Debug)]
pub struct Step<'a, 'b, T> {
    /// The instruction set; the panel must have been packed for it.
    pub isa: Isa,
    /// What the step computes.
    pub stage: StageKind,
    /// Left operand of the recurrent product, `[N, K]`: h, or for second stages what the first one wrote.
    pub operand: MatRef<'a, T>,
    /// The recurrent weights, with the stage's own biases as heads.
    pub panel: &'a Panel<T>,
    /// What else is read and written.
    pub state: StepState<'a, 'b, T>,
    /// Where what the backward pass needs is kept, if it is.
    pub trace: Option<TraceMut<'a, T>>,
    /// Whether units are computed from the last to the first, to the same bits. A step that walks against the one before
    /// it meets first the weights that caches still hold: where they outgrow a cache, turn round at every step.
    pub reverse: bool,
}

impl<T: Real> Step<'_, '_, T> {
    /// Computes the step. Cost: 2 N K G H floating-point operations and N H times the activations; nothing is allocated.
    ///
    /// # Errors
    /// A size that does not fit the panel or the stage, by the name of the field.
    pub fn run(self) -> Result<(), ShapeError> {
        T::step(self)
    }
}

/// The body of [`Step::run`] for one element type.
pub(crate) fn step<T: Real>(args: Step<'_, '_, T>) -> Result<(), ShapeError> {
    let (shape, panel) = (args.stage.shape(), args.panel.shape());
    ShapeError::same("panel lanes", <T as Dispatch>::lanes(args.isa), args.panel.lanes())?;
    ShapeError::same("panel gates", shape.recurrent, panel.gates)?;
    ShapeError::same("panel heads", shape.heads(), panel.heads)?;
    ShapeError::same("operand columns", panel.k, args.operand.cols())?;
    ShapeError::same("operand column stride", 1, args.operand.col_stride())?;
    args.stage.visit(Visit(args))
}

struct Visit<'a, 'b, T>(Step<'a, 'b, T>);

impl<T: Real> StageVisitor for Visit<'_, '_, T> {
    type Out = Result<(), ShapeError>;

    fn visit<C: Stage>(self, stage: C) -> Self::Out {
        let Step { isa, operand, panel, mut state, mut trace, reverse, .. } = self.0;
        let (select, units, rows) = (state.select, panel.shape().units, SeqRef::from_matrix(operand)?);
        Finish::<T, C>::check(isa, operand.rows(), units, &state)?;
        TraceMut::check(&trace, [1, operand.rows(), <C::Recurrent<()> as Block<()>>::N, units])?;
        // SAFETY: checked; used below, once, inside the borrows.
        let finish = unsafe { Finish::new(stage, isa, units, &mut state) };
        // SAFETY: `step` and `Finish::check` compared the sizes with the panel's and the stage's.
        unsafe {
            match trace.as_mut().map(|trace| Kept::first(trace, units)) {
                None => Product::new(rows, select, panel.whole(), reverse, &finish).run_on(isa),
                Some(kept) => Product::new(rows, select, panel.whole(), reverse, &Keep { finish, kept }).run_on(isa),
            }
        }
        Ok(())
    }
}
