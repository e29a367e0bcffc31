//! Masks of stacks: how much is dropped and kept, what shares a mask, and that they are those of the stack they are for.

mod common;

use common::bits;
use gatefold::cell::{Cell, Reset};
use gatefold::seq::{SeqRef, time_major};
use gatefold::{
    Accumulate, Error, Input, Layer, Level, Merge, Options, Output, Stack, StackGrads, StackTape, StackWorkspace,
    Upstream,
};
use gatefold_training::{Dropout, Random, Share, StackDropout, StackMasks, StackRates, initial};

const SIZES: [usize; 2] = [5, 40];
const ALL: StackRates = StackRates { between: 0.5, recurrent: 0.25, zoneout: 0.1, zoneout_cell: 0.05 };

/// An LSTM in both directions, a GRU, and an LSTM.
fn stack(seed: u64) -> Stack<f32> {
    let mut random = Random::new(seed);
    let mut layer = |cell, input, hidden| {
        let weights = initial::pytorch(cell, input, hidden, &mut random).unwrap();
        Layer::new(weights, Options { keep_weights: true, ..Options::default() }).unwrap()
    };
    let gru = Cell::Gru { reset: Reset::After };
    let both = Level::bidirectional(layer(Cell::Lstm, 2, 10), layer(gru, 2, 10), Merge::Concat).unwrap();
    Stack::new(vec![both, layer(gru, 20, 12).into(), layer(Cell::Lstm, 12, 8).into()]).unwrap()
}

fn values(mask: SeqRef<'_, f32>) -> Vec<f32> {
    let [time, batch] = [mask.shape().time, mask.shape().batch];
    (0..time).flat_map(|t| (0..batch).flat_map(move |n| mask.row(t, n).unwrap().to_vec())).collect()
}

/// Every value of every mask, of dropout, zoneout of h and of c, and between levels.
fn all(masks: &StackMasks<'_, f32>) -> [Vec<f32>; 4] {
    let noise = masks.noise();
    let dropout = noise.layers.iter().filter_map(|noise| noise.recurrent_dropout);
    let dropout = dropout.flat_map(|mask| (0..mask.rows()).flat_map(move |n| mask.row(n).unwrap().to_vec()));
    let of_h = noise.layers.iter().filter_map(|noise| noise.zoneout).flat_map(values);
    let of_c = noise.layers.iter().filter_map(|noise| noise.zoneout_cell).flat_map(values);
    let between = noise.between.iter().flatten().flat_map(|mask| values(*mask));
    [dropout.collect(), of_h.collect(), of_c.collect(), between.collect()]
}

#[test]
fn as_much_as_the_rates_say() {
    let (stack, [time, batch]) = (stack(1), SIZES);
    for share in [Share::Nothing, Share::Timesteps] {
        let mut dropout = StackDropout::new(ALL, share, 3).unwrap();
        let [recurrent, of_h, of_c, between] = all(&dropout.draw(&stack, SIZES).unwrap());
        let drawn = if share == Share::Nothing { time } else { 1 };
        for (found, rate, [first, second], len, drawn) in [
            (recurrent, 0.25, [0.0, 1.0 / 0.75], batch * 40, batch * 40),
            (of_h, 0.1, [1.0, 0.0], time * batch * 40, time * batch * 40),
            (of_c, 0.05, [1.0, 0.0], time * batch * 18, time * batch * 18),
            (between, 0.5, [0.0, 2.0], time * batch * 32, drawn * batch * 32),
        ] {
            assert_eq!(found.len(), len);
            assert!(found.iter().all(|&value| value == first || value == second), "{rate}");
            let part = found.iter().filter(|&&value| value == first).count() as f64 / len as f64;
            // Five standard deviations.
            assert!((part - rate).abs() <= 5.0 * (rate * (1.0 - rate) / drawn as f64).sqrt(), "{rate}: {part}");
        }
    }
}

#[test]
fn timesteps_share_a_mask_or_do_not() {
    let stack = stack(1);
    for (share, shared) in [(Share::Nothing, false), (Share::Timesteps, true)] {
        let mut dropout = StackDropout::new(ALL, share, 3).unwrap();
        let masks = dropout.draw(&stack, SIZES).unwrap();
        for mask in masks.noise().between {
            let [first, second] = [0, 1].map(|t| values(mask.unwrap().steps(t, 1).unwrap()));
            assert_eq!(first == second, shared, "{share:?}");
        }
    }
}

#[test]
fn a_seed_decides_and_each_call_draws_anew() {
    let stack = stack(1);
    let mut dropout = StackDropout::new(ALL, Share::Nothing, 3).unwrap();
    let first = all(&dropout.draw(&stack, SIZES).unwrap());
    let second = all(&dropout.draw(&stack, SIZES).unwrap());
    let again = all(&StackDropout::new(ALL, Share::Nothing, 3).unwrap().draw(&stack, SIZES).unwrap());
    let other = all(&StackDropout::new(ALL, Share::Nothing, 4).unwrap().draw(&stack, SIZES).unwrap());
    for k in 0..4 {
        assert_eq!(bits(&first[k]), bits(&again[k]));
        assert_ne!(bits(&first[k]), bits(&second[k]));
        assert_ne!(bits(&first[k]), bits(&other[k]));
    }
}

/// Dropout between two layers has the bits of the same draws by [`Dropout`].
#[test]
fn a_stack_trains_as_its_layers_with_dropout_between() {
    let layer = |input, hidden, seed| {
        let weights = initial::pytorch::<f32>(Cell::Lstm, input, hidden, &mut Random::new(seed)).unwrap();
        Layer::new(weights, Options { keep_weights: true, ..Options::default() }).unwrap()
    };
    let parts = [Stack::from(Level::from(layer(2, 10, 1))), Stack::from(Level::from(layer(10, 6, 2)))];
    let stack = Stack::new(vec![layer(2, 10, 1).into(), layer(10, 6, 2).into()]).unwrap();
    let [time, batch] = SIZES;
    let x = common::values(&mut Random::new(8), time * batch * 2);
    let x = Input::from(time_major(&x, [time, batch, 2]).unwrap());
    let dy = common::values(&mut Random::new(9), time * batch * 6);
    let upstream = Upstream::from(time_major(&dy, [time, batch, 6]).unwrap());
    for share in [Share::Nothing, Share::Timesteps] {
        let rates = StackRates { between: 0.3, ..StackRates::default() };
        let (mut whole, mut between) =
            (StackDropout::new(rates, share, 5).unwrap(), Dropout::new(0.3, share, 5).unwrap());
        let (mut tape, mut workspace, mut grads) = (StackTape::new(), StackWorkspace::new(), StackGrads::new());
        let masks = whole.draw(&stack, SIZES).unwrap();
        let mut state = stack.state(batch).unwrap();
        stack.record(x.stack_noise(masks.noise()), &mut state, Output::StateOnly, &mut tape, &mut workspace).unwrap();
        stack.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap();

        let (mut tapes, mut own) = ([StackTape::new(), StackTape::new()], [StackGrads::new(), StackGrads::new()]);
        let mut y = parts[0].forward(x, None).unwrap().y;
        between.forward(&mut y, [time, batch, 10]).unwrap();
        let y = Input::from(time_major(&y, [time, batch, 10]).unwrap());
        for ((part, x), tape) in parts.iter().zip([x, y]).zip(&mut tapes) {
            part.record(x, &mut part.state(batch).unwrap(), Output::StateOnly, tape, &mut workspace).unwrap();
        }
        parts[1].backward(&mut tapes[1], upstream, &mut own[1], Accumulate::Overwrite).unwrap();
        let mut dx = own[1].dx.clone();
        between.backward(&mut dx).unwrap();
        let below = Upstream::from(time_major(&dx, [time, batch, 10]).unwrap());
        parts[0].backward(&mut tapes[0], below, &mut own[0], Accumulate::Overwrite).unwrap();
        let [below, above] = own;
        assert_eq!(grads.layers, [below.layers, above.layers].concat());
        assert_eq!(bits(&grads.dx), bits(&below.dx));
    }
}

#[test]
fn the_expectation_is_what_stays_on_average() {
    let (stack, mut dropout) = (stack(1), StackDropout::new(ALL, Share::Nothing, 3).unwrap());
    let [recurrent, of_h, of_c, between] = all(&dropout.expectation(&stack, SIZES).unwrap());
    assert!(recurrent.is_empty() && between.is_empty());
    assert!(of_h.len() == 200 * 40 && of_h.iter().all(|&m| m == 0.1));
    assert!(of_c.len() == 200 * 18 && of_c.iter().all(|&m| m == 0.05));
    let x = common::values(&mut Random::new(8), 400);
    let x = Input::from(time_major(&x, [5, 40, 2]).unwrap());
    let found = stack.forward(x.stack_noise(dropout.expectation(&stack, SIZES).unwrap().noise()), None).unwrap();
    assert!(found.y != stack.forward(x, None).unwrap().y && found.y.iter().all(|y| y.is_finite()));

    // Drawn masks are what they were to be after it, and the other way round.
    let drawn = all(&dropout.draw(&stack, SIZES).unwrap());
    let same = all(&StackDropout::new(ALL, Share::Nothing, 3).unwrap().draw(&stack, SIZES).unwrap());
    assert_eq!(drawn, same);
    assert_eq!(all(&dropout.expectation(&stack, SIZES).unwrap())[1], of_h);
}

#[test]
fn rates_of_zero_are_no_masks() {
    let (stack, rates) = (stack(1), StackRates::default());
    let mut dropout = StackDropout::new(rates, Share::Nothing, 3).unwrap();
    let none = |masks: StackMasks<'_, f32>| all(&masks).concat().is_empty();
    assert!(none(dropout.draw(&stack, SIZES).unwrap()));
    assert!(none(dropout.expectation(&stack, SIZES).unwrap()));
}

#[test]
fn what_does_not_fit_is_refused() {
    let none = StackRates::default();
    for (argument, rates) in [
        ("between", StackRates { between: 1.5, ..none }),
        ("recurrent", StackRates { recurrent: -0.1, ..none }),
        ("zoneout", StackRates { zoneout: f64::NAN, ..none }),
        ("zoneout_cell", StackRates { zoneout_cell: 2.0, ..none }),
    ] {
        let refused = StackDropout::<f32>::new(rates, Share::Nothing, 0).unwrap_err();
        assert!(matches!(refused, Error::Number { argument: found, .. } if found == argument), "{refused}");
    }
    let (stack, mut dropout) = (stack(1), StackDropout::new(ALL, Share::Nothing, 0).unwrap());
    for sizes in [[usize::MAX, 2], [2, usize::MAX]] {
        assert_eq!(dropout.draw(&stack, sizes).unwrap_err(), Error::TooLarge { argument: "sizes" });
    }
    for sizes in [[0, 3], [3, 0]] {
        let (masks, x) = (dropout.draw(&stack, sizes).unwrap(), []);
        let x = Input::from(time_major(&x, [sizes[0], sizes[1], 2]).unwrap());
        stack.forward(x.stack_noise(masks.noise()), None).unwrap();
    }
}
