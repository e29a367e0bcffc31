//! State_dicts.
#![no_main]

use gatefold_models::pytorch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = pytorch::from_bytes(bytes);
});
