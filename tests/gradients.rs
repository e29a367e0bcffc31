//! Gradients against what PyTorch computes, and against PyTorch's of written equations: every case that has some, in both
//! element types, on every instruction set.

mod cases;
#[path = "conformance/model.rs"]
mod model;

use cases::Case;
use cases::pass::{Arrays, Cell, Pass, Rows, Sizes};
use cases::tensor::{Tensor, compare};
use gatefold::seq::{time_major, time_major_mut};
use gatefold::{
    Accumulate, Element, Grads, Input, Isa, Options, Output, Result, StackGrads, StackState, StackTape, StackWorkspace,
    Upstream,
};
use model::{stack, to};

/// The largest deviation, relative to the largest magnitude of a tensor.
const F32_TOLERANCE: f64 = 1e-4;
const F64_TOLERANCE: f64 = 1e-9;

/// What a backward pass gives, and the state that the forward pass left.
struct Found<T> {
    y: Vec<T>,
    state: StackState<T>,
    grads: StackGrads<T>,
}

/// Forward and backward, all gradients added to nothing or to themselves, or written over NaN.
fn run<T: Element>(case: &Case, pass: &Pass<'_>, options: Options, accumulate: Accumulate) -> Result<Found<T>> {
    let stack = stack::<T>(pass, Options { keep_weights: true, ..options })?;
    let Sizes { time, batch, input } = pass.sizes;
    assert!(!pass.batch_first, "{}: gradients are time-major here", pass.name);
    let (x, mut state) = (to::<T>(&pass.x), stack.state(batch)?);
    for (initial, set) in
        [(&pass.calls[0].h0, StackState::set_h as fn(&mut _, &[T]) -> _), (&pass.calls[0].c0, StackState::set_c)]
    {
        if let Some(initial) = initial {
            set(&mut state, &to::<T>(initial))?;
        }
    }
    let x = Input::from(time_major(&x, [time, batch, input])?);
    let x = match &pass.rows {
        Rows::All => x,
        Rows::Lengths(lengths) => x.lengths(lengths),
        Rows::Mask(..) => panic!("{}: a mask", pass.name),
    };
    let mut initial = state.clone();
    let expected = stack.forward(x, Some(&state))?;
    let mut y = vec![T::NAN; time * batch * pass.channels()];
    let out = Output::Sequence(time_major_mut(&mut y, [time, batch, pass.channels()])?);
    let (mut tape, mut workspace) = (StackTape::new(), StackWorkspace::new());
    stack.record(x, &mut state, out, &mut tape, &mut workspace)?;
    assert_eq!(y, expected.y, "{}: y of a recorded call", pass.name);
    assert_eq!(state.h_to_vec(), expected.state.h_to_vec(), "{}: h of a recorded call", pass.name);
    assert_eq!(state.c_to_vec(), expected.state.c_to_vec(), "{}: c of a recorded call", pass.name);

    let optional = |name: &str| case.tensors.get(name).map(to::<T>);
    let (dy, dh, dc) = (to::<T>(case.tensor("dy")), optional("dhn"), optional("dcn"));
    let dy = Some(time_major(&dy, [time, batch, pass.channels()])?);
    let upstream = Upstream { dy, dh: dh.as_deref(), dc: dc.as_deref() };
    let mut grads = StackGrads::new();
    stack.backward(&mut tape, upstream, &mut grads, accumulate)?;
    if accumulate == Accumulate::Add {
        stack.record(x, &mut stack.state(batch)?, Output::StateOnly, &mut tape, &mut workspace)?;
        stack.backward(&mut tape, Upstream::default(), &mut grads, accumulate)?;
    } else {
        spoil(&mut grads);
        stack.record(x, &mut initial, Output::StateOnly, &mut tape, &mut workspace)?;
        stack.backward(&mut tape, upstream, &mut grads, accumulate)?;
    }
    Ok(Found { y, state, grads })
}

/// Leaves only NaN, which must not be read.
fn spoil<T: Element>(grads: &mut StackGrads<T>) {
    grads.dx.fill(T::NAN);
    for layer in &mut grads.layers {
        let Grads { dx, dh0, dc0, dw, dr, db_w, db_r, d_projection, d_peepholes } = layer;
        for values in [dx, dh0, dc0, dw, dr, db_w, db_r, d_projection, d_peepholes] {
            values.fill(T::NAN);
        }
    }
}

/// Every gradient that a case has, each of them once.
fn check<T: Element>(case: &Case, pass: &Pass<'_>, found: &Found<T>) -> std::result::Result<(), String> {
    let tolerance = if pass.is_f64() { F64_TOLERANCE } else { F32_TOLERANCE };
    let tolerance = if T::NAME == "f32" { F32_TOLERANCE } else { tolerance };
    let mut compared = 0;
    let mut one = |name: &str, values: Vec<T>| {
        let Some(expected) = case.tensors.get(name) else { return Ok(()) };
        compared += 1;
        let values: Vec<f64> = values.iter().map(|v| v.to_f64()).collect();
        compare(name, expected, &values, tolerance)
    };
    let layers = &found.grads.layers;
    let all = |of: fn(&Grads<T>) -> &Vec<T>| layers.iter().flat_map(of).copied().collect::<Vec<T>>();
    one("dx", found.grads.dx.clone())?;
    one("dh0", all(|grads| &grads.dh0))?;
    one("dc0", all(|grads| &grads.dc0))?;
    let flat = pass.levels.iter().enumerate().flat_map(|(l, level)| (0..level.len()).map(move |d| (l, d)));
    for ((level, direction), grads) in flat.zip(layers) {
        let suffix = format!("_l{level}{}", ["", "_reverse"][direction]);
        for (array, values) in [
            ("weight_ih", &grads.dw),
            ("weight_hh", &grads.dr),
            ("bias_ih", &grads.db_w),
            ("bias_hh", &grads.db_r),
            ("weight_hr", &grads.d_projection),
        ] {
            one(&format!("grads/{array}{suffix}"), values.clone())?;
        }
        if let (Arrays::Equations { .. }, Cell::Gru { keeps_past, .. }) =
            (pass.levels[level][direction].arrays, pass.levels[level][direction].cell)
        {
            for (name, values) in [("dW", &grads.dw), ("dR", &grads.dr), ("db", &grads.db_w)] {
                one(name, equations(values, keeps_past))?;
            }
        }
    }
    let known = ["dx", "dh0", "dc0", "dW", "dR", "db"];
    let given = case.tensors.keys().filter(|name| name.starts_with("grads/") || known.contains(&name.as_str())).count();
    if compared == given { Ok(()) } else { Err(format!("{compared} of {given} gradients were compared")) }
}

/// Gates r, z, n to z, r, n; where the update gate was turned round, so are the gradients of its weights.
fn equations<T: Element>(values: &[T], keeps_past: bool) -> Vec<T> {
    let block = values.len() / 3;
    let sign = T::from_f64(if keeps_past { 1.0 } else { -1.0 });
    let z = values[block..2 * block].iter().map(|&v| v * sign);
    z.chain(values[..block].iter().copied()).chain(values[2 * block..].iter().copied()).collect()
}

fn both<T: Element>(case: &Case, pass: &Pass<'_>) -> std::result::Result<(), String> {
    let mut bits: Option<Vec<u64>> = None;
    for &isa in Isa::available() {
        for accumulate in [Accumulate::Overwrite, Accumulate::Add] {
            let options = Options { isa: Some(isa), ..Options::default() };
            let found = run::<T>(case, pass, options, accumulate).map_err(|e| e.to_string())?;
            if accumulate == Accumulate::Overwrite {
                check(case, pass, &found).map_err(|e| format!("{} on {}: {e}", T::NAME, isa.name()))?;
                let own = all_bits(&found);
                if bits.get_or_insert_with(|| own.clone()) != &own {
                    return Err(format!("{} gives other bits", isa.name()));
                }
            } else {
                check_added(case, &found)?;
            }
        }
    }
    Ok(())
}

/// Gradients of nothing, added, change nothing of the weights' gradients.
fn check_added<T: Element>(case: &Case, found: &Found<T>) -> std::result::Result<(), String> {
    let tensors = case.tensors.iter().filter(|(name, _)| name.starts_with("grads/weight_ih_l0"));
    for (name, expected) in tensors.filter(|(name, _)| !name.ends_with("reverse")) {
        let values: Vec<f64> = found.grads.layers[0].dw.iter().map(|v| v.to_f64()).collect();
        compare(name, expected, &values, F32_TOLERANCE).map_err(|e| format!("added: {e}"))?;
    }
    match found.grads.dx.iter().all(|&v| v == T::ZERO) {
        true => Ok(()),
        false => Err("dx of nothing".into()),
    }
}

fn all_bits<T: Element>(found: &Found<T>) -> Vec<u64> {
    let StackGrads { dx, layers } = &found.grads;
    let of = |grads: &Grads<T>| {
        let Grads { dx, dh0, dc0, dw, dr, db_w, db_r, d_projection, d_peepholes } = grads.clone();
        [dx, dh0, dc0, dw, dr, db_w, db_r, d_projection, d_peepholes].concat()
    };
    let values = dx.iter().copied().chain(layers.iter().flat_map(of));
    let values = values.chain(found.y.iter().copied()).chain(found.state.h_to_vec());
    values.map(|v| v.to_f64().to_bits()).collect()
}

#[test]
fn pytorch_and_the_tutorial() {
    let cases = Case::read_all("torch");
    let is_of_gradients = |case: &&Case| case.tensors.contains_key("dx");
    let (mut run, mut failures) = (0, Vec::new());
    for case in cases.iter().filter(is_of_gradients) {
        let pass = Pass::new(case);
        run += 1;
        let f32_too = if pass.is_f64() { Ok(()) } else { both::<f32>(case, &pass) };
        failures.extend(f32_too.and_then(|()| both::<f64>(case, &pass)).err().map(|e| format!("{}: {e}", case.name)));
    }
    assert!(failures.is_empty(), "{} of {run} cases fail:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(run, 18, "cases with gradients");
}

/// The comparison finds an error of a thousandth in any gradient.
#[test]
fn a_wrong_gradient_is_found() {
    let cases = Case::read_all("torch");
    let case = cases.iter().find(|case| case.name == "lstm_proj_bidirectional_grads").expect("the case");
    let pass = Pass::new(case);
    let found = run::<f64>(case, &pass, Options::default(), Accumulate::Overwrite).expect("gradients");
    check(case, &pass, &found).expect("right as it is");
    for name in case.tensors.keys().filter(|name| name.starts_with("grads/") || *name == "dx") {
        let mut wrong = case.clone();
        let tensor: &mut Tensor = wrong.tensors.get_mut(name).expect("there");
        let most = tensor.values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        tensor.values[0] += 1e-3 * most;
        assert!(check(&wrong, &pass, &found).is_err(), "{name}");
    }
}
