//! Archives of NumPy arrays.
#![no_main]

use gatefold_models::numpy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = numpy::npz_from_bytes(bytes);
});
