//! Layers against what Keras, PyTorch and ONNX Runtime compute: every case, with every backend that was compiled in, on
//! every instruction set that there is.

mod cases;
#[path = "conformance/model.rs"]
mod model;
#[path = "conformance/run.rs"]
mod run;

use cases::pass::Pass;
use cases::verify_all;
use gatefold::{Backend, Isa, Options};

/// Every backend and instruction set.
fn on_all(pass: &Pass<'_>) -> Result<(), String> {
    let mut backends = vec![Backend::Native];
    backends.extend(cfg!(feature = "matrixmultiply").then_some(Backend::MatrixMultiply));
    backends.extend(cfg!(feature = "openblas").then_some(Backend::OpenBlas));
    for &isa in Isa::available() {
        for &backend in &backends {
            let options = Options { isa: Some(isa), backend, ..Options::default() };
            let result =
                if pass.is_f64() { run::check::<f64>(pass, options) } else { run::check::<f32>(pass, options) };
            result.map_err(|e| format!("{} with {backend:?}: {e}", isa.name()))?;
        }
    }
    Ok(())
}

#[test]
fn keras() {
    verify_all("keras", 89, on_all);
}

#[test]
fn pytorch_and_the_tutorial() {
    verify_all("torch", 67, on_all);
}

#[test]
fn onnx() {
    verify_all("onnx", 57, on_all);
}
