//! Inputs, options, stacks, streams and snapshots that do not fit are refused by name, before anything is written.

mod common;
mod reference;

use common::model::{Bias, CELLS, Model};
use common::numbers::{Random, Scalar, assert_same};
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::{MatMut, MatRef, SeqRef, SeqShape, time_major, time_major_mut};
use gatefold::{
    Error, Input, Layer, Level, Masked, Merge, Options, Order, Output, Stack, StackWorkspace, State, Stream, Weights,
    Workspace,
};

const INPUT: usize = 3;
const HIDDEN: usize = 5;
const GRU: Cell = Cell::Gru { reset: Reset::After };

fn weights(cell: Cell, [input, hidden]: [usize; 2]) -> Weights<f32> {
    Model::random(cell, [input, hidden], Bias::Both, 1).weights()
}

fn layer(cell: Cell) -> Layer<f32> {
    Layer::new(weights(cell, [INPUT, HIDDEN]), Options::default()).unwrap()
}

fn attended() -> Layer<f32> {
    Layer::new(weights(GRU, [INPUT, HIDDEN]).attended().unwrap(), Options::default()).unwrap()
}

fn shape<T>(argument: &'static str, expected: usize, found: usize) -> Result<T, Error> {
    Err(Error::Shape { argument, expected, found })
}

fn too_great<T>(argument: &'static str, maximum: usize, found: usize) -> Result<T, Error> {
    Err(Error::TooGreat { argument, maximum, found })
}

/// A refused snapshot, by what is wrong with it.
macro_rules! wrong {
    ($what:literal) => {
        Err(Error::Snapshot { what: $what, .. })
    };
}

/// What is named as unsupported.
#[track_caller]
fn unsupported<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    match result {
        Err(Error::Unsupported { what, .. }) => what,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn bits(state: &State<f32>) -> Vec<u32> {
    let c = state.c_to_vec().unwrap_or_default();
    state.h_to_vec().iter().chain(&c).map(|v| v.to_bits()).collect()
}

/// Runs from a state that is not all zeros, and sees that a refusal leaves it as it was.
fn state_only(layer: &Layer<f32>, x: Input<'_, f32>, batch: usize) -> Result<(), Error> {
    refused_or_run(layer, x, batch, Output::StateOnly)
}

fn refused_or_run(layer: &Layer<f32>, x: Input<'_, f32>, batch: usize, y: Output<'_, f32>) -> Result<(), Error> {
    let mut state = layer.state(batch).unwrap();
    state.set_h(&Random(2).values(batch * HIDDEN, 1.0)).unwrap();
    let before = bits(&state);
    let result = layer.forward_into(x, &mut state, y, &mut Workspace::new());
    if result.is_err() {
        assert_eq!(before, bits(&state), "the state was written");
    }
    result
}

const ONES: [f32; 4 * 2 * INPUT] = [1.0; 24];

/// `[4, 2, I]`
fn whole() -> Input<'static, f32> {
    Input::from(time_major(&ONES, [4, 2, INPUT]).unwrap())
}

/// Steps of 2, 2 and 1 rows.
fn packed() -> Input<'static, f32> {
    Input::packed(MatRef::dense(&ONES[..15], 5, INPUT).unwrap(), &[2, 2, 1])
}

#[test]
fn lengths_and_masks_name_what_does_not_fit() {
    for cell in CELLS {
        let layer = layer(cell);
        let of = |x: Input<'_, f32>| state_only(&layer, x, 2);
        assert_eq!(of(whole().lengths(&[4, 0])), Ok(()));
        assert_eq!(of(whole().lengths(&[4])), shape("lengths", 2, 1));
        assert_eq!(of(whole().lengths(&[4, 4, 4])), shape("lengths", 2, 3));
        assert_eq!(of(whole().lengths(&[4, 5])), too_great("lengths", 4, 5));
        assert_eq!(of(whole().lengths(&[usize::MAX, 0])), too_great("lengths", 4, usize::MAX));
        let masked = |sizes: [usize; 3]| {
            let mask = vec![true; sizes.iter().product()];
            of(whole().mask(time_major(&mask, sizes).unwrap(), Masked::Zero))
        };
        assert_eq!(masked([4, 2, 1]), Ok(()));
        assert_eq!(masked([3, 2, 1]), shape("mask timesteps", 4, 3));
        assert_eq!(masked([4, 3, 1]), shape("mask rows", 2, 3));
        assert_eq!(masked([4, 2, 2]), shape("mask channels", 1, 2));
        assert_eq!(masked([4, 2, 0]), shape("mask channels", 1, 0));
        let by_processing = whole().lengths(&[1, 2]).reverse(Order::Processing);
        assert_eq!(unsupported(of(by_processing)), "order of processing of rows with lengths");
        assert_eq!(of(whole().lengths(&[1, 2]).reverse(Order::Input)), Ok(()));
    }
}

#[test]
fn packed_sequences_name_what_does_not_fit() {
    for cell in CELLS {
        let layer = layer(cell);
        let of = |x: Input<'_, f32>| state_only(&layer, x, 2);
        let sizes = |rows: usize, sizes: &[usize]| {
            of(Input::packed(MatRef::dense(&ONES[..rows * INPUT], rows, INPUT).unwrap(), sizes))
        };
        assert_eq!(of(packed()), Ok(()));
        assert_eq!(sizes(2, &[2, 0, 0]), Ok(()));
        assert_eq!(sizes(5, &[2, 1, 2]), too_great("batch_sizes", 1, 2));
        assert_eq!(sizes(5, &[2, 2, 2]), shape("data rows", 6, 5));
        assert_eq!(sizes(5, &[2, 2]), shape("data rows", 4, 5));
        assert_eq!(sizes(5, &[2, 0, 3]), too_great("batch_sizes", 0, 3));
        assert_eq!(sizes(5, &[usize::MAX, 2]), Err(Error::TooLarge { argument: "batch_sizes" }));
        assert_eq!(sizes(5, &[]), shape("data rows", 0, 5));
        let rows = layer.forward(packed(), Some(&layer.state(3).unwrap()));
        assert_eq!(rows.map(drop), shape("state rows", 2, 3));
        let turned = MatRef::dense(&ONES[..15], INPUT, 5).unwrap().transposed();
        assert_eq!(of(Input::packed(turned, &[2, 2, 1])), shape("data column stride", 1, 5));
        let wide = MatRef::dense(&ONES[..20], 5, 4).unwrap();
        assert_eq!(of(Input::packed(wide, &[2, 2, 1])), shape("x channels", INPUT, 4));
        let what = "lengths, mask or attention of a packed sequence";
        assert_eq!(unsupported(of(packed().lengths(&[3, 2]))), what);
        let mask = [true; 6];
        assert_eq!(unsupported(of(packed().mask(time_major(&mask, [3, 2, 1]).unwrap(), Masked::Zero))), what);
        let attention = time_major(&ONES[..6], [3, 2, 1]).unwrap();
        assert_eq!(unsupported(of(packed().attention(attention))), what);
        let by_processing = packed().reverse(Order::Processing);
        assert_eq!(unsupported(of(by_processing)), "order of processing of rows with lengths");
    }
    // An attended layer has no packed sequences.
    assert_eq!(unsupported(state_only(&attended(), packed(), 2)), "no attention");
}

#[test]
fn attention_is_for_those_who_ask_for_it() {
    let layer = attended();
    let of = |sizes: [usize; 3]| {
        let attention = vec![0.5; sizes.iter().product()];
        state_only(&layer, whole().attention(time_major(&attention, sizes).unwrap()), 2)
    };
    assert_eq!(of([4, 2, 1]), Ok(()));
    assert_eq!(of([5, 2, 1]), shape("attention timesteps", 4, 5));
    assert_eq!(of([4, 1, 1]), shape("attention rows", 2, 1));
    assert_eq!(of([4, 2, 2]), shape("attention channels", 1, 2));
    assert_eq!(unsupported(state_only(&layer, whole(), 2)), "no attention");
    let attention = time_major(&ONES[..8], [4, 2, 1]).unwrap();
    for cell in CELLS {
        assert_eq!(unsupported(state_only(&self::layer(cell), whole().attention(attention), 2)), "attention");
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn more_rows_than_are_counted_are_refused() {
    let layer = layer(Cell::Lstm);
    let batch = 1 << 33;
    // All rows stand at one place.
    let many = SeqShape { time: 1, batch, channels: INPUT, time_stride: INPUT, batch_stride: 0 };
    let x = SeqRef::new(&ONES, many).unwrap();
    let mask = SeqRef::new(&[true], SeqShape { channels: 1, time_stride: 1, ..many }).unwrap();
    let mut state = layer.state(1).unwrap();
    let x = Input::from(x).mask(mask, Masked::Zero);
    let result = layer.forward_into(x, &mut state, Output::StateOnly, &mut Workspace::new());
    assert_eq!(result, too_great("rows that are not whole", u32::MAX as usize, batch));
}

#[test]
fn outputs_name_what_does_not_fit() {
    let layer = layer(Cell::Lstm);
    let mut memory = [f32::CANARY; 100];
    let mut rows = |x: Input<'_, f32>, [rows, cols]: [usize; 2], last: bool| {
        let y = MatMut::dense(&mut memory[..rows * cols], rows, cols).unwrap();
        let result = refused_or_run(&layer, x, 2, if last { Output::Last(y) } else { Output::Packed(y) });
        if result.is_err() {
            assert!(memory.iter().all(|v| v.bits() == f32::CANARY.bits()), "y was written");
        }
        memory.fill(f32::CANARY);
        result
    };
    assert_eq!(rows(packed(), [5, HIDDEN], false), Ok(()));
    assert_eq!(rows(packed(), [4, HIDDEN], false), shape("y rows", 5, 4));
    assert_eq!(rows(packed(), [5, 6], false), shape("y channels", HIDDEN, 6));
    assert_eq!(rows(packed(), [2, HIDDEN], true), Ok(()));
    assert_eq!(rows(packed(), [5, HIDDEN], true), shape("y rows", 2, 5));
    assert_eq!(unsupported(rows(whole(), [8, HIDDEN], false)), "this form of y");
    let y = Output::Sequence(time_major_mut(&mut memory[..30], [3, 2, HIDDEN]).unwrap());
    assert_eq!(unsupported(refused_or_run(&layer, packed(), 2, y)), "this form of y");
    assert!(memory.iter().all(|v| v.bits() == f32::CANARY.bits()), "y was written");
}

fn lstm(sizes: [usize; 2]) -> Layer<f32> {
    Layer::new(weights(Cell::Lstm, sizes), Options::default()).unwrap()
}

#[test]
fn stacks_name_what_does_not_fit() {
    assert_eq!(Stack::<f32>::new(vec![]).map(drop), Err(Error::Zero { argument: "levels" }));
    let stack = Stack::new(vec![lstm([INPUT, 5]).into(), lstm([4, 5]).into()]);
    assert_eq!(stack.map(drop), shape("input of a layer", 5, 4));
    for merge in [Merge::Concat, Merge::Sum, Merge::Mul, Merge::Average] {
        let both = |a, b| Level::bidirectional(lstm(a), lstm(b), merge).map(|level| level.output());
        assert_eq!(both([3, 5], [4, 5]), shape("backward input", 3, 4));
        let expected = if merge == Merge::Concat { Ok(11) } else { shape("backward output", 5, 6) };
        assert_eq!(both([3, 5], [3, 6]), expected);
    }

    let both = Level::bidirectional(lstm([INPUT, 5]), lstm([INPUT, 5]), Merge::Sum).unwrap();
    let stack = Stack::new(vec![both, lstm([5, 4]).into()]).unwrap();
    let mut state = stack.state(2).unwrap();
    state.set_h(&Random(1).values(28, 1.0)).unwrap();
    let before = state.to_bytes();
    let mut run = |x: Input<'_, f32>, [rows, cols]: [usize; 2]| {
        let mut memory = vec![f32::CANARY; rows * cols];
        let y = Output::Last(MatMut::dense(&mut memory, rows, cols).unwrap());
        let result = stack.forward_into(x, &mut state, y, &mut StackWorkspace::new());
        if result.is_err() {
            assert_eq!(state.to_bytes(), before, "the state was written");
            assert!(memory.iter().all(|v| v.bits() == f32::CANARY.bits()), "y was written");
        } else {
            state.restore(&before).unwrap();
        }
        result
    };
    assert_eq!(run(whole(), [2, 4]), Ok(()));
    assert_eq!(unsupported(run(whole().reverse(Order::Input), [2, 4])), "an input in reverse");
    let wide = Input::from(time_major(&ONES, [3, 2, 4]).unwrap());
    assert_eq!(run(wide, [2, 4]), shape("x channels", INPUT, 4));
    assert_eq!(run(Input::from(time_major(&ONES, [8, 1, 3]).unwrap()), [1, 4]), shape("state rows", 1, 2));
    assert_eq!(run(whole(), [2, 5]), shape("y channels", 4, 5));
    assert_eq!(run(whole(), [3, 4]), shape("y rows", 2, 3));
    assert_eq!(run(whole().lengths(&[4, 5]), [2, 4]), too_great("lengths", 4, 5));
    let attention = time_major(&ONES[..8], [4, 2, 1]).unwrap();
    assert_eq!(unsupported(run(whole().attention(attention), [2, 4])), "attention");

    let mut other = Stack::from(Level::from(lstm([INPUT, 5]))).state(2).unwrap();
    let result = stack.forward_into(whole(), &mut other, Output::StateOnly, &mut StackWorkspace::new());
    assert_eq!(result, shape("states", 3, 1));
    let mut other = stack.state(2).unwrap();
    other.states_mut()[2] = lstm([INPUT, 5]).state(2).unwrap();
    let result = stack.forward_into(whole(), &mut other, Output::StateOnly, &mut StackWorkspace::new());
    assert_eq!(unsupported(result), "state");
    let apart = [Output::StateOnly, Output::StateOnly];
    let result = stack.forward_apart(whole(), &mut stack.state(2).unwrap(), apart, &mut StackWorkspace::new());
    assert_eq!(unsupported(result), "outputs apart");

    let by_processing = Stack::from(Level::reverse(lstm([INPUT, 5]), Order::Processing));
    let result = by_processing.forward(whole().lengths(&[1, 2]), None);
    assert_eq!(unsupported(result), "order of processing of rows with lengths");
    for result in [stack.forward(wide, None), stack.forward_last(wide, None)] {
        assert_eq!(result.map(drop), shape("x channels", INPUT, 4));
    }
}

#[test]
fn states_of_stacks_refuse_other_sizes() {
    let gru = Layer::new(weights(GRU, [5, 4]), Options::default()).unwrap();
    let stack = Stack::new(vec![lstm([INPUT, 5]).into(), gru.into()]).unwrap();
    let mut state = stack.state(2).unwrap();
    state.set_h(&Random(1).values(18, 1.0)).unwrap();
    let before = state.to_bytes();
    assert_eq!(state.set_h(&[0.0; 17]), shape("h", 18, 17));
    assert_eq!(state.set_c(&[0.0; 18]), shape("c", 10, 18));
    assert_eq!(state.reset_row(2), too_great("row", 1, 2));
    assert_eq!(state.gather(&[0, 2]).map(drop), too_great("row", 1, 2));
    let rows = state.gather(&[1, 0]).unwrap();
    assert_eq!(state.scatter(&[0], &rows), shape("rows", 2, 1));
    assert_eq!(state.scatter(&[0, 2], &rows), too_great("row", 1, 2));
    let other = Stack::from(Level::from(lstm([INPUT, 5]))).state(2).unwrap();
    assert_eq!(state.scatter(&[0, 1], &other), shape("states", 2, 1));
    let other = Stack::new(vec![lstm([INPUT, 5]).into(), lstm([5, 4]).into()]).unwrap().state(2).unwrap();
    assert_eq!(unsupported(state.scatter(&[0, 1], &other)), "state");
    assert_eq!(state.to_bytes(), before);
    let mut empty = stack.state(0).unwrap();
    assert_eq!(empty.reset_row(0), Err(Error::Zero { argument: "batch" }));

    let mut longer = before.clone();
    longer.push(0);
    let length = before.len() as u64;
    let wrong = |what, expected, found| Err(Error::Snapshot { what, expected, found });
    assert_eq!(state.restore(&longer), wrong("length", length, length + 1));
    assert!(matches!(state.restore(&before[..before.len() - 1]), wrong!("length")));
    assert_eq!(state.to_bytes(), before);
}

#[test]
fn snapshots_name_what_is_wrong() {
    let layer = lstm([INPUT, HIDDEN]);
    let mut state = layer.state(2).unwrap();
    state.set_c(&Random(1).values(10, 1.0)).unwrap();
    let bytes = state.to_bytes();
    let places = [
        ("first bytes", 0),
        ("version", 4),
        ("bytes of a value", 8),
        ("cell", 12),
        ("rows", 16),
        ("channels of h", 24),
        ("units of c", 32),
        ("checksum", 40),
    ];
    let mut other = layer.state(2).unwrap();
    for (expected, place) in places {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        match other.restore(&changed) {
            Err(Error::Snapshot { what, .. }) => assert_eq!(what, expected),
            result => panic!("{result:?}"),
        }
    }
    assert!(matches!(other.restore(&bytes[..60]), wrong!("length")));
    assert!(matches!(other.restore(&[]), wrong!("first bytes")));
    assert_same(&other.c_to_vec().unwrap(), &[0.0; 10], "c");
    // Those of another element type.
    let double =
        Layer::new(Model::<f64>::random(Cell::Lstm, [INPUT, HIDDEN], Bias::None, 1).weights(), Options::default());
    assert!(matches!(double.unwrap().state(2).unwrap().restore(&bytes), wrong!("bytes of a value")));
}

#[test]
fn streams_name_what_does_not_fit() {
    let stack = || Stack::from(Level::from(lstm([INPUT, HIDDEN])));
    assert_eq!(Stream::new(stack(), 0, 1).map(drop), Err(Error::Zero { argument: "batch" }));
    assert_eq!(Stream::new(stack(), 1, 0).map(drop), Err(Error::Zero { argument: "chunk" }));
    for level in [
        Level::reverse(lstm([INPUT, 5]), Order::Input),
        Level::reverse(lstm([INPUT, 5]), Order::Processing),
        Level::bidirectional(lstm([INPUT, 5]), lstm([INPUT, 5]), Merge::Sum).unwrap(),
    ] {
        assert_eq!(unsupported(Stream::new(Stack::from(level), 1, 1)), "a stream through a layer in reverse");
    }
    assert!(Stream::new(stack(), usize::MAX, 1).is_err());
    assert!(Stream::new(stack(), 1 << 40, usize::MAX).is_err());

    let mut stream = Stream::new(stack(), 2, 3).unwrap();
    let mut y = [f32::CANARY; 40];
    assert_eq!(stream.push(&ONES, &mut y), too_great("frames", 3, 4));
    assert_eq!(stream.push(&ONES[..7], &mut y[..10]), shape("x", 6, 7));
    assert_eq!(stream.push(&ONES[..5], &mut y[..0]), shape("x", 0, 5));
    assert_eq!(stream.push(&ONES[..6], &mut y[..11]), shape("y", 10, 11));
    assert!(y.iter().all(|v| v.bits() == f32::CANARY.bits()), "y was written");
    assert!(stream.state().h_to_vec().iter().all(|h| *h == 0.0), "the state was written");
    assert_eq!(stream.push(&ONES[..18], &mut y[..30]), Ok(()));
    // A stack that asks for attention gets none from frames.
    let mut stream = Stream::new(Stack::from(Level::from(attended())), 2, 3).unwrap();
    assert_eq!(unsupported(stream.push(&ONES[..6], &mut y[..10])), "no attention");
}

#[test]
fn options_name_what_does_not_fit() {
    for cell in CELLS {
        let of = || weights(cell, [INPUT, HIDDEN]);
        let is_lstm = cell == Cell::Lstm;
        let result = of().with_peepholes(vec![0.0; 15]);
        if is_lstm {
            assert!(result.is_ok() && of().coupled().is_ok());
            assert_eq!(of().with_peepholes(vec![0.0; 14]).map(drop), shape("peepholes", 15, 14));
        } else {
            assert_eq!((unsupported(result), unsupported(of().coupled())), ("peepholes", "coupled gates"));
        }
        if let Cell::Gru { .. } = cell {
            assert!(of().attended().is_ok());
        } else {
            assert_eq!(unsupported(of().attended()), "attention");
        }
        let count = match cell {
            Cell::Lstm => 3,
            Cell::Gru { .. } => 2,
            _ => 1,
        };
        for found in (0..5).filter(|&found| found != count) {
            let result = of().with_activations(&vec![Activation::Tanh; found]);
            assert_eq!(result.map(drop), shape("activations", count, found));
        }
        for clip in [0.0, -0.0, -1.0, 1e-60, f64::NAN, f64::NEG_INFINITY] {
            let result = of().with_clip(clip).map(drop).unwrap_err();
            assert!(matches!(result, Error::Number { argument: "clip", expected: "a positive number", .. }));
        }
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            let strange = [
                (Activation::LeakyRelu { alpha: bad }, "alpha"),
                (Activation::ThresholdedRelu { alpha: bad }, "alpha"),
                (Activation::Elu { alpha: bad }, "alpha"),
                (Activation::HardSigmoid { alpha: bad, beta: 0.5 }, "alpha"),
                (Activation::HardSigmoid { alpha: 0.2, beta: bad }, "beta"),
                (Activation::Affine { alpha: 1.0, beta: bad }, "beta"),
                (Activation::ScaledTanh { alpha: 1.0, beta: bad }, "beta"),
            ];
            for (activation, name) in strange {
                let mut activations = vec![Activation::Tanh; count];
                activations[count - 1] = activation;
                let error = of().with_activations(&activations).map(drop).unwrap_err();
                assert!(matches!(error, Error::Number { argument, .. } if argument == name), "{error:?}");
            }
        }
    }
}

#[test]
fn projections_name_what_does_not_fit() {
    let of = |w: usize, r: usize, projection: usize| {
        let values = |len| vec![0.0f32; len];
        Weights::projected(3, 5, values(w), values(r), [None, Some(values(20))], values(projection)).map(drop)
    };
    assert_eq!(of(60, 40, 10), Ok(()));
    assert_eq!(of(59, 40, 10), shape("w", 60, 59));
    assert_eq!(of(60, 41, 10), shape("r", 40, 41));
    assert_eq!(of(60, 40, 11), shape("projection", 10, 11));
    assert_eq!(of(60, 40, 4), Err(Error::Zero { argument: "projection" }));
    assert_eq!(of(60, 40, 0), Err(Error::Zero { argument: "projection" }));
    let none = Weights::projected(3, 0, vec![0.0f32], vec![], [None, None], vec![]).map(drop);
    assert_eq!(none, Err(Error::Zero { argument: "hidden" }));
}

#[test]
fn layers_refuse_the_options_of_others() {
    let plain = || weights(Cell::Lstm, [INPUT, HIDDEN]);
    let others = [
        plain().with_clip(3.0).unwrap(),
        plain().coupled().unwrap(),
        plain().with_peepholes(vec![0.5; 15]).unwrap(),
        plain().with_activations(&[Activation::Softsign; 3]).unwrap(),
    ];
    for other in others {
        let mut layer = Layer::new(plain(), Options::default()).unwrap();
        assert_eq!(unsupported(layer.set_weights(other.clone())), "cell");
        let mut state = Layer::new(other, Options::default()).unwrap().state(2).unwrap();
        let result = layer.forward_into(whole(), &mut state, Output::StateOnly, &mut Workspace::new());
        assert_eq!(unsupported(result), "state");
    }
}
