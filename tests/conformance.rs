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
/// computations in f32 cannot be held to agree then. The library's f64 is compared with the framework, as it always is, and
/// its f32 with its f64, to the same tolerance.
///
/// `gru_linear`: without a bound on n, an error grows fourfold with every step. Keras is off by 1.25e-5.
const AMPLIFYING: [&str; 1] = ["gru_linear"];

/// Every backend and instruction set. What a framework computed in f32 is computed in f64 too.
fn on_all(pass: &Pass<'_>) -> Result<(), String> {
    let exact = AMPLIFYING.contains(&pass.name).then(|| amplifying(pass)).transpose()?;
    let mut backends = vec![Backend::Native];
    backends.extend(cfg!(feature = "matrixmultiply").then_some(Backend::MatrixMultiply));
    backends.extend(cfg!(feature = "openblas").then_some(Backend::OpenBlas));
    for &isa in Isa::available() {
        for &backend in &backends {
            let options = Options { isa: Some(isa), backend, ..Options::default() };
            let named = |element| move |e| format!("{element} on {} with {backend:?}: {e}", isa.name());
            run::check::<f64>(pass, options).map_err(named("f64"))?;
            if !pass.is_f64() {
                run::check::<f32>(exact.as_ref().unwrap_or(pass), options).map_err(named("f32"))?;
            }
        }
    }
    Ok(())
}

/// What the f32 of an amplifying case is compared with.
fn amplifying<'a>(pass: &Pass<'a>) -> Result<Pass<'a>, String> {
    let exact = run::with_exact_outputs(pass).map_err(|e| e.to_string())?;
    let y = |pass: &Pass<'_>| pass.calls[0].y.clone().expect("y");
    match compare("y", &y(pass), &y(&exact).values, F32_TOLERANCE / 2.0) {
        Ok(()) => Err("not as amplifying as the list says".into()),
        Err(_) => Ok(exact),
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
