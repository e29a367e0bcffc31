//! Truncated back-propagation through time: chunks whose states go on and whose gradients do not.

mod common;

use common::{bits, close, values};
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::{time_major, time_major_mut};
use gatefold::{Accumulate, Grads, Layer, Options, Output, State, Tape, Upstream, Workspace};
use gatefold_training::{Gradients, Parameters, Random, initial};

const INPUT: usize = 2;
const HIDDEN: usize = 3;
const BATCH: usize = 2;
const CHUNKS: [usize; 3] = [5, 4, 3];

const CELLS: [Cell; 4] = [
    Cell::SimpleRnn { activation: Activation::Tanh },
    Cell::Lstm,
    Cell::Gru { reset: Reset::After },
    Cell::Gru { reset: Reset::Before },
];

/// A stream and the gradients of a loss that is linear in the outputs: the sum of v y.
struct Stream {
    x: Vec<f64>,
    v: Vec<f64>,
}

/// Steps, their x and their v.
type Chunk<'a> = (usize, &'a [f64], &'a [f64]);

impl Stream {
    fn new() -> Self {
        let mut random = Random::new(3);
        let steps: usize = CHUNKS.iter().sum();
        Stream { x: values(&mut random, steps * BATCH * INPUT), v: values(&mut random, steps * BATCH * HIDDEN) }
    }

    /// x and v of the chunks, each with its number of steps.
    fn chunks(&self, lengths: &[usize]) -> Vec<Chunk<'_>> {
        let starts = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end - length)
        });
        let part = |(start, &time): (usize, &usize)| {
            let rows = start * BATCH..(start + time) * BATCH;
            let of = |channels: usize| rows.start * channels..rows.end * channels;
            (time, &self.x[of(INPUT)], &self.v[of(HIDDEN)])
        };
        starts.zip(lengths).map(part).collect()
    }
}

fn layer(cell: Cell) -> Layer<f64> {
    let weights = initial::pytorch(cell, INPUT, HIDDEN, &mut Random::new(7)).unwrap();
    Layer::new(weights, Options { keep_weights: true, ..Options::default() }).unwrap()
}

/// Records a chunk, and returns its outputs.
fn chunk(layer: &Layer<f64>, x: &[f64], time: usize, state: &mut State<f64>, tape: &mut Tape<f64>) -> Vec<f64> {
    let mut y = vec![f64::NAN; time * BATCH * HIDDEN];
    let output = Output::Sequence(time_major_mut(&mut y, [time, BATCH, HIDDEN]).unwrap());
    let x = time_major(x, [time, BATCH, INPUT]).unwrap();
    layer.record(x, state, output, tape, &mut Workspace::new()).unwrap();
    y
}

/// Goes back through a chunk, from the gradients of its last state that the next one had of its first, if there are any.
fn back(
    layer: &Layer<f64>,
    tape: &mut Tape<f64>,
    (time, v): (usize, &[f64]),
    last: Option<&Grads<f64>>,
    to: &mut Grads<f64>,
) {
    let dy = Some(time_major(v, [time, BATCH, HIDDEN]).unwrap());
    let dc = last.map(|next| &next.dc0[..]).filter(|dc| !dc.is_empty());
    let upstream = Upstream { dy, dh: last.map(|next| &next.dh0[..]), dc };
    layer.backward(tape, upstream, to, Accumulate::Add).unwrap();
}

/// The gradients and outputs of the stream in chunks of such lengths: states go on, gradients are cut.
fn cut(layer: &Layer<f64>, stream: &Stream, lengths: &[usize]) -> (Grads<f64>, Vec<f64>) {
    let (mut state, mut tape) = (layer.state(BATCH).unwrap(), Tape::new());
    let (mut grads, mut y) = (Grads::new(), Vec::new());
    for (time, x, v) in stream.chunks(lengths) {
        y.extend(chunk(layer, x, time, &mut state, &mut tape));
        back(layer, &mut tape, (time, v), None, &mut grads);
    }
    (grads, y)
}

fn flat(grads: &Grads<f64>) -> Vec<f64> {
    grads.arrays().into_iter().flat_map(|(_, array)| array.to_vec()).collect()
}

#[test]
fn outputs_do_not_know_of_chunks() {
    let stream = Stream::new();
    for cell in CELLS {
        let layer = layer(cell);
        assert_eq!(bits(&cut(&layer, &stream, &CHUNKS).1), bits(&cut(&layer, &stream, &[12]).1));
    }
}

/// The loss in which the state at the start of each chunk is a constant: what it was before the parameters moved.
fn loss_of_cut(layer: &Layer<f64>, stream: &Stream, starts: &[State<f64>]) -> f64 {
    let chunks = stream.chunks(&CHUNKS);
    let of_chunk = |((time, x, v), start): (&Chunk<'_>, &State<f64>)| {
        let y = layer.forward(time_major(x, [*time, BATCH, INPUT]).unwrap(), Some(start)).unwrap().y;
        y.iter().zip(*v).map(|(y, v)| y * v).sum::<f64>()
    };
    chunks.iter().zip(starts).map(of_chunk).sum()
}

/// Every parameter, by central differences of the loss whose gradient is cut.
#[test]
fn gradients_are_those_of_the_whole_sequence_cut() {
    let stream = Stream::new();
    for cell in CELLS {
        let layer = layer(cell);
        let (mut state, mut starts) = (layer.state(BATCH).unwrap(), Vec::new());
        for (time, x, _) in stream.chunks(&CHUNKS) {
            starts.push(state.clone());
            chunk(&layer, x, time, &mut state, &mut Tape::new());
        }
        let count: usize = layer.arrays().unwrap().iter().map(|array| array.len()).sum();
        let moved = |k: usize, step: f64| {
            let (mut layer, mut at) = (layer.clone(), 0);
            let move_one = &mut |values: &mut [f64]| {
                if let Some(value) = k.checked_sub(at).and_then(|k| values.get_mut(k)) {
                    *value += step;
                }
                at += values.len();
            };
            Parameters::update(&mut layer, move_one).unwrap();
            loss_of_cut(&layer, &stream, &starts)
        };
        let slopes: Vec<f64> = (0..count).map(|k| (moved(k, 1e-5) - moved(k, -1e-5)) / 2e-5).collect();
        close("gradient", &flat(&cut(&layer, &stream, &CHUNKS).0), &slopes, 1e-8);
    }
}

/// With the gradients of states handed back from chunk to chunk, nothing is cut.
#[test]
fn handed_back_they_are_those_of_the_whole_sequence() {
    let stream = Stream::new();
    for cell in CELLS {
        let layer = layer(cell);
        let whole = flat(&cut(&layer, &stream, &[12]).0);
        let chunks = stream.chunks(&CHUNKS);
        let (mut state, mut tapes) = (layer.state(BATCH).unwrap(), vec![Tape::new(); chunks.len()]);
        for (&(time, x, _), tape) in chunks.iter().zip(&mut tapes) {
            chunk(&layer, x, time, &mut state, tape);
        }
        let (mut grads, mut next) = (Grads::new(), None);
        for (&(time, _, v), tape) in chunks.iter().zip(&mut tapes).rev() {
            back(&layer, tape, (time, v), next.as_ref(), &mut grads);
            next = Some(grads.clone());
        }
        close("gradient", &flat(&grads), &whole, 1e-13);
        let cut = flat(&cut(&layer, &stream, &CHUNKS).0);
        let differ = cut.iter().zip(&whole).filter(|(a, b)| (*a - *b).abs() > 1e-4).count();
        assert!(differ > whole.len() / 2, "{cell:?}: the cut changes {differ} of {}", whole.len());
    }
}
