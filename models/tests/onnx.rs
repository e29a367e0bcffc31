//! Recurrent nodes of ONNX graphs, whose weights come in all the ways that exporters write them.
#![cfg(feature = "onnx")]

mod samples;

use gatefold_models::onnx::{self, Attribute, Cell, Direction, Input, Model, RecurrentNode, Size};
use gatefold_models::{Data, Dtype};

fn model(name: &str) -> Model {
    onnx::read(samples::path(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// The only recurrent node of a model.
fn node(name: &str) -> RecurrentNode {
    let model = model(name);
    let mut nodes: Vec<_> = model.recurrent_nodes().collect();
    assert_eq!(nodes.len(), 1, "{name}");
    nodes.remove(0).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn error(name: &str) -> String {
    let model = model(name);
    let mut errors = model.recurrent_nodes().filter_map(|node| node.err());
    errors.next().unwrap_or_else(|| panic!("{name} was read")).to_string()
}

#[test]
fn every_conformance_model_is_read() {
    let names = samples::ending("onnx", ".onnx");
    assert_eq!(names.len(), 57);
    for name in names {
        let node = node(&name);
        let stem = name.trim_start_matches("onnx/").trim_end_matches(".onnx");
        let (cell, gates) = match &stem[..3] {
            "rnn" => (Cell::Rnn, 1),
            "gru" => (Cell::Gru, 3),
            _ => (Cell::Lstm, 4),
        };
        assert_eq!((node.cell, node.quantized), (cell, false));
        let directions = if node.direction == Direction::Bidirectional { 2 } else { 1 };
        assert_eq!(directions == 2, stem.contains("bidirectional"));
        assert_eq!(node.direction == Direction::Reverse, stem.contains("reverse"));
        assert_eq!(node.batch_first, stem.contains("layout1"));
        assert_eq!(node.clip, stem.contains("clip").then_some(0.7));
        assert_eq!(node.input_forget, stem.contains("input_forget"));
        assert_eq!(node.linear_before_reset, stem.contains("lbr") || stem == "gru_softsign");
        assert_eq!(node.p.is_some(), stem.contains("peepholes"));
        assert_eq!(node.b.is_none(), stem.contains("defaults"));
        let lengths = if stem.contains("lens") { Input::Computed("sequence_lens".to_owned()) } else { Input::Absent };
        assert_eq!(node.sequence_lens, lengths);
        let h = node.hidden_size;
        assert_eq!(node.r.shape(), [directions, gates * h, h]);
        assert_eq!(node.activations.len(), directions * [1, 2, 3][(gates - 1) / 2 + gates / 4]);
        assert_eq!(node.path, format!("{}_0", &stem.split('_').next().unwrap()));
        assert_eq!((node.x.as_str(), node.outputs[0].as_str(), node.outputs[1].as_str()), ("X", "Y", "Y_h"));
    }
}

#[test]
fn activations_and_their_parameters_are_given() {
    let lstm = node("onnx/lstm_activations.onnx");
    assert_eq!(lstm.activations, ["HardSigmoid", "Softsign", "Relu"]);
    assert_eq!((&lstm.activation_alpha[..], &lstm.activation_beta[..]), (&[0.3][..], &[0.45][..]));
    let gru = node("onnx/gru_bidirectional.onnx");
    assert_eq!(gru.activations, ["Sigmoid", "Tanh", "Sigmoid", "Tanh"]);
    assert_eq!(gru.initial_h, Input::Computed("initial_h".to_owned()));
    assert!(gru.activation_alpha.is_empty() && gru.activation_beta.is_empty());
}

#[test]
fn weights_are_found_however_they_are_written() {
    let plain = node("onnx_more/plain.onnx");
    let values = plain.w.to_f32().unwrap().into_owned();
    assert!(values.iter().any(|&v| v != 0.0), "weights of 0 would show nothing");
    for name in ["constants", "identity", "exported", "opset_9", "slice_backwards", "typed_fields", "external"] {
        let other = node(&format!("onnx_more/{name}.onnx"));
        assert_eq!((&other.w, &other.r, &other.b), (&plain.w, &plain.r, &plain.b), "{name}");
    }
    for name in ["cast_f16", "cast_f64", "typed_f16"] {
        let other = node(&format!("onnx_more/{name}.onnx"));
        assert_eq!(other.w, plain.w, "{name}");
        assert_eq!(
            (other.r.data(), other.b.unwrap().data()),
            (plain.r.data(), plain.b.as_ref().unwrap().data()),
            "{name}"
        );
    }
    let scaled = node("onnx_more/typed_ints.onnx");
    assert!(scaled.w.to_f32().unwrap().iter().zip(&values).all(|(a, b)| *a == b * 64.0));
    assert_eq!(scaled.r, plain.r);
}

#[test]
fn nodes_inside_of_other_nodes_are_listed() {
    let plain = node("onnx_more/plain.onnx");
    let model = model("onnx_more/branches.onnx");
    let nodes: Vec<_> = model.recurrent_nodes().map(|node| node.unwrap()).collect();
    let paths: Vec<_> = nodes.iter().map(|node| node.path.as_str()).collect();
    assert_eq!(paths.len(), 2);
    assert!(paths.contains(&"if/then_branch/then") && paths.contains(&"if/else_branch/GRU#0"), "{paths:?}");
    assert!(nodes.iter().all(|node| node.w == plain.w && node.b == plain.b));
    // What an iteration hands to the next is no constant, though the outer graph starts it with one.
    let error = error("onnx_more/loop_state.onnx");
    assert!(error.contains("node loop/body/deep: B: \"state\", which is not constant, is not supported"), "{error}");
}

#[test]
fn optional_inputs_are_told_apart() {
    let node = node("onnx_more/wired.onnx");
    assert_eq!(node.sequence_lens, Input::Computed("lens".to_owned()));
    assert!(matches!(&node.initial_h, Input::Constant(zeros) if zeros.shape() == [1, 1, 2]));
    assert_eq!((node.initial_c, node.b, node.p), (Input::Absent, None, None));
}

#[test]
fn quantised_weights_are_the_numbers_that_they_stand_for() {
    let (quantised, plain) = (node("onnx_more/quantised.onnx"), node("onnx_more/quantised_plain.onnx"));
    assert!(quantised.quantized && quantised.cell == Cell::Lstm);
    assert_eq!((quantised.w, quantised.r), (plain.w, plain.r));
}

#[test]
fn the_graph_is_described() {
    let model = model("onnx_more/branches.onnx");
    assert_eq!((model.ir_version, model.producer.as_str()), (8, "gatefold tests"));
    assert_eq!(model.opsets, [(String::new(), 14)]);
    assert_eq!(model.graph.nodes[0].op_type, "If");
    assert!(
        matches!(model.graph.nodes[0].attribute("then_branch"), Some(Attribute::Graph(graph)) if graph.nodes.len() == 1)
    );
    let x = &model.graph.inputs[0];
    assert_eq!((x.name.as_str(), x.element_type), ("X", Some(1)));
    assert_eq!(x.shape, Some(vec![Size::Named("T".to_owned()), Size::Fixed(1), Size::Fixed(3)]));
    assert_eq!(model.graph.outputs[0].name, "Y");
    assert_eq!(model.constant("W").unwrap().unwrap().dtype(), Dtype::F32);
    assert_eq!((model.constant("X").unwrap(), model.constant("Y").unwrap()), (None, None));
    assert!(model.constant("nothing").unwrap_err().to_string().contains("\"nothing\""));
}

#[test]
fn attributes_hold_tensors() {
    let model = model("onnx_more/constants.onnx");
    let Some(Attribute::Tensor(stored)) = model.graph.nodes[0].attribute("value") else { panic!() };
    let tensor = model.tensor(stored).unwrap();
    assert!(matches!(tensor.data(), Data::F32(values) if values.len() == 18));
    assert_eq!(Some(tensor), model.constant("W").unwrap());
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    for (name, message) in [
        ("attribute", "node gru: attributes: \"zoneout\" is not supported"),
        ("other_cell", "attributes: \"input_forget\" is not supported"),
        ("direction", "direction: \"sideways\" is not supported"),
        ("layout", "layout: 2 is not supported"),
        ("activations", "activations: expected 2 names"),
        ("shape", "B: shape: expected [1, 12], found [1, 11]"),
        ("hidden_size", "W: shape: expected [1, 9, 3], found [1, 6, 3]"),
        ("integers", "W: dtype: expected floating-point values, found i32"),
        ("computed", "W: \"W\", which is not constant, is not supported"),
        ("missing", "the value \"B\" is missing"),
        ("clip", "clip: expected a bound above 0, found -1"),
        ("float8", "FLOAT8E4M3FN is not supported"),
        ("parent", "location: expected a file inside of the model's folder, found \"../README.md\""),
        ("absolute", "location: expected a file inside of the model's folder, found \"/"),
        ("beyond", "external.bin: expected 72 bytes from byte 1000000000 on"),
        ("length", "length: expected 72, found 4"),
        ("absent", "nowhere.bin"),
    ] {
        let error = error(&format!("onnx_more/refused_{name}.onnx"));
        assert!(error.contains(message), "{error}");
    }
    let error = error("onnx_more/function.onnx");
    assert!(error.contains("function Recurrent: gru: a recurrent node of a function is not supported"), "{error}");
    let bytes = samples::bytes("onnx_more/external.onnx");
    let alone = onnx::from_bytes(bytes, None).unwrap();
    let error = alone.recurrent_nodes().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("a model that has no folder"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_do_not_lead_out_of_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(samples::path("onnx_more/external.bin"), outside.path().join("secret")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("external.bin")).unwrap();
    let model = onnx::from_bytes(samples::bytes("onnx_more/external.onnx"), Some(folder.path())).unwrap();
    let error = model.recurrent_nodes().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("a file inside of the model's folder"), "{error}");
}
