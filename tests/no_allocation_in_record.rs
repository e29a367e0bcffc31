//! A recorded call allocates nothing with a tape and a workspace that were used before. One test alone in its process.

mod counting;

use counting::allocations;
use gatefold::cell::{Activation, Cell as Equations, Reset};
use gatefold::seq::time_major;
use gatefold::{Input, Layer, Options, Output, Tape, Threads, Weights, Workspace};

#[test]
fn recording_again_allocates_nothing() {
    let (input, hidden, time, batch) = (3, 19, 6, 4);
    for cell in [
        Equations::SimpleRnn { activation: Activation::Tanh },
        Equations::Lstm,
        Equations::Gru { reset: Reset::After },
        Equations::Gru { reset: Reset::Before },
    ] {
        let rows = cell.gates() * hidden;
        let weights =
            Weights::new(cell, input, hidden, vec![0.1f32; rows * input], vec![0.01; rows * hidden], None, None);
        let options = Options { threads: Threads::One, keep_weights: true, ..Options::default() };
        let layer = Layer::new(weights.unwrap(), options).unwrap();
        let x = vec![0.5; time * batch * input];
        let whole = Input::from(time_major(&x, [time, batch, input]).unwrap());
        let (mut state, mut tape, mut workspace) = (layer.state(batch).unwrap(), Tape::new(), Workspace::new());
        let mut record = |input: Input<'_, f32>| {
            allocations(|| layer.record(input, &mut state, Output::StateOnly, &mut tape, &mut workspace).unwrap())
        };
        let lengths = [6, 2, 0, 5];
        assert_ne!(record(whole.lengths(&lengths)), 0, "{cell:?}: nothing was counted");
        assert_eq!(record(whole.lengths(&lengths)), 0, "{cell:?}");
        assert_eq!(record(whole), 0, "{cell:?}");
    }
}
