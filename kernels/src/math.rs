//! Elementary functions on vectors.

use crate::isa::Simd;

/// The constants of the elementary functions for one element type.
pub trait Elementary: Sized {}

impl Elementary for f32 {}
impl Elementary for f64 {}
