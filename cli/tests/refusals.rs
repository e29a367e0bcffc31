//! What cannot be run ends with one line that says why, and no file is written.

mod command;

use command::{gatefold, refused, sample};
use gatefold_models::{Data, Tensor, numpy};
use predicates::prelude::*;
use predicates::str::contains;
use std::fs;
use tempfile::TempDir;

/// A folder for what goes wrong.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Scratch(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// `gatefold run` is refused, and leaves no output.
    fn run_refused(&self, model: &str, input: &str, more: &[&str], message: &str) {
        let output = self.path("refused.npy");
        let arguments = ["run", model, "--input", input, "--output", &output];
        refused(arguments.into_iter().chain(more.iter().copied()), message);
        assert!(!fs::exists(&output).unwrap(), "{message}");
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let scratch = Scratch::new();
    let (model, input) = (sample("torch_models/gru.pt"), sample("torch_models/gru.x.npy"));
    refused(["inspect", &scratch.path("none.onnx")], "none.onnx");
    scratch.run_refused(&scratch.path("none.keras"), &input, &[], "none.keras");
    scratch.run_refused(&model, &scratch.path("none.npy"), &[], "none.npy");
    refused(["verify", &model, "--input", &input, "--expected", &scratch.path("none.npz")], "none.npz");
    let output = scratch.path("none/y.npy");
    refused(["run", &model, "--input", &input, "--output", &output], "none/y.npy");
}

#[test]
fn damaged_files_are_refused() {
    let scratch = Scratch::new();
    for name in
        ["keras_models/gru_last.keras", "keras_models/gru_last.h5", "torch_models/gru.pt", "onnx/gru_forward.onnx"]
    {
        let whole = fs::read(sample(name)).unwrap();
        let end = name.rsplit('.').next().unwrap();
        for (what, content) in [
            ("empty", Vec::new()),
            ("cut", whole[..whole.len() / 2].to_vec()),
            ("short", whole[..whole.len() - 1].to_vec()),
            ("noise", (0..4096u32).map(|i| (i.wrapping_mul(2654435761) >> 24) as u8).collect()),
        ] {
            let file = scratch.file(&format!("{what}.{end}"), &content);
            refused(["inspect", &file], &format!("{what}.{end}"));
            scratch.run_refused(&file, &sample("torch_models/gru.x.npy"), &[], &format!("{what}.{end}"));
        }
    }
    let model = sample("torch_models/gru.pt");
    let input = fs::read(sample("torch_models/gru.x.npy")).unwrap();
    for (what, content) in [("empty", &b""[..]), ("cut", &input[..input.len() - 1]), ("noise", b"noise")] {
        for end in ["npy", "npz", "safetensors"] {
            let file = scratch.file(&format!("{what}.{end}"), content);
            scratch.run_refused(&model, &file, &[], &format!("{what}.{end}"));
        }
    }
}

fn tensor(shape: &[usize], data: Vec<f32>) -> Tensor {
    Tensor::new(shape.to_vec(), Data::F32(data)).unwrap()
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let scratch = Scratch::new();
    let model = sample("torch_models/gru.pt");
    let x = numpy::read_npy(sample("torch_models/gru.x.npy")).unwrap();
    let features = *x.shape().last().unwrap();
    let write = |name: &str, tensors: &[(&str, &Tensor)]| {
        numpy::write_npz(scratch.path(name), tensors.iter().copied()).unwrap();
        scratch.path(name)
    };
    let wide = tensor(&[1, 2, features + 1], vec![0.0; 2 * (features + 1)]);
    scratch.run_refused(&model, &write("wide.npz", &[("x", &wide)]), &[], "x");
    scratch.run_refused(&model, &write("flat.npz", &[("x", &tensor(&[3], vec![0.0; 3]))]), &[], "x");
    let state = tensor(&[1, 1, 1], vec![0.0]);
    scratch.run_refused(&model, &write("h0.npz", &[("x", &x), ("h0", &state)]), &[], "h0");
    // A GRU has no cell state, and PyTorch no mask.
    scratch.run_refused(&model, &write("c0.npz", &[("x", &x), ("c0", &state)]), &[], "c0");
    scratch.run_refused(&model, &write("mask.npz", &[("x", &x), ("mask", &state)]), &[], "mask");
    scratch.run_refused(
        &model,
        &write("nameless.npz", &[("z", &x)]),
        &[],
        "expected a tensor named x or X or input, found z",
    );
    scratch.run_refused(
        &model,
        &write("twice.npz", &[("x", &x), ("input", &x)]),
        &[],
        "x and input are two names of one thing",
    );
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let scratch = Scratch::new();
    let (model, input) = (sample("torch_models/gru.pt"), sample("torch_models/gru.x.npy"));
    scratch.run_refused(&model, &input, &["--layer", "decoder"], "decoder");
    scratch.run_refused(&model, &input, &["--backend", "openblas"], "backend");
    scratch.run_refused(&model, &input, &["--state-out", &scratch.path("s.npy")], "a .npy holds one array");
    scratch.run_refused(&model, &sample("torch_models/gru.pt"), &[], "ends in .npy, .npz or .safetensors");
    refused(
        ["run", &model, "--input", &input, "--output", &scratch.path("y.txt")],
        "ends in .npy, .npz or .safetensors",
    );
    let (keras, x) = (sample("keras_models/gru_last.keras"), sample("keras_models/gru_last.x.npy"));
    scratch.run_refused(&keras, &x, &["--time-major"], "--time-major: this model's tensors are batch-first");
    scratch.run_refused(
        &keras,
        &x,
        &["--state-out", &scratch.path("s.npz")],
        "--state-out: this model gives no states",
    );
    let (onnx, x) = (sample("onnx/gru_forward.onnx"), sample("onnx/gru_forward.safetensors"));
    scratch.run_refused(&onnx, &x, &["--batch-first"], "--batch-first: this node's tensors are time-major");
    let weights = sample("keras_models/gru_last.weights.h5");
    scratch.run_refused(&weights, &input, &[], "gru_last.weights.h5");
    let numbers = scratch.path("numbers.npz");
    numpy::write_npz(&numbers, [("z", &tensor(&[1], vec![0.0]))]).unwrap();
    refused(["verify", &model, "--input", &input, "--expected", &numbers], "expected a tensor named y, hn or cn");
    for unknown in [&["run", &model, "--colour"][..], &["paint", &model], &["run", &model, "--input", &input]] {
        gatefold(unknown.iter().copied()).assert().code(2).stdout("").stderr(contains("Usage"));
    }
}

/// A model with a branch is no chain: it is refused, by the layer where it branches.
#[test]
fn models_that_cannot_be_run_whole_say_why() {
    let scratch = Scratch::new();
    let model = sample("keras_more/branches.keras");
    let x = scratch.path("x.npy");
    numpy::write_npy(&x, &tensor(&[1, 2, 3], vec![0.5; 6])).unwrap();
    let why = "layer right: a model that is not one chain of layers is not supported";
    scratch.run_refused(&model, &x, &[], why);
    gatefold(["inspect", &model])
        .assert()
        .success()
        .stdout(contains(format!("cannot be run as a whole: config.json: {why}")));
}

/// One recurrent layer of a whole model, by its name.
#[test]
fn a_layer_can_be_picked() {
    let scratch = Scratch::new();
    let model = sample("keras_more/many_kinds.keras");
    let (x, output) = (scratch.path("x.npy"), scratch.path("y.npz"));
    numpy::write_npy(&x, &tensor(&[1, 4, 2], vec![0.5; 8])).unwrap();
    gatefold(["run", &model, "--layer", "one_cell", "--input", &x, "--output", &output]).assert().success();
    let found = numpy::read_npz(&output).unwrap();
    assert_eq!(found["hn"].shape(), [1, 3]);
    scratch.run_refused(&model, &x, &["--layer", "none"], "one_cell");
}

#[test]
fn nan_in_the_input_is_a_warning() {
    let scratch = Scratch::new();
    let x = numpy::read_npy(sample("torch_models/gru.x.npy")).unwrap();
    let mut values = x.to_f32().unwrap().into_owned();
    let last = values.len() - 1;
    values[last] = f32::NAN;
    let (input, output) = (scratch.path("x.npy"), scratch.path("y.npy"));
    numpy::write_npy(&input, &tensor(x.shape(), values)).unwrap();
    let place: Vec<usize> = x.shape().iter().map(|size| size - 1).collect();
    let warning = format!("x: 1 of {} values are NaN, the first at {place:?}\n", x.len());
    gatefold(["run", &sample("torch_models/gru.pt"), "--input", &input, "--output", &output])
        .assert()
        .success()
        .stdout("")
        .stderr(predicate::str::starts_with("warning: ").and(contains(warning)));
    let y = numpy::read_npy(&output).unwrap();
    assert!(y.to_f32().unwrap().iter().any(|value| value.is_nan()));
}
