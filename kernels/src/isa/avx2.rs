//! AVX2 and FMA: 256 bits, 16 registers.

use super::simd::{Simd, Token, lanewise, token};
use core::arch::x86_64::*;

token! {
    /// Proof of AVX2 and FMA.
    Avx2 "avx2" by is_x86_feature_detected: "avx2" "fma"
}

/// A mask of the first `n` of 8 lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn first_epi32(n: usize) -> __m256i {
    debug_assert!(n <= 8);
    // SAFETY: the caller vouches for AVX2.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

/// A mask of the first `n` of 4 lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn first_epi64(n: usize) -> __m256i {
    debug_assert!(n <= 4);
    // SAFETY: the caller vouches for AVX2.
    unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(n as i64), _mm256_setr_epi64x(0, 1, 2, 3)) }
}

impl Simd<f32> for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const REGS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: the caller vouches for 8 values at `p`; the token proves AVX.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn load_n(self, p: *const f32, n: usize) -> __m256 {
        // SAFETY: the caller vouches for `n` values at `p`, and a masked lane is not accessed; the token proves AVX2.
        unsafe { _mm256_maskload_ps(p, first_epi32(n)) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: the caller vouches for 8 values at `p`; the token proves AVX.
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn store_n(self, p: *mut f32, v: __m256, n: usize) {
        // SAFETY: the caller vouches for `n` values at `p`, and a masked lane is not accessed; the token proves AVX2.
        unsafe { _mm256_maskstore_ps(p, first_epi32(n), v) }
    }

    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: a hint that never faults, whatever the address; SSE is in every x86-64 processor.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    lanewise! {
        fma(a, b, c) = _mm256_fmadd_ps(a, b, c);
        fnma(a, b, c) = _mm256_fnmadd_ps(a, b, c);
        add(a, b) = _mm256_add_ps(a, b);
        sub(a, b) = _mm256_sub_ps(a, b);
        mul(a, b) = _mm256_mul_ps(a, b);
        div(a, b) = _mm256_div_ps(a, b);
        neg(a) = _mm256_xor_ps(a, _mm256_set1_ps(-0.0));
        abs(a) = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        with_sign(a, sign) = _mm256_or_ps(a, _mm256_and_ps(_mm256_set1_ps(-0.0), sign));
        min(a, b) = _mm256_min_ps(a, b);
        max(a, b) = _mm256_max_ps(a, b);
        select_lt(a, b, yes, no) = {
            let lt = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
            _mm256_or_ps(_mm256_and_ps(lt, yes), _mm256_andnot_ps(lt, no))
        };
        ldexp(a, t) = {
            let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(t));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), n))
        };
    }
}

impl Simd<f64> for Avx2 {
    type V = __m256d;
    const LANES: usize = 4;
    const REGS: usize = 16;

    #[inline(always)]
    fn splat(self, x: f64) -> __m256d {
        // SAFETY: the token proves AVX.
        unsafe { _mm256_set1_pd(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f64) -> __m256d {
        // SAFETY: the caller vouches for 4 values at `p`; the token proves AVX.
        unsafe { _mm256_loadu_pd(p) }
    }

    #[inline(always)]
    unsafe fn load_n(self, p: *const f64, n: usize) -> __m256d {
        // SAFETY: the caller vouches for `n` values at `p`, and a masked lane is not accessed; the token proves AVX2.
        unsafe { _mm256_maskload_pd(p, first_epi64(n)) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f64, v: __m256d) {
        // SAFETY: the caller vouches for 4 values at `p`; the token proves AVX.
        unsafe { _mm256_storeu_pd(p, v) }
    }

    #[inline(always)]
    unsafe fn store_n(self, p: *mut f64, v: __m256d, n: usize) {
        // SAFETY: the caller vouches for `n` values at `p`, and a masked lane is not accessed; the token proves AVX2.
        unsafe { _mm256_maskstore_pd(p, first_epi64(n), v) }
    }

    #[inline(always)]
    fn prefetch(self, p: *const f64) {
        // SAFETY: a hint that never faults, whatever the address; SSE is in every x86-64 processor.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    lanewise! {
        fma(a, b, c) = _mm256_fmadd_pd(a, b, c);
        fnma(a, b, c) = _mm256_fnmadd_pd(a, b, c);
        add(a, b) = _mm256_add_pd(a, b);
        sub(a, b) = _mm256_sub_pd(a, b);
        mul(a, b) = _mm256_mul_pd(a, b);
        div(a, b) = _mm256_div_pd(a, b);
        neg(a) = _mm256_xor_pd(a, _mm256_set1_pd(-0.0));
        abs(a) = _mm256_andnot_pd(_mm256_set1_pd(-0.0), a);
        with_sign(a, sign) = _mm256_or_pd(a, _mm256_and_pd(_mm256_set1_pd(-0.0), sign));
        min(a, b) = _mm256_min_pd(a, b);
        max(a, b) = _mm256_max_pd(a, b);
        select_lt(a, b, yes, no) = {
            let lt = _mm256_cmp_pd::<_CMP_LT_OQ>(a, b);
            _mm256_or_pd(_mm256_and_pd(lt, yes), _mm256_andnot_pd(lt, no))
        };
        ldexp(a, t) = {
            let n = _mm256_slli_epi64::<52>(_mm256_castpd_si256(t));
            _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(a), n))
        };
    }
}
