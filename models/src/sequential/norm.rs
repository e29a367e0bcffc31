//! Normalizations over the last axis, computed in f64.

use super::config::Config;
use super::step::{Step, arrays, values};
use super::value::Value;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use serde_json::Value as Json;

/// Keras' `LayerNormalization`: (x - mean) / sqrt(variance + epsilon) * gamma + beta, mean and variance of each row.
#[derive(Debug)]
pub(super) struct LayerNormalization<T> {
    epsilon: f64,
    /// The axis if it is not counted from the end.
    axis: Option<usize>,
    channels: usize,
    gamma: Option<Vec<T>>,
    beta: Option<Vec<T>>,
}

/// Keras' `BatchNormalization` as it predicts: (x - mean) / sqrt(variance + epsilon) * gamma + beta, mean and variance of
/// each channel from the training.
#[derive(Debug)]
pub(super) struct BatchNormalization {
    axis: Option<usize>,
    /// The factor and what is added, for each channel.
    affine: Vec<(f64, f64)>,
}

/// The last axis, by its number if it is given so; another is refused where the rank is known.
fn axis(config: &Config<'_>) -> Result<Option<usize>> {
    let refused = |value: &Json| Error::unsupported("config", format_args!("axis = {value}"));
    let Some(given) = config.get("axis") else { return Ok(None) };
    let one = match given {
        Json::Array(axes) if axes.len() == 1 => &axes[0],
        other => other,
    };
    match one.as_i64() {
        Some(-1) => Ok(None),
        Some(axis) => usize::try_from(axis).map(Some).map_err(|_| refused(given)),
        None => Err(refused(given)),
    }
}

fn check_axis<T: Element>(axis: Option<usize>, x: &Value<T>, channels: usize) -> Result<()> {
    x.last(channels)?;
    match axis {
        Some(axis) if axis + 1 != x.shape.len() => {
            Err(Error::unsupported("config", format_args!("axis = {axis}, which is not the last,")))
        }
        _ => Ok(()),
    }
}

impl<T: Element> LayerNormalization<T> {
    pub(super) fn new(config: &Config<'_>, weights: &[(String, Tensor)]) -> Result<Self> {
        config.only("rms_scaling", "false")?;
        let (axis, epsilon) = (axis(config)?, config.number("epsilon", 1e-3)?);
        let (scale, center) = (config.boolean("scale", true)?, config.boolean("center", true)?);
        let (gamma, beta) = match (scale, center) {
            (true, true) => arrays(weights, ["gamma", "beta"]).map(|[gamma, beta]| (Some(gamma), Some(beta)))?,
            (true, false) => arrays(weights, ["gamma"]).map(|[gamma]| (Some(gamma), None))?,
            (false, true) => arrays(weights, ["beta"]).map(|[beta]| (None, Some(beta)))?,
            (false, false) => return Err(Error::unsupported("config", "scale and center both false")),
        };
        let channels = gamma.or(beta).and_then(|tensor| tensor.shape().first().copied()).unwrap_or(0);
        let of = |name, tensor: Option<&Tensor>| tensor.map(|tensor| values(name, tensor, &[channels])).transpose();
        Ok(LayerNormalization { epsilon, axis, channels, gamma: of("gamma", gamma)?, beta: of("beta", beta)? })
    }
}

impl<T: Element> Step<T> for LayerNormalization<T> {
    fn run(&self, mut x: Value<T>) -> Result<Value<T>> {
        check_axis(self.axis, &x, self.channels)?;
        let count = self.channels as f64;
        for row in x.data.chunks_mut(self.channels.max(1)) {
            let mean = row.iter().map(|x| x.to_f64()).sum::<f64>() / count;
            let variance = row.iter().map(|x| (x.to_f64() - mean).powi(2)).sum::<f64>() / count;
            let scale = 1.0 / (variance + self.epsilon).sqrt();
            for (k, x) in row.iter_mut().enumerate() {
                let gamma = self.gamma.as_ref().map_or(1.0, |gamma| gamma[k].to_f64());
                let beta = self.beta.as_ref().map_or(0.0, |beta| beta[k].to_f64());
                *x = T::from_f64((x.to_f64() - mean) * scale * gamma + beta);
            }
        }
        Ok(x)
    }
}

impl BatchNormalization {
    pub(super) fn new(config: &Config<'_>, weights: &[(String, Tensor)]) -> Result<Self> {
        config.only("renorm", "false")?;
        let (axis, epsilon) = (axis(config)?, config.number("epsilon", 1e-3)?);
        let (scale, center) = (config.boolean("scale", true)?, config.boolean("center", true)?);
        let (gamma, beta, [mean, variance]) = match (scale, center) {
            (true, true) => {
                let [gamma, beta, mean, variance] =
                    arrays(weights, ["gamma", "beta", "moving_mean", "moving_variance"])?;
                (Some(gamma), Some(beta), [mean, variance])
            }
            (true, false) => {
                let [gamma, mean, variance] = arrays(weights, ["gamma", "moving_mean", "moving_variance"])?;
                (Some(gamma), None, [mean, variance])
            }
            (false, true) => {
                let [beta, mean, variance] = arrays(weights, ["beta", "moving_mean", "moving_variance"])?;
                (None, Some(beta), [mean, variance])
            }
            (false, false) => (None, None, arrays(weights, ["moving_mean", "moving_variance"])?),
        };
        let channels = mean.shape().first().copied().unwrap_or(0);
        let of = |name, tensor: &Tensor| values::<f64>(name, tensor, &[channels]);
        let optional = |name, tensor: Option<&Tensor>, value: f64| match tensor {
            Some(tensor) => of(name, tensor),
            None => Ok(vec![value; channels]),
        };
        let (gamma, beta) = (optional("gamma", gamma, 1.0)?, optional("beta", beta, 0.0)?);
        let (mean, variance) = (of("moving_mean", mean)?, of("moving_variance", variance)?);
        let factor = |k: usize| gamma[k] / (variance[k] + epsilon).sqrt();
        let affine = (0..channels).map(|k| (factor(k), beta[k] - mean[k] * factor(k))).collect();
        Ok(BatchNormalization { axis, affine })
    }
}

impl<T: Element> Step<T> for BatchNormalization {
    fn run(&self, mut x: Value<T>) -> Result<Value<T>> {
        check_axis(self.axis, &x, self.affine.len())?;
        for row in x.data.chunks_mut(self.affine.len().max(1)) {
            for (x, (factor, offset)) in row.iter_mut().zip(&self.affine) {
                *x = T::from_f64(x.to_f64() * factor + offset);
            }
        }
        Ok(x)
    }
}
