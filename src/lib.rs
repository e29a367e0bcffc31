//! Recurrent layers on CPUs: SimpleRNN, LSTM and GRU as one packed GEMM per timestep whose epilogue is the cell.
#![deny(unsafe_code)]

pub mod cell;
mod dims;
mod error;
pub mod gemm;
mod layer;
mod schedule;
pub mod seq;
mod sequence;
mod stages;
mod state;
pub mod weights;

pub use dims::Dims;
pub use error::{Error, Result};
pub use gatefold_kernels::isa::Isa;
pub use gemm::{Backend, Element};
pub use layer::{Forward, Gru, Layer, Lstm, Options, SimpleRnn};
pub use schedule::{Plan, Threads};
pub use sequence::{Output, Workspace};
pub use state::State;
pub use weights::Weights;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
