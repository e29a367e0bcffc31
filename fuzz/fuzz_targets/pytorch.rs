//! State_dicts: whole files, and pickles in a file whose storages are of 64 bytes.
#![no_main]

mod archive;

use gatefold_models::pytorch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"PK") {
        let _ = pytorch::from_bytes(bytes);
    } else {
        let storage = &[0x3c; 64];
        let file = archive::of(&[("a/data.pkl", bytes), ("a/data/0", storage), ("a/data/1", storage)]);
        let _ = pytorch::from_bytes(&file);
    }
});
