//! Plain Rust: arrays of four, one `mul_add` a lane. The reference for the other instruction sets.

use super::simd::{Simd, Token};
use std::array::from_fn;

/// What every processor has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Portable(());

impl Portable {
    /// Always there.
    pub(super) fn detect() -> Option<Self> {
        Some(Self(()))
    }
}

impl Token for Portable {
    const NAME: &'static str = "portable";

    /// A function of its own, as on every other instruction set: each operation is compiled once, not once for each caller.
    #[inline(never)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
}

/// Values in an array.
const LANES: usize = 4;

/// Implements [`Simd`] for one element type: the methods of `f32` and `f64` have no trait in common.
///
/// On x86-64 `mul_add` is a call for each lane, for the baseline of that architecture has no such instruction: inlined,
/// these calls were most of the library's code.
macro_rules! portable {
    ($t:ident) => {
        impl Simd<$t> for Portable {
            type V = [$t; LANES];
            const LANES: usize = LANES;
            const REGS: usize = 16;

            #[inline(always)]
            fn splat(self, x: $t) -> Self::V {
                [x; LANES]
            }

            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> Self::V {
                // SAFETY: the caller vouches for LANES values at `p`; no alignment is needed.
                unsafe { p.cast::<Self::V>().read_unaligned() }
            }

            #[inline(always)]
            unsafe fn load_n(self, p: *const $t, n: usize) -> Self::V {
                debug_assert!(n <= LANES);
                let mut v = [0.0; LANES];
                for (i, x) in v.iter_mut().take(n).enumerate() {
                    // SAFETY: the caller vouches for `n` values at `p`, and i < n.
                    *x = unsafe { p.add(i).read_unaligned() };
                }
                v
            }

            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: Self::V) {
                // SAFETY: the caller vouches for LANES values at `p`; no alignment is needed.
                unsafe { p.cast::<Self::V>().write_unaligned(v) }
            }

            #[inline(always)]
            unsafe fn store_n(self, p: *mut $t, v: Self::V, n: usize) {
                debug_assert!(n <= LANES);
                for (i, x) in v.into_iter().take(n).enumerate() {
                    // SAFETY: the caller vouches for `n` values at `p`, and i < n.
                    unsafe { p.add(i).write_unaligned(x) }
                }
            }

            #[inline(always)]
            fn prefetch(self, _: *const $t) {}

            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                from_fn(|i| a[i].mul_add(b[i], c[i]))
            }

            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                from_fn(|i| (-a[i]).mul_add(b[i], c[i]))
            }

            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| a[i] + b[i])
            }

            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| a[i] - b[i])
            }

            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| a[i] * b[i])
            }

            #[inline(always)]
            fn div(self, a: Self::V, b: Self::V) -> Self::V {
                from_fn(|i| a[i] / b[i])
            }

            #[inline(always)]
            fn neg(self, a: Self::V) -> Self::V {
                a.map(|x| -x)
            }

            #[inline(always)]
            fn abs(self, a: Self::V) -> Self::V {
                a.map($t::abs)
            }

            #[inline(always)]
            fn with_sign(self, a: Self::V, sign: Self::V) -> Self::V {
                from_fn(|i| a[i].copysign(sign[i]))
            }

            #[inline(always)]
            fn select_lt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V {
                from_fn(|i| if a[i] < b[i] { yes[i] } else { no[i] })
            }

            #[inline(always)]
            fn ldexp(self, a: Self::V, t: Self::V) -> Self::V {
                const MANTISSA_BITS: u32 = $t::MANTISSA_DIGITS - 1;
                from_fn(|i| $t::from_bits(a[i].to_bits().wrapping_add(t[i].to_bits() << MANTISSA_BITS)))
            }
        }
    };
}

portable!(f32);
portable!(f64);
