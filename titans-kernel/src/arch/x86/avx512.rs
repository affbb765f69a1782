//! Registers of 512 bits.

use core::arch::x86_64::*;

use crate::arch::exp::{self, Single};
use crate::arch::unroll::each;
use crate::arch::vector::{Vector, transpose_by_element};

/// 16 numbers of `f32`.
#[derive(Clone, Copy)]
pub struct F32x16(__m512);

/// 8 numbers of `f64`.
#[derive(Clone, Copy)]
pub struct F64x8(__m512d);

/// [`Vector::flush`]. "Not less" is true of NaN.
#[inline(always)]
unsafe fn flush_ps(x: __m512, least: __m512) -> __m512 {
    // SAFETY: the caller enables the instructions.
    unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(x), least), x) }
}

/// [`Vector::flush`].
#[inline(always)]
unsafe fn flush_pd(x: __m512d, least: __m512d) -> __m512d {
    // SAFETY: as above.
    unsafe { _mm512_maskz_mov_pd(_mm512_cmp_pd_mask::<_CMP_NLT_UQ>(_mm512_abs_pd(x), least), x) }
}

macro_rules! vector {
    ($name:ident, $t:ident, $lanes:literal, $mask:ident; $splat:ident $load:ident $store:ident $load_mask:ident
     $store_mask:ident $fma:ident $mul:ident $div:ident $or:ident $less:ident $add:ident $sub:ident $xor:ident $max:ident $keep:ident $flush:ident; $transpose:path, $exp:path) => {
        // SAFETY: every method is instructions of AVX-512 F or DQ on as many numbers as its contract says.
        unsafe impl Vector for $name {
            type T = $t;
            const LANES: usize = $lanes;
            const ACROSS: usize = 4;

            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                // SAFETY: the caller enables the instructions (as in all of these).
                Self(unsafe { $splat(x) })
            }
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: valid for all lanes, by the contract.
                Self(unsafe { $load(p) })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: valid for all lanes, by the contract.
                unsafe { $store(p, self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(p: *const $t, n: usize) -> Self {
                // SAFETY: lanes that the mask leaves out are not touched.
                Self(unsafe { $load_mask(((1u32 << n) - 1) as $mask, p) })
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, n: usize) {
                // SAFETY: lanes that the mask leaves out are not touched.
                unsafe { $store_mask(p, ((1u32 << n) - 1) as $mask, self.0) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, b: Self, acc: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $fma(self.0, b.0, acc.0) })
            }
            #[inline(always)]
            unsafe fn mul(self, b: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $mul(self.0, b.0) })
            }
            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $add(self.0, b.0) })
            }
            #[inline(always)]
            unsafe fn sub(self, b: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $sub(self.0, b.0) })
            }
            #[inline(always)]
            unsafe fn neg(self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $xor(self.0, $splat(-0.0)) })
            }
            #[inline(always)]
            unsafe fn div(self, b: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $div(self.0, b.0) })
            }
            #[inline(always)]
            unsafe fn below(self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $or(self.0, $splat(-0.0)) })
            }
            #[inline(always)]
            unsafe fn unless_negative(self, other: Self, x: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $keep(self.0, $less::<_CMP_LT_OQ>(x.0, $splat(0.0)), other.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                // SAFETY: as `splat`. The instruction gives its second operand where they are equal or one is NaN.
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn keep(self, from: usize, to: usize, other: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $keep(other.0, ((1u32 << to) - (1u32 << from)) as $mask, self.0) })
            }
            #[inline(always)]
            unsafe fn flush(self, least: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $flush(self.0, least.0) })
            }
            #[inline(always)]
            unsafe fn exp<const R: usize>(x: [Self; R]) -> [Self; R] {
                // SAFETY: as `splat`.
                unsafe { $exp(x) }
            }
            #[inline(always)]
            unsafe fn apart(body: impl FnOnce()) {
                // SAFETY: as `splat`.
                unsafe { apart(body) }
            }
            #[inline(always)]
            fn prefetch(p: *const $t) {
                // SAFETY: a hint that touches nothing; SSE is part of x86-64.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
            }
            #[inline(always)]
            unsafe fn transpose(p: *const $t, stride: usize, rows: usize, cols: usize, out: *mut $t, width: usize) {
                // SAFETY: the same contract.
                unsafe { $transpose(p, stride, rows, cols, out, width) }
            }
        }
    };
}

vector!(F32x16, f32, 16, __mmask16; _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_maskz_loadu_ps
    _mm512_mask_storeu_ps _mm512_fmadd_ps _mm512_mul_ps _mm512_div_ps _mm512_or_ps _mm512_cmp_ps_mask _mm512_add_ps _mm512_sub_ps _mm512_xor_ps _mm512_max_ps _mm512_mask_mov_ps flush_ps; transpose, exp::single);
vector!(F64x8, f64, 8, __mmask8; _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_maskz_loadu_pd
    _mm512_mask_storeu_pd _mm512_fmadd_pd _mm512_mul_pd _mm512_div_pd _mm512_or_pd _mm512_cmp_pd_mask _mm512_add_pd _mm512_sub_pd _mm512_xor_pd _mm512_max_pd _mm512_mask_mov_pd flush_pd; transpose_by_element,
    exp::by_element);

// SAFETY: as `Vector`.
unsafe impl Single for F32x16 {
    #[inline(always)]
    unsafe fn times_power(self, n: Self, _: Self, x: Self, least: Self) -> Self {
        // SAFETY: the caller enables the instructions.
        unsafe { Self(_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x.0, least.0), self.0, n.0)) }
    }
}

/// [`Vector::apart`].
#[target_feature(enable = "avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
#[inline(never)]
fn apart(body: impl FnOnce()) {
    body()
}

/// [`Vector::transpose`] in squares of 16 × 16, what is left by element.
#[inline(always)]
unsafe fn transpose(p: *const f32, stride: usize, rows: usize, cols: usize, out: *mut f32, width: usize) {
    let (r16, c16) = (rows & !15, cols & !15);
    for r in (0..r16).step_by(16) {
        for c in (0..c16).step_by(16) {
            // SAFETY: the square lies inside both blocks.
            unsafe { square(p.add(r * stride + c), stride, out.add(c * width + r), width) }
        }
    }
    // SAFETY: the rows below and the columns beside the squares lie inside both blocks.
    unsafe {
        transpose_by_element(p.add(c16), stride, r16, cols - c16, out.add(c16 * width), width);
        transpose_by_element(p.add(r16 * stride), stride, rows - r16, cols, out.add(r16), width);
    }
}

/// A 16 × 16 transpose: pairs of rows, then quarters of registers.
#[inline(always)]
unsafe fn square(p: *const f32, stride: usize, out: *mut f32, width: usize) {
    // SAFETY: 16 rows of 16 numbers are valid on both sides, by the caller's promise.
    unsafe {
        let mut row = [_mm512_setzero_ps(); 16];
        each!(R < 16 => row[R] = _mm512_loadu_ps(p.add(R * stride)));
        // Each 128-bit quarter q of `four[4 g + c]` holds column 4 q + c of rows 4 g .. 4 g + 4.
        let mut four = [_mm512_setzero_ps(); 16];
        each!(G < 4 => {
            let [a, b, c, d] = [row[4 * G], row[4 * G + 1], row[4 * G + 2], row[4 * G + 3]];
            let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            four[4 * G] = _mm512_shuffle_ps::<0x44>(ab_low, cd_low);
            four[4 * G + 1] = _mm512_shuffle_ps::<0xEE>(ab_low, cd_low);
            four[4 * G + 2] = _mm512_shuffle_ps::<0x44>(ab_high, cd_high);
            four[4 * G + 3] = _mm512_shuffle_ps::<0xEE>(ab_high, cd_high);
        });
        each!(C < 4 => {
            let [a, b, e, f] = [four[C], four[4 + C], four[8 + C], four[12 + C]];
            // Quarters 0 and 2, then 1 and 3, of rows 0 .. 8 and 8 .. 16.
            let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
            let (ef_even, ef_odd) = (_mm512_shuffle_f32x4::<0x88>(e, f), _mm512_shuffle_f32x4::<0xDD>(e, f));
            _mm512_storeu_ps(out.add(C * width), _mm512_shuffle_f32x4::<0x88>(ab_even, ef_even));
            _mm512_storeu_ps(out.add((8 + C) * width), _mm512_shuffle_f32x4::<0xDD>(ab_even, ef_even));
            _mm512_storeu_ps(out.add((4 + C) * width), _mm512_shuffle_f32x4::<0x88>(ab_odd, ef_odd));
            _mm512_storeu_ps(out.add((12 + C) * width), _mm512_shuffle_f32x4::<0xDD>(ab_odd, ef_odd));
        });
    }
}
