//! What the tests share.
#![allow(dead_code, reason = "no test file uses all of it")]

use gatefold::Element;
use gatefold_training::Random;
use std::path::Path;

/// `len` values of a wide normal distribution, rounded to `T`.
pub fn values<T: Element>(random: &mut Random, len: usize) -> Vec<T> {
    (0..len).map(|_| T::from_f64(random.normal())).collect()
}

pub fn f64s<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

/// As bits, which tell -0 from +0; no test compares NaNs with it.
pub fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    f64s(values).into_iter().map(f64::to_bits).collect()
}

/// Asserts that each value is within `bound` of what it must be, in units of the greater of 1 and its magnitude.
pub fn close<T: Element>(what: &str, found: &[T], expected: &[f64], bound: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        let found = found.to_f64();
        assert!((found - expected).abs() <= bound * expected.abs().max(1.0), "{what} {k}: {found} is not {expected}");
    }
}

/// A few roundings of this type.
pub fn roundings<T: Element>(n: f64) -> f64 {
    n * if T::NAME == "f32" { f64::from(f32::EPSILON) } else { f64::EPSILON }
}

/// What a framework gave.
pub fn reference(file: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}
