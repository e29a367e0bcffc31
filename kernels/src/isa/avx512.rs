//! AVX-512: 512 bits, 32 registers, masks in registers of their own.

use super::simd::{Simd, Token, lanewise, token};
use core::arch::x86_64::*;

token! {
    /// Proof of AVX-512 F, BW, DQ and VL, and of AVX2 and FMA.
    Avx512 "avx512" by is_x86_feature_detected: "avx512f" "avx512bw" "avx512dq" "avx512vl" "avx2" "fma"
}

/// A mask of the first `n` of `lanes` lanes, at most 16.
#[inline(always)]
fn first(n: usize, lanes: usize) -> u32 {
    debug_assert!(n <= lanes);
    (1 << n) - 1
}

impl Simd<f32> for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const REGS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves AVX-512 F.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: the caller vouches for 16 values at `p`; the token proves AVX-512 F.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn load_n(self, p: *const f32, n: usize) -> __m512 {
        // SAFETY: the caller vouches for `n` values at `p`, and a masked lane is not accessed; the token proves AVX-512 F.
        unsafe { _mm512_maskz_loadu_ps(first(n, 16) as __mmask16, p) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: the caller vouches for 16 values at `p`; the token proves AVX-512 F.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn store_n(self, p: *mut f32, v: __m512, n: usize) {
        // SAFETY: the caller vouches for `n` values at `p`, and a masked lane is not accessed; the token proves AVX-512 F.
        unsafe { _mm512_mask_storeu_ps(p, first(n, 16) as __mmask16, v) }
    }

    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: a hint that never faults, whatever the address; SSE is in every x86-64 processor.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    lanewise! {
        fma(a, b, c) = _mm512_fmadd_ps(a, b, c);
        fnma(a, b, c) = _mm512_fnmadd_ps(a, b, c);
        add(a, b) = _mm512_add_ps(a, b);
        sub(a, b) = _mm512_sub_ps(a, b);
        mul(a, b) = _mm512_mul_ps(a, b);
        div(a, b) = _mm512_div_ps(a, b);
        neg(a) = _mm512_xor_ps(a, _mm512_set1_ps(-0.0));
        abs(a) = _mm512_andnot_ps(_mm512_set1_ps(-0.0), a);
        // a | (-0.0 & sign): the table of a, -0.0 and sign, the least significant bit first, is 11111000.
        with_sign(a, sign) = {
            let (a, zero) = (_mm512_castps_si512(a), _mm512_castps_si512(_mm512_set1_ps(-0.0)));
            _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xF8>(a, zero, _mm512_castps_si512(sign)))
        };
        min(a, b) = _mm512_min_ps(a, b);
        max(a, b) = _mm512_max_ps(a, b);
        select_lt(a, b, yes, no) = _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(a, b), yes, no);
        ldexp(a, t) = {
            let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(t));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), n))
        };
    }
}

impl Simd<f64> for Avx512 {
    type V = __m512d;
    const LANES: usize = 8;
    const REGS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f64) -> __m512d {
        // SAFETY: the token proves AVX-512 F.
        unsafe { _mm512_set1_pd(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f64) -> __m512d {
        // SAFETY: the caller vouches for 8 values at `p`; the token proves AVX-512 F.
        unsafe { _mm512_loadu_pd(p) }
    }

    #[inline(always)]
    unsafe fn load_n(self, p: *const f64, n: usize) -> __m512d {
        // SAFETY: the caller vouches for `n` values at `p`, and a masked lane is not accessed; the token proves AVX-512 F.
        unsafe { _mm512_maskz_loadu_pd(first(n, 8) as __mmask8, p) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f64, v: __m512d) {
        // SAFETY: the caller vouches for 8 values at `p`; the token proves AVX-512 F.
        unsafe { _mm512_storeu_pd(p, v) }
    }

    #[inline(always)]
    unsafe fn store_n(self, p: *mut f64, v: __m512d, n: usize) {
        // SAFETY: the caller vouches for `n` values at `p`, and a masked lane is not accessed; the token proves AVX-512 F.
        unsafe { _mm512_mask_storeu_pd(p, first(n, 8) as __mmask8, v) }
    }

    #[inline(always)]
    fn prefetch(self, p: *const f64) {
        // SAFETY: a hint that never faults, whatever the address; SSE is in every x86-64 processor.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    lanewise! {
        fma(a, b, c) = _mm512_fmadd_pd(a, b, c);
        fnma(a, b, c) = _mm512_fnmadd_pd(a, b, c);
        add(a, b) = _mm512_add_pd(a, b);
        sub(a, b) = _mm512_sub_pd(a, b);
        mul(a, b) = _mm512_mul_pd(a, b);
        div(a, b) = _mm512_div_pd(a, b);
        neg(a) = _mm512_xor_pd(a, _mm512_set1_pd(-0.0));
        abs(a) = _mm512_andnot_pd(_mm512_set1_pd(-0.0), a);
        // a | (-0.0 & sign): the table of a, -0.0 and sign, the least significant bit first, is 11111000.
        with_sign(a, sign) = {
            let (a, zero) = (_mm512_castpd_si512(a), _mm512_castpd_si512(_mm512_set1_pd(-0.0)));
            _mm512_castsi512_pd(_mm512_ternarylogic_epi64::<0xF8>(a, zero, _mm512_castpd_si512(sign)))
        };
        min(a, b) = _mm512_min_pd(a, b);
        max(a, b) = _mm512_max_pd(a, b);
        select_lt(a, b, yes, no) = _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_NLT_UQ>(a, b), yes, no);
        ldexp(a, t) = {
            let n = _mm512_slli_epi64::<52>(_mm512_castpd_si512(t));
            _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(a), n))
        };
    }
}
