//! Optimisers and clipping against PyTorch, Keras and the papers' formulas.

mod common;

use common::{close, numbers, reference, roundings, values};
use gatefold::cell::{Activation, Cell};
use gatefold::{Element, Error, Grads, Layer, Options, Stack, StackGrads, Weights};
use gatefold_training::{Adam, AdamOptions, Dense, DenseGrads, Epsilon, Random, Result, Sgd, clip_grad_norm};

/// Four steps of five parameters along the gradients of `tests/data/generate_pytorch.py`, compared after each.
fn follows(case: &serde_json::Value, mut step: impl FnMut(&mut Dense<f64>, &DenseGrads<f64>) -> Result<()>) {
    let mut dense = Dense::new(5, 1, vec![1.0, -2.0, 0.5, 0.0, 3.0], None).unwrap();
    for (k, after) in case.as_array().unwrap().iter().enumerate() {
        let scale = 1.0 - 0.6 * k as f64;
        let d_weight = [0.3, -1e-3, 2.0, 0.0, -7.0].map(|gradient| gradient * scale).to_vec();
        step(&mut dense, &DenseGrads { d_weight, ..DenseGrads::new() }).unwrap();
        close("parameters", dense.weight(), &numbers(after), 1e-14);
    }
}

#[test]
fn pytorch_and_keras_give_the_same() {
    let (pytorch, keras) = (reference("pytorch.json"), reference("keras.json"));
    let mut sgd = Sgd::new(0.1, 0.0).unwrap();
    follows(&pytorch["sgd"], |dense, grads| sgd.step(dense, grads));
    for framework in [&pytorch, &keras] {
        let mut sgd = Sgd::new(0.1, 0.9).unwrap();
        follows(&framework["sgd_momentum"], |dense, grads| sgd.step(dense, grads));
    }
    for (framework, options) in [(&pytorch, AdamOptions::PYTORCH), (&keras, AdamOptions::KERAS)] {
        let mut adam = Adam::new(options).unwrap();
        follows(&framework["adam"], |dense, grads| adam.step(dense, grads));
        let other = AdamOptions { learning_rate: 0.05, betas: [0.5, 0.8], epsilon: 1e-2, ..options };
        let mut adam = Adam::new(other).unwrap();
        follows(&framework["adam_other"], |dense, grads| adam.step(dense, grads));
    }
}

/// Adam as its paper has it, one parameter at a time, in f64.
fn paper(mut p: f64, gradients: &[f64], options: AdamOptions) -> f64 {
    let AdamOptions { learning_rate, betas: [b1, b2], epsilon, form } = options;
    let (mut m, mut v) = (0.0, 0.0);
    for (t, g) in gradients.iter().enumerate() {
        let t = t as i32 + 1;
        (m, v) = (b1 * m + (1.0 - b1) * g, b2 * v + (1.0 - b2) * g * g);
        p -= match form {
            Epsilon::Corrected => {
                learning_rate * (m / (1.0 - b1.powi(t))) / ((v / (1.0 - b2.powi(t))).sqrt() + epsilon)
            }
            Epsilon::Uncorrected => {
                learning_rate * (1.0 - b2.powi(t)).sqrt() / (1.0 - b1.powi(t)) * m / (v.sqrt() + epsilon)
            }
        };
    }
    p
}

fn follows_the_paper<T: Element>() {
    let (mut random, steps) = (Random::new(9), 30);
    let start: Vec<T> = values(&mut random, 21);
    let gradients: Vec<Vec<T>> = (0..steps).map(|_| values(&mut random, 21)).collect();
    for options in [AdamOptions::PYTORCH, AdamOptions { learning_rate: 0.02, ..AdamOptions::KERAS }] {
        let mut dense = Dense::new(7, 3, start.clone(), None).unwrap();
        let mut adam = Adam::new(options).unwrap();
        for gradient in &gradients {
            adam.step(&mut dense, &DenseGrads { d_weight: gradient.clone(), ..DenseGrads::new() }).unwrap();
        }
        let of = |k: usize| gradients.iter().map(|gradient| gradient[k].to_f64()).collect::<Vec<_>>();
        let expected: Vec<f64> = (0..21).map(|k| paper(start[k].to_f64(), &of(k), options)).collect();
        // A rounding of the parameter in each step, and those of the moments in steps of a learning rate.
        close("parameters", dense.weight(), &expected, roundings::<T>(2.0 * f64::from(steps)));
    }
}

#[test]
fn adam_is_that_of_the_paper() {
    follows_the_paper::<f32>();
    follows_the_paper::<f64>();
}

#[test]
fn a_learning_rate_can_be_changed() {
    let grads = DenseGrads { d_weight: vec![1.0], ..DenseGrads::new() };
    let mut dense = Dense::new(1, 1, vec![0.0f64], None).unwrap();
    let (mut sgd, mut adam) = (Sgd::new(1.0, 0.0).unwrap(), Adam::new(AdamOptions::PYTORCH).unwrap());
    sgd.set_learning_rate(0.5).unwrap();
    sgd.step(&mut dense, &grads).unwrap();
    assert_eq!(dense.weight(), [-0.5]);
    adam.set_learning_rate(0.0).unwrap();
    adam.step(&mut dense, &grads).unwrap();
    assert_eq!(dense.weight(), [-0.5]);
}

#[test]
fn pytorch_clips_to_the_same() {
    let reference = reference("pytorch.json");
    for (name, max_norm) in [("clipped", 1.5), ("not_clipped", 100.0)] {
        let part = |d_weight| DenseGrads { d_weight, ..DenseGrads::new() };
        let mut grads = vec![part(vec![3.0, -1.0]), part(vec![0.5, 2.0, -4.0])];
        let norm = clip_grad_norm(&mut grads, max_norm).unwrap();
        close(name, &[norm], &[reference[name]["norm"].as_f64().unwrap()], 1e-15);
        for (grads, expected) in grads.iter().zip(reference[name]["gradients"].as_array().unwrap()) {
            close(name, &grads.d_weight, &numbers(expected), 1e-15);
        }
    }
}

#[test]
fn norms_that_are_no_numbers_are_refused() {
    let refused = |result, name| match result {
        Err(Error::Number { argument, .. }) => assert_eq!(argument, name),
        other => panic!("{name}: {other:?}"),
    };
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let before = DenseGrads { dx: vec![], d_weight: vec![1.0, bad], d_bias: vec![2.0] };
        let mut grads = before.clone();
        refused(clip_grad_norm(&mut grads, 1.0), "norm of the gradients");
        assert_eq!((grads.d_weight[0], &grads.d_bias), (1.0, &before.d_bias));
    }
    for max_norm in [0.0, -1.0, f64::NAN] {
        refused(clip_grad_norm(&mut DenseGrads::<f32>::new(), max_norm), "max_norm");
    }
    assert_eq!(clip_grad_norm(&mut DenseGrads::<f32>::new(), 1.0), Ok(0.0));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let refused = |result: Result<()>, name| match result {
        Err(Error::Number { argument, .. }) => assert_eq!(argument, name),
        other => panic!("{name}: {other:?}"),
    };
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        refused(Sgd::<f32>::new(bad, 0.0).map(|_| ()), "learning_rate");
        refused(Sgd::<f32>::new(0.1, 0.0).unwrap().set_learning_rate(bad), "learning_rate");
        let adam = |options| Adam::<f32>::new(options).map(|_| ());
        refused(adam(AdamOptions { learning_rate: bad, ..AdamOptions::KERAS }), "learning_rate");
        refused(adam(AdamOptions { epsilon: bad, ..AdamOptions::KERAS }), "epsilon");
        refused(Adam::<f32>::new(AdamOptions::KERAS).unwrap().set_learning_rate(bad), "learning_rate");
    }
    for bad in [-0.1, 1.0, f64::NAN] {
        refused(Sgd::<f32>::new(0.1, bad).map(|_| ()), "momentum");
        for betas in [[bad, 0.9], [0.9, bad]] {
            refused(Adam::<f32>::new(AdamOptions { betas, ..AdamOptions::KERAS }).map(|_| ()), "betas");
        }
    }
}

fn layer(keep_weights: bool) -> Layer<f64> {
    let cell = Cell::SimpleRnn { activation: Activation::Tanh };
    let weights = Weights::new(cell, 2, 1, vec![1.0, 2.0], vec![3.0], Some(vec![4.0]), None).unwrap();
    Layer::new(weights, Options { keep_weights, ..Options::default() }).unwrap()
}

fn grads_of_layer() -> Grads<f64> {
    Grads { dw: vec![1.0; 2], dr: vec![1.0], db_w: vec![1.0], ..Grads::new() }
}

#[test]
fn every_array_of_a_model_is_stepped() {
    let mut model =
        (Stack::new(vec![layer(true).into()]).unwrap(), Dense::new(1, 1, vec![5.0], Some(vec![6.0])).unwrap());
    let of_dense = DenseGrads { d_weight: vec![1.0], d_bias: vec![1.0], dx: vec![9.0; 4] };
    let grads = (StackGrads { dx: vec![9.0; 7], layers: vec![grads_of_layer()] }, of_dense);
    Sgd::new(0.5, 0.0).unwrap().step(&mut model, &grads).unwrap();
    let weights = model.0.levels()[0].layers().next().unwrap().0.weights().unwrap();
    assert_eq!(
        (weights.w(), weights.r(), weights.b_w(), weights.b_r()),
        (&[0.5, 1.5][..], &[2.5][..], Some(&[3.5][..]), None)
    );
    assert_eq!((model.1.weight(), model.1.bias()), (&[4.5][..], Some(&[5.5][..])));
    // What runs is what was changed: tanh(0.5 x0 + 1.5 x1 + 3.5).
    let y = model.0.forward(gatefold::seq::time_major(&[1.0, -2.0], [1, 1, 2]).unwrap(), None).unwrap().y;
    close("y", &y, &[1f64.tanh()], 1e-15);
}

#[test]
fn gradients_of_something_else_are_refused_and_nothing_is_changed() {
    let shape = |argument, expected, found| Err(Error::Shape { argument, expected, found });
    let (mut sgd, mut model) = (Sgd::new(0.5, 0.9).unwrap(), layer(true));
    let longer = Grads { dr: vec![1.0; 2], ..grads_of_layer() };
    assert_eq!(sgd.step(&mut model, &longer), shape("dr", 1, 2));
    assert_eq!(sgd.step(&mut model, &Grads::new()), shape("gradients", 3, 0));
    let other_bias = Grads { db_r: vec![1.0], ..grads_of_layer() };
    assert_eq!(sgd.step(&mut model, &other_bias), shape("gradients", 3, 4));
    assert_eq!(model.weights().unwrap(), layer(true).weights().unwrap());

    // Moments belong to the parameters of the first step.
    let mut two = vec![model.clone(), model];
    let mut of_two = Sgd::new(0.5, 0.9).unwrap();
    of_two.step(&mut two, &vec![grads_of_layer(); 2]).unwrap();
    assert_eq!(of_two.step(&mut layer(true), &grads_of_layer()), shape("parameters", 6, 3));
    let mut wider = Dense::new(2, 1, vec![0.0f64; 2], None).unwrap();
    let mut narrow = Dense::new(1, 1, vec![0.0f64], None).unwrap();
    let of = |len| DenseGrads { d_weight: vec![1.0; len], ..DenseGrads::new() };
    let mut adam = Adam::new(AdamOptions::PYTORCH).unwrap();
    adam.step(&mut narrow, &of(1)).unwrap();
    assert_eq!(adam.step(&mut wider, &of(2)), shape("parameters", 1, 2));
    assert_eq!(wider.weight(), [0.0; 2]);
}

#[test]
fn a_layer_without_its_weights_is_refused() {
    let result = Sgd::new(0.5, 0.9).unwrap().step(&mut layer(false), &grads_of_layer());
    assert!(matches!(result, Err(Error::Unsupported { what: "training without canonical weights", .. })), "{result:?}");
    let mut stack = Stack::new(vec![layer(false).into()]).unwrap();
    let grads = StackGrads { dx: vec![], layers: vec![grads_of_layer()] };
    let result = Adam::new(AdamOptions::KERAS).unwrap().step(&mut stack, &grads);
    assert!(matches!(result, Err(Error::Unsupported { .. })), "{result:?}");
    assert!(matches!(stack.update(|_, _| {}), Err(Error::Unsupported { .. })));
    assert!(matches!(layer(false).update(|_| {}), Err(Error::Unsupported { .. })));
}
