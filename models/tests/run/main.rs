//! Loaded models give what the frameworks that saved them gave.
#![cfg(all(feature = "keras", feature = "numpy", feature = "onnx", feature = "pytorch", feature = "safetensors"))]

#[path = "../samples/mod.rs"]
mod samples;

mod damaged;
mod keras_arrays;
mod keras_models;
mod onnx_nodes;
mod torch_modules;

use gatefold_models::{Data, Element, LoadOptions, Loaded, Tensor, Tolerance, compare, load, numpy};

/// Of the largest magnitude.
const TOLERANCE: Tolerance = Tolerance { relative: 2e-5, absolute: 0.0 };

fn npy(name: &str) -> Tensor {
    numpy::read_npy(samples::path(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn loaded<T: Element>(name: &str) -> Loaded<T> {
    load(samples::path(name), &LoadOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Panics unless the two agree.
#[track_caller]
fn assert_agrees(name: &str, expected: &Tensor, found: &Tensor) {
    let comparison = compare(expected, found, TOLERANCE).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(comparison.largest.is_some(), "{name}: nothing to compare");
    assert!(comparison.agrees(), "{name}: {comparison:?}");
}

/// The message of an error that there must be.
#[track_caller]
fn refusal<T: std::fmt::Debug>(result: gatefold_models::Result<T>) -> String {
    result.expect_err("a refusal").to_string()
}

/// Small numbers that differ from one another.
fn wave(shape: &[usize], seed: f32) -> Tensor {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|k| ((k as f32 * 0.7 + seed) * 1.3).sin() * 0.5).collect();
    Tensor::new(shape.to_vec(), Data::F32(values)).unwrap()
}
