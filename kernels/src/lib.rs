//! SIMD micro-kernels of gatefold.

pub mod block;
pub mod isa;
pub mod math;
pub mod real;
