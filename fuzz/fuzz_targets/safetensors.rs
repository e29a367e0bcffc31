//! Safetensors files.
#![no_main]

use gatefold_models::safetensors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = safetensors::from_bytes(bytes);
});
