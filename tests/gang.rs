//! Steps whose units are shared by a gang: the same bits for any number of threads, for every cell, size and direction.

#![cfg(feature = "rayon")]

mod common;
mod reference;

use common::model::{CELLS, large};
use gatefold::cell::{Cell, Reset};
use gatefold::seq::{SeqRef, batch_major, time_major};
use gatefold::{Element, Input, Isa, Layer, Options, Order, Threads, Weights};

/// Values between -1 and 1, each time the same.
fn values<T: Element>(seed: u64, len: usize, scale: f64) -> Vec<T> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::from_f64(((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0) * scale)
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn weights<T: Element>(cell: Cell, input: usize, hidden: usize) -> Weights<T> {
    let rows = cell.gates() * hidden;
    let scale = 1.0 / (hidden as f64).sqrt();
    let [w, r, b] = [rows * input, rows * hidden, rows].map(|len| values(len as u64, len, scale));
    Weights::new(cell, input, hidden, w, r, Some(b.clone()), Some(b)).unwrap()
}

/// An LSTM of so many units and half as many after its projection.
fn projected<T: Element>(input: usize, hidden: usize) -> Weights<T> {
    let units = hidden / 2;
    let scale = 1.0 / (hidden as f64).sqrt();
    let [w, r, p] = [4 * hidden * input, 4 * hidden * units, units * hidden].map(|len| values(len as u64, len, scale));
    Weights::projected(input, hidden, w, r, [None, None], p).unwrap()
}

fn run<T: Element>(weights: &Weights<T>, isa: Isa, threads: Threads, input: Input<'_, T>) -> [Vec<u64>; 2] {
    let layer = Layer::new(weights.clone(), Options { isa: Some(isa), threads, ..Options::default() }).unwrap();
    let bits = |values: Vec<T>| values.into_iter().map(|v| v.to_f64().to_bits()).collect();
    let forward = layer.forward(input, None).unwrap();
    let state = forward.state.h_to_vec().into_iter().chain(forward.state.c_to_vec().unwrap_or_default()).collect();
    [bits(forward.y), bits(state)]
}

fn check<T: Element>(weights: &Weights<T>, x: SeqRef<'_, T>) {
    let (time, batch) = (x.shape().time, x.shape().batch);
    let walks = [Input::from(x), Input::from(x).reverse(Order::Input), Input::from(x).reverse(Order::Processing)];
    for input in walks {
        for &isa in Isa::available().iter().filter(|isa| isa.name() != "portable") {
            let alone = run(weights, isa, Threads::One, input);
            assert!(alone[0].iter().all(|&bits| !f64::from_bits(bits).is_nan()));
            for threads in 1..=4 {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let shared = pool.install(|| run(weights, isa, Threads::Pool, input));
                let what = format!("{:?} {} {time} x {batch} on {threads} threads", weights.dims(), isa.name());
                assert!(alone == shared, "{what}");
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for cell in CELLS {
        for (hidden, batch) in [(257, 1), (330, 3)] {
            let x = values::<f32>(7, 40 * batch * 19, 1.0);
            check(&weights(cell, 19, hidden), time_major(&x, [40, batch, 19]).unwrap());
            check(&weights(cell, 19, hidden), batch_major(&x, [batch, 40, 19]).unwrap());
        }
        let x = values::<f64>(7, 21 * 2 * 5, 1.0);
        check(&weights(cell, 5, 290), time_major(&x, [21, 2, 5]).unwrap());
    }
    // Of three stages.
    let x = values::<f32>(7, 12 * 3 * 19, 1.0);
    check(&weights(Cell::Gru { reset: Reset::Before }, 19, large::<f32>()), time_major(&x, [12, 3, 19]).unwrap());
    let x = values::<f32>(7, 40 * 2 * 19, 1.0);
    check(&projected(19, 300), time_major(&x, [40, 2, 19]).unwrap());
}

#[test]
fn the_plan_calls_a_gang_for_large_steps_of_few_rows_alone() {
    let layer = |hidden| {
        let weights = weights::<f32>(Cell::Gru { reset: Reset::After }, 19, hidden);
        Layer::new(weights, Options::default()).unwrap()
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        assert_eq!(layer(330).plan(40, 1).gang, 2);
        assert_eq!(layer(330).plan(1, 1).gang, 2);
        assert_eq!(layer(200).plan(1, 1).gang, 2);
        assert_eq!(layer(100).plan(1, 1).gang, 1);
        assert_eq!(layer(64).plan(40, 1).gang, 1);
        assert_eq!((layer(330).plan(40, 64).parts, layer(330).plan(40, 64).gang), (2, 1));
    });
}
