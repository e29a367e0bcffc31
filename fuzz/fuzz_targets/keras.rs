//! Whole models.
#![no_main]

use gatefold_models::keras;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = keras::from_bytes(bytes.to_vec());
});
