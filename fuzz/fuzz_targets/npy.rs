//! NumPy arrays, which are also written.
#![no_main]

use gatefold_models::numpy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tensor) = numpy::npy_from_bytes(bytes) {
        assert_eq!(numpy::npy_from_bytes(&numpy::npy_to_bytes(&tensor)).unwrap().shape(), tensor.shape());
    }
});
