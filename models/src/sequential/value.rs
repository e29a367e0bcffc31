//! What flows from layer to layer.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::recurrent::room;

/// A tensor with Keras' mask.
#[derive(Clone, Debug)]
pub(super) struct Value<T> {
    /// The batch first.
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<T>,
    /// Which steps of which rows count, `[N, T]`.
    pub(super) mask: Option<Vec<bool>>,
}

impl<T: Element> Value<T> {
    pub(super) fn new(shape: Vec<usize>, data: Vec<T>) -> Self {
        Value { shape, data, mask: None }
    }

    /// Values of `shape`, to be written.
    pub(super) fn room(shape: Vec<usize>) -> Result<Self> {
        let data = room(&shape)?;
        Ok(Value { shape, data, mask: None })
    }

    /// Rows along the last axis, whose size must be `size`.
    pub(super) fn last(&self, size: usize) -> Result<()> {
        match self.shape.last() {
            Some(&last) if last == size && self.shape.len() > 1 => Ok(()),
            _ => Err(self.wrong(format_args!("[N, ..., {size}]"))),
        }
    }

    /// `[N, T, C]`.
    pub(super) fn sequence(&self) -> Result<[usize; 3]> {
        match *self.shape {
            [batch, time, channels] => Ok([batch, time, channels]),
            _ => Err(self.wrong("[N, T, C]")),
        }
    }

    pub(super) fn wrong(&self, expected: impl std::fmt::Display) -> Error {
        Error::malformed("input: shape", expected, format_args!("{:?}", self.shape))
    }
}
