//! One value for each channel of a whole sequence.

use super::config::Config;
use super::step::Step;
use super::value::Value;
use crate::element::Element;
use crate::error::{Error, Result};

/// Keras' `GlobalAveragePooling1D`, of the steps that the mask counts, and `GlobalMaxPooling1D`, of all.
#[derive(Debug)]
pub(super) struct GlobalPooling {
    kind: Kind,
    keepdims: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Average,
    Max,
}

impl GlobalPooling {
    pub(super) fn new(config: &Config<'_>, kind: Kind) -> Result<Self> {
        config.only("data_format", "channels_last")?;
        Ok(GlobalPooling { kind, keepdims: config.boolean("keepdims", false)? })
    }
}

impl<T: Element> Step<T> for GlobalPooling {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        let [batch, time, channels] = x.sequence()?;
        if time == 0 {
            return Err(Error::unsupported("input", "a sequence of no steps"));
        }
        let shape = if self.keepdims { vec![batch, 1, channels] } else { vec![batch, channels] };
        let mut y = Value::room(shape)?;
        let mask = if self.kind == Kind::Average { x.heeded()? } else { None };
        for row in 0..batch {
            let steps = &x.data[row * time * channels..][..time * channels];
            let counts = |step: usize| mask.is_none_or(|mask| mask[row * time + step]);
            for channel in 0..channels {
                let step = |step: usize| steps[step * channels + channel].to_f64();
                let value = match self.kind {
                    Kind::Average => {
                        let counted = || (0..time).filter(|&step| counts(step));
                        // Keras divides 0 by 0 where no step counts.
                        counted().map(step).sum::<f64>() / counted().count() as f64
                    }
                    Kind::Max => {
                        (0..time).map(step).fold(f64::NEG_INFINITY, |most, next| match next > most || next.is_nan() {
                            true => next,
                            false => most,
                        })
                    }
                };
                y.data[row * channels + channel] = T::from_f64(value);
            }
        }
        Ok(y)
    }
}
