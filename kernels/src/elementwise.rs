//! The activations over slices.

use crate::activation::{Activation, transform};
use crate::isa::{Isa, Op, Simd};
use crate::real::Real;
use crate::shape::ShapeError;

/// y = function(x), element by element. Accuracy and range: see [`crate::math`].
#[derive(Debug)]
pub struct Elementwise<'a, T> {
    /// The instruction set; the result has the same bits under every one.
    pub isa: Isa,
    /// What to compute.
    pub function: Activation,
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
        // SAFETY: the slices were seen to be as long as each other, and a mutable one overlaps no other.
        unsafe { transform(s, function, x.as_ptr(), y.as_mut_ptr(), y.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::activate;

    struct InPlace<'a, T>(Activation, &'a mut [T]);

    impl<T: Real> Op<T> for InPlace<'_, T> {
        type Out = ();

        #[inline(always)]
        fn run<S: Simd<T>>(self, s: S) {
            activate(s, self.0, self.1)
        }
    }

    fn same_in_place<T: Real>() {
        let x: Vec<T> = (0..70).map(|i| T::from_f64(0.37 * f64::from(i) - 12.0)).collect();
        for &isa in Isa::available() {
            for &activation in Activation::ALL {
                for length in 0..x.len() {
                    let mut y = vec![T::NAN; length];
                    Elementwise { isa, function: activation, x: &x[..length], y: &mut y }.run().unwrap();
                    let mut values = x.clone();
                    T::dispatch(isa, InPlace(activation, &mut values[..length]));
                    // Neither has a NaN: equal values but for the sign of zero, which `{:?}` shows.
                    let what = format!("{} {activation:?} {length}", isa.name());
                    assert_eq!(format!("{y:?}"), format!("{:?}", &values[..length]), "{what}");
                    assert_eq!(values[length..], x[length..], "{what}: beyond");
                }
            }
        }
    }

    #[test]
    fn in_place_has_the_same_bits() {
        same_in_place::<f32>();
        same_in_place::<f64>();
    }
}
