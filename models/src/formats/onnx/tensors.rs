//! Tensors of the file: their bytes stand in it, in typed fields, or in other files of the model's folder.

use super::wire::{Fields, Span, Value};
use super::{Model, StoredTensor};
use crate::budget::Budget;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{ByteOrder, Dtype, MAX_RANK, Tensor, element_count};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Other files that were read: each adds once to what may be allocated.
pub(super) type Granted = HashSet<PathBuf>;

/// A tensor's description.
#[derive(Debug, Default)]
struct Description {
    name: String,
    shape: Vec<usize>,
    data_type: i64,
    raw: Option<Span>,
    /// Values of typed fields, as the bytes that `raw` would have.
    typed: Vec<u8>,
    external: bool,
    location: Vec<(String, String)>,
}

/// The tensor that `stored` describes.
pub(super) fn tensor(
    model: &Model,
    stored: &StoredTensor,
    budget: &mut Budget,
    granted: &mut Granted,
) -> Result<Tensor> {
    let description = describe(&model.bytes, stored.0.clone(), budget)?;
    let name = description.name.clone();
    read(model, description, budget, granted).map_err(|error| error.within(format_args!("tensor {name:?}")))
}

fn read(model: &Model, description: Description, budget: &mut Budget, granted: &mut Granted) -> Result<Tensor> {
    let dtype = dtype(description.data_type)?;
    let bytes = element_count(&description.shape).and_then(|count| count.checked_mul(dtype.size()));
    let bytes = bytes.ok_or_else(|| {
        Error::malformed("dims", "sizes that can be addressed", format_args!("{:?}", description.shape))
    })?;
    if description.external {
        let data = external(model.folder.as_deref(), &description.location, bytes, budget, granted)?;
        return Tensor::from_bytes(dtype, description.shape, &data, ByteOrder::Little);
    }
    let data = match &description.raw {
        Some(raw) if description.typed.is_empty() => &model.bytes[raw.clone()],
        Some(_) => return Err(Error::malformed("data", "raw or typed values", "both")),
        None => &description.typed,
    };
    budget.take(data.len() as u64 * 2, "data")?;
    Tensor::from_bytes(dtype, description.shape, data, ByteOrder::Little)
}

fn describe(file: &[u8], span: Span, budget: &mut Budget) -> Result<Description> {
    let mut tensor = Description::default();
    // Typed values are converted once the type is known, which may stand behind them.
    for field in Fields::new(file, span.clone()) {
        match field? {
            (1, value) => value.each_int(file, |size| add_size(&mut tensor.shape, size))?,
            (2, value) => tensor.data_type = value.int()?,
            (3, _) => return Err(Error::unsupported("tensor", "a segment")),
            (8, value) => tensor.name = value.text(file)?,
            (9, value) => tensor.raw = Some(value.span()?),
            (13, value) => tensor.location.push(entry(file, value.span()?, budget)?),
            (14, value) => tensor.external = value.int()? == 1,
            _ => {}
        }
    }
    let Ok(dtype) = dtype(tensor.data_type) else { return Ok(tensor) };
    let raw = tensor.raw.as_ref().map_or(0, |raw| raw.len());
    budget.take((span.len() - raw) as u64 * 8, "typed data")?;
    for field in Fields::new(file, span) {
        let (number, value) = field?;
        append_typed(file, number, value, dtype, &mut tensor.typed)?;
    }
    Ok(tensor)
}

fn add_size(shape: &mut Vec<usize>, size: u64) -> Result<()> {
    match usize::try_from(size as i64) {
        Ok(size) if shape.len() < MAX_RANK => shape.push(size),
        _ => return Err(Error::malformed("dims", format_args!("up to {MAX_RANK} sizes"), size as i64)),
    }
    Ok(())
}

fn entry(file: &[u8], span: Span, budget: &mut Budget) -> Result<(String, String)> {
    budget.take(size_of::<(String, String)>() as u64, "external_data")?;
    let mut entry = (String::new(), String::new());
    for field in Fields::new(file, span) {
        match field? {
            (1, value) => entry.0 = value.text(file)?,
            (2, value) => entry.1 = value.text(file)?,
            _ => {}
        }
    }
    Ok(entry)
}

/// Appends the values of a typed field, which must be the one for `dtype`.
fn append_typed(file: &[u8], number: u64, value: Value, dtype: Dtype, to: &mut Vec<u8>) -> Result<()> {
    let narrow = [Dtype::I32, Dtype::I16, Dtype::I8, Dtype::U16, Dtype::U8, Dtype::Bool, Dtype::F16, Dtype::Bf16];
    match number {
        4 if dtype == Dtype::F32 => value.append_fixed::<4>(file, to),
        10 if dtype == Dtype::F64 => value.append_fixed::<8>(file, to),
        5 if narrow.contains(&dtype) => append_ints(file, value, dtype, to),
        7 if dtype == Dtype::I64 => append_ints(file, value, dtype, to),
        11 if [Dtype::U32, Dtype::U64].contains(&dtype) => append_ints(file, value, dtype, to),
        4..=7 | 10 | 11 => {
            Err(Error::malformed("data", format_args!("the field of {dtype}"), format_args!("field {number}")))
        }
        _ => Ok(()),
    }
}

/// Appends the low bytes of each integer, which must not lose any of its value by that.
fn append_ints(file: &[u8], value: Value, dtype: Dtype, to: &mut Vec<u8>) -> Result<()> {
    let bits = dtype.size() as u32 * 8;
    let signed = [Dtype::I8, Dtype::I16, Dtype::I32, Dtype::I64].contains(&dtype);
    value.each_int(file, |value| {
        let kept = if signed {
            ((value as i64) << (64 - bits) >> (64 - bits)) as u64
        } else {
            value << (64 - bits) >> (64 - bits)
        };
        if kept != value {
            return Err(Error::malformed("data", format_args!("values of {dtype}"), value as i64));
        }
        to.extend_from_slice(&value.to_le_bytes()[..dtype.size()]);
        Ok(())
    })
}

/// The `len` bytes that `location` describes, of a file inside of `folder`.
fn external(
    folder: Option<&Path>,
    location: &[(String, String)],
    len: usize,
    budget: &mut Budget,
    granted: &mut Granted,
) -> Result<Vec<u8>> {
    let (mut path, mut offset, mut stated) = (None, 0, len as u64);
    for (key, value) in location {
        let number = || value.parse().map_err(|_| Error::malformed(key, "a number", format_args!("{value:?}")));
        match key.as_str() {
            "location" => path = Some(value),
            "offset" => offset = number()?,
            "length" => stated = number()?,
            // What the bytes hash to; nothing here depends on it.
            "checksum" => {}
            _ => return Err(Error::unsupported("external_data", format_args!("{key:?}"))),
        }
    }
    if stated != len as u64 {
        return Err(Error::malformed("external_data: length", len, stated));
    }
    let path = path.ok_or_else(|| Error::missing("external_data", "location"))?;
    let folder =
        folder.ok_or_else(|| Error::unsupported("external_data", "a file beside a model that has no folder"))?;
    let path = inside(folder, path)?;
    let io = |error: io::Error| Error::new(path.display(), ErrorKind::Io(error));
    let mut file = File::open(&path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let size = metadata.len();
    if !metadata.is_file() || offset.checked_add(stated).is_none_or(|end| end > size) {
        let expected = format_args!("{stated} bytes from byte {offset} on");
        return Err(Error::malformed(path.display(), expected, format_args!("{size} bytes")));
    }
    if granted.insert(path.clone()) {
        budget.grant(size);
    }
    budget.take(stated.saturating_mul(3), "external_data")?;
    let mut data = vec![0; len];
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut data)).map_err(io)?;
    Ok(data)
}

/// The file `location` of `folder`, which must lie inside of it however links go.
fn inside(folder: &Path, location: &str) -> Result<PathBuf> {
    let outside = || {
        Error::malformed("external_data: location", "a file inside of the model's folder", format_args!("{location:?}"))
    };
    let location_path = Path::new(location);
    let plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || location.contains('\\') || !location_path.components().all(plain) {
        return Err(outside());
    }
    let io = |path: &Path, error| Error::new(path.display(), ErrorKind::Io(error));
    let real_folder = folder.canonicalize().map_err(|error| io(folder, error))?;
    let joined = real_folder.join(location_path);
    let real = joined.canonicalize().map_err(|error| io(&joined, error))?;
    if real.starts_with(&real_folder) { Ok(real) } else { Err(outside()) }
}

/// The element type of this number in `TensorProto.DataType`.
pub(super) fn dtype(data_type: i64) -> Result<Dtype> {
    Ok(match data_type {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        16 => Dtype::Bf16,
        other => return Err(Error::unsupported("data_type", type_name(other))),
    })
}

/// The names of the element types that [`Dtype`] lacks, and of the numbers that are none.
fn type_name(data_type: i64) -> String {
    let names = [(8, "STRING"), (14, "COMPLEX64"), (15, "COMPLEX128"), (17, "FLOAT8E4M3FN"), (18, "FLOAT8E4M3FNUZ")];
    let more = [(19, "FLOAT8E5M2"), (20, "FLOAT8E5M2FNUZ"), (21, "UINT4"), (22, "INT4"), (23, "FLOAT4E2M1")];
    let name = names.iter().chain(&more).find(|(number, _)| *number == data_type);
    name.map_or_else(|| format!("element type {data_type}"), |(_, name)| (*name).to_owned())
}
