//! Trained models' files, read into plain, checked arrays and descriptions.
//!
//! | module | reads | feature |
//! |---|---|---|
//! | [`safetensors`] | named tensors of `.safetensors`; also writes them | `safetensors` |
//! | [`pytorch`] | state_dicts of `.pt` and `.pth` | `pytorch` |
//! | [`numpy`] | `.npy` and `.npz`; also writes them | `numpy` |
//! | [`onnx`] | graphs, constants and recurrent nodes of `.onnx` | `onnx` |
//! | [`keras`] | `.keras`, `.h5` and `.weights.h5` of Keras 2 and 3 | `keras` |
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
mod error;
mod formats;
mod tensor;

pub use error::{Error, ErrorKind, Result};
pub use formats::*;
pub use tensor::{Data, Dtype, Tensor};

/// The examples of the README are tests.
#[cfg(all(doctest, feature = "keras", feature = "onnx", feature = "pytorch"))]
#[doc = include_str!("../README.md")]
struct Readme;
