//! Cases of a PyTorch layer, and of equations that PyTorch differentiated. Those with gradients have outputs too.

use super::forward::{Arrays, Call, Cell, Forward};
use super::options::{boolean, layer, members, size, unknown, unknown_tensor};
use super::{Case, OutOfScope};

/// The forward pass of a case of a layer, if it is in scope.
pub fn forward(case: &Case) -> Result<Forward<'_>, OutOfScope> {
    let mut hidden = 0;
    for (key, value) in members(case, &case.options) {
        match key {
            "framework" | "version" | "layer" | "options" | "input_size" | "grads" => {}
            "hidden_size" => hidden = size(case, key, value),
            _ => unknown(case, key, value),
        }
    }
    let (mut relu, mut batch_first, mut bias) = (false, false, true);
    let mut out_of_scope = None;
    for (key, value) in members(case, &case.options["options"]) {
        match (key, value.as_str()) {
            ("bias", _) => bias = boolean(case, key, value),
            ("batch_first", _) => batch_first = boolean(case, key, value),
            ("nonlinearity", Some("relu")) if layer(case) == "RNN" => relu = true,
            ("bidirectional", _) => out_of_scope = Some(OutOfScope("bidirectional")),
            ("num_layers", _) => out_of_scope = Some(OutOfScope("layers")),
            ("proj_size", _) => out_of_scope = Some(OutOfScope("projection")),
            _ => unknown(case, key, value),
        }
    }
    if case.tensors.contains_key("lengths") {
        out_of_scope = Some(OutOfScope("lengths"));
    }
    if let Some(reason) = out_of_scope {
        return Err(reason);
    }
    for name in case.tensors.keys() {
        match name.strip_prefix("grads/").map_or(name.as_str(), |_| "grads") {
            "x" | "h0" | "c0" | "y" | "hn" | "cn" => {}
            "weights/weight_ih_l0" | "weights/weight_hh_l0" | "weights/bias_ih_l0" | "weights/bias_hh_l0" => {}
            "dx" | "dy" | "dh0" | "dc0" | "dhn" | "dcn" | "grads" => {}
            _ => unknown_tensor(case, name),
        }
    }
    let cell = match layer(case) {
        "RNN" => Cell::SimpleRnn { relu },
        "LSTM" => Cell::Lstm,
        "GRU" => Cell::Gru { reset_after: true, keeps_past: true },
        _ => unknown(case, "layer", &case.options["layer"]),
    };
    let (weight_ih, weight_hh) = (case.tensor("weights/weight_ih_l0"), case.tensor("weights/weight_hh_l0"));
    let (bias_ih, bias_hh) = (case.tensors.get("weights/bias_ih_l0"), case.tensors.get("weights/bias_hh_l0"));
    assert_eq!((bias_ih.is_some(), bias_hh.is_some()), (bias, bias), "{}: biases", case.name);
    let arrays = Arrays::PyTorch { weight_ih, weight_hh, bias_ih, bias_hh };
    let call = Call {
        h0: case.tensors.get("h0"),
        c0: case.tensors.get("c0"),
        y: Some(case.tensor("y")),
        last: None,
        h: Some(case.tensor("hn")),
        c: (cell == Cell::Lstm).then(|| case.tensor("cn")),
    };
    Ok(Forward::sized(case, cell, arrays, batch_first, hidden, vec![call]))
}

/// The forward pass of a GRU that is written out as its equations; always in scope.
pub fn equations(case: &Case) -> Result<Forward<'_>, OutOfScope> {
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
    let arrays = Arrays::Equations { w: case.tensor("W"), r: case.tensor("R"), b: case.tensor("b") };
    let hn = case.tensor("hn");
    let (h0, y) = (case.tensors.get("h0"), Some(case.tensor("y")));
    let call = Call { h0, c0: None, y, last: None, h: Some(hn), c: None };
    Ok(Forward::sized(case, cell, arrays, false, hn.shape[1], vec![call]))
}
