//! Layers that make masks.

use super::config::Config;
use super::step::{Step, arrays, values};
use super::value::{Mask, Value};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Keras' `Embedding`: a row of a table for each integer; with `mask_zero`, steps of 0 do not count.
#[derive(Debug)]
pub(super) struct Embedding<T> {
    rows: usize,
    width: usize,
    /// `[rows, width]`.
    table: Vec<T>,
    mask_zero: bool,
}

impl<T: Element> Embedding<T> {
    pub(super) fn new(config: &Config<'_>, weights: &[(String, Tensor)]) -> Result<Self> {
        let (rows, width) = (config.size("input_dim")?, config.size("output_dim")?);
        let [table] = arrays(weights, ["embeddings"])?;
        let table = values("embeddings", table, &[rows, width])?;
        Ok(Embedding { rows, width, table, mask_zero: config.boolean("mask_zero", false)? })
    }
}

impl<T: Element> Step<T> for Embedding<T> {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        let mut shape = x.shape.clone();
        shape.push(self.width);
        let mut y = Value::room(shape)?;
        for (index, to) in x.data.iter().zip(y.data.chunks_mut(self.width.max(1))) {
            // Keras cuts fractions off.
            let index = index.to_f64().trunc();
            if !(0.0..self.rows as f64).contains(&index) {
                return Err(Error::malformed(
                    "input",
                    format_args!("integers from 0 to {}", self.rows.saturating_sub(1)),
                    index,
                ));
            }
            to.copy_from_slice(&self.table[index as usize * self.width..][..self.width]);
        }
        if self.mask_zero {
            if x.shape.len() != 2 {
                return Err(x.wrong("[N, T], for a mask"));
            }
            let steps = x.data.iter().map(|index| index.to_f64() != 0.0).collect();
            y.mask = Some(Mask { steps, doubtful: false });
        }
        Ok(y)
    }
}

/// Keras' `Masking`: steps whose values are all `mask_value` do not count, and become zeros.
#[derive(Debug)]
pub(super) struct Masking {
    value: f64,
}

impl Masking {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        Ok(Masking { value: config.number("mask_value", 0.0)? })
    }
}

impl<T: Element> Step<T> for Masking {
    fn run(&self, mut x: Value<T>) -> Result<Value<T>> {
        let [_, _, channels] = x.sequence()?;
        let value = T::from_f64(self.value);
        let mut steps = Vec::new();
        for step in x.data.chunks_mut(channels.max(1)) {
            let counts = step.iter().any(|x| *x != value);
            if !counts {
                step.fill(T::ZERO);
            }
            steps.push(counts);
        }
        x.mask = Some(Mask { steps, doubtful: false });
        Ok(x)
    }
}
