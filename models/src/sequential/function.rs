//! Activations by their names in Keras.

use super::config::Config;
use super::step::Context;
use crate::element::Element;
use crate::error::{Error, Result};
use gatefold::cell::{Activation, Elementwise};
use serde_json::Value as Json;

/// An activation of a layer that is not recurrent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Function {
    /// Element by element.
    Each(Activation),
    /// Over the last axis.
    Softmax,
}

impl Function {
    /// What `config` has under `activation`; linear if it has none.
    pub(super) fn of(config: &Config<'_>, context: &Context) -> Result<Self> {
        match config.get("activation") {
            None => Ok(Function::Each(Activation::Linear)),
            Some(activation) => parse(activation, context),
        }
    }

    /// Applies it to `data`, whose last axis has `last` values.
    pub(super) fn apply<T: Element>(self, data: Vec<T>, last: usize, context: &Context) -> Result<Vec<T>> {
        match self {
            Function::Each(Activation::Linear) => Ok(data),
            Function::Each(function) => {
                let mut y = vec![T::NAN; data.len()];
                Elementwise { isa: context.isa, function, x: &data, y: &mut y }.run().map_err(gatefold::Error::from)?;
                Ok(y)
            }
            Function::Softmax => {
                let mut data = data;
                data.chunks_mut(last.max(1)).for_each(softmax);
                Ok(data)
            }
        }
    }
}

/// An activation of a recurrent layer, under `key`.
pub(super) fn of_gates(config: &Config<'_>, key: &str, context: &Context) -> Result<Activation> {
    match parse(config.required(key)?, context).map_err(|error| error.within(key))? {
        Function::Each(activation) => Ok(activation),
        Function::Softmax => Err(Error::unsupported(key, "softmax in a recurrent layer")),
    }
}

/// A name, or the object that Keras 3 writes for a function or a layer.
fn parse(activation: &Json, context: &Context) -> Result<Function> {
    let refused = || Error::unsupported("activation", activation);
    if let Some(name) = activation.as_str() {
        return named(name, context).ok_or_else(refused);
    }
    let config = activation.get("config").ok_or_else(refused)?;
    match (activation.get("class_name").and_then(Json::as_str), activation.get("registered_name")) {
        // Registered functions are of the user, whatever their name.
        (Some("function"), None | Some(Json::Null)) => {
            config.as_str().and_then(|name| named(name, context)).ok_or_else(refused)
        }
        (Some("function"), Some(Json::String(registered))) if config.as_str() == Some(registered) => {
            named(registered, context).ok_or_else(refused)
        }
        (Some(class), _) if class != "function" => {
            let config = Config::new(config)?;
            let function = layer(class, &config, context)?.ok_or_else(refused)?;
            config.finish()?;
            Ok(function)
        }
        _ => Err(refused()),
    }
}

fn named(name: &str, context: &Context) -> Option<Function> {
    Some(Function::Each(match name {
        "softmax" => return Some(Function::Softmax),
        "linear" => Activation::Linear,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "relu" => Activation::Relu,
        "relu6" => Activation::Relu6,
        "leaky_relu" => Activation::LeakyRelu { alpha: 0.2 },
        "elu" => Activation::Elu { alpha: 1.0 },
        "selu" => Activation::Selu,
        "gelu" => Activation::Gelu,
        "silu" | "swish" => Activation::Silu,
        "mish" => Activation::Mish,
        "softplus" => Activation::Softplus,
        "softsign" => Activation::Softsign,
        "exponential" => Activation::Exponential,
        "hard_sigmoid" if context.major < 3 => Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        "hard_sigmoid" => Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
        "hard_silu" | "hard_swish" if context.major >= 3 => Activation::HardSilu,
        _ => return None,
    }))
}

/// The layers that are an activation with arguments.
pub(super) fn layer(class: &str, config: &Config<'_>, context: &Context) -> Result<Option<Function>> {
    // Keras 2 calls the slope alpha, Keras 3 negative_slope.
    let slope =
        |default| config.number(if config.get("alpha").is_some() { "alpha" } else { "negative_slope" }, default);
    Ok(Some(Function::Each(match class {
        "Activation" => return Function::of(config, context).map(Some),
        "LeakyReLU" => Activation::LeakyRelu { alpha: slope(0.3)? },
        "ELU" => Activation::Elu { alpha: config.number("alpha", 1.0)? },
        "ReLU" => {
            let (slope, threshold) = (config.number("negative_slope", 0.0)?, config.number("threshold", 0.0)?);
            let maximum = config.get("max_value").map(|_| config.number("max_value", 0.0)).transpose()?;
            match (maximum, slope, threshold) {
                (None, 0.0, 0.0) => Activation::Relu,
                (Some(6.0), 0.0, 0.0) => Activation::Relu6,
                (None, alpha, 0.0) => Activation::LeakyRelu { alpha },
                _ => return Err(Error::unsupported("config", "max_value or threshold")),
            }
        }
        _ => return Ok(None),
    })))
}

/// exp(x) divided by its sum, in f64, of arguments from which the largest was subtracted.
fn softmax<T: Element>(row: &mut [T]) {
    let largest = row.iter().map(|x| x.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    let powers = |x: &T| (x.to_f64() - largest).exp();
    let sum: f64 = row.iter().map(powers).sum();
    for x in row {
        *x = T::from_f64(powers(x) / sum);
    }
}
