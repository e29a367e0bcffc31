//! Safetensors: named arrays behind a JSON header.

use super::{read_file, write_file};
use crate::error::{Error, Result};
use crate::tensor::{ByteOrder, Data, Dtype, Tensor};
use ::safetensors::tensor::TensorView;
use ::safetensors::{Dtype as Stored, SafeTensorError, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The arrays by their names.
    pub tensors: BTreeMap<String, Tensor>,
    /// The strings of the header's `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

/// Reads the file at `path`.
///
/// # Errors
/// If it cannot be opened, and those of [`from_bytes`].
pub fn read(path: impl AsRef<Path>) -> Result<Contents> {
    read_file(path.as_ref(), |bytes| from_bytes(&bytes))
}

/// Reads a file's bytes. Takes time and memory in proportion to them.
///
/// # Errors
/// If the header is not one, an array does not lie inside of the bytes, or its type is a float of 8 bits or fewer or
/// a complex number.
pub fn from_bytes(bytes: &[u8]) -> Result<Contents> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let read = |(name, view): (&str, TensorView<'_>)| {
        let dtype = dtype(view.dtype()).map_err(|error| error.within(name))?;
        let tensor = Tensor::from_bytes(dtype, view.shape().to_vec(), view.data(), ByteOrder::Little);
        tensor.map(|tensor| (name.to_owned(), tensor)).map_err(|error| error.within(name))
    };
    Ok(Contents { tensors: file.iter().map(read).collect::<Result<_>>()?, metadata })
}

/// Writes `tensors` by their names to a new file at `path`, f16 and bf16 as the f32 that they were widened to.
///
/// # Errors
/// If the file cannot be written.
pub fn write<'a>(path: impl AsRef<Path>, tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    write_file(path.as_ref(), &to_bytes(tensors).map_err(|error| error.within(path.as_ref().display()))?)
}

/// The bytes that [`write()`] writes.
///
/// # Errors
/// If a name is given twice.
pub fn to_bytes<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<u8>> {
    encode(tensors, BTreeMap::new())
}

/// The same, with strings in the header's `__metadata__`.
pub(crate) fn encode<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let tensors: Vec<_> =
        tensors.into_iter().map(|(name, tensor)| (name, tensor, tensor.data().to_le_bytes())).collect();
    let mut views = HashMap::new();
    for (name, tensor, data) in &tensors {
        let view = TensorView::new(stored(tensor.data()), tensor.shape().to_vec(), data).map_err(malformed)?;
        if views.insert(name, view).is_some() {
            return Err(Error::malformed("names", "names that differ", format_args!("{name} twice")));
        }
    }
    let metadata = (!metadata.is_empty()).then(|| metadata.into_iter().collect());
    ::safetensors::serialize(views, metadata).map_err(malformed)
}

fn dtype(stored: Stored) -> Result<Dtype> {
    Ok(match stored {
        Stored::BOOL => Dtype::Bool,
        Stored::U8 => Dtype::U8,
        Stored::I8 => Dtype::I8,
        Stored::I16 => Dtype::I16,
        Stored::U16 => Dtype::U16,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::Bf16,
        Stored::I32 => Dtype::I32,
        Stored::U32 => Dtype::U32,
        Stored::F32 => Dtype::F32,
        Stored::F64 => Dtype::F64,
        Stored::I64 => Dtype::I64,
        Stored::U64 => Dtype::U64,
        other => return Err(Error::unsupported("dtype", format_args!("{other:?}"))),
    })
}

fn stored(data: &Data) -> Stored {
    match data {
        Data::F32(_) => Stored::F32,
        Data::F64(_) => Stored::F64,
        Data::I8(_) => Stored::I8,
        Data::I16(_) => Stored::I16,
        Data::I32(_) => Stored::I32,
        Data::I64(_) => Stored::I64,
        Data::U8(_) => Stored::U8,
        Data::U16(_) => Stored::U16,
        Data::U32(_) => Stored::U32,
        Data::U64(_) => Stored::U64,
        Data::Bool(_) => Stored::BOOL,
    }
}

fn malformed(error: SafeTensorError) -> Error {
    Error::malformed("safetensors header", "a header that describes the file", error)
}
