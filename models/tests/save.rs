//! What is saved with PyTorch's names is what PyTorch would have saved, and comes back bit by bit.
#![cfg(feature = "safetensors")]

mod samples;

use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::batch_major;
use gatefold::{Layer, Level, Merge, Options, Order, Stack, Weights};
use gatefold_models::{Element, LoadOptions, Nonlinearity, StateDict, load, safetensors};

const KEPT: Options = Options {
    backend: gatefold::Backend::Native,
    isa: None,
    threads: gatefold::Threads::One,
    plan: None,
    keep_weights: true,
};

/// Numbers that differ from one another and from those of other seeds.
fn wave<T: Element>(len: usize, seed: f64) -> Vec<T> {
    (0..len).map(|k| T::from_f64(((k as f64 * 0.7 + seed) * 1.3).sin() * 0.5)).collect()
}

/// Weights of three units, or of two projected ones.
fn weights<T: Element>(cell: Cell, input: usize, biases: [bool; 2], projected: bool, seed: f64) -> Weights<T> {
    let rows = cell.gates() * 3;
    let [b_w, b_r] = [(biases[0], 1.0), (biases[1], 2.0)].map(|(is, more)| is.then(|| wave(rows, seed + more)));
    let (w, output) = (wave(rows * input, seed), if projected { 2 } else { 3 });
    let r = wave(rows * output, seed + 5.0);
    match projected {
        true => Weights::projected(input, 3, w, r, [b_w, b_r], wave(6, seed + 7.0)),
        false => Weights::new(cell, input, 3, w, r, b_w, b_r),
    }
    .unwrap()
}

fn layer<T: Element>(weights: Weights<T>) -> Layer<T> {
    Layer::new(weights, KEPT).unwrap()
}

fn refused<T: Element>(stack: &Stack<T>) -> String {
    let mut state_dict = StateDict::new();
    let error = state_dict.recurrent("net", stack).expect_err("a refusal");
    assert_eq!(state_dict, StateDict::new());
    error.to_string()
}

/// Models that PyTorch saved come out as they went in.
#[test]
fn the_files_of_pytorch_are_written_again() {
    let names = samples::ending("torch_models", ".safetensors");
    assert_eq!(names.len(), 5);
    for name in names {
        let loaded =
            load::<f32>(samples::path(&name), &LoadOptions { layers: KEPT, ..LoadOptions::default() }).unwrap();
        assert_eq!(loaded.recurrent().len(), 1);
        let mut state_dict = StateDict::new();
        state_dict.recurrent(loaded.recurrent()[0].name(), loaded.recurrent()[0].stack()).unwrap();
        assert_eq!(state_dict.tensors(), &safetensors::read(samples::path(&name)).unwrap().tensors, "{name}");
    }
}

/// Every cell, one and two layers, one and both directions, read back by `load` and run.
fn comes_back<T: Element>() {
    let kinds = [
        (Cell::SimpleRnn { activation: Activation::Tanh }, false),
        (Cell::SimpleRnn { activation: Activation::Relu }, false),
        (Cell::Lstm, false),
        (Cell::Lstm, true),
        (Cell::Gru { reset: Reset::After }, false),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (cell, projected) in kinds {
        for (layers, both, biased) in [(1, false, true), (2, false, false), (1, true, true), (2, true, true)] {
            let mut levels: Vec<Level<T>> = Vec::new();
            for l in 0..layers {
                let input = levels.last().map_or(4, Level::output);
                let of = |seed| layer(weights(cell, input, [biased; 2], projected, f64::from(10 * l) + seed));
                levels.push(match both {
                    true => Level::bidirectional(of(0.1), of(0.2), Merge::Concat).unwrap(),
                    false => of(0.3).into(),
                });
            }
            let stack = Stack::new(levels).unwrap();
            let mut state_dict = StateDict::new();
            state_dict.recurrent("a.net", &stack).unwrap();
            let path = folder.path().join("saved.safetensors");
            state_dict.save(&path).unwrap();

            let contents = safetensors::read(&path).unwrap();
            assert_eq!(&contents.tensors, state_dict.tensors());
            assert_eq!(contents.metadata["format"], "pt");
            let per_layer = 2 + usize::from(biased) * 2 + usize::from(projected);
            assert_eq!(contents.tensors.len(), layers as usize * (1 + usize::from(both)) * per_layer);

            let nonlinearity = match cell {
                Cell::SimpleRnn { activation: Activation::Relu } => Nonlinearity::Relu,
                _ => Nonlinearity::Tanh,
            };
            let loaded = load::<T>(&path, &LoadOptions { nonlinearity, ..LoadOptions::default() }).unwrap();
            let back = loaded.recurrent_named("a.net").unwrap().stack();
            let x = wave(2 * 5 * 4, 3.0);
            let run = |stack: &Stack<T>| stack.forward(batch_major(&x, [2, 5, 4]).unwrap(), None).unwrap().y;
            assert_eq!(run(back), run(&stack), "{cell:?}");
        }
    }
}

#[test]
fn what_is_saved_comes_back() {
    comes_back::<f32>();
    comes_back::<f64>();
}

/// Biases that a layer does not have are zeros in the file.
#[test]
fn one_bias_becomes_two() {
    for biases in [[true, false], [false, true]] {
        let stack = Stack::new(vec![layer(weights::<f32>(Cell::Lstm, 2, biases, false, 0.0)).into()]).unwrap();
        let mut state_dict = StateDict::new();
        state_dict.recurrent("", &stack).unwrap();
        let zeros = |name: &str| state_dict.tensors()[name].to_f32().unwrap().iter().all(|&value| value == 0.0);
        assert_eq!([zeros("bias_ih_l0"), zeros("bias_hh_l0")], biases.map(|is| !is));
        assert_eq!(state_dict.tensors()["bias_hh_l0"].shape(), [12]);
    }
}

#[test]
fn what_pytorch_does_not_have_is_refused_by_name() {
    let lstm = || weights::<f64>(Cell::Lstm, 3, [true; 2], false, 0.0);
    let gru = |reset| weights::<f64>(Cell::Gru { reset }, 3, [true; 2], false, 0.0);
    let one = |weights| Stack::new(vec![layer(weights).into()]).unwrap();
    let hard = [Activation::Sigmoid, Activation::Tanh, Activation::Softsign];
    let rnn = Cell::SimpleRnn { activation: Activation::Softsign };
    let cases = [
        (one(gru(Reset::Before)), "a GRU whose reset gate acts before the product"),
        (one(lstm().with_peepholes(vec![0.5; 9]).unwrap()), "peepholes"),
        (one(lstm().coupled().unwrap()), "coupled gates"),
        (one(gru(Reset::After).attended().unwrap()), "attention"),
        (one(lstm().with_clip(2.0).unwrap()), "clipping"),
        (one(lstm().with_activations(&hard).unwrap()), "activations that differ from PyTorch's"),
        (one(weights(rnn, 3, [true; 2], false, 0.0)), "activations that differ from PyTorch's"),
    ];
    for (stack, what) in cases {
        assert_eq!(refused(&stack), format!("net: weight_ih_l0: {what} is not supported"));
    }

    let bare = Layer::new(lstm(), Options { keep_weights: false, ..KEPT }).unwrap();
    let bare = Stack::new(vec![bare.into()]).unwrap();
    assert!(refused(&bare).contains("weight_ih_l0: a layer built without Options::keep_weights"));
    let two = |above: Level<f64>| Stack::new(vec![layer(lstm()).into(), above]).unwrap();
    let backwards = two(Level::reverse(layer(lstm()), Order::Input));
    assert_eq!(refused(&backwards), "net: layer 1: direction: a layer that goes backwards alone is not supported");
    let sum = two(Level::bidirectional(layer(lstm()), layer(lstm()), Merge::Sum).unwrap());
    assert_eq!(refused(&sum), "net: layer 1: merge: Sum is not supported");
    let both = two(Level::bidirectional(layer(lstm()), layer(lstm()), Merge::Concat).unwrap());
    assert!(refused(&both).contains("layer 1: another number of directions than the first's"));
    let mixed = two(layer(gru(Reset::After)).into());
    assert!(refused(&mixed).contains("weight_ih_l1: another cell or size than the first layer's"));
}

#[test]
fn names_and_lengths_are_checked() {
    let mut state_dict = StateDict::new();
    state_dict.linear("head", [2, 3], &[1f32; 6], Some(&[0.0; 2])).unwrap();
    state_dict.tensor("scale", &[1], &[1f64]).unwrap();
    let before = state_dict.clone();
    let again = state_dict.linear("head", [2, 3], &[1f32; 6], None).unwrap_err();
    assert_eq!(again.to_string(), "names: expected names that differ, found head.weight twice");
    assert!(state_dict.linear("tail", [2, 3], &[1f32; 5], None).unwrap_err().to_string().starts_with("weight: "));
    assert!(
        state_dict.linear("tail", [2, 3], &[1f32; 6], Some(&[0.0; 3])).unwrap_err().to_string().starts_with("bias: ")
    );
    assert!(state_dict.tensor("scale", &[1], &[1f32]).is_err());
    assert!(state_dict.tensor("other", &[usize::MAX, 2], &[1f32]).is_err());
    assert_eq!(state_dict, before);
    assert!(state_dict.save("/nowhere/at/all.safetensors").is_err());
}
