//! SIMD micro-kernels of gatefold: a packed GEMM whose epilogue is a recurrent cell.
//!
//! Without dependencies, and where nearly all of gatefold's `unsafe` stands. The public functions are
//! safe: they compare the sizes of all that they are given before anything is computed, and allocate nothing.
//! The library `gatefold` is the comfortable way in; this crate is for who wants the kernels alone.

pub mod activation;
pub mod backward;
pub mod blend;
pub mod block;
pub mod buf;
pub mod cell;
pub mod diagonal;
pub mod elementwise;
mod epilogue;
pub mod gang;
pub mod gemm;
pub mod general;
pub mod isa;
#[doc(hidden)]
pub mod limits;
pub mod mat;
pub mod math;
mod micro;
pub mod outer;
pub mod pack;
pub mod pointwise;
pub mod real;
pub mod relay;
pub mod seq;
pub mod shape;
pub mod solo;
pub mod step;
mod tile;

pub use epilogue::{StepState, TraceMut};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
