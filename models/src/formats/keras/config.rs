//! The configuration of a model: its layers, and the order in which they are run.

use super::KerasLayer;
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// A layer as the configuration lists it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) class: &'a str,
    pub(super) name: &'a str,
    pub(super) config: &'a Value,
    /// Its place in the chain.
    place: usize,
}

/// The layers of `model` as they are listed, which is the order that their groups of weights are numbered in.
pub(super) fn layers(model: &Value) -> Result<Vec<Entry<'_>>> {
    let config = model.get("config").ok_or_else(|| Error::missing("model", "config"))?;
    // Keras before 2.2.3 had the list of layers alone.
    let listed = config.get("layers").unwrap_or(config).as_array();
    let listed = listed.ok_or_else(|| Error::missing("model", "the list of layers"))?;
    let mut entries = listed.iter().enumerate().map(entry).collect::<Result<Vec<_>>>()?;
    let mut names = HashSet::new();
    if let Some(twice) = entries.iter().find(|entry| !names.insert(entry.name)) {
        return Err(Error::malformed("layers", "names that differ", format_args!("{} twice", twice.name)));
    }
    match model.get("class_name").and_then(Value::as_str) {
        Some("Sequential") => {}
        Some("Functional" | "Model") => chain(listed, config, &mut entries)?,
        Some(other) => return Err(Error::unsupported("model", format_args!("a model of class {other}"))),
        None => return Err(Error::missing("model", "class_name")),
    }
    Ok(entries)
}

/// `layers`, listed as `entries` are, in the order in which they are run.
pub(super) fn in_order(entries: &[Entry<'_>], layers: Vec<KerasLayer>) -> Vec<KerasLayer> {
    let mut placed: Vec<_> = entries.iter().map(|entry| entry.place).zip(layers).collect();
    placed.sort_by_key(|&(place, _)| place);
    placed.into_iter().map(|(_, layer)| layer).collect()
}

fn entry((index, layer): (usize, &Value)) -> Result<Entry<'_>> {
    let missing = |what| Error::missing(format_args!("layer {index}"), what);
    let class = layer.get("class_name").and_then(Value::as_str).ok_or_else(|| missing("class_name"))?;
    let config = layer.get("config").ok_or_else(|| missing("config"))?;
    let name =
        config.get("name").or_else(|| layer.get("name")).and_then(Value::as_str).ok_or_else(|| missing("name"))?;
    if ["Sequential", "Functional", "Model"].contains(&class) {
        return Err(Error::unsupported(format_args!("layer {name}"), format_args!("a {class} model for a layer")));
    }
    Ok(Entry { class, name, config, place: index })
}

/// Places the layers of a functional model, each of which must take what one other layer gives.
fn chain(listed: &[Value], config: &Value, entries: &mut [Entry<'_>]) -> Result<()> {
    let mut takers = HashMap::new();
    let mut first = None;
    for (index, (layer, entry)) in listed.iter().zip(&*entries).enumerate() {
        let mut sources = Vec::new();
        let nodes = layer.get("inbound_nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        nodes.iter().for_each(|node| collect_sources(node, &mut sources));
        let branch =
            || Error::unsupported(format_args!("layer {}", entry.name), "a model that is not one chain of layers");
        match sources[..] {
            [] if first.replace(index).is_none() => {}
            [(source, 0, 0)] if nodes.len() == 1 && takers.insert(source, index).is_none() => {}
            _ => return Err(branch()),
        }
    }
    let mut next = first;
    let mut last = "";
    for place in 0..entries.len() {
        // A name that nothing takes ends the chain, before its end if other layers are not reached.
        let index = next.ok_or_else(|| Error::unsupported("layers", "a model that is not one chain of layers"))?;
        entries[index].place = place;
        last = entries[index].name;
        next = takers.remove(last);
    }
    if next.is_some() {
        return Err(Error::malformed("layers", "a chain of layers", "a circle"));
    }
    check_output(config, last)
}

/// The model must give what its last layer gives.
fn check_output(config: &Value, last: &str) -> Result<()> {
    let output = config.get("output_layers").ok_or_else(|| Error::missing("model", "output_layers"))?;
    // One output is [name, 0, 0], or a list of one such.
    let one = match output.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        _ => output,
    };
    match one.as_array().map(Vec::as_slice) {
        Some([Value::String(name), node, tensor]) if name == last && *node == 0 && *tensor == 0 => Ok(()),
        _ => Err(Error::unsupported("output_layers", "an output other than that of the last layer")),
    }
}

/// The layers whose tensors are anywhere in `node`, each with the number of its call and of its output.
fn collect_sources<'a>(node: &'a Value, sources: &mut Vec<(&'a str, u64, u64)>) {
    match node {
        // Keras 3: an object that holds ["name", 0, 0] under "keras_history".
        Value::Object(fields) => match fields.get("keras_history") {
            Some(history) => sources.push(source(history).unwrap_or(("", 1, 1))),
            None => fields.values().for_each(|value| collect_sources(value, sources)),
        },
        // Keras 2: ["name", 0, 0, {keyword arguments}].
        Value::Array(values) => match source(node) {
            Some(found) => {
                sources.push(found);
                values[3..].iter().for_each(|value| collect_sources(value, sources));
            }
            None => values.iter().for_each(|value| collect_sources(value, sources)),
        },
        _ => {}
    }
}

fn source(history: &Value) -> Option<(&str, u64, u64)> {
    match history.as_array()?.as_slice() {
        [Value::String(name), call, output, ..] => Some((name, call.as_u64()?, output.as_u64()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A functional model as Keras 2 writes it: layers by name, each with what it takes.
    fn functional(takes: &[(&str, Value)], output: Value) -> Value {
        let layer = |(name, nodes): &(&str, Value)| json!({"class_name": "Dense", "name": name, "config": {"name": name}, "inbound_nodes": nodes});
        let layers: Vec<_> = takes.iter().map(layer).collect();
        json!({"class_name": "Functional", "config": {"layers": layers, "output_layers": output}})
    }

    fn places(model: &Value) -> Result<Vec<(String, usize)>> {
        Ok(layers(model)?.iter().map(|entry| (entry.name.to_owned(), entry.place)).collect())
    }

    #[test]
    fn a_chain_is_followed_whatever_the_order_of_the_list() {
        let after = |name: &str| json!([[[name, 0, 0, {"training": false}]]]);
        let model = functional(&[("c", after("b")), ("a", json!([])), ("b", after("a"))], json!([["c", 0, 0]]));
        let expected = [("c".to_owned(), 2), ("a".to_owned(), 0), ("b".to_owned(), 1)];
        assert_eq!(places(&model).unwrap(), expected);
    }

    #[test]
    fn anything_but_one_chain_is_refused() {
        let (input, after) = (|| json!([]), |name: &str| json!([[[name, 0, 0, {}]]]));
        let out = || json!([["b", 0, 0]]);
        let two = json!([[["a", 0, 0, {}], ["c", 0, 0, {}]]]);
        let twice = json!([[["a", 0, 0, {}]], [["a", 0, 0, {}]]]);
        let mask = json!([[["a", 0, 0, {"mask": ["c", 0, 0]}]]]);
        for (takes, output) in [
            (vec![("a", input()), ("c", input()), ("b", two)], out()),
            (vec![("a", input()), ("b", twice)], out()),
            (vec![("a", input()), ("c", after("a")), ("b", mask)], out()),
            (vec![("a", input()), ("b", json!([[["a", 0, 1, {}]]]))], out()),
            (vec![("a", input()), ("b", json!([[["a", 1, 0, {}]]]))], out()),
            (vec![("a", input()), ("b", after("a"))], json!([["a", 0, 0]])),
            (vec![("a", input()), ("b", after("a"))], json!([["a", 0, 0], ["b", 0, 0]])),
            (vec![("a", input()), ("b", after("a"))], json!([["b", 0, 1]])),
            (vec![("a", input()), ("b", after("c")), ("c", after("b"))], out()),
            (vec![("a", after("b")), ("b", after("a"))], out()),
            (vec![("a", input()), ("b", after("nothing"))], out()),
            (vec![("a", input()), ("a", after("a"))], json!([["a", 0, 0]])),
        ] {
            let model = functional(&takes, output);
            assert!(places(&model).is_err(), "{model}");
        }
    }

    #[test]
    fn lists_of_the_first_versions_are_read() {
        let layer = json!({"class_name": "GRU", "config": {"name": "gru"}});
        assert_eq!(places(&json!({"class_name": "Sequential", "config": [layer]})).unwrap().len(), 1);
        for model in [
            json!({}),
            json!({"class_name": "Sequential", "config": {}}),
            json!({"class_name": "Sequential", "config": [{"class_name": "GRU", "config": {}}]}),
            json!({"class_name": "Sequential", "config": [{"config": {"name": "gru"}}]}),
            json!({"class_name": "MyModel", "config": [layer]}),
            json!({"config": [layer]}),
        ] {
            assert!(places(&model).is_err(), "{model}");
        }
    }
}
