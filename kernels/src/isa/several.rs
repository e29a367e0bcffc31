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
        std::array::from_fn(|i| unsafe { self.0.load(p.add(i * S::LANES)) })
    }

    #[inline(always)]
    unsafe fn load_n(self, p: *const T, n: usize) -> Self::V {
        let of = |i| n.saturating_sub(i * S::LANES).min(S::LANES);
        // SAFETY: the caller vouches for the first n; nothing is read where none is left.
        std::array::from_fn(|i| unsafe { self.0.load_n(p.wrapping_add(i * S::LANES), of(i)) })
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
            let left = n.saturating_sub(i * S::LANES).min(S::LANES);
            // SAFETY: the caller vouches for the first n; nothing is written where none is left.
            unsafe { self.0.store_n(p.wrapping_add(i * S::LANES), v, left) };
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
