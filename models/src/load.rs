//! From a file of any format to what can be run.

mod recognise;

use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::recurrent::{Inputs, Outputs, Recurrent, Row};
#[cfg(feature = "keras")]
use crate::sequential::Model;
use crate::tensor::Dtype;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Choices that a file does not make, and how layers are to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Backend, instruction set and threads.
    pub layers: gatefold::Options,
    /// What an `nn.RNN` of PyTorch was made with, which its state_dict does not say.
    pub nonlinearity: Nonlinearity,
    /// Whether modules of PyTorch take `[T, N, I]`, its `batch_first=False`, rather than `[N, T, I]`.
    pub time_major: bool,
}

/// The `nonlinearity` of an `nn.RNN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the function of its name")]
pub enum Nonlinearity {
    #[default]
    Tanh,
    Relu,
}

/// What a file was recognised as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A whole Keras model, `.keras` or legacy `.h5`.
    Keras,
    /// Weights of Keras without a configuration.
    KerasWeights,
    /// A PyTorch state_dict.
    PyTorch,
    /// Safetensors with PyTorch's names.
    Safetensors,
    /// A `.npz` with PyTorch's or Keras' names.
    Numpy,
    /// An ONNX model.
    Onnx,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Keras => "Keras model",
            Format::KerasWeights => "Keras weights",
            Format::PyTorch => "PyTorch state_dict",
            Format::Safetensors => "safetensors",
            Format::Numpy => "NumPy arrays",
            Format::Onnx => "ONNX model",
        })
    }
}

/// An array of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// Its name, its path, or the path of its group and its own below that.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// The type that the file stores.
    pub dtype: Dtype,
}

/// What a file holds.
#[derive(Debug)]
pub struct Loaded<T> {
    pub(crate) format: Format,
    pub(crate) recurrent: Vec<Arc<Recurrent<T>>>,
    pub(crate) refused: Vec<Error>,
    pub(crate) arrays: Vec<Listing>,
    #[cfg(feature = "keras")]
    pub(crate) whole: Option<Result<Model<T>>>,
}

/// What [`Loaded::pick`] found to run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Runnable<'a, T> {
    /// One recurrent layer.
    Recurrent(&'a Recurrent<T>),
    /// A whole model.
    #[cfg(feature = "keras")]
    Model(&'a Model<T>),
}

/// Reads the file at `path`, which is recognised by its content, but for ONNX also by its extension.
///
/// # Errors
/// If it cannot be opened, is of no known format or of one whose feature is off, or is damaged. A recurrent layer that
/// cannot be run is no error here: it is among [`Loaded::refused`].
pub fn load<T: Element>(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Loaded<T>> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|error| Error::new("", ErrorKind::Io(error)));
    bytes.and_then(|bytes| recognise::read(path, bytes, options)).map_err(|error| error.within(path.display()))
}

impl<T: Element> Loaded<T> {
    /// What the file was recognised as.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The recurrent layers that can be run, in the order of the file.
    pub fn recurrent(&self) -> &[Arc<Recurrent<T>>] {
        &self.recurrent
    }

    /// The recurrent layer `name`; see [`Recurrent::name`].
    ///
    /// # Errors
    /// If there is none; the error lists those that there are.
    pub fn recurrent_named(&self, name: &str) -> Result<&Recurrent<T>> {
        let mut found = self.recurrent.iter().filter(|layer| layer.name() == name);
        match (found.next(), found.next()) {
            (Some(layer), None) => Ok(layer),
            (Some(_), Some(_)) => {
                let found = format_args!("several that are called {name:?}");
                Err(Error::malformed("layers", "names that differ", found))
            }
            (None, _) => {
                let (names, why) = (self.names(), self.why_not());
                Err(Error::missing("layers", format_args!("a recurrent layer {name:?}, of {names}{why},")))
            }
        }
    }

    /// Why the other recurrent layers of the file cannot be run, each by its name.
    pub fn refused(&self) -> &[Error] {
        &self.refused
    }

    /// The arrays of the file, where it is nothing but arrays: all formats but ONNX and whole Keras models.
    pub fn arrays(&self) -> &[Listing] {
        &self.arrays
    }

    /// The whole model of a Keras file, or why it cannot be run; none for other formats.
    #[cfg(feature = "keras")]
    pub fn model(&self) -> Option<std::result::Result<&Model<T>, &Error>> {
        self.whole.as_ref().map(Result::as_ref)
    }

    /// What there is to run: the recurrent layer `name`; or without a name the whole model, or the only recurrent layer.
    ///
    /// # Errors
    /// If there is none, or several to choose from; the error lists them, and says why others were refused.
    pub fn pick(&self, name: Option<&str>) -> Result<Runnable<'_, T>> {
        if let Some(name) = name {
            return self.recurrent_named(name).map(Runnable::Recurrent);
        }
        #[cfg(feature = "keras")]
        if let Some(Ok(model)) = &self.whole {
            return Ok(Runnable::Model(model));
        }
        match &self.recurrent[..] {
            [one] if self.why_not().is_empty() => Ok(Runnable::Recurrent(one)),
            [] => Err(Error::missing("layers", format_args!("a recurrent layer{},", self.why_not()))),
            _ => {
                let (names, why) = (self.names(), self.why_not());
                Err(Error::missing("layers", format_args!("the choice of one, by its name, of {names}{why},")))
            }
        }
    }

    fn names(&self) -> String {
        format!("{:?}", self.recurrent.iter().map(|layer| layer.name()).collect::<Vec<_>>())
    }

    /// What was refused and why, in brackets, if anything was.
    fn why_not(&self) -> String {
        let reasons = self.refused.iter().map(Error::to_string);
        #[cfg(feature = "keras")]
        let reasons = self.whole.iter().filter_map(|whole| whole.as_ref().err()).map(Error::to_string).chain(reasons);
        let reasons: Vec<String> = reasons.collect();
        if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
    }

    /// A line for each layer: of a whole model all its layers, else each recurrent one.
    pub fn describe(&self) -> Vec<Row> {
        #[cfg(feature = "keras")]
        if let Some(Ok(model)) = &self.whole {
            return model.describe();
        }
        self.recurrent.iter().flat_map(|layer| layer.describe()).collect()
    }
}

impl<T: Element> Runnable<'_, T> {
    /// Runs it, recurrent layers in chunks of time; see [`Recurrent::run_in_chunks`].
    ///
    /// # Errors
    /// As [`Recurrent::run`]. A whole model takes no states, lengths or mask.
    pub fn run<'a>(&self, inputs: impl Into<Inputs<'a>>, chunk: usize, progress: impl FnMut(usize)) -> Result<Outputs> {
        match self {
            Runnable::Recurrent(layer) => layer.run_in_chunks(inputs, chunk, progress),
            #[cfg(feature = "keras")]
            Runnable::Model(model) => model.run(inputs),
        }
    }
}
