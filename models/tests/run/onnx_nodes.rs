//! Nodes of ONNX, against ONNX Runtime.

use crate::{assert_agrees, loaded, refusal, samples};
use gatefold_models::{Data, Inputs, Recurrent, Source, Tensor, safetensors};
use std::collections::BTreeMap;

fn case(name: &str) -> BTreeMap<String, Tensor> {
    safetensors::read(samples::path(&name.replace(".onnx", ".safetensors"))).unwrap().tensors
}

fn inputs(case: &BTreeMap<String, Tensor>) -> Inputs<'_> {
    let get = |name| case.get(name);
    Inputs { x: &case["X"], h0: get("initial_h"), c0: get("initial_c"), lengths: get("sequence_lens"), mask: None }
}

#[test]
fn every_case_gives_what_onnx_runtime_gave() {
    let names = samples::ending("onnx", ".onnx");
    assert_eq!(names.len(), 57);
    for name in names {
        let (loaded, case) = (loaded::<f32>(&name), case(&name));
        let Ok(gatefold_models::Runnable::Recurrent(node)) = loaded.pick(None) else { panic!("{name}") };
        let outputs = node.run(inputs(&case)).unwrap_or_else(|error| panic!("{name}: {error}"));
        if name == OVERFLOWS {
            continue;
        }
        assert_agrees(&name, &case["Y"], &outputs.y);
        assert_agrees(&name, &case["Y_h"], &outputs.hn.unwrap());
        assert_eq!(outputs.cn.is_some(), case.contains_key("Y_c"), "{name}");
        if let Some(cn) = outputs.cn {
            assert_agrees(&name, &case["Y_c"], &cn);
        }
    }
}

/// The case whose Softplus overflows in ONNX Runtime, where exp(x) is beyond f32; here it does not.
const OVERFLOWS: &str = "onnx/rnn_softplus.onnx";

#[test]
fn softplus_agrees_as_long_as_onnx_runtime_has_numbers() {
    let (loaded, case) = (loaded::<f32>(OVERFLOWS), case(OVERFLOWS));
    let found = loaded.recurrent()[0].run(&case["X"]).unwrap();
    let expected = case["Y"].to_f32().unwrap();
    let [time, 1, batch, units] = *case["Y"].shape() else { panic!() };
    let row = batch * units;
    let finite = expected.chunks(row).take_while(|step| step.iter().all(|y| y.is_finite())).count();
    assert!((2..time).contains(&finite), "{finite} of {time} steps");
    let cut = |tensor: &Tensor| {
        let values = tensor.to_f32().unwrap()[..finite * row].to_vec();
        Tensor::new(vec![finite, 1, batch, units], Data::F32(values)).unwrap()
    };
    assert_agrees(OVERFLOWS, &cut(&case["Y"]), &cut(&found.y));
    // The rest is compared with what f64 gives, where nothing overflows.
    let exact = crate::loaded::<f64>(OVERFLOWS).recurrent()[0].run(&case["X"]).unwrap();
    assert!(exact.y.to_f64().unwrap().iter().all(|y| y.is_finite()));
    assert_agrees(OVERFLOWS, &exact.y, &found.y);
}

#[test]
fn nodes_are_described() {
    let row = |name: &str| loaded::<f32>(name).describe().remove(0);
    let gru = row("onnx/gru_lbr.onnx");
    assert_eq!((gru.name.as_str(), gru.cell.as_str(), gru.variant.as_str()), ("gru_0", "GRU", "reset after"));
    assert_eq!(row("onnx/lstm_peepholes.onnx").variant, "peepholes");
    assert_eq!(row("onnx/lstm_input_forget.onnx").variant, "coupled gates");
    assert!(row("onnx/rnn_clip.onnx").variant.contains("clip 0.69"), "{}", row("onnx/rnn_clip.onnx").variant);
    let rows = loaded::<f32>("onnx/gru_bidirectional.onnx").describe();
    let names: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.variant.as_str())).collect();
    assert_eq!(names, [("gru_0 forward", "reset before"), ("gru_0 reverse", "reset before, reverse")]);
    assert!(rows.iter().all(|row| row.packed_bytes >= row.parameters * 4));
}

#[test]
fn states_that_the_graph_computes_have_to_be_given() {
    let (loaded, case) = (loaded::<f32>("onnx/lstm_forward_lens.onnx"), case("onnx/lstm_forward_lens.onnx"));
    let lstm: &Recurrent<f32> = &loaded.recurrent()[0];
    let all = inputs(&case);
    for (inputs, name) in [
        (Inputs { h0: None, ..all }, "h0, which the graph computes as \"initial_h\""),
        (Inputs { c0: None, ..all }, "c0, which the graph computes as \"initial_c\""),
        (Inputs { lengths: None, ..all }, "lengths, which the graph computes as \"sequence_lens\""),
    ] {
        let message = refusal(lstm.run(inputs));
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_row_of_no_steps_keeps_its_state() {
    for name in ["onnx/lstm_bidirectional_lens.onnx", "onnx/gru_reverse_lens.onnx"] {
        let (loaded, case) = (loaded::<f32>(name), case(name));
        let node = &loaded.recurrent()[0];
        assert_eq!(node.source(), Source::Onnx { batch_first: false });
        let batch = case["X"].shape()[1];
        let none = Tensor::new(vec![batch], Data::I32(vec![0; batch])).unwrap();
        let outputs = node.run(Inputs { lengths: Some(&none), ..inputs(&case) }).unwrap();
        assert_eq!(outputs.hn.as_ref(), Some(&case["initial_h"]));
        assert_eq!(outputs.cn.as_ref(), case.get("initial_c"));
        assert!(outputs.y.to_f32().unwrap().iter().all(|&y| y == 0.0));
    }
}

#[test]
fn weights_by_other_means_give_the_same_bits() {
    let x = crate::wave(&[4, 1, 3], 0.0);
    let y = |name: &str| loaded::<f32>(&format!("onnx_more/{name}.onnx")).recurrent()[0].run(&x).unwrap().y;
    let same = ["constants", "identity", "cast_f16", "cast_f64", "exported", "typed_fields", "typed_f16", "external"];
    for name in same {
        assert_eq!(y(name), y("plain"), "{name}");
    }
    assert_eq!(y("quantised"), y("quantised_plain"));
    assert_eq!(loaded::<f32>("onnx_more/quantised.onnx").recurrent()[0].stack().levels().len(), 1);
}

#[test]
fn nodes_inside_of_others_are_found_and_named() {
    let loaded = loaded::<f32>("onnx_more/branches.onnx");
    let names: Vec<_> = loaded.recurrent().iter().map(|node| node.name()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"if/then_branch/then"), "{names:?}");
    let message = refusal(loaded.pick(None));
    assert!(message.contains("the choice of one"), "{message}");
}

#[test]
fn refused_nodes_are_named() {
    for (name, reason) in [
        ("refused_attribute", "\"zoneout\" is not supported"),
        ("refused_computed", "which is not constant"),
        ("refused_clip", "clip: expected a bound above 0"),
        ("function", "a recurrent node of a function"),
    ] {
        let loaded = loaded::<f32>(&format!("onnx_more/{name}.onnx"));
        assert_eq!((loaded.recurrent().len(), loaded.refused().len()), (0, 1), "{name}");
        let message = refusal(loaded.pick(None));
        assert!(message.contains(reason), "{message}");
    }
}
