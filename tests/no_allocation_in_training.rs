//! A training step allocates nothing with a tape, a workspace and gradients that were used before. One test alone in its
//! process.

mod common;
mod counting;
mod reference;

use common::choice::{Choice, Chosen};
use common::model::{Bias, CELLS};
use counting::allocations;
use gatefold::cell::{Cell, Reset};
use gatefold::seq::{MatRef, SeqRef, SeqShape, time_major};
use gatefold::{
    Accumulate, Grads, Input, Layer, Level, Merge, Noise, Options, Order, Output, Stack, StackGrads, StackNoise,
    StackTape, StackWorkspace, Tape, Threads, Upstream, Workspace,
};

const INPUT: usize = 3;
const TIME: usize = 6;
const BATCH: usize = 4;
const LENGTHS: [usize; BATCH] = [6, 2, 0, 5];

fn layer(cell: Cell, [input, hidden]: [usize; 2], projection: Option<usize>, threads: Threads) -> Layer<f32> {
    let choice = Choice { projection, peepholes: projection.is_some(), ..Choice::default() };
    let options = Options { threads, keep_weights: true, ..Options::default() };
    Layer::new(Chosen::random(cell, [input, hidden], Bias::Both, choice, 1).weights(), options).unwrap()
}

/// Forward and backward of a layer again and again: what each call allocates.
fn of_layer(layer: &Layer<f32>) {
    let x = vec![0.5; TIME * BATCH * INPUT];
    let dy = vec![0.25; TIME * BATCH * layer.dims().output()];
    let whole = Input::from(time_major(&x, [TIME, BATCH, INPUT]).unwrap());
    let upstream = Upstream::from(time_major(&dy, [TIME, BATCH, layer.dims().output()]).unwrap());
    let mask = time_major(&dy, [TIME, BATCH, layer.dims().output()]).unwrap();
    let dropout = MatRef::dense(&dy, BATCH, layer.dims().output()).unwrap();
    let noisy = whole.recurrent_dropout(dropout).zoneout(mask);
    let (mut state, mut tape, mut workspace) = (layer.state(BATCH).unwrap(), Tape::new(), Workspace::new());
    let mut grads = Grads::new();
    let mut step = |input: Input<'_, f32>, accumulate| {
        allocations(|| {
            layer.record(input, &mut state, Output::StateOnly, &mut tape, &mut workspace).unwrap();
            layer.backward(&mut tape, upstream, &mut grads, accumulate).unwrap();
        })
    };
    assert_ne!(step(whole, Accumulate::Overwrite), 0, "{layer:?}: nothing was counted");
    for accumulate in [Accumulate::Overwrite, Accumulate::Add] {
        for input in [whole.lengths(&LENGTHS), whole, whole.reverse(Order::Input), whole.lengths(&LENGTHS)] {
            assert_eq!(step(input, accumulate), 0, "{:?}, {accumulate:?}", layer.dims());
        }
        step(noisy, accumulate);
        assert_eq!(step(noisy.lengths(&LENGTHS), accumulate), 0, "{:?}, dropout and zoneout", layer.dims());
    }
}

/// The same of a stack whose levels have one direction and two.
fn of_stack() {
    let gru = Cell::Gru { reset: Reset::Before };
    let of = |cell, input, units| layer(cell, [input, units], None, Threads::One);
    let both = |input, merge| Level::bidirectional(of(gru, input, 5), of(Cell::Lstm, input, 5), merge).unwrap();
    let levels =
        vec![both(INPUT, Merge::Concat), both(10, Merge::Average), Level::reverse(of(gru, 5, 7), Order::Input)];
    let stack = Stack::new(levels).unwrap();
    let (x, dy) = (vec![0.5; TIME * BATCH * INPUT], vec![0.25; TIME * BATCH * 7]);
    let input = Input::from(time_major(&x, [TIME, BATCH, INPUT]).unwrap());
    let (mut state, mut tape, mut workspace) = (stack.state(BATCH).unwrap(), StackTape::new(), StackWorkspace::new());
    let (mut grads, dh) = (StackGrads::new(), vec![0.1; BATCH * (4 * 5 + 7)]);
    let dy = Some(time_major(&dy, [TIME, BATCH, 7]).unwrap());
    let upstream = Upstream { dy, dh: Some(&dh), dc: None };
    let mut step = |input: Input<'_, f32>, accumulate| {
        allocations(|| {
            stack.record(input, &mut state, Output::StateOnly, &mut tape, &mut workspace).unwrap();
            stack.backward(&mut tape, upstream, &mut grads, accumulate).unwrap();
        })
    };
    let mask = vec![0.5; TIME * BATCH * 10];
    let seq = |channels, time_stride| {
        let shape = SeqShape { time_stride, ..SeqShape::time_major(TIME, BATCH, channels) };
        Some(SeqRef::new(&mask, shape).unwrap())
    };
    let noise = |units| Noise {
        recurrent_dropout: Some(MatRef::dense(&mask, BATCH, units).unwrap()),
        zoneout: seq(units, BATCH * units),
        zoneout_cell: None,
    };
    let layers = [noise(5), Noise { zoneout_cell: seq(5, 0), ..noise(5) }, noise(5), noise(5), noise(7)];
    let [all, of_steps] = [0, BATCH * 10].map(|time_stride| [seq(10, time_stride), seq(5, 0)]);
    let noisy = [all, of_steps, [None, seq(5, BATCH * 5)]];
    let noisy = noisy.each_ref().map(|between| input.stack_noise(StackNoise { layers: &layers, between }));
    assert_ne!(step(input, Accumulate::Overwrite), 0, "nothing was counted");
    assert_ne!(step(noisy[0], Accumulate::Overwrite), 0, "no masks were counted");
    step(noisy[1], Accumulate::Overwrite);
    step(noisy[2], Accumulate::Overwrite);
    for accumulate in [Accumulate::Overwrite, Accumulate::Add] {
        assert_eq!(step(input.lengths(&LENGTHS), accumulate), 0, "{accumulate:?}");
        assert_eq!(step(input, accumulate), 0, "{accumulate:?}");
        for noisy in noisy {
            assert_eq!(step(noisy.lengths(&LENGTHS), accumulate), 0, "{accumulate:?}, masks");
        }
    }
}

/// In a pool of threads, with work that is worth sharing: by rows, and by units.
#[cfg(feature = "rayon")]
fn of_threads([batch, hidden]: [usize; 2], projection: Option<usize>) {
    let (time, output) = (20, projection.unwrap_or(hidden));
    let layer = layer(Cell::Lstm, [INPUT, hidden], projection, Threads::Pool);
    let (x, dy) = (vec![0.5; time * batch * INPUT], vec![0.25; time * batch * output]);
    let mut state = layer.state(batch).unwrap();
    let (mut tape, mut workspace, mut grads) = (Tape::new(), Workspace::new(), Grads::new());
    let mut step = || {
        let x = time_major(&x, [time, batch, INPUT]).unwrap();
        layer.record(x, &mut state, Output::StateOnly, &mut tape, &mut workspace).unwrap();
        let upstream = Upstream::from(time_major(&dy, [time, batch, output]).unwrap());
        layer.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap();
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        let plan = layer.plan(time, batch);
        assert_eq!([plan.parts, plan.gang], if batch > 1 { [2, 1] } else { [1, 2] });
        step();
        assert_eq!(counting::allocations_of_all(step), 0);
    });
}

#[test]
fn training_again_allocates_nothing() {
    for cell in CELLS {
        of_layer(&layer(cell, [INPUT, 19], None, Threads::One));
    }
    of_layer(&layer(Cell::Lstm, [INPUT, 19], Some(7), Threads::One));
    of_stack();
    #[cfg(feature = "rayon")]
    of_threads([32, 40], Some(33));
    #[cfg(feature = "rayon")]
    of_threads([1, 400], None);
}
