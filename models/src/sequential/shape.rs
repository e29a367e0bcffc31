//! Layers that change the shape alone.

use super::config::Config;
use super::step::Step;
use super::value::Value;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::tensor::element_count;
use serde_json::Value as Json;

/// Keras' `InputLayer`: the shape that the model was made for.
#[derive(Debug)]
pub(super) struct InputLayer {
    /// Sizes that are known.
    shape: Option<Vec<Option<usize>>>,
}

impl InputLayer {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        for key in ["sparse", "ragged"] {
            config.only(key, "false")?;
        }
        let shape = config.get("batch_shape").or_else(|| config.get("batch_input_shape"));
        let size = |size: &Json| size.as_u64().and_then(|size| usize::try_from(size).ok());
        Ok(InputLayer { shape: shape.and_then(Json::as_array).map(|sizes| sizes.iter().map(size).collect()) })
    }
}

impl<T: Element> Step<T> for InputLayer {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        let Some(shape) = &self.shape else { return Ok(x) };
        // Keras takes batches of any size, as long as no layer is stateful.
        let fits = shape.len() == x.shape.len()
            && shape.iter().zip(&x.shape).skip(1).all(|(own, size)| own.is_none_or(|own| own == *size));
        if fits {
            return Ok(x);
        }
        let sizes: Vec<String> =
            shape.iter().map(|size| size.map_or("any".to_owned(), |size| size.to_string())).collect();
        Err(x.wrong(format_args!("[{}]", sizes.join(", "))))
    }
}

/// Keras' `Flatten`: all but the batch in one axis. It ends a mask.
#[derive(Debug)]
pub(super) struct Flatten;

impl Flatten {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        config.only("data_format", "channels_last").map(|()| Flatten)
    }
}

impl<T: Element> Step<T> for Flatten {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        let (batch, rest) = x.shape.split_first().ok_or_else(|| x.wrong("[N, ...]"))?;
        Ok(Value::new(vec![*batch, rest.iter().product()], x.data))
    }
}

/// Keras' `Reshape`: other sizes behind the batch. It ends a mask.
#[derive(Debug)]
pub(super) struct Reshape {
    /// One may be open.
    sizes: Vec<Option<usize>>,
}

impl Reshape {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        let target = config.required("target_shape")?;
        let wrong = || Error::malformed("target_shape", "sizes, at most one of them -1", target);
        let sizes = target.as_array().ok_or_else(wrong)?.iter().map(|size| match size.as_i64() {
            Some(-1) => Ok(None),
            size => size.and_then(|size| usize::try_from(size).ok()).map(Some).ok_or_else(wrong),
        });
        let sizes = sizes.collect::<Result<Vec<_>>>()?;
        if sizes.iter().filter(|size| size.is_none()).count() > 1 {
            return Err(wrong());
        }
        Ok(Reshape { sizes })
    }
}

impl<T: Element> Step<T> for Reshape {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        let (&batch, rest) = x.shape.split_first().ok_or_else(|| x.wrong("[N, ...]"))?;
        let wrong = || x.wrong(format_args!("values for {:?}", self.sizes));
        let known: Vec<usize> = self.sizes.iter().flatten().copied().collect();
        let (count, known) = (rest.iter().product::<usize>(), element_count(&known).ok_or_else(wrong)?);
        let open = count.checked_div(known).unwrap_or(0);
        let sizes: Vec<usize> = self.sizes.iter().map(|size| size.unwrap_or(open)).collect();
        if element_count(&sizes) != Some(count) {
            return Err(wrong());
        }
        Ok(Value::new([vec![batch], sizes].concat(), x.data))
    }
}

/// Keras' `RepeatVector`: `[N, C]` at each of some steps. It ends a mask.
#[derive(Debug)]
pub(super) struct RepeatVector {
    times: usize,
}

impl RepeatVector {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        Ok(RepeatVector { times: config.size("n")? })
    }
}

impl<T: Element> Step<T> for RepeatVector {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        let [batch, channels] = *x.shape else { return Err(x.wrong("[N, C]")) };
        let mut y = Value::room(vec![batch, self.times, channels])?;
        for (index, to) in y.data.chunks_mut(channels.max(1)).enumerate() {
            to.copy_from_slice(&x.data[index / self.times.max(1) * channels..][..channels]);
        }
        Ok(y)
    }
}
