//! Keras' three formats hold the same layers and weights.
#![cfg(all(feature = "keras", feature = "safetensors"))]

mod samples;

use gatefold_models::keras::{self, KerasLayer, KerasModel, WeightGroup};
use gatefold_models::{Dtype, Tensor, safetensors};

const FOLDERS: [&str; 3] = ["keras_models", "keras2_models", "keras_more"];

/// Those that are refused, and why.
const REFUSED: [(&str, &str); 3] = [
    ("keras_more/branches", "layer right: a model that is not one chain of layers"),
    ("keras_more/masked", "layer not_equal: a model that is not one chain of layers"),
    ("keras_more/nested", "layer inner: a Sequential model for a layer"),
];

fn model(name: &str) -> KerasModel {
    keras::read(samples::path(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn groups(name: &str) -> Vec<WeightGroup> {
    keras::read_weights(samples::path(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// The names of models that have all three formats.
fn whole_models() -> Vec<String> {
    let models = FOLDERS.iter().flat_map(|folder| samples::ending(folder, ".keras"));
    let stems = models.map(|name| name.strip_suffix(".keras").unwrap().to_owned());
    stems.filter(|stem| REFUSED.iter().all(|(refused, _)| refused != stem)).collect()
}

fn values(weights: &[(String, Tensor)]) -> Vec<&Tensor> {
    weights.iter().map(|(_, tensor)| tensor).collect()
}

/// Layers but for those that only state the input, which some of the formats list.
fn working(model: &KerasModel) -> Vec<&KerasLayer> {
    model.layers.iter().filter(|layer| layer.class != "InputLayer").collect()
}

#[test]
fn the_formats_hold_the_same_layers() {
    let models = whole_models();
    assert_eq!(models.len(), 17);
    for name in models {
        let new = model(&format!("{name}.keras"));
        // Legacy files do not say that two opaque bytes are a bf16.
        if name == "keras_more/bfloat16" {
            let error = keras::read(samples::path(&format!("{name}.h5"))).unwrap_err().to_string();
            assert!(error.contains("two bytes of no stated type"), "{error}");
            continue;
        }
        let legacy = model(&format!("{name}.h5"));
        assert_eq!(new.keras_version, legacy.keras_version);
        let (new, legacy) = (working(&new), working(&legacy));
        assert_eq!(new.len(), legacy.len(), "{name}");
        for (a, b) in new.iter().zip(&legacy) {
            assert_eq!((&a.class, &a.name), (&b.class, &b.name));
            assert_eq!(a.config.get("units"), b.config.get("units"));
            assert_eq!(values(&a.weights), values(&b.weights), "{name}: {}", a.name);
        }
    }
}

#[test]
fn weights_alone_are_those_of_the_model() {
    for name in whole_models() {
        let model = model(&format!("{name}.keras"));
        let groups = groups(&format!("{name}.weights.h5"));
        let weighty: Vec<_> = model.layers.iter().filter(|layer| !layer.weights.is_empty()).collect();
        assert_eq!(groups.iter().filter(|group| !group.weights.is_empty()).count(), weighty.len(), "{name}");
        for layer in weighty {
            // The cells of a stack come in the order of their names where there is no configuration.
            let sorted = |weights: &[(String, Tensor)]| {
                let mut weights = weights.to_vec();
                weights.sort_by(|a, b| a.0.cmp(&b.0));
                weights
            };
            let same = |group: &&WeightGroup| sorted(&group.weights) == sorted(&layer.weights);
            let group = groups.iter().find(same).unwrap_or_else(|| panic!("{name}: {}", layer.name));
            if !name.starts_with("keras2") {
                assert_eq!(group.name.as_deref(), Some(layer.name.as_str()));
            }
            if layer.class != "RNN" {
                assert_eq!(group.weights, layer.weights);
            }
        }
    }
}

#[test]
fn weights_are_in_the_order_of_the_variables() {
    for name in whole_models().iter().filter(|name| name.starts_with("keras_more")) {
        let expected = safetensors::read(samples::path(&format!("{name}.safetensors"))).unwrap().tensors;
        let model = model(&format!("{name}.keras"));
        let mut count = 0;
        for layer in &model.layers {
            for (k, (path, tensor)) in layer.weights.iter().enumerate() {
                let expected = &expected[&format!("{}/{k}", layer.name)];
                assert_eq!(tensor.shape(), expected.shape(), "{name}: {} {path}", layer.name);
                for (a, b) in tensor.to_f64().unwrap().iter().zip(expected.to_f64().unwrap().iter()) {
                    assert!((a - b).abs() < 1e-7, "{name}: {} {path}: {a} {b}", layer.name);
                }
                count += 1;
            }
        }
        assert_eq!(count, expected.len(), "{name}");
    }
}

#[test]
fn layers_are_described() {
    let model = model("keras_more/functional_chain.keras");
    let described: Vec<_> = model.layers.iter().map(|layer| (layer.class.as_str(), layer.name.as_str())).collect();
    let expected =
        [("InputLayer", "tokens"), ("Embedding", "words"), ("GRU", "first"), ("GRU", "second"), ("Dense", "head")];
    assert_eq!(described, expected);
    assert_eq!(model.keras_version, "3.15.1");
    assert_eq!(model.layers[2].config["units"], 4);
    let paths: Vec<_> = model.layers[2].weights.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["cell/vars/0", "cell/vars/1", "cell/vars/2"]);
}

#[test]
fn stored_types_are_kept() {
    for (name, dtype) in [("float16", Dtype::F16), ("bfloat16", Dtype::Bf16), ("float64", Dtype::F64)] {
        let model = model(&format!("keras_more/{name}.keras"));
        assert!(model.layers.last().unwrap().weights.iter().all(|(_, tensor)| tensor.dtype() == dtype));
    }
}

#[test]
fn chunked_and_deflated_datasets_are_read() {
    let (plain, small) = (model("keras_more/functional_chain.h5"), model("keras_more/compressed.h5"));
    for (a, b) in plain.layers.iter().zip(&small.layers) {
        assert_eq!(a.weights, b.weights);
    }
    assert_eq!(plain.layers.len(), small.layers.len());
}

#[test]
fn other_models_are_refused_by_name() {
    for (name, message) in REFUSED {
        for end in ["keras", "h5"] {
            let error = keras::read(samples::path(&format!("{name}.{end}"))).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        assert!(!groups(&format!("{name}.weights.h5")).is_empty());
    }
    let error = keras::read(samples::path("keras_models/gru_last.weights.h5")).unwrap_err().to_string();
    assert!(error.contains("gru_last.weights.h5: the attribute model_config is missing"), "{error}");
    let error = keras::from_bytes(b"not a model".to_vec()).unwrap_err().to_string();
    assert!(error.contains("expected an HDF5 file"), "{error}");
}

#[test]
fn legacy_weights_are_listed_by_layer() {
    let groups = groups("keras2_models/stacked_cells.h5");
    let paths: Vec<_> = groups.iter().map(|group| group.path.as_str()).collect();
    assert_eq!(paths, ["model_weights/rnn", "model_weights/time_distributed"]);
    assert_eq!(groups[0].weights[0].0, "rnn/stacked_rnn_cells/lstm_cell/kernel:0");
    assert_eq!(groups[0].weights[3].0, "rnn/stacked_rnn_cells/gru_cell/kernel:0");
}
