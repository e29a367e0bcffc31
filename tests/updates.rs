//! Weights changed in place: what runs is what they became.

mod common;
mod reference;

use common::choice::{Choice, Chosen};
use common::model::{BIASES, CELLS};
use gatefold::seq::time_major;
use gatefold::{
    Accumulate, Error, Grads, Layer, Level, Merge, Options, Output, Stack, Tape, Upstream, Weights, Workspace,
};

const KEPT: Options = Options {
    backend: gatefold::Backend::Native,
    isa: None,
    threads: gatefold::Threads::One,
    plan: None,
    keep_weights: true,
};

/// The weights from two seeds, of every cell with the arrays that it can have.
fn pairs() -> Vec<[Weights<f32>; 2]> {
    let all = Choice { peepholes: true, projection: Some(3), ..Choice::default() };
    let choices = [Choice::default(), all];
    let kinds = CELLS.into_iter().flat_map(|cell| BIASES.map(|bias| (cell, bias)));
    let kinds = kinds.flat_map(|(cell, bias)| choices.map(|choice| (cell, bias, choice)));
    let of = |(cell, bias, choice)| [1, 2].map(|seed| Chosen::random(cell, [4, 5], bias, choice, seed).weights());
    kinds.map(of).collect()
}

/// Every array becomes that of `source`.
fn overwrite(layer: &mut Layer<f32>, source: &Weights<f32>) {
    let copy = |to: Option<&mut [f32]>, from: Option<&[f32]>| match (to, from) {
        (Some(to), Some(from)) => to.copy_from_slice(from),
        (to, from) => assert!(to.is_none() && from.is_none()),
    };
    let update = layer.update(|weights| {
        weights.w.copy_from_slice(source.w());
        weights.r.copy_from_slice(source.r());
        copy(weights.b_w, source.b_w());
        copy(weights.b_r, source.b_r());
        copy(weights.peepholes, source.peepholes());
        copy(weights.projection, source.projection());
    });
    update.unwrap();
}

#[test]
fn a_layer_runs_on_what_its_weights_became() {
    let x: Vec<f32> = (0..24).map(|k| (k as f32 * 0.7).sin()).collect();
    let run = |layer: &Layer<f32>| layer.forward(time_major(&x, [3, 2, 4]).unwrap(), None).unwrap().y;
    for [before, after] in pairs() {
        let fresh = Layer::new(after.clone(), KEPT).unwrap();
        let mut layer = Layer::new(before, KEPT).unwrap();
        assert_ne!(run(&layer), run(&fresh));
        overwrite(&mut layer, &after);
        assert_eq!(layer.weights(), Some(&after));
        assert_eq!(run(&layer), run(&fresh), "{:?}", after.dims());
    }
}

/// Layers and directions are counted as states are.
#[test]
fn a_stack_changes_its_layers_in_order() {
    let layer = |input| {
        let weights = Chosen::random(CELLS[2], [input, 2], BIASES[0], Choice::default(), 1).weights();
        Layer::<f32>::new(weights, KEPT).unwrap()
    };
    let both = Level::bidirectional(layer(3), layer(3), Merge::Concat).unwrap();
    let mut stack = Stack::new(vec![both, layer(4).into()]).unwrap();
    stack.update(|k, weights| weights.r.fill(k as f32)).unwrap();
    let layers = stack.levels().iter().flat_map(Level::layers);
    let first: Vec<f32> = layers.map(|(layer, _)| layer.weights().unwrap().r()[0]).collect();
    assert_eq!(first, [0.0, 1.0, 2.0]);
}

#[test]
fn a_tape_of_weights_that_were_changed_is_refused() {
    let weights = Chosen::random(CELLS[3], [1, 2], BIASES[3], Choice::default(), 1).weights();
    let mut layer = Layer::<f32>::new(weights, KEPT).unwrap();
    let (mut tape, mut grads) = (Tape::new(), Grads::new());
    let (mut state, x) = (layer.state(1).unwrap(), time_major(&[1.0], [1, 1, 1]).unwrap());
    layer.record(x, &mut state, Output::StateOnly, &mut tape, &mut Workspace::new()).unwrap();
    layer.update(|_| {}).unwrap();
    let result = layer.backward(&mut tape, Upstream::default(), &mut grads, Accumulate::Overwrite);
    assert!(matches!(result, Err(Error::Unsupported { what: "tape", .. })), "{result:?}");
}

#[test]
fn without_kept_weights_an_update_is_refused() {
    let weights = || Chosen::random(CELLS[3], [2, 2], BIASES[3], Choice::default(), 1).weights();
    let bare = || Layer::<f32>::new(weights(), Options { keep_weights: false, ..KEPT }).unwrap();
    let refused = |result| matches!(result, Err(Error::Unsupported { .. }));
    assert!(refused(bare().update(|_| panic!("called"))));
    let kept = Layer::new(weights(), KEPT).unwrap();
    let mut stack = Stack::new(vec![kept.into(), bare().into()]).unwrap();
    assert!(refused(stack.update(|_, _| panic!("called"))));
}
