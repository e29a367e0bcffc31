//! Loads and stores of every instruction set of this processor: what they move, and that they touch nothing else.
#![cfg(unix)]

mod guard;

use gatefold_kernels::isa::{Dispatch, Isa, Op, Simd};
use gatefold_kernels::real::Real;
use guard::Guarded;

/// 1, 2, 3 and so on.
fn counting<T: Real>(n: usize) -> Vec<T> {
    (1..=n).map(|i| T::from_f64(i as f64)).collect()
}

/// Equal bits: -0 is not +0, and a NaN that was moved is still that NaN.
#[track_caller]
fn assert_same<T: Real>(what: &str, found: &[T], expected: &[T]) {
    let bits = |x: &[T]| -> Vec<u64> { x.iter().map(|x| x.to_f64().to_bits()).collect() };
    assert_eq!(bits(found), bits(expected), "{what}: {found:?}, not {expected:?}");
}

/// Moves the first `n` lanes between registers and memory that ends at a page without access.
#[derive(Clone, Copy)]
struct Edge {
    n: usize,
}

impl Edge {
    /// All lanes of what `load` makes of n values.
    #[inline(always)]
    fn loaded<T: Real, S: Simd<T>>(self, s: S, load: impl FnOnce(*const T) -> S::V) -> Vec<T> {
        let source = Guarded::new(&counting::<T>(self.n));
        let mut lanes = vec![T::NAN; S::LANES];
        // SAFETY: LANES values.
        unsafe { s.store(lanes.as_mut_ptr(), load(source.values().as_ptr())) }
        lanes
    }

    /// LANES values of NaN, then n more, to which `store` was applied.
    #[inline(always)]
    fn stored<T: Real, S: Simd<T>>(self, s: S, store: impl FnOnce(*mut T, S::V)) -> Vec<T> {
        let lanes = counting::<T>(S::LANES);
        let mut target = Guarded::new(&vec![T::NAN; S::LANES + self.n]);
        // SAFETY: LANES values.
        let v = unsafe { s.load(lanes.as_ptr()) };
        store(target.values_mut()[S::LANES..].as_mut_ptr(), v);
        target.values().to_vec()
    }
}

impl<T: Real> Op<T> for Edge {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let n = self.n;
        let lanes = [counting(n), vec![T::ZERO; S::LANES - n]].concat();
        let memory = [vec![T::NAN; S::LANES], counting(n)].concat();

        let loaded = self.loaded(
            s,
            #[inline(always)]
            // SAFETY: `p` has n values, and n <= LANES.
            |p| unsafe { s.load_n(p, n) },
        );
        assert_same(&format!("{s:?} load_n {n}"), &loaded, &lanes);

        let stored = self.stored(
            s,
            #[inline(always)]
            // SAFETY: `p` has n values, and n <= LANES.
            |p, v| unsafe { s.store_n(p, v, n) },
        );
        assert_same(&format!("{s:?} store_n {n}"), &stored, &memory);

        if n == S::LANES {
            let loaded = self.loaded(
                s,
                #[inline(always)]
                // SAFETY: `p` has LANES values.
                |p| unsafe { s.load(p) },
            );
            assert_same(&format!("{s:?} load"), &loaded, &lanes);

            let stored = self.stored(
                s,
                #[inline(always)]
                // SAFETY: `p` has LANES values.
                |p, v| unsafe { s.store(p, v) },
            );
            assert_same(&format!("{s:?} store"), &stored, &memory);
        }
    }
}

fn edges<T: Real + Dispatch>() {
    for &isa in Isa::available() {
        println!("{} {}", isa.name(), T::NAME);
        for n in 0..=T::lanes(isa) {
            T::dispatch(isa, Edge { n });
        }
    }
}

#[test]
fn loads_and_stores_end_at_the_last_lane_f32() {
    edges::<f32>();
}

#[test]
fn loads_and_stores_end_at_the_last_lane_f64() {
    edges::<f64>();
}

/// Every offset that is no multiple of the vector, or even of the value.
struct Unaligned;

impl<T: Real> Op<T> for Unaligned {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let lanes = counting::<T>(S::LANES);
        let mut memory = vec![T::ZERO; 2 * S::LANES];
        for offset in 0..size_of::<T>() * S::LANES {
            let mut found = vec![T::NAN; S::LANES];
            // SAFETY: LANES values fit in `memory` at every offset, `found` has LANES.
            unsafe {
                let p = memory.as_mut_ptr().byte_add(offset);
                s.store(p, s.load(lanes.as_ptr()));
                s.store(found.as_mut_ptr(), s.load(p));
                assert_same(&format!("{s:?} at byte {offset}"), &found, &lanes);
                s.store_n(p, s.splat(T::ONE), S::LANES);
                s.store(found.as_mut_ptr(), s.load_n(p, S::LANES));
            }
            assert_same(&format!("{s:?} _n at byte {offset}"), &found, &vec![T::ONE; S::LANES]);
        }
    }
}

#[test]
fn no_alignment_is_asked_for() {
    for &isa in Isa::available() {
        f32::dispatch(isa, Unaligned);
        f64::dispatch(isa, Unaligned);
    }
}

/// Addresses of which none may be read.
struct Prefetch;

impl<T: Real> Op<T> for Prefetch {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        for address in [0, 1, usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX] {
            s.prefetch(std::ptr::without_provenance(address));
        }
        let guarded = Guarded::new(&[T::ONE]);
        s.prefetch(guarded.values().as_ptr_range().end);
    }
}

#[test]
fn prefetch_takes_any_address() {
    for &isa in Isa::available() {
        f32::dispatch(isa, Prefetch);
        f64::dispatch(isa, Prefetch);
    }
}
