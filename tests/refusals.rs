//! What does not fit is refused by name before anything is written; no sizes at all lead to a panic.

mod common;
mod reference;

use common::model::{Bias, CELLS, Model};
use common::numbers::{Random, Scalar, assert_same, proptest};
use common::{backends, everything, on_one_thread};
use gatefold::cell::Cell;
use gatefold::seq::{MatMut, SeqMut, SeqRef, SeqShape, batch_major_mut, time_major, time_major_mut};
use gatefold::{Error, Gru, Isa, Layer, Lstm, Options, Output, SimpleRnn, State, Weights, Workspace};
use proptest::prelude::*;
use proptest::sample::select;

const INPUT: usize = 3;
const HIDDEN: usize = 5;

fn layer(cell: Cell, options: Options) -> Layer<f32> {
    Layer::new(Model::random(cell, [INPUT, HIDDEN], Bias::Both, 1).weights(), options).unwrap()
}

fn shape(argument: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    Err(Error::Shape { argument, expected, found })
}

/// A state that is not all zeros.
fn some_state(layer: &Layer<f32>, batch: usize) -> State<f32> {
    let mut state = layer.state(batch).unwrap();
    let values = Random(2).values(batch * layer.dims().hidden, 1.0);
    state.set_h(&values).unwrap();
    if layer.dims().cell.has_cell_state() {
        state.set_c(&values).unwrap();
    }
    state
}

fn assert_same_state(expected: &State<f32>, found: &State<f32>) {
    assert_same(&expected.h_to_vec(), &found.h_to_vec(), "h");
    assert_same(&expected.c_to_vec().unwrap_or_default(), &found.c_to_vec().unwrap_or_default(), "c");
}

/// Where outputs go, and its sizes.
#[derive(Clone, Copy)]
enum To {
    Sequence([usize; 3]),
    Last([usize; 2]),
    Nowhere,
}

/// Runs x `[T, N, C]` of ones from a state of `batch` rows of `other`, and sees that a refusal leaves all as it was.
fn run(layer: &Layer<f32>, x: [usize; 3], other: &Layer<f32>, batch: usize, y: To) -> Result<(), Error> {
    let ones = vec![1.0; x.iter().product()];
    let x = time_major(&ones, x).unwrap();
    let before = some_state(other, batch);
    let mut after = before.clone();
    let mut memory = vec![f32::CANARY; 1000];
    let output = match y {
        To::Sequence(size) => Output::Sequence(time_major_mut(&mut memory[..size.iter().product()], size).unwrap()),
        To::Last([rows, cols]) => Output::Last(MatMut::dense(&mut memory, rows, cols).unwrap()),
        To::Nowhere => Output::StateOnly,
    };
    let result = layer.forward_into(x, &mut after, output, &mut Workspace::new());
    if result.is_err() {
        assert_same_state(&before, &after);
        assert!(memory.iter().all(|value| value.bits() == f32::CANARY.bits()), "y was written");
    }
    result
}

#[test]
fn sequences_name_what_does_not_fit() {
    for options in everything() {
        for cell in CELLS {
            let layer = layer(cell, options);
            let of = |x, batch, y| run(&layer, x, &layer, batch, y);
            let good = [4, 2, INPUT];
            for y in [To::Sequence([4, 2, HIDDEN]), To::Last([2, HIDDEN]), To::Nowhere] {
                assert_eq!(of(good, 2, y), Ok(()));
                assert_eq!(of([4, 2, INPUT + 1], 2, y), shape("x channels", INPUT, INPUT + 1));
                assert_eq!(of([4, 2, 0], 2, y), shape("x channels", INPUT, 0));
                assert_eq!(of(good, 3, y), shape("state rows", 2, 3));
            }
            assert_eq!(of(good, 2, To::Sequence([3, 2, HIDDEN])), shape("y timesteps", 4, 3));
            assert_eq!(of(good, 2, To::Sequence([4, 1, HIDDEN])), shape("y rows", 2, 1));
            assert_eq!(of(good, 2, To::Sequence([4, 2, HIDDEN + 1])), shape("y channels", HIDDEN, HIDDEN + 1));
            assert_eq!(of(good, 2, To::Last([3, HIDDEN])), shape("y rows", 2, 3));
            assert_eq!(of(good, 2, To::Last([2, HIDDEN - 1])), shape("y channels", HIDDEN, HIDDEN - 1));
        }
    }
}

#[test]
fn states_of_other_layers_are_refused() {
    let sizes = [[INPUT, HIDDEN], [INPUT + 1, HIDDEN], [INPUT, HIDDEN + 1]];
    let layers: Vec<Layer<f32>> = CELLS
        .into_iter()
        .flat_map(|cell| sizes.map(|sizes| Model::random(cell, sizes, Bias::None, 1).weights()))
        .map(|weights| Layer::new(weights, Options::default()).unwrap())
        .collect();
    for a in &layers {
        for b in &layers {
            let result = run(a, [4, 2, a.dims().input], b, 2, To::Nowhere);
            if a.dims() == b.dims() {
                assert_eq!(result, Ok(()));
            } else {
                assert!(matches!(result, Err(Error::Unsupported { what: "state", .. })), "{result:?}");
            }
        }
    }
}

#[test]
fn convenient_calls_refuse_too() {
    let layer = layer(Cell::Lstm, Options::default());
    let ones = [1.0; 24];
    let (good, wrong) = (time_major(&ones, [4, 2, INPUT]).unwrap(), time_major(&ones, [3, 2, 4]).unwrap());
    let state = layer.state(3).unwrap();
    let channels = shape("x channels", INPUT, 4);
    assert_eq!(layer.forward(wrong, None).map(drop), channels);
    assert_eq!(layer.forward_last(wrong, None).map(drop), channels);
    let rows = shape("state rows", 2, 3);
    assert_eq!(layer.forward(good, Some(&state)).map(drop), rows);
    assert_eq!(layer.forward_last(good, Some(&state)).map(drop), rows);
}

#[test]
fn states_refuse_other_lengths() {
    let lstm = layer(Cell::Lstm, Options::default());
    let before = some_state(&lstm, 2);
    let mut state = before.clone();
    for length in [0, 9, 11] {
        let values = vec![7.0; length];
        assert_eq!(state.set_h(&values), shape("h", 10, length));
        assert_eq!(state.set_c(&values), shape("c", 10, length));
        assert_same_state(&before, &state);
    }
    for cell in [CELLS[0], CELLS[3], CELLS[4]] {
        let layer = layer(cell, Options::default());
        let before = some_state(&layer, 2);
        let mut state = before.clone();
        let error = state.set_c(&[7.0; 10]).unwrap_err();
        assert!(matches!(error, Error::Unsupported { what: "c", .. }), "{error:?}");
        assert_same_state(&before, &state);
        assert_eq!((state.c_row(0), state.h_row(2)), (None, None));
    }
}

#[test]
fn views_refuse_other_lengths() {
    let data = [1.0f32; 12];
    let too_large = Err(Error::TooLarge { argument: "data" });
    for found in [0, 11] {
        let mut memory = data;
        let wrong = shape("data", 12, found);
        assert_eq!(time_major(&data[..found], [2, 2, 3]).map(drop), wrong);
        assert_eq!(gatefold::seq::batch_major(&data[..found], [2, 2, 3]).map(drop), wrong);
        assert_eq!(time_major_mut(&mut memory[..found], [2, 2, 3]).map(drop), wrong);
        assert_eq!(batch_major_mut(&mut memory[..found], [2, 2, 3]).map(drop), wrong);
    }
    assert_eq!(time_major(&data, [usize::MAX, 2, 1]).map(drop), too_large);
    assert_eq!(time_major(&data[..0], [usize::MAX, usize::MAX, 0]).map(drop), Ok(()));
    assert_eq!(time_major(&data, [0, 2, 3]).map(drop), shape("data", 0, 12));
}

#[test]
fn layers_refuse_the_weights_of_others() {
    for cell in CELLS {
        let weights = Model::<f64>::random(cell, [INPUT, HIDDEN], Bias::Both, 1).weights();
        let results = [
            (matches!(cell, Cell::SimpleRnn { .. }), SimpleRnn::new(weights.clone(), Options::default()).map(drop)),
            (cell == Cell::Lstm, Lstm::new(weights.clone(), Options::default()).map(drop)),
            (matches!(cell, Cell::Gru { .. }), Gru::new(weights.clone(), Options::default()).map(drop)),
        ];
        for (fits, result) in results {
            let refused = matches!(result, Err(Error::Unsupported { what: "cell", .. }));
            assert!(if fits { result.is_ok() } else { refused }, "{cell:?}: {result:?}");
        }
    }
}

#[test]
fn weights_are_replaced_by_others_of_their_sizes_only() {
    let random = |cell, sizes, seed| Model::<f32>::random(cell, sizes, Bias::Both, seed).weights();
    let ones = [1.0; 12];
    for options in everything() {
        for cell in CELLS {
            for keep_weights in [false, true] {
                let options = Options { keep_weights, ..options };
                let mut layer = Layer::new(random(cell, [INPUT, HIDDEN], 1), options).unwrap();
                let y = |layer: &Layer<f32>| layer.forward(time_major(&ones, [2, 2, INPUT]).unwrap(), None).unwrap().y;
                let before = y(&layer);
                assert_eq!(layer.set_weights(random(cell, [4, HIDDEN], 2)), shape("input", INPUT, 4));
                assert_eq!(layer.set_weights(random(cell, [INPUT, 6], 2)), shape("hidden", HIDDEN, 6));
                for other in CELLS.into_iter().filter(|&other| other != cell) {
                    let error = layer.set_weights(random(other, [INPUT, HIDDEN], 2)).unwrap_err();
                    assert!(matches!(error, Error::Unsupported { what: "cell", .. }), "{error:?}");
                }
                assert_same(&before, &y(&layer), "after refusals");
                let kept = |seed| keep_weights.then(|| random(cell, [INPUT, HIDDEN], seed));
                assert_eq!(layer.weights(), kept(1).as_ref());

                layer.set_weights(random(cell, [INPUT, HIDDEN], 2)).unwrap();
                assert_eq!(layer.weights(), kept(2).as_ref());
                let fresh = Layer::new(random(cell, [INPUT, HIDDEN], 2), options).unwrap();
                assert_same(&y(&fresh), &y(&layer), "after new weights");
            }
        }
    }
}

#[test]
fn what_no_memory_could_hold_is_refused() {
    for cell in CELLS {
        let layer = layer(cell, Options::default());
        for batch in [usize::MAX, usize::MAX / 2, usize::MAX / 64] {
            assert!(layer.state(batch).is_err());
            assert!(layer.workspace(1, batch).is_err());
            assert!(layer.workspace(usize::MAX, batch).is_err());
        }
        assert!(layer.workspace(usize::MAX, 1).is_ok(), "a block of a long sequence is enough");
    }
}

#[test]
fn views_without_steps_may_have_any_strides() {
    for options in everything() {
        for (cell, batch) in CELLS.iter().flat_map(|&cell| [1, 2, 200].map(|batch| (cell, batch))) {
            let layer = layer(cell, options);
            for stride in [usize::MAX, usize::MAX - 63, usize::MAX / 2 + 1] {
                let strange =
                    |channels| SeqShape { time: 0, batch, channels, time_stride: stride, batch_stride: stride };
                let before = some_state(&layer, batch);
                let mut after = before.clone();
                let x = SeqRef::new(&[], strange(INPUT)).unwrap();
                let y = Output::Sequence(SeqMut::new(&mut [], strange(HIDDEN)).unwrap());
                assert_eq!(Ok(()), layer.forward_into(x, &mut after, y, &mut Workspace::new()));
                assert_same_state(&before, &after);
            }
        }
    }
}

/// In another process, since the variable is read once.
#[test]
fn an_unknown_instruction_set_is_refused() {
    const NAME: &str = "an_unknown_instruction_set_is_refused";
    if std::env::var("GATEFOLD_ISA").is_ok_and(|name| name == NAME) {
        let weights = Model::<f32>::random(Cell::Lstm, [1, 1], Bias::None, 1).weights();
        assert!(
            matches!(Layer::new(weights.clone(), Options::default()), Err(Error::Isa(unknown)) if unknown.name == NAME)
        );
        // An instruction set that was asked for by the options needs no variable.
        let options = Options { isa: Some(Isa::available()[0]), ..Options::default() };
        assert!(Layer::new(weights, options).is_ok());
        return;
    }
    assert!(Isa::named("mmx").is_err());
    let test = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env("GATEFOLD_ISA", NAME)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&test.stdout);
    assert!(test.status.success() && said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&test.stderr));
}

/// Sizes that are small, or larger than any memory.
fn sizes() -> impl Strategy<Value = usize> {
    let huge = [64, 16, 4, 1, 0].map(|less| usize::MAX - less);
    let parts = [1, 2, 3, 4, 5].map(|shift| (usize::MAX >> shift) + 1);
    prop_oneof![4 => 0usize..7, 1 => select(huge.to_vec()), 1 => select(parts.to_vec())]
}

/// Mostly 4 sizes again and again, so that they fit each other now and then.
fn related(count: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(sizes(), 4)
        .prop_flat_map(move |base| prop::collection::vec(prop_oneof![12 => select(base), 1 => sizes()], count))
}

proptest! {
    #![proptest_config(proptest(20_000))]

    #[test]
    fn weights_never_panic(n in related(6), cell in select(CELLS.to_vec()), both: bool) {
        let values = |n: usize| vec![1.0f32; n.min(40)];
        let bias = both.then(|| values(n[4]));
        if let Ok(weights) = Weights::new(cell, n[0], n[1], values(n[2]), values(n[3]), bias, None) {
            let layer = Layer::new(weights, Options::default()).unwrap();
            let mut dims = layer.dims();
            (dims.input, dims.hidden) = (n[4], n[5]);
            _ = (dims.parameters(), dims.flops(), gatefold::Plan::new(dims, n[2], n[3], n[4], n[5], gatefold::Caches::of_machine()));
        }
    }

    #[test]
    fn sequences_never_panic(
        n in related(14),
        (cell, backend) in (select(CELLS.to_vec()), select(backends())),
        to in 0usize..3,
        other: bool,
    ) {
        let (input, hidden) = (n[0] % 8 + 1, n[1] % 8 + 1);
        let options = on_one_thread(backend, Isa::available()[0]);
        let layer = Layer::new(Model::<f32>::random(cell, [input, hidden], Bias::Input, 1).weights(), options).unwrap();
        _ = (layer.workspace(n[2], n[3]), layer.plan(n[2], n[3]), layer.state(n[3]));

        let strange = SeqShape { time: n[2], batch: n[3], channels: n[4], time_stride: n[5], batch_stride: n[6] };
        let shapes = [strange, SeqShape::time_major(n[2], n[3], input), SeqShape { channels: input, ..strange }];
        let data = vec![1.0; 400];
        let views = shapes.map(|shape| SeqRef::new(&data, shape));
        for x in views.into_iter().flatten() {
            // So many steps of a row that stands still would take for ever, as they should.
            if x.shape().time > 1000 && x.shape().batch > 0 {
                continue;
            }
            let of = if other && hidden > 1 { [hidden, hidden - 1] } else { [input, hidden] };
            let maker = Layer::new(Model::<f32>::random(cell, of, Bias::None, 1).weights(), options).unwrap();
            let rows = if n[7] % 4 == 0 { n[7] } else { x.shape().batch };
            let Ok(mut state) = maker.state(rows) else { continue };
            let before = state.clone();
            let mut y = vec![f32::CANARY; 400];
            let channels = if n[8] % 4 == 0 { n[8] } else { hidden };
            let strange = SeqShape { time: n[9], batch: n[10], channels, time_stride: n[11], batch_stride: n[12] };
            let dense = SeqShape::time_major(x.shape().time, x.shape().batch, channels);
            let output = match to {
                0 => SeqMut::new(&mut y, if n[13] % 4 == 0 { strange } else { dense }).map(Output::Sequence),
                1 => MatMut::new(&mut y, x.shape().batch, channels, n[11].max(channels)).map(Output::Last),
                _ => Ok(Output::StateOnly),
            };
            let Ok(output) = output else { continue };
            match layer.forward_into(x, &mut state, output, &mut Workspace::new()) {
                Ok(()) => prop_assert!(state.h_to_vec().iter().all(|h| h.is_finite())),
                Err(_) => {
                    assert_same_state(&before, &state);
                    prop_assert!(y.iter().all(|value| value.bits() == f32::CANARY.bits()));
                }
            }
            _ = (layer.forward(x, None), layer.forward_last(x, Some(&before)));
        }
    }

    #[test]
    fn states_never_panic(n in related(4), cell in select(CELLS.to_vec())) {
        let layer = layer(cell, Options::default());
        if let Ok(mut state) = layer.state(n[0]) {
            let values = vec![1.0; n[1].min(50)];
            _ = (state.set_h(&values), state.set_c(&values), state.h_row(n[2]).map(<[f32]>::len), state.c_row(n[3]).is_some());
            state.reset();
            prop_assert!(state.h_to_vec().iter().all(|h| h.bits() == 0));
        }
    }
}
