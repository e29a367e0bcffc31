//! The element types.

use crate::backward::{self, Backward, Join};
use crate::blend::{self, Blend};
use crate::diagonal::{self, Diagonal};
use crate::elementwise::{self, Elementwise};
use crate::gemm::{self, Gemm};
use crate::general::{self, General};
use crate::isa::Dispatch;
use crate::limits::{self, MultiplyAdds, Reading, Worked};
use crate::math::Elementary;
use crate::outer::{self, Outer};
use crate::pointwise::{self, Pointwise};
use crate::relay::{self, Relay};
use crate::shape::ShapeError;
use crate::solo::{self, Ready};
use crate::step::{self, Step};
use std::fmt::Debug;

/// The kernels for one element type. Not generic over it, so that all SIMD code is generated in this crate.
pub trait Kernels: Sized {
    /// [`Backward::run`].
    #[doc(hidden)]
    fn backward(args: Backward<'_, Self>) -> Result<(), ShapeError>;
    /// [`Blend::run`].
    #[doc(hidden)]
    fn blend(args: Blend<'_, Self>) -> Result<(), ShapeError>;
    /// [`Diagonal::run`].
    #[doc(hidden)]
    fn diagonal(args: Diagonal<'_, Self>) -> Result<(), ShapeError>;
    /// [`Elementwise::run`].
    #[doc(hidden)]
    fn elementwise(args: Elementwise<'_, Self>) -> Result<(), ShapeError>;
    /// [`Gemm::run`].
    #[doc(hidden)]
    fn gemm(args: Gemm<'_, Self>) -> Result<(), ShapeError>;
    /// [`General::run`].
    #[doc(hidden)]
    fn general(args: General<'_, '_, Self>) -> Result<(), ShapeError>;
    /// [`MultiplyAdds::run`].
    #[doc(hidden)]
    fn multiply_adds(args: MultiplyAdds) -> Worked<Self>;
    /// [`Reading::run`].
    #[doc(hidden)]
    fn reading(args: Reading<'_, Self>) -> Worked<Self>;
    /// [`Join::run`].
    #[doc(hidden)]
    fn join(args: Join<'_, Self>) -> Result<(), ShapeError>;
    /// [`Outer::run`].
    #[doc(hidden)]
    fn outer(args: Outer<'_, '_, Self>) -> Result<(), ShapeError>;
    /// [`Relay::run`].
    #[doc(hidden)]
    fn relay(args: Relay<'_, '_, Self>) -> Result<(), ShapeError>;
    /// The steps of [`Solo::run`](crate::solo::Solo::run) and [`Ready::step`].
    #[doc(hidden)]
    fn solo(ready: &mut Ready<'_, '_, Self>);
    /// [`Step::run`].
    #[doc(hidden)]
    fn step(args: Step<'_, '_, Self>) -> Result<(), ShapeError>;
    /// [`Pointwise::run`].
    #[doc(hidden)]
    fn pointwise(args: Pointwise<'_, '_, Self>) -> Result<(), ShapeError>;
}

/// Implements [`Kernels`] by the generic bodies.
macro_rules! kernels {
    ($($t:ty)+) => {$(
        impl Kernels for $t {
            fn backward(args: Backward<'_, Self>) -> Result<(), ShapeError> {
                backward::backward(args)
            }
            fn blend(args: Blend<'_, Self>) -> Result<(), ShapeError> {
                blend::blend(args)
            }
            fn diagonal(args: Diagonal<'_, Self>) -> Result<(), ShapeError> {
                diagonal::diagonal(args)
            }
            fn elementwise(args: Elementwise<'_, Self>) -> Result<(), ShapeError> {
                elementwise::elementwise(args)
            }
            fn gemm(args: Gemm<'_, Self>) -> Result<(), ShapeError> {
                gemm::gemm(args)
            }
            fn general(args: General<'_, '_, Self>) -> Result<(), ShapeError> {
                general::general(args)
            }
            fn multiply_adds(args: MultiplyAdds) -> Worked<Self> {
                limits::multiply_adds(args)
            }
            fn reading(args: Reading<'_, Self>) -> Worked<Self> {
                limits::reading(args)
            }
            fn join(args: Join<'_, Self>) -> Result<(), ShapeError> {
                backward::join(args)
            }
            fn outer(args: Outer<'_, '_, Self>) -> Result<(), ShapeError> {
                outer::outer(args)
            }
            fn relay(args: Relay<'_, '_, Self>) -> Result<(), ShapeError> {
                relay::relay(args)
            }
            fn solo(ready: &mut Ready<'_, '_, Self>) {
                solo::solo(ready);
            }
            fn step(args: Step<'_, '_, Self>) -> Result<(), ShapeError> {
                step::step(args)
            }
            fn pointwise(args: Pointwise<'_, '_, Self>) -> Result<(), ShapeError> {
                pointwise::pointwise(args)
            }
        }
    )+};
}

kernels! { f32 f64 }

mod sealed {
    /// Types whose values fill their memory without padding, as [`Buf`](crate::buf::Buf) relies on.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`; no other type can implement it.
pub trait Real:
    sealed::Sealed
    + Kernels
    + Elementary
    + Dispatch
    + Copy
    + Debug
    + Default
    + PartialEq
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Mul<Output = Self>
    + Send
    + Sync
    + 'static
{
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;
    /// Positive zero.
    const ZERO: Self;
    /// Zeros, at least as many as the longest vector has.
    const ZEROS: &'static [Self];
    /// One.
    const ONE: Self;
    /// A quiet NaN: what scratch memory starts as.
    const NAN: Self;
    /// States and their gradients below this magnitude become +0: 2^-100 in f32, 2^-960 in f64. Products
    /// of what is left with any weight of ordinary size are normal numbers, so that no step runs into
    /// subnormals, which slow an FMA down 50 times, and the flags FTZ and DAZ of an audio host change nothing.
    const FLUSH: Self;

    /// The nearest value of this type.
    fn from_f64(x: f64) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    const NAME: &'static str = "f32";
    const ZERO: f32 = 0.0;
    const ZEROS: &'static [f32] = &[0.0; 16];
    const ONE: f32 = 1.0;
    const NAN: f32 = f32::NAN;
    const FLUSH: f32 = f32::from_bits((127 - 100) << 23);

    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";
    const ZERO: f64 = 0.0;
    const ZEROS: &'static [f64] = &[0.0; 8];
    const ONE: f64 = 1.0;
    const NAN: f64 = f64::NAN;
    const FLUSH: f64 = f64::from_bits((1023 - 960) << 52);

    #[inline(always)]
    fn from_f64(x: f64) -> f64 {
        x
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}
