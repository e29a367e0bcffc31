//! Cases of a Keras layer.

use super::Case;
use super::options::{boolean, layer, members, size, string, unknown, unknown_tensor};
use super::pass::{Activation, Arrays, Call, Cell, Direction, Layer, Merge, Pass, Rows, Sizes};
use super::tensor::Tensor;
use serde_json::Value;

/// The arguments of a layer's constructor, with Keras' defaults.
struct Constructor {
    cell: Cell,
    units: usize,
    return_sequences: bool,
    return_state: bool,
    stateful: bool,
    go_backwards: bool,
    zero_output_for_mask: bool,
    use_bias: bool,
    activation: Activation,
    recurrent_activation: Activation,
}

impl Constructor {
    /// Of a layer of this class.
    fn new(case: &Case, class: &Value, arguments: &Value) -> Constructor {
        let mut c = Constructor {
            cell: match string(case, "layer", class) {
                "SimpleRNN" => Cell::SimpleRnn,
                "LSTM" => Cell::Lstm,
                "GRU" => Cell::Gru { reset_after: true, keeps_past: true },
                _ => unknown(case, "layer", class),
            },
            units: 0,
            return_sequences: false,
            return_state: false,
            stateful: false,
            go_backwards: false,
            zero_output_for_mask: false,
            use_bias: true,
            activation: Activation::Tanh,
            recurrent_activation: Activation::Sigmoid,
        };
        for (key, value) in members(case, arguments) {
            match (key, c.cell) {
                ("units", _) => c.units = size(case, key, value),
                ("return_sequences", _) => c.return_sequences = boolean(case, key, value),
                ("return_state", _) => c.return_state = boolean(case, key, value),
                ("stateful", _) => c.stateful = boolean(case, key, value),
                ("go_backwards", _) => c.go_backwards = boolean(case, key, value),
                ("zero_output_for_mask", _) => c.zero_output_for_mask = boolean(case, key, value),
                ("use_bias", _) => c.use_bias = boolean(case, key, value),
                ("activation", _) => c.activation = activation(case, key, value),
                ("recurrent_activation", Cell::Lstm | Cell::Gru { .. }) => {
                    c.recurrent_activation = activation(case, key, value);
                }
                ("reset_after", Cell::Gru { .. }) => {
                    c.cell = Cell::Gru { reset_after: boolean(case, key, value), keeps_past: true };
                }
                ("unit_forget_bias", Cell::Lstm) => {} // matters to initial weights only
                _ => unknown(case, key, value),
            }
        }
        c
    }

    /// The layer whose weights stand under a prefix.
    fn layer<'a>(&self, case: &'a Case, prefix: &str, input: usize) -> Layer<'a> {
        let tensor = |name: &str| case.tensor(&format!("weights/{prefix}{name}"));
        let bias = case.tensors.get(&format!("weights/{prefix}bias"));
        assert_eq!(bias.is_some(), self.use_bias, "{}: bias", case.name);
        let arrays = Arrays::Keras { kernel: tensor("kernel"), recurrent_kernel: tensor("recurrent_kernel"), bias };
        let activations = match self.cell {
            Cell::SimpleRnn => vec![self.activation],
            Cell::Gru { .. } => vec![self.recurrent_activation, self.activation],
            Cell::Lstm => vec![self.recurrent_activation, self.activation, self.activation],
        };
        Layer { activations, ..Layer::standard(self.cell, [input, self.units], arrays) }
    }

    fn states(&self) -> usize {
        if self.cell == Cell::Lstm { 2 } else { 1 }
    }
}

/// By Keras' names, with its default parameters.
fn activation(case: &Case, key: &str, value: &Value) -> Activation {
    match string(case, key, value) {
        "relu" => Activation::Relu,
        "linear" => Activation::Linear,
        "softsign" => Activation::Softsign,
        "elu" => Activation::Elu(1.0),
        "hard_sigmoid" => Activation::HardSigmoid(1.0 / 6.0, 0.5),
        _ => unknown(case, key, value),
    }
}

/// A layer, and how it is wrapped if it is.
struct Wrapped {
    constructor: Constructor,
    directions: usize,
    merge: Merge,
}

impl Wrapped {
    fn new(case: &Case) -> Wrapped {
        let arguments = &case.options["constructor"];
        if layer(case) != "Bidirectional" {
            let constructor = Constructor::new(case, &case.options["layer"], arguments);
            return Wrapped { constructor, directions: 1, merge: Merge::Concat };
        }
        let mut merge = Merge::Concat;
        for (key, value) in members(case, arguments) {
            match key {
                "layer" | "layer_constructor" => {}
                "merge_mode" => {
                    merge = match value.as_str() {
                        Some("concat") => Merge::Concat,
                        Some("sum") => Merge::Sum,
                        Some("mul") => Merge::Mul,
                        Some("ave") => Merge::Average,
                        None if value.is_null() => Merge::Apart,
                        _ => unknown(case, key, value),
                    }
                }
                _ => unknown(case, key, value),
            }
        }
        let constructor = Constructor::new(case, &arguments["layer"], &arguments["layer_constructor"]);
        assert!(!constructor.go_backwards && !constructor.stateful, "{}: no such layer is wrapped here", case.name);
        Wrapped { constructor, directions: 2, merge }
    }

    fn prefixes(&self) -> &'static [&'static str] {
        if self.directions == 1 { &[""] } else { &["forward/", "backward/"] }
    }
}

/// What a case asks for.
pub fn pass(case: &Case) -> Pass<'_> {
    let mut calls = 1;
    for (key, value) in members(case, &case.options) {
        match key {
            "framework" | "version" | "layer" | "constructor" | "note" => {}
            "calls" => calls = size(case, key, value),
            _ => unknown(case, key, value),
        }
    }
    let wrapped = Wrapped::new(case);
    let Wrapped { ref constructor, merge, .. } = wrapped;
    check_tensors(case, &wrapped);
    assert!(calls == 1 || constructor.stateful, "{}: {calls} calls without a state", case.name);
    let x = case.tensor("x");
    let sizes = Sizes::of(case, x, true);
    let rows = match case.tensors.get("mask") {
        None => Rows::All,
        Some(mask) => {
            assert_eq!(mask.shape, [sizes.batch, sizes.time], "{}: mask", case.name);
            Rows::Mask(mask.values.iter().map(|&v| v != 0.0).collect(), constructor.zero_output_for_mask)
        }
    };
    Pass {
        name: &case.name,
        levels: vec![wrapped.prefixes().iter().map(|prefix| constructor.layer(case, prefix, sizes.input)).collect()],
        direction: if constructor.go_backwards { Direction::GoBackwards } else { Direction::Forward },
        merge,
        sizes,
        x: x.clone(),
        batch_first: true,
        rows,
        calls: (0..calls).map(|k| call(case, &wrapped, calls, k)).collect(),
    }
}

/// Call `k` of as many.
fn call(case: &Case, wrapped: &Wrapped, calls: usize, k: usize) -> Call {
    let Wrapped { constructor, directions, merge } = wrapped;
    let suffix = |call: usize| if calls == 1 { String::new() } else { format!("_call{call}") };
    let states = constructor.states();
    // State `s` of every direction.
    let left = |s: usize, call: usize| {
        let name = |d: usize| format!("state_{}{}", d * states + s, suffix(call));
        Tensor::stack((0..*directions).map(|d| case.tensor(&name(d))))
    };
    let initial = |s: usize| match k {
        0 => case.tensors.get(&format!("initial_state_{s}")).map(|state| {
            assert_eq!(*directions, 1, "{}: an initial state of two directions", case.name);
            Tensor::stack([state].into_iter())
        }),
        _ => Some(left(s, k - 1)),
    };
    let y = match merge {
        Merge::Apart => Tensor::stack(["y_forward", "y_backward"].map(|name| case.tensor(name)).into_iter()),
        _ => case.tensor(&format!("y{}", suffix(k))).clone(),
    };
    let (y, last) = if constructor.return_sequences { (Some(y), None) } else { (None, Some(y)) };
    Call {
        h0: initial(0),
        c0: (states == 2).then(|| initial(1)).flatten(),
        y,
        last,
        h: constructor.return_state.then(|| left(0, k)),
        c: (constructor.return_state && states == 2).then(|| left(1, k)),
    }
}

fn check_tensors(case: &Case, wrapped: &Wrapped) {
    let states = wrapped.constructor.states() * wrapped.directions;
    let apart = wrapped.merge == Merge::Apart;
    for name in case.tensors.keys() {
        let plain = name.split("_call").next().expect("a first part");
        let state = |prefix: &str| (0..states).any(|s| plain == format!("{prefix}{s}"));
        let weight = |array: &str| wrapped.prefixes().iter().any(|p| plain == format!("weights/{p}{array}"));
        let known = match plain {
            "x" | "mask" => true,
            "y" => !apart,
            "y_forward" | "y_backward" => apart,
            _ => {
                state("state_")
                    || state("initial_state_")
                    || ["kernel", "recurrent_kernel", "bias"].into_iter().any(weight)
            }
        };
        if !known {
            unknown_tensor(case, name);
        }
    }
}
