//! Graphs and the weights of their recurrent nodes; none may read files.
#![no_main]

use gatefold_models::onnx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = onnx::from_bytes(bytes.to_vec(), None) {
        model.recurrent_nodes().for_each(drop);
    }
});
