//! Recurrent layers on CPUs: SimpleRNN, LSTM and GRU as one packed GEMM per timestep whose epilogue is the cell.
//!
//! A [`Layer`] is packed from [`Weights`]; [`Gru`], [`Lstm`] and [`SimpleRnn`] are layers whose cell is known by the type.
//! Shapes are written `[T, N, I]`: T timesteps, N batch rows, I input features; H is hidden units.
//!
//! # Coming from Keras
//! `return_sequences` is which method is called; the state comes back always.
//!
//! | Keras, `x: [N, T, I]` from [`batch_major`](seq::batch_major) | here | shape |
//! | --- | --- | --- |
//! | `GRU(4)(x)` | [`forward_last(x, None)?.y`](Layer::forward_last) | `[N, H]` |
//! | `GRU(4, return_sequences=True)(x)` | [`forward(x, None)?.y`](Layer::forward) | `[N, T, H]` |
//! | the states of `return_state=True` | `.state` of either: [`h_to_vec`](State::h_to_vec), of an LSTM [`c_to_vec`](State::c_to_vec) | `[N, H]` |
//! | `initial_state=` | the second argument | `[N, H]` |
//! | `stateful=True` | one [`State`] through [`forward_into`](Layer::forward_into), call after call | `[N, H]` |
//!
//! The example of Keras' own documentation, a batch of 32 sequences of 10 timesteps of 8 features into 4 units:
//!
//! ```
//! use gatefold::cell::Reset;
//! use gatefold::seq::batch_major;
//! use gatefold::weights::keras;
//! use gatefold::{Gru, Options};
//!
//! // What layer.get_weights() lists for keras.layers.GRU(4).
//! # let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 100.0;
//! # let (kernel, recurrent_kernel, bias) = ((0..96).map(value), (0..48).map(value), (0..24).map(value));
//! # let [kernel, recurrent_kernel, bias]: [Vec<f32>; 3] = [kernel.collect(), recurrent_kernel.collect(), bias.collect()];
//! let arrays = keras::Arrays {
//!     kernel: &kernel,                     // [8, 12]
//!     recurrent_kernel: &recurrent_kernel, // [4, 12]
//!     bias: Some(&bias),                   // [2, 12]
//! };
//! let gru = Gru::from_keras(8, 4, Reset::After, arrays, Options::default())?;
//!
//! # let inputs: Vec<f32> = (0..32 * 10 * 8).map(value).collect();
//! let inputs = batch_major(&inputs, [32, 10, 8])?;
//! let output = gru.forward_last(inputs, None)?.y;
//! assert_eq!(output.len(), 32 * 4); // (32, 4)
//!
//! let whole = gru.forward(inputs, None)?; // return_sequences=True, return_state=True
//! assert_eq!(whole.y.len(), 32 * 10 * 4); // (32, 10, 4)
//! assert_eq!(whole.state.h_to_vec().len(), 32 * 4); // (32, 4)
//!
//! // The last of a row's outputs is its final state, and what forward_last returns.
//! let row = |n: usize| &whole.y[(n * 10 + 9) * 4..][..4];
//! assert_eq!(whole.state.h_row(31), Some(row(31)));
//! assert_eq!(&output[31 * 4..], row(31));
//! # Ok::<(), gatefold::Error>(())
//! ```
#![deny(unsafe_code)]

mod backward;
mod caches;
pub mod cell;
mod dims;
mod error;
pub mod gemm;
mod grads;
mod input;
mod layer;
#[cfg(feature = "ndarray")]
pub mod ndarray;
mod output;
mod roster;
mod schedule;
pub mod seq;
mod sequence;
mod solo;
mod stack;
mod stages;
mod state;
mod steps;
mod stream;
mod tape;
pub mod weights;
mod workspace;

pub use caches::Caches;
pub use dims::Dims;
pub use error::{Error, Result};
pub use gatefold_kernels::isa::Isa;
pub use gemm::{Backend, Element};
pub use grads::{Accumulate, Grads, Upstream};
pub use input::{Direction, Input, Masked, Noise, Order, StackNoise};
pub use layer::{Forward, Gru, Layer, Lstm, Options, SimpleRnn};
pub use output::Output;
pub use schedule::{Plan, Threads};
pub use stack::{Level, Merge, Stack, StackForward, StackGrads, StackState, StackTape, StackWorkspace};
pub use state::State;
pub use steps::Steps;
pub use stream::Stream;
pub use tape::Tape;
pub use weights::Weights;
pub use workspace::Workspace;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
