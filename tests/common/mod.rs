//! What the tests of layers share.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

pub mod bound;
pub mod choice;
pub mod flags;
pub mod model;
#[path = "../../kernels/tests/common/mod.rs"]
pub mod numbers;
pub mod strides;

use gatefold::{Backend, Element, Isa, Options, Threads};

/// `f32` and `f64`, for layers and for oracles.
pub trait Value: Element + numbers::Scalar {}
impl<T: Element + numbers::Scalar> Value for T {}

/// The backends that the library was built with.
pub fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::Native];
    if cfg!(feature = "matrixmultiply") {
        backends.push(Backend::MatrixMultiply);
    }
    if cfg!(feature = "openblas") {
        backends.push(Backend::OpenBlas);
    }
    backends
}

/// One thread, every backend, every instruction set of this processor.
pub fn everything() -> Vec<Options> {
    let of_backend = |backend| Isa::available().iter().map(move |&isa| on_one_thread(backend, isa));
    backends().into_iter().flat_map(of_backend).collect()
}

/// One thread, this backend and instruction set.
pub fn on_one_thread(backend: Backend, isa: Isa) -> Options {
    Options { backend, isa: Some(isa), threads: Threads::One, ..Options::default() }
}
