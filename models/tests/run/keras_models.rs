//! Whole models of Keras 2 and 3.

use crate::{assert_agrees, loaded, npy, refusal, samples};
use gatefold_models::keras::{self, KerasLayer, KerasModel, Model};
use gatefold_models::{Data, Format, Inputs, Runnable, Tensor};
use serde_json::{Value, json};

fn cases(folder: &str) -> Vec<String> {
    let files = samples::ending(folder, ".keras");
    files.iter().map(|name| name.strip_suffix(".keras").unwrap().to_owned()).collect()
}

#[test]
fn every_model_gives_what_keras_gave() {
    let (new, old) = (cases("keras_models"), cases("keras2_models"));
    assert_eq!((new.len(), old.len()), (7, 5));
    for case in new.iter().chain(&old) {
        let (x, y) = (npy(&format!("{case}.x.npy")), npy(&format!("{case}.y.npy")));
        for end in ["keras", "h5"] {
            let name = format!("{case}.{end}");
            let model =
                Model::<f32>::load(samples::path(&name), Default::default()).unwrap_or_else(|error| panic!("{error}"));
            assert_agrees(&name, &y, &model.predict(&x).unwrap_or_else(|error| panic!("{name}: {error}")));

            let loaded = loaded::<f64>(&name);
            assert_eq!(loaded.format(), Format::Keras);
            let Ok(model @ Runnable::Model(_)) = loaded.pick(None) else { panic!("{name}") };
            let outputs = model.run(&x, usize::MAX, |_| {}).unwrap();
            assert_agrees(&name, &y, &outputs.y);
        }
    }
}

#[test]
fn layers_and_masks_give_what_keras_gave() {
    let cases = cases("keras_layers");
    assert_eq!(cases.len(), 39);
    let mut wrong = Vec::new();
    for case in &cases {
        let name = format!("{case}.keras");
        let model =
            Model::<f32>::load(samples::path(&name), Default::default()).unwrap_or_else(|error| panic!("{error}"));
        let found = model.predict(&npy(&format!("{case}.x.npy"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = npy(&format!("{case}.y.npy"));
        match gatefold_models::compare(&expected, &found, crate::TOLERANCE) {
            Ok(comparison) if comparison.agrees() && comparison.largest.is_some() => {}
            other => wrong.push(format!("{name}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn weights_alone_are_listed_and_not_run() {
    for case in cases("keras_models").iter().chain(&cases("keras2_models")) {
        let loaded = loaded::<f32>(&format!("{case}.weights.h5"));
        assert_eq!(loaded.format(), Format::KerasWeights);
        let message = refusal(loaded.pick(None));
        assert!(message.contains("weights without the model's configuration"), "{message}");
        assert!(!loaded.arrays().is_empty());
        let model = keras::read(samples::path(&format!("{case}.keras"))).unwrap();
        let count: usize = model.layers.iter().map(|layer| layer.weights.len()).sum();
        assert_eq!(loaded.arrays().len(), count, "{case}");
    }
}

#[test]
fn recurrent_layers_run_alone() {
    let loaded = loaded::<f32>("keras_models/lstm_stack.keras");
    let x = npy("keras_models/lstm_stack.x.npy");
    let [first, second] = loaded.recurrent() else { panic!() };
    let between = first.run(&x).unwrap();
    let last = second.run(&between.y).unwrap();
    assert_eq!(last.y, last.hn.unwrap());
    let model = loaded.model().unwrap().unwrap();
    let rows = model.describe();
    let cells: Vec<_> = rows.iter().map(|row| row.cell.as_str()).collect();
    assert!(cells.ends_with(&["LSTM", "LSTM", "Dense"]), "{cells:?}");
    // A forward pass in two calls, with the states between.
    let [n, t, i] = *x.shape() else { panic!() };
    let values = x.to_f32().unwrap();
    let part = |range: std::ops::Range<usize>| {
        let rows = (0..n).flat_map(|row| values[(row * t + range.start) * i..(row * t + range.end) * i].to_vec());
        Tensor::new(vec![n, range.len(), i], Data::F32(rows.collect())).unwrap()
    };
    let (begin, end) = (part(0..3), part(3..t));
    let begun = first.run(&begin).unwrap();
    let inputs = Inputs { h0: begun.hn.as_ref(), c0: begun.cn.as_ref(), ..Inputs::from(&end) };
    assert_eq!(first.run(inputs).unwrap().hn, between.hn);
}

/// A model of one layer that is made of `config`.
fn model(version: &str, class: &str, config: Value, weights: &[(&[usize], f32)]) -> KerasModel {
    let weights =
        weights.iter().enumerate().map(|(k, (shape, seed))| (format!("vars/{k}"), crate::wave(shape, *seed))).collect();
    let layer = KerasLayer { class: class.into(), name: "one".into(), config, weights };
    KerasModel { keras_version: version.into(), config: json!({"config": {"layers": []}}), layers: vec![layer] }
}

fn built(model: &KerasModel) -> gatefold_models::Result<Model<f32>> {
    Model::of(model, Default::default())
}

#[test]
fn what_is_not_known_is_refused_by_place_and_name() {
    let dense = |key: &str, value: Value| {
        let mut config = json!({"name": "one", "units": 2, "use_bias": false, "kernel_initializer": {"anything": 1}});
        config[key] = value;
        model("3.0.0", "Dense", config, &[(&[3, 2], 0.0)])
    };
    assert!(built(&dense("activation", json!("relu"))).is_ok());
    assert!(built(&dense("unheard_of", Value::Null)).is_ok());
    for (key, value, message) in [
        (
            "activation",
            json!("sparsemax"),
            "layer 0, \"one\" of class Dense: activation: \"sparsemax\" is not supported",
        ),
        (
            "activation",
            json!({"class_name": "function", "config": "relu", "registered_name": "mine>relu"}),
            "is not supported",
        ),
        ("unheard_of", json!(7), "config: unheard_of = 7 is not supported"),
        ("lora_rank", json!(4), "config: lora_rank = 4 is not supported"),
        ("dtype", json!("int8"), "dtype = \"int8\" is not supported"),
        ("dtype", json!({"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}), "dtype = "),
        ("units", json!(3), "kernel: shape: expected [inputs, 3], found [3, 2]"),
        ("use_bias", json!(true), "weights: expected kernel, bias, found 1 arrays"),
    ] {
        let found = refusal(built(&dense(key, value)));
        assert!(found.contains(message), "{found}\nexpected {message}");
    }
    for (class, config, message) in [
        (
            "MultiHeadAttention",
            json!({"name": "one"}),
            "layer 0, \"one\" of class MultiHeadAttention: a layer of this class",
        ),
        ("Lambda", json!({}), "a layer of this class"),
        ("Flatten", json!({"data_format": "channels_first"}), "data_format = \"channels_first\""),
        ("GlobalMaxPooling1D", json!({"data_format": "channels_first"}), "data_format = \"channels_first\""),
        ("Reshape", json!({"target_shape": [-1, -1]}), "target_shape: expected sizes, at most one of them -1"),
        ("ReLU", json!({"threshold": 1.0}), "max_value or threshold"),
        ("TimeDistributed", json!({"layer": {"class_name": "Conv2D", "config": {}}}), "a Conv2D layer for each step"),
        ("Bidirectional", json!({"layer": {"class_name": "Dense", "config": {}}}), "a Dense layer in both directions"),
        ("Bidirectional", json!({"layer": {}, "merge_mode": null}), "merge_mode = null"),
        ("RNN", json!({"cell": {"class_name": "MyCell", "config": {}}}), "a cell of class MyCell"),
        ("LayerNormalization", json!({"rms_scaling": true}), "rms_scaling = true"),
        ("BatchNormalization", json!({"renorm": true}), "renorm = true"),
    ] {
        let found = refusal(built(&model("3.0.0", class, config, &[])));
        assert!(found.contains(message), "{found}\nexpected {message}");
    }
    let found = refusal(built(&model("1.2.2", "Flatten", json!({}), &[])));
    assert!(found.contains("Keras 1.2.2 is not supported"), "{found}");
}

fn gru(change: impl Fn(&mut Value)) -> gatefold_models::Result<Model<f32>> {
    let mut config = json!({"units": 2, "activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": true});
    change(&mut config);
    built(&model("3.0.0", "GRU", config, &[(&[3, 6], 0.0), (&[2, 6], 1.0), (&[2, 6], 2.0)]))
}

#[test]
fn recurrent_layers_are_checked() {
    assert!(gru(|_| {}).is_ok());
    assert!(gru(|config| config["dropout"] = json!(0.5)).is_ok());
    assert!(gru(|config| drop(config.as_object_mut().unwrap().remove("reset_after"))).is_ok());
    for (key, value, message) in [
        ("units", json!(3), "layer 0, \"one\" of class GRU: kernel: expected 27 values"),
        ("reset_after", json!(false), "bias: shape: expected [3*H], without reset_after"),
        ("use_bias", json!(false), "weights: expected kernel, recurrent_kernel, found 3 arrays"),
        ("time_major", json!(true), "time_major = true"),
        ("activation", json!("softmax"), "activation: softmax in a recurrent layer"),
        ("activation", Value::Null, "config: activation is missing"),
        ("recurrent_activation", json!("mine"), "recurrent_activation: activation: \"mine\" is not supported"),
        ("return_sequences", json!(1), "return_sequences: expected true or false"),
        ("zoneout", json!(0.1), "zoneout = 0.1"),
    ] {
        let found = refusal(gru(|config| config[key] = value.clone()));
        assert!(found.contains(message), "{found}\nexpected {message}");
    }
}

#[test]
fn a_call_in_training_is_refused() {
    let mut model = model("3.0.0", "Flatten", json!({}), &[]);
    model.config =
        json!({"config": {"layers": [{"name": "noise", "inbound_nodes": [{"kwargs": {"training": true}}]}]}});
    let found = refusal(built(&model));
    assert!(found.contains("layer noise: a layer that is called with training=True"), "{found}");
}

#[test]
fn stateful_layers_keep_their_state() {
    let stateful = gru(|config| {
        config["stateful"] = json!(true);
        config["return_sequences"] = json!(true);
    });
    let (stateful, whole) = (stateful.unwrap(), gru(|config| config["return_sequences"] = json!(true)).unwrap());
    let x = crate::wave(&[1, 6, 3], 0.0);
    let values = x.to_f32().unwrap();
    let half = |k: usize| Tensor::new(vec![1, 3, 3], Data::F32(values[k * 9..][..9].to_vec())).unwrap();
    let expected = whole.predict(&x).unwrap().to_f32().unwrap().into_owned();
    for _ in 0..2 {
        let both = [half(0), half(1)].map(|x| stateful.predict(&x).unwrap().to_f32().unwrap().into_owned()).concat();
        assert_eq!(both, expected);
        stateful.reset_states();
    }
    stateful.predict(&half(0)).unwrap();
    let found = refusal(stateful.predict(&crate::wave(&[2, 3, 3], 0.0)));
    assert!(found.contains("batch: expected 1 rows, as before"), "{found}");
}

/// What stands at `row` and `column` of the block of gate `gate`, in `rows` rows of G blocks of H columns.
fn block(tensor: &Tensor, [row, gate, column]: [usize; 3], units: usize) -> f32 {
    tensor.to_f32().unwrap()[row * tensor.shape()[1] + gate * units + column]
}

/// A kernel of CuDNN's layers for the plain ones, as `kernel.T.reshape(kernel.shape, order="F")` of each gate's block.
fn plain_kernel(kernel: &Tensor, units: usize) -> Tensor {
    let [inputs, columns] = *kernel.shape() else { panic!() };
    let mut plain = vec![0.0; inputs * columns];
    for gate in 0..columns / units {
        // Column by column of the transpose is row by row of the block.
        let read: Vec<f32> =
            (0..inputs).flat_map(|i| (0..units).map(move |u| block(kernel, [i, gate, u], units))).collect();
        let mut read = read.into_iter();
        for unit in 0..units {
            for i in 0..inputs {
                plain[i * columns + gate * units + unit] = read.next().unwrap();
            }
        }
    }
    Tensor::new(vec![inputs, columns], Data::F32(plain)).unwrap()
}

fn turned_blocks(kernel: &Tensor, units: usize) -> Tensor {
    let columns = kernel.shape()[1];
    let places = (0..units).flat_map(|row| (0..columns).map(move |column| [column % units, column / units, row]));
    Tensor::new(vec![units, columns], Data::F32(places.map(|place| block(kernel, place, units)).collect())).unwrap()
}

#[test]
fn layers_of_cudnn_are_the_plain_ones_in_another_layout() {
    let (inputs, units) = (3, 2);
    for (class, gates) in [("LSTM", 4), ("GRU", 3)] {
        let config = json!({"units": units, "return_sequences": true});
        let arrays: [(&[usize], f32); 3] =
            [(&[inputs, gates * units], 0.0), (&[units, gates * units], 1.0), (&[2 * gates * units], 2.0)];
        let cudnn = model("2.2.4-tf", &format!("CuDNN{class}"), config, &arrays);
        let mut plain = cudnn.clone();
        let layer = &mut plain.layers[0];
        layer.class = class.into();
        layer.config =
            json!({"units": units, "return_sequences": true, "activation": "tanh", "recurrent_activation": "sigmoid"});
        layer.weights[0].1 = plain_kernel(&layer.weights[0].1, units);
        layer.weights[1].1 = turned_blocks(&layer.weights[1].1, units);
        let bias = layer.weights[2].1.to_f32().unwrap().into_owned();
        let (first, second) = bias.split_at(gates * units);
        layer.weights[2].1 = match class {
            "GRU" => Tensor::new(vec![2, gates * units], Data::F32(bias.clone())),
            _ => Tensor::new(vec![gates * units], Data::F32(first.iter().zip(second).map(|(a, b)| a + b).collect())),
        }
        .unwrap();
        let x = crate::wave(&[2, 5, inputs], 3.0);
        let y = [&cudnn, &plain].map(|model| built(model).unwrap().predict(&x).unwrap());
        assert_eq!(y[0], y[1], "{class}");
    }
}

#[test]
fn inputs_of_a_model_are_checked() {
    let model = Model::<f32>::load(samples::path("keras_models/text_classifier.keras"), Default::default()).unwrap();
    let ids = |ids: &[i64]| Tensor::new(vec![1, ids.len()], Data::I64(ids.to_vec())).unwrap();
    assert!(model.predict(&ids(&[1, 2, 49])).is_ok());
    for (ids, message) in [
        (ids(&[1, 50]), "of class Embedding: input: expected integers from 0 to 49, found 50"),
        (ids(&[-1]), "expected integers from 0 to 49, found -1"),
        (ids(&[1 << 40]), "x: value: expected an integer of at most 16777216"),
    ] {
        let found = refusal(model.predict(&ids));
        assert!(found.contains(message), "{found}");
    }
    let lengths = ids(&[1]);
    let found = refusal(model.run(Inputs { lengths: Some(&lengths), ..Inputs::from(&lengths) }));
    assert!(found.contains("lengths: an input of a whole model other than x"), "{found}");
    let model = Model::<f32>::load(samples::path("keras_models/gru_last.keras"), Default::default()).unwrap();
    let found = refusal(model.predict(&crate::wave(&[2, 3, 4], 0.0)));
    assert!(found.contains("of class InputLayer: input: shape: expected [any, any, 15], found [2, 3, 4]"), "{found}");
}

#[test]
fn masks_behind_recurrent_layers_depend_on_the_version() {
    let mut description = keras::read(samples::path("keras_layers/mask_passes_on.keras")).unwrap();
    let ids = npy("keras_layers/mask_passes_on.x.npy");
    assert!(built(&description).unwrap().predict(&ids).is_ok());
    description.keras_version = "3.16.0".into();
    let found = refusal(built(&description).unwrap().predict(&ids));
    assert!(found.contains("of class LSTM: mask: a mask behind a recurrent layer of Keras after 3.15"), "{found}");
    // Where nothing heeds it, it does not matter.
    let mut description = keras::read(samples::path("keras_layers/mask_flatten.keras")).unwrap();
    description.keras_version = "3.16.0".into();
    assert!(built(&description).unwrap().predict(&npy("keras_layers/mask_flatten.x.npy")).is_ok());
}

#[test]
fn models_of_other_types_and_forms_run() {
    let chain = Model::<f32>::load(samples::path("keras_more/functional_chain.keras"), Default::default()).unwrap();
    assert_eq!(chain.predict(&Tensor::new(vec![2, 6], Data::I32(vec![1; 12])).unwrap()).unwrap().shape(), [2, 2]);
    let many = Model::<f32>::load(samples::path("keras_more/many_kinds.keras"), Default::default()).unwrap();
    assert_eq!(many.predict(&crate::wave(&[2, 8, 3], 0.0)).unwrap().shape(), [2, 1]);
    let x = crate::wave(&[2, 5, 3], 0.0);
    for name in ["float16", "bfloat16", "float64"] {
        let path = samples::path(&format!("keras_more/{name}.keras"));
        let narrow = Model::<f32>::load(&path, Default::default()).unwrap().predict(&x).unwrap();
        let wide = Model::<f64>::load(&path, Default::default()).unwrap().predict(&x).unwrap();
        assert_agrees(name, &wide, &narrow);
    }
    // A model that is no chain is not run, but its arrays are listed.
    let branches = loaded::<f32>("keras_more/branches.keras");
    let found = refusal(branches.pick(None));
    assert!(found.contains("a model that is not one chain of layers"), "{found}");
    assert_eq!(branches.arrays().len(), 6);
}
