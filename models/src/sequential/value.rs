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
    pub(super) mask: Option<Mask>,
}

/// Which steps of which rows count.
#[derive(Clone, Debug)]
pub(super) struct Mask {
    /// `[N, T]`.
    pub(super) steps: Vec<bool>,
    /// Whether it came through a recurrent layer of a version of Keras that may have ended it there.
    pub(super) doubtful: bool,
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

    /// The mask, for a layer that heeds it.
    pub(super) fn heeded(&self) -> Result<Option<&[bool]>> {
        match &self.mask {
            Some(Mask { doubtful: true, .. }) => {
                let what = "a mask behind a recurrent layer of Keras after 3.15, which may not pass it on,";
                Err(Error::unsupported("mask", what))
            }
            mask => Ok(mask.as_ref().map(|mask| &mask.steps[..])),
        }
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
