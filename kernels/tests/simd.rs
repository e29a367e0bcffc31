//! Every operation of every instruction set of this processor, lane by lane, against scalar Rust.

#[cfg(unix)]
mod guard;

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
const NAMES: [&str; 11] = ["fma", "fnma", "add", "sub", "mul", "div", "neg", "abs", "copysign", "select_lt", "ldexp"];

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
            // SAFETY: the slice ends the run if there are not LANES values.
            let [a, b, c, d] = self.planes.map(|x| unsafe { s.load(x[i..i + S::LANES].as_ptr()) });
            let results = [
                s.fma(a, b, c),
                s.fnma(a, b, c),
                s.add(a, b),
                s.sub(a, b),
                s.mul(a, b),
                s.div(a, b),
                s.neg(a),
                s.abs(a),
                s.copysign(a, b),
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
        let vectors = self.values.iter().map(|&x| {
            let mut lanes = vec![T::integer(7); S::LANES];
            // SAFETY: LANES values.
            unsafe { s.store(lanes.as_mut_ptr(), s.splat(x)) }
            lanes
        });
        vectors.collect()
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

#[cfg(unix)]
mod memory {
    use super::*;
    use guard::Guarded;

    /// `load_n`, `store_n`, and at n = LANES also `load` and `store`, of n values with nothing after them.
    struct Edge<T> {
        n: usize,
        /// Values that are not to be found where nothing was stored.
        canary: T,
    }

    impl<T: Scalar> Edge<T> {
        /// 1, 2, 3 and so on.
        fn values(&self) -> Vec<T> {
            (1..=self.n as i32).map(T::integer).collect()
        }

        /// Runs `load` on values that end at the guard page; all lanes of what it returns.
        fn load<S: Simd<T>>(&self, s: S, load: impl FnOnce(*const T) -> S::V) -> Vec<T> {
            let source = Guarded::new(&self.values());
            let mut lanes = vec![self.canary; S::LANES];
            // SAFETY: LANES values.
            unsafe { s.store(lanes.as_mut_ptr(), load(source.values().as_ptr())) }
            lanes
        }

        /// Runs `store` on memory of LANES canaries and then n more, which end at the guard page; the memory.
        fn store<S: Simd<T>>(&self, s: S, store: impl FnOnce(*mut T, S::V)) -> Vec<T> {
            let source: Vec<T> = (1..=S::LANES as i32).map(T::integer).collect();
            let mut target = Guarded::new(&vec![self.canary; S::LANES + self.n]);
            // SAFETY: LANES values.
            let v = unsafe { s.load(source.as_ptr()) };
            store(target.values_mut()[S::LANES..].as_mut_ptr(), v);
            target.values().to_vec()
        }
    }

    impl<T: Scalar> Op<T> for Edge<T> {
        type Out = ();

        #[inline(always)]
        fn run<S: Simd<T>>(self, s: S) {
            let Self { n, canary } = self;
            let loaded = [self.values(), vec![T::integer(0); S::LANES - n]].concat();
            let stored = [vec![canary; S::LANES], self.values()].concat();
            // SAFETY: `p` has n values.
            let lanes = self.load(s, |p| unsafe { s.load_n(p, n) });
            assert!(all_same(&lanes, &loaded), "{s:?} load_n {n}: {lanes:?}");
            // SAFETY: `p` has n values.
            let memory = self.store(s, |p, v| unsafe { s.store_n(p, v, n) });
            assert!(all_same(&memory, &stored), "{s:?} store_n {n}: {memory:?}");
            if n == S::LANES {
                // SAFETY: `p` has n = LANES values.
                let lanes = self.load(s, |p| unsafe { s.load(p) });
                assert!(all_same(&lanes, &loaded), "{s:?} load: {lanes:?}");
                // SAFETY: `p` has n = LANES values.
                let memory = self.store(s, |p, v| unsafe { s.store(p, v) });
                assert!(all_same(&memory, &stored), "{s:?} store: {memory:?}");
            }
        }
    }

    fn all_same<T: Scalar>(found: &[T], expected: &[T]) -> bool {
        found.len() == expected.len() && found.iter().zip(expected).all(|(&x, &y)| same(x, y))
    }

    fn edges<T: Scalar>(canary: T) {
        everywhere::<T>(|isa| (0..=T::lanes(isa)).for_each(|n| T::dispatch(isa, Edge { n, canary })));
    }

    #[test]
    fn loads_and_stores_touch_nothing_else() {
        edges(f32::NAN);
        edges(f64::NAN);
    }
}

/// NaN stands after the n values that are moved: none is loaded, none is overwritten.
struct Within<T> {
    nan: T,
}

impl<T: Scalar> Op<T> for Within<T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for n in 0..=S::LANES {
            let source = [vec![T::integer(5); n], vec![self.nan; S::LANES]].concat();
            let mut target = vec![self.nan; S::LANES];
            // SAFETY: both have n values, `target` LANES.
            unsafe {
                let v = s.load_n(source.as_ptr(), n);
                s.store(target.as_mut_ptr(), v);
                let zeros = target.iter().filter(|&&x| same(x, T::integer(0))).count();
                assert_eq!(zeros, S::LANES - n, "{s:?} load_n {n}: {target:?}");
                target.fill(self.nan);
                s.store_n(target.as_mut_ptr(), s.splat(T::integer(5)), n);
            }
            let expected = [vec![T::integer(5); n], vec![self.nan; S::LANES - n]].concat();
            assert!(target.iter().zip(expected).all(|(&x, y)| same(x, y)), "{s:?} store_n {n}: {target:?}");
        }
    }
}

#[test]
fn masked_lanes_stay() {
    everywhere::<f32>(|isa| f32::dispatch(isa, Within { nan: f32::NAN }));
    everywhere::<f64>(|isa| f64::dispatch(isa, Within { nan: f64::NAN }));
}

/// Prefetches addresses of which none may be read.
struct Prefetch;

impl<T: Scalar> Op<T> for Prefetch {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for address in [0, 1, usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX] {
            s.prefetch(std::ptr::without_provenance(address));
        }
    }
}

#[test]
fn prefetch_takes_any_address() {
    everywhere::<f32>(|isa| f32::dispatch(isa, Prefetch));
    everywhere::<f64>(|isa| f64::dispatch(isa, Prefetch));
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
