//! Layers whose cell is known by their type.

use super::{Layer, Options};
use crate::cell::{Activation, Cell, Reset};
use crate::error::{Error, Result};
use crate::gemm::Element;
use crate::weights::{Weights, keras, pytorch};
use std::ops::{Deref, DerefMut};

/// Declares a layer type: a [`Layer`] that refuses the weights of other cells.
macro_rules! typed {
    ($(#[doc = $doc:literal])+ $name:ident, $cell:pat, $why:literal) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $name<T>(Layer<T>);

        impl<T: Element> $name<T> {
            /// Packs canonical weights.
            ///
            /// # Errors
            /// [`Error::Unsupported`] for the weights of another cell; else as [`Layer::new`].
            pub fn new(weights: Weights<T>, options: Options) -> Result<Self> {
                match weights.cell() {
                    $cell => Ok(Self(Layer::new(weights, options)?)),
                    _ => Err(Error::Unsupported { what: "cell", why: $why }),
                }
            }

            /// The layer without the type's promise.
            pub fn into_layer(self) -> Layer<T> {
                self.0
            }
        }

        impl<T> Deref for $name<T> {
            type Target = Layer<T>;
            fn deref(&self) -> &Layer<T> {
                &self.0
            }
        }

        impl<T> DerefMut for $name<T> {
            fn deref_mut(&mut self) -> &mut Layer<T> {
                &mut self.0
            }
        }
    };
}

typed! {
    /// A GRU: reset gate after or before the recurrent product, see [`Reset`]. All methods of [`Layer`] are its own.
    Gru, Cell::Gru { .. }, "these are not the weights of a GRU"
}

typed! {
    /// An LSTM, see [`Cell::Lstm`]. All methods of [`Layer`] are its own.
    Lstm, Cell::Lstm, "these are not the weights of an LSTM"
}

typed! {
    /// A SimpleRNN with tanh or ReLU, see [`Activation`]. All methods of [`Layer`] are its own.
    SimpleRnn, Cell::SimpleRnn { .. }, "these are not the weights of a SimpleRNN"
}

impl<T: Element> Gru<T> {
    /// From Keras' arrays of a `GRU` with `input` features and `units` units; `reset_after=True` is [`Reset::After`].
    ///
    /// # Errors
    /// As [`keras::gru`] and [`Layer::new`].
    pub fn from_keras(
        input: usize,
        units: usize,
        reset: Reset,
        arrays: keras::Arrays<'_, T>,
        options: Options,
    ) -> Result<Self> {
        Self::new(keras::gru(input, units, reset, arrays)?, options)
    }

    /// From PyTorch's arrays of one layer and direction of a `GRU`.
    ///
    /// # Errors
    /// As [`pytorch::gru`] and [`Layer::new`].
    pub fn from_pytorch(input: usize, hidden: usize, arrays: pytorch::Arrays<'_, T>, options: Options) -> Result<Self> {
        Self::new(pytorch::gru(input, hidden, arrays)?, options)
    }
}

impl<T: Element> Lstm<T> {
    /// From Keras' arrays of an `LSTM` with `input` features and `units` units.
    ///
    /// # Errors
    /// As [`keras::lstm`] and [`Layer::new`].
    pub fn from_keras(input: usize, units: usize, arrays: keras::Arrays<'_, T>, options: Options) -> Result<Self> {
        Self::new(keras::lstm(input, units, arrays)?, options)
    }

    /// From PyTorch's arrays of one layer and direction of an `LSTM`.
    ///
    /// # Errors
    /// As [`pytorch::lstm`] and [`Layer::new`].
    pub fn from_pytorch(input: usize, hidden: usize, arrays: pytorch::Arrays<'_, T>, options: Options) -> Result<Self> {
        Self::new(pytorch::lstm(input, hidden, arrays)?, options)
    }
}

impl<T: Element> SimpleRnn<T> {
    /// From Keras' arrays of a `SimpleRNN` with `input` features and `units` units.
    ///
    /// # Errors
    /// As [`keras::simple_rnn`] and [`Layer::new`].
    pub fn from_keras(
        input: usize,
        units: usize,
        activation: Activation,
        arrays: keras::Arrays<'_, T>,
        options: Options,
    ) -> Result<Self> {
        Self::new(keras::simple_rnn(input, units, activation, arrays)?, options)
    }

    /// From PyTorch's arrays of one layer and direction of an `RNN`.
    ///
    /// # Errors
    /// As [`pytorch::rnn`] and [`Layer::new`].
    pub fn from_pytorch(
        input: usize,
        hidden: usize,
        activation: Activation,
        arrays: pytorch::Arrays<'_, T>,
        options: Options,
    ) -> Result<Self> {
        Self::new(pytorch::rnn(input, hidden, activation, arrays)?, options)
    }
}
