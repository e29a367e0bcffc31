//! Promise 2: nothing is allocated in the hot path. One test alone in its process.

mod common;
mod counting;
mod reference;

use common::model::{CELLS, large};
use counting::allocations;
#[cfg(feature = "rayon")]
use counting::allocations_of_all;
use gatefold::cell::Cell;
use gatefold::seq::{MatMut, time_major, time_major_mut};
use gatefold::{Backend, Element, Isa, Layer, Options, Output, State, Threads, Weights, Workspace};

fn weights<T: Element>(cell: Cell, input: usize, hidden: usize) -> Weights<T> {
    let rows = cell.gates() * hidden;
    let values = |len: usize| vec![T::from_f64(0.01); len];
    Weights::new(cell, input, hidden, values(rows * input), values(rows * hidden), None, None).unwrap()
}

fn layer<T: Element>(cell: Cell, input: usize, hidden: usize, isa: Isa, threads: Threads) -> Layer<T> {
    let options = Options { backend: Backend::Native, isa: Some(isa), threads, ..Options::default() };
    Layer::new(weights(cell, input, hidden), options).unwrap()
}

/// T and N.
const SIZES: [(usize, usize); 6] = [(1, 1), (1, 5), (13, 1), (6, 4), (0, 3), (3, 0)];

/// How many calls [`calls`] makes.
#[cfg(feature = "matrixmultiply")]
const CALLS: usize = 3;

/// What the calls allocate that follow on [`Layer::workspace`].
fn allocations_of_calls<T: Element>(layer: &Layer<T>, time: usize, batch: usize) -> usize {
    let (mut state, mut workspace) = (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
    let mut memory = vec![T::ZERO; time.max(1) * batch * (layer.dims().input + layer.dims().hidden)];
    allocations(|| calls(layer, time, &mut state, &mut workspace, &mut memory))
}

/// One call with each sort of output.
fn calls<T: Element>(layer: &Layer<T>, time: usize, state: &mut State<T>, workspace: &mut Workspace<T>, y: &mut [T]) {
    let (input, hidden, batch) = (layer.dims().input, layer.dims().hidden, state.batch());
    let (x, y) = y.split_at_mut(time * batch * input);
    let x = time_major(x, [time, batch, input]).unwrap();
    let all = Output::Sequence(time_major_mut(&mut y[..time * batch * hidden], [time, batch, hidden]).unwrap());
    layer.forward_into(x, state, all, workspace).unwrap();
    let last = Output::Last(MatMut::dense(&mut y[..batch * hidden], batch, hidden).unwrap());
    layer.forward_into(x, state, last, workspace).unwrap();
    layer.forward_into(x, state, Output::StateOnly, workspace).unwrap();
}

fn on_one_thread<T: Element>(cell: Cell, hidden: usize) {
    for &isa in Isa::available() {
        let layer = layer::<T>(cell, 9, hidden, isa, Threads::One);
        for (time, batch) in SIZES {
            let count = allocations_of_calls(&layer, time, batch);
            assert_eq!(count, 0, "{cell:?} {} on {} over [{time}, {batch}]", T::NAME, isa.name());
        }
    }
}

/// The crate matrixmultiply allocates memory to pack into, once in each product; the library nothing beside that.
#[cfg(feature = "matrixmultiply")]
fn by_matrixmultiply<T: Element>(cell: Cell) {
    let options = Options { backend: Backend::MatrixMultiply, threads: Threads::One, ..Options::default() };
    let layer = Layer::new(weights::<T>(cell, 9, 21), options).unwrap();
    let stages = if cell == CELLS[4] { 2 } else { 1 };
    for (time, batch) in SIZES {
        // For each stage the input product of all steps, and one recurrent product a step.
        let products = if time * batch > 0 { stages * (1 + time) } else { 0 };
        let count = allocations_of_calls(&layer, time, batch);
        assert_eq!(count, CALLS * products, "{cell:?} {} over [{time}, {batch}]", T::NAME);
    }
}

#[cfg(feature = "rayon")]
fn in_a_pool(cell: Cell) {
    let (time, batch, input, hidden) = (24, 32, 32, 48);
    let layer = layer::<f32>(cell, input, hidden, Isa::available()[0], Threads::Pool);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let mut memory = vec![0.0; time * batch * (input + hidden)];
    pool.install(|| {
        assert_eq!(layer.plan(time, batch).parts, 2, "the batch is large enough to be shared");
        let (mut state, mut workspace) = (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
        calls(&layer, time, &mut state, &mut workspace, &mut memory);
        let count = allocations_of_all(|| calls(&layer, time, &mut state, &mut workspace, &mut memory));
        assert_eq!(count, 0, "{cell:?} inside a pool");
    });
}

/// From outside a pool, rayon's queue of jobs grows by a block now and then.
#[cfg(feature = "rayon")]
fn from_outside_a_pool() {
    let (time, batch, input, hidden) = (24, 32, 32, 48);
    rayon::ThreadPoolBuilder::new().num_threads(2).build_global().unwrap();
    let layer = layer::<f32>(CELLS[3], input, hidden, Isa::available()[0], Threads::Pool);
    let mut memory = vec![0.0; time * batch * (input + hidden)];
    let (mut state, mut workspace) = (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
    (0..5).for_each(|_| calls(&layer, time, &mut state, &mut workspace, &mut memory));
    let count =
        allocations_of_all(|| (0..100).for_each(|_| calls(&layer, time, &mut state, &mut workspace, &mut memory)));
    assert!(count <= 10, "300 calls from outside the pool allocated {count} times");
}

#[test]
fn nothing_is_allocated() {
    assert!(allocations(|| drop(std::hint::black_box(vec![0u8; 100]))) > 0, "the allocator counts");
    for cell in CELLS {
        on_one_thread::<f32>(cell, 21);
        on_one_thread::<f64>(cell, 21);
        #[cfg(feature = "matrixmultiply")]
        {
            by_matrixmultiply::<f32>(cell);
            by_matrixmultiply::<f64>(cell);
        }
        #[cfg(feature = "rayon")]
        in_a_pool(cell);
    }
    // Of three stages.
    on_one_thread::<f32>(CELLS[4], large::<f32>());
    #[cfg(feature = "rayon")]
    from_outside_a_pool();
}
