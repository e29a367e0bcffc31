//! The layout of legacy `.h5` files, which list the names of layers and of their weights in attributes.

use super::hdf5::Group;
use super::{KerasLayer, KerasModel, WeightGroup, config, json};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// The group with the weights of a whole model; a file of weights alone has them at its root.
const WHOLE: &str = "model_weights";

pub(super) fn is_legacy(file: &Group) -> bool {
    let group = file.group(WHOLE).unwrap_or(file);
    ["layer_names", "layer_names0"].iter().any(|name| group.attributes.contains_key(*name))
}

/// The model of a file that holds one whole.
pub(super) fn model(mut file: Group) -> Result<KerasModel> {
    let text = file.text("model_config").ok_or_else(|| Error::missing("", "the attribute model_config"))?;
    let config = json(text.as_bytes(), "model_config", &mut Budget::of_file(text.len()))?;
    let keras_version = file.text("keras_version").map(str::to_owned);
    let group = file.groups.remove(WHOLE).ok_or_else(|| Error::missing("", format_args!("the group {WHOLE}")))?;
    let keras_version = keras_version.or_else(|| group.text("keras_version").map(str::to_owned));
    let keras_version = keras_version.ok_or_else(|| Error::missing("", "the attribute keras_version"))?;
    let entries = config::layers(&config).map_err(|error| error.within("model_config"))?;
    let mut listed: BTreeMap<_, _> = listed(group)?.into_iter().collect();
    let layer = |entry: &config::Entry<'_>| KerasLayer {
        class: entry.class.to_owned(),
        name: entry.name.to_owned(),
        config: entry.config.clone(),
        weights: listed.remove(entry.name).unwrap_or_default(),
    };
    let layers = config::in_order(&entries, entries.iter().map(layer).collect());
    match listed.iter().find(|(_, weights)| !weights.is_empty()) {
        Some((name, _)) => {
            let found = format_args!("those of {name:?}");
            Err(Error::malformed("layer_names", "weights of the model's layers only", found))
        }
        None => Ok(KerasModel { keras_version, config, layers }),
    }
}

/// The weights of a file, whether or not it has a configuration.
pub(super) fn groups(mut file: Group) -> Result<Vec<WeightGroup>> {
    let (prefix, group) = match file.groups.remove(WHOLE) {
        Some(group) => (format!("{WHOLE}/"), group),
        None => (String::new(), file),
    };
    let named = |(name, weights)| WeightGroup { path: format!("{prefix}{name}"), name: Some(name), weights };
    Ok(listed(group)?.into_iter().map(named).collect())
}

/// The weights of a layer, with their paths.
type Weights = Vec<(String, Tensor)>;

/// The layers that are listed with their weights, in the order of the lists.
fn listed(mut group: Group) -> Result<Vec<(String, Weights)>> {
    let mut layers = Vec::new();
    for layer in names(&group, "layer_names")? {
        let place = format!("layer {layer:?}");
        // Taken out, so that a name that is listed again finds nothing.
        let mut inner = group.groups.remove(&layer).ok_or_else(|| Error::missing(&place, "the group"))?;
        let paths = names(&inner, "weight_names").map_err(|error| error.within(&place))?;
        let weight = |path: String| match inner.take_dataset(&path) {
            Some(tensor) => Ok((path, tensor)),
            None => Err(Error::missing(&place, format_args!("the weight {path:?}"))),
        };
        let weights = paths.into_iter().map(weight).collect::<Result<_>>()?;
        layers.push((layer, weights));
    }
    Ok(layers)
}

/// A list of names, which is split over `name0`, `name1` and so on if it is long.
fn names(group: &Group, attribute: &str) -> Result<Vec<String>> {
    if let Some(names) = group.attributes.get(attribute) {
        return Ok(names.clone());
    }
    let parts = (0..).map_while(|part| group.attributes.get(&format!("{attribute}{part}")));
    let names: Vec<String> = parts.flatten().cloned().collect();
    if names.is_empty() { Err(Error::missing("", format_args!("the attribute {attribute}"))) } else { Ok(names) }
}
