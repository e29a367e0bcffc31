//! The helpers of the conformance tests: what must fail does.

mod cases;

use cases::forward::{Forward, Outputs};
use cases::graph::initializers;
use cases::pass::{Activation, Found, Pass};
use cases::tensor::{Tensor, compare};
use cases::{Case, OutOfScope, verify, verify_all};
use safetensors::Dtype;
use serde_json::json;

fn tensor(shape: &[usize], values: &[f64]) -> Tensor {
    assert_eq!(values.len(), shape.iter().product::<usize>());
    Tensor { shape: shape.to_vec(), dtype: Dtype::F64, values: values.to_vec() }
}

/// The case of a real file, to be spoilt.
fn case(folder: &str, name: &str) -> Case {
    let found = Case::read_all(folder).into_iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("no case {name}"))
}

#[test]
fn compare_scales_by_the_largest_magnitude() {
    let expected = tensor(&[2, 2], &[1.0, -200.0, 0.0, 3.0]);
    assert_eq!(compare("y", &expected, &expected.values, 0.0), Ok(()));
    assert_eq!(compare("y", &expected, &[1.0, -200.0, 0.19, 3.0], 1e-3), Ok(()));
    let error = compare("y", &expected, &[1.1, -200.0, 0.21, 3.0], 1e-3).unwrap_err();
    assert_eq!(error, "y[1, 0]: expected 0, found 0.21: off by 2.10e-1, allowed are 2.00e-1");
}

#[test]
fn compare_refuses_what_is_not_finite() {
    let expected = tensor(&[3], &[1.0, 2.0, 3.0]);
    for wrong in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = compare("h", &expected, &[1.0, wrong, 3.0], 1e-3).unwrap_err();
        assert!(error.starts_with("h[1]: expected 2, found"), "{error}");
        let error = compare("h", &tensor(&[1], &[wrong]), &[wrong], 1e-3).unwrap_err();
        assert!(error.contains("cannot be compared"), "{error}");
    }
}

#[test]
fn compare_refuses_other_lengths_and_none() {
    let expected = tensor(&[2], &[1.0, 2.0]);
    for found in [&[][..], &[1.0], &[1.0, 2.0, 3.0]] {
        assert!(compare("h", &expected, found, 1.0).is_err());
    }
    assert!(compare("h", &tensor(&[0], &[]), &[], 1.0).is_err());
}

#[test]
fn compare_of_zeros_allows_nothing() {
    let zeros = tensor(&[2], &[0.0, 0.0]);
    assert!(compare("h", &zeros, &[0.0, -0.0], 1e-3).is_ok());
    assert!(compare("h", &zeros, &[0.0, 1e-300], 1e-3).is_err());
}

#[test]
fn swap_outer_moves_rows() {
    let swapped = tensor(&[2, 3, 1], &[0.0, 1.0, 2.0, 10.0, 11.0, 12.0]).swap_outer();
    assert_eq!(swapped.shape, [3, 2, 1]);
    assert_eq!(swapped.values, [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
}

#[test]
fn forward_compares_every_output_in_the_layout_of_the_file() {
    for (folder, name) in [("torch", "lstm_state"), ("torch", "lstm_batch_first"), ("keras", "lstm_sequence_state")] {
        let case = case(folder, name);
        let forward = Forward::new(&case).unwrap();
        let call = &forward.calls[0];
        let y = call.y.as_ref().unwrap();
        let good = Outputs {
            y: if forward.batch_first { y.swap_outer().values } else { y.values.clone() },
            h: call.h.as_ref().unwrap().values.clone(),
            c: call.c.as_ref().unwrap().values.clone(),
        };
        assert_eq!(forward.compare(0, &good), Ok(()), "{name}");
        let fails = |spoil: fn(&mut Outputs)| {
            let mut outputs = good.clone();
            spoil(&mut outputs);
            forward.compare(0, &outputs).unwrap_err()
        };
        assert!(fails(|o| o.y[1] += 1e-3).contains("call 0: y[0, 0, 1]"));
        assert!(fails(|o| o.h[2] += 1e-3).contains("call 0: h["));
        assert!(fails(|o| o.c[3] += 1e-3).contains("call 0: c["));
        assert!(fails(|o| o.c.clear()).contains("call 0: c"));
        assert!(fails(|o| o.y.truncate(1)).contains("y: expected"));
        if forward.batch_first {
            assert!(forward.compare(0, &Outputs { y: y.values.clone(), ..good.clone() }).is_err());
        }
    }
}

#[test]
fn forward_compares_the_last_output() {
    let case = case("keras", "gru_last");
    let forward = Forward::new(&case).unwrap();
    let last = &forward.calls[0].last.as_ref().unwrap().values;
    let mut y = vec![f64::NAN; (forward.time - 1) * last.len()];
    y.extend(last);
    let mut outputs = Outputs { y, h: vec![], c: vec![] };
    assert_eq!(forward.compare(0, &outputs), Ok(()));
    *outputs.y.last_mut().unwrap() += 1e-3;
    assert!(forward.compare(0, &outputs).unwrap_err().contains("last y[4, 36]"));
}

#[test]
fn each_call_starts_from_the_state_the_last_one_left() {
    let case = case("keras", "lstm_stateful");
    let calls = Forward::new(&case).unwrap().calls;
    assert_eq!(calls.len(), 3);
    assert!(calls[0].h0.is_none() && calls[0].c0.is_none());
    for (k, call) in calls.iter().enumerate().skip(1) {
        assert_eq!(call.h0.as_ref().unwrap().values, case.tensor(&format!("state_0_call{}", k - 1)).values);
        assert_eq!(call.c0.as_ref().unwrap().values, case.tensor(&format!("state_1_call{}", k - 1)).values);
    }
}

#[test]
#[should_panic(expected = "gru_last: unknown option implementation = 2")]
fn an_unknown_option_of_keras_panics() {
    let mut case = case("keras", "gru_last");
    case.options["constructor"]["implementation"] = json!(2);
    drop(Forward::new(&case));
}

#[test]
#[should_panic(expected = "gru_mask_backwards: unknown option implementation = 2")]
fn an_unknown_option_panics_beside_one_that_is_out_of_scope() {
    let mut case = case("keras", "gru_mask_backwards");
    case.options["constructor"]["implementation"] = json!(2);
    drop(Forward::new(&case));
}

#[test]
#[should_panic(expected = "lstm: unknown option dropout = 0.5")]
fn an_unknown_option_of_torch_panics() {
    let mut case = case("torch", "lstm");
    case.options["options"]["dropout"] = json!(0.5);
    drop(Forward::new(&case));
}

#[test]
#[should_panic(expected = "unknown option activation = \"gelu\"")]
fn an_unknown_value_panics() {
    let mut case = case("keras", "gru_relu");
    case.options["constructor"]["activation"] = json!("gelu");
    drop(Forward::new(&case));
}

#[test]
#[should_panic(expected = "lstm: unknown tensor weights/weight_hr_l0")]
fn an_unknown_tensor_panics() {
    let mut case = case("torch", "lstm");
    case.tensors.insert("weights/weight_hr_l0".into(), tensor(&[1], &[1.0]));
    drop(Forward::new(&case));
}

#[test]
fn scope_is_told() {
    let cases = [
        ("keras", "gru_mask", "mask"),
        ("keras", "gru_backwards", "go_backwards"),
        ("keras", "lstm_relu", "activations"),
        ("keras", "bidirectional_gru_sum", "bidirectional"),
        ("torch", "gru_lengths", "lengths"),
        ("torch", "gru_layers3", "layers"),
        ("torch", "lstm_proj", "projection"),
        ("torch", "rnn_bidirectional", "bidirectional"),
    ];
    for (folder, name, reason) in cases {
        assert_eq!(Forward::new(&case(folder, name)).unwrap_err(), OutOfScope(reason), "{name}");
    }
}

#[test]
fn outputs_stand_where_the_file_has_them() {
    let apart = case("keras", "bidirectional_gru_None");
    let directions = case("onnx", "gru_bidirectional");
    let layout1 = case("onnx", "gru_layout1_bidirectional");
    for case in [&apart, &directions, &layout1] {
        let pass = Pass::new(case);
        let (y, hidden) = (pass.calls[0].y.as_ref().unwrap(), pass.levels[0][0].hidden);
        assert_eq!(y.values.len(), pass.sizes.time * pass.sizes.batch * pass.channels(), "{}", case.name);
        let at = |tensor: &Tensor, index: [usize; 4]| {
            tensor.values[index.iter().zip(&tensor.shape).fold(0, |place, (i, size)| place * size + i)]
        };
        for (t, n, d, u) in [(0, 0, 0, 0), (1, 2, 0, 3), (1, 2, 1, 3), (3, 0, 1, 5)] {
            let expected = match &case.name[..] {
                "bidirectional_gru_None" => at(y, [d, n, t, u]),
                "gru_bidirectional" => at(y, [t, d, n, u]),
                _ => at(y, [n, t, d, u]),
            };
            assert_eq!(y.values[pass.place(t, n, d * hidden + u)], expected, "{}", case.name);
        }
    }
    let pass = Pass::new(&apart);
    let hidden = pass.levels[0][0].hidden;
    let backward = &apart.tensor("y_backward").values;
    assert_eq!(pass.calls[0].y.as_ref().unwrap().values[pass.place(1, 0, hidden)], backward[hidden]);
}

#[test]
fn a_pass_compares_every_output_of_both_directions() {
    for (folder, name) in [
        ("keras", "bidirectional_lstm_None"),
        ("torch", "lstm_lengths_bidirectional"),
        ("onnx", "lstm_bidirectional_lens"),
        ("onnx", "lstm_layout1_bidirectional"),
    ] {
        let case = case(folder, name);
        let pass = Pass::new(&case);
        let values = |tensor: &Option<Tensor>| tensor.as_ref().unwrap().values.clone();
        let call = &pass.calls[0];
        let good = Found { y: values(&call.y), last: vec![], h: values(&call.h), c: values(&call.c) };
        assert_eq!(pass.compare(0, &good), Ok(()), "{name}");
        let fails = |spoil: fn(&mut Found)| {
            let mut found = good.clone();
            spoil(&mut found);
            pass.compare(0, &found).unwrap_err()
        };
        assert!(fails(|f| *f.y.last_mut().unwrap() += 1e-3).contains("call 0: y["), "{name}");
        assert!(fails(|f| *f.h.last_mut().unwrap() += 1e-3).contains("call 0: h["), "{name}");
        assert!(fails(|f| *f.c.last_mut().unwrap() += 1e-3).contains("call 0: c["), "{name}");
    }
}

#[test]
fn a_step_starts_from_the_output_of_the_step_before() {
    for (folder, name) in [("keras", "gru_sequence"), ("torch", "rnn_state")] {
        let case = case(folder, name);
        let pass = Pass::new(&case);
        let (steps, y) = (pass.steps(), &pass.calls[0].y.as_ref().unwrap().values);
        assert_eq!(steps.len(), pass.sizes.time);
        assert_eq!(steps[0].calls[0].h0.is_some(), folder == "torch");
        let (before, step) = (&steps[2], &steps[3]);
        assert_eq!(step.calls[0].h0.as_ref().unwrap().values, before.calls[0].y.as_ref().unwrap().values);
        let (row, channels) = (2, pass.channels());
        assert_eq!(step.calls[0].y.as_ref().unwrap().values[row * channels + 5], y[pass.place(3, row, 5)]);
        assert_eq!(step.x.values.len() * pass.sizes.time, pass.x.values.len());
    }
}

#[test]
fn states_of_layout_1_have_the_direction_first() {
    let case = case("onnx", "lstm_layout1_bidirectional");
    let pass = Pass::new(&case);
    let (h, y_h) = (pass.calls[0].h.as_ref().unwrap(), case.tensor("Y_h"));
    assert_eq!((&h.shape[..], &y_h.shape[..]), (&[2, 5, 37][..], &[5, 2, 37][..]));
    assert_eq!(h.values[5 * 37..][..37], y_h.values[37..][..37]);
}

#[test]
fn parameters_go_to_the_activations_that_have_them() {
    let mut case = case("onnx", "gru_bidirectional");
    let names = ["Sigmoid", "LeakyRelu", "HardSigmoid", "Elu"];
    case.options["attributes"] =
        json!({"activations": names, "activation_alpha": [0.5, 0.25], "activation_beta": [0.125]});
    let activations =
        |case: &Case| -> Vec<_> { Pass::new(case).levels[0].iter().map(|layer| layer.activations.clone()).collect() };
    let second = vec![Activation::HardSigmoid(0.25, 0.125), Activation::Elu(1.0)];
    assert_eq!(activations(&case), [vec![Activation::Sigmoid, Activation::LeakyRelu(0.5)], second]);
    case.options["attributes"] = json!({"activations": names});
    let first = vec![Activation::Sigmoid, Activation::LeakyRelu(f64::from(0.01f32))];
    assert_eq!(activations(&case)[0], first);
}

#[test]
fn only_the_softplus_that_overflows_is_cut() {
    let cases = Case::read_all("onnx");
    let passes = cases.iter().map(|case| (Pass::new(case), case.tensor("X").values.len()));
    let cut: Vec<_> = passes.filter(|(pass, len)| pass.x.values.len() != *len).map(|(pass, _)| pass).collect();
    let [pass] = &cut[..] else { panic!("{} are cut", cut.len()) };
    assert_eq!((pass.name, pass.sizes.time), ("rnn_softplus", 5));
}

#[test]
#[should_panic(expected = "gru_forward: not finite")]
fn any_other_that_overflows_panics() {
    let mut case = case("onnx", "gru_forward");
    *case.tensors.get_mut("Y").unwrap().values.last_mut().unwrap() = f64::INFINITY;
    drop(Pass::new(&case));
}

#[test]
#[should_panic(expected = "gru_forward: unknown option output_sequence = 1")]
fn an_unknown_attribute_of_onnx_panics() {
    let mut case = case("onnx", "gru_forward");
    case.options["attributes"]["output_sequence"] = json!(1);
    drop(Pass::new(&case));
}

#[test]
#[should_panic(expected = "gru_forward: unknown tensor P")]
fn an_unknown_input_of_onnx_panics() {
    let mut case = case("onnx", "gru_forward");
    case.tensors.insert("P".into(), tensor(&[1], &[1.0]));
    drop(Pass::new(&case));
}

/// ModelProto { ir_version: 8, graph: { initializer: { dims: [1, 2], data_type: FLOAT, name: "W", raw_data: 1.0, -2.0 } } }
const MODEL: [u8; 25] = [8, 8, 58, 21, 42, 19, 8, 1, 8, 2, 16, 1, 66, 1, b'W', 74, 8, 0, 0, 128, 63, 0, 0, 0, 192];

#[test]
fn initializers_are_read() {
    let [(name, tensor)] = &initializers(&MODEL)[..] else { panic!("one initializer") };
    assert_eq!((&name[..], &tensor.shape[..], &tensor.values[..]), ("W", &[1, 2][..], &[1.0, -2.0][..]));
}

#[test]
fn broken_models_panic() {
    let with = |place: usize, value: u8| {
        let mut model = MODEL;
        model[place] = value;
        model
    };
    // Of another length than the file, of other sizes than the data, of another type, with a field that is not known.
    for model in [with(3, 22), with(9, 3), with(11, 11), with(12, 34)] {
        assert!(std::panic::catch_unwind(|| initializers(&model)).is_err());
    }
}

#[test]
#[should_panic(expected = "cases in scope")]
fn verify_all_counts_the_files() {
    verify_all("onnx", 58, |_| Ok(()));
}

#[test]
#[should_panic(expected = "2 of 57 cases fail:\nlstm_peepholes: wrong\nlstm_peepholes_bidirectional: wrong")]
fn verify_all_names_the_cases_that_fail() {
    verify_all("onnx", 57, |pass| if pass.name.contains("peepholes") { Err("wrong".into()) } else { Ok(()) });
}

#[test]
#[should_panic(expected = "1 of 2 cases fail:\nlstm_state: wrong")]
fn verify_names_the_case_that_fails() {
    let cases = [case("torch", "lstm"), case("torch", "lstm_state"), case("torch", "lstm_proj")];
    verify(&cases, 2, |forward| if forward.calls[0].h0.is_some() { Err("wrong".into()) } else { Ok(()) });
}

#[test]
#[should_panic(expected = "cases in scope")]
fn verify_counts_the_cases() {
    verify(&[case("torch", "lstm"), case("torch", "lstm_proj")], 2, |_| Ok(()));
}
