//! Which format a file is of, and what it holds.

use super::{Format, Listing, LoadOptions, Loaded};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::recurrent::Recurrent;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The containers that formats are in, told by their first bytes.
pub(super) fn read<T: Element>(path: &Path, bytes: Vec<u8>, options: &LoadOptions) -> Result<Loaded<T>> {
    if bytes.starts_with(b"PK\x03\x04") {
        // Names of members stand in the archive as they are.
        return match () {
            () if holds(&bytes, b"data.pkl") => pytorch(&bytes, options),
            () if holds(&bytes, b"config.json") => keras(bytes, options),
            () => numpy(&bytes, options),
        };
    }
    let is_onnx = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    match bytes.get(..9) {
        _ if is_onnx => onnx(path, bytes, options),
        Some([0x89, b'H', b'D', b'F', ..]) => keras(bytes, options),
        Some([0x93, b'N', b'U', b'M', b'P', b'Y', ..]) => Err(Error::unsupported("", "one array, which is no model,")),
        Some([.., b'{']) => safetensors(&bytes, options),
        // The protocol of a pickle: PyTorch before 1.6.
        Some([0x80, ..]) => pytorch(&bytes, options),
        // The first field of an ONNX model is its version.
        Some([0x08, ..]) => onnx(path, bytes, options),
        _ => {
            let expected = "a Keras, PyTorch, safetensors, NumPy or ONNX file";
            Err(Error::malformed("", expected, "bytes of no such format"))
        }
    }
}

fn holds(bytes: &[u8], name: &[u8]) -> bool {
    bytes.windows(name.len()).any(|window| window == name)
}

#[allow(dead_code, reason = "only where a format is left out")]
fn left_out<T>(feature: &str) -> Result<Loaded<T>> {
    Err(Error::unsupported("", format_args!("this format without the feature {feature:?}")))
}

/// What was found, those that cannot be run apart.
#[allow(dead_code, reason = "only with a format")]
fn sorted<T>(format: Format, found: Vec<Result<Recurrent<T>>>, arrays: Vec<Listing>) -> Loaded<T> {
    let (mut recurrent, mut refused) = (Vec::new(), Vec::new());
    for layer in found {
        match layer {
            Ok(layer) => recurrent.push(Arc::new(layer)),
            Err(error) => refused.push(error),
        }
    }
    Loaded {
        format,
        recurrent,
        refused,
        arrays,
        #[cfg(feature = "keras")]
        whole: None,
    }
}

#[allow(dead_code, reason = "only with a format of named arrays")]
fn listing(tensors: &BTreeMap<String, Tensor>) -> Vec<Listing> {
    let one = |(name, tensor): (&String, &Tensor)| Listing::of(name.clone(), tensor);
    tensors.iter().map(one).collect()
}

impl Listing {
    pub(crate) fn of(name: String, tensor: &Tensor) -> Self {
        Listing { name, shape: tensor.shape().to_vec(), dtype: tensor.dtype() }
    }
}

#[cfg(feature = "pytorch")]
fn pytorch<T: Element>(bytes: &[u8], options: &LoadOptions) -> Result<Loaded<T>> {
    let tensors = crate::pytorch::from_bytes(bytes)?.tensors;
    Ok(sorted(Format::PyTorch, crate::modules::find(&tensors, options), listing(&tensors)))
}

#[cfg(feature = "safetensors")]
fn safetensors<T: Element>(bytes: &[u8], options: &LoadOptions) -> Result<Loaded<T>> {
    let tensors = crate::safetensors::from_bytes(bytes)?.tensors;
    Ok(sorted(Format::Safetensors, crate::modules::find(&tensors, options), listing(&tensors)))
}

#[cfg(feature = "numpy")]
fn numpy<T: Element>(bytes: &[u8], options: &LoadOptions) -> Result<Loaded<T>> {
    let tensors = crate::numpy::npz_from_bytes(bytes)?;
    let mut found = crate::modules::find(&tensors, options);
    found.extend(crate::keras_arrays::find(&tensors, options.layers));
    Ok(sorted(Format::Numpy, found, listing(&tensors)))
}

#[cfg(feature = "onnx")]
fn onnx<T: Element>(path: &Path, bytes: Vec<u8>, options: &LoadOptions) -> Result<Loaded<T>> {
    let model = crate::onnx::from_bytes(bytes, path.parent())?;
    Ok(sorted(Format::Onnx, crate::nodes::find(&model, options.layers), Vec::new()))
}

#[cfg(feature = "keras")]
fn keras<T: Element>(bytes: Vec<u8>, options: &LoadOptions) -> Result<Loaded<T>> {
    use crate::error::ErrorKind;
    use crate::sequential::{Model, recurrent_layers};
    let description = match crate::keras::from_bytes(bytes.clone()) {
        Ok(description) => description,
        Err(why) => {
            // A file of weights alone is one without the attribute; a model that the reader refuses still has weights.
            let alone = matches!(why.kind(), ErrorKind::Missing { what } if what.contains("model_config"));
            let Ok(groups) = crate::keras::weights_from_bytes(bytes) else { return Err(why) };
            let array = |group: &crate::keras::WeightGroup, (path, tensor): &(String, Tensor)| {
                Listing::of(format!("{}/{path}", group.path), tensor)
            };
            let arrays =
                groups.iter().flat_map(|group| group.weights.iter().map(|weight| array(group, weight))).collect();
            let format = if alone { Format::KerasWeights } else { Format::Keras };
            let whole = match alone {
                true => {
                    let what = "weights without the model's configuration: how layers are connected and which activations they have is not in this file, so that running it";
                    Error::unsupported("", what)
                }
                false => why,
            };
            return Ok(Loaded { format, recurrent: Vec::new(), refused: Vec::new(), arrays, whole: Some(Err(whole)) });
        }
    };
    let whole = Model::of(&description, options.layers);
    // A layer is packed once: those of the model are the ones that are given alone.
    match whole {
        Ok(model) => {
            let recurrent = model.recurrent().to_vec();
            Ok(Loaded {
                format: Format::Keras,
                recurrent,
                refused: Vec::new(),
                arrays: Vec::new(),
                whole: Some(Ok(model)),
            })
        }
        Err(why) => {
            let found = recurrent_layers(&description, options.layers);
            Ok(Loaded { whole: Some(Err(why)), ..sorted(Format::Keras, found, Vec::new()) })
        }
    }
}

#[cfg(not(feature = "pytorch"))]
fn pytorch<T>(_: &[u8], _: &LoadOptions) -> Result<Loaded<T>> {
    left_out("pytorch")
}

#[cfg(not(feature = "safetensors"))]
fn safetensors<T>(_: &[u8], _: &LoadOptions) -> Result<Loaded<T>> {
    left_out("safetensors")
}

#[cfg(not(feature = "numpy"))]
fn numpy<T>(_: &[u8], _: &LoadOptions) -> Result<Loaded<T>> {
    left_out("numpy")
}

#[cfg(not(feature = "onnx"))]
fn onnx<T>(_: &Path, _: Vec<u8>, _: &LoadOptions) -> Result<Loaded<T>> {
    left_out("onnx")
}

#[cfg(not(feature = "keras"))]
fn keras<T>(_: Vec<u8>, _: &LoadOptions) -> Result<Loaded<T>> {
    left_out("keras")
}
