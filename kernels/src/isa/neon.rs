//! NEON (Advanced SIMD): 128 bits, 32 registers.
//!
//! It has no masked accesses. `load_n` and `store_n` test every lane rather than stop at `n`: the compiler makes a
//! call of `memcpy` of the shorter loop.

use super::simd::{Simd, Token, lanewise, token};
use core::arch::{aarch64::*, asm};

token! {
    /// Proof of NEON.
    Neon "neon" by is_aarch64_feature_detected: "neon"
}

/// Stable Rust has no intrinsic for it.
#[inline(always)]
fn prefetch(p: *const u8) {
    // SAFETY: a hint that never faults, whatever the address, and changes no memory and no register.
    unsafe { asm!("prfm pldl1keep, [{}]", in(reg) p, options(nostack, preserves_flags, readonly)) }
}

impl Simd<f32> for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    const REGS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        // SAFETY: the caller vouches for 4 values at `p`; the token proves NEON.
        unsafe { vld1q_f32(p) }
    }

    #[inline(always)]
    unsafe fn load_n(self, p: *const f32, n: usize) -> float32x4_t {
        debug_assert!(n <= 4);
        let mut lanes = [0.0; 4];
        for (i, x) in lanes.iter_mut().enumerate() {
            if i < n {
                // SAFETY: the caller vouches for `n` values at `p`, and i < n.
                *x = unsafe { p.add(i).read_unaligned() };
            }
        }
        // SAFETY: `lanes` holds 4 values; the token proves NEON.
        unsafe { vld1q_f32(lanes.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: the caller vouches for 4 values at `p`; the token proves NEON.
        unsafe { vst1q_f32(p, v) }
    }

    #[inline(always)]
    unsafe fn store_n(self, p: *mut f32, v: float32x4_t, n: usize) {
        debug_assert!(n <= 4);
        let mut lanes = [0.0; 4];
        // SAFETY: `lanes` holds 4 values; the token proves NEON.
        unsafe { vst1q_f32(lanes.as_mut_ptr(), v) }
        for (i, x) in lanes.into_iter().enumerate() {
            if i < n {
                // SAFETY: the caller vouches for `n` values at `p`, and i < n.
                unsafe { p.add(i).write_unaligned(x) }
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        prefetch(p.cast());
    }

    lanewise! {
        fma(a, b, c) = vfmaq_f32(c, a, b);
        fnma(a, b, c) = vfmsq_f32(c, a, b);
        add(a, b) = vaddq_f32(a, b);
        sub(a, b) = vsubq_f32(a, b);
        mul(a, b) = vmulq_f32(a, b);
        div(a, b) = vdivq_f32(a, b);
        neg(a) = vnegq_f32(a);
        abs(a) = vabsq_f32(a);
        with_sign(a, sign) = vbslq_f32(vdupq_n_u32(1 << 31), sign, a);
        select_lt(a, b, yes, no) = vbslq_f32(vcltq_f32(a, b), yes, no);
        ldexp(a, t) = {
            let n = vshlq_n_u32::<23>(vreinterpretq_u32_f32(t));
            vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(a), n))
        };
    }
}

impl Simd<f64> for Neon {
    type V = float64x2_t;
    const LANES: usize = 2;
    const REGS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f64) -> float64x2_t {
        // SAFETY: the token proves NEON.
        unsafe { vdupq_n_f64(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f64) -> float64x2_t {
        // SAFETY: the caller vouches for 2 values at `p`; the token proves NEON.
        unsafe { vld1q_f64(p) }
    }

    #[inline(always)]
    unsafe fn load_n(self, p: *const f64, n: usize) -> float64x2_t {
        debug_assert!(n <= 2);
        let mut lanes = [0.0; 2];
        for (i, x) in lanes.iter_mut().enumerate() {
            if i < n {
                // SAFETY: the caller vouches for `n` values at `p`, and i < n.
                *x = unsafe { p.add(i).read_unaligned() };
            }
        }
        // SAFETY: `lanes` holds 2 values; the token proves NEON.
        unsafe { vld1q_f64(lanes.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f64, v: float64x2_t) {
        // SAFETY: the caller vouches for 2 values at `p`; the token proves NEON.
        unsafe { vst1q_f64(p, v) }
    }

    #[inline(always)]
    unsafe fn store_n(self, p: *mut f64, v: float64x2_t, n: usize) {
        debug_assert!(n <= 2);
        let mut lanes = [0.0; 2];
        // SAFETY: `lanes` holds 2 values; the token proves NEON.
        unsafe { vst1q_f64(lanes.as_mut_ptr(), v) }
        for (i, x) in lanes.into_iter().enumerate() {
            if i < n {
                // SAFETY: the caller vouches for `n` values at `p`, and i < n.
                unsafe { p.add(i).write_unaligned(x) }
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, p: *const f64) {
        prefetch(p.cast());
    }

    lanewise! {
        fma(a, b, c) = vfmaq_f64(c, a, b);
        fnma(a, b, c) = vfmsq_f64(c, a, b);
        add(a, b) = vaddq_f64(a, b);
        sub(a, b) = vsubq_f64(a, b);
        mul(a, b) = vmulq_f64(a, b);
        div(a, b) = vdivq_f64(a, b);
        neg(a) = vnegq_f64(a);
        abs(a) = vabsq_f64(a);
        with_sign(a, sign) = vbslq_f64(vdupq_n_u64(1 << 63), sign, a);
        select_lt(a, b, yes, no) = vbslq_f64(vcltq_f64(a, b), yes, no);
        ldexp(a, t) = {
            let n = vshlq_n_u64::<52>(vreinterpretq_u64_f64(t));
            vreinterpretq_f64_u64(vaddq_u64(vreinterpretq_u64_f64(a), n))
        };
    }
}
