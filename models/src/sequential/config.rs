//! The arguments of a layer: each is read, known to be without effect, or refused.

use crate::error::{Error, Result};
use serde_json::{Map, Value as Json};
use std::cell::RefCell;

/// The arguments that a layer was made with.
#[derive(Debug)]
pub(super) struct Config<'a> {
    arguments: &'a Map<String, Json>,
    /// Those that were asked for.
    read: RefCell<Vec<&'a str>>,
}

/// Arguments that do not change what a trained layer gives.
const WITHOUT_EFFECT: &[&str] = &[
    "name",
    "trainable",
    "batch_input_shape",
    "batch_shape",
    "batch_size",
    "input_shape",
    "input_dtype",
    "input_length",
    "dropout",
    "recurrent_dropout",
    "rate",
    "stddev",
    "noise_shape",
    "seed",
    "implementation",
    "unroll",
    "unit_forget_bias",
    "use_cudnn",
    "momentum",
    "renorm_momentum",
    "synchronized",
    "fused",
    "l1",
    "l2",
    "build_config",
];

const WITHOUT_EFFECT_ENDINGS: &[&str] = &["_initializer", "_regularizer", "_constraint"];

/// Types that weights are stored and layers computed in.
const FLOATS: &[&str] = &["float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"];

impl<'a> Config<'a> {
    pub(super) fn new(config: &'a Json) -> Result<Self> {
        let arguments = config.as_object().ok_or_else(|| Error::malformed("config", "an object", "another value"))?;
        Ok(Config { arguments, read: RefCell::default() })
    }

    /// The argument `key`, if it is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Json> {
        let (key, value) = self.arguments.get_key_value(key)?;
        self.read.borrow_mut().push(key);
        Some(value).filter(|value| !value.is_null())
    }

    pub(super) fn required(&self, key: &str) -> Result<&'a Json> {
        self.get(key).ok_or_else(|| Error::missing("config", key))
    }

    pub(super) fn boolean(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Json::Bool(value)) => Ok(*value),
            Some(other) => Err(Error::malformed(key, "true or false", other)),
        }
    }

    pub(super) fn size(&self, key: &str) -> Result<usize> {
        size(key, self.required(key)?)
    }

    pub(super) fn number(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            // Keras 3 writes scalars of NumPy as objects.
            Some(value) => {
                let number = value.as_f64().or_else(|| value.get("config")?.get("value")?.as_f64());
                number.ok_or_else(|| Error::malformed(key, "a number", value))
            }
        }
    }

    pub(super) fn text(&self, key: &str, default: &'a str) -> Result<&'a str> {
        match self.get(key) {
            None => Ok(default),
            Some(Json::String(text)) => Ok(text),
            Some(other) => Err(Error::malformed(key, "a string", other)),
        }
    }

    /// A size, or a list of one size; `default` if it is not there.
    pub(super) fn one_size(&self, key: &str, default: usize) -> Result<usize> {
        match self.get(key) {
            None => Ok(default),
            Some(Json::Array(values)) if values.len() == 1 => size(key, &values[0]),
            Some(value) => size(key, value),
        }
    }

    /// Refuses an argument that is not `expected`, if it is there.
    pub(super) fn only(&self, key: &str, expected: &str) -> Result<()> {
        match self.get(key) {
            None => Ok(()),
            Some(Json::String(text)) if text == expected => Ok(()),
            Some(Json::Bool(value)) if value.to_string() == expected => Ok(()),
            Some(Json::Number(value)) if value.to_string() == expected => Ok(()),
            Some(other) => Err(Error::unsupported("config", format_args!("{key} = {other}"))),
        }
    }

    /// Refuses arguments that were not read, but for those without effect and those that are null.
    pub(super) fn finish(self) -> Result<()> {
        self.check_dtype()?;
        let read = self.read.into_inner();
        let harmless =
            |key: &str| WITHOUT_EFFECT.contains(&key) || WITHOUT_EFFECT_ENDINGS.iter().any(|end| key.ends_with(end));
        let unknown = self
            .arguments
            .iter()
            .find(|(key, value)| !value.is_null() && !read.contains(&key.as_str()) && !harmless(key));
        match unknown {
            Some((key, value)) => Err(Error::unsupported("config", format_args!("{key} = {value}"))),
            None => Ok(()),
        }
    }

    /// Layers that are quantised store other weights.
    fn check_dtype(&self) -> Result<()> {
        let Some(dtype) = self.get("dtype") else { return Ok(()) };
        let name = match dtype.get("class_name").and_then(Json::as_str) {
            Some("DTypePolicy" | "Policy") => dtype.get("config").and_then(|config| config.get("name")),
            Some(_) => None,
            None => Some(dtype),
        };
        match name.and_then(Json::as_str) {
            Some(name) if FLOATS.contains(&name) => Ok(()),
            _ => Err(Error::unsupported("config", format_args!("dtype = {dtype}"))),
        }
    }
}

fn size(key: &str, value: &Json) -> Result<usize> {
    let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| Error::malformed(key, "a size", value))
}
