//! Whole models, also made ready to run: whole files, and configurations beside weights that are valid.
#![no_main]

mod archive;

use gatefold_models::keras;
use libfuzzer_sys::fuzz_target;

const WEIGHTS: &[u8] = include_bytes!("../../models/tests/data/keras_more/float64.weights.h5");

fuzz_target!(|bytes: &[u8]| {
    let model = if bytes.starts_with(b"{") {
        let metadata = br#"{"keras_version": "3.15.1"}"#;
        let members = [("metadata.json", &metadata[..]), ("config.json", bytes), ("model.weights.h5", WEIGHTS)];
        keras::from_bytes(archive::of(&members))
    } else {
        keras::from_bytes(bytes.to_vec())
    };
    if let Ok(model) = model {
        let _ = keras::Model::<f32>::of(&model, Default::default());
    }
});
