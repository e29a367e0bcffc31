//! The layout of `.weights.h5`: a group for each layer, named after its class and counted, with numbered variables.

use super::config::Entry;
use super::hdf5::Group;
use super::{KerasLayer, WeightGroup};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Where the groups of layers are; Keras 2.13 had the second.
const FOLDERS: [&str; 2] = ["layers", "_layer_checkpoint_dependencies"];

/// Groups of random states, which are no weights.
const RANDOM: [&str; 2] = ["seed_generator", "random_generator"];

/// The layers of `entries` with their weights from `file`.
pub(super) fn layers(entries: &[Entry<'_>], mut file: Group) -> Result<Vec<KerasLayer>> {
    let folder = FOLDERS.iter().find_map(|folder| file.groups.remove(*folder));
    let mut groups = folder.ok_or_else(|| Error::missing("", "the group layers"))?.groups;
    let counted = counted_names(entries.iter().map(|entry| entry.class));
    let mut layers = Vec::new();
    for (entry, group) in entries.iter().zip(counted) {
        let group = take(&mut groups, &group, entry.name)?;
        let mut weights = Vec::new();
        if let Some(group) = group {
            collect(group, entry.config, String::new(), &mut weights);
        }
        layers.push(KerasLayer {
            class: entry.class.to_owned(),
            name: entry.name.to_owned(),
            config: entry.config.clone(),
            weights,
        });
    }
    match groups.into_iter().find(|(_, group)| holds_weights(group)) {
        Some((name, _)) => {
            Err(Error::malformed("layers", "weights of the model's layers only", format_args!("group {name}")))
        }
        None => Ok(layers),
    }
}

/// Takes the group `counted`, unless it says that it is another layer's; then the one that says it is `layer`'s.
///
/// A layer without variables may have no group.
fn take(groups: &mut BTreeMap<String, Group>, counted: &str, layer: &str) -> Result<Option<Group>> {
    let stated = groups.get(counted).map(own_name);
    if let Some(None) = stated {
        return Ok(groups.remove(counted));
    }
    if stated.flatten() == Some(layer) {
        return Ok(groups.remove(counted));
    }
    let named: Vec<String> =
        groups.iter().filter(|(_, group)| own_name(group) == Some(layer)).map(|(key, _)| key.clone()).collect();
    match (&named[..], stated) {
        ([one], _) => Ok(groups.remove(one)),
        ([], None) => Ok(None),
        ([], Some(other)) => {
            let found = format_args!("those of {:?} in group {counted}", other.unwrap_or_default());
            Err(Error::malformed("layers", format_args!("the weights of layer {layer:?}"), found))
        }
        _ => Err(Error::malformed("layers", format_args!("one group of layer {layer:?}"), format_args!("{named:?}"))),
    }
}

/// The layer's own name, which newer files of Keras 3 have.
fn own_name(group: &Group) -> Option<&str> {
    group.group("vars")?.text("name")
}

fn holds_weights(group: &Group) -> bool {
    !group.datasets.is_empty()
        || group.groups.iter().any(|(name, inner)| !RANDOM.contains(&name.as_str()) && holds_weights(inner))
}

/// The name of each layer's group: its class in snake case, and which of that class it is.
fn counted_names<'a>(classes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut counts = HashMap::new();
    let name = |class| {
        let snake = snake_case(class);
        let count = counts.entry(snake.clone()).and_modify(|count| *count += 1).or_insert(0);
        if *count == 0 { snake } else { format!("{snake}_{count}") }
    };
    classes.map(name).collect()
}

/// `SimpleRNN` to `simple_rnn`: an underscore before a capital behind a small letter or before one, but at the start.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut snake = String::new();
    for (k, letter) in letters.iter().enumerate() {
        let before = k.checked_sub(1).map(|k| letters[k]);
        let small = |c: Option<&char>| c.is_some_and(|c| c.is_ascii_lowercase());
        if letter.is_ascii_uppercase() && before.is_some() && (small(before.as_ref()) || small(letters.get(k + 1))) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// Appends the weights of `group`, of a layer made with `config`, in the order of the layer's variables.
fn collect(mut group: Group, config: &Value, prefix: String, weights: &mut Vec<(String, Tensor)>) {
    RANDOM.iter().for_each(|name| drop(group.groups.remove(*name)));
    let mut own: Vec<_> = group.groups.remove("vars").into_iter().flat_map(|vars| vars.datasets).collect();
    own.sort_by_key(|(name, _)| name.parse().unwrap_or(u64::MAX));
    weights.extend(own.into_iter().map(|(name, tensor)| (format!("{prefix}vars/{name}"), tensor)));
    weights.extend(group.datasets.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
    // The cells of stacked cells are counted like layers.
    if let Some(cells) = stacked_cells(config)
        && let Some(mut stack) = group.groups.remove("cells")
    {
        let classes = cells.iter().map(|cell| cell.get("class_name").and_then(Value::as_str).unwrap_or_default());
        for (name, cell) in counted_names(classes).into_iter().zip(cells) {
            if let Some(inner) = stack.groups.remove(&name) {
                collect(inner, cell.get("config").unwrap_or(&Value::Null), format!("{prefix}cells/{name}/"), weights);
            }
        }
        group.groups.insert("cells".to_owned(), stack);
    }
    let mut inner: Vec<_> = group.groups.into_iter().collect();
    // Keras makes the forward layer first, and keeps all else in the order that a map by name has here too.
    inner.sort_by_key(|(name, _)| name == "backward_layer");
    for (name, group) in inner {
        let config = ["cell", "layer"].iter().find_map(|key| config.get(key)?.get("config")).unwrap_or(&Value::Null);
        collect(group, config, format!("{prefix}{name}/"), weights);
    }
}

/// The cells of a `StackedRNNCells`.
fn stacked_cells(config: &Value) -> Option<&Vec<Value>> {
    config.get("cells")?.as_array()
}

/// The groups of layers of a file without configuration.
pub(super) fn groups(mut file: Group) -> Vec<WeightGroup> {
    let folder = FOLDERS.iter().find_map(|folder| Some((*folder, file.groups.remove(*folder)?)));
    // A model that is no list of layers keeps its layers under names of its own.
    let (prefix, groups) = match folder {
        Some((folder, layers)) => (format!("{folder}/"), layers.groups),
        None => (String::new(), file.groups),
    };
    let group = |(name, group): (String, Group)| {
        let own = own_name(&group).map(str::to_owned);
        let mut weights = Vec::new();
        collect(group, &Value::Null, String::new(), &mut weights);
        WeightGroup { path: format!("{prefix}{name}"), name: own, weights }
    };
    groups.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_become_the_names_that_keras_gives_their_groups() {
        for (class, group) in [
            ("GRU", "gru"),
            ("SimpleRNN", "simple_rnn"),
            ("LSTMCell", "lstm_cell"),
            ("TimeDistributed", "time_distributed"),
            ("GlobalMaxPooling1D", "global_max_pooling1d"),
            ("Conv1D", "conv1d"),
            ("StackedRNNCells", "stacked_rnn_cells"),
            ("CuDNNLSTM", "cu_dnnlstm"),
            ("MyLayer>x", "my_layerx"),
        ] {
            assert_eq!(snake_case(class), group);
        }
        assert_eq!(counted_names(["GRU", "LSTM", "GRU", "GRU"].into_iter()), ["gru", "lstm", "gru_1", "gru_2"]);
    }

    fn stating(name: Option<&str>) -> Group {
        let mut vars = Group::default();
        vars.attributes.extend(name.map(|name| ("name".to_owned(), vec![name.to_owned()])));
        Group { groups: BTreeMap::from([("vars".to_owned(), vars)]), ..Group::default() }
    }

    #[test]
    fn names_in_the_file_overrule_the_count() {
        let two = |a, b| BTreeMap::from([("gru".to_owned(), stating(a)), ("gru_1".to_owned(), stating(b))]);
        let mut groups = two(Some("second"), Some("first"));
        assert!(take(&mut groups, "gru", "first").unwrap().is_some());
        assert_eq!(groups.into_keys().collect::<Vec<_>>(), ["gru"]);
        assert!(take(&mut two(None, None), "gru_1", "any").unwrap().is_some());
        assert!(take(&mut two(None, None), "dense", "any").unwrap().is_none());
        assert!(take(&mut two(Some("a"), Some("b")), "gru", "c").is_err());
        assert!(take(&mut two(Some("a"), Some("a")), "gru_2", "a").is_err());
    }
}
