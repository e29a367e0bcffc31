//! Cases of a PyTorch layer, and of equations that PyTorch differentiated. Those with gradients have outputs too.

use super::Case;
use super::options::{boolean, layer, members, size, unknown, unknown_tensor};
use super::pass::{Activation, Arrays, Call, Cell, Direction, Layer, Merge, Pass, Rows, Sizes};
use super::tensor::Tensor;
use std::collections::BTreeSet;

/// The arguments of a module's constructor, with PyTorch's defaults.
struct Module {
    cell: Cell,
    relu: bool,
    input: usize,
    hidden: usize,
    bias: bool,
    batch_first: bool,
    layers: usize,
    directions: usize,
    /// 0: none.
    proj_size: usize,
}

impl Module {
    fn new(case: &Case) -> Module {
        let mut m = Module {
            cell: match layer(case) {
                "RNN" => Cell::SimpleRnn,
                "LSTM" => Cell::Lstm,
                "GRU" => Cell::Gru { reset_after: true, keeps_past: true },
                _ => unknown(case, "layer", &case.options["layer"]),
            },
            relu: false,
            input: 0,
            hidden: 0,
            bias: true,
            batch_first: false,
            layers: 1,
            directions: 1,
            proj_size: 0,
        };
        for (key, value) in members(case, &case.options) {
            match key {
                "framework" | "version" | "layer" | "options" | "grads" => {}
                "input_size" => m.input = size(case, key, value),
                "hidden_size" => m.hidden = size(case, key, value),
                _ => unknown(case, key, value),
            }
        }
        for (key, value) in members(case, &case.options["options"]) {
            match (key, value.as_str(), m.cell) {
                ("bias", ..) => m.bias = boolean(case, key, value),
                ("batch_first", ..) => m.batch_first = boolean(case, key, value),
                ("bidirectional", ..) => m.directions = 1 + usize::from(boolean(case, key, value)),
                ("num_layers", ..) => m.layers = size(case, key, value),
                ("proj_size", _, Cell::Lstm) => m.proj_size = size(case, key, value),
                ("nonlinearity", Some("relu"), Cell::SimpleRnn) => m.relu = true,
                _ => unknown(case, key, value),
            }
        }
        m
    }

    /// Channels of one direction's outputs.
    fn output(&self) -> usize {
        if self.proj_size > 0 { self.proj_size } else { self.hidden }
    }

    /// The layers with their suffixes, level by level; the names of all tensors that were read are kept.
    fn levels<'a>(&self, case: &'a Case, known: &mut BTreeSet<String>) -> Vec<Vec<Layer<'a>>> {
        let mut tensor = |array: &str, suffix: &str, is: bool| {
            let name = format!("weights/{array}{suffix}");
            let tensor = is.then(|| case.tensor(&name));
            known.extend(is.then_some(name));
            tensor
        };
        let mut layer = |level: usize, direction: usize| {
            let suffix = format!("_l{level}{}", ["", "_reverse"][direction]);
            let mut must = |array| tensor(array, &suffix, true).expect("asked for");
            let (weight_ih, weight_hh) = (must("weight_ih"), must("weight_hh"));
            let (bias_ih, bias_hh) = (tensor("bias_ih", &suffix, self.bias), tensor("bias_hh", &suffix, self.bias));
            let weight_hr = tensor("weight_hr", &suffix, self.proj_size > 0);
            let arrays = Arrays::PyTorch { weight_ih, weight_hh, bias_ih, bias_hh, weight_hr };
            let input = if level == 0 { self.input } else { self.directions * self.output() };
            let layer = Layer::standard(self.cell, [input, self.hidden], arrays);
            if self.relu { Layer { activations: vec![Activation::Relu], ..layer } } else { layer }
        };
        (0..self.layers).map(|level| (0..self.directions).map(|d| layer(level, d)).collect()).collect()
    }
}

/// What a case of a module asks for.
pub fn pass(case: &Case) -> Pass<'_> {
    let module = Module::new(case);
    let mut known = BTreeSet::new();
    let levels = module.levels(case, &mut known);
    for name in case.tensors.keys() {
        match name.strip_prefix("grads/").map_or(name.as_str(), |_| "grads") {
            "x" | "h0" | "c0" | "y" | "hn" | "cn" | "lengths" => {}
            "dx" | "dy" | "dh0" | "dc0" | "dhn" | "dcn" | "grads" => {}
            _ if known.contains(name) => {}
            _ => unknown_tensor(case, name),
        }
    }
    let x = case.tensor("x");
    let sizes = Sizes::of(case, x, module.batch_first);
    assert_eq!(sizes.input, module.input, "{}: x", case.name);
    let call = Call {
        h0: case.tensors.get("h0").cloned(),
        c0: case.tensors.get("c0").cloned(),
        y: Some(case.tensor("y").clone()),
        last: None,
        h: Some(case.tensor("hn").clone()),
        c: (module.cell == Cell::Lstm).then(|| case.tensor("cn").clone()),
    };
    Pass {
        name: &case.name,
        levels,
        direction: Direction::Forward,
        merge: Merge::Concat,
        sizes,
        x: x.clone(),
        batch_first: module.batch_first,
        rows: lengths(case.tensors.get("lengths")),
        calls: vec![call],
    }
}

/// The rows of a case that may have lengths.
pub fn lengths(tensor: Option<&Tensor>) -> Rows {
    tensor.map_or(Rows::All, |lengths| Rows::Lengths(lengths.values.iter().map(|&v| v as usize).collect()))
}

/// What a GRU asks for that is written out as its equations.
pub fn equations(case: &Case) -> Pass<'_> {
    let (mut reset_after, mut keeps_past) = (None, None);
    for (key, value) in members(case, &case.options) {
        match (key, value.as_str()) {
            ("framework" | "version", _) | ("layer", Some("GRU")) | ("gate_order", Some("z r n")) => {}
            ("reset_after", _) => reset_after = Some(boolean(case, key, value)),
            ("update_gate_keeps_state", _) => keeps_past = Some(boolean(case, key, value)),
            _ => unknown(case, key, value),
        }
    }
    for name in case.tensors.keys() {
        match name.as_str() {
            "x" | "h0" | "W" | "R" | "b" | "y" | "hn" => {}
            "dx" | "dh0" | "dW" | "dR" | "db" | "dy" | "dhn" => {}
            _ => unknown_tensor(case, name),
        }
    }
    let reset_after = reset_after.expect("option reset_after");
    let keeps_past = keeps_past.expect("option update_gate_keeps_state");
    let cell = Cell::Gru { reset_after, keeps_past };
    let (x, hn) = (case.tensor("x"), case.tensor("hn"));
    let sizes = Sizes::of(case, x, false);
    let arrays = Arrays::Equations { w: case.tensor("W"), r: case.tensor("R"), b: case.tensor("b") };
    let (h0, y) = (case.tensors.get("h0").cloned(), Some(case.tensor("y").clone()));
    Pass {
        name: &case.name,
        levels: vec![vec![Layer::standard(cell, [sizes.input, hn.shape[1]], arrays)]],
        direction: Direction::Forward,
        merge: Merge::Concat,
        sizes,
        x: x.clone(),
        batch_first: false,
        rows: Rows::All,
        calls: vec![Call { h0, c0: None, y, last: None, h: Some(hn.clone()), c: None }],
    }
}
