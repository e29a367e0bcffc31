//! Weights without their model.
#![no_main]

use gatefold_models::keras;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = keras::weights_from_bytes(bytes.to_vec());
});
