//! Every sample model through the command: what the frameworks computed comes out.

mod command;

use command::{gatefold, sample, samples};
use gatefold_models::{Data, Tensor, numpy, safetensors};
use predicates::prelude::*;
use predicates::str::contains;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// `file.ext` with another ending.
fn beside(model: &Path, end: &str) -> String {
    let name = model.file_name().unwrap().to_str().unwrap();
    let stem = name.split('.').next().unwrap();
    model.with_file_name(format!("{stem}{end}")).to_str().unwrap().to_owned()
}

fn verify(model: &Path, input: &str, expected: &str, tensors: &[&str]) {
    let model = model.to_str().unwrap();
    let run = gatefold(["verify", model, "--input", input, "--expected", expected]).assert();
    let output = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    run.success().stderr("");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), tensors.len(), "{model}: {output}");
    for (line, tensor) in lines.iter().zip(tensors) {
        assert!(line.starts_with(&format!("{tensor}: agrees, largest deviation ")), "{model}: {line}");
    }
}

#[test]
fn keras_models_give_what_keras_gave() {
    for (folder, count) in [("keras_models", 14), ("keras2_models", 10)] {
        for model in samples(folder, &[".keras", ".h5"], &[".weights.h5"], count) {
            verify(&model, &beside(&model, ".x.npy"), &beside(&model, ".y.npy"), &["y"]);
        }
    }
}

#[test]
fn state_dicts_give_what_pytorch_gave() {
    let folder = TempDir::new().unwrap();
    for model in samples("torch_models", &[".pt", ".safetensors"], &[], 10) {
        let expected = folder.path().join("expected.npz");
        let read = |end| numpy::read_npy(beside(&model, end)).ok();
        let found = [("y", read(".y.npy")), ("hn", read(".hn.npy")), ("cn", read(".cn.npy"))];
        let found = found.iter().filter_map(|(name, tensor)| Some((*name, tensor.as_ref()?)));
        numpy::write_npz(&expected, found.clone()).unwrap();
        let names: Vec<&str> = found.map(|(name, _)| name).collect();
        assert!(names.starts_with(&["y", "hn"]), "{names:?}");
        verify(&model, &beside(&model, ".x.npy"), expected.to_str().unwrap(), &names);
    }
}

/// ONNX Runtime's own outputs become infinite in this one.
const OVERFLOWS: &str = "rnn_softplus.onnx";

#[test]
fn onnx_nodes_give_what_onnx_runtime_gave() {
    for model in samples("onnx", &[".onnx"], &[OVERFLOWS], 56) {
        let case = beside(&model, ".safetensors");
        let lstm = model.file_name().unwrap().to_str().unwrap().starts_with("lstm");
        verify(&model, &case, &case, if lstm { &["y", "hn", "cn"] } else { &["y", "hn"] });
    }
}

#[test]
fn infinite_references_differ() {
    let (model, case) = (sample("onnx/rnn_softplus.onnx"), sample("onnx/rnn_softplus.safetensors"));
    let run = gatefold(["verify", &model, "--input", &case, "--expected", &case]).assert().code(1);
    run.stdout(contains("y: DIFFERS, largest deviation inf").and(contains("hn: DIFFERS")));
}

#[test]
fn every_sample_can_be_inspected() {
    for folder in ["keras_models", "keras2_models", "torch_models", "onnx"] {
        for model in samples(folder, &[".keras", ".h5", ".pt", ".onnx"], &[], 4) {
            gatefold(["inspect", model.to_str().unwrap()]).assert().success().stderr("");
        }
    }
}

#[test]
fn inspection_counts() {
    let text = |name: &str| {
        let run = gatefold(["inspect", &sample(name)]).assert().success();
        String::from_utf8(run.get_output().stdout.clone()).unwrap()
    };
    let gru = text("onnx/gru_forward.onnx");
    assert!(gru.starts_with("ONNX model\n"), "{gru}");
    // The node has I = 15, H = 37, and two biases: 3*37*(15 + 37 + 2) parameters, and 3*37*(15 + 37) multiply-adds.
    for word in ["GRU", "5994", "5772"] {
        assert!(gru.split_whitespace().any(|found| found == word), "{word}: {gru}");
    }
    let weights = text("keras_models/gru_last.weights.h5");
    assert!(
        weights.starts_with("Keras weights\n") && weights.contains("no recurrent layer that can be run"),
        "{weights}"
    );
}

/// Output files hold y, or all.
#[test]
fn outputs_go_where_they_are_sent() {
    let (folder, model) = (TempDir::new().unwrap(), sample("torch_models/lstm_layers3.pt"));
    let input = sample("torch_models/lstm_layers3.x.npy");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for file in ["all.npz", "all.safetensors", "y.npy"] {
        let state = path(&format!("{file}.state.npz"));
        gatefold(["run", &model, "--input", &input, "--output", &path(file), "--state-out", &state])
            .assert()
            .success()
            .stdout("")
            .stderr("");
    }
    let y = numpy::read_npy(path("y.npy")).unwrap();
    let (npz, safe) = (numpy::read_npz(path("all.npz")).unwrap(), safetensors::read(path("all.safetensors")).unwrap());
    assert_eq!(npz, safe.tensors);
    assert_eq!(npz.keys().collect::<Vec<_>>(), ["cn", "hn", "y"]);
    assert_eq!(npz["y"], y);
    let state = numpy::read_npz(path("y.npy.state.npz")).unwrap();
    assert_eq!(state.keys().collect::<Vec<_>>(), ["cn", "hn"]);
    assert_eq!((&state["hn"], &state["cn"]), (&npz["hn"], &npz["cn"]));
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.to_f32().unwrap().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn threads_instruction_sets_and_chunks_give_the_same_bits() {
    let (folder, model) = (TempDir::new().unwrap(), sample("torch_models/gru.pt"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let features = *numpy::read_npy(sample("torch_models/gru.x.npy")).unwrap().shape().last().unwrap();
    // [N, T, I] of N = 1, longer than a chunk.
    let values: Vec<f32> = (0..600 * features).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let tensor = |steps: std::ops::Range<usize>| {
        let part = values[steps.start * features..steps.end * features].to_vec();
        Tensor::new(vec![1, steps.len(), features], gatefold_models::Data::F32(part)).unwrap()
    };
    numpy::write_npy(path("x.npy"), &tensor(0..600)).unwrap();
    let run = |input: &str, output: &str, more: &[&str]| {
        let arguments = ["run", &model, "--input", &path(input), "--output", &path(output)];
        gatefold(arguments.into_iter().chain(more.iter().copied())).assert().success();
        numpy::read_npz(path(output)).unwrap()
    };
    let whole = run("x.npy", "whole.npz", &[]);
    for more in [&["--threads", "1"][..], &["--threads", "2"], &["--isa", "portable"], &["--batch-first"]] {
        let other = run("x.npy", "other.npz", more);
        assert_eq!(bits(&whole["y"]), bits(&other["y"]), "{more:?}");
        assert_eq!(bits(&whole["hn"]), bits(&other["hn"]), "{more:?}");
    }
    numpy::write_npy(path("x1.npy"), &tensor(0..301)).unwrap();
    let first = run("x1.npy", "first.npz", &[]);
    let second = [("x", &tensor(301..600)), ("h0", &first["hn"])];
    numpy::write_npz(path("x2.npz"), second).unwrap();
    let second = run("x2.npz", "second.npz", &[]);
    assert_eq!(bits(&whole["y"]), [bits(&first["y"]), bits(&second["y"])].concat());
    assert_eq!(bits(&whole["hn"]), bits(&second["hn"]));
    // Another backend rounds in another order.
    let foreign = run("x.npy", "foreign.npz", &["--backend", "matrixmultiply"]);
    let (a, b) = (whole["y"].to_f32().unwrap(), foreign["y"].to_f32().unwrap());
    assert!(a.iter().zip(b.iter()).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn time_first_is_the_same_in_another_order() {
    let (folder, model) = (TempDir::new().unwrap(), sample("torch_models/gru.safetensors"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (x, y) = (sample("torch_models/gru.x.npy"), sample("torch_models/gru.y.npy"));
    for (from, to) in [(&x, "x.npy"), (&y, "y.npy")] {
        let tensor = numpy::read_npy(from).unwrap();
        let &[batch, time, channels] = tensor.shape() else { panic!("{from}") };
        let values = tensor.to_f32().unwrap();
        let place = |i: usize| ((i / channels % batch) * time + i / channels / batch) * channels + i % channels;
        let turned = (0..values.len()).map(|i| values[place(i)]).collect();
        let turned = Tensor::new(vec![time, batch, channels], gatefold_models::Data::F32(turned)).unwrap();
        numpy::write_npy(path(to), &turned).unwrap();
    }
    let (x, y) = (path("x.npy"), path("y.npy"));
    gatefold(["verify", &model, "--input", &x, "--expected", &y, "--time-major"])
        .assert()
        .success()
        .stdout(contains("y: agrees"));
}

#[test]
fn what_differs_is_shown_with_its_place() {
    let (folder, model) = (TempDir::new().unwrap(), sample("torch_models/gru.pt"));
    let y = numpy::read_npy(sample("torch_models/gru.y.npy")).unwrap();
    let mut values = y.to_f32().unwrap().into_owned();
    let channels = *y.shape().last().unwrap();
    values[channels + 1] += 0.25;
    let wrong = Tensor::new(y.shape().to_vec(), gatefold_models::Data::F32(values)).unwrap();
    let expected = folder.path().join("wrong.npy");
    numpy::write_npy(&expected, &wrong).unwrap();
    let (input, expected) = (sample("torch_models/gru.x.npy"), expected.to_str().unwrap());
    let arguments = ["verify", &model, "--input", &input, "--expected", expected];
    gatefold(arguments)
        .assert()
        .code(1)
        .stderr("")
        .stdout(contains("y: DIFFERS, largest deviation 2.50e-1 at [0, 1, 1]: expected "));
    gatefold(arguments.into_iter().chain(["--tolerance", "10"])).assert().success().stdout(contains("y: agrees"));
}

/// A sequence that is longer than what is kept in memory, through both ways of running it.
#[test]
fn long_sequences_stream_through() {
    let (folder, model) = (TempDir::new().unwrap(), sample("torch_models/lstm_layers3.pt"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let features = *numpy::read_npy(sample("torch_models/lstm_layers3.x.npy")).unwrap().shape().last().unwrap();
    let mut values: Vec<f32> = (0..9000 * features).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let write = |values: &[f32]| {
        let x = Tensor::new(vec![1, 9000, features], gatefold_models::Data::F32(values.to_vec())).unwrap();
        numpy::write_npy(path("x.npy"), &x).unwrap();
    };
    let run = |output: &str, state: &str| {
        let arguments =
            ["run", &model, "--input", &path("x.npy"), "--output", &path(output), "--state-out", &path(state)];
        gatefold(arguments).assert().success()
    };
    write(&values);
    run("y.npy", "state.npz").stderr("");
    run("whole.npz", "whole_state.npz").stderr("");
    let (y, whole) = (numpy::read_npy(path("y.npy")).unwrap(), numpy::read_npz(path("whole.npz")).unwrap());
    assert_eq!(y.shape(), whole["y"].shape());
    assert_eq!(bits(&y), bits(&whole["y"]));
    let (state, whole) =
        (numpy::read_npz(path("state.npz")).unwrap(), numpy::read_npz(path("whole_state.npz")).unwrap());
    assert_eq!(state, whole);
    values[5000 * features + 1] = f32::NAN;
    write(&values);
    let warning = format!("x: 1 of {} values are NaN, the first at [0, 5000, 1]", 9000 * features);
    run("y.npy", "state.npz").stderr(contains(warning.as_str()));
    run("whole.npz", "whole_state.npz").stderr(contains(warning.as_str()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
}

/// An axis that is empty leaves the others free to be of any size.
#[test]
fn a_batch_of_no_rows_takes_no_time() {
    let folder = TempDir::new().unwrap();
    let [x, y] = ["x.npy", "y.npy"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    for (order, shape) in [("--batch-first", [0, 1 << 40, 15]), ("--time-major", [1 << 40, 0, 15])] {
        numpy::write_npy(&x, &Tensor::new(shape.to_vec(), Data::F32(Vec::new())).unwrap()).unwrap();
        gatefold(["run", &sample("torch_models/gru.pt"), order, "--input", &x, "--output", &y])
            .timeout(Duration::from_secs(60))
            .assert()
            .success();
        assert_eq!(numpy::read_npy(&y).unwrap().shape(), [shape[0], shape[1], 37]);
    }
}
