//! The product that was chosen is the one that is called, as often as there are products, and its errors come back.

mod common;
mod reference;

use common::model::{Bias, CELLS, Model};
use common::numbers::{Random, Scalar, assert_same};
use common::strides::{LAYOUTS, Layout};
use common::{Value, backends, on_one_thread};
use gatefold::cell::{Cell, Reset};
use gatefold::gemm::Gemm;
use gatefold::seq::{MatMut, MatRef, SeqRef};
use gatefold::{Backend, Error, Isa, Layer, Options, Output, Result, Threads};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Chains of fused multiply-adds: what the native kernels compute, slowly. It counts its calls and fails when told to.
#[derive(Debug)]
struct Counting {
    calls: AtomicUsize,
    /// The call that fails, from 1.
    fails: usize,
}

impl Counting {
    fn new(fails: usize) -> Arc<Self> {
        Arc::new(Counting { calls: AtomicUsize::new(0), fails })
    }

    fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }
}

const FAILURE: Error = Error::Unsupported { what: "this call", why: "it is the one that fails" };

impl<T: Value> Gemm<T> for Counting {
    fn gemm(&self, a: MatRef<'_, T>, b: MatRef<'_, T>, beta: T, mut c: MatMut<'_, T>) -> Result<()> {
        if self.calls.fetch_add(1, Relaxed) + 1 == self.fails {
            return Err(FAILURE);
        }
        assert_eq!((a.rows(), a.cols(), b.cols()), (c.rows(), b.rows(), c.cols()));
        for row in 0..a.rows() {
            for (col, c) in c.row_mut(row).expect("a row").iter_mut().enumerate() {
                let start = if beta == T::ZERO { T::ZERO } else { *c };
                *c = (0..a.cols()).fold(start, |sum, k| a.get(row, k).unwrap().fma(*b.get(k, col).unwrap(), sum));
            }
        }
        Ok(())
    }
}

fn one_thread() -> Options {
    Options { threads: Threads::One, ..Options::default() }
}

const SIZES: [usize; 2] = [3, 21];

#[test]
fn every_product_is_the_chosen_one() {
    for cell in CELLS {
        for (time, batch) in [(1, 1), (5, 1), (5, 3), (2000, 2), (0, 2), (3, 0)] {
            for layout in LAYOUTS {
                let model = Model::<f32>::random(cell, SIZES, Bias::Both, 3);
                let counting = Counting::new(0);
                let layer = Layer::with_gemm(model.weights(), one_thread(), counting.clone()).unwrap();
                let native = Layer::new(model.weights(), one_thread()).unwrap();
                let sizes = [time, batch, SIZES[0]];
                let x = layout.memory(sizes).holding(&Random(4).values::<f32>(sizes.iter().product(), 1.0));
                let x = SeqRef::new(&x.data, layout.shape(sizes)).unwrap();
                let run = |layer: &Layer<f32>| {
                    let (mut state, mut workspace) =
                        (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
                    layer.forward_into(x, &mut state, Output::StateOnly, &mut workspace).unwrap();
                    state.h_to_vec()
                };
                let expected = run(&native);
                assert_eq!(counting.calls(), 0, "{cell:?}: the native backend called another product");
                let found = run(&layer);

                // For each stage the input product of each block of steps, as one matrix where the rows stand at one
                // stride, and one recurrent product a step.
                let stages = if cell == (Cell::Gru { reset: Reset::Before }) { 2 } else { 1 };
                let blocks = time.div_ceil(layer.plan(time, batch).block);
                let one_matrix = batch == 1 || layout == Layout::TimeMajor;
                let products = if batch == 0 { 0 } else { stages * (time + if one_matrix { blocks } else { time }) };
                assert_eq!(counting.calls(), products, "{cell:?} [{time}, {batch}] {layout:?}");
                assert!(time != 2000 || blocks > 1, "no sequence was cut into blocks");
                let close = expected.iter().zip(&found).all(|(e, f)| (e - f).abs() < 1e-5);
                assert!(close && expected.len() == found.len(), "{cell:?}: expected {expected:?}, found {found:?}");
            }
        }
    }
}

#[test]
fn backends_differ() {
    // Products of other libraries are not promised the same bits. That one bit in a thousand steps differs shows that it
    // was another product that ran.
    let model = Model::<f32>::random(Cell::Lstm, [16, 48], Bias::Both, 3);
    let x = Random(4).values::<f32>(1000 * 16, 1.0);
    let x = SeqRef::new(&x, Layout::TimeMajor.shape([1000, 1, 16])).unwrap();
    let y = |backend| {
        let options = on_one_thread(backend, Isa::available()[0]);
        Layer::new(model.weights(), options).unwrap().forward(x, None).unwrap().y
    };
    let native = y(Backend::Native);
    for backend in backends() {
        let found = y(backend);
        let same = native.iter().zip(&found).all(|(a, b)| a.bits() == b.bits());
        assert_eq!(same, backend == Backend::Native, "{backend:?}");
    }
}

#[test]
fn two_products_cannot_be_chosen() {
    for backend in [Backend::MatrixMultiply, Backend::OpenBlas] {
        let weights = Model::<f64>::random(Cell::Lstm, SIZES, Bias::None, 1).weights();
        let layer = Layer::with_gemm(weights, Options { backend, ..one_thread() }, Counting::new(0));
        assert!(matches!(layer, Err(Error::Unsupported { what: "backend", .. })), "{layer:?}");
    }
}

#[test]
fn a_backend_that_was_not_compiled_in_is_refused() {
    for backend in [Backend::Native, Backend::MatrixMultiply, Backend::OpenBlas] {
        let weights = Model::<f64>::random(Cell::Lstm, SIZES, Bias::None, 1).weights();
        match Layer::new(weights, Options { backend, ..one_thread() }) {
            Ok(_) => assert!(backends().contains(&backend)),
            Err(error) => {
                assert!(matches!(error, Error::Unsupported { what: "backend", .. }), "{error:?}");
                assert!(!backends().contains(&backend));
            }
        }
    }
}

#[test]
fn a_failing_product_is_heard_of() {
    for cell in CELLS {
        let model = Model::<f64>::random(cell, SIZES, Bias::Both, 3);
        let x = Random(4).values::<f64>(4 * 2 * SIZES[0], 1.0);
        let x = SeqRef::new(&x, Layout::TimeMajor.shape([4, 2, SIZES[0]])).unwrap();
        for fails in 1..=5 {
            let layer = Layer::with_gemm(model.weights(), one_thread(), Counting::new(fails)).unwrap();
            let mut state = layer.state(2).unwrap();
            let h = Random(5).values::<f64>(2 * SIZES[1], 1.0);
            state.set_h(&h).unwrap();
            let error = layer.forward_into(x, &mut state, Output::StateOnly, &mut layer.workspace(4, 2).unwrap());
            assert_eq!(error, Err(FAILURE), "{cell:?}, call {fails}");
            if fails == 1 {
                assert_same(&h, &state.h_to_vec(), "a state from before the first step");
            }
            assert!(layer.forward(x, Some(&state)).is_ok(), "the product works again");
        }
    }
}
