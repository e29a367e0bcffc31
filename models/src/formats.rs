//! One file or folder for each format, the only place that knows its crates.

#[cfg(feature = "keras")]
pub mod keras;
#[cfg(feature = "numpy")]
pub mod numpy;
#[cfg(feature = "onnx")]
pub mod onnx;
#[cfg(feature = "pytorch")]
pub mod pytorch;
#[cfg(feature = "safetensors")]
pub mod safetensors;

#[cfg(any(feature = "keras", feature = "numpy", feature = "pytorch"))]
mod archive;

use crate::error::{Error, ErrorKind, Result};
use std::path::Path;

/// The whole file, and what `parse` makes of it, errors naming the file.
fn read_file<T>(path: &Path, parse: impl FnOnce(Vec<u8>) -> Result<T>) -> Result<T> {
    let bytes = std::fs::read(path).map_err(|error| Error::new("", ErrorKind::Io(error)));
    bytes.and_then(parse).map_err(|error| error.within(path.display()))
}
fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Error::new(path.display(), ErrorKind::Io(error)))
}
