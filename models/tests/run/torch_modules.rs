//! Modules of PyTorch.

use crate::{assert_agrees, loaded, npy, refusal, samples, wave};
use gatefold_models::{Data, Format, Inputs, LoadOptions, Nonlinearity, Recurrent, Tensor, load, numpy, safetensors};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn cases() -> Vec<String> {
    let files = samples::ending("torch_models", ".pt");
    files.iter().map(|name| name.strip_suffix(".pt").unwrap().to_owned()).collect()
}

/// The state of the module of a case, whose names have no prefix of their own or one.
fn only<T: gatefold_models::Element>(loaded: &gatefold_models::Loaded<T>) -> &Recurrent<T> {
    assert_eq!((loaded.recurrent().len(), loaded.refused().len()), (1, 0));
    &loaded.recurrent()[0]
}

#[test]
fn each_format_gives_what_pytorch_gave() {
    let cases = cases();
    assert_eq!(cases.len(), 5);
    let scratch = tempfile::tempdir().unwrap();
    for case in cases {
        let tensors = safetensors::read(samples::path(&format!("{case}.safetensors"))).unwrap().tensors;
        let npz = scratch.path().join("case.npz");
        numpy::write_npz(&npz, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        let files = [samples::path(&format!("{case}.pt")), samples::path(&format!("{case}.safetensors")), npz];
        let formats = [Format::PyTorch, Format::Safetensors, Format::Numpy];
        for (file, format) in files.iter().zip(formats) {
            let loaded = load::<f32>(file, &LoadOptions::default()).unwrap();
            assert_eq!(loaded.format(), format);
            assert_eq!(loaded.arrays().len(), tensors.len());
            let outputs = only(&loaded).run(&npy(&format!("{case}.x.npy"))).unwrap();
            assert_agrees(&case, &npy(&format!("{case}.y.npy")), &outputs.y);
            assert_agrees(&case, &npy(&format!("{case}.hn.npy")), &outputs.hn.unwrap());
            assert_eq!(outputs.cn.is_some(), case.contains("lstm"));
            if let Some(cn) = outputs.cn {
                assert_agrees(&case, &npy(&format!("{case}.cn.npy")), &cn);
            }
        }
    }
}

#[test]
fn time_major_is_the_same_turned() {
    for case in cases() {
        let x = npy(&format!("{case}.x.npy"));
        let options = LoadOptions { time_major: true, ..LoadOptions::default() };
        let loaded = load::<f32>(samples::path(&format!("{case}.pt")), &options).unwrap();
        let outputs = only(&loaded).run(&turned(&x)).unwrap();
        assert_agrees(&case, &npy(&format!("{case}.y.npy")), &turned(&outputs.y));
        assert_agrees(&case, &npy(&format!("{case}.hn.npy")), &outputs.hn.unwrap());
    }
}

/// `[B, A, C]` of `[A, B, C]`.
fn turned(tensor: &Tensor) -> Tensor {
    let [a, b, c] = *tensor.shape() else { panic!("three axes") };
    let values = tensor.to_f32().unwrap();
    let rows = (0..b).flat_map(|j| (0..a).map(move |i| (i, j)));
    let data = rows.flat_map(|(i, j)| values[(i * b + j) * c..][..c].to_vec()).collect();
    Tensor::new(vec![b, a, c], Data::F32(data)).unwrap()
}

#[test]
fn chunks_and_states_give_the_same_bits() {
    let loaded = loaded::<f32>("torch_models/lstm_layers3.pt");
    let lstm = only(&loaded);
    let x = npy("torch_models/lstm_layers3.x.npy");
    let whole = lstm.run(&x).unwrap();
    for chunk in [0, 1, 2, 1000] {
        let mut done = Vec::new();
        let outputs = lstm.run_in_chunks(&x, chunk, |steps| done.push(steps)).unwrap();
        assert_eq!(outputs, whole);
        assert_eq!(done.last(), Some(&x.shape()[1]));
        assert_eq!(done.len(), x.shape()[1].div_ceil(chunk.max(1)));
    }
    let [n, t, i] = *x.shape() else { panic!() };
    let lengths = Tensor::new(vec![n], Data::I64((0..n as i64).map(|k| k % (t as i64 + 1)).collect())).unwrap();
    let ragged = Inputs { lengths: Some(&lengths), ..Inputs::from(&x) };
    assert_eq!(lstm.run_in_chunks(ragged, 2, |_| {}).unwrap(), lstm.run(ragged).unwrap());
    assert_eq!(i, lstm.stack().input());
}

#[test]
fn one_sequence_has_no_batch_axis() {
    let loaded = loaded::<f32>("torch_models/gru_layers2_bidirectional.pt");
    let gru = only(&loaded);
    let i = gru.stack().input();
    let (one, batch) = (wave(&[5, i], 1.0), wave(&[1, 5, i], 1.0));
    let (one, batch) = (gru.run(&one).unwrap(), gru.run(&batch).unwrap());
    assert_eq!(one.y.data(), batch.y.data());
    assert_eq!([one.y.shape(), &[1]].concat().len(), batch.y.shape().len());
    let (h, full) = (one.hn.unwrap(), batch.hn.unwrap());
    assert_eq!((h.shape(), full.shape()), (&[4, full.shape()[2]][..], &[4, 1, full.shape()[2]][..]));
    assert_eq!(h.data(), full.data());
}

fn saved(tensors: &BTreeMap<String, Tensor>) -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.safetensors");
    safetensors::write(&path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    (scratch, path)
}

/// The parameters of a module of G gates, 2 inputs and 3 units.
fn parameters(prefix: &str, suffix: &str, gates: usize) -> BTreeMap<String, Tensor> {
    let rows = gates * 3;
    let shapes =
        [("weight_ih", vec![rows, 2]), ("weight_hh", vec![rows, 3]), ("bias_ih", vec![rows]), ("bias_hh", vec![rows])];
    shapes.iter().map(|(name, shape)| (format!("{prefix}{name}{suffix}"), wave(shape, rows as f32))).collect()
}

#[test]
fn modules_are_told_apart_by_prefix() {
    let mut tensors = parameters("encoder.gru.", "_l0", 3);
    tensors.extend(parameters("decoder.cell.", "", 4));
    tensors.extend(parameters("rnn.", "_l0", 1));
    tensors.insert("head.weight".into(), wave(&[2, 3], 0.0));
    let (_scratch, path) = saved(&tensors);
    let loaded = load::<f64>(&path, &LoadOptions::default()).unwrap();
    let names: Vec<_> = loaded.recurrent().iter().map(|module| module.name()).collect();
    assert_eq!(names, ["decoder.cell", "encoder.gru", "rnn"]);
    let cells: Vec<_> =
        loaded.describe().into_iter().map(|row| (row.name, row.cell, row.parameters, row.macs)).collect();
    let row = |name: &str, cell: &str, gates: usize| (name.to_owned(), cell.to_owned(), gates * 3 * 7, gates * 3 * 5);
    assert_eq!(cells, [row("decoder.cell", "LSTM", 4), row("encoder.gru", "GRU", 3), row("rnn", "SimpleRNN", 1)]);

    let message = refusal(loaded.pick(None));
    assert!(message.contains("the choice of one") && message.contains("encoder.gru"), "{message}");
    let message = refusal(loaded.recurrent_named("gru"));
    assert!(message.contains("\"decoder.cell\", \"encoder.gru\", \"rnn\""), "{message}");

    // A cell is one step, or steps like a module's.
    let cell = loaded.recurrent_named("decoder.cell").unwrap();
    let step = cell.run(&wave(&[4, 2], 0.0)).unwrap();
    let steps = cell.run(&wave(&[4, 1, 2], 0.0)).unwrap();
    assert_eq!((step.y.shape(), steps.y.shape()), (&[4, 3][..], &[4, 1, 3][..]));
    assert_eq!((&step.hn, &step.cn), (&steps.hn, &steps.cn));
    assert_eq!(step.hn.unwrap(), step.y);
}

#[test]
fn the_nonlinearity_is_an_option() {
    let (_scratch, path) = saved(&parameters("", "_l0", 1));
    let y = |nonlinearity| {
        let loaded = load::<f32>(&path, &LoadOptions { nonlinearity, ..LoadOptions::default() }).unwrap();
        loaded.recurrent_named("").unwrap().run(&wave(&[1, 4, 2], 0.5)).unwrap().y.to_f32().unwrap().into_owned()
    };
    assert!(y(Nonlinearity::Tanh).iter().any(|&y| y < 0.0));
    assert!(y(Nonlinearity::Relu).iter().all(|&y| y >= 0.0));
    assert_ne!(y(Nonlinearity::Tanh), y(Nonlinearity::Relu));
}

/// What is wrong with a module of these parameters, alone in its file.
#[track_caller]
fn module_refusal(tensors: &BTreeMap<String, Tensor>) -> String {
    let (_scratch, path) = saved(tensors);
    let loaded = load::<f32>(&path, &LoadOptions::default()).unwrap();
    assert_eq!((loaded.recurrent().len(), loaded.refused().len()), (0, 1));
    let message = refusal(loaded.pick(None));
    assert!(message.contains(&loaded.refused()[0].to_string()), "{message}");
    message
}

#[test]
fn inconsistent_modules_are_refused_by_name() {
    let good = || parameters("a.gru.", "_l0", 3);
    let without = |name: &str| {
        let mut tensors = good();
        tensors.remove(name).unwrap();
        tensors
    };
    let with = |name: &str, shape: &[usize]| {
        let mut tensors = good();
        tensors.insert(name.into(), wave(shape, 0.0));
        tensors
    };
    for (tensors, message) in [
        (without("a.gru.weight_ih_l0"), "a.gru: weight_ih_l0 is missing"),
        (without("a.gru.weight_hh_l0"), "a.gru: weight_hh_l0 is missing"),
        (without("a.gru.bias_hh_l0"), "a.gru: bias_hh_l0 is missing"),
        (without("a.gru.bias_ih_l0"), "bias_hh_l0, which the first layer does not have, is not supported"),
        (with("a.gru.weight_ih_l0", &[9]), "weight_ih_l0: shape: expected two sizes"),
        (with("a.gru.weight_ih_l0", &[8, 2]), "weight_ih_l0: shape: expected [9, 2], found [8, 2]"),
        (with("a.gru.weight_hh_l0", &[6, 3]), "weight_hh_l0: shape: expected 1, 3 or 4 times"),
        (with("a.gru.bias_ih_l0", &[9, 1]), "bias_ih_l0: shape: expected [9], found [9, 1]"),
        (with("a.gru.weight_hr_l0", &[3, 3]), "weight_hr_l0: shape: expected [3, 2], an LSTM's, found [3, 3]"),
        (with("a.gru.weight_ih_l0_reverse", &[9, 2]), "weight_hh_l0_reverse is missing"),
        (with("a.gru.weight_ih_l2", &[9, 3]), "weight_ih_l1 is missing"),
        (with("a.gru.weight_ih_l01", &[9, 3]), "\"a.gru.weight_ih_l01\", which no recurrent module"),
        (with("a.gru.weight_ih", &[9, 2]), "weight_ih_l0 is missing"),
        (with("a.gru.weight_hh_l0_g", &[9, 1]), "\"a.gru.weight_hh_l0_g\", which no recurrent module"),
        (with("a.gru.norm.weight", &[9]), "\"a.gru.norm.weight\", which no recurrent module"),
    ] {
        let found = module_refusal(&tensors);
        assert!(found.contains(message), "{found}\nexpected {message}");
    }
    let mut integers = good();
    integers.insert("a.gru.bias_ih_l0".into(), Tensor::new(vec![9], Data::I64(vec![0; 9])).unwrap());
    assert!(module_refusal(&integers).contains("bias_ih_l0: dtype: expected floating-point values"));
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    let loaded = loaded::<f32>("torch_models/gru.pt");
    let gru = only(&loaded);
    let x = npy("torch_models/gru.x.npy");
    let [n, t, i] = *x.shape() else { panic!() };
    let refused = |inputs: Inputs<'_>| refusal(gru.run(inputs));
    let message = refused(Inputs::from(&wave(&[n, t, i + 1], 0.0)));
    assert!(message.contains(&format!("x: shape: expected [N, T, I] with I = {i}")), "{message}");
    let h0 = wave(&[n, 1], 0.0);
    assert!(refused(Inputs { h0: Some(&h0), ..Inputs::from(&x) }).contains("h0: shape: expected"));
    assert!(refused(Inputs { c0: Some(&h0), ..Inputs::from(&x) }).contains("c0: a cell state"));
    assert!(refused(Inputs { mask: Some(&h0), ..Inputs::from(&x) }).contains("mask: a mask"));
    for lengths in [vec![t as i64 + 1; n], vec![-1; n]] {
        let lengths = Tensor::new(vec![n], Data::I64(lengths)).unwrap();
        let message = refused(Inputs { lengths: Some(&lengths), ..Inputs::from(&x) });
        assert!(message.contains(&format!("lengths: value: expected 0 to {t} steps")), "{message}");
    }
    let lengths = Tensor::new(vec![n], Data::F32(vec![1.0; n])).unwrap();
    assert!(refused(Inputs { lengths: Some(&lengths), ..Inputs::from(&x) }).contains("lengths: dtype"));
}

#[test]
fn stored_types_are_widened() {
    // The same values in a half, where they are exact, and in 32 and 64 bits.
    let mut tensors = BTreeMap::new();
    for (name, tensor) in parameters("", "_l0", 4) {
        let rounded = tensor.to_f32().unwrap().iter().map(|&value| f64::from((value * 64.0).round()) / 64.0).collect();
        tensors.insert(name, Tensor::new(tensor.shape().to_vec(), Data::F64(rounded)).unwrap());
    }
    let (_scratch, path) = saved(&tensors);
    let x = wave(&[2, 5, 2], 0.3);
    let run =
        |path: &std::path::Path| load::<f32>(path, &LoadOptions::default()).unwrap().recurrent()[0].run(&x).unwrap();
    let wide = run(&path);
    for dtype in [safetensors_dtype::F16, safetensors_dtype::BF16, safetensors_dtype::F32] {
        let narrow = path.with_extension(format!("{dtype:?}.safetensors"));
        std::fs::write(&narrow, encoded(&tensors, dtype)).unwrap();
        assert_eq!(run(&narrow), wide, "{dtype:?}");
    }
}

use ::safetensors::Dtype as safetensors_dtype;

/// A safetensors file of `tensors`, their values in `dtype`.
fn encoded(tensors: &BTreeMap<String, Tensor>, dtype: safetensors_dtype) -> Vec<u8> {
    let bytes = |value: &f64| match dtype {
        safetensors_dtype::F16 => half::f16::from_f64(*value).to_le_bytes().to_vec(),
        safetensors_dtype::BF16 => half::bf16::from_f64(*value).to_le_bytes().to_vec(),
        _ => (*value as f32).to_le_bytes().to_vec(),
    };
    let data: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, tensor)| (name, tensor.to_f64().unwrap().iter().flat_map(bytes).collect()))
        .collect();
    let view = |name: &String| {
        ::safetensors::tensor::TensorView::new(dtype, tensors[name].shape().to_vec(), &data[name]).unwrap()
    };
    ::safetensors::serialize(tensors.keys().map(|name| (name, view(name))), None).unwrap()
}
