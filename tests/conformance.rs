//! Layers against what Keras, PyTorch and ONNX Runtime compute: every case, with every backend that was compiled in, on
//! every instruction set that there is.

mod cases;
#[path = "conformance/model.rs"]
mod model;
#[path = "conformance/run.rs"]
mod run;

use cases::pass::Pass;
use cases::tensor::compare;
use cases::{F32_TOLERANCE, verify_all};
use gatefold::{Backend, Isa, Options};

/// Cases that amplify rounding so much that the framework's own f32 is more than half of the tolerance away from f64: two
/// computations in f32 need not agree over all steps then. In f64, the library is compared with the framework as always; in
/// f32, every step starts from what the framework gave for the step before.
///
/// `gru_linear`: without a bound on n, an error grows fourfold with every step. Keras is off by 1.25e-5.
const AMPLIFYING: [&str; 1] = ["gru_linear"];

/// Every backend and instruction set. What a framework computed in f32 is computed in f64 too.
fn on_all(pass: &Pass<'_>) -> Result<(), String> {
    let parts = if AMPLIFYING.contains(&pass.name) { steps(pass)? } else { vec![pass.clone()] };
    let mut backends = vec![Backend::Native];
    backends.extend(cfg!(feature = "matrixmultiply").then_some(Backend::MatrixMultiply));
    backends.extend(cfg!(feature = "openblas").then_some(Backend::OpenBlas));
    for &isa in Isa::available() {
        for &backend in &backends {
            let options = Options { isa: Some(isa), backend, ..Options::default() };
            let named = |element| move |e| format!("{element} on {} with {backend:?}: {e}", isa.name());
            run::check::<f64>(pass, options).map_err(named("f64"))?;
            if !pass.is_f64() {
                parts.iter().try_for_each(|part| run::check::<f32>(part, options)).map_err(named("f32"))?;
            }
        }
    }
    Ok(())
}

/// The steps of an amplifying case.
fn steps<'a>(pass: &Pass<'a>) -> Result<Vec<Pass<'a>>, String> {
    let exact = run::exact(pass).map_err(|e| e.to_string())?;
    match compare("y", pass.calls[0].y.as_ref().expect("y"), &exact, F32_TOLERANCE / 2.0) {
        Ok(()) => Err("not as amplifying as the list says".into()),
        Err(_) => Ok(pass.steps()),
    }
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
