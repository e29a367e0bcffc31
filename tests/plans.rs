//! Every plan gives the same bits, and allocates nothing once its workspace was made.
#![cfg(feature = "rayon")]

mod counting;

use counting::allocations_of_all;
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::{time_major, time_major_mut};
use gatefold::{Isa, Layer, Options, Output, Plan, Threads, Weights};
use rayon::ThreadPoolBuilder;

const CELLS: [Cell; 4] = [
    Cell::SimpleRnn { activation: Activation::Tanh },
    Cell::Lstm,
    Cell::Gru { reset: Reset::After },
    Cell::Gru { reset: Reset::Before },
];

/// Units of several blocks, and a tail.
const HIDDEN: usize = 37;
const INPUT: usize = 5;

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 3000.0).collect()
}

fn layer(cell: Cell, isa: Isa, threads: Threads, plan: Option<Plan>) -> Layer<f32> {
    let rows = cell.gates() * HIDDEN;
    let (w, r, b) = (values(rows * INPUT), values(rows * HIDDEN), values(rows));
    let weights = Weights::new(cell, INPUT, HIDDEN, w, r, Some(b.clone()), Some(b)).unwrap();
    Layer::new(weights, Options { isa: Some(isa), threads, plan, ..Options::default() }).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Two calls in a row, the second of a workspace that is large enough, as `plan` says.
fn check(cell: Cell, isa: Isa, [time, batch]: [usize; 2], plan: Plan, expected: &[f32]) {
    let layer = layer(cell, isa, Threads::Pool, Some(plan));
    let within = layer.plan(time, batch);
    let sizes = [(within.parts, plan.parts), (within.block, plan.block), (within.gang, plan.gang)];
    assert!(sizes.into_iter().all(|(within, plan)| (1..=plan.max(1)).contains(&within)), "{within:?}");
    let x = values(time * batch * INPUT);
    let x = time_major(&x, [time, batch, INPUT]).unwrap();
    let (mut state, mut workspace) = (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
    let mut y = vec![f32::NAN; time * batch * HIDDEN];
    let count = allocations_of_all(|| {
        state.reset();
        let y = Output::Sequence(time_major_mut(&mut y, [time, batch, HIDDEN]).unwrap());
        layer.forward_into(x, &mut state, y, &mut workspace).unwrap();
    });
    assert_eq!(count, 0, "{cell:?} {time} {batch} {plan:?}");
    assert_eq!(bits(&y), bits(expected), "{} {cell:?} {time} {batch} {plan:?}", isa.name());
}

/// Plans that no size would be given, among them.
fn plans() -> impl Iterator<Item = Plan> {
    let shares = [(0, 0), (1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (2, 2), (usize::MAX, usize::MAX)];
    shares.into_iter().flat_map(|(parts, gang)| [0, 1, 4, usize::MAX].map(|block| Plan { parts, block, gang }))
}

#[test]
fn plans_change_no_bit_and_allocate_nothing() {
    let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for &isa in Isa::available() {
        for cell in CELLS {
            for sizes @ [time, batch] in [[9, 5], [3, 1], [1, 2], [2, 150]] {
                let x = values(time * batch * INPUT);
                let x = time_major(&x, [time, batch, INPUT]).unwrap();
                let expected = layer(cell, isa, Threads::One, None).forward(x, None).unwrap().y;
                pool.install(|| plans().for_each(|plan| check(cell, isa, sizes, plan, &expected)));
            }
        }
    }
    one_thread_stays_one();
}

/// What a plan says of threads does not count where there is to be one.
fn one_thread_stays_one() {
    let plan = Plan { parts: 4, block: 2, gang: 3 };
    let layer = layer(Cell::Lstm, Isa::available()[0], Threads::One, Some(plan));
    assert_eq!(layer.plan(10, 8), Plan { parts: 1, block: 2, gang: 1 });
}
