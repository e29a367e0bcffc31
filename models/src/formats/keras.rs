//! Keras' `.keras`, legacy `.h5` and `.weights.h5` files, of Keras 3 and of Keras 2 (tf.keras).
//!
//! A model is given as its layers in the order in which they are run, each with its configuration and its weights in
//! the order of its variables. Whether a layer can be computed is for others to say.

pub use crate::sequential::Model;

mod config;
mod hdf5;
mod legacy;
mod weights;

use super::archive::{Archive, is_archive};
use super::read_file;
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use hdf5::Group;
use serde_json::Value;
use std::path::Path;

/// A whole model: a chain of layers.
#[derive(Clone, Debug)]
pub struct KerasModel {
    /// The version that wrote the file, such as `3.15.1`: defaults and activations depend on it.
    pub keras_version: String,
    /// The model's configuration as in the file.
    pub config: Value,
    /// The layers, the first to be run first.
    pub layers: Vec<KerasLayer>,
}

/// A layer of a [`KerasModel`].
#[derive(Clone, Debug)]
pub struct KerasLayer {
    /// The name of its class, such as `GRU`.
    pub class: String,
    /// The name that is unique in its model.
    pub name: String,
    /// The arguments that it is made with.
    pub config: Value,
    /// Its weights with their paths below it, in the order of its variables: those of a cell are kernel, recurrent
    /// kernel and bias; those of `Bidirectional` the forward layer's and then the backward layer's; those of stacked
    /// cells one cell after the other. The states of random generators are left out.
    pub weights: Vec<(String, Tensor)>,
}

/// The weights of one layer of a file that has no configuration.
#[derive(Clone, Debug)]
pub struct WeightGroup {
    /// The path of the group, such as `layers/gru_1`.
    pub path: String,
    /// The layer's own name, where the file has it.
    pub name: Option<String>,
    /// The weights with their paths below the group. The numbers of variables count up, a forward layer stands before
    /// a backward layer; other groups, as those of stacked cells, are in the order of their names.
    pub weights: Vec<(String, Tensor)>,
}

/// Reads the model in the `.keras` or legacy `.h5` file at `path`, which is told by its content.
///
/// # Errors
/// If it cannot be opened, and those of [`from_bytes`].
pub fn read(path: impl AsRef<Path>) -> Result<KerasModel> {
    read_file(path.as_ref(), from_bytes)
}

/// Reads the bytes of a `.keras` or legacy `.h5` file.
///
/// Weights belong to a layer by its name in legacy files. In others they belong by the order of the layers of a class,
/// which must not contradict the names that newer files have.
///
/// # Errors
/// If it is no such file or is damaged, holds weights that belong to no layer, has no configuration, is neither a
/// sequential model nor a functional one whose layers are one chain, or has a model for a layer; if its weights are in
/// a `.npz` file or several files.
pub fn from_bytes(bytes: Vec<u8>) -> Result<KerasModel> {
    if is_archive(&bytes) { archive(&bytes) } else { legacy::model(read_hdf5(bytes)?) }
}

/// Reads the weights in the `.weights.h5`, legacy `.h5` or `.keras` file at `path`, without any configuration.
///
/// # Errors
/// If it cannot be opened, and those of [`weights_from_bytes`].
pub fn read_weights(path: impl AsRef<Path>) -> Result<Vec<WeightGroup>> {
    read_file(path.as_ref(), weights_from_bytes)
}

/// Reads the weights in the bytes of a `.weights.h5`, legacy `.h5` or `.keras` file.
///
/// # Errors
/// If it is no such file or is damaged, or a weight is of a type that [`Dtype`](crate::Dtype) lacks.
pub fn weights_from_bytes(bytes: Vec<u8>) -> Result<Vec<WeightGroup>> {
    let file = if is_archive(&bytes) {
        let mut budget = Budget::of_file(bytes.len());
        archived_weights(&mut Archive::open(&bytes)?, &mut budget)?
    } else {
        read_hdf5(bytes)?
    };
    if legacy::is_legacy(&file) { legacy::groups(file) } else { Ok(weights::groups(file)) }
}

fn archive(bytes: &[u8]) -> Result<KerasModel> {
    let (mut archive, mut budget) = (Archive::open(bytes)?, Budget::of_file(bytes.len()));
    let metadata = json(&archive.read("metadata.json", &mut budget)?, "metadata.json", &mut budget)?;
    let config = json(&archive.read("config.json", &mut budget)?, "config.json", &mut budget)?;
    let keras_version = metadata.get("keras_version").and_then(Value::as_str);
    let keras_version = keras_version.ok_or_else(|| Error::missing("metadata.json", "keras_version"))?.to_owned();
    let entries = config::layers(&config).map_err(|error| error.within("config.json"))?;
    let file = archived_weights(&mut archive, &mut budget)?;
    let layers = weights::layers(&entries, file).map_err(|error| error.within(WEIGHTS))?;
    Ok(KerasModel { keras_version, layers: config::in_order(&entries, layers), config })
}

const WEIGHTS: &str = "model.weights.h5";

fn archived_weights(archive: &mut Archive<'_>, budget: &mut Budget) -> Result<Group> {
    for other in ["model.weights.npz", "model.weights.json"] {
        if archive.contains(other) {
            return Err(Error::unsupported("zip directory", format_args!("member {other}")));
        }
    }
    let weights = archive.read(WEIGHTS, budget)?;
    read_hdf5(weights).map_err(|error| error.within(WEIGHTS))
}

fn read_hdf5(bytes: Vec<u8>) -> Result<Group> {
    let mut budget = Budget::of_file(bytes.len());
    hdf5::read(bytes, &mut budget)
}

fn json(text: &[u8], place: &str, budget: &mut Budget) -> Result<Value> {
    // Two bytes of text can be a value of 32.
    budget.take(text.len() as u64 * 32, place)?;
    serde_json::from_slice(text).map_err(|error| Error::malformed(place, "JSON", error))
}
