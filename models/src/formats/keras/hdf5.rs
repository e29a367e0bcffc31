//! HDF5 files, the only place that knows their crate: a file becomes a tree of groups, string attributes and tensors.

use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::tensor::{ByteOrder, Dtype, MAX_RANK, Tensor};
use hdf5_pure::{AttrValue, Dataset, Datatype, DatatypeByteOrder, File, FloatingPointLayout, FormatError, Source};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// A group, and all that is in it.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Attributes that are strings; one that is a number without values is an empty list of strings, as h5py writes it.
    pub(super) attributes: BTreeMap<String, Vec<String>>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) datasets: BTreeMap<String, Tensor>,
}

/// Groups inside of one another that are followed. Links may go round in circles.
const DEPTH: usize = 24;

/// The root group.
///
/// The crate that reads the format is known to be sound on files that are, and is not trusted with others: should it
/// panic, this is an error like another. Nothing of it outlives the call.
pub(super) fn read(bytes: Vec<u8>, budget: &mut Budget) -> Result<Group> {
    if !hdf5_pure::is_hdf5_bytes(&bytes) {
        return Err(Error::malformed("", "an HDF5 file", "other bytes"));
    }
    let source = Counted { left: AtomicU64::new(Budget::granted(bytes.len())), bytes };
    let read = || {
        let file = File::from_source(source).map_err(|error| malformed("", &error))?;
        group(&file.root(), "", DEPTH, budget)
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(Error::malformed("", "an HDF5 file", "a damaged one")))
}

/// A file of which no more bytes are read than are granted: one string may be referred to many times over, or links
/// lead to one group again and again.
struct Counted {
    bytes: Vec<u8>,
    left: AtomicU64,
}

impl Source for Counted {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::result::Result<(), FormatError> {
        let count = buffer.len();
        let less = |left: u64| left.checked_sub(count as u64);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
            return Err(FormatError::Source("the same bytes are read too often".to_owned()));
        }
        let rest = usize::try_from(offset).ok().and_then(|offset| self.bytes.get(offset..));
        let Some(bytes) = rest.and_then(|rest| rest.get(..count)) else {
            let expected = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(count);
            return Err(FormatError::UnexpectedEof { expected, available: self.bytes.len() });
        };
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl Group {
    /// The group at `path` below this one.
    pub(super) fn group(&self, path: &str) -> Option<&Group> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(self, |group, name| group.groups.get(name))
    }

    /// Takes the dataset at `path` below this one out of its group.
    pub(super) fn take_dataset(&mut self, path: &str) -> Option<Tensor> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut names = folder.split('/').filter(|name| !name.is_empty());
        names.try_fold(self, |group, name| group.groups.get_mut(name))?.datasets.remove(name)
    }

    /// An attribute that is one string.
    pub(super) fn text(&self, attribute: &str) -> Option<&str> {
        match &self.attributes.get(attribute)?[..] {
            [text] => Some(text),
            _ => None,
        }
    }
}

fn malformed(place: &str, error: &hdf5_pure::Error) -> Error {
    Error::malformed(place, "an HDF5 file", error)
}

fn group(source: &hdf5_pure::Group, path: &str, depth: usize, budget: &mut Budget) -> Result<Group> {
    let depth = depth.checked_sub(1).ok_or_else(|| Error::unsupported(path, "a group so deep inside of others"))?;
    budget.take(size_of::<Group>() as u64 + path.len() as u64, path)?;
    let attributes = source.attrs().map_err(|error| malformed(path, &error))?;
    let mut read = Group { attributes: texts(attributes, path, budget)?, ..Group::default() };
    let datasets = source.iter_datasets().map_err(|error| malformed(path, &error))?;
    for (name, dataset) in datasets {
        let place = format!("{path}/{name}");
        let tensor = tensor(&dataset, &place, budget).map_err(|error| error.within(&place))?;
        read.datasets.insert(name, tensor);
    }
    let groups = source.iter_groups().map_err(|error| malformed(path, &error))?;
    for (name, inner) in groups {
        let inner = group(&inner, &format!("{path}/{name}"), depth, budget)?;
        read.groups.insert(name, inner);
    }
    Ok(read)
}

fn texts(
    attributes: HashMap<String, AttrValue>,
    place: &str,
    budget: &mut Budget,
) -> Result<BTreeMap<String, Vec<String>>> {
    let mut texts = BTreeMap::new();
    for (name, value) in attributes {
        let strings = match &value {
            AttrValue::F64Array(numbers) if numbers.is_empty() => &[],
            other => match other.as_strings() {
                Some(strings) => strings,
                None => continue,
            },
        };
        let size = strings.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        budget.take((size + name.len()) as u64, place)?;
        texts.insert(name, strings.to_vec());
    }
    Ok(texts)
}

fn tensor(dataset: &Dataset, place: &str, budget: &mut Budget) -> Result<Tensor> {
    let failed = |error: hdf5_pure::Error| malformed("", &error);
    let shape = dataset.shape().map_err(failed)?;
    let size = |&size: &u64| usize::try_from(size).ok();
    let shape: Option<Vec<usize>> = shape.iter().map(size).collect();
    let shape = shape.filter(|shape| shape.len() <= MAX_RANK);
    let shape = shape.ok_or_else(|| Error::malformed("shape", "sizes that can be addressed", "larger ones"))?;
    let (dtype, order) = dtype(dataset)?;
    // Neither the data nor a chunk of it is to be larger than what is granted.
    let bytes = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(dtype.size() as u64, u64::saturating_mul);
    budget.take(bytes(&mut shape.iter().map(|&size| size as u64)).saturating_mul(3), place)?;
    if let Some(chunk) = dataset.chunk_shape().map_err(failed)? {
        budget.take(bytes(&mut chunk.into_iter()), place)?;
    }
    let data = dataset.read_raw().map_err(failed)?;
    Tensor::from_bytes(dtype, shape, &data, order)
}

/// The element type. Keras stores bf16 as two opaque bytes with the name in an attribute.
fn dtype(dataset: &Dataset) -> Result<(Dtype, ByteOrder)> {
    let datatype = dataset.datatype().map_err(|error| malformed("dtype", &error))?;
    let unsupported = || Error::unsupported("dtype", format_args!("{datatype:?}"));
    let (dtype, order) = match &datatype {
        Datatype::FixedPoint { size, byte_order, layout } => {
            if layout.bit_offset != 0 || u32::from(layout.bit_precision) != size * 8 {
                return Err(unsupported());
            }
            let dtype = match (size, layout.signed) {
                (1, true) => Dtype::I8,
                (2, true) => Dtype::I16,
                (4, true) => Dtype::I32,
                (8, true) => Dtype::I64,
                (1, false) => Dtype::U8,
                (2, false) => Dtype::U16,
                (4, false) => Dtype::U32,
                (8, false) => Dtype::U64,
                _ => return Err(unsupported()),
            };
            (dtype, byte_order)
        }
        Datatype::FloatingPoint { size, byte_order, layout } => {
            let dtype = match (size, layout) {
                (4, &FloatingPointLayout::IEEE754_BINARY32) => Dtype::F32,
                (8, &FloatingPointLayout::IEEE754_BINARY64) => Dtype::F64,
                (2, &BINARY16) => Dtype::F16,
                (2, &BFLOAT16) => Dtype::Bf16,
                _ => return Err(unsupported()),
            };
            (dtype, byte_order)
        }
        Datatype::Opaque { size: 2, .. } => {
            let attributes = dataset.attrs().map_err(|error| malformed("dtype", &error))?;
            return match attributes.get("dtype").and_then(AttrValue::as_str) {
                Some("bfloat16") => Ok((Dtype::Bf16, ByteOrder::Little)),
                _ => Err(Error::unsupported("dtype", "two bytes of no stated type")),
            };
        }
        _ => return Err(unsupported()),
    };
    match order {
        DatatypeByteOrder::LittleEndian => Ok((dtype, ByteOrder::Little)),
        DatatypeByteOrder::BigEndian => Ok((dtype, ByteOrder::Big)),
        DatatypeByteOrder::Vax => Err(unsupported()),
    }
}

const BINARY16: FloatingPointLayout = FloatingPointLayout {
    bit_offset: 0,
    bit_precision: 16,
    exponent_location: 10,
    exponent_size: 5,
    mantissa_location: 0,
    mantissa_size: 10,
    exponent_bias: 15,
};

const BFLOAT16: FloatingPointLayout = FloatingPointLayout {
    bit_offset: 0,
    bit_precision: 16,
    exponent_location: 7,
    exponent_size: 8,
    mantissa_location: 0,
    mantissa_size: 7,
    exponent_bias: 127,
};
