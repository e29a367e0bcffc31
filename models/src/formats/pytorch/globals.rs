//! The Python classes and functions that a pickle may name: what they make here, none of it by running anything.

use super::machine::{Object, Objects, Storage, TensorView, Value};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::tensor::{Dtype, MAX_RANK};
use std::rc::Rc;

/// An allowed class or function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    /// The one of this name, if it is allowed.
    pub(super) fn named(module: &str, name: &str) -> Result<Self> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") | ("torch.nn.parameter", "Parameter") => Global::RebuildParameter,
            ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Global::Storage(Dtype::Bf16),
            ("torch", "LongStorage") => Global::Storage(Dtype::I64),
            ("torch", "IntStorage") => Global::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Global::Storage(Dtype::I16),
            ("torch", "CharStorage") => Global::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Global::Storage(Dtype::Bool),
            _ => return Err(Error::unsupported("", format_args!("the Python object {module}.{name}"))),
        })
    }

    /// What calling it with `arguments` makes.
    pub(super) fn call(self, arguments: &[Value], objects: &mut Objects, budget: &mut Budget) -> Result<Value> {
        match (self, arguments) {
            (Global::OrderedDict, []) => objects.add(Object::Dict(Vec::new()), budget),
            (Global::RebuildTensor, [storage, offset, shape, strides, _requires_grad, _hooks, rest @ ..]) => {
                check_metadata(rest, objects)?;
                let view = tensor_view(storage, offset, shape, strides, objects)?;
                objects.add(Object::Tensor(Box::new(view)), budget)
            }
            // A parameter is its tensor; what follows says how to train it.
            (Global::RebuildParameter, [tensor, _requires_grad] | [tensor, _requires_grad, _])
                if matches!(objects.get(tensor), Some(Object::Tensor(_))) =>
            {
                Ok(tensor.clone())
            }
            _ => {
                let found = format_args!("{} others", arguments.len());
                Err(Error::malformed(format_args!("{self:?}"), "its arguments", found))
            }
        }
    }
}

/// The seventh argument would change values, as by a conjugate bit.
fn check_metadata(rest: &[Value], objects: &Objects) -> Result<()> {
    match rest {
        [] | [Value::None] => Ok(()),
        [metadata] if matches!(objects.get(metadata), Some(Object::Dict(entries)) if entries.is_empty()) => Ok(()),
        _ => Err(Error::unsupported("", "the metadata of a tensor")),
    }
}

fn tensor_view(
    storage: &Value,
    offset: &Value,
    shape: &Value,
    strides: &Value,
    objects: &Objects,
) -> Result<TensorView> {
    let wrong = |field, value| Error::malformed(field, "one of a tensor", objects.describe(value));
    let Some(Object::Storage(storage)) = objects.get(storage) else { return Err(wrong("storage", storage)) };
    let size = |value: &Value| match value {
        Value::Int(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    let stride = |value: &Value| size(value).and_then(|stride| isize::try_from(stride).ok());
    let sizes = |value| objects.tuple(value).filter(|sizes| sizes.len() <= MAX_RANK);
    let shapes = sizes(shape).ok_or_else(|| wrong("shape", shape))?;
    let steps = sizes(strides).ok_or_else(|| wrong("strides", strides))?;
    Ok(TensorView {
        storage: Storage::clone(storage),
        offset: size(offset).ok_or_else(|| wrong("offset", offset))?,
        shape: shapes.iter().map(size).collect::<Option<_>>().ok_or_else(|| wrong("shape", shape))?,
        strides: steps.iter().map(stride).collect::<Option<_>>().ok_or_else(|| wrong("strides", strides))?,
    })
}

/// The storage that a persistent id describes: `("storage", type, key, location, count)`.
pub(super) fn storage(id: &Value, objects: &Objects) -> Result<Storage> {
    match objects.tuple(id) {
        Some([Value::Text(tag), Value::Global(Global::Storage(dtype)), Value::Text(key), _, Value::Int(count)])
            if &**tag == "storage" =>
        {
            let size = usize::try_from(*count);
            let count = size.map_err(|_| Error::malformed("storage", "a number of values", count))?;
            Ok(Storage { dtype: *dtype, key: Rc::clone(key), count })
        }
        _ => Err(Error::malformed("persistent id", "that of a storage", objects.describe(id))),
    }
}
