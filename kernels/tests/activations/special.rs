//! Zeros, infinities, NaN and the ends of the types; any length; parameters.

use crate::points::{Float, arguments, random, same};
use crate::{BOUNDS, compute};
use gatefold_kernels::activation::Activation::{self, *};
use gatefold_kernels::elementwise::Elementwise;
use gatefold_kernels::isa::Isa;

const INFINITY: f64 = f64::INFINITY;

/// Results at +0, -0, +infinity and -infinity.
const LIMITS: &[(Activation, [f64; 4])] = &[
    (Sigmoid, [0.5, 0.5, 1.0, 0.0]),
    (Tanh, [0.0, -0.0, 1.0, -1.0]),
    (Relu, [0.0, -0.0, INFINITY, 0.0]),
    (Linear, [0.0, -0.0, INFINITY, -INFINITY]),
    (Relu6, [0.0, -0.0, 6.0, 0.0]),
    (LeakyRelu { alpha: 0.5 }, [0.0, -0.0, INFINITY, -INFINITY]),
    (LeakyRelu { alpha: -0.5 }, [0.0, -0.0, INFINITY, INFINITY]),
    (ThresholdedRelu { alpha: 1.0 }, [0.0, 0.0, INFINITY, 0.0]),
    (ThresholdedRelu { alpha: 0.0 }, [0.0, -0.0, INFINITY, 0.0]),
    (Elu { alpha: 1.0 }, [0.0, -0.0, INFINITY, -1.0]),
    (Elu { alpha: 0.25 }, [0.0, -0.0, INFINITY, -0.25]),
    (Selu, [0.0, -0.0, INFINITY, -1.7580993408473766]),
    (Gelu, [0.0, -0.0, INFINITY, 0.0]),
    (Silu, [0.0, -0.0, INFINITY, -0.0]),
    (Mish, [0.0, -0.0, INFINITY, 0.0]),
    // At zeros it is log(2), about: `main` has that.
    (Softplus, [f64::NAN, f64::NAN, INFINITY, 0.0]),
    (Softsign, [0.0, -0.0, 1.0, -1.0]),
    (Exponential, [1.0, 1.0, INFINITY, 0.0]),
    (HardSigmoid { alpha: 0.2, beta: 0.5 }, [0.5, 0.5, 1.0, 0.0]),
    (HardSilu, [0.0, -0.0, INFINITY, -0.0]),
    (Affine { alpha: -2.0, beta: 0.25 }, [0.25, 0.25, -INFINITY, INFINITY]),
    (ScaledTanh { alpha: 2.0, beta: -3.0 }, [-0.0, 0.0, -2.0, 2.0]),
];

/// The activations whose values far out are those at the infinities.
fn saturates(activation: Activation) -> bool {
    !matches!(activation, Linear | LeakyRelu { .. } | Affine { .. } | Selu)
}

fn limits<T: Float>(isa: Isa) {
    for &(activation, [zero, minus_zero, infinity, minus_infinity]) in LIMITS {
        let table = [(0.0, zero), (-0.0, minus_zero), (INFINITY, infinity), (-INFINITY, minus_infinity)];
        for (x, expected) in table.into_iter().filter(|row| !row.1.is_nan()) {
            let y = compute(isa, activation, &[T::from_f64(x)])[0];
            let what = format!("{} {} {activation:?}({x}) = {y:?}", T::NAME, isa.name());
            assert_eq!(y.bits(), T::from_f64(expected).bits(), "{what}, expected {expected}");
        }
        // The greatest numbers: a limit where it is finite, else no NaN.
        let greatest = T::of_bits(T::from_f64(INFINITY).bits() - 1).to_f64();
        for (x, limit) in [(greatest, infinity), (-greatest, minus_infinity)] {
            let y = compute(isa, activation, &[T::from_f64(x)])[0];
            assert!(!y.to_f64().is_nan(), "{activation:?}({x}) is NaN");
            if saturates(activation) && limit.is_finite() {
                assert_eq!(y.bits(), T::from_f64(limit).bits(), "{activation:?}({x}) = {y:?}");
            }
        }
    }
}

#[test]
fn zeros_infinities_and_the_greatest_numbers() {
    for &isa in Isa::available() {
        limits::<f32>(isa);
        limits::<f64>(isa);
    }
    for activation in Activation::ALL {
        let kind = std::mem::discriminant(activation);
        assert!(LIMITS.iter().any(|(other, _)| std::mem::discriminant(other) == kind), "{activation:?}");
    }
}

#[test]
fn nan_gives_nan() {
    for &isa in Isa::available() {
        for bound in BOUNDS {
            // Payloads too: the arithmetic on bits must not make numbers of them.
            for bits in [0x7FC0_0000, 0xFFC0_0000, 0x7F80_0001, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x7FC0_0081, 0x7FC0_0180] {
                let y = compute(isa, bound.activation, &[f32::from_bits(bits)])[0];
                assert!(y.is_nan(), "{} {:?} of {bits:#x} = {y}", isa.name(), bound.activation);
            }
            for bits in [0x7FF8 << 48, 0xFFF8 << 48, (0x7FF0 << 48) + 1, (0x7FF8 << 48) + 0x401, u64::MAX] {
                let y = compute(isa, bound.activation, &[f64::from_bits(bits)])[0];
                assert!(y.is_nan(), "{} {:?} of {bits:#x} = {y}", isa.name(), bound.activation);
            }
        }
    }
}

/// Near 0, where the functions are lines, down to the least subnormal.
fn subnormal<T: Float>(isa: Isa) {
    let unit = T::of_bits(1).to_f64();
    for bits in [1, 2, 3, 1001] {
        for sign in [1.0, -1.0] {
            let x = sign * T::of_bits(bits).to_f64();
            let at = |activation| compute(isa, activation, &[T::from_f64(x)])[0].to_f64();
            for activation in [Linear, Softsign, LeakyRelu { alpha: 1.0 }, ThresholdedRelu { alpha: -1.0 }] {
                assert_eq!(at(activation), x, "{activation:?}");
            }
            assert_eq!(at(Relu), x.max(0.0));
            assert_eq!(at(Relu6), x.max(0.0));
            let slopes = [(Elu { alpha: 1.0 }, 1.0), (Gelu, 0.5), (Silu, 0.5), (Mish, 0.6), (HardSilu, 0.5)];
            for (activation, slope) in slopes {
                let error = (at(activation) - slope * x).abs();
                assert!(error <= unit, "{} {activation:?}({x:e}): {error:e}", isa.name());
            }
            assert_eq!(at(Affine { alpha: 1.0, beta: 0.25 }), 0.25);
            assert_eq!(at(HardSigmoid { alpha: 0.2, beta: 0.5 }), 0.5);
            assert_eq!(at(Softplus), compute(isa, Softplus, &[T::ZERO])[0].to_f64());
        }
    }
}

#[test]
fn subnormal_arguments() {
    for &isa in Isa::available() {
        subnormal::<f32>(isa);
        subnormal::<f64>(isa);
    }
}

#[test]
fn pieces_meet_where_they_should() {
    for &isa in Isa::available() {
        let at = |activation, x: f64| compute(isa, activation, &[x])[0];
        assert_eq!(at(ThresholdedRelu { alpha: 0.75 }, 0.75), 0.75);
        assert_eq!(at(ThresholdedRelu { alpha: 0.75 }, 0.75f64.next_down()), 0.0);
        assert_eq!(at(ThresholdedRelu { alpha: -2.0 }, -1.5), -1.5);
        assert_eq!(at(Relu6, 6.5), 6.0);
        assert_eq!(at(HardSilu, -3.0), -0.0);
        assert_eq!(at(HardSilu, 3.0), 3.0);
        assert_eq!(at(HardSilu, 1.0), 4.0 / 6.0);
        assert_eq!(at(HardSigmoid { alpha: 0.5, beta: 0.25 }, 1.0), 0.75);
        assert_eq!(at(HardSigmoid { alpha: 0.5, beta: 0.25 }, 2.0), 1.0);
        assert_eq!(at(HardSigmoid { alpha: 0.5, beta: 0.25 }, -1.0), 0.0);
        assert_eq!(at(LeakyRelu { alpha: 0.125 }, -8.0), -1.0);
        assert_eq!(at(Affine { alpha: 3.0, beta: -1.0 }, 2.0), 5.0);
        assert_eq!(at(Selu, 1.0), 1.0507009873554805);
    }
}

/// Elu is never below -alpha, where it is nearly that.
#[test]
fn elu_keeps_above_its_limit() {
    let x: Vec<f32> = (0..200_000).map(|i| -0.0005 * i as f32).collect();
    let wide: Vec<f64> = x.iter().map(|&x| x.into()).collect();
    for &isa in Isa::available() {
        assert!(compute(isa, Elu { alpha: 1.0 }, &x).iter().all(|&y| y >= -1.0));
        assert!(compute(isa, Elu { alpha: 1.0 }, &wide).iter().all(|&y| y >= -1.0));
    }
}

/// Every length up to past two vectors: the bits that one vector's worth of each value alone has, and nothing beyond.
fn lengths<T: Float>(x: &[T]) {
    let longest = 2 * Isa::available().iter().map(|&isa| T::lanes(isa)).max().unwrap() + 1;
    for bound in BOUNDS {
        let alone: Vec<T> =
            x[..longest].iter().map(|&x| compute(Isa::available()[0], bound.activation, &[x])[0]).collect();
        for &isa in Isa::available() {
            for length in 0..=longest {
                let mut y = vec![T::from_f64(7.0); longest];
                let args = Elementwise { isa, function: bound.activation, x: &x[..length], y: &mut y[..length] };
                args.run().unwrap();
                let what = format!("{} {} {:?} {length}", T::NAME, isa.name(), bound.activation);
                assert!((0..length).all(|i| same(y[i], alone[i])), "{what}");
                assert!(y[length..].iter().all(|y| y.to_f64() == 7.0), "{what}: beyond");
            }
        }
    }
}

#[test]
fn any_length_has_the_same_bits_and_nothing_beyond_it_is_written() {
    lengths(&arguments(64).map(|x| x as f32).collect::<Vec<_>>());
    lengths(&arguments(64).collect::<Vec<_>>());
    lengths(&random(3).take(64).map(|bits| f32::from_bits(bits as u32)).collect::<Vec<_>>());
    lengths(&random(4).take(64).map(f64::from_bits).collect::<Vec<_>>());
}
