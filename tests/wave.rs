//! Stacks whose layers run side by side give the bits of stacks that run layer after layer.
#![cfg(feature = "rayon")]

mod counting;

use counting::allocations_of_all;
use gatefold::cell::{Activation, Cell, Reset};
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
const C: usize = 56;

fn stack(threads: Threads) -> Stack<f32> {
    let rnn = Cell::SimpleRnn { activation: Activation::Tanh };
    let cells =
        [(Cell::Gru { reset: Reset::After }, 64), (Cell::Lstm, 48), (Cell::Gru { reset: Reset::Before }, 72), (rnn, C)];
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

#[test]
fn waves_change_no_bit_and_allocate_nothing() {
    let (alone, shared) = (stack(Threads::One), stack(Threads::Pool));
    for threads in [2, 3, 5] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for sizes @ [time, batch] in [[2600, 1], [2601, 3], [1111, 7], [2, 1]] {
            let x = values(time * batch * I);
            let x = batch_major(&x, [batch, time, I]).unwrap();
            let expected = [alone.forward(x, None).unwrap(), alone.forward_last(x, None).unwrap()];
            pool.install(|| {
                let mut workspace = shared.workspace(2601, 7).unwrap();
                for which in 0..3 {
                    let mut state = shared.state(batch).unwrap();
                    let mut y = vec![f32::NAN; time * batch * C];
                    let count = allocations_of_all(|| {
                        state.reset();
                        let y = outputs(&mut y, which, sizes);
                        shared.forward_into(x, &mut state, y, &mut workspace).unwrap();
                    });
                    assert_eq!(count, 0, "{sizes:?} on {threads}");
                    same(&state, &expected[0].state);
                    if let Some(expected) = expected.get(which) {
                        assert_eq!(bits(&y[..expected.y.len()]), bits(&expected.y), "{sizes:?} on {threads}");
                    }
                }
            });
        }
    }
}

#[test]
fn what_goes_backwards_is_not_in_waves() {
    let gru = |threads| layer(Cell::Gru { reset: Reset::After }, 64, 64, threads);
    let stack = |threads| {
        let both = Level::bidirectional(gru(threads), gru(threads), Merge::Sum).unwrap();
        Stack::new(vec![gru(threads).into(), both, gru(threads).into()]).unwrap()
    };
    let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let x = values(1500 * 64);
    let x = time_major(&x, [1500, 1, 64]).unwrap();
    let expected = stack(Threads::One).forward(x, None).unwrap();
    let mut y = vec![f32::NAN; 1500 * 64];
    pool.install(|| {
        let stack = stack(Threads::Pool);
        let y = Output::Sequence(time_major_mut(&mut y, [1500, 1, 64]).unwrap());
        let (mut state, mut workspace) = (stack.state(1).unwrap(), stack.workspace(1500, 1).unwrap());
        stack.forward_into(x, &mut state, y, &mut workspace).unwrap();
        same(&state, &expected.state);
    });
    assert_eq!(bits(&y), bits(&expected.y));
}
