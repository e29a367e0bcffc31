//! The elementary functions over slices.

use crate::isa::{Isa, Op, Simd};
use crate::math::{exp, sigmoid, tanh};
use crate::real::Real;
use crate::shape::ShapeError;

/// A function of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// exp(x).
    Exp,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// tanh(x).
    Tanh,
}

impl Function {
    /// Every function there is.
    pub const ALL: &'static [Function] = &[Function::Exp, Function::Sigmoid, Function::Tanh];

    /// Its values for a vector of arguments.
    #[inline(always)]
    fn of<T: Real, S: Simd<T>>(self, s: S, x: S::V) -> S::V {
        match self {
            Function::Exp => exp(s, x),
            Function::Sigmoid => sigmoid(s, x),
            Function::Tanh => tanh(s, x),
        }
    }
}

/// y = function(x), element by element. Accuracy and range: see [`crate::math`].
#[derive(Debug)]
pub struct Elementwise<'a, T> {
    /// The instruction set; the result has the same bits under every one.
    pub isa: Isa,
    /// What to compute.
    pub function: Function,
    /// Arguments, of any length.
    pub x: &'a [T],
    /// Results, as many.
    pub y: &'a mut [T],
}

impl<T: Real> Elementwise<'_, T> {
    /// Computes all results; nothing is allocated.
    ///
    /// # Errors
    /// `y` is not as long as `x`; then nothing is written.
    pub fn run(self) -> Result<(), ShapeError> {
        T::elementwise(self)
    }
}

/// The body of [`Elementwise::run`] for one element type.
pub(crate) fn elementwise<T: Real>(args: Elementwise<'_, T>) -> Result<(), ShapeError> {
    ShapeError::same("y", args.x.len(), args.y.len())?;
    T::dispatch(args.isa, Sweep(args));
    Ok(())
}

struct Sweep<'a, T>(Elementwise<'a, T>);

impl<T: Real> Op<T> for Sweep<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Elementwise { function, x, y, .. } = self.0;
        // Each arm is a loop of its own, in which the function is a constant.
        match function {
            Function::Exp => sweep(s, Function::Exp, x, y),
            Function::Sigmoid => sweep(s, Function::Sigmoid, x, y),
            Function::Tanh => sweep(s, Function::Tanh, x, y),
        }
    }
}

/// y = function(x), a vector at a time. The slices are as long.
#[inline(always)]
fn sweep<T: Real, S: Simd<T>>(s: S, function: Function, x: &[T], y: &mut [T]) {
    let (mut x, mut y) = (x.chunks_exact(S::LANES), y.chunks_exact_mut(S::LANES));
    for (x, y) in x.by_ref().zip(y.by_ref()) {
        // SAFETY: both chunks hold LANES values.
        unsafe { s.store(y.as_mut_ptr(), function.of(s, s.load(x.as_ptr()))) }
    }
    let (x, y) = (x.remainder(), y.into_remainder());
    // SAFETY: both remainders hold fewer than LANES values, and of each no more than it holds is accessed.
    unsafe { s.store_n(y.as_mut_ptr(), function.of(s, s.load_n(x.as_ptr(), x.len())), y.len()) }
}

/// PENDING
pub(crate) fn activate<T: Real, S: Simd<T>>(s: S, activation: crate::activation::Activation, values: &mut [T]) {
    use crate::activation::Activation as A;
    for part in values.chunks_mut(S::LANES) {
        // SAFETY: as many as there are.
        unsafe {
            let x = s.load_n(part.as_ptr(), part.len());
            let y = match activation {
                A::Sigmoid => sigmoid(s, x),
                A::Tanh => tanh(s, x),
                _ => x,
            };
            s.store_n(part.as_mut_ptr(), y, part.len());
        }
    }
}
