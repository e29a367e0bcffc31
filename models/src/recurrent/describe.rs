//! What there is to say about recurrent layers.

use super::Recurrent;
use crate::element::Element;
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::{Dims, Direction, Level, Merge, Order};

/// A line of a description: one layer and direction of a [`Recurrent`], or a layer of a whole model.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The name in its file; behind it, for one of several layers and directions, which of them.
    pub name: String,
    /// `SimpleRNN`, `LSTM` or `GRU`; of other layers their class.
    pub cell: String,
    /// In what it departs from the standard, such as `reset after, reverse, clip 3`; may be empty.
    pub variant: String,
    /// The sizes, as `I 8, H 32`.
    pub shapes: String,
    /// Weights and biases that the file stores for it.
    pub parameters: usize,
    /// Multiplications and additions for one row and step.
    pub macs: usize,
    /// Bytes of its weights in memory.
    pub packed_bytes: usize,
}

/// What a layer of a stack does not know of itself.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Which of several it is; empty for the only one.
    pub(crate) label: String,
    pub(crate) parameters: usize,
}

impl<T: Element> Recurrent<T> {
    /// A line for each layer and direction.
    pub fn describe(&self) -> Vec<Row> {
        let layers = self.stack.levels().iter().flat_map(|level| level.layers().map(move |layer| (level, layer)));
        let row = |((level, (layer, direction)), part): ((&Level<T>, (_, _)), &Part)| {
            let layer: &gatefold::Layer<T> = layer;
            let dims = layer.dims();
            let mut variant = variant(dims);
            variant.extend(direction_name(level, direction));
            let projection = dims.projection.map_or(String::new(), |units| format!(", P {units}"));
            Row {
                name: [self.name.as_str(), &part.label]
                    .into_iter()
                    .filter(|name| !name.is_empty())
                    .collect::<Vec<_>>()
                    .join(" "),
                cell: cell_name(dims.cell).to_owned(),
                variant: variant.join(", "),
                shapes: format!("I {}, H {}{projection}", dims.input, dims.hidden),
                parameters: part.parameters,
                macs: (dims.flops() / 2.0) as usize,
                packed_bytes: layer.packed_bytes(),
            }
        };
        layers.zip(&self.parts).map(row).collect()
    }
}

pub(crate) fn cell_name(cell: Cell) -> &'static str {
    match cell {
        Cell::SimpleRnn { .. } => "SimpleRNN",
        Cell::Lstm => "LSTM",
        Cell::Gru { .. } => "GRU",
        _ => "a cell",
    }
}

/// The departures from the standard equations.
fn variant(dims: Dims) -> Vec<String> {
    let mut words = Vec::new();
    match dims.cell {
        Cell::Gru { reset: Reset::After } => words.push("reset after".to_owned()),
        Cell::Gru { reset: Reset::Before } => words.push("reset before".to_owned()),
        _ => {}
    }
    let standard = [Activation::Sigmoid, Activation::Tanh, Activation::Tanh];
    let used = dims.variant.activations;
    match dims.cell {
        Cell::SimpleRnn { activation: Activation::Tanh } => {}
        Cell::SimpleRnn { activation } => words.push(format!("{activation:?}")),
        Cell::Gru { .. } if used[..2] != standard[..2] => words.push(format!("activations {:?}", &used[..2])),
        Cell::Lstm if used != standard => words.push(format!("activations {used:?}")),
        _ => {}
    }
    words.extend(dims.variant.clip.map(|clip| format!("clip {clip}")));
    for (has, word) in [(dims.variant.peepholes, "peepholes"), (dims.variant.coupled, "coupled gates")] {
        words.extend(has.then(|| word.to_owned()));
    }
    words
}

fn direction_name<T>(level: &Level<T>, direction: Direction) -> Option<String> {
    let merge = match level {
        Level::Both { merge: Merge::Sum, .. } => " (sum)",
        Level::Both { merge: Merge::Mul, .. } => " (product)",
        Level::Both { merge: Merge::Average, .. } => " (average)",
        _ => "",
    };
    match direction {
        Direction::Forward => None,
        Direction::Reverse(Order::Processing) => Some("backwards".to_owned()),
        Direction::Reverse(Order::Input) => Some(format!("reverse{merge}")),
    }
}
