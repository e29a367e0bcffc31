//! What the benchmarks share: names, instruction sets, and layers ready to run.
//!
//! A benchmark is called `op/cell/dtype/isa/shape`, so that a filter picks any of these: `cargo bench -- /gru/f32/`.
#![allow(dead_code, reason = "no benchmark uses all of it")]

pub mod training;

use criterion::Criterion;
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::gemm::Element;
use gatefold::seq::{time_major, time_major_mut};
use gatefold::{Backend, Dims, Isa, Layer, Options, Output, Plan, State, Threads, Weights, Workspace};
use std::time::Duration;

/// The cells, by the names under which their times are compared with other libraries'.
pub const CELLS: [(&str, Cell); 4] = [
    ("rnn", Cell::SimpleRnn { activation: Activation::Tanh }),
    ("lstm", Cell::Lstm),
    ("gru", Cell::Gru { reset: Reset::After }),
    ("gruv", Cell::Gru { reset: Reset::Before }),
];

/// Enough for a median; the suites have many cases.
pub fn criterion() -> Criterion {
    let (warm_up, measurement) = (Duration::from_millis(300), Duration::from_secs(1));
    Criterion::default().warm_up_time(warm_up).measurement_time(measurement).sample_size(20).without_plots()
}

/// The one that `GATEFOLD_ISA` names, else every one of the processor. Portable code is the reference, not a way to
/// run: it is measured where it is named or alone.
pub fn isas() -> Vec<Isa> {
    if std::env::var_os(gatefold_kernels::isa::ISA_VARIABLE).is_some() {
        return vec![Isa::chosen().unwrap()];
    }
    let mut isas = Isa::available().to_vec();
    if isas.len() > 1 {
        isas.retain(|isa| isa.name() != "portable");
    }
    isas
}

/// The foreign backends that are built in. OpenBLAS with the processor whose kernels it chose: where it does not know a
/// processor, it may choose those of one much older, and `OPENBLAS_CORETYPE`, for example `SkylakeX`, names a better one.
pub fn foreign_backends() -> Vec<(String, Backend)> {
    vec![
        #[cfg(feature = "matrixmultiply")]
        ("matrixmultiply".to_owned(), Backend::MatrixMultiply),
        #[cfg(feature = "openblas")]
        (format!("openblas-{}", gatefold::gemm::OpenBlas::new().core_name()), Backend::OpenBlas),
    ]
}

/// Values between -1 and 1, each time the same.
pub fn values<T: Element>(len: usize) -> Vec<T> {
    let mut state = 1u64;
    let next = || {
        // The generator of Knuth's MMIX; its upper bits are the good ones.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::from_f64((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0)
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Sizes of a sequence, `[T, N, I]` into H units.
#[derive(Clone, Copy)]
pub struct Shape {
    pub input: usize,
    pub hidden: usize,
    pub batch: usize,
    pub time: usize,
}

impl Shape {
    pub fn name(self) -> String {
        let Shape { input, hidden, batch, time } = self;
        format!("I{input}-H{hidden}-N{batch}-T{time}")
    }
}

/// Weights and biases as PyTorch draws them, for a state that neither dies nor saturates; each time the same.
pub fn weights<T: Element>(cell: Cell, input: usize, hidden: usize) -> Weights<T> {
    let rows = cell.gates() * hidden;
    let scale = 1.0 / (hidden as f64).sqrt();
    let values = |len| values::<T>(len).into_iter().map(|v| T::from_f64(v.to_f64() * scale)).collect::<Vec<_>>();
    let (w, r, b) = (values(rows * input), values(rows * hidden), values(rows));
    Weights::new(cell, input, hidden, w, r, Some(b.clone()), Some(b)).unwrap()
}

/// A layer of such weights.
pub fn layer<T: Element>(cell: Cell, Shape { input, hidden, .. }: Shape, options: Options) -> Layer<T> {
    Layer::new(weights(cell, input, hidden), options).unwrap()
}

/// A layer with all that a call needs.
pub struct Run<T> {
    layer: Layer<T>,
    shape: Shape,
    x: Vec<T>,
    y: Vec<T>,
    state: State<T>,
    workspace: Workspace<T>,
}

impl<T: Element> Run<T> {
    /// By the native backend.
    pub fn new(cell: Cell, shape: Shape, isa: Isa, threads: Threads) -> Self {
        Run::with_options(cell, shape, Options { isa: Some(isa), threads, ..Options::default() })
    }

    pub fn with_options(cell: Cell, shape: Shape, options: Options) -> Self {
        let Shape { input, hidden, batch, time } = shape;
        let layer = layer(cell, shape, options);
        let (state, workspace) = (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
        let (x, y) = (values(time * batch * input), values(time * batch * hidden));
        Run { layer, shape, x, y, state, workspace }
    }

    pub fn dims(&self) -> Dims {
        self.layer.dims()
    }

    pub fn plan(&self) -> Plan {
        self.layer.plan(self.shape.time, self.shape.batch)
    }

    /// Floating-point operations of the products: what throughput counts.
    pub fn flops(&self) -> u64 {
        (self.dims().flops() * self.shape.time as f64 * self.shape.batch as f64) as u64
    }

    /// The whole sequence, from the state that the last call left.
    pub fn forward(&mut self) {
        let Shape { input, hidden, batch, time } = self.shape;
        let x = time_major(&self.x, [time, batch, input]).unwrap();
        let y = Output::Sequence(time_major_mut(&mut self.y, [time, batch, hidden]).unwrap());
        self.layer.forward_into(x, &mut self.state, y, &mut self.workspace).unwrap();
    }
}
