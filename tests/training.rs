//! Gradients against central differences and the adjoint identity; recorded calls against forward ones; one answer on every
//! instruction set and number of threads; what is refused.

mod common;
#[path = "training/point.rs"]
mod point;
mod reference;

use common::choice::{Choice, Chosen};
use common::model::{BIASES, Bias, CELLS, large};
use common::numbers::Random;
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::time_major;
use gatefold::{
    Accumulate, Backend, Direction, Element, Error, Grads, Isa, Layer, Level, Merge, Options, Order, Output, Stack,
    StackGrads, StackTape, StackWorkspace, Tape, Upstream, Workspace,
};
use point::{Point, Walk};
use proptest::prelude::*;
use proptest::sample::select;

/// Around the edges of vectors and tiles.
const SIZES: [usize; 11] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17];

const DIRECTIONS: [Direction; 3] =
    [Direction::Forward, Direction::Reverse(Order::Input), Direction::Reverse(Order::Processing)];

/// Rows that end anywhere, also before the first step; none in the order of processing, which has none.
fn walk(direction: Direction, ragged: bool, [time, batch]: [usize; 2], seed: u64) -> Walk {
    let of_row = |n: usize| (seed as usize / 7 + n * 5) % (time + 1);
    let ragged = ragged && direction != Direction::Reverse(Order::Processing);
    Walk { time, batch, direction, lengths: ragged.then(|| (0..batch).map(of_row).collect()) }
}

prop_compose! {
    fn points()(
        cell in select(CELLS.to_vec()),
        input in select(SIZES.to_vec()),
        hidden in select(SIZES.to_vec()),
        projection in prop::option::of(select(SIZES.to_vec())),
        peepholes: bool,
        bias in select(BIASES.to_vec()),
        time in 0usize..5,
        batch in select(SIZES.to_vec()),
        direction in select(DIRECTIONS.to_vec()),
        ragged: bool,
        noise in 0usize..8,
        seed: u64,
    ) -> Point<f64> {
        let choice = Choice { projection, peepholes, ..Choice::default() };
        Point::new(Chosen::random(cell, [input, hidden], bias, choice, seed), walk(direction, ragged, [time, batch], seed), seed)
            .with_noise(noise)
    }
}

proptest! {
    #![proptest_config(common::numbers::proptest(200))]

    /// Along a random direction in each array the loss changes as its gradient says.
    #[test]
    fn central_differences(point in points()) {
        let point = point.away_from_kinks();
        let grads = point.gradients(Options::default());
        for (k, grad) in grads.iter().enumerate() {
            let found = point.slope(k, grad);
            let step = 1e-5;
            let expected = (point.moved(k, step).loss() - point.moved(k, -step).loss()) / (2.0 * step);
            let scale = grad.iter().map(|g| g.abs()).sum::<f64>().max(1.0);
            prop_assert!((found - expected).abs() <= 1e-7 * scale, "array {k}: {found} is not {expected}");
        }
    }

    /// Products by other crates.
    #[test]
    fn one_answer_but_for_rounding_by_other_products(point in points()) {
        other_backends(&point)?;
    }

    /// What is recorded has the bits of what is not, and the gradients have the same on every instruction set.
    #[test]
    fn one_answer(point in points()) {
        same_bits(&point)?;
        same_bits(&point.rounded::<f32>())?;
    }

    /// Of a network that is linear where it is evaluated, the differences of outputs are J u, exactly but for rounding:
    /// <J u, v> = <u, J^T v>.
    #[test]
    fn adjoint(point in points()) {
        let point = point.linear();
        let grads = point.gradients(Options::default());
        for k in [0, 1] {
            let found = point.slope(k, &grads[k]);
            let expected = point.moved(k, 1.0).loss() - point.loss();
            let scale = point.magnitude();
            prop_assert!((found - expected).abs() <= 1e-12 * scale, "array {k}: {found} is not {expected}");
        }
    }
}

fn bits<T: common::Value>(arrays: Vec<Vec<T>>) -> Vec<u64> {
    arrays.concat().iter().map(|v| v.to_f64().to_bits()).collect()
}

fn same_bits<T: common::Value>(point: &Point<T>) -> Result<(), TestCaseError> {
    let expected = bits(point.outputs(Options::default()));
    let mut gradients = None;
    for &isa in Isa::available() {
        let options = Options { isa: Some(isa), ..Options::default() };
        prop_assert_eq!(&bits(point.recorded(options)), &expected, "recorded on {}", isa.name());
        let own = bits(point.gradients(options));
        prop_assert!(own.iter().all(|&bits| !f64::from_bits(bits).is_nan()), "NaN on {}", isa.name());
        prop_assert_eq!(&own, gradients.get_or_insert_with(|| own.clone()), "gradients on {}", isa.name());
    }
    Ok(())
}

/// A GRU whose reset gate acts before the product is computed gate by gate where it is large, but in two stages where it has
/// an option, be it one that changes nothing.
fn gate_by_gate<T: common::Value>(walk: Walk, noise: usize) {
    let cell = Cell::Gru { reset: Reset::Before };
    let chosen = Chosen::random(cell, [3, large::<T>()], Bias::Both, Choice::default(), 5);
    let point = Point::<T>::new(chosen, walk, 7).with_noise(noise);
    let mut with_clip = point.clone();
    with_clip.chosen.choice.clip = Some(1e30);
    let expected = bits(with_clip.outputs(Options::default()));
    assert!(bits(point.outputs(Options::default())) == expected, "outputs");
    same_bits(&point).unwrap();
    other_backends(&point.rounded()).unwrap();
}

#[test]
fn large_grus_are_computed_gate_by_gate_to_the_same_bits() {
    let lengths = [4, 0, 2];
    for (batch, direction, lengths, noise) in [
        (1, DIRECTIONS[0], None, 0),
        (1, DIRECTIONS[1], None, 0),
        // More than a few rows.
        (9, DIRECTIONS[2], None, 0),
        (3, DIRECTIONS[0], Some(lengths.to_vec()), 0),
        (2, DIRECTIONS[0], None, 1),
    ] {
        let walk = Walk { time: 5, batch, direction, lengths };
        gate_by_gate::<f32>(walk.clone(), noise);
        gate_by_gate::<f64>(walk, noise);
    }
}

/// Every backend that was built in, the native one aside.
fn backends() -> Vec<Backend> {
    let all = [Backend::MatrixMultiply, Backend::OpenBlas];
    all.into_iter().filter(|&backend| f64::foreign(backend).is_ok()).collect()
}

/// Other products differ in their rounding alone, and what is recorded with them has the bits of what is not.
fn other_backends(point: &Point<f64>) -> Result<(), TestCaseError> {
    let native = point.gradients(Options::default());
    for backend in backends() {
        let options = Options { backend, ..Options::default() };
        prop_assert_eq!(point.recorded(options), point.outputs(options), "recorded by {:?}", backend);
        for (k, (own, native)) in point.gradients(options).iter().zip(&native).enumerate() {
            let most = native.iter().fold(1.0f64, |most, v| most.max(v.abs()));
            let worst = own.iter().zip(native).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            prop_assert!(worst <= 1e-12 * most && own.len() == native.len(), "array {k} by {backend:?}: {worst}");
        }
    }
    Ok(())
}

/// Large enough that rows, gates and steps are shared among threads, and that chains are cut into chunks.
#[test]
#[cfg(feature = "rayon")]
fn one_answer_on_any_threads() {
    fn check<T: common::Value>(point: &Point<T>) {
        let bits = |options| bits([point.recorded(options), point.gradients(options)].concat());
        let alone = bits(Options { threads: gatefold::Threads::One, ..Options::default() });
        for threads in 1..=4 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(
                pool.install(|| bits(Options::default())) == alone,
                "{threads} threads: {:?}",
                point.chosen.model.cell
            );
        }
    }
    for (i, cell) in CELLS.into_iter().enumerate() {
        for of_lstm in [false, cell == Cell::Lstm] {
            let choice = Choice { projection: of_lstm.then_some(35), peepholes: of_lstm, ..Choice::default() };
            let chosen = Chosen::<f64>::random(cell, [40, 70], Bias::Both, choice, 7);
            let point = Point::new(chosen, walk(DIRECTIONS[i % 2], i % 3 == 0, [21, 33], 3), 5);
            for point in [point.clone().with_noise(7), point] {
                check(&point);
                check(&point.rounded::<f32>());
            }
        }
        // Few rows, and weights that are worth several threads to be packed.
        let chosen = Chosen::<f64>::random(cell, [200, 300], Bias::Both, Choice::default(), 7);
        check(&Point::new(chosen, walk(DIRECTIONS[0], false, [2, 3], 3), 5).rounded::<f32>());
        // More rows than one thread takes through all steps at once.
        let chosen = Chosen::<f64>::random(cell, [3, 40], Bias::Both, Choice::default(), 7);
        check(&Point::new(chosen, walk(DIRECTIONS[i % 2], false, [9, 67], 3), 5));
        // One row, whose units are shared at every step.
        let chosen = Chosen::<f64>::random(cell, [8, 400], Bias::Both, Choice::default(), 7);
        check(&Point::new(chosen, walk(DIRECTIONS[i % 2], false, [17, 1], 3), 5).rounded::<f32>());
    }
}

/// What stands past the end of a row is not read, of x and of dy.
#[test]
fn padding_is_not_read() {
    for cell in CELLS {
        for direction in &DIRECTIONS[..2] {
            let chosen = Chosen::<f64>::random(cell, [3, 9], Bias::Both, Choice::default(), 4);
            let walk = Walk { time: 4, batch: 3, direction: *direction, lengths: Some(vec![2, 4, 0]) };
            let point = Point::new(chosen, walk, 9);
            let expected = point.gradients(Options::default());
            let found = point.with_padding(f64::NAN).gradients(Options::default());
            assert!(found == expected, "{cell:?} {direction:?}");
        }
    }
}

/// Directions merged by arithmetic under a layer in the order of processing.
#[test]
fn merged_directions() {
    let gru = |input, seed| {
        let chosen =
            Chosen::<f64>::random(Cell::Gru { reset: Reset::Before }, [input, 5], Bias::Both, Choice::default(), seed);
        Layer::new(chosen.weights(), Options { keep_weights: true, ..Options::default() }).unwrap()
    };
    let mut random = Random(3);
    let (time, batch) = (4, 3);
    let (x, u): (Vec<f64>, Vec<f64>) = (random.values(time * batch * 2, 1.0), random.values(time * batch * 2, 1.0));
    let dy = random.values(time * batch * 5, 1.0);
    for (merge, channels) in [(Merge::Concat, 10), (Merge::Sum, 5), (Merge::Average, 5)] {
        let stack = Stack::new(vec![
            Level::bidirectional(gru(2, 1), gru(2, 2), merge).unwrap(),
            Level::reverse(gru(channels, 3), Order::Processing),
        ])
        .unwrap();
        let loss = |step: f64| -> f64 {
            let x: Vec<f64> = x.iter().zip(&u).map(|(x, u)| x + step * u).collect();
            let y = stack.forward(time_major(&x, [time, batch, 2]).unwrap(), None).unwrap().y;
            y.iter().zip(&dy).map(|(y, dy)| y * dy).sum()
        };
        let (mut state, mut tape) = (stack.state(batch).unwrap(), StackTape::new());
        let (x, mut workspace) = (time_major(&x, [time, batch, 2]).unwrap(), StackWorkspace::new());
        stack.record(x, &mut state, Output::StateOnly, &mut tape, &mut workspace).unwrap();
        let mut grads = StackGrads::new();
        let upstream = Upstream::from(time_major(&dy, [time, batch, 5]).unwrap());
        stack.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap();
        let found: f64 = grads.dx.iter().zip(&u).map(|(dx, u)| dx * u).sum();
        let expected = (loss(1e-5) - loss(-1e-5)) / 2e-5;
        assert!((found - expected).abs() <= 1e-8, "{merge:?}: {found} is not {expected}");
        let again = stack.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap_err();
        assert!(again.to_string().starts_with("tape is not supported: it holds no call"), "{again}");
    }
    let multiplied = Stack::from(Level::bidirectional(gru(2, 1), gru(2, 2), Merge::Mul).unwrap());
    let (mut state, x) = (multiplied.state(batch).unwrap(), time_major(&x, [time, batch, 2]).unwrap());
    let (mut tape, mut workspace) = (StackTape::new(), StackWorkspace::new());
    let refused = multiplied.record(x, &mut state, Output::StateOnly, &mut tape, &mut workspace).unwrap_err();
    assert!(refused.to_string().starts_with("training of multiplied directions is not supported"), "{refused}");
}

/// A recorded call of a layer with these options, or what is wrong.
fn try_record(choice: Choice, cell: Cell, options: Options) -> Result<(), Error> {
    let layer = Layer::<f32>::new(Chosen::random(cell, [1, 2], Bias::Both, choice, 1).weights(), options)?;
    let (mut state, mut workspace) = (layer.state(1)?, Workspace::new());
    layer.record(time_major(&[1.0], [1, 1, 1])?, &mut state, Output::StateOnly, &mut Tape::new(), &mut workspace)
}

#[test]
fn refuses_by_name() {
    let keep = Options { keep_weights: true, ..Options::default() };
    let (lstm, gru) = (Cell::Lstm, Cell::Gru { reset: Reset::After });
    let of = Choice::default();
    let elsewhere = Some([Activation::Softsign; 3]);
    for (choice, cell, options, name) in [
        (of, lstm, Options::default(), "training without canonical weights"),
        (Choice { coupled: true, ..of }, lstm, keep, "training of coupled gates"),
        (Choice { attended: true, ..of }, gru, keep, "training of an attended update gate"),
        (Choice { clip: Some(1.0), ..of }, gru, keep, "training of clipped pre-activations"),
        (Choice { activations: elsewhere, ..of }, gru, keep, "training of other activations"),
        (Choice { activations: elsewhere, ..of }, CELLS[0], keep, "training of other activations"),
    ] {
        let error = try_record(choice, cell, options).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{name} is not supported: ")), "{error}");
    }
    assert_eq!(try_record(of, lstm, keep), Ok(()));
    assert_eq!(try_record(Choice { peepholes: true, ..of }, lstm, keep), Ok(()));
}

#[test]
fn refuses_what_does_not_fit() {
    let keep = Options { keep_weights: true, ..Options::default() };
    let layer = |cell, hidden| {
        let chosen = Chosen::<f64>::random(cell, [1, hidden], Bias::Both, Choice::default(), 1);
        Layer::new(chosen.weights(), keep).unwrap()
    };
    let (lstm, other, gru) = (layer(Cell::Lstm, 2), layer(Cell::Lstm, 3), layer(CELLS[3], 2));
    let (mut tape, mut workspace, mut grads) = (Tape::new(), Workspace::new(), Grads::new());
    let (one, two) = ([1.0], [1.0; 2]);
    let x = time_major(&one, [1, 1, 1]).unwrap();
    let mut message = |layer: &Layer<f64>, from: &Layer<f64>, upstream, grads: &mut Grads<f64>, accumulate| {
        from.record(x, &mut from.state(1).unwrap(), Output::StateOnly, &mut tape, &mut workspace).unwrap();
        layer.backward(&mut tape, upstream, grads, accumulate).unwrap_err().to_string()
    };
    let none = Upstream::default();
    let of = Accumulate::Overwrite;
    let wrong = message(&lstm, &other, none, &mut grads, of);
    assert_eq!(wrong, "tape is not supported: it holds a call of another cell or size");
    let wrong = Upstream { dh: Some(&one), ..none };
    assert_eq!(message(&lstm, &lstm, wrong, &mut grads, of), "dh: expected 2 values, found 1");
    let wrong = Upstream { dc: Some(&one), ..none };
    assert_eq!(message(&lstm, &lstm, wrong, &mut grads, of), "dc: expected 2 values, found 1");
    let wrong = Upstream { dc: Some(&two), ..none };
    assert!(message(&gru, &gru, wrong, &mut grads, of).starts_with("dc is not supported"));
    let wrong = Upstream::from(time_major(&one, [1, 1, 1]).unwrap());
    assert_eq!(message(&lstm, &lstm, wrong, &mut grads, of), "dy channels: expected 2 values, found 1");
    assert_eq!(grads, Grads::new());
    grads.dr = vec![0.0; 3];
    let wrong = message(&lstm, &lstm, none, &mut grads, Accumulate::Add);
    assert_eq!(wrong, "dr: expected 16 values, found 3");
    let mut empty = Tape::new();
    assert!(lstm.backward(&mut empty, none, &mut grads, of).is_err());
    // Steps without rows: nothing to count.
    let x = time_major(&[], [1 << 40, 0, 1]).unwrap();
    lstm.record(x, &mut lstm.state(0).unwrap(), Output::StateOnly, &mut empty, &mut Workspace::new()).unwrap();
    lstm.backward(&mut empty, none, &mut grads, of).unwrap();
    assert!(grads.dx.is_empty() && grads.dw == [0.0; 8]);
}

/// The gradients of the sum of the last outputs over x, `[3, 1, 2]`.
fn run<T: Element>(layer: &Layer<T>, x: &[T], grads: &mut Grads<T>, accumulate: Accumulate) {
    let (mut tape, mut state) = (Tape::new(), layer.state(1).unwrap());
    let x = time_major(x, [3, 1, 2]).unwrap();
    layer.record(x, &mut state, Output::StateOnly, &mut tape, &mut Workspace::new()).unwrap();
    let dh = vec![T::ONE; layer.dims().output()];
    let upstream = Upstream { dh: Some(&dh), ..Upstream::default() };
    layer.backward(&mut tape, upstream, grads, accumulate).unwrap();
}

/// What gradients are written over leaves no trace, whatever computes the products.
#[test]
fn gradients_are_overwritten() {
    for (cell, backend) in CELLS.into_iter().flat_map(|cell| backends().into_iter().map(move |backend| (cell, backend)))
    {
        for peepholes in [false, cell == Cell::Lstm] {
            let choice = Choice { projection: peepholes.then_some(3), peepholes, ..Choice::default() };
            let chosen = Chosen::<f64>::random(cell, [2, 5], Bias::Both, choice, 1);
            let options = Options { keep_weights: true, backend, ..Options::default() };
            let layer = Layer::new(chosen.weights(), options).unwrap();
            let x: [Vec<f64>; 2] = [Random(1).values(6, 1.0), Random(2).values(6, 1.0)];
            let [mut fresh, mut used] = std::array::from_fn(|_| Grads::new());
            run(&layer, &x[0], &mut fresh, Accumulate::Overwrite);
            run(&layer, &x[1], &mut used, Accumulate::Overwrite);
            assert_ne!(used, fresh, "{cell:?}");
            run(&layer, &x[0], &mut used, Accumulate::Overwrite);
            assert_eq!(used, fresh, "{cell:?} by {backend:?}, peepholes: {peepholes}");
        }
    }
}

/// Gradients of two calls add up.
#[test]
fn gradients_add_up() {
    for cell in CELLS {
        let chosen = Chosen::<f64>::random(cell, [2, 5], Bias::Both, Choice::default(), 1);
        let layer = Layer::new(chosen.weights(), Options { keep_weights: true, ..Options::default() }).unwrap();
        let x: [Vec<f64>; 2] = [Random(1).values(6, 1.0), Random(2).values(6, 1.0)];
        let [mut a, mut b, mut both] = std::array::from_fn(|_| Grads::new());
        run(&layer, &x[0], &mut a, Accumulate::Overwrite);
        run(&layer, &x[1], &mut b, Accumulate::Overwrite);
        run(&layer, &x[0], &mut both, Accumulate::Add);
        run(&layer, &x[1], &mut both, Accumulate::Add);
        for (a, (b, both)) in [
            (&a.dw, (&b.dw, &both.dw)),
            (&a.dr, (&b.dr, &both.dr)),
            (&a.db_w, (&b.db_w, &both.db_w)),
            (&a.db_r, (&b.db_r, &both.db_r)),
        ] {
            let worst = a.iter().zip(b).zip(both).map(|((a, b), both)| (a + b - both).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-14 && !both.is_empty(), "{cell:?}: {worst}");
        }
        assert_eq!(both.dx, b.dx, "{cell:?}");
    }
}

#[test]
fn a_tape_from_before_other_weights_is_refused() {
    let weights = || gatefold::Weights::new(Cell::Lstm, 1, 1, vec![0.5f64; 4], vec![0.1; 4], None, None).unwrap();
    let mut layer = Layer::new(weights(), Options { keep_weights: true, ..Options::default() }).unwrap();
    let (mut tape, mut grads) = (Tape::new(), Grads::new());
    let x = time_major(&[1.0, -1.0], [2, 1, 1]).unwrap();
    let record = |layer: &Layer<f64>, tape: &mut Tape<f64>| {
        let mut state = layer.state(1).unwrap();
        layer.record(x, &mut state, Output::StateOnly, tape, &mut Workspace::new()).unwrap();
    };
    record(&layer, &mut tape);
    layer.set_weights(weights()).unwrap();
    let upstream = Upstream { dy: None, dh: Some(&[1.0]), dc: None };
    let refused = layer.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap_err();
    assert!(refused.to_string().contains("the weights were replaced"), "{refused}");
    record(&layer, &mut tape);
    layer.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap();
}
