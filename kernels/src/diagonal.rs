//! The gradients of weights that each unit has for itself, such as peepholes.

use crate::general::{read, write};
use crate::isa::{Isa, Op, Simd};
use crate::real::Real;
use crate::seq::SeqRef;
use crate::shape::ShapeError;

/// To each of `sums` the sum over all rows of left times right is added: the diagonal of A^T B.
#[derive(Debug)]
pub struct Diagonal<'a, T> {
    /// The instruction set; the result has the same bits under every one.
    pub isa: Isa,
    /// A, `[T, N, C]`.
    pub left: SeqRef<'a, T>,
    /// B, `[T, N, C]`.
    pub right: SeqRef<'a, T>,
    /// `[C]`
    pub sums: &'a mut [T],
}

impl<T: Real> Diagonal<'_, T> {
    /// Computes the sums, each a chain over time and rows in ascending order. Cost: a pass over both; nothing is allocated.
    ///
    /// # Errors
    /// A size that does not fit, by the name of the field; nothing was computed then.
    pub fn run(self) -> Result<(), ShapeError> {
        T::diagonal(self)
    }
}

/// The body of [`Diagonal::run`] for one element type.
pub(crate) fn diagonal<T: Real>(args: Diagonal<'_, T>) -> Result<(), ShapeError> {
    let (left, right) = (args.left.shape(), args.right.shape());
    ShapeError::same("right timesteps", left.time, right.time)?;
    ShapeError::same("right rows", left.batch, right.batch)?;
    ShapeError::same("right columns", left.channels, right.channels)?;
    ShapeError::same("sums", left.channels, args.sums.len())?;
    T::dispatch(args.isa, Sweep(args));
    Ok(())
}

struct Sweep<'a, T>(Diagonal<'a, T>);

impl<T: Real> Op<T> for Sweep<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Diagonal { left, right, sums, .. } = self.0;
        let shape = left.shape();
        // Steps without rows or values have no memory behind them: there may be more than could ever be counted to.
        let time = if shape.batch == 0 || sums.is_empty() { 0 } else { shape.time };
        for (t, n) in (0..time).flat_map(|t| (0..shape.batch).map(move |n| (t, n))) {
            let (Some(left), Some(right)) = (left.row(t, n), right.row(t, n)) else { continue };
            for at in (0..sums.len()).step_by(S::LANES) {
                let sum = s.fma(read(s, left, at), read(s, right, at), read(s, sums, at));
                write(s, sums, at, sum);
            }
        }
    }
}
