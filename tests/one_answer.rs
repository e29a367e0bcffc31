//! Promise 1: a row's outputs have the same bits on every instruction set and number of threads, in every batch, and
//! however its time is cut into calls.

mod common;
mod reference;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use common::flags::flush_subnormals;
use common::model::{Bias, CELLS, Model, large};
use common::numbers::{Canaries, Random, assert_same as assert_same_bits, proptest};
use common::strides::{LAYOUTS, Layout};
use common::{Value, on_one_thread};
use gatefold::cell::Cell;
use gatefold::seq::{MatMut, SeqMut, SeqRef, SeqShape, batch_major, time_major, time_major_mut};
use gatefold::{Backend, Element, Isa, Layer, Options, Output, Threads, Weights, Workspace};
use proptest::prelude::*;
use proptest::sample::select;

fn values<T: Element>(seed: u64, len: usize, scale: f64) -> Vec<T> {
    Random(seed).values(len, scale)
}

fn layer<T: Element>(cell: Cell, [input, hidden]: [usize; 2], isa: Isa, threads: Threads) -> Layer<T> {
    let rows = cell.gates() * hidden;
    let scale = 1.5 / (hidden as f64).sqrt();
    let (w, r) = (values(1, rows * input, 1.0), values(2, rows * hidden, scale));
    let weights = Weights::new(cell, input, hidden, w, r, Some(values(3, rows, 0.5)), Some(values(4, rows, 0.5)));
    Layer::new(weights.unwrap(), Options { isa: Some(isa), threads, ..Options::default() }).unwrap()
}

fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.to_f64().to_bits()).collect()
}

/// y `[T, N, H]`, h and c after it, from given states, in one call.
fn whole<T: Element>(layer: &Layer<T>, x: SeqRef<'_, T>, seed: u64) -> [Vec<T>; 3] {
    chunked(layer, x, seed, &[x.shape().time])
}

/// The same in calls of so many steps.
fn chunked<T: Element>(layer: &Layer<T>, x: SeqRef<'_, T>, seed: u64, chunks: &[usize]) -> [Vec<T>; 3] {
    let (SeqShape { time, batch, .. }, hidden) = (x.shape(), layer.dims().hidden);
    assert_eq!(chunks.iter().sum::<usize>(), time);
    let mut state = layer.state(batch).unwrap();
    state.set_h(&values(seed, batch * hidden, 1.0)).unwrap();
    if layer.dims().cell.has_cell_state() {
        state.set_c(&values(seed + 1, batch * hidden, 1.0)).unwrap();
    }
    let mut y = vec![T::NAN; time * batch * hidden];
    let mut workspace = layer.workspace(time, batch).unwrap();
    let mut from = 0;
    for &steps in chunks {
        let part = &mut y[from * batch * hidden..(from + steps) * batch * hidden];
        let output = Output::Sequence(time_major_mut(part, [steps, batch, hidden]).unwrap());
        layer.forward_into(x.steps(from, steps).unwrap(), &mut state, output, &mut workspace).unwrap();
        from += steps;
    }
    [y, state.h_to_vec(), state.c_to_vec().unwrap_or_default()]
}

fn assert_same<T: Element>(what: &str, a: &[Vec<T>; 3], b: &[Vec<T>; 3]) {
    for (name, (a, b)) in ["y", "h", "c"].iter().zip(a.iter().zip(b)) {
        assert!(a.iter().all(|v| !v.to_f64().is_nan()), "{what}: {name} has NaN");
        assert_eq!(bits(a), bits(b), "{what}: {name}");
    }
}

/// Runs `check` for every cell and both element types.
macro_rules! for_all {
    ($name:ident, $check:ident) => {
        #[test]
        fn $name() {
            for cell in CELLS {
                $check::<f32>(cell);
                $check::<f64>(cell);
            }
        }
    };
}

fn instruction_sets<T: Element>(cell: Cell) {
    for (sizes, time, batch) in [([3, 5], 7, 4), ([17, 33], 5, 3), ([8, 16], 40, 1), ([4, 9], 3, 13)] {
        let x = values::<T>(9, time * batch * sizes[0], 2.0);
        let x = time_major(&x, [time, batch, sizes[0]]).unwrap();
        let [best, others @ ..] = Isa::available() else { panic!("none") };
        let expected = whole(&layer::<T>(cell, sizes, *best, Threads::One), x, 5);
        for isa in others {
            let found = whole(&layer::<T>(cell, sizes, *isa, Threads::One), x, 5);
            assert_same(&format!("{cell:?} {} on {}", T::NAME, isa.name()), &found, &expected);
        }
    }
    let names: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    println!("isas tested: {}", names.join(" "));
}
for_all!(every_instruction_set, instruction_sets);

#[cfg(feature = "rayon")]
fn pools<T: Element>(cell: Cell) {
    let (sizes, time, batch) = ([40, 61], 19, 43);
    let x = values::<T>(9, time * batch * sizes[0], 1.0);
    let x = time_major(&x, [time, batch, sizes[0]]).unwrap();
    let best = Isa::available()[0];
    let expected = whole(&layer::<T>(cell, sizes, best, Threads::One), x, 5);
    let shared = layer::<T>(cell, sizes, best, Threads::Pool);
    for threads in 1..=5 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            assert_eq!(shared.plan(time, batch).parts, threads, "the batch is large enough to be shared");
            assert_same(&format!("{cell:?} {} on {threads} threads", T::NAME), &whole(&shared, x, 5), &expected);
        });
    }
}
#[cfg(feature = "rayon")]
for_all!(every_number_of_threads, pools);

fn batches<T: Element>(cell: Cell) {
    let (sizes, time, batch) = ([6, 19], 9, 11);
    let layer = layer::<T>(cell, sizes, Isa::available()[0], Threads::One);
    let x = values::<T>(9, time * batch * sizes[0], 1.0);
    let all = batch_major(&x, [batch, time, sizes[0]]).unwrap();
    let zero = |x: SeqRef<'_, T>| layer.forward(x, None).unwrap();
    let row = |y: &[T], n: usize| bits(&y[n * time * sizes[1]..][..time * sizes[1]]);
    let expected = zero(all).y;
    for n in 0..batch {
        // Alone, as the last of the rows up to it, and as the first of those from it on.
        assert_eq!(row(&zero(all.rows(n, 1).unwrap()).y, 0), row(&expected, n), "{cell:?}: row {n} alone");
        assert_eq!(row(&zero(all.rows(0, n + 1).unwrap()).y, n), row(&expected, n), "{cell:?}: row {n} last");
        assert_eq!(row(&zero(all.rows(n, batch - n).unwrap()).y, 0), row(&expected, n), "{cell:?}: row {n} first");
    }
}
for_all!(every_batch, batches);

fn strides<T: Element>(cell: Cell) {
    let ([input, hidden], time, batch) = ([5, 18], 6, 5);
    let layer = layer::<T>(cell, [input, hidden], Isa::available()[0], Threads::One);
    let x = values::<T>(9, time * batch * input, 1.0);
    let mut turned = vec![T::ZERO; x.len()];
    for (i, row) in x.chunks_exact(input).enumerate() {
        let (t, n) = (i / batch, i % batch);
        turned[(n * time + t) * input..][..input].copy_from_slice(row);
    }
    let a = layer.forward(time_major(&x, [time, batch, input]).unwrap(), None).unwrap();
    let x = batch_major(&turned, [batch, time, input]).unwrap();
    let b = layer.forward(x, None).unwrap();
    for (i, row) in a.y.chunks_exact(hidden).enumerate() {
        let (t, n) = (i / batch, i % batch);
        assert_eq!(bits(row), bits(&b.y[(n * time + t) * hidden..][..hidden]));
    }
    // The last output alone, and outputs at a stride between canaries.
    assert_eq!(bits(&layer.forward_last(x, None).unwrap().y), bits(&a.state.h_to_vec()));
    let gap = 3;
    let shape =
        SeqShape { time, batch, channels: hidden, time_stride: hidden + gap, batch_stride: time * (hidden + gap) };
    let canary = T::from_f64(-77.25);
    let mut y = vec![canary; batch * time * (hidden + gap)];
    let output = Output::Sequence(SeqMut::new(&mut y, shape).unwrap());
    let (mut state, mut workspace) = (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
    layer.forward_into(x, &mut state, output, &mut workspace).unwrap();
    for (with_gap, row) in y.chunks_exact(hidden + gap).zip(b.y.chunks_exact(hidden)) {
        assert_eq!(bits(&with_gap[..hidden]), bits(row));
        assert_eq!(with_gap[hidden..], [canary; 3]);
    }
}
for_all!(every_layout, strides);

fn chunks<T: Element>(cell: Cell) {
    in_calls::<T>(cell, [7, 21], 3);
}
for_all!(every_split_of_time, chunks);

/// Of three stages, which few rows visit in another order at every second step.
#[test]
fn every_split_of_time_of_large_grus() {
    for batch in [1, 3, 9] {
        in_calls::<f32>(CELLS[4], [7, large::<f32>()], batch);
        in_calls::<f64>(CELLS[4], [7, large::<f64>()], batch);
    }
}

fn in_calls<T: Element>(cell: Cell, sizes: [usize; 2], batch: usize) {
    let time = 24;
    let layer = layer::<T>(cell, sizes, Isa::available()[0], Threads::One);
    let x = values::<T>(9, time * batch * sizes[0], 1.0);
    let x = time_major(&x, [time, batch, sizes[0]]).unwrap();
    let expected = whole(&layer, x, 5);
    for chunks in [vec![1; 24], vec![23, 1], vec![1, 23], vec![5, 0, 8, 11], vec![2; 12]] {
        assert_same(&format!("{cell:?} in calls of {chunks:?}"), &chunked(&layer, x, 5, &chunks), &expected);
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn flushing<T: Element>(cell: Cell) {
    let (sizes, time, batch) = ([4, 17], 400, 2);
    for &isa in Isa::available() {
        // Without biases and after a loud start, silence lets states decay towards zero.
        let rows = cell.gates() * sizes[1];
        let (w, r) = (values(1, rows * sizes[0], 1.0), values(2, rows * sizes[1], 0.05));
        let weights = Weights::new(cell, sizes[0], sizes[1], w, r, None, None).unwrap();
        let layer =
            Layer::new(weights, Options { isa: Some(isa), threads: Threads::One, ..Options::default() }).unwrap();
        let mut x = values::<T>(9, time * batch * sizes[0], 1.0);
        x[20 * batch * sizes[0]..].fill(T::ZERO);
        let x = time_major(&x, [time, batch, sizes[0]]).unwrap();
        let expected = whole(&layer, x, 5);
        flush_subnormals(true);
        let found = whole(&layer, x, 5);
        flush_subnormals(false);
        assert_same(&format!("{cell:?} {} with FTZ and DAZ on {}", T::NAME, isa.name()), &found, &expected);
        // A state decays at least by half a step in these cells, and by the flush rule reaches exactly zero.
        if cell == CELLS[0] || cell == CELLS[1] {
            assert!(expected[1].iter().all(|h| h.to_f64().to_bits() == 0), "{cell:?}: silence ends at +0");
        }
    }
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
for_all!(with_subnormals_flushed, flushing);

/// From states a little above the limit below which they become +0, in silence: without that rule, subnormals would arise
/// on the way, which the flags would change.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn fading<T: Value>(cell: Cell) {
    let ([input, hidden], time) = ([2, 11], 100);
    let model = Model::<T>::random(cell, [input, hidden], Bias::None, 3);
    let small = |value: &mut T| *value = T::from_f64(value.to_f64() * T::FLUSH.to_f64() * 1024.0);
    let mut start = values::<T>(5, hidden, 1.0);
    start.iter_mut().for_each(small);
    let exact = || Some(start.iter().map(|v| v.to_f64()).collect::<Vec<_>>());
    let sequence = reference::Sequence {
        time,
        batch: 1,
        x: vec![0.0; time * input],
        h0: exact(),
        c0: if cell.has_cell_state() { exact() } else { None },
        flush: 0.0,
    };
    let least = if T::NAME == "f32" { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
    let unruly = model.reference().run(&sequence).y;
    assert!(unruly.iter().any(|y| *y != 0.0 && y.abs() < least), "{cell:?}: no subnormal would arise");

    let x = vec![T::ZERO; time * input];
    let x = time_major(&x, [time, 1, input]).unwrap();
    for &isa in Isa::available() {
        let layer = Layer::new(model.weights(), on_one_thread(Backend::Native, isa)).unwrap();
        let run = || {
            let mut state = layer.state(1).unwrap();
            state.set_h(&start).unwrap();
            if cell.has_cell_state() {
                state.set_c(&start).unwrap();
            }
            layer.forward(x, Some(&state)).unwrap()
        };
        let expected = run();
        flush_subnormals(true);
        let found = run();
        flush_subnormals(false);
        let what = format!("{cell:?} {} on {}", T::NAME, isa.name());
        assert_same_bits(&expected.y, &found.y, &what);
        assert!(expected.y.iter().all(|y| y.bits() == 0 || y.to_f64().abs() >= T::FLUSH.to_f64()), "{what}");
        assert!(expected.y[..hidden].iter().any(|y| y.bits() != 0), "{what}: the first step is not silent");
        assert!(expected.state.h_to_vec().iter().all(|h| h.bits() == 0), "{what}: silence ends at +0");
    }
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
for_all!(fading_into_silence, fading);

/// Rows among strangers, on any instruction set, in any layout, in any cuts.
#[derive(Clone, Debug)]
struct Company {
    cell: Cell,
    /// Hidden units as whole vectors and some more or less.
    vectors: usize,
    more: isize,
    input: usize,
    /// The lengths of the calls.
    cuts: Vec<usize>,
    rows: usize,
    /// Other rows, the first of which is NaN.
    strangers: usize,
    isa: Isa,
    x: Layout,
    y: Layout,
    /// Whether the last call writes its last output only.
    last: bool,
    seed: u64,
}

prop_compose! {
    fn companies()(
        cell in select(CELLS.to_vec()),
        (vectors, more) in (select(vec![0usize, 1, 2, 3, 8]), -1isize..=1),
        input in select(vec![1usize, 2, 7, 18]),
        cuts in prop::collection::vec(0usize..4, 1..4),
        rows in 1usize..6,
        strangers in 0usize..10,
        isa in select(Isa::available().to_vec()),
        x in select(LAYOUTS.to_vec()),
        y in select(LAYOUTS.to_vec()),
        last: bool,
        seed: u64,
    ) -> Company {
        Company { cell, vectors, more, input, cuts, rows, strangers, isa, x, y, last, seed }
    }
}

/// Each row alone, in one call, by portable code; then all of them and strangers as the company says.
fn check_company<T: Value>(company: &Company) {
    let Company { cell, input, rows, isa, .. } = *company;
    let hidden = (company.vectors * T::lanes(isa)).saturating_add_signed(company.more).max(1);
    let time: usize = company.cuts.iter().sum();
    let weights = Model::<T>::random(cell, [input, hidden], Bias::Both, company.seed).weights();
    let layer = |isa| Layer::new(weights.clone(), on_one_thread(Backend::Native, isa)).unwrap();
    let (portable, layer) = (layer(Isa::named("portable").unwrap()), layer(isa));
    let mut random = Random(!company.seed);
    // Row by row: x [T, I], h0 [H].
    let mut x: Vec<Vec<T>> = (0..rows + company.strangers).map(|_| random.values(time * input, 1.0)).collect();
    let h0: Vec<Vec<T>> = (0..x.len()).map(|_| random.values(hidden, 1.0)).collect();
    if let Some(stranger) = x.get_mut(rows) {
        stranger.fill(T::NAN);
    }
    let order = random.permutation(x.len());
    let state = |layer: &Layer<T>, order: &[usize]| {
        let mut state = layer.state(order.len()).unwrap();
        let h0 = order.iter().flat_map(|&row| h0[row].clone()).collect::<Vec<_>>();
        state.set_h(&h0).unwrap();
        if cell.has_cell_state() {
            state.set_c(&h0).unwrap();
        }
        state
    };

    let (batch, mut together, mut workspace) = (order.len(), state(&layer, &order), Workspace::new());
    let (mut from, mut found) = (0, vec![Vec::new(); batch]);
    for (i, &steps) in company.cuts.iter().enumerate() {
        let only_last = company.last && i + 1 == company.cuts.len();
        let at = |t: usize, row: usize| &x[row][(from + t) * input..][..input];
        let held = (0..steps).flat_map(|t| order.iter().flat_map(move |&row| at(t, row))).copied().collect::<Vec<_>>();
        let sizes = [steps, batch, input];
        let memory = company.x.memory(sizes).holding(&held);
        let view = SeqRef::new(&memory.data, company.x.shape(sizes)).unwrap();
        let sizes = [steps, batch, hidden];
        let mut out;
        let output = if only_last {
            out = Canaries::rows(batch, hidden, hidden + 2);
            Output::Last(MatMut::new(&mut out.data, batch, hidden, hidden + 2).unwrap())
        } else {
            out = company.y.memory(sizes);
            Output::Sequence(SeqMut::new(&mut out.data, company.y.shape(sizes)).unwrap())
        };
        layer.forward_into(view, &mut together, output, &mut workspace).unwrap();
        for (n, row) in out.take("y").chunks_exact(hidden).enumerate() {
            found[order[n % batch]].extend_from_slice(row);
        }
        from += steps;
    }

    let before_last = (time - company.cuts.last().expect("a call")) * hidden;
    for (n, &row) in order.iter().enumerate().filter(|&(_, &row)| row < rows) {
        let alone = time_major(&x[row], [time, 1, input]).unwrap();
        let alone = portable.forward(alone, Some(&state(&portable, &[row]))).unwrap();
        let mut y = alone.y;
        if company.last {
            y.truncate(before_last);
            y.extend(alone.state.h_to_vec());
        }
        assert_same_bits(&y, &found[row], &format!("y of row {row}"));
        for (expected, found) in [(alone.state.h_row(0), together.h_row(n)), (alone.state.c_row(0), together.c_row(n))]
        {
            assert_same_bits(expected.unwrap_or_default(), found.unwrap_or_default(), &format!("state of row {row}"));
        }
    }
}

proptest! {
    #![proptest_config(proptest(600))]

    #[test]
    fn any_company_f32(company in companies()) {
        check_company::<f32>(&company);
    }

    #[test]
    fn any_company_f64(company in companies()) {
        check_company::<f64>(&company);
    }
}

#[test]
#[should_panic(expected = "y")]
fn a_bit_is_found() {
    let a = [vec![1.0f32], vec![], vec![]];
    let b = [vec![f32::from_bits(1.0f32.to_bits() + 1)], vec![], vec![]];
    assert_same("two values", &a, &b);
}
