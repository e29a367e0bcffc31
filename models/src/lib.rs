//! Trained models' files, read into checked arrays, and run.
//!
//! [`load`] recognises a file and makes its recurrent layers ready to run; [`keras::Model`] is a whole Keras model:
//!
//! | file | what runs |
//! |---|---|
//! | `.keras`, `.h5` of a whole Keras model | the model, and each recurrent layer of it |
//! | `.weights.h5`, weights of Keras without a configuration | nothing; they are listed |
//! | `.pt`, `.pth`, `.safetensors`, `.npz` with PyTorch's names | each `nn.RNN`, `nn.GRU`, `nn.LSTM` and their cells |
//! | `.npz` with Keras' names | each recurrent layer |
//! | `.onnx` | each recurrent node of the graph |
//!
//! ```no_run
//! use gatefold_models::{LoadOptions, load};
//!
//! let loaded = load::<f32>("model.pt", &LoadOptions::default())?;
//! let gru = loaded.recurrent_named("encoder.gru")?;
//! let x = gatefold_models::numpy::read_npy("x.npy")?;
//! let outputs = gru.run(&x)?; // y, hn, cn in PyTorch's shapes
//! println!("{:?}", outputs.y.shape());
//! # Ok::<(), gatefold_models::Error>(())
//! ```
//!
//! Below that, each format has a reader that gives plain arrays and descriptions:
//!
//! | module | reads | feature |
//! |---|---|---|
//! | [`safetensors`] | named tensors of `.safetensors`; also writes them | `safetensors` |
//! | [`pytorch`] | state_dicts of `.pt` and `.pth` | `pytorch` |
//! | [`numpy`] | `.npy` and `.npz`; also writes them | `numpy` |
//! | [`onnx`] | graphs, constants and recurrent nodes of `.onnx` | `onnx` |
//! | [`keras`] | `.keras`, `.h5` and `.weights.h5` of Keras 2 and 3 | `keras` |
//!
//! The other way, [`StateDict`] saves weights as safetensors with PyTorch's names.
//!
//! Every reader takes any bytes: a damaged or hostile file is an [`Error`] that names the place, never a panic, and what
//! a file claims is checked against its length before it is allocated. What is not understood is refused by name.
#![deny(unsafe_code)]
// Without all formats, some of what they share is not needed.
#![cfg_attr(
    not(all(feature = "keras", feature = "numpy", feature = "onnx", feature = "pytorch", feature = "safetensors")),
    allow(dead_code, unused_imports)
)]

mod budget;
mod element;
mod error;
mod formats;
#[cfg(feature = "numpy")]
mod keras_arrays;
mod load;
#[cfg(any(feature = "numpy", feature = "pytorch", feature = "safetensors"))]
mod modules;
#[cfg(feature = "onnx")]
mod nodes;
mod recurrent;
#[cfg(feature = "safetensors")]
mod save;
#[cfg(feature = "keras")]
mod sequential;
mod tensor;
mod verify;

pub use element::Element;
pub use error::{Error, ErrorKind, Result};
pub use formats::*;
pub use load::{Format, Listing, LoadOptions, Loaded, Nonlinearity, Runnable, load};
pub use recurrent::{Inputs, Outputs, Recurrent, Row, Source};
#[cfg(feature = "safetensors")]
pub use save::StateDict;
pub use tensor::{Data, Dtype, Tensor};
pub use verify::{Comparison, Deviation, Tolerance, compare};

/// The examples of the README are tests.
#[cfg(all(doctest, feature = "keras", feature = "onnx", feature = "pytorch", feature = "safetensors"))]
#[doc = include_str!("../README.md")]
struct Readme;
