//! NumPy's `.npy`, one array, and `.npz`, a zip archive of such.
//!
//! The header is a Python dictionary of three known keys. It is read by hand: the crates for it reckon with unchecked
//! sizes, and bring a general parser of Python literals that a header never needs.

mod header;

use super::archive::Archive;
use super::{read_file, write_file};
use crate::budget::Budget;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Tensor, element_count};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Reads the array of the `.npy` file at `path`.
///
/// # Errors
/// If it cannot be opened, and those of [`npy_from_bytes`].
pub fn read_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    read_file(path.as_ref(), |bytes| npy_from_bytes(&bytes))
}

/// Reads a `.npy` file's bytes, of format 1, 2 or 3, of either byte order, in C or Fortran order.
///
/// # Errors
/// If it is no such file, has not as many bytes as its shape asks for, or holds records, objects, strings, times,
/// complex numbers or floats of other sizes than 2, 4 and 8 bytes.
pub fn npy_from_bytes(bytes: &[u8]) -> Result<Tensor> {
    let (header, data) = header::parse(bytes)?;
    let count = element_count(&header.shape).and_then(|count| count.checked_mul(header.dtype.size()));
    let Some(data) = count.and_then(|count| data.get(..count)) else {
        let expected = format_args!("the bytes of {} values of shape {:?}", header.dtype, header.shape);
        return Err(Error::malformed("data", expected, format_args!("{} bytes", data.len())));
    };
    if !header.fortran_order {
        return Tensor::from_bytes(header.dtype, header.shape, data, header.byte_order);
    }
    let reversed: Vec<usize> = header.shape.iter().rev().copied().collect();
    let axes: Vec<usize> = (0..reversed.len()).rev().collect();
    Tensor::from_bytes(header.dtype, reversed, data, header.byte_order)?.transposed(&axes)
}

/// Reads the arrays of the `.npz` file at `path` by their names, which are those of the members without `.npy`.
///
/// # Errors
/// If it cannot be opened, and those of [`npz_from_bytes`].
pub fn read_npz(path: impl AsRef<Path>) -> Result<BTreeMap<String, Tensor>> {
    read_file(path.as_ref(), |bytes| npz_from_bytes(&bytes))
}

/// Reads a `.npz` file's bytes, compressed or not.
///
/// # Errors
/// If it is no zip archive, a member is no `.npy` file, or one claims over 64 times the bytes of the whole file.
pub fn npz_from_bytes(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let (mut archive, mut budget) = (Archive::open(bytes)?, Budget::of_file(bytes.len()));
    let mut tensors = BTreeMap::new();
    for member in archive.names().to_vec() {
        let Some(name) = member.strip_suffix(".npy") else {
            return Err(Error::unsupported("zip directory", format_args!("member {member}, which is no .npy file,")));
        };
        let tensor = npy_from_bytes(&archive.read(&member, &mut budget)?).map_err(|error| error.within(name))?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// Writes `tensor` to a new `.npy` file at `path`, f16 and bf16 as the f32 that they were widened to.
///
/// # Errors
/// If the file cannot be written.
pub fn write_npy(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    write_file(path.as_ref(), &npy_to_bytes(tensor))
}

/// The bytes that [`write_npy`] writes: format 1, C order.
pub fn npy_to_bytes(tensor: &Tensor) -> Vec<u8> {
    [header::written(tensor.data().dtype(), tensor.shape()), tensor.data().to_le_bytes()].concat()
}

/// Writes `tensors` by their names to a new `.npz` file at `path`, as [`write_npy`] does, not compressed.
///
/// # Errors
/// If the file cannot be written or a name is given twice.
pub fn write_npz<'a>(path: impl AsRef<Path>, tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    write_file(path.as_ref(), &npz_to_bytes(tensors).map_err(|error| error.within(path.as_ref().display()))?)
}

/// The bytes that [`write_npz`] writes.
///
/// # Errors
/// If a name is given twice.
pub fn npz_to_bytes<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        let bytes = npy_to_bytes(tensor);
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let options = options.large_file(bytes.len() as u64 >= u64::from(u32::MAX));
        let started = zip.start_file(format!("{name}.npy"), options);
        started.map_err(|error| Error::malformed("names", "a new name", format_args!("{name}: {error}")))?;
        zip.write_all(&bytes).map_err(|error| Error::new(name, ErrorKind::Io(error)))?;
    }
    let finished = zip.finish().map_err(|error| Error::new("zip directory", ErrorKind::Io(error.into())))?;
    Ok(finished.into_inner())
}
