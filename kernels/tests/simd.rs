//! Every operation of every instruction set of this processor, lane by lane, against scalar Rust.

use gatefold_kernels::isa::{Dispatch, Isa, Op, Simd};
use std::fmt::Debug;
use std::ops::{Mul, Neg};

/// Scalar Rust: the oracle.
trait Scalar: Dispatch + Copy + Debug + PartialOrd + Mul<Output = Self> + Neg<Output = Self> + 'static {
    const MANTISSA_BITS: u32;
    const SPECIAL: &'static [Self];
    fn of_bits(bits: u64) -> Self;
    fn bits(self) -> u64;
    fn integer(n: i32) -> Self;
    /// Each operation of [`NAMES`] on one lane.
    fn expected(lane: [Self; 4]) -> [Self; NAMES.len()];
    /// a * 2^n, exact as long as the result is a normal number.
    fn times_power_of_two(self, n: i32) -> Self;
}

/// The operations on values alone, in the order of [`Scalar::expected`] and [`Lanewise`].
const NAMES: [&str; 13] =
    ["fma", "fnma", "add", "sub", "mul", "div", "neg", "abs", "with_sign", "min", "max", "select_lt", "ldexp"];

macro_rules! scalar {
    ($t:ident, $bits:ident, $mantissa:literal) => {
        impl Scalar for $t {
            const MANTISSA_BITS: u32 = $mantissa;
            const SPECIAL: &'static [$t] = &[
                0.0,
                -0.0,
                1.0,
                -1.0,
                0.1,
                -3.5,
                1.0 + $t::EPSILON,
                $t::MIN_POSITIVE,
                -$t::MIN_POSITIVE,
                $t::from_bits(1),
                -$t::from_bits(1),
                $t::from_bits((1 << $mantissa) - 1),
                $t::MAX,
                $t::MIN,
                $t::INFINITY,
                $t::NEG_INFINITY,
                $t::NAN,
                -$t::NAN,
            ];

            fn of_bits(bits: u64) -> $t {
                $t::from_bits(bits as $bits)
            }

            fn bits(self) -> u64 {
                self.to_bits().into()
            }

            fn integer(n: i32) -> $t {
                n as $t
            }

            fn expected([a, b, c, d]: [$t; 4]) -> [$t; NAMES.len()] {
                const SIGN: $bits = 1 << ($bits::BITS - 1);
                let [bits_a, bits_b] = [a, b].map($t::to_bits);
                [
                    a.mul_add(b, c),
                    a.mul_add(-b, c),
                    a + b,
                    a - b,
                    a * b,
                    a / b,
                    $t::from_bits(bits_a ^ SIGN),
                    $t::from_bits(bits_a & !SIGN),
                    $t::from_bits(bits_a & !SIGN | bits_b & SIGN),
                    if a < b { a } else { b },
                    if a > b { a } else { b },
                    if a < b { c } else { d },
                    $t::from_bits(bits_a.wrapping_add(bits_b << $mantissa)),
                ]
            }

            fn times_power_of_two(self, n: i32) -> $t {
                let half = n / 2;
                self * (2.0 as $t).powi(half) * (2.0 as $t).powi(n - half)
            }
        }
    };
}

scalar!(f32, u32, 23);
scalar!(f64, u64, 52);

/// Equal bits; a NaN equals a NaN.
fn same<T: Scalar>(x: T, y: T) -> bool {
    let nan = |x: T| x.partial_cmp(&x).is_none();
    x.bits() == y.bits() || nan(x) && nan(y)
}

/// Runs a test of one element type under every instruction set, and says so.
fn everywhere<T: Scalar>(test: impl Fn(Isa)) {
    for &isa in Isa::available() {
        println!("{} {}", isa.name(), std::any::type_name::<T>());
        test(isa);
    }
}

/// Every triple of special values beside a fourth, then random ones: of any bits, and near 1, where
/// half of the `c` are the rounded a * b or -a * b, of which an unfused multiply-add leaves nothing.
fn lanes<T: Scalar>() -> Vec<[T; 4]> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let special = T::SPECIAL;
    let mut lanes = Vec::new();
    for (i, &a) in special.iter().enumerate() {
        for (j, &b) in special.iter().enumerate() {
            lanes.extend(special.iter().map(|&c| [a, b, c, special[(i + j) % special.len()]]));
        }
    }
    let one = T::integer(1).bits();
    for i in 0..20_000 {
        lanes.push([0; 4].map(|_| T::of_bits(random())));
        let mut near = [0; 4].map(|_| T::of_bits(one ^ (random() % (8 << T::MANTISSA_BITS))));
        match i % 4 {
            0 => near[2] = near[0] * near[1],
            1 => near[2] = -(near[0] * near[1]),
            _ => {}
        }
        lanes.push(near);
    }
    // Whole vectors of every width.
    lanes.resize(lanes.len().next_multiple_of(16), [T::integer(2); 4]);
    lanes
}

/// The vector that starts at `i`.
#[inline(always)]
fn at<T, S: Simd<T>>(s: S, plane: &[T], i: usize) -> S::V {
    // SAFETY: slicing panics where there are not LANES values.
    unsafe { s.load(plane[i..i + S::LANES].as_ptr()) }
}

/// The operations of [`NAMES`] on planes of a, b, c and d: a plane of results each.
struct Lanewise<'a, T> {
    planes: [&'a [T]; 4],
}

impl<T: Scalar> Op<T> for Lanewise<'_, T> {
    type Out = [Vec<T>; NAMES.len()];

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> Self::Out {
        let len = self.planes[0].len();
        let mut out = NAMES.map(|_| vec![T::integer(7); len]);
        for i in (0..len).step_by(S::LANES) {
            let [a, b, c, d] = self.planes;
            let (a, b, c, d) = (at(s, a, i), at(s, b, i), at(s, c, i), at(s, d, i));
            let results = [
                s.fma(a, b, c),
                s.fnma(a, b, c),
                s.add(a, b),
                s.sub(a, b),
                s.mul(a, b),
                s.div(a, b),
                s.neg(a),
                s.abs(a),
                s.with_sign(s.abs(a), b),
                s.min(a, b),
                s.max(a, b),
                s.select_lt(a, b, c, d),
                s.ldexp(a, b),
            ];
            for (plane, v) in out.iter_mut().zip(results) {
                // SAFETY: as for the load.
                unsafe { s.store(plane[i..i + S::LANES].as_mut_ptr(), v) }
            }
        }
        out
    }
}

fn lanewise<T: Scalar>() {
    let lanes = lanes::<T>();
    let planes: [Vec<T>; 4] = std::array::from_fn(|i| lanes.iter().map(|lane| lane[i]).collect());
    everywhere::<T>(|isa| {
        let found = T::dispatch(isa, Lanewise { planes: planes.each_ref().map(Vec::as_slice) });
        for (i, &lane) in lanes.iter().enumerate() {
            for ((name, found), expected) in NAMES.iter().zip(&found).zip(T::expected(lane)) {
                assert!(same(found[i], expected), "{isa:?} {name} {lane:?}: {:?}, not {expected:?}", found[i]);
            }
        }
    });
}

#[test]
fn operations_equal_scalar_rust_f32() {
    lanewise::<f32>();
}

#[test]
fn operations_equal_scalar_rust_f64() {
    lanewise::<f64>();
}

/// Each of `values` in every lane, then the vector stored.
struct Splat<'a, T> {
    values: &'a [T],
}

impl<T: Scalar> Op<T> for Splat<'_, T> {
    type Out = Vec<Vec<T>>;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> Self::Out {
        let mut vectors = vec![vec![T::integer(7); S::LANES]; self.values.len()];
        for (lanes, &x) in vectors.iter_mut().zip(self.values) {
            // SAFETY: LANES values.
            unsafe { s.store(lanes.as_mut_ptr(), s.splat(x)) }
        }
        vectors
    }
}

fn splat<T: Scalar>() {
    everywhere::<T>(|isa| {
        let found = T::dispatch(isa, Splat { values: T::SPECIAL });
        for (&x, lanes) in T::SPECIAL.iter().zip(found) {
            assert_eq!(lanes.len(), T::lanes(isa));
            assert!(lanes.iter().all(|&lane| same(lane, x)), "{isa:?} {x:?}: {lanes:?}");
        }
    });
}

#[test]
fn splat_fills_every_lane() {
    splat::<f32>();
    splat::<f64>();
}

/// a * 2^n for every n of which it is asked, in steps of LANES.
struct Ldexp<T> {
    a: T,
    n: std::ops::RangeInclusive<i32>,
}

impl<T: Scalar> Op<T> for Ldexp<T> {
    type Out = Vec<T>;

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> Vec<T> {
        let shift = s.splat(T::integer(3).times_power_of_two(T::MANTISSA_BITS as i32 - 1));
        let mut out: Vec<T> = self.n.map(T::integer).collect();
        for n in out.chunks_mut(S::LANES) {
            // SAFETY: a chunk has at most LANES values, and its own length is passed.
            unsafe {
                let t = s.add(s.load_n(n.as_ptr(), n.len()), shift);
                s.store_n(n.as_mut_ptr(), s.ldexp(s.splat(self.a), t), n.len());
            }
        }
        out
    }
}

fn ldexp<T: Scalar>(least: i32, greatest: i32) {
    everywhere::<T>(|isa| {
        // Each in [1, 2): every n in the range leaves a normal number.
        for a in [T::integer(1), T::integer(3).times_power_of_two(-1), T::of_bits(T::integer(2).bits() - 1)] {
            let found = T::dispatch(isa, Ldexp { a, n: least..=greatest });
            for (n, found) in (least..=greatest).zip(found) {
                let expected = a.times_power_of_two(n);
                assert!(same(found, expected), "{isa:?} {a:?} * 2^{n}: {found:?}, not {expected:?}");
                assert!(same(T::dispatch(isa, Ldexp { a: -a, n: n..=n })[0], -expected), "{isa:?} -{a:?} * 2^{n}");
            }
        }
    });
}

#[test]
fn ldexp_multiplies_by_powers_of_two() {
    ldexp::<f32>(-126, 127);
    ldexp::<f64>(-1022, 1023);
}

/// LANES and REGS as the token has them.
struct Sizes;

impl<T: Scalar> Op<T> for Sizes {
    type Out = [usize; 2];

    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) -> [usize; 2] {
        [S::LANES, S::REGS]
    }
}

#[test]
fn lanes_and_registers() {
    for &isa in Isa::available() {
        let [lanes_f32, lanes_f64, regs] = match isa.name() {
            "avx512" => [16, 8, 32],
            "avx2" => [8, 4, 16],
            "neon" => [4, 2, 32],
            "portable" => [4, 4, 16],
            name => panic!("{name} is not in this table"),
        };
        assert_eq!(f32::dispatch(isa, Sizes), [lanes_f32, regs], "{isa:?}");
        assert_eq!(f64::dispatch(isa, Sizes), [lanes_f64, regs], "{isa:?}");
        assert_eq!([f32::lanes(isa), f64::lanes(isa)], [lanes_f32, lanes_f64], "{isa:?}");
    }
}

#[test]
fn names() {
    let available = Isa::available();
    assert_eq!(available.last().map(|isa| isa.name()), Some("portable"));
    for &isa in available {
        assert_eq!(Isa::named(isa.name()), Ok(isa));
    }
    for name in ["avx512", "avx2", "neon", "portable", "", "AVX2", "avx2 ", "sse2", "best"] {
        let here = available.iter().any(|isa| isa.name() == name);
        match Isa::named(name) {
            Ok(isa) => assert!(here && isa.name() == name, "{name:?}"),
            Err(error) => {
                assert!(!here, "{name:?}");
                assert_eq!(error.name, name);
                let said = error.to_string();
                assert!(said.contains(&format!("{name:?}")) && said.contains("portable"), "{said}");
            }
        }
    }
}
