//! Recurrent layers of Keras among the arrays of a `.npz`.

use crate::{refusal, wave};
use gatefold_models::{Format, LoadOptions, Loaded, Source, Tensor, keras, load, numpy, safetensors};

fn npz(arrays: &[(&str, &Tensor)]) -> Loaded<f32> {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("arrays.npz");
    numpy::write_npz(&path, arrays.iter().copied()).unwrap();
    load(&path, &LoadOptions::default()).unwrap()
}

#[test]
fn layers_give_what_they_give_in_their_model() {
    let model = crate::loaded::<f32>("keras_models/lstm_stack.keras");
    let description = keras::read(crate::samples::path("keras_models/lstm_stack.keras")).unwrap();
    let x = crate::npy("keras_models/lstm_stack.x.npy");
    let expected = model.recurrent()[0].run(&x).unwrap();
    let layer = description.layers.iter().find(|layer| layer.class == "LSTM").unwrap();
    let arrays: Vec<&Tensor> = layer.weights.iter().map(|(_, tensor)| tensor).collect();
    let dense = wave(&[3, 4], 0.0);
    for names in [
        ["lstm/kernel:0", "lstm/recurrent_kernel:0", "lstm/bias:0"],
        ["lstm.kernel", "lstm.recurrent_kernel", "lstm.bias"],
        ["lstm/cell/vars/0", "lstm/cell/vars/1", "lstm/cell/vars/2"],
    ] {
        let mut named: Vec<_> = names.into_iter().zip(arrays.iter().copied()).collect();
        named.extend([("dense/kernel", &dense), ("dense/vars/0", &dense)]);
        let loaded = npz(&named);
        assert_eq!((loaded.format(), loaded.recurrent().len(), loaded.refused().len()), (Format::Numpy, 1, 0));
        let lstm = &loaded.recurrent()[0];
        assert_eq!(lstm.name(), if names[0].contains("vars") { "lstm/cell" } else { "lstm" });
        assert_eq!(lstm.run(&x).unwrap(), expected);
    }
}

#[test]
fn cells_follow_from_the_shapes() {
    let of = |gates: usize, bias: &[usize]| {
        let (kernel, recurrent) = (wave(&[2, gates * 3], 0.0), wave(&[3, gates * 3], 1.0));
        let bias = wave(bias, 2.0);
        let mut arrays = vec![("a/kernel", &kernel), ("a/recurrent_kernel", &recurrent)];
        arrays.extend((!bias.shape().contains(&0)).then_some(("a/bias", &bias)));
        npz(&arrays)
    };
    for (gates, bias, cell, variant) in [
        (1, vec![3], "SimpleRNN", ""),
        (1, vec![0], "SimpleRNN", ""),
        (4, vec![12], "LSTM", ""),
        (3, vec![2, 9], "GRU", "reset after"),
        (3, vec![9], "GRU", "reset before"),
    ] {
        let row = of(gates, &bias).describe().remove(0);
        assert_eq!((row.cell.as_str(), row.variant.as_str()), (cell, variant));
    }
    for (gates, bias, message) in [
        (3, vec![0], "a: a GRU without bias in a file without configuration"),
        (2, vec![6], "a: kernel and recurrent_kernel: shape: expected [I, G*H]"),
        (4, vec![2, 12], "a: bias: shape: expected [12], found [2, 12]"),
    ] {
        let found = refusal(of(gates, &bias).pick(None));
        assert!(found.contains(message), "{found}");
    }
}

#[test]
fn backward_layers_go_backwards() {
    let arrays = [wave(&[2, 12], 0.0), wave(&[3, 12], 1.0), wave(&[12], 2.0)];
    let names =
        ["both/backward_layer/cell/vars/0", "both/backward_layer/cell/vars/1", "both/backward_layer/cell/vars/2"];
    let loaded = npz(&names.into_iter().zip(&arrays).collect::<Vec<_>>());
    let layer = &loaded.recurrent()[0];
    assert!(!layer.is_causal());
    assert_eq!(layer.source(), Source::Keras { return_sequences: true, zero_output_for_mask: false });
    assert_eq!(layer.describe()[0].variant, "backwards");
}

#[test]
fn files_of_other_things_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let error = |name: &str| refusal(load::<f32>(path(name), &LoadOptions::default()));
    assert!(error("nowhere.h5").contains("nowhere.h5: "));
    std::fs::write(path("empty"), b"").unwrap();
    assert!(error("empty").contains("expected a Keras, PyTorch, safetensors, NumPy or ONNX file"));
    std::fs::write(path("text.onnx"), b"This is no model.").unwrap();
    assert!(error("text.onnx").contains("text.onnx: "));
    numpy::write_npy(path("one.npy"), &wave(&[2], 0.0)).unwrap();
    assert!(error("one.npy").contains("one array, which is no model, is not supported"));
    safetensors::write(path("other.safetensors"), [("weight", &wave(&[2], 0.0))]).unwrap();
    let loaded = load::<f32>(path("other.safetensors"), &LoadOptions::default()).unwrap();
    let found = refusal(loaded.pick(None));
    assert!(found.contains("a recurrent layer, is missing"), "{found}");
}
