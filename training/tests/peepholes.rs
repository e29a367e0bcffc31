//! Peepholes are trained like every other weight.

mod common;

use common::values;
use gatefold::cell::Cell;
use gatefold::seq::time_major;
use gatefold::{Accumulate, Grads, Layer, Options, Tape, Upstream, Workspace};
use gatefold_training::{Gradients, Random, Sgd, initial};

#[test]
fn a_step_changes_peepholes_by_their_gradient() {
    let (input, hidden, time) = (2, 3, 4);
    let mut random = Random::new(5);
    let peepholes: Vec<f64> = values(&mut random, 3 * hidden);
    let weights = initial::pytorch(Cell::Lstm, input, hidden, &mut random).unwrap();
    let weights = weights.with_peepholes(peepholes.clone()).unwrap();
    let mut layer = Layer::new(weights, Options { keep_weights: true, ..Options::default() }).unwrap();
    let (x, dy): (Vec<f64>, Vec<f64>) = (values(&mut random, time * input), values(&mut random, time * hidden));
    let (mut tape, mut grads, mut state) = (Tape::new(), Grads::new(), layer.state(1).unwrap());
    let x = time_major(&x, [time, 1, input]).unwrap();
    layer.record(x, &mut state, gatefold::Output::StateOnly, &mut tape, &mut Workspace::new()).unwrap();
    let upstream = Upstream { dy: Some(time_major(&dy, [time, 1, hidden]).unwrap()), ..Upstream::default() };
    layer.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap();
    assert!(grads.arrays().iter().any(|(name, _)| *name == "d_peepholes"));
    Sgd::new(0.5, 0.0).unwrap().step(&mut layer, &grads).unwrap();
    let after = layer.weights().unwrap().peepholes().unwrap();
    for ((before, after), gradient) in peepholes.iter().zip(after).zip(&grads.d_peepholes) {
        assert!(*gradient != 0.0 && (before - 0.5 * gradient - after).abs() < 1e-15, "{before} {after} {gradient}");
    }
}
