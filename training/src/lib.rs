//! What a small training loop of gatefold's layers needs, and no more.
//!
//! Everything works on plain slices in f32 or f64. There is no graph and no automatic differentiation: a model's forward
//! pass is a few calls, and its backward pass the same calls in the other order.
//!
//! | | |
//! |---|---|
//! | [`Dense`] | `[rows, I]` to `[rows, O]`, forward and backward |
//! | [`mean_squared_error`], [`cross_entropy`] | losses with their gradients |
//! | [`Sgd`], [`Adam`] | optimisers, over anything that has [`Parameters`] |
//! | [`clip_grad_norm`] | gradients scaled to a norm |
//! | [`Dropout`] | between layers; a mask for each timestep, or one for all |
//! | [`StackDropout`] | masks of a stack: between its layers and of its recurrent states, dropout and zoneout |
//! | [`initial`] | weights as Keras and as PyTorch initialise them |
//! | [`Random`] | the numbers of a seed |
//!
//! A seed decides everything: with the native backend the same training gives the same bits on any number of threads
//! and every instruction set.
//!
//! # A model, its loss and one step
//!
//! ```
//! use gatefold::cell::{Cell, Reset};
//! use gatefold::seq::{MatMut, time_major};
//! use gatefold::{Accumulate, Layer, Options, Output, Stack, StackGrads, StackTape, StackWorkspace, Upstream};
//! use gatefold_training::{
//!     Adam, AdamOptions, Dense, DenseGrads, Random, clip_grad_norm, initial, mean_squared_error,
//! };
//!
//! // A GRU whose last output goes through a dense layer.
//! let mut random = Random::new(1);
//! let weights = initial::keras::<f32>(Cell::Gru { reset: Reset::After }, 1, 8, &mut random)?;
//! let layer = Layer::new(weights, Options { keep_weights: true, ..Options::default() })?;
//! let mut model = (Stack::new(vec![layer.into()])?, Dense::keras(8, 1, &mut random)?);
//! let mut grads = (StackGrads::new(), DenseGrads::new());
//! let mut adam = Adam::new(AdamOptions { learning_rate: 0.01, ..AdamOptions::PYTORCH })?;
//!
//! // To learn: the first of five values.
//! let (time, batch) = (5, 16);
//! let (mut tape, mut workspace) = (StackTape::new(), StackWorkspace::new());
//! let mut losses = Vec::new();
//! for _ in 0..200 {
//!     let x: Vec<f32> = (0..time * batch).map(|_| random.uniform() as f32).collect(); // [T, N, 1]
//!     let target = &x[..batch];
//!
//!     let (stack, dense) = &model;
//!     let (mut state, mut last) = (stack.state(batch)?, vec![0.0; batch * 8]);
//!     let output = Output::Last(MatMut::dense(&mut last, batch, 8)?);
//!     stack.record(time_major(&x, [time, batch, 1])?, &mut state, output, &mut tape, &mut workspace)?;
//!     let (mut y, mut dy) = (vec![0.0; batch], vec![0.0; batch]);
//!     dense.forward(&last, batch, &mut y)?;
//!     losses.push(mean_squared_error(&y, target, &mut dy)?);
//!
//!     dense.backward(&last, batch, &dy, &mut grads.1, Accumulate::Overwrite)?;
//!     let of_last = Upstream { dh: Some(&grads.1.dx), ..Upstream::default() };
//!     stack.backward(&mut tape, of_last, &mut grads.0, Accumulate::Overwrite)?;
//!     clip_grad_norm(&mut grads, 1.0)?;
//!     adam.step(&mut model, &grads)?;
//! }
//! let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
//! assert!(mean(&losses[190..]) < mean(&losses[..10]) / 4.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Truncated back-propagation through time
//!
//! A stream that has no end is trained in chunks: a [`State`](gatefold::State) goes from call to call, gradients do not. That
//! is what calls in sequence do, as each backward pass ends where its recorded call began:
//!
//! ```
//! # use gatefold::cell::Cell;
//! # use gatefold::seq::{time_major, time_major_mut};
//! # use gatefold::{Accumulate, Grads, Layer, Options, Output, Tape, Workspace};
//! # use gatefold_training::{Random, Sgd, initial, mean_squared_error};
//! # let mut random = Random::new(1);
//! # let weights = initial::pytorch(Cell::Lstm, 1, 1, &mut random)?;
//! # let mut layer = Layer::new(weights, Options { keep_weights: true, ..Options::default() })?;
//! # let stream: Vec<f64> = (0..64).map(|_| random.uniform()).collect();
//! # let (mut tape, mut grads, mut workspace) = (Tape::new(), Grads::new(), Workspace::new());
//! # let mut sgd = Sgd::new(0.1, 0.9)?;
//! let mut state = layer.state(1)?; // once, at the start of the stream
//! for chunk in stream.chunks(16) {
//!     let sizes = [chunk.len(), 1, 1];
//!     let (mut y, mut dy) = (vec![0.0; chunk.len()], vec![0.0; chunk.len()]);
//!     let output = Output::Sequence(time_major_mut(&mut y, sizes)?);
//!     layer.record(time_major(chunk, sizes)?, &mut state, output, &mut tape, &mut workspace)?;
//!     mean_squared_error(&y, chunk, &mut dy)?;
//!     layer.backward(&mut tape, time_major(&dy, sizes)?.into(), &mut grads, Accumulate::Overwrite)?;
//!     sgd.step(&mut layer, &grads)?; // the state stays valid
//! }
//! # Ok::<(), gatefold::Error>(())
//! ```
//!
//! To cut a chunk of T steps every K < T steps instead, give [`Upstream::dh`](gatefold::Upstream::dh) what
//! [`Grads::dh0`](gatefold::Grads::dh0) of the next chunk is, with a tape for each of the chunks.
#![forbid(unsafe_code)]

mod clip;
mod dense;
mod dropout;
pub mod initial;
mod loss;
mod optimizer;
mod parameters;
mod random;
mod stack_dropout;

pub use clip::clip_grad_norm;
pub use dense::{Dense, DenseGrads};
pub use dropout::{Dropout, Share};
pub use gatefold::{Error, Result};
pub use loss::{cross_entropy, mean_squared_error};
pub use optimizer::{Adam, AdamOptions, Epsilon, Sgd};
pub use parameters::{Gradients, Parameters};
pub use random::Random;
pub use stack_dropout::{StackDropout, StackMasks, StackRates};
