//! Several vectors as one.

use super::simd::{Simd, Token};

/// K vectors of `S`, one operation on each after the other: while one waits for its result, the others go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Several<S, const K: usize>(pub(crate) S);

impl<S: Token, const K: usize> Token for Several<S, K> {
    const NAME: &'static str = S::NAME;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        self.0.vectorize(f)
    }
}

/// Writes the operations from vectors to a vector.
macro_rules! each {
    ($($op:ident($first:ident $(, $arg:ident)*);)+) => {$(
        #[inline(always)]
        fn $op(self, $first: Self::V $(, $arg: Self::V)*) -> Self::V {
            let mut result = $first;
            for i in 0..K {
                result[i] = self.0.$op($first[i] $(, $arg[i])*);
            }
            result
        }
    )+};
}

impl<T: Copy, S: Simd<T>, const K: usize> Simd<T> for Several<S, K> {
    type V = [S::V; K];
    const LANES: usize = K * S::LANES;
    const REGS: usize = S::REGS / K;

    #[inline(always)]
    fn splat(self, x: T) -> Self::V {
        [self.0.splat(x); K]
    }

    #[inline(always)]
    unsafe fn load(self, p: *const T) -> Self::V {
        // SAFETY: the caller vouches for all of them.
        unsafe {
            let mut vectors = [self.0.load(p); K];
            for (i, vector) in vectors.iter_mut().enumerate().skip(1) {
                *vector = self.0.load(p.add(i * S::LANES));
            }
            vectors
        }
    }

    #[inline(always)]
    unsafe fn load_n(self, p: *const T, n: usize) -> Self::V {
        // SAFETY: the caller vouches for the first n; nothing is read where none is left.
        unsafe {
            let mut vectors = [self.0.load_n(p, n.min(S::LANES)); K];
            for (i, vector) in vectors.iter_mut().enumerate().skip(1) {
                let from = n.min(i * S::LANES);
                *vector = self.0.load_n(p.add(from), (n - from).min(S::LANES));
            }
            vectors
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut T, v: Self::V) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: the caller vouches for all of them.
            unsafe { self.0.store(p.add(i * S::LANES), v) };
        }
    }

    #[inline(always)]
    unsafe fn store_n(self, p: *mut T, v: Self::V, n: usize) {
        for (i, v) in v.into_iter().enumerate() {
            let from = n.min(i * S::LANES);
            // SAFETY: the caller vouches for the first n; nothing is written where none is left.
            unsafe { self.0.store_n(p.add(from), v, (n - from).min(S::LANES)) };
        }
    }

    #[inline(always)]
    fn prefetch(self, p: *const T) {
        for i in 0..K {
            self.0.prefetch(p.wrapping_add(i * S::LANES));
        }
    }

    each! {
        fma(a, b, c);
        fnma(a, b, c);
        add(a, b);
        sub(a, b);
        mul(a, b);
        div(a, b);
        neg(a);
        abs(a);
        with_sign(a, sign);
        min(a, b);
        max(a, b);
        select_lt(a, b, yes, no);
        ldexp(a, t);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Dispatch, Isa, Op};

    /// Adds 1 to the first n values, for every n.
    struct Parts;

    impl<T: Copy + PartialEq + From<u8>> Op<T> for Parts {
        type Out = ();

        #[inline(always)]
        fn run<S: Simd<T>>(self, s: S) {
            let several = Several::<S, 3>(s);
            let lanes = <Several<S, 3> as Simd<T>>::LANES;
            assert_eq!(lanes, 3 * S::LANES);
            let from: Vec<T> = (0..lanes).map(|i| T::from(1 + i as u8)).collect();
            for n in 0..=lanes {
                let mut to = vec![T::from(0); lanes];
                // SAFETY: both have `lanes` values.
                unsafe {
                    // Only the first n may be read: what stands behind them is another allocation.
                    let values = several.load_n(from[..n].to_vec().as_ptr(), n);
                    several.store_n(to.as_mut_ptr(), several.add(values, several.splat(T::from(1))), n);
                }
                let expected = |i: usize| T::from(if i < n { 2 + i as u8 } else { 0 });
                assert!((0..lanes).all(|i| to[i] == expected(i)), "{} {n}", S::NAME);
            }
            let mut to = vec![T::from(0); lanes];
            // SAFETY: both have `lanes` values.
            unsafe { several.store(to.as_mut_ptr(), several.load(from.as_ptr())) };
            assert!(to == from, "{}", S::NAME);
        }
    }

    #[test]
    fn parts_are_where_they_should_be() {
        for &isa in Isa::available() {
            f32::dispatch(isa, Parts);
            f64::dispatch(isa, Parts);
        }
    }
}
