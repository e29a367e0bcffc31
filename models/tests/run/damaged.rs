//! Damaged files are loaded or refused, and what is loaded is run or refused; nothing panics.

use crate::{samples, wave};
use gatefold_models::{Data, LoadOptions, Runnable, Tensor, load};

/// Numbers that look random, the same in each run (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Runs whatever a file holds over a small input, which fits or not; whether anything could be run.
fn run_all(path: &std::path::Path) -> bool {
    let Ok(loaded) = load::<f32>(path, &LoadOptions::default()) else { return false };
    let mut ran = false;
    for layer in loaded.recurrent() {
        let channels = layer.stack().input();
        if channels < 1 << 10 {
            ran |= layer.run(&wave(&[2, 3, channels], 0.0)).is_ok();
        }
    }
    if let Ok(Runnable::Model(model)) = loaded.pick(None) {
        let channels = loaded.recurrent().first().map_or(1, |layer| layer.stack().input()).min(1 << 10);
        ran |= model.predict(&wave(&[2, 8, channels], 0.0)).is_ok();
        ran |= model.predict(&Tensor::new(vec![2, 8], Data::I32(vec![1; 16])).unwrap()).is_ok();
    }
    loaded.describe();
    ran
}

#[test]
fn flipped_bytes_do_no_harm() {
    let files = [
        "onnx/lstm_activations.onnx",
        "onnx/gru_relu.onnx",
        "onnx_more/quantised.onnx",
        "torch_models/lstm_proj.safetensors",
        "keras_models/bidirectional_gru.h5",
        "keras_models/text_classifier.h5",
        "keras2_models/stacked_cells.h5",
    ];
    let scratch = tempfile::tempdir().unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for name in files {
        let bytes = samples::bytes(name);
        let path = scratch.path().join(name.rsplit('/').next().unwrap());
        std::fs::write(&path, &bytes).unwrap();
        assert!(run_all(&path), "{name}");
        // What is not weights stands at the front in these formats, but for HDF5.
        let reach = if name.ends_with(".h5") { bytes.len() } else { bytes.len().min(600) };
        for _ in 0..150 {
            let mut damaged = bytes.clone();
            for _ in 0..=dice.below(3) {
                let place = dice.below(reach);
                damaged[place] = dice.below(256) as u8;
            }
            std::fs::write(&path, &damaged).unwrap();
            run_all(&path);
        }
    }
}

#[test]
fn other_values_in_a_configuration_do_no_harm() {
    // The configuration stands in these files as text: other digits and letters of the same length.
    for name in
        ["keras_models/bidirectional_gru.h5", "keras_models/text_classifier.h5", "keras2_models/stacked_cells.h5"]
    {
        let bytes = samples::bytes(name);
        let start = bytes.windows(12).position(|window| window == b"\"class_name\"").expect("a configuration");
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("model.h5");
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            let digits: Vec<usize> =
                (start..(start + 6000).min(bytes.len())).filter(|&k| bytes[k].is_ascii_digit()).collect();
            for _ in 0..=dice.below(2) {
                damaged[digits[dice.below(digits.len())]] = b'0' + dice.below(10) as u8;
            }
            std::fs::write(&path, &damaged).unwrap();
            run_all(&path);
        }
    }
}
