//! exp, sigmoid and tanh against their true values, and the same bits on every instruction set.

mod oracle;
mod points;
mod wide;

use gatefold_kernels::activation::Activation;
use gatefold_kernels::elementwise::Elementwise;
use gatefold_kernels::isa::Isa;
use gatefold_kernels::shape::ShapeError;
use points::{Float, arguments, neighbourhoods, patterns, same};
use wide::{Wide, ulps};

/// What is tested here.
const FUNCTIONS: &[Activation] = &[Activation::Exponential, Activation::Sigmoid, Activation::Tanh];

/// The bounds that the documentation of `math` gives, in units in the last place of f32 and f64.
const BOUNDS: [(Activation, f64, f64); 3] =
    [(Activation::Exponential, 1.61, 1.60), (Activation::Sigmoid, 2.77, 2.76), (Activation::Tanh, 2.97, 2.99)];

fn truth<T: Float>(function: Activation, x: T) -> Wide {
    let x = x.to_f64();
    if T::DIGITS == 24 { oracle::narrow(function, x).into() } else { oracle::wide(function, x.clamp(-2000.0, 2000.0)) }
}

fn limit<T: Float>(function: Activation) -> f64 {
    let &(_, single, double) = BOUNDS.iter().find(|row| row.0 == function).unwrap();
    if T::DIGITS == 24 { single } else { double }
}

fn compute<T: Float>(isa: Isa, function: Activation, x: &[T]) -> Vec<T> {
    let mut y = vec![T::NAN; x.len()];
    Elementwise { isa, function, x, y: &mut y }.run().unwrap();
    y
}

/// The result that must be hit to the bit, where there is one: at zeros, infinities and NaN, and beyond the ends.
fn exact<T: Float>(function: Activation, x: T, truth: Wide) -> Option<f64> {
    let argument = x.to_f64();
    if !argument.is_finite() || argument == 0.0 {
        // The library's functions are exact there.
        return Some(oracle::narrow(function, argument));
    }
    let (least, greatest) = T::EXPONENTS;
    // tanh(x) is just below x where it is small; that of the least normal number still rounds to it.
    let exponent = if function == Activation::Tanh { Wide::from(argument).exponent() } else { truth.exponent() };
    match exponent {
        e if e < least && function == Activation::Tanh => Some(0f64.copysign(argument)),
        e if e < least => Some(0.0),
        // No argument's exponential lies between the greatest number and this power of two.
        e if e > greatest && function != Activation::Tanh => Some(f64::INFINITY),
        _ => None,
    }
}

/// The error of y, in units in the last place, if it is allowed.
fn judge<T: Float>(function: Activation, x: T, y: T) -> Result<f64, String> {
    let truth = truth(function, x);
    let (error, allowed) = match exact(function, x, truth) {
        Some(value) if value.is_nan() => (if y.to_f64().is_nan() { 0.0 } else { f64::INFINITY }, 0.0),
        Some(value) => (if y.bits() == T::from_f64(value).bits() { 0.0 } else { f64::INFINITY }, 0.0),
        None => (ulps(y.to_f64(), truth, T::DIGITS), limit::<T>(function)),
    };
    if error <= allowed {
        return Ok(error);
    }
    Err(format!("{function:?}({x:?}, {:#x}) = {y:?}, {error} ulp from {truth:?}; allowed {allowed}", x.bits()))
}

/// Judges every function at `points` under the first of `isas`, and asks the others for the same bits. Returns the
/// greatest errors in the order of [`FUNCTIONS`]; panics with the first failures if there are any.
fn sweep<T: Float>(isas: &[Isa], functions: &[Activation], points: impl Iterator<Item = T>) -> Vec<f64> {
    let mut points = points.peekable();
    let (mut worst, mut failures, mut chunk) = (vec![0.0; functions.len()], Vec::new(), Vec::new());
    while points.peek().is_some() && failures.len() < 10 {
        chunk.clear();
        chunk.extend(points.by_ref().take(4096));
        for (&function, worst) in functions.iter().zip(&mut worst) {
            let first = compute(isas[0], function, &chunk);
            for (&x, &y) in chunk.iter().zip(&first) {
                match judge(function, x, y) {
                    Ok(error) => *worst = error.max(*worst),
                    Err(failure) => failures.push(failure),
                }
            }
            for &isa in &isas[1..] {
                for ((&x, &y), &z) in chunk.iter().zip(&first).zip(&compute(isa, function, &chunk)) {
                    if !same(y, z) {
                        failures.push(format!("{function:?}({x:?}) = {y:?} but {z:?} under {}", isa.name()));
                    }
                }
            }
        }
    }
    failures.truncate(10);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    worst
}

/// Whether 20 million results take about a second.
fn fast(isa: Isa) -> bool {
    matches!(isa.name(), "avx512" | "avx2")
}

#[test]
fn f32_results_are_within_the_documented_bounds() {
    for &isa in Isa::available() {
        let worst = sweep(&[isa], FUNCTIONS, patterns(if fast(isa) { 211 } else { 4099 }));
        println!("{}: {worst:.4?}", isa.name());
    }
}

#[test]
fn f32_results_are_right_around_every_threshold() {
    for &isa in Isa::available() {
        sweep::<f32>(&[isa], FUNCTIONS, neighbourhoods(if fast(isa) { 20_000 } else { 500 }));
    }
}

#[test]
fn f64_results_are_within_the_documented_bounds() {
    for &isa in Isa::available() {
        let worst = sweep(&[isa], FUNCTIONS, arguments(if fast(isa) { 300_000 } else { 30_000 }));
        println!("{}: {worst:.4?}", isa.name());
    }
}

#[test]
fn f64_results_are_right_around_every_threshold() {
    for &isa in Isa::available() {
        sweep::<f64>(&[isa], FUNCTIONS, neighbourhoods(if fast(isa) { 1000 } else { 50 }));
    }
}

/// Small enough for an emulator.
#[test]
fn every_instruction_set_gives_the_same_bits() {
    sweep(Isa::available(), FUNCTIONS, patterns(20_011));
    sweep::<f32>(Isa::available(), FUNCTIONS, neighbourhoods(100));
    sweep(Isa::available(), FUNCTIONS, arguments(20_000));
    sweep::<f64>(Isa::available(), FUNCTIONS, neighbourhoods(20));
}

#[test]
#[ignore = "minutes: every f32 there is"]
fn f32_exhaustively() {
    std::thread::scope(|scope| {
        for &function in FUNCTIONS {
            scope.spawn(move || {
                let worst = sweep(&Isa::available()[..1], &[function], patterns(1));
                println!("f32 {function:?} {worst:.4?}");
            });
        }
    });
}

#[test]
#[ignore = "minutes: 20 million f64"]
fn f64_at_length() {
    std::thread::scope(|scope| {
        for &function in FUNCTIONS {
            scope.spawn(move || {
                let worst = sweep(&Isa::available()[..1], &[function], arguments(20_000_000));
                println!("f64 {function:?} {worst:.4?}");
            });
        }
    });
}

fn tanh_is_odd_and_bounded<T: Float>(points: impl Iterator<Item = T>) {
    let x: Vec<T> = points.filter(|x| !x.to_f64().is_nan()).collect();
    let opposite: Vec<T> = x.iter().map(|&x| T::from_f64(-x.to_f64())).collect();
    for &isa in Isa::available() {
        let y = compute(isa, Activation::Tanh, &x);
        for (y, z) in y.iter().zip(compute(isa, Activation::Tanh, &opposite)) {
            assert!(y.to_f64().abs() <= 1.0 && T::from_f64(-y.to_f64()).bits() == z.bits(), "{y:?} {z:?}");
        }
    }
}

#[test]
fn tanh_is_odd_to_the_bit_and_never_above_one() {
    tanh_is_odd_and_bounded::<f32>(patterns(40_009));
    tanh_is_odd_and_bounded::<f64>(arguments(40_000));
}

#[test]
fn special_values() {
    use Activation::{Exponential as Exp, Sigmoid, Tanh};
    let (infinity, tiny) = (f32::INFINITY, f32::from_bits(1));
    let table = [
        (Exp, 0.0, 1.0),
        (Exp, -0.0, 1.0),
        (Exp, infinity, infinity),
        (Exp, -infinity, 0.0),
        (Exp, f32::MAX, infinity),
        (Exp, -f32::MAX, 0.0),
        (Exp, tiny, 1.0),
        (Sigmoid, 0.0, 0.5),
        (Sigmoid, -0.0, 0.5),
        (Sigmoid, infinity, 1.0),
        (Sigmoid, -infinity, 0.0),
        (Sigmoid, f32::MAX, 1.0),
        (Sigmoid, -f32::MAX, 0.0),
        (Tanh, 0.0, 0.0),
        (Tanh, -0.0, -0.0),
        (Tanh, infinity, 1.0),
        (Tanh, -infinity, -1.0),
        (Tanh, f32::MAX, 1.0),
        (Tanh, f32::MIN_POSITIVE, f32::MIN_POSITIVE),
        (Tanh, tiny, 0.0),
        (Tanh, -tiny, -0.0),
    ];
    for &isa in Isa::available() {
        for (function, x, expected) in table {
            let y = compute(isa, function, &[x])[0];
            assert_eq!(y.to_bits(), expected.to_bits(), "{} {function:?}({x:e}) = {y:e}", isa.name());
        }
        for &function in FUNCTIONS {
            // Payloads too: the arithmetic on bits must not make numbers of them.
            for bits in [0x7FC0_0000, 0xFFC0_0000, 0x7F80_0001, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x7FC0_0081, 0x7FC0_0180] {
                assert!(compute(isa, function, &[f32::from_bits(bits)])[0].is_nan(), "{function:?} of {bits:#x}");
            }
            assert!(compute(isa, function, &[f64::NAN])[0].is_nan());
            assert!(compute(isa, function, &[f64::from_bits(0x7FF8_0000_0000_0401)])[0].is_nan());
        }
    }
}

#[test]
fn any_length_and_nothing_beyond_it() {
    let x: Vec<f32> = (0..70).map(|i| i as f32 / 8.0 - 4.0).collect();
    for &isa in Isa::available() {
        let whole = compute(isa, Activation::Tanh, &x);
        for length in 0..x.len() {
            let mut y = vec![7.0; x.len()];
            let args = Elementwise { isa, function: Activation::Tanh, x: &x[..length], y: &mut y[..length] };
            args.run().unwrap();
            assert_eq!(y[..length], whole[..length]);
            assert!(y[length..].iter().all(|&y| y == 7.0));
        }
    }
}

#[test]
fn lengths_must_agree() {
    let mut y = [7.0f64; 3];
    let args = Elementwise { isa: Isa::available()[0], function: Activation::Exponential, x: &[0.0; 4], y: &mut y };
    assert_eq!(args.run(), Err(ShapeError { argument: "y", expected: 4, found: 3 }));
    assert_eq!(y, [7.0; 3]);
}

#[test]
fn the_oracle_agrees_with_mpmath() {
    use Activation::{Exponential as Exp, Sigmoid, Tanh};
    // (hi + lo) 2^exponent, computed by mpmath with 60 digits.
    let table = [
        (Exp, 1.0, 1.3591409142295225, 7.228234458646251e-17, 1),
        (Exp, -0.3, 1.4816364413634358, -3.611061011906e-18, -1),
        (Exp, 709.5, 1.5074723188709405, -2.169846945243557e-18, 1023),
        (Exp, -708.25, 1.1576806133581352, -3.59469683333484e-17, -1022),
        (Exp, 1e-9, 1.000000001, -8.224037093664211e-17, 0),
        (Sigmoid, 0.7, 1.336375544336332, 9.376532563566207e-17, -1),
        (Sigmoid, -1.95, 1.992853730998663, -9.719967859209183e-17, -4),
        (Sigmoid, -700.0, 1.081828175944821, 9.312926389907246e-18, -1010),
        (Sigmoid, 33.0, 1.9999999999999907, 8.101116644563622e-18, -1),
        (Tanh, 0.19, 1.5019696469462833, -4.2225558665282375e-17, -3),
        (Tanh, -0.21, -1.6557319978356206, 5.8875422330207445e-18, -3),
        (Tanh, 1e-5, 1.3107199999563095, -5.997684526538686e-17, -17),
        (Tanh, 5.5, 1.9999331943126075, 9.866179090857594e-17, -1),
        (Tanh, -18.0, -1.9999999999999991, 3.963071239730231e-17, -1),
    ];
    for (function, x, hi, lo, exponent) in table {
        let truth = oracle::wide(function, x);
        let shift = 2f64.powi(truth.scale - exponent);
        let error = (truth.hi * shift - hi) + (truth.lo * shift - lo);
        assert!(error.abs() < 2f64.powi(-98), "{function:?}({x}): {error:e}");
        assert_eq!(truth.exponent(), exponent, "{function:?}({x})");
    }
}

#[test]
fn the_judge_sees_errors() {
    assert_eq!(ulps(1.0, 1.0.into(), 24), 0.0);
    assert_eq!(ulps(1.0 + f64::from(f32::EPSILON), 1.0.into(), 24), 1.0);
    assert_eq!(ulps(1.0 - f64::EPSILON, Wide { hi: 1.0, lo: -1e-40, scale: 0 }, 53), 2.0);
    assert_eq!(ulps(3.0 * f64::MIN_POSITIVE, Wide { hi: 0.75, lo: 0.0, scale: -1020 }, 53), 0.0);
    assert_eq!(ulps(f64::from_bits((3 << 52) | 5), Wide { hi: 0.5, lo: 0.0, scale: -1019 }, 53), 5.0);
    assert_eq!(ulps(f64::NAN, 1.0.into(), 24), f64::INFINITY);
    assert_eq!(ulps(f64::INFINITY, 1.0.into(), 24), f64::INFINITY);

    assert!(judge(Activation::Exponential, 1.0f32, 1f32.exp()).unwrap() < 1.0);
    assert!(judge(Activation::Exponential, 1.0f32, 1f32.exp() * (1.0 + 3.0 * f32::EPSILON)).is_err());
    assert!(judge(Activation::Tanh, 0.5, 0.5f64.tanh()).unwrap() < 2.0);
    assert!(judge(Activation::Tanh, 0.5, 0.5f64.tanh() * (1.0 + 5.0 * f64::EPSILON)).is_err());
    assert!(judge(Activation::Tanh, -0.0f32, 0.0).is_err());
    assert!(judge(Activation::Tanh, -f32::from_bits(1), 0.0).is_err());
    assert!(judge(Activation::Sigmoid, -88.0f32, (-88f32).exp()).is_err());
    assert!(judge(Activation::Exponential, 89.0f32, f32::MAX).is_err());
    assert!(judge(Activation::Exponential, f32::NAN, 1.0).is_err());

    assert!(same(1.0f32, 1.0) && same(f32::NAN, -f32::NAN));
    assert!(!same(0.0f32, -0.0) && !same(1.0, 1.0 + f64::EPSILON) && !same(f64::NAN, 1.0));
}
