//! Dropout and zoneout of whole stacks: to the bit against their layers run one by one, with masks applied by hand, forward
//! and backward; gradients against central differences and the adjoint identity; what changes nothing; what is refused.

mod common;
#[path = "stack_noise/problem.rs"]
mod problem;
mod reference;

use common::Value;
use common::model::CELLS;
use common::numbers::{assert_same, proptest};
use gatefold::cell::{Activation, Cell};
use gatefold::seq::{MatMut, MatRef, SeqRef, SeqShape, time_major};
use gatefold::{
    Accumulate, Backend, Direction, Error, Input, Isa, Layer, Level, Merge, Noise, Options, Order, Output, Stack,
    StackGrads, StackNoise, StackTape, StackWorkspace, Upstream,
};
use problem::{Case, Drawn, Outputs, Problem};
use proptest::prelude::*;
use proptest::sample::select;

const MERGES: [Merge; 4] = [Merge::Concat, Merge::Sum, Merge::Average, Merge::Mul];

prop_compose! {
    fn levels()(
        (a, b) in (select(CELLS.to_vec()), select(CELLS.to_vec())),
        hidden in select(vec![1usize, 3, 8, 17]),
        projection in prop::option::weighted(0.3, select(vec![1usize, 5])),
        merge in prop::option::weighted(0.6, select(MERGES.to_vec())),
        direction in select(vec![
            Direction::Forward, Direction::Reverse(Order::Input), Direction::Reverse(Order::Processing),
        ]),
        noise in 0usize..64,
        above in 0usize..3,
    ) -> Drawn {
        // Directions that are merged by arithmetic give the same channels.
        let projection = projection.filter(|_| matches!(merge, None | Some(Merge::Concat)));
        Drawn { cells: [a, b], hidden, projection, merge, direction, noise, above }
    }
}

prop_compose! {
    fn cases()(
        levels in prop::collection::vec(levels(), 1..4),
        time in 0usize..6,
        batch in select(vec![0usize, 1, 2, 7]),
        ragged: bool,
        seed: u64,
    ) -> Case {
        let mut levels = levels;
        if ragged {
            for level in levels.iter_mut().filter(|level| level.direction != Direction::Forward) {
                level.direction = Direction::Reverse(Order::Input);
            }
        }
        let lengths = ragged.then(|| (0..batch).map(|n| (seed as usize / 7 + n * 5) % (time + 1)).collect());
        Case { levels, time, batch, lengths, seed }
    }
}

impl Case {
    /// One that can be recorded.
    fn recordable(mut self) -> Self {
        for merge in self.levels.iter_mut().filter_map(|level| level.merge.as_mut()) {
            *merge = if *merge == Merge::Mul { Merge::Concat } else { *merge };
        }
        self
    }
}

fn on(isa: Isa) -> Options {
    common::on_one_thread(Backend::Native, isa)
}

fn same<T: Value>(expected: &Outputs<T>, found: &Outputs<T>) {
    for (name, (expected, found)) in ["y", "h", "c"].into_iter().zip(expected.iter().zip(found)) {
        assert_same(expected, found, name);
    }
}

fn same_grads<T: Value>(expected: &StackGrads<T>, found: &StackGrads<T>) {
    assert_same(&expected.dx, &found.dx, "dx");
    assert_eq!(expected.layers.len(), found.layers.len());
    for (e, f) in expected.layers.iter().zip(&found.layers) {
        for (name, e, f) in [
            ("dx of a layer", &e.dx, &f.dx),
            ("dh0", &e.dh0, &f.dh0),
            ("dc0", &e.dc0, &f.dc0),
            ("dw", &e.dw, &f.dw),
            ("dr", &e.dr, &f.dr),
            ("db_w", &e.db_w, &f.db_w),
            ("db_r", &e.db_r, &f.db_r),
            ("d_projection", &e.d_projection, &f.d_projection),
        ] {
            assert_same(e, f, name);
        }
    }
}

/// Forward and backward are those of the layers, on every instruction set.
fn check<T: Value>(case: &Case) {
    let mut first: Option<Outputs<T>> = None;
    for &isa in Isa::available() {
        let problem = Problem::<T>::new(case.clone(), on(isa));
        let (expected, gradients) = problem.by_layers();
        let found = problem.forward();
        same(&expected, &found);
        same(first.get_or_insert_with(|| found.clone()), &found);
        if let Some(gradients) = gradients {
            let (recorded, found) = problem.train();
            same(&expected, &recorded);
            same_grads(&gradients, &found);
        }
    }
}

proptest! {
    #![proptest_config(proptest(300))]

    #[test]
    fn stacks_are_their_layers_f32(case in cases()) {
        check::<f32>(&case);
    }

    #[test]
    fn stacks_are_their_layers_f64(case in cases()) {
        check::<f64>(&case);
    }

    /// Along a random direction in the input, the states and the weights the loss changes as the gradients say.
    #[test]
    fn central_differences(case in cases()) {
        let mut case = case.recordable();
        for cell in case.levels.iter_mut().flat_map(|level| &mut level.cells).filter(|cell| **cell == CELLS[1]) {
            // A ReLU has kinks.
            *cell = CELLS[0];
        }
        let problem = Problem::<f64>::new(case, Options::default());
        let (_, grads) = problem.train();
        for k in 0..3 {
            let ([found, scale], step) = (problem.slope(k, &grads), 1e-5);
            let expected = (problem.moved(k, step).loss() - problem.moved(k, -step).loss()) / (2.0 * step);
            prop_assert!((found - expected).abs() <= 1e-7 * scale.max(1.0), "group {k}: {found} is not {expected}");
        }
    }

    /// Of a stack that is linear where it is evaluated, the differences of outputs are J u, exactly but for rounding:
    /// <J u, v> = <u, J^T v>.
    #[test]
    fn adjoint(case in cases()) {
        let mut case = case.recordable();
        for level in &mut case.levels {
            (level.cells, level.projection) = ([CELLS[1]; 2], None);
        }
        let mut problem = Problem::<f64>::new(case, Options::default());
        // More than rows of W sum to, times what the level below gives and the largest mask.
        let firsts: Vec<usize> = problem.stack.levels().iter().enumerate().flat_map(|(i, level)| vec![i; level.directions()]).collect();
        problem.stack.update(|k, weights| weights.b_w.unwrap().fill(30.0 * 33f64.powi(firsts[k] as i32))).unwrap();
        let (_, grads) = problem.train();
        let magnitude = problem.upstream.iter().flatten().map(|v| v.abs()).sum::<f64>().max(1.0);
        let largest = problem.forward().iter().flatten().fold(1.0f64, |most, v| most.max(v.abs()));
        for k in 0..2 {
            let [found, _] = problem.slope(k, &grads);
            let expected = problem.moved(k, 1.0).loss() - problem.loss();
            let off = (found - expected).abs();
            prop_assert!(off <= 1e-13 * largest * magnitude, "group {k}: {found} is not {expected}");
        }
    }
}

/// A stack of two directions on one and back, with all masks, over rows that end.
fn large(cell: Cell, merge: Merge) -> Case {
    let level = |merge, above| Drawn {
        cells: [cell, Cell::Lstm],
        hidden: 70,
        projection: None,
        merge,
        direction: Direction::Forward,
        noise: 63,
        above,
    };
    let lengths = (0..33).map(|n| n * 5 % 22).collect();
    let levels = vec![level(Some(merge), 1), level(None, 2), level(Some(Merge::Average), 0)];
    Case { levels, time: 21, batch: 33, lengths: Some(lengths), seed: 9 }
}

#[test]
#[cfg(feature = "rayon")]
fn one_answer_on_any_threads() {
    for (cell, merge) in CELLS.into_iter().zip(MERGES.into_iter().take(3).cycle()) {
        let case = large(cell, merge);
        let alone = Problem::<f32>::new(case.clone(), on(Isa::available()[0])).train();
        let shared = Problem::<f32>::new(case, Options { isa: Some(Isa::available()[0]), ..Options::default() });
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (outputs, grads) = pool.install(|| shared.train());
            same(&alone.0, &outputs);
            same_grads(&alone.1, &grads);
            same(&alone.0, &pool.install(|| shared.forward()));
        }
    }
}

/// Of sizes where the layers of a stack without masks run side by side.
#[test]
#[cfg(feature = "rayon")]
fn no_wave_passes_over_masks() {
    let level = |above| Drawn {
        cells: [CELLS[3]; 2],
        hidden: 96,
        projection: None,
        merge: None,
        direction: Direction::Forward,
        noise: 0,
        above,
    };
    let case = Case { levels: vec![level(1), level(0), level(0)], time: 1301, batch: 1, lengths: None, seed: 2 };
    let problem = Problem::<f32>::new(case, Options::default());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    same(&problem.by_layers().0, &pool.install(|| problem.forward()));
}

/// Masks of ones and no masks.
#[test]
fn neutral_masks_change_no_bit() {
    let problem = Problem::<f32>::new(large(Cell::Lstm, Merge::Concat), Options::default());
    let x = Input::from(time_major(&problem.x, [21, 33, 3]).unwrap());
    let expected = problem.stack.forward(x, None).unwrap();
    let ones = vec![1.0; 21 * 33 * 140];
    let of = |channels| Some(time_major(&ones[..21 * 33 * channels], [21, 33, channels]).unwrap());
    for between in [[of(140), of(70)], [None, None]] {
        let noise = StackNoise { layers: &[Noise::default(); 5], between: &between };
        let found = problem.stack.forward(x.stack_noise(noise), None).unwrap();
        assert_same(&expected.y, &found.y, "y");
        assert_same(&expected.state.h_to_vec(), &found.state.h_to_vec(), "h");
    }
    assert!(problem.stack.forward(x.stack_noise(StackNoise::default()), None).unwrap().y == expected.y);
}

/// A tape that held masks once has none afterwards, and the other way round.
#[test]
fn a_tape_holds_the_masks_of_its_call() {
    let problem = Problem::<f64>::new(large(Cell::Lstm, Merge::Sum), Options::default());
    let stack = &problem.stack;
    let (mut tape, mut workspace) = (StackTape::new(), StackWorkspace::new());
    let mut train = |noisy: bool, tape: &mut StackTape<f64>| {
        let (mut state, mut grads) = (problem.state.clone(), StackGrads::new());
        problem.with_input(|input| {
            let input = if noisy { input } else { input.stack_noise(StackNoise::default()) };
            stack.record(input, &mut state, Output::StateOnly, tape, &mut workspace).unwrap();
        });
        let upstream = Upstream { dh: Some(&problem.upstream[1]), ..Upstream::default() };
        stack.backward(tape, upstream, &mut grads, Accumulate::Overwrite).unwrap();
        grads
    };
    let [noisy, plain] = [true, false].map(|noisy| train(noisy, &mut StackTape::new()));
    assert!(noisy != plain);
    for is_noisy in [true, false, true] {
        let found = train(is_noisy, &mut tape);
        same_grads(if is_noisy { &noisy } else { &plain }, &found);
    }
}

/// What is dropped is +0, so that nothing that is infinite below comes through, in either direction.
#[test]
fn what_is_dropped_is_zero_whatever_it_was() {
    let relu = Cell::SimpleRnn { activation: Activation::Relu };
    let layer = |b: f32| {
        let weights = gatefold::Weights::new(relu, 1, 1, vec![1.0], vec![0.0], Some(vec![b]), None).unwrap();
        Layer::new(weights, Options { keep_weights: true, ..Options::default() }).unwrap()
    };
    let stack = Stack::new(vec![layer(0.0).into(), layer(1.0).into()]).unwrap();
    let zero = [Some(time_major(&[0.0], [1, 1, 1]).unwrap())];
    let x = Input::from(time_major(&[f32::INFINITY], [1, 1, 1]).unwrap());
    let x = x.stack_noise(StackNoise { layers: &[], between: &zero });
    let (mut state, mut tape, mut y) = (stack.state(1).unwrap(), StackTape::new(), [f32::NAN]);
    let last = Output::Last(MatMut::dense(&mut y, 1, 1).unwrap());
    stack.record(x, &mut state, last, &mut tape, &mut StackWorkspace::new()).unwrap();
    assert_eq!(y, [1.0]);
    let (mut grads, dy) = (StackGrads::new(), [f32::INFINITY]);
    let upstream = Upstream { dh: Some(&[0.0, dy[0]]), ..Upstream::default() };
    stack.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap();
    assert_eq!(grads.dx[0].to_bits(), 0.0f32.to_bits());
}

#[test]
fn refuses_by_name() {
    let (time, batch, hidden) = (4, 3, 5);
    let data = vec![0.5; 1000];
    let layer = |cell, input, peepholes| {
        let choice = common::choice::Choice { peepholes, ..Default::default() };
        let chosen = common::choice::Chosen::<f64>::random(cell, [input, hidden], common::model::Bias::Both, choice, 1);
        Layer::new(chosen.weights(), Options { keep_weights: true, ..Options::default() }).unwrap()
    };
    let stack = |cell, peepholes| {
        let both = Level::bidirectional(layer(cell, 3, peepholes), layer(cell, 3, peepholes), Merge::Concat).unwrap();
        Stack::new(vec![both, layer(cell, 2 * hidden, peepholes).into()]).unwrap()
    };
    let x = Input::from(time_major(&data[..time * batch * 3], [time, batch, 3]).unwrap());
    let matrix = |rows, cols| Some(MatRef::dense(&data, rows, cols).unwrap());
    let seq = |time, batch, channels| Some(SeqRef::new(&data, SeqShape::time_major(time, batch, channels)).unwrap());
    let none = Noise::default();
    let message = |stack: &Stack<f64>, input: Input<'_, f64>| {
        let (mut state, mut tape, mut workspace) =
            (stack.state(batch).unwrap(), StackTape::new(), StackWorkspace::new());
        let recorded = stack.record(input, &mut state, Output::StateOnly, &mut tape, &mut workspace).unwrap_err();
        let forward = stack.forward_into(input, &mut state, Output::StateOnly, &mut workspace).unwrap_err();
        assert_eq!(forward, recorded);
        assert_eq!(state.h_to_vec(), stack.state(batch).unwrap().h_to_vec());
        recorded.to_string()
    };
    let starts = |message: String, with: &str| assert!(message.starts_with(with), "{message} is not {with}");
    let (lstm, gru, peephole) = (stack(Cell::Lstm, false), stack(CELLS[3], false), stack(Cell::Lstm, true));
    // The masks of the last layer, and of none of the others.
    let last = |noise| [none, none, noise];
    let on = |stack, noise| {
        let layers = last(noise);
        message(stack, x.stack_noise(StackNoise { layers: &layers, between: &[] }))
    };
    let of = |mask| Noise { recurrent_dropout: mask, ..none };
    starts(on(&lstm, of(matrix(2, hidden))), "recurrent_dropout rows: expected 3");
    starts(on(&lstm, of(matrix(batch, 4))), "recurrent_dropout columns: expected 5");
    starts(on(&lstm, Noise { zoneout: seq(3, batch, hidden), ..none }), "zoneout timesteps: expected 4");
    starts(on(&lstm, Noise { zoneout_cell: seq(time, 2, hidden), ..none }), "zoneout_cell rows: expected 3");
    let of_cell = Noise { zoneout_cell: seq(time, batch, hidden), ..none };
    starts(on(&gru, of_cell), "zoneout_cell is not supported: only an LSTM");
    starts(on(&peephole, of_cell), "zoneout_cell with peepholes is not supported");
    let count = StackNoise { layers: &[none; 2], between: &[] };
    starts(message(&lstm, x.stack_noise(count)), "stack_noise layers: expected 3 values, found 2");
    let between = |masks: &[_]| message(&lstm, x.stack_noise(StackNoise { layers: &[], between: masks }));
    starts(between(&[None; 2]), "stack_noise between: expected 1 value, found 2");
    starts(between(&[seq(3, batch, 10)]), "between timesteps: expected 4");
    starts(between(&[seq(time, 2, 10)]), "between rows: expected 3");
    starts(between(&[seq(time, batch, 5)]), "between channels: expected 10");
    starts(
        message(&lstm, x.zoneout(seq(time, batch, hidden).unwrap())),
        "dropout or zoneout of a stack is not supported",
    );

    let packed = Input::packed(matrix(1, 3).unwrap(), &[1]);
    let (zoned, masks) = (last(Noise { zoneout: seq(1, 1, hidden), ..none }), [seq(1, 1, 10)]);
    for noise in [StackNoise { layers: &zoned, between: &[] }, StackNoise { layers: &[], between: &masks }] {
        let refused = lstm.forward(packed.stack_noise(noise), None).unwrap_err().to_string();
        starts(refused, "dropout or zoneout of a packed sequence is not supported");
        let refused = layer(CELLS[3], 3, false).forward(x.stack_noise(noise), None).unwrap_err();
        starts(refused.to_string(), "stack_noise of a layer is not supported");
    }

    // A tape of a stack with other gaps between its levels.
    let [one, other] = [layer(CELLS[3], 5, false), layer(CELLS[3], 5, false)];
    let apart = Stack::new(vec![one.clone().into(), Level::reverse(other.clone(), Order::Input)]).unwrap();
    let both = Stack::from(Level::bidirectional(one, other, Merge::Sum).unwrap());
    let (mut tape, mut workspace) = (StackTape::new(), StackWorkspace::new());
    let (x, masks) = (time_major(&data[..60], [time, batch, 5]).unwrap(), [seq(time, batch, 5)]);
    let x = Input::from(x).stack_noise(StackNoise { layers: &[], between: &masks });
    apart.record(x, &mut apart.state(batch).unwrap(), Output::StateOnly, &mut tape, &mut workspace).unwrap();
    let refused = both.backward(&mut tape, Upstream::default(), &mut StackGrads::new(), Accumulate::Overwrite);
    let why = "it holds no call, or that of another stack";
    assert_eq!(refused, Err(Error::Unsupported { what: "tape", why }));
}
