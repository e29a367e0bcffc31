//! PyTorch's `.pt` and `.pth` files of state_dicts, as `torch.save` writes them since PyTorch 1.6.
//!
//! Such a file is a zip archive of a pickle and of the bytes of each storage. The pickle is read by a machine that
//! makes nothing but numbers, strings, containers and descriptions of tensors; see [`read`] for what it refuses.

mod globals;
mod machine;
mod opcodes;

use super::archive::{Archive, is_archive};
use super::read_file;
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::tensor::{ByteOrder, Dtype, Tensor};
use machine::{Object, Objects, TensorView, Value};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The tensors by their keys; those of dictionaries inside of dictionaries have their keys joined by `.`, as
    /// `model_state_dict.gru.weight_ih_l0`.
    pub tensors: BTreeMap<String, Tensor>,
    /// The keys of all else, such as an epoch, which is not given.
    pub others: Vec<String>,
}

/// Reads the file at `path`. No code of the file is run.
///
/// Refused by name are: every Python class and function other than `OrderedDict`, the storage types and those that
/// rebuild tensors and parameters, so that a pickled model is refused where its state_dict is read; files of
/// PyTorch before 1.6 and TorchScript archives; sparse and quantised tensors, tensors that repeat a value by a stride
/// of 0, and complex values.
///
/// # Errors
/// If it cannot be opened, is not such a file, or holds anything of the above.
pub fn read(path: impl AsRef<Path>) -> Result<Contents> {
    read_file(path.as_ref(), |bytes| from_bytes(&bytes))
}

/// Reads a file's bytes, as [`read`]. Takes time and memory in proportion to them.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<Contents> {
    if !is_archive(bytes) {
        return Err(match bytes.first() {
            Some(0x80) => Error::unsupported("", "the file format of PyTorch before 1.6, not a zip archive,"),
            _ => Error::malformed("", "a zip archive", "other bytes"),
        });
    }
    let mut file = StateDict::open(bytes)?;
    let pickle = file.archive.read(&format!("{}data.pkl", file.prefix), &mut file.budget)?;
    let (objects, root) = machine::run(&pickle, &mut file.budget).map_err(|error| error.within("data.pkl"))?;
    let mut contents = Contents::default();
    if !matches!(objects.get(&root), Some(Object::Dict(_))) {
        return Err(Error::malformed("data.pkl", "a dictionary of tensors", objects.describe(&root)));
    }
    file.collect(&objects, &root, String::new(), DEPTH, &mut contents)?;
    Ok(contents)
}

/// Dictionaries inside of dictionaries that are followed.
const DEPTH: usize = 8;

/// An opened file.
struct StateDict<'a> {
    archive: Archive<'a>,
    budget: Budget,
    /// The folder that all members are in, with its `/`.
    prefix: String,
    byte_order: ByteOrder,
    /// Storages that were read, flat.
    storages: HashMap<(String, Dtype), Tensor>,
}

impl<'a> StateDict<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let mut archive = Archive::open(bytes)?;
        let mut budget = Budget::of_file(bytes.len());
        let mut prefixes = archive.names().iter().filter_map(|name| name.strip_suffix("data.pkl"));
        let prefix = prefixes.find(|prefix| prefix.is_empty() || prefix.ends_with('/')).map(str::to_owned);
        let prefix = prefix.ok_or_else(|| Error::missing("zip directory", "member data.pkl"))?;
        if archive.contains(&format!("{prefix}constants.pkl")) {
            return Err(Error::unsupported("", "a TorchScript archive"));
        }
        let member = format!("{prefix}byteorder");
        let byte_order = if archive.contains(&member) {
            match &archive.read(&member, &mut budget)?[..] {
                b"little" => ByteOrder::Little,
                b"big" => ByteOrder::Big,
                other => return Err(Error::malformed(member, "little or big", String::from_utf8_lossy(other))),
            }
        } else {
            ByteOrder::Little
        };
        Ok(StateDict { archive, budget, prefix, byte_order, storages: HashMap::new() })
    }

    /// Puts what the dictionary `value` holds into `contents`, below `prefix`.
    fn collect(
        &mut self,
        objects: &Objects,
        value: &Value,
        prefix: String,
        depth: usize,
        contents: &mut Contents,
    ) -> Result<()> {
        let Some(Object::Dict(entries)) = objects.get(value) else { return Ok(()) };
        if depth == 0 {
            return Err(Error::unsupported(prefix, format_args!("a dictionary inside of {DEPTH} others")));
        }
        for (key, entry) in entries {
            let name = match key {
                Value::Text(text) => format!("{prefix}{text}"),
                Value::Int(number) => format!("{prefix}{number}"),
                _ => return Err(Error::malformed(prefix, "keys that are strings", objects.describe(key))),
            };
            // Dictionaries may hold one another many times over.
            self.budget.take(64 + name.len() as u64, &name)?;
            match objects.get(entry) {
                Some(Object::Tensor(view)) => {
                    let tensor = self.tensor(view).map_err(|error| error.within(&name))?;
                    if contents.tensors.insert(name.clone(), tensor).is_some() {
                        return Err(Error::malformed(name, "each name once", "it twice"));
                    }
                }
                Some(Object::Dict(_)) => self.collect(objects, entry, format!("{name}."), depth - 1, contents)?,
                _ => contents.others.push(name),
            }
        }
        Ok(())
    }

    fn tensor(&mut self, view: &TensorView) -> Result<Tensor> {
        let count = view.shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
        let Some(count) = count.filter(|&count| count <= view.storage.count) else {
            let what = format_args!("shape {:?} of a storage of {} values", view.shape, view.storage.count);
            return Err(Error::unsupported("shape", what));
        };
        self.budget.take(count as u64 * 8, "shape")?;
        self.storage(&view.storage)?.strided(view.shape.clone(), view.offset, &view.strides)
    }

    fn storage(&mut self, storage: &machine::Storage) -> Result<&Tensor> {
        let id = (storage.key.to_string(), storage.dtype);
        if !self.storages.contains_key(&id) {
            let member = format!("{}data/{}", self.prefix, storage.key);
            let bytes = self.archive.read(&member, &mut self.budget)?;
            self.budget.take(bytes.len() as u64 * 2, &member)?;
            let flat = Tensor::from_bytes(storage.dtype, vec![storage.count], &bytes, self.byte_order);
            self.storages.insert(id.clone(), flat.map_err(|error| error.within(member))?);
        }
        Ok(&self.storages[&id])
    }
}
