//! Layers, stacks and streams: steps, sequences, ragged batches, options, training.

use crate::Meter;
use crate::setup::{CELLS, Run, Shape, values, weights};
use gatefold::cell::Cell;
use gatefold::seq::{SeqRef, time_major, time_major_mut};
use gatefold::{
    Accumulate, Grads, Input, Layer, Level, Masked, Merge, Options, Output, Stack, Stream, Tape, Threads, Upstream,
    Weights,
};

/// One step of small and middle layers; sequences of one row, of sizes that no tile divides, and of a batch. The weights of a
/// row alone fit any second cache: a GRU that resets before the product takes other stages where they do not.
const SHAPES: [Shape; 5] = [
    Shape { input: 64, hidden: 64, batch: 1, time: 1 },
    Shape { input: 128, hidden: 128, batch: 1, time: 1 },
    Shape { input: 32, hidden: 64, batch: 1, time: 20 },
    Shape { input: 37, hidden: 101, batch: 5, time: 10 },
    Shape { input: 256, hidden: 256, batch: 32, time: 4 },
];

/// Of the calls that are not plain sequences.
const RAGGED: Shape = Shape { input: 64, hidden: 96, batch: 8, time: 12 };

/// On one thread, where the same work is done each time.
fn options(meter: &Meter) -> Options {
    Options { isa: Some(meter.isa), threads: Threads::One, keep_weights: true, ..Options::default() }
}

fn layer(meter: &Meter, weights: Weights<f32>) -> Layer<f32> {
    Layer::new(weights, options(meter)).unwrap()
}

pub fn all(meter: &Meter) {
    for (name, cell) in CELLS {
        for shape in SHAPES {
            let mut run = Run::<f32>::new(cell, shape, meter.isa, Threads::One);
            let op = if shape.time == 1 { "step" } else { "sequence" };
            meter.measure(&format!("{op}/{name}/{}", shape.name()), run.flops(), || run.forward());
        }
        frames(meter, name, cell);
        training(meter, name, cell);
    }
    let (_, gru) = CELLS[2];
    ragged(meter, gru);
    peepholes(meter);
    stack(meter, gru);
    stream(meter, gru);
}

/// A frame into a layer of a few units, where all that is around the arithmetic shows.
fn frames(meter: &Meter, name: &str, cell: Cell) {
    const CHANNELS: usize = 16;
    let layer = layer(meter, weights(cell, CHANNELS, CHANNELS));
    let (mut state, mut workspace) = (layer.state(1).unwrap(), layer.workspace(1, 1).unwrap());
    let mut steps = layer.steps(&mut state, &mut workspace).unwrap();
    let (x, mut y) = (values::<f32>(CHANNELS), values::<f32>(CHANNELS));
    meter.measure(&format!("frame/{name}/H16"), layer.dims().flops() as u64, || steps.step(&x, &mut y).unwrap());
}

/// Lengths from 1 to T, and a mask with holes.
fn ragged(meter: &Meter, cell: Cell) {
    let Shape { input, hidden, batch, time } = RAGGED;
    let lengths: Vec<usize> = (0..batch).map(|row| 1 + 5 * row % time).collect();
    let mask: Vec<bool> = (0..time * batch).map(|step| step % 3 != 0).collect();
    let x = values::<f32>(time * batch * input);
    let x = time_major(&x, [time, batch, input]).unwrap();
    let mask: SeqRef<'_, bool> = time_major(&mask, [time, batch, 1]).unwrap();
    let (of_lengths, of_mask) = (Input::from(x).lengths(&lengths), Input::from(x).mask(mask, Masked::Repeat));
    for (name, input) in [("lengths", of_lengths), ("mask", of_mask)] {
        forward(
            meter,
            &format!("{name}/gru/{}", RAGGED.name()),
            &layer(meter, weights(cell, RAGGED.input, hidden)),
            input,
        );
    }
}

/// A cell with options: passes over a stored product.
fn peepholes(meter: &Meter) {
    let Shape { input, hidden, batch, time } = RAGGED;
    let weights = weights(Cell::Lstm, input, hidden).with_peepholes(values(3 * hidden)).unwrap();
    let x = values::<f32>(time * batch * input);
    let x = time_major(&x, [time, batch, input]).unwrap();
    forward(meter, &format!("peepholes/lstm/{}", RAGGED.name()), &layer(meter, weights), x.into());
}

fn forward(meter: &Meter, name: &str, layer: &Layer<f32>, input: Input<'_, f32>) {
    let Shape { hidden, batch, time, .. } = RAGGED;
    let (mut state, mut workspace) = (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
    let mut y = values::<f32>(time * batch * hidden);
    // Rows that end early do fewer: what is counted are the products without them.
    meter.measure(name, 0, || {
        let y = Output::Sequence(time_major_mut(&mut y, [time, batch, hidden]).unwrap());
        layer.forward_into(input, &mut state, y, &mut workspace).unwrap();
    });
}

/// Two directions under one, merged side by side.
fn stack(meter: &Meter, cell: Cell) {
    let Shape { input, hidden, batch, time } = RAGGED;
    let of = |input| layer(meter, weights(cell, input, hidden));
    let below = Level::bidirectional(of(input), of(input), Merge::Concat).unwrap();
    let stack = Stack::new(vec![below, of(2 * hidden).into()]).unwrap();
    let (mut state, mut workspace) = (stack.state(batch).unwrap(), stack.workspace(time, batch).unwrap());
    let (x, mut y) = (values::<f32>(time * batch * input), values::<f32>(time * batch * hidden));
    meter.measure(&format!("stack/gru/{}", RAGGED.name()), stack_flops(&stack), || {
        let x = time_major(&x, [time, batch, input]).unwrap();
        let y = Output::Sequence(time_major_mut(&mut y, [time, batch, hidden]).unwrap());
        stack.forward_into(x, &mut state, y, &mut workspace).unwrap();
    });
}

fn stack_flops(stack: &Stack<f32>) -> u64 {
    let layers = stack.levels().iter().flat_map(Level::layers);
    layers.map(|(layer, _)| (layer.dims().flops() * (RAGGED.time * RAGGED.batch) as f64) as u64).sum()
}

/// One frame into two layers.
fn stream(meter: &Meter, cell: Cell) {
    const CHANNELS: usize = 64;
    let of = || Level::from(layer(meter, weights(cell, CHANNELS, CHANNELS)));
    let mut stream = Stream::new(Stack::new(vec![of(), of()]).unwrap(), 1, 1).unwrap();
    let (x, mut y) = (values::<f32>(CHANNELS), values::<f32>(CHANNELS));
    let flops = 2 * 2 * (3 * CHANNELS * 2 * CHANNELS) as u64;
    meter.measure("push/gru-gru/H64", flops, || stream.push(&x, &mut y).unwrap());
}

/// A recorded call, and back through it to all gradients.
fn training(meter: &Meter, name: &str, cell: Cell) {
    let Shape { input, hidden, batch, time } = RAGGED;
    let layer = layer(meter, weights(cell, input, hidden));
    let (mut state, mut workspace) = (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
    let (mut tape, mut grads) = (Tape::new(), Grads::new());
    let (x, dy) = (values::<f32>(time * batch * input), values::<f32>(time * batch * hidden));
    let flops = 3 * (layer.dims().flops() * (time * batch) as f64) as u64;
    meter.measure(&format!("training/{name}/{}", RAGGED.name()), flops, || {
        let x = time_major(&x, [time, batch, input]).unwrap();
        layer.record(x, &mut state, Output::StateOnly, &mut tape, &mut workspace).unwrap();
        let dy = time_major(&dy, [time, batch, hidden]).unwrap();
        let upstream = Upstream { dy: Some(dy), ..Upstream::default() };
        layer.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap();
    });
}
