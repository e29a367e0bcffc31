//! Stacks whose layers run side by side give the bits of stacks that run layer after layer.
#![cfg(feature = "rayon")]

mod counting;

use counting::allocations_of_all;
use gatefold::cell::{Cell, Reset};
use gatefold::seq::MatMut;
use gatefold::seq::{batch_major, batch_major_mut, time_major, time_major_mut};
use gatefold::{Layer, Level, Merge, Options, Output, Stack, StackState, Threads, Weights};
use rayon::ThreadPoolBuilder;

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 4000.0).collect()
}

fn layer(cell: Cell, input: usize, hidden: usize, threads: Threads) -> Layer<f32> {
    let rows = cell.gates() * hidden;
    let (w, r, b) = (values(rows * input), values(rows * hidden), values(rows));
    let weights = Weights::new(cell, input, hidden, w, r, Some(b.clone()), Some(b)).unwrap();
    Layer::new(weights, Options { threads, ..Options::default() }).unwrap()
}

const I: usize = 40;
const C: usize = 96;

fn stack(threads: Threads) -> Stack<f32> {
    let cells = [(Cell::Gru { reset: Reset::After }, 96), (Cell::Lstm, 88), (Cell::Gru { reset: Reset::Before }, C)];
    let mut input = I;
    let mut levels = Vec::new();
    for (cell, hidden) in cells {
        levels.push(layer(cell, input, hidden, threads).into());
        input = hidden;
    }
    Stack::new(levels).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn same(a: &StackState<f32>, b: &StackState<f32>) {
    assert_eq!(bits(&a.h_to_vec()), bits(&b.h_to_vec()));
}

/// The places where outputs may go, all three.
fn outputs(y: &mut [f32], which: usize, [time, batch]: [usize; 2]) -> Output<'_, f32> {
    match which {
        0 => Output::Sequence(batch_major_mut(y, [batch, time, C]).unwrap()),
        1 => Output::Last(MatMut::dense(y, batch, C).unwrap()),
        _ => Output::StateOnly,
    }
}

fn waves_change_no_bit() {
    let (alone, shared) = (stack(Threads::One), stack(Threads::Pool));
    for threads in [2, 3] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        // A block has 4 million floating-point operations of a layer, and there are 4 for each layer: enough are 500 steps.
        for sizes @ [time, batch] in [[601, 1], [500, 3], [2, 1]] {
            let x = values(time * batch * I);
            let x = batch_major(&x, [batch, time, I]).unwrap();
            let expected = [alone.forward(x, None).unwrap(), alone.forward_last(x, None).unwrap()];
            pool.install(|| {
                let mut workspace = shared.workspace(601, 3).unwrap();
                for which in 0..3 {
                    let mut state = shared.state(batch).unwrap();
                    let mut y = vec![f32::NAN; time * batch * C];
                    let view = outputs(&mut y, which, sizes);
                    shared.forward_into(x, &mut state, view, &mut workspace).unwrap();
                    same(&state, &expected[0].state);
                    if let Some(expected) = expected.get(which) {
                        assert_eq!(bits(&y[..expected.y.len()]), bits(&expected.y), "{sizes:?} on {threads}");
                    }
                }
            });
        }
    }
}

fn waves_allocate_nothing() {
    let shared = stack(Threads::Pool);
    let x = values(601 * I);
    let x = time_major(&x, [601, 1, I]).unwrap();
    ThreadPoolBuilder::new().num_threads(2).build().unwrap().install(|| {
        let (mut state, mut workspace) = (shared.state(1).unwrap(), shared.workspace(900, 2).unwrap());
        shared.forward_into(x, &mut state, Output::StateOnly, &mut workspace).unwrap();
        let count = allocations_of_all(|| {
            shared.forward_into(x, &mut state, Output::StateOnly, &mut workspace).unwrap();
        });
        assert_eq!(count, 0);
    });
}

fn what_goes_backwards_is_not_in_waves() {
    let gru = |threads| layer(Cell::Gru { reset: Reset::After }, 64, 64, threads);
    let stack = |threads| {
        let both = Level::bidirectional(gru(threads), gru(threads), Merge::Sum).unwrap();
        Stack::new(vec![gru(threads).into(), both, gru(threads).into()]).unwrap()
    };
    let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let x = values(600 * 64);
    let x = time_major(&x, [600, 1, 64]).unwrap();
    let expected = stack(Threads::One).forward(x, None).unwrap();
    let mut y = vec![f32::NAN; 600 * 64];
    pool.install(|| {
        let stack = stack(Threads::Pool);
        let y = Output::Sequence(time_major_mut(&mut y, [600, 1, 64]).unwrap());
        let (mut state, mut workspace) = (stack.state(1).unwrap(), stack.workspace(600, 1).unwrap());
        stack.forward_into(x, &mut state, y, &mut workspace).unwrap();
        same(&state, &expected.state);
    });
    assert_eq!(bits(&y), bits(&expected.y));
}

/// One test, since what is allocated is counted of all threads.
#[test]
fn waves() {
    waves_change_no_bit();
    waves_allocate_nothing();
    what_goes_backwards_is_not_in_waves();
}
