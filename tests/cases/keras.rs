//! Cases of a Keras layer.

use super::forward::{Arrays, Call, Cell, Forward};
use super::options::{boolean, layer, members, size, unknown, unknown_tensor};
use super::{Case, OutOfScope};

/// The arguments of a layer's constructor, with Keras' defaults.
struct Constructor {
    units: usize,
    return_sequences: bool,
    return_state: bool,
    stateful: bool,
    reset_after: bool,
    use_bias: bool,
    relu: bool,
    /// Why another argument puts the case out of scope.
    out_of_scope: Option<OutOfScope>,
}

impl Constructor {
    fn new(case: &Case) -> Constructor {
        let mut c = Constructor {
            units: 0,
            return_sequences: false,
            return_state: false,
            stateful: false,
            reset_after: true,
            use_bias: true,
            relu: false,
            out_of_scope: None,
        };
        for (key, value) in members(case, &case.options["constructor"]) {
            match (key, value.as_str()) {
                ("units", _) => c.units = size(case, key, value),
                ("return_sequences", _) => c.return_sequences = boolean(case, key, value),
                ("return_state", _) => c.return_state = boolean(case, key, value),
                ("stateful", _) => c.stateful = boolean(case, key, value),
                ("reset_after", _) => c.reset_after = boolean(case, key, value),
                ("use_bias", _) => c.use_bias = boolean(case, key, value),
                ("unit_forget_bias", _) => {} // matters to initial weights only
                ("activation", Some("relu")) if layer(case) == "SimpleRNN" => c.relu = true,
                ("activation", Some("relu" | "linear" | "softsign" | "elu" | "hard_sigmoid"))
                | ("recurrent_activation", Some("hard_sigmoid")) => c.out_of_scope = Some(OutOfScope("activations")),
                ("go_backwards", _) => c.out_of_scope = Some(OutOfScope("go_backwards")),
                ("zero_output_for_mask", _) => c.out_of_scope = Some(OutOfScope("mask")),
                _ => unknown(case, key, value),
            }
        }
        c
    }
}

/// The forward pass of a case, if it is in scope.
pub fn forward(case: &Case) -> Result<Forward<'_>, OutOfScope> {
    if layer(case) == "Bidirectional" {
        return Err(OutOfScope("bidirectional"));
    }
    let mut calls = 1;
    for (key, value) in members(case, &case.options) {
        match key {
            "framework" | "version" | "layer" | "constructor" | "note" => {}
            "calls" => calls = size(case, key, value),
            _ => unknown(case, key, value),
        }
    }
    let constructor = Constructor::new(case);
    let mut out_of_scope = constructor.out_of_scope;
    for name in case.tensors.keys() {
        match name.split("_call").next().expect("a first part") {
            "x" | "y" | "state_0" | "state_1" | "initial_state_0" | "initial_state_1" => {}
            "weights/kernel" | "weights/recurrent_kernel" | "weights/bias" => {}
            "mask" => out_of_scope = Some(OutOfScope("mask")),
            _ => unknown_tensor(case, name),
        }
    }
    match out_of_scope {
        Some(reason) => Err(reason),
        None => Ok(in_scope(case, &constructor, calls)),
    }
}

fn in_scope<'a>(case: &'a Case, constructor: &Constructor, calls: usize) -> Forward<'a> {
    let cell = match layer(case) {
        "SimpleRNN" => Cell::SimpleRnn { relu: constructor.relu },
        "LSTM" => Cell::Lstm,
        "GRU" => Cell::Gru { reset_after: constructor.reset_after, keeps_past: true },
        _ => unknown(case, "layer", &case.options["layer"]),
    };
    let (kernel, recurrent_kernel) = (case.tensor("weights/kernel"), case.tensor("weights/recurrent_kernel"));
    let bias = case.tensors.get("weights/bias");
    assert_eq!(bias.is_some(), constructor.use_bias, "{}: bias", case.name);
    assert!(calls == 1 || constructor.stateful, "{}: {calls} calls without a state", case.name);
    let is_lstm = cell == Cell::Lstm;
    let suffix = |call: usize| {
        if calls == 1 { String::new() } else { format!("_call{call}") }
    };
    let left = |state: usize, call: usize| case.tensor(&format!("state_{state}{}", suffix(call)));
    let initial = |state: usize, call: usize| match call {
        0 => case.tensors.get(&format!("initial_state_{state}")),
        _ => Some(left(state, call - 1)),
    };
    let call = |k: usize| {
        let y = case.tensor(&format!("y{}", suffix(k)));
        Call {
            h0: initial(0, k),
            c0: if is_lstm { initial(1, k) } else { None },
            y: constructor.return_sequences.then_some(y),
            last: (!constructor.return_sequences).then_some(y),
            h: constructor.return_state.then(|| left(0, k)),
            c: (constructor.return_state && is_lstm).then(|| left(1, k)),
        }
    };
    let calls = (0..calls).map(call).collect();
    let arrays = Arrays::Keras { kernel, recurrent_kernel, bias };
    Forward::sized(case, cell, arrays, true, constructor.units, calls)
}
