//! Frames one by one: the bits of calls, and of whole sequences with the native backend, for every cell, option, backend and
//! instruction set; what is refused.

mod common;
mod counting;
mod reference;

use common::Value;
use common::choice::{Choice, Chosen};
use common::model::{Bias, CELLS, large};
use common::numbers::Random;
use common::{everything, on_one_thread};
use counting::allocations;
use gatefold::cell::{Cell, Reset};
use gatefold::seq::time_major;
use gatefold::{Backend, Isa, Layer, Options, State, Steps};

/// Less than a vector, whole ones, and several with a tail.
const SIZES: [[usize; 2]; 4] = [[1, 1], [3, 7], [8, 16], [5, 37]];

const TIME: usize = 5;

fn choices(cell: Cell) -> Vec<Choice> {
    let mut choices = vec![Choice::default(), Choice { clip: Some(0.3), ..Choice::default() }];
    if cell == Cell::Lstm {
        choices.push(Choice { projection: Some(3), ..Choice::default() });
        choices.push(Choice { peepholes: true, ..Choice::default() });
    }
    choices
}

fn bits<T: Value>(values: &[T]) -> Vec<u64> {
    values.iter().map(|value| value.to_f64().to_bits()).collect()
}

/// Every frame by a call of its own; or the first and the last one, and the others one by one in between.
fn check<T: Value>(layer: &Layer<T>, x: &[T], backend: Backend) {
    let (input, output) = (layer.dims().input, layer.dims().output());
    let call = |t: usize, state: &State<T>| {
        layer.forward(time_major(&x[t * input..][..input], [1, 1, input]).unwrap(), Some(state)).unwrap()
    };
    let mut expected = vec![layer.forward(time_major(&x[..input], [1, 1, input]).unwrap(), None).unwrap()];
    for t in 1..TIME {
        expected.push(call(t, &expected[t - 1].state));
    }
    let mut state = expected[0].state.clone();
    let mut workspace = layer.workspace(1, 1).unwrap();
    let mut steps = layer.steps(&mut state, &mut workspace).unwrap();
    for (t, expected) in expected.iter().enumerate().take(TIME - 1).skip(1) {
        let mut y = vec![T::NAN; output];
        steps.step(&x[t * input..][..input], &mut y).unwrap();
        assert_eq!(bits(&y), bits(&expected.y), "{:?} {t}", layer.dims());
    }
    let (last, expected_last) = (call(TIME - 1, &state), &expected[TIME - 1]);
    assert_eq!(bits(&last.y), bits(&expected_last.y), "{:?}", layer.dims());
    assert_eq!(bits(&last.state.h_to_vec()), bits(&expected_last.state.h_to_vec()));
    assert_eq!(last.state.c_to_vec().map(|c| bits(&c)), expected_last.state.c_to_vec().map(|c| bits(&c)));
    if backend == Backend::Native {
        let whole = layer.forward(time_major(x, [TIME, 1, input]).unwrap(), None).unwrap();
        let frames: Vec<T> = expected.iter().flat_map(|frame| frame.y.iter().copied()).collect();
        assert_eq!(bits(&whole.y), bits(&frames), "{:?}", layer.dims());
    }
}

fn every_layer<T: Value>() {
    for options in everything() {
        for cell in CELLS {
            for choice in choices(cell) {
                for (seed, [input, hidden]) in SIZES.into_iter().enumerate() {
                    let chosen = Chosen::<T>::random(cell, [input, hidden], Bias::Both, choice, seed as u64);
                    let layer = Layer::new(chosen.weights(), options).unwrap();
                    check(&layer, &Random(7).values(TIME * input, 1.0), options.backend);
                }
            }
        }
    }
}

#[test]
fn frames_give_the_bits_of_the_sequence() {
    every_layer::<f32>();
    every_layer::<f64>();
    // Of three stages.
    let chosen = Chosen::<f32>::random(CELLS[4], [5, large::<f32>()], Bias::Both, Choice::default(), 3);
    for &isa in Isa::available() {
        let layer = Layer::new(chosen.weights(), on_one_thread(Backend::Native, isa)).unwrap();
        check(&layer, &Random(7).values(TIME * 5, 1.0), Backend::Native);
    }
}

#[cfg(feature = "rayon")]
#[test]
fn frames_whose_units_are_shared_give_the_same_bits() {
    use gatefold::{Plan, Threads};
    let x = Random(7).values::<f32>(TIME * 33, 1.0);
    for (cell, &isa) in CELLS.into_iter().flat_map(|cell| Isa::available().iter().map(move |isa| (cell, isa))) {
        // More than a first cache holds: less is never shared.
        let chosen = Chosen::<f32>::random(cell, [33, 330], Bias::Both, Choice::default(), 5);
        let frames = |options: Options| {
            let layer = Layer::new(chosen.weights(), options).unwrap();
            let (mut state, mut workspace) = (layer.state(1).unwrap(), layer.workspace(1, 1).unwrap());
            let mut steps = layer.steps(&mut state, &mut workspace).unwrap();
            let mut y = vec![f32::NAN; TIME * 330];
            for (x, y) in x.chunks_exact(33).zip(y.chunks_exact_mut(330)) {
                steps.step(x, y).unwrap();
            }
            (bits(&y), bits(&state.h_to_vec()), state.c_to_vec().map(|c| bits(&c)))
        };
        let alone = frames(on_one_thread(Backend::Native, isa));
        for gang in [2, 3] {
            let plan = Some(Plan { parts: 1, block: 1, gang });
            let together = frames(Options { isa: Some(isa), threads: Threads::Pool, plan, ..Options::default() });
            assert_eq!(together, alone, "{cell:?} on {}, gang of {gang}", isa.name());
        }
    }
}

fn gru(options: Options) -> Layer<f32> {
    let cell = Cell::Gru { reset: Reset::Before };
    Layer::new(Chosen::random(cell, [3, 20], Bias::Both, Choice::default(), 1).weights(), options).unwrap()
}

#[test]
fn other_sizes_are_refused_and_change_nothing() {
    for backend in common::backends() {
        let layer = gru(on_one_thread(backend, Isa::available()[0]));
        let mut workspace = layer.workspace(1, 1).unwrap();
        let refused = layer.steps(&mut layer.state(2).unwrap(), &mut workspace).unwrap_err();
        assert_eq!(refused.to_string(), "state rows: expected 1 value, found 2");
        let other = Chosen::<f32>::random(Cell::Lstm, [3, 20], Bias::Both, Choice::default(), 1);
        let other = Layer::new(other.weights(), Options::default()).unwrap();
        assert!(layer.steps(&mut other.state(1).unwrap(), &mut workspace).is_err());

        let mut state = layer.state(1).unwrap();
        let mut y = [f32::NAN; 21];
        let mut steps = layer.steps(&mut state, &mut workspace).unwrap();
        for (x, y) in [(&[0.0; 2][..], 20), (&[0.0; 4], 20), (&[0.0; 3], 19), (&[0.0; 3], 21)] {
            let named = if x.len() == 3 { "y channels" } else { "x channels" };
            let refused = steps.step(x, &mut [f32::NAN; 21][..y]).unwrap_err().to_string();
            assert!(refused.starts_with(named), "{refused}");
        }
        steps.step(&[0.5; 3], &mut y[..20]).unwrap();
        assert!(y[20].is_nan());
        assert_eq!(y[..20], state.h_to_vec());
        let once = layer.forward(time_major(&[0.5; 3], [1, 1, 3]).unwrap(), None).unwrap();
        assert_eq!(bits(&once.y), bits(&y[..20]));
    }
}

#[test]
fn nothing_is_allocated_and_another_thread_may_go_on() {
    fn is_send<T: Send>(_: &T) {}
    for &isa in Isa::available() {
        for layer in [gru(on_one_thread(Backend::Native, isa)), {
            let choice = Choice { clip: Some(2.0), ..Choice::default() };
            let chosen = Chosen::random(Cell::Lstm, [3, 20], Bias::Both, choice, 2);
            Layer::new(chosen.weights(), on_one_thread(Backend::Native, isa)).unwrap()
        }] {
            let (mut state, mut workspace) = (layer.state(1).unwrap(), layer.workspace(1, 1).unwrap());
            let mut y = [0.0; 20];
            let count = allocations(|| {
                let mut steps: Steps<'_, f32> = layer.steps(&mut state, &mut workspace).unwrap();
                is_send(&steps);
                (0..3).for_each(|_| steps.step(&[0.1; 3], &mut y).unwrap());
            });
            assert_eq!(count, 0);
        }
    }
}
