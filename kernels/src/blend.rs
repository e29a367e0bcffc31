//! Masks of dropout and zoneout, applied to planes of state and of gradients.

use crate::cell::update;
use crate::gemm::check_selection;
use crate::general::{read, write};
use crate::isa::{Isa, Op, Simd};
use crate::mat::{MatMut, MatRef};
use crate::real::Real;
use crate::shape::ShapeError;

/// What becomes of `to`, value by value; m is the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlendKind {
    /// m from + (1 - m) to; what is below [`Real::FLUSH`] becomes +0, as states do.
    Between,
    /// m from.
    Take,
    /// to + m from.
    Add,
    /// m to; there is no `from`.
    Scale,
    /// (1 - m) to; there is no `from`.
    Rest,
}

/// One plane blended with another, `[N, C]`.
#[derive(Debug)]
pub struct Blend<'a, T> {
    /// The instruction set; the result has the same bits under every one.
    pub isa: Isa,
    /// What to compute.
    pub kind: BlendKind,
    /// `[N, C]`
    pub mask: MatRef<'a, T>,
    /// `[N, C]` or wider.
    pub from: Option<MatRef<'a, T>>,
    /// `[N, C]` or wider; other columns are not touched.
    pub to: MatMut<'a, T>,
    /// A second place for the result, `[N, C]`.
    pub also: Option<MatMut<'a, T>>,
    /// The rows to compute; `None`: all. Others are not touched.
    pub select: Option<&'a [u32]>,
}

impl<T: Real> Blend<'_, T> {
    /// Computes it; nothing is allocated.
    ///
    /// # Errors
    /// A size that does not fit the mask, by the name of the field.
    pub fn run(self) -> Result<(), ShapeError> {
        T::blend(self)
    }
}

/// The body of [`Blend::run`] for one element type.
pub(crate) fn blend<T: Real>(args: Blend<'_, T>) -> Result<(), ShapeError> {
    let (rows, cols) = (args.mask.rows(), args.mask.cols());
    ShapeError::same("mask column stride", 1, if cols > 1 { args.mask.col_stride() } else { 1 })?;
    ShapeError::same("to rows", rows, args.to.rows())?;
    ShapeError::at_least("to columns", cols, args.to.cols())?;
    let needs_from = !matches!(args.kind, BlendKind::Scale | BlendKind::Rest);
    ShapeError::same("from", usize::from(needs_from), usize::from(args.from.is_some()))?;
    if let Some(from) = args.from {
        ShapeError::same("from rows", rows, from.rows())?;
        ShapeError::at_least("from columns", cols, from.cols())?;
        ShapeError::same("from column stride", 1, if from.cols() > 1 { from.col_stride() } else { 1 })?;
    }
    if let Some(also) = &args.also {
        ShapeError::same("also rows", rows, also.rows())?;
        ShapeError::same("also columns", cols, also.cols())?;
    }
    check_selection(args.select, 1, rows)?;
    T::dispatch(args.isa, Sweep(args));
    Ok(())
}

struct Sweep<'a, T>(Blend<'a, T>);

impl<T: Real> Op<T> for Sweep<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Blend { kind, mask, from, mut to, mut also, select, .. } = self.0;
        for i in 0..select.map_or(to.rows(), <[u32]>::len) {
            let row = select.map_or(i, |select| select[i] as usize);
            let mask = mask.row(row).unwrap_or_default();
            let from = from.and_then(|from| from.row(row)).unwrap_or_default();
            let to = &mut to.row_mut(row).unwrap_or_default()[..mask.len()];
            for at in (0..mask.len()).step_by(S::LANES) {
                let (m, from, own) = (read(s, mask, at), read(s, from, at), read(s, to, at));
                let rest = s.sub(s.splat(T::ONE), m);
                let value = match kind {
                    BlendKind::Between => update(s, m, from, own),
                    BlendKind::Take => s.mul(m, from),
                    BlendKind::Add => s.fma(m, from, own),
                    BlendKind::Scale => s.mul(m, own),
                    BlendKind::Rest => s.mul(rest, own),
                };
                write(s, to, at, value);
            }
            if let Some(also) = also.as_mut().and_then(|also| also.row_mut(row)) {
                also.copy_from_slice(to);
            }
        }
    }
}
