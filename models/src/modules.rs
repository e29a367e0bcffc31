//! Recurrent modules of PyTorch, found by the names of their parameters.
//!
//! A state_dict says neither what its modules are nor how they were made; both follow from names and shapes. With G the
//! number of gates: `weight_hh_l0` is `[G*H, H]`, so that G is 1 (RNN), 3 (GRU) or 4 (LSTM); with a projection, which only
//! an LSTM has, `weight_hr_l0: [P, H]` says both sizes.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::load::{LoadOptions, Nonlinearity};
use crate::recurrent::{Packed, Recurrent, Source};
use crate::tensor::Tensor;
use gatefold::cell::Activation;
use gatefold::weights::pytorch::{self, Arrays};
use gatefold::{Level, Merge, Weights};
use std::collections::BTreeMap;

/// One of the parameters of a layer and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Parameter {
    WeightIh,
    WeightHh,
    BiasIh,
    BiasHh,
    WeightHr,
}

const PARAMETERS: [(&str, Parameter); 5] = [
    ("weight_ih", Parameter::WeightIh),
    ("weight_hh", Parameter::WeightHh),
    ("bias_ih", Parameter::BiasIh),
    ("bias_hh", Parameter::BiasHh),
    ("weight_hr", Parameter::WeightHr),
];

/// Which layer and direction of a module; a cell has no layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    layer: Option<usize>,
    reverse: bool,
}

/// The parameters below one prefix.
#[derive(Debug, Default)]
struct Module<'a> {
    parameters: BTreeMap<(Slot, Parameter), (&'a str, &'a Tensor)>,
    /// Names below the prefix that no recurrent module has.
    others: Vec<&'a str>,
}

/// Every recurrent module of `tensors`, in the order of their prefixes; those that cannot be run as errors.
pub(crate) fn find<T: Element>(tensors: &BTreeMap<String, Tensor>, options: &LoadOptions) -> Vec<Result<Recurrent<T>>> {
    let mut modules: BTreeMap<&str, Module<'_>> = BTreeMap::new();
    for (name, tensor) in tensors {
        let (prefix, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        if let Some(parsed) = parse(leaf) {
            let module = modules.entry(prefix).or_default();
            match parsed {
                Some(key) => drop(module.parameters.insert(key, (name, tensor))),
                None => module.others.push(name),
            }
        }
    }
    for (&prefix, module) in &mut modules {
        let known =
            |name: &str| module.parameters.values().any(|&(own, _)| own == name) || module.others.contains(&name);
        let below =
            |name: &&String| prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        let others: Vec<&str> = tensors.keys().filter(below).map(String::as_str).filter(|name| !known(name)).collect();
        module.others.extend(others);
    }
    let build = |(prefix, module): (&str, Module<'_>)| {
        let place = if prefix.is_empty() { "the module at the root" } else { prefix };
        module.build(prefix, options).map_err(|error| error.within(place))
    };
    modules.into_iter().map(build).collect()
}

/// What the last part of a name says, if it starts like a recurrent parameter; none in it if it does not end like one.
fn parse(leaf: &str) -> Option<Option<(Slot, Parameter)>> {
    let (rest, parameter) =
        PARAMETERS.iter().find_map(|&(base, parameter)| Some((leaf.strip_prefix(base)?, parameter)))?;
    if rest.is_empty() {
        return Some(Some((Slot { layer: None, reverse: false }, parameter)));
    }
    let Some(rest) = rest.strip_prefix("_l") else { return Some(None) };
    let (number, reverse) = match rest.strip_suffix("_reverse") {
        Some(number) => (number, true),
        None => (rest, false),
    };
    // PyTorch writes no leading zeros or signs.
    let layer = number.parse::<usize>().ok().filter(|layer| layer.to_string() == number);
    Some(layer.map(|layer| (Slot { layer: Some(layer), reverse }, parameter)))
}

/// The sizes that all layers share.
#[derive(Clone, Copy)]
struct Sizes {
    gates: usize,
    hidden: usize,
    projection: Option<usize>,
    biased: bool,
}

impl Module<'_> {
    fn build<T: Element>(&self, prefix: &str, options: &LoadOptions) -> Result<Recurrent<T>> {
        if let Some(other) = self.others.first() {
            let what = format_args!("{other:?}, which no recurrent module of PyTorch has,");
            return Err(Error::unsupported("", what));
        }
        let slots = self.slots()?;
        let sizes = self.sizes(slots[0])?;
        let directions = if slots.iter().any(|slot| slot.reverse) { 2 } else { 1 };
        let cell = slots[0].layer.is_none();
        let (mut levels, mut parts) = (Vec::new(), Vec::new());
        for level in slots.chunks(directions) {
            let input = match levels.len() {
                0 => self.input(slots[0])?,
                _ => directions * sizes.projection.unwrap_or(sizes.hidden),
            };
            let mut packed = Vec::new();
            for slot in level {
                let weights = self.weights::<T>(*slot, input, sizes, options.nonlinearity)?;
                let label =
                    if slots.len() == 1 { String::new() } else { slot.suffix().trim_start_matches('_').to_owned() };
                packed.push(Packed::new(label, weights, options.layers)?);
            }
            let mut layers = packed.into_iter().map(|Packed { layer, part }| {
                parts.push(part);
                layer
            });
            match (layers.next(), layers.next()) {
                (Some(forward), Some(backward)) => levels.push(Level::bidirectional(forward, backward, Merge::Concat)?),
                (Some(forward), None) => levels.push(forward.into()),
                (None, _) => {}
            }
        }
        Recurrent::new(prefix, Source::PyTorch { cell, time_major: options.time_major }, levels, parts)
    }

    /// The layers and directions, in PyTorch's order: each layer's forward direction before its backward one.
    fn slots(&self) -> Result<Vec<Slot>> {
        let mut slots: Vec<Slot> = self.parameters.keys().map(|&(slot, _)| slot).collect();
        slots.dedup();
        let directions = if slots.iter().any(|slot| slot.reverse) { 2 } else { 1 };
        for (index, slot) in slots.iter().enumerate() {
            let layer = if slots.len() == 1 && slot.layer.is_none() { None } else { Some(index / directions) };
            let expected = Slot { layer, reverse: index % directions == 1 };
            if *slot != expected {
                return Err(Error::missing("", format_args!("weight_ih{}", expected.suffix())));
            }
        }
        match slots.last() {
            Some(last) if directions == 1 || last.reverse => Ok(slots),
            Some(last) => {
                let expected = Slot { reverse: true, ..*last };
                Err(Error::missing("", format_args!("weight_ih{}", expected.suffix())))
            }
            None => Err(Error::missing("", "weight_ih_l0")),
        }
    }

    fn get(&self, slot: Slot, parameter: Parameter) -> Option<&Tensor> {
        self.parameters.get(&(slot, parameter)).map(|&(_, tensor)| tensor)
    }

    /// A parameter that must be there, with its full name without the prefix.
    fn required(&self, slot: Slot, parameter: Parameter) -> Result<&Tensor> {
        self.get(slot, parameter).ok_or_else(|| Error::missing("", slot.name(parameter)))
    }

    /// What the first layer says of all.
    fn sizes(&self, first: Slot) -> Result<Sizes> {
        let recurrent = self.required(first, Parameter::WeightHh)?;
        let name = slot_shape(first, Parameter::WeightHh);
        let &[rows, columns] = recurrent.shape() else {
            return Err(Error::malformed(name, "two sizes", format_args!("{:?}", recurrent.shape())));
        };
        let biased = self.get(first, Parameter::BiasIh).is_some();
        if let Some(projection) = self.get(first, Parameter::WeightHr) {
            let shape = projection.shape();
            return match *shape {
                [units, hidden] if units == columns && hidden.checked_mul(4) == Some(rows) => {
                    Ok(Sizes { gates: 4, hidden, projection: Some(units), biased })
                }
                _ => {
                    let place = slot_shape(first, Parameter::WeightHr);
                    let expected = format_args!("[{columns}, {}], an LSTM's", rows / 4);
                    Err(Error::malformed(place, expected, format_args!("{shape:?}")))
                }
            };
        }
        let gates = if columns > 0 && rows % columns == 0 { rows / columns } else { 0 };
        if ![1, 3, 4].contains(&gates) {
            let expected = "1, 3 or 4 times as many rows as columns: an RNN's, a GRU's or an LSTM's";
            return Err(Error::malformed(name, expected, format_args!("{:?}", recurrent.shape())));
        }
        Ok(Sizes { gates, hidden: columns, projection: None, biased })
    }

    /// I of the first layer.
    fn input(&self, first: Slot) -> Result<usize> {
        let weight = self.required(first, Parameter::WeightIh)?;
        match *weight.shape() {
            [_, input] => Ok(input),
            _ => {
                let found = format_args!("{:?}", weight.shape());
                Err(Error::malformed(slot_shape(first, Parameter::WeightIh), "two sizes", found))
            }
        }
    }

    fn weights<T: Element>(
        &self,
        slot: Slot,
        input: usize,
        sizes: Sizes,
        nonlinearity: Nonlinearity,
    ) -> Result<Weights<T>> {
        let Sizes { gates, hidden, projection, biased } = sizes;
        let rows = gates.saturating_mul(hidden);
        let expected = |parameter| match parameter {
            Parameter::WeightIh => vec![rows, input],
            Parameter::WeightHh => vec![rows, projection.unwrap_or(hidden)],
            Parameter::BiasIh | Parameter::BiasHh => vec![rows],
            Parameter::WeightHr => vec![projection.unwrap_or(0), hidden],
        };
        let values = |parameter, wanted: bool| {
            let Some(tensor) = self.get(slot, parameter) else {
                return if wanted { Err(Error::missing("", slot.name(parameter))) } else { Ok(None) };
            };
            if !wanted {
                let what = format_args!("{}, which the first layer does not have,", slot.name(parameter));
                return Err(Error::unsupported("", what));
            }
            if tensor.shape() != expected(parameter) {
                let found = format_args!("{:?}", tensor.shape());
                return Err(Error::malformed(
                    slot_shape(slot, parameter),
                    format_args!("{:?}", expected(parameter)),
                    found,
                ));
            }
            T::values(tensor).map(Some).map_err(|error| error.within(slot.name(parameter)))
        };
        let (weight_ih, weight_hh) = (values(Parameter::WeightIh, true)?, values(Parameter::WeightHh, true)?);
        let (bias_ih, bias_hh) = (values(Parameter::BiasIh, biased)?, values(Parameter::BiasHh, biased)?);
        let weight_hr = values(Parameter::WeightHr, projection.is_some())?;
        let arrays = Arrays {
            weight_ih: weight_ih.as_deref().unwrap_or_default(),
            weight_hh: weight_hh.as_deref().unwrap_or_default(),
            bias_ih: bias_ih.as_deref(),
            bias_hh: bias_hh.as_deref(),
        };
        let activation = match nonlinearity {
            Nonlinearity::Tanh => Activation::Tanh,
            Nonlinearity::Relu => Activation::Relu,
        };
        Ok(match (gates, &weight_hr) {
            (1, _) => pytorch::rnn(input, hidden, activation, arrays)?,
            (3, _) => pytorch::gru(input, hidden, arrays)?,
            (_, None) => pytorch::lstm(input, hidden, arrays)?,
            (_, Some(weight_hr)) => pytorch::lstm_projected(input, hidden, arrays, weight_hr)?,
        })
    }
}

impl Slot {
    /// What its names end in.
    fn suffix(self) -> String {
        let layer = self.layer.map_or(String::new(), |layer| format!("_l{layer}"));
        format!("{layer}{}", if self.reverse { "_reverse" } else { "" })
    }

    fn name(self, parameter: Parameter) -> String {
        let base = PARAMETERS.iter().find(|&&(_, own)| own == parameter).map_or("", |&(base, _)| base);
        format!("{base}{}", self.suffix())
    }
}

/// The place of an error in a parameter's shape.
fn slot_shape(slot: Slot, parameter: Parameter) -> String {
    format!("{}: shape", slot.name(parameter))
}
