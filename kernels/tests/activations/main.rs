//! Every activation against its true values, at special values, and the same bits on every instruction set.

#[allow(dead_code, reason = "f32 results are judged by the wide values, too")]
#[path = "../math/oracle.rs"]
mod oracle;
#[path = "../math/points.rs"]
mod points;
mod special;
mod truth;
#[path = "../math/wide.rs"]
mod wide;

use gatefold_kernels::activation::Activation::{self, *};
use gatefold_kernels::elementwise::Elementwise;
use gatefold_kernels::isa::Isa;
use points::{Float, arguments, neighbourhoods, patterns, random, same};
use truth::truth;
use wide::ulps;

/// The bounds that the documentation of `math` gives.
struct Bound {
    activation: Activation,
    /// In units in the last place of f32 and f64, where the true result is at least `edge` in magnitude.
    ulps: (f64, f64),
    /// Binades above the least normal number where the relative accuracy ends, for f32 and f64. Below, a result is 0, or
    /// within as many units of the least normal number.
    edge: (i32, i32),
}

/// Bounds of the activations of [`Activation::ALL`], and of others with parameters.
const BOUNDS: &[Bound] = &[
    bound(Sigmoid, 2.77, 2.76),
    bound(Tanh, 2.97, 2.99),
    bound(Relu, 0.0, 0.0),
    bound(Linear, 0.0, 0.0),
    bound(Relu6, 0.0, 0.0),
    bound(LeakyRelu { alpha: 0.01 }, 0.5, 0.5),
    bound(ThresholdedRelu { alpha: 1.0 }, 0.0, 0.0),
    bound(Elu { alpha: 1.0 }, 4.0, 4.0),
    bound(Selu, 4.0, 4.0),
    bound(Gelu, 8.0, 12.0),
    Bound { edge: (7, 10), ..bound(Silu, 4.0, 4.0) },
    Bound { edge: (7, 10), ..bound(Mish, 5.0, 5.0) },
    bound(Softplus, 4.0, 4.0),
    bound(Softsign, 1.5, 1.5),
    bound(Exponential, 1.61, 1.60),
    bound(HardSigmoid { alpha: 0.2, beta: 0.5 }, 0.5, 0.5),
    bound(HardSilu, 2.5, 2.5),
    bound(Affine { alpha: 1.0, beta: 0.0 }, 0.5, 0.5),
    bound(ScaledTanh { alpha: 1.0, beta: 1.0 }, 2.97, 2.99),
    bound(LeakyRelu { alpha: -3.0 }, 0.5, 0.5),
    bound(ThresholdedRelu { alpha: -0.7 }, 0.0, 0.0),
    bound(Elu { alpha: 0.3 }, 4.0, 4.0),
    bound(HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, 0.5, 0.5),
    bound(HardSigmoid { alpha: -0.75, beta: 0.1 }, 0.5, 0.5),
    bound(Affine { alpha: 1.7, beta: -0.3 }, 0.5, 0.5),
    // The argument's factor is a power of two so that the product is a number.
    Bound { edge: (2, 2), ..bound(ScaledTanh { alpha: 1.7159, beta: -0.5 }, 6.0, 6.0) },
];

const fn bound(activation: Activation, single: f64, double: f64) -> Bound {
    Bound { activation, ulps: (single, double), edge: (0, 0) }
}

fn of<T: Float, U>((single, double): (U, U)) -> U {
    if T::DIGITS == 24 { single } else { double }
}

fn compute<T: Float>(isa: Isa, function: Activation, x: &[T]) -> Vec<T> {
    let mut y = vec![T::NAN; x.len()];
    Elementwise { isa, function, x, y: &mut y }.run().unwrap();
    y
}

/// The error of y, in units in the last place, if it is allowed; 0 where the relative accuracy has ended.
fn judge<T: Float>(bound: &Bound, x: T, y: T) -> Result<f64, String> {
    if !x.to_f64().is_finite() {
        // `special` has the infinities.
        return if x.to_f64().is_nan() && !y.to_f64().is_nan() { Err(format!("NaN gives {y:?}")) } else { Ok(0.0) };
    }
    let truth = truth(bound.activation, |parameter| T::from_f64(parameter).to_f64(), x.to_f64());
    let rounded = T::from_f64(truth.flat().hi).to_f64();
    let allowed = of::<T, _>(bound.ulps);
    let (least, exponent) = (T::EXPONENTS.0, truth.exponent());
    let error = if rounded.is_infinite() || rounded == y.to_f64() && rounded == 0.0 {
        if rounded == y.to_f64() { 0.0 } else { f64::INFINITY }
    } else if exponent >= least + of::<T, _>(bound.edge) {
        ulps(y.to_f64(), truth, T::DIGITS)
    } else if y.to_f64() == 0.0 {
        0.0
    } else {
        // In units of the least normal number, or of the truth where that is greater.
        let units = ulps(y.to_f64(), truth, T::DIGITS) * 2f64.powi((exponent - least).clamp(-1000, 0));
        if units <= allowed + 1.0 { 0.0 } else { f64::INFINITY }
    };
    if error <= allowed {
        return Ok(error);
    }
    Err(format!("{:?}({x:?}, {:#x}) = {y:?}, {error} ulp from {truth:?}", bound.activation, x.bits()))
}

/// Judges activations at `points` under the first instruction set, and asks the others for the same bits. Returns the
/// greatest errors in the order of `bounds`; panics with the first failures if there are any.
fn sweep<T: Float>(bounds: &[Bound], points: impl Iterator<Item = T>) -> Vec<f64> {
    let points: Vec<T> = points.collect();
    let (mut worst, mut failures) = (vec![0.0; bounds.len()], Vec::new());
    for (bound, worst) in bounds.iter().zip(&mut worst) {
        let first = compute(Isa::available()[0], bound.activation, &points);
        let failed = failures.len();
        for (&x, &y) in points.iter().zip(&first) {
            match judge(bound, x, y) {
                Ok(error) => *worst = error.max(*worst),
                Err(failure) => failures.push(failure),
            }
        }
        failures.truncate(failed + 3);
        for &isa in &Isa::available()[1..] {
            let other = compute(isa, bound.activation, &points);
            let differs = (0..points.len()).find(|&i| !same(first[i], other[i]));
            failures.extend(differs.map(|i| format!("{:?}({:?}) under {}", bound.activation, points[i], isa.name())));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    worst
}

fn show<T: Float>(bounds: &[Bound], worst: &[f64]) {
    for (bound, worst) in bounds.iter().zip(worst) {
        println!("{} {:?} {worst:.3}", T::NAME, bound.activation);
    }
}

/// Beside the places where exp and tanh change: where pieces meet, and where a tail ends.
fn edges<T: Float>(radius: u64) -> impl Iterator<Item = T> {
    let centres = [0.7, 1.0, 2.5, 3.0, 5.0, 6.0, 13.216393, 37.64030867387418, 44.36, 87.33654, 708.3964185322641];
    centres.into_iter().flat_map(|x| [x, -x]).flat_map(move |x| {
        let centre = T::from_f64(x).bits();
        (0..=2 * radius).map(move |k| T::of_bits(centre.wrapping_add(k).wrapping_sub(radius)))
    })
}

/// Where the tail of gelu is, of all of which its error is greatest.
fn tail<T: Float>(count: usize) -> impl Iterator<Item = T> {
    random(2).take(count).map(|bits| T::from_f64((bits >> 11) as f64 / (1u64 << 53) as f64 * -37.0))
}

fn narrowed(count: usize) -> impl Iterator<Item = f32> {
    arguments(count).map(|x| (x / 8.0) as f32)
}

/// How many arguments are affordable: an emulator, which has neither of these, takes long for each.
fn share(count: usize) -> usize {
    if Isa::available().iter().any(|isa| matches!(isa.name(), "avx512" | "avx2")) { count } else { count / 20 }
}

#[test]
fn f32_results_are_within_the_documented_bounds() {
    let near = neighbourhoods(share(40) as u64).chain(edges(share(400) as u64)).chain(tail(share(20_000)));
    let points = patterns((1 << 32) / share(60_000) + 1).chain(narrowed(share(60_000))).chain(near);
    show::<f32>(BOUNDS, &sweep(BOUNDS, points));
}

#[test]
fn f64_results_are_within_the_documented_bounds() {
    let near = neighbourhoods(share(40) as u64).chain(edges(share(400) as u64)).chain(tail(share(20_000)));
    show::<f64>(BOUNDS, &sweep(BOUNDS, arguments(share(100_000)).chain(near)));
}

#[test]
#[ignore = "minutes: 4 million arguments of each type"]
fn at_length() {
    std::thread::scope(|scope| {
        scope.spawn(|| show::<f32>(BOUNDS, &sweep(BOUNDS, patterns(2003).chain(narrowed(4_000_000)))));
        scope.spawn(|| show::<f64>(BOUNDS, &sweep(BOUNDS, arguments(4_000_000))));
    });
}

#[test]
fn the_judge_sees_errors() {
    let find = |activation: Activation| BOUNDS.iter().find(|bound| bound.activation == activation).unwrap();
    let (gelu, silu, elu) = (find(Gelu), find(Silu), find(Elu { alpha: 1.0 }));
    let tail = -3.0 * 1.3498980316300945e-3;
    assert!(judge(gelu, -3.0, tail).unwrap() < 2.0);
    assert!(judge(gelu, -3.0, tail * (1.0 + 1e-14)).is_err());
    assert!(judge(gelu, -3.0f32, tail as f32 * (1.0 + 2e-6)).is_err());
    assert!(judge(gelu, -20.0, 0.0).is_err());
    assert!(judge(gelu, -60.0, 0.0).is_ok() && judge(gelu, -60.0, -1e-300).is_err());
    assert!(judge(silu, -800.0, -0.0).is_ok() && judge(silu, -800.0, f64::NAN).is_err());
    assert!(judge(silu, -600.0, -0.0).is_err());
    assert!(judge(silu, f64::NAN, 0.0).is_err());
    assert!(judge(elu, -1e-3f32, (-1e-3f32).exp_m1()).unwrap() < 1.0);
    assert!(judge(elu, -1e-3f32, (-1e-3f32).exp() - 1.0).is_err());
    assert!(judge(find(Selu), f64::MAX, f64::INFINITY).is_ok() && judge(find(Selu), f64::MAX, f64::MAX).is_err());
}

#[test]
fn every_activation_has_a_bound() {
    for (bound, &activation) in BOUNDS.iter().zip(Activation::ALL) {
        assert_eq!(bound.activation, activation);
    }
    assert!(BOUNDS.len() > Activation::ALL.len());
}
