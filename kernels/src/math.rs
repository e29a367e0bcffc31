//! Elementary functions on vectors.

use crate::isa::Simd;

/// The constants of the elementary functions for one element type.
pub trait Elementary: Sized {}

impl Elementary for f32 {}
impl Elementary for f64 {}

#[inline(always)]
/// temp
pub fn sigmoid<T, S: Simd<T>>(_s: S, x: S::V) -> S::V {
    x
}
#[inline(always)]
/// temp
pub fn tanh<T, S: Simd<T>>(_s: S, x: S::V) -> S::V {
    x
}
