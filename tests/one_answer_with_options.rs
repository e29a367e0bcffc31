//! Promise 1 for layers with options, and for sequences with lengths, masks, packed steps and directions: a row's outputs
//! have the same bits alone and in company, on every instruction set and number of threads.

mod common;
mod reference;

use common::choice::{Choice, Chosen, choices};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use common::flags::flush_subnormals;
use common::model::{Bias, CELLS};
use common::numbers::{Random, assert_same, proptest};
use common::{Value, on_one_thread};
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::{MatRef, time_major};
use gatefold::{Backend, Direction, Forward, Input, Isa, Layer, Masked, Order, State, Weights};
#[cfg(feature = "rayon")]
use gatefold::{Options, Threads};
use proptest::prelude::*;
use proptest::sample::select;

const GRUS: [Cell; 2] = [Cell::Gru { reset: Reset::After }, Cell::Gru { reset: Reset::Before }];

fn native<T: Value>(weights: Weights<T>, isa: Isa) -> Layer<T> {
    Layer::new(weights, on_one_thread(Backend::Native, isa)).unwrap()
}

/// y, h and c, to the bit.
#[track_caller]
fn assert_same_run<T: Value>(expected: &Forward<T>, found: &Forward<T>, what: &str) {
    assert_same(&expected.y, &found.y, &format!("{what}: y"));
    assert_same_state(&expected.state, &found.state, what);
}

#[track_caller]
fn assert_same_state<T: Value>(expected: &State<T>, found: &State<T>, what: &str) {
    assert_same(&expected.h_to_vec(), &found.h_to_vec(), &format!("{what}: h"));
    let c = |state: &State<T>| state.c_to_vec().unwrap_or_default();
    assert_same(&c(expected), &c(found), &format!("{what}: c"));
}

fn random_state<T: Value>(layer: &Layer<T>, batch: usize, seed: u64) -> State<T> {
    let (mut state, mut random) = (layer.state(batch).unwrap(), Random(seed));
    state.set_h(&random.values(batch * layer.dims().output(), 1.0)).unwrap();
    if layer.dims().cell.has_cell_state() {
        state.set_c(&random.values(batch * layer.dims().hidden, 1.0)).unwrap();
    }
    state
}

/// Which rows take part in which steps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Lengths,
    Packed,
    Mask(Masked),
}

#[derive(Clone, Copy, Debug)]
struct Case {
    cell: Cell,
    choice: Choice,
    vectors: usize,
    more: isize,
    time: usize,
    batch: usize,
    part: Part,
    direction: Direction,
    isa: Isa,
    seed: u64,
}

prop_compose! {
    fn cases()(
        cell in select(CELLS.to_vec()),
        choice in choices(),
        (vectors, more) in (select(vec![0usize, 1, 2]), -1isize..=1),
        time in 1usize..6,
        batch in 1usize..10,
        part in select(vec![Part::Lengths, Part::Packed, Part::Mask(Masked::Repeat), Part::Mask(Masked::Zero)]),
        direction in select(vec![
            Direction::Forward, Direction::Reverse(Order::Input), Direction::Reverse(Order::Processing),
        ]),
        isa in select(Isa::available().to_vec()),
        seed: u64,
    ) -> Case {
        let direction = match (part, direction) {
            (Part::Lengths | Part::Packed, Direction::Reverse(_)) => Direction::Reverse(Order::Input),
            (_, direction) => direction,
        };
        let attended = choice.attended && part != Part::Packed;
        Case { cell, choice: Choice { attended, ..choice }, vectors, more, time, batch, part, direction, isa, seed }
    }
}

const INPUT: usize = 3;

/// What a batch is run over.
struct Batch<T> {
    /// `[T, N, I]`
    x: Vec<T>,
    /// `[T, N]`, or nothing.
    attention: Vec<T>,
    /// `[N]`, falling for packed steps.
    lengths: Vec<usize>,
    /// `[T, N]`
    mask: Vec<bool>,
}

impl<T: Value> Batch<T> {
    fn new(case: &Case, attended: bool) -> Self {
        let Case { time, batch, part, seed, .. } = *case;
        let mut random = Random(!seed);
        let mut lengths: Vec<usize> = (0..batch).map(|_| random.below(time + 1)).collect();
        if part == Part::Packed {
            lengths.iter_mut().for_each(|length| *length = (*length).max(1));
            lengths.sort_by_key(|&length| std::cmp::Reverse(length));
        }
        let mask = (0..time * batch).map(|_| random.below(3) > 0).collect();
        let x = random.values(time * batch * INPUT, 1.0);
        let attention = random.values(if attended { time * batch } else { 0 }, 1.0);
        Batch { x, attention, lengths, mask }
    }

    fn takes_part(&self, case: &Case, t: usize, n: usize) -> bool {
        match case.part {
            Part::Lengths | Part::Packed => t < self.lengths[n],
            Part::Mask(_) => self.mask[t * case.batch + n],
        }
    }

    /// All rows together: y `[T, N, C]`, and the state.
    fn together(&self, layer: &Layer<T>, case: &Case, initial: &State<T>) -> Forward<T> {
        let Case { time, batch, part, direction, .. } = *case;
        let x = Input::from(time_major(&self.x, [time, batch, INPUT]).unwrap());
        let mut x = match part {
            Part::Packed => return self.packed(layer, case, initial),
            Part::Lengths => x.lengths(&self.lengths),
            Part::Mask(masked) => x.mask(time_major(&self.mask, [time, batch, 1]).unwrap(), masked),
        };
        if !self.attention.is_empty() {
            x = x.attention(time_major(&self.attention, [time, batch, 1]).unwrap());
        }
        layer.forward(in_direction(x, direction), Some(initial)).unwrap()
    }

    fn packed(&self, layer: &Layer<T>, case: &Case, initial: &State<T>) -> Forward<T> {
        let Case { batch, direction, .. } = *case;
        let time = self.lengths[0];
        let sizes: Vec<usize> = (0..time).map(|t| self.lengths.iter().filter(|&&len| t < len).count()).collect();
        let steps = || (0..time).flat_map(|t| (0..sizes[t]).map(move |n| t * batch + n));
        let data: Vec<T> = steps().flat_map(|row| self.x[row * INPUT..][..INPUT].to_vec()).collect();
        let x = Input::packed(MatRef::dense(&data, data.len() / INPUT, INPUT).unwrap(), &sizes);
        let run = layer.forward(in_direction(x, direction), Some(initial)).unwrap();
        let channels = layer.dims().output();
        let mut y = vec![T::ZERO; case.time * batch * channels];
        for (row, from) in steps().zip(run.y.chunks_exact(channels)) {
            y[row * channels..][..channels].copy_from_slice(from);
        }
        Forward { y, ..run }
    }

    /// Row n alone, over nothing but the steps that it takes part in: y `[T, C]` as in company, and the state.
    fn alone(&self, layer: &Layer<T>, case: &Case, initial: &State<T>, n: usize) -> Forward<T> {
        let Case { time, batch, part, direction, .. } = *case;
        let times: Vec<usize> = (0..time).filter(|&t| self.takes_part(case, t, n)).collect();
        let x: Vec<T> = times.iter().flat_map(|t| self.x[(t * batch + n) * INPUT..][..INPUT].to_vec()).collect();
        let mut input = Input::from(time_major(&x, [times.len(), 1, INPUT]).unwrap());
        let attention: Vec<T> = match self.attention.is_empty() {
            true => vec![],
            false => times.iter().map(|t| self.attention[t * batch + n]).collect(),
        };
        if !self.attention.is_empty() {
            input = input.attention(time_major(&attention, [times.len(), 1, 1]).unwrap());
        }
        let by_processing = match direction {
            Direction::Forward => direction,
            Direction::Reverse(_) => Direction::Reverse(Order::Processing),
        };
        let run = layer.forward(in_direction(input, by_processing), Some(&initial.gather(&[n]).unwrap())).unwrap();
        let channels = layer.dims().output();
        let mut outputs = run.y.chunks_exact(channels);
        let (mut y, mut output) = (vec![T::NAN; time * channels], vec![T::ZERO; channels]);
        for s in 0..time {
            let t = if direction == Direction::Forward { s } else { time - 1 - s };
            if self.takes_part(case, t, n) {
                output = outputs.next().unwrap().to_vec();
            } else if part != Part::Mask(Masked::Repeat) {
                output.fill(T::ZERO);
            }
            let place = if direction == Direction::Reverse(Order::Processing) { s } else { t };
            y[place * channels..][..channels].copy_from_slice(&output);
        }
        Forward { y, ..run }
    }
}

fn in_direction<T: Value>(x: Input<'_, T>, direction: Direction) -> Input<'_, T> {
    match direction {
        Direction::Forward => x,
        Direction::Reverse(order) => x.reverse(order),
    }
}

fn check<T: Value>(case: &Case) {
    let hidden = (case.vectors * T::lanes(case.isa)).saturating_add_signed(case.more).max(1);
    let chosen = Chosen::<T>::random(case.cell, [INPUT, hidden], Bias::Both, case.choice, case.seed);
    let layer = native(chosen.weights(), case.isa);
    let portable = native(chosen.weights(), Isa::named("portable").unwrap());
    let batch = Batch::new(case, chosen.choice.attended);
    let initial = random_state(&layer, case.batch, case.seed);
    let together = batch.together(&layer, case, &initial);
    let channels = layer.dims().output();
    for n in 0..case.batch {
        let alone = batch.alone(&portable, case, &initial, n);
        let of_row = |y: &Vec<T>| y.chunks_exact(channels).skip(n).step_by(case.batch).flatten().copied().collect();
        let found = Forward { y: of_row(&together.y), state: together.state.gather(&[n]).unwrap() };
        assert_same_run(&alone, &found, &format!("row {n}"));
    }
}

proptest! {
    #![proptest_config(proptest(1000))]

    #[test]
    fn a_row_alone_f32(case in cases()) {
        check::<f32>(&case);
    }

    #[test]
    fn a_row_alone_f64(case in cases()) {
        check::<f64>(&case);
    }
}

/// Layers whose options change nothing have the bits of those without.
fn by_passes<T: Value>() {
    let (time, batch, input, hidden) = (6, 9, 5, 21);
    let mut random = Random(3);
    let x: Vec<T> = random.values(time * batch * input, 1.0);
    let x = Input::from(time_major(&x, [time, batch, input]).unwrap());
    let zeros = vec![T::ZERO; time * batch];
    let attention = time_major(&zeros, [time, batch, 1]).unwrap();
    for &isa in Isa::available() {
        for cell in CELLS {
            let chosen = Chosen::<T>::random(cell, [input, hidden], Bias::Both, Choice::default(), 7);
            let fused = native(chosen.weights(), isa);
            let initial = random_state(&fused, batch, 1);
            let expected = fused.forward(x, Some(&initial)).unwrap();
            let mut others = vec![("clip", chosen.weights().with_clip(1e30).unwrap())];
            if GRUS.contains(&cell) {
                others.push(("attention", chosen.weights().attended().unwrap()));
            }
            if cell == Cell::Lstm {
                others.push(("peepholes", chosen.weights().with_peepholes(vec![T::ZERO; 3 * hidden]).unwrap()));
                let identity = (0..hidden * hidden).map(|i| if i % (hidden + 1) == 0 { T::ONE } else { T::ZERO });
                let model = chosen.model.clone();
                let (w, r, biases) = (model.w, model.r, [model.b_w, model.b_r]);
                let projected = Weights::projected(input, hidden, w, r, biases, identity.collect()).unwrap();
                others.push(("projection", projected));
            }
            for (what, weights) in others {
                let layer = native(weights, isa);
                let dims = layer.dims();
                assert_ne!(dims, fused.dims(), "{what} is an option");
                let state = random_state(&layer, batch, 1);
                let input = if dims.variant.attention { x.attention(attention) } else { x };
                let found = layer.forward(input, Some(&state)).unwrap();
                assert_same_run(&expected, &found, &format!("{cell:?} {} with {what} on {}", T::NAME, isa.name()));
            }
        }
    }
}

#[test]
fn options_that_change_nothing() {
    by_passes::<f32>();
    by_passes::<f64>();
}

/// Options of every kind.
fn some_choices() -> Vec<Choice> {
    let hard = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };
    let all = Choice {
        activations: Some([hard, Activation::Silu, Activation::Softsign]),
        clip: Some(0.7),
        peepholes: true,
        projection: Some(11),
        attended: true,
        ..Choice::default()
    };
    let leaky = Activation::LeakyRelu { alpha: 0.3 };
    let soft = Choice { activations: Some([Activation::Sigmoid, leaky, Activation::Gelu]), ..Choice::default() };
    vec![Choice::default(), all, Choice { coupled: true, ..soft }]
}

/// Cuts of time into calls, with what is left of every length.
fn cuts<T: Value>() {
    let (time, batch) = (9, 5);
    let lengths = [9, 0, 4, 7, 1];
    for choice in some_choices() {
        for cell in CELLS {
            let chosen = Chosen::<T>::random(cell, [INPUT, 19], Bias::Both, choice, 5);
            let layer = native(chosen.weights(), Isa::available()[0]);
            let mut random = Random(9);
            let x: Vec<T> = random.values(time * batch * INPUT, 1.0);
            let attention: Vec<T> = random.values(time * batch, 1.0);
            let initial = random_state(&layer, batch, 2);
            let run = |steps: std::ops::Range<usize>, state: &State<T>| {
                let of = |values: &[T], channels: usize| {
                    values[steps.start * batch * channels..steps.end * batch * channels].to_vec()
                };
                let (x, attention) = (of(&x, INPUT), of(&attention, 1));
                let lengths = lengths.map(|length: usize| length.saturating_sub(steps.start).min(steps.len()));
                let mut input = Input::from(time_major(&x, [steps.len(), batch, INPUT]).unwrap()).lengths(&lengths);
                if chosen.choice.attended {
                    input = input.attention(time_major(&attention, [steps.len(), batch, 1]).unwrap());
                }
                layer.forward(input, Some(state)).unwrap()
            };
            let whole = run(0..time, &initial);
            for cuts in [vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9], vec![0, 4, 4, 9], vec![0, 8, 9]] {
                let mut found = Forward { y: vec![], state: initial.clone() };
                for cut in cuts.windows(2) {
                    let part = run(cut[0]..cut[1], &found.state);
                    found = Forward { y: [found.y, part.y].concat(), state: part.state };
                }
                assert_same_run(&whole, &found, &format!("{cell:?} {} cut at {cuts:?}", T::NAME));
            }
        }
    }
}

#[test]
fn every_cut_of_time() {
    cuts::<f32>();
    cuts::<f64>();
}

#[cfg(feature = "rayon")]
fn pools<T: Value>() {
    let (time, batch, input, hidden) = (11, 53, 40, 61);
    let mut random = Random(4);
    let x: Vec<T> = random.values(time * batch * input, 1.0);
    let a: Vec<T> = random.values(time * batch, 1.0);
    let lengths: Vec<usize> = (0..batch).map(|_| random.below(time + 1)).collect();
    let mask: Vec<bool> = (0..time * batch).map(|_| random.below(3) > 0).collect();
    let whole = Input::from(time_major(&x, [time, batch, input]).unwrap());
    let mask = time_major(&mask, [time, batch, 1]).unwrap();
    let inputs = [whole, whole.lengths(&lengths), whole.mask(mask, Masked::Repeat)];
    let all = inputs.iter().flat_map(|&input| [input, input.reverse(Order::Input)]);
    for (cell, choice) in CELLS.into_iter().flat_map(|cell| some_choices().into_iter().map(move |c| (cell, c))) {
        let chosen = Chosen::<T>::random(cell, [input, hidden], Bias::Both, choice, 5);
        let isa = Isa::available()[0];
        let one = native(chosen.weights(), isa);
        let shared = Options { isa: Some(isa), threads: Threads::Pool, ..Options::default() };
        let shared = Layer::new(chosen.weights(), shared).unwrap();
        let initial = random_state(&one, batch, 2);
        for x in all.clone() {
            let x = match chosen.choice.attended {
                true => x.attention(time_major(&a, [time, batch, 1]).unwrap()),
                false => x,
            };
            let expected = one.forward(x, Some(&initial)).unwrap();
            for threads in 1..=3 {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    assert_eq!(shared.plan(time, batch).parts, threads, "the batch is large enough to be shared");
                    let found = shared.forward(x, Some(&initial)).unwrap();
                    assert_same_run(&expected, &found, &format!("{cell:?} {} on {threads} threads", T::NAME));
                    let last = shared.forward_last(x, Some(&initial)).unwrap();
                    let expected = one.forward_last(x, Some(&initial)).unwrap();
                    assert_same_run(&expected, &last, &format!("the last of {cell:?} on {threads} threads"));
                });
            }
        }
    }
}

#[cfg(feature = "rayon")]
#[test]
fn every_number_of_threads() {
    pools::<f32>();
    pools::<f64>();
}

/// States fade in silence, with the flags that audio hosts set and without them.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn fading<T: Value>() {
    let (time, batch, hidden) = (if T::NAME == "f32" { 300 } else { 1500 }, 2, 17);
    for (cell, choice) in CELLS.into_iter().flat_map(|cell| some_choices().into_iter().map(move |c| (cell, c))) {
        let chosen = Chosen::<T>::random(cell, [INPUT, hidden], Bias::None, choice, 5);
        let mut x: Vec<T> = Random(6).values(time * batch * INPUT, 1.0);
        x[10 * batch * INPUT..].fill(T::ZERO);
        let attention = vec![T::from_f64(0.25); time * batch];
        let lengths = [time, time - 3];
        let mut input = Input::from(time_major(&x, [time, batch, INPUT]).unwrap()).lengths(&lengths);
        if chosen.choice.attended {
            input = input.attention(time_major(&attention, [time, batch, 1]).unwrap());
        }
        let portable = native(chosen.weights(), Isa::named("portable").unwrap()).forward(input, None).unwrap();
        for &isa in Isa::available() {
            let layer = native(chosen.weights(), isa);
            flush_subnormals(true);
            let found = layer.forward(input, None).unwrap();
            flush_subnormals(false);
            let what = format!("{cell:?} {} with {choice:?} on {}", T::NAME, isa.name());
            assert_same_run(&portable, &found, &what);
            let least = T::FLUSH.to_f64();
            assert!(found.y.iter().all(|y| y.to_f64().abs() >= least || y.to_f64() == 0.0), "{what}");
        }
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn with_subnormals_flushed() {
    fading::<f32>();
    fading::<f64>();
}
