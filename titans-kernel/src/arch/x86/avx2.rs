//! Registers of 256 bits.

use core::arch::x86_64::*;

use crate::arch::exp::{self, Single};
use crate::arch::unroll::each;
use crate::arch::vector::{Vector, transpose_by_element};

/// 8 numbers of `f32`.
#[derive(Clone, Copy)]
pub struct F32x8(__m256);

/// 4 numbers of `f64`.
#[derive(Clone, Copy)]
pub struct F64x4(__m256d);

/// All bits of the first n of eight lanes: eight numbers from 8 − n on.
static FIRST32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
/// The same for four lanes of 64 bits.
static FIRST64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

/// [`Vector::apart`].
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
#[inline(never)]
fn apart(body: impl FnOnce()) {
    body()
}

macro_rules! vector {
    ($name:ident, $t:ident, $lanes:literal, $first:ident; $splat:ident $load:ident $store:ident $load_mask:ident
     $store_mask:ident $fma:ident $mul:ident $div:ident $or:ident $blend:ident $add:ident $sub:ident $xor:ident $max:ident $and:ident $andnot:ident $cmp:ident; $transpose:path, $exp:path) => {
        impl $name {
            #[inline(always)]
            unsafe fn mask(n: usize) -> __m256i {
                debug_assert!(n <= $lanes);
                // SAFETY: n ≤ LANES, so LANES numbers from LANES − n on lie inside the table.
                unsafe { _mm256_loadu_si256($first.as_ptr().add($lanes - n).cast()) }
            }
        }

        // SAFETY: every method is instructions of AVX, AVX2 or FMA on as many numbers as its contract says.
        unsafe impl Vector for $name {
            type T = $t;
            const LANES: usize = $lanes;
            const ACROSS: usize = 2;

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
                Self(unsafe { $load_mask(p, Self::mask(n)) })
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, n: usize) {
                // SAFETY: lanes that the mask leaves out are not touched.
                unsafe { $store_mask(p, Self::mask(n), self.0) }
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
                // SAFETY: as `splat`. The sign bit chooses.
                Self(unsafe { $blend(self.0, other.0, x.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                // SAFETY: as `splat`. The instruction gives its second operand where they are equal or one is NaN.
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn flush(self, least: Self) -> Self {
                // SAFETY: as `splat`. "Not less" is true of NaN.
                unsafe {
                    let size = $andnot($splat(-0.0), self.0);
                    Self($and($cmp::<_CMP_NLT_UQ>(size, least.0), self.0))
                }
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

vector!(F32x8, f32, 8, FIRST32; _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_maskload_ps
    _mm256_maskstore_ps _mm256_fmadd_ps _mm256_mul_ps _mm256_div_ps _mm256_or_ps _mm256_blendv_ps _mm256_add_ps _mm256_sub_ps _mm256_xor_ps _mm256_max_ps _mm256_and_ps _mm256_andnot_ps _mm256_cmp_ps; transpose,
    exp::single);
vector!(F64x4, f64, 4, FIRST64; _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_maskload_pd
    _mm256_maskstore_pd _mm256_fmadd_pd _mm256_mul_pd _mm256_div_pd _mm256_or_pd _mm256_blendv_pd _mm256_add_pd _mm256_sub_pd _mm256_xor_pd _mm256_max_pd _mm256_and_pd _mm256_andnot_pd _mm256_cmp_pd;
    transpose_by_element, exp::by_element);

// SAFETY: as `Vector`.
unsafe impl Single for F32x8 {
    #[inline(always)]
    unsafe fn times_power(self, _: Self, shifted: Self, x: Self, least: Self) -> Self {
        // SAFETY: the caller enables the instructions.
        unsafe {
            let bits = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted.0));
            let power = _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(127 << 23)));
            Self(_mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(x.0, least.0), _mm256_mul_ps(self.0, power)))
        }
    }
}

/// [`Vector::transpose`] in squares of 8 × 8, what is left by element.
#[inline(always)]
unsafe fn transpose(p: *const f32, stride: usize, rows: usize, cols: usize, out: *mut f32, width: usize) {
    let (r8, c8) = (rows & !7, cols & !7);
    for r in (0..r8).step_by(8) {
        for c in (0..c8).step_by(8) {
            // SAFETY: the square lies inside both blocks.
            unsafe { square(p.add(r * stride + c), stride, out.add(c * width + r), width) }
        }
    }
    // SAFETY: the rows below and the columns beside the squares lie inside both blocks.
    unsafe {
        transpose_by_element(p.add(c8), stride, r8, cols - c8, out.add(c8 * width), width);
        transpose_by_element(p.add(r8 * stride), stride, rows - r8, cols, out.add(r8), width);
    }
}

/// An 8 × 8 transpose: pairs of rows, then halves of registers.
#[inline(always)]
unsafe fn square(p: *const f32, stride: usize, out: *mut f32, width: usize) {
    // SAFETY: 8 rows of 8 numbers are valid on both sides, by the caller's promise.
    unsafe {
        let mut row = [_mm256_setzero_ps(); 8];
        each!(R < 8 => row[R] = _mm256_loadu_ps(p.add(R * stride)));
        // Half q of `four[4 g + c]` holds column 4 q + c of rows 4 g .. 4 g + 4.
        let mut four = [_mm256_setzero_ps(); 8];
        each!(G < 2 => {
            let [a, b, c, d] = [row[4 * G], row[4 * G + 1], row[4 * G + 2], row[4 * G + 3]];
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            four[4 * G] = _mm256_shuffle_ps::<0x44>(ab_low, cd_low);
            four[4 * G + 1] = _mm256_shuffle_ps::<0xEE>(ab_low, cd_low);
            four[4 * G + 2] = _mm256_shuffle_ps::<0x44>(ab_high, cd_high);
            four[4 * G + 3] = _mm256_shuffle_ps::<0xEE>(ab_high, cd_high);
        });
        each!(C < 4 => {
            _mm256_storeu_ps(out.add(C * width), _mm256_permute2f128_ps::<0x20>(four[C], four[4 + C]));
            _mm256_storeu_ps(out.add((4 + C) * width), _mm256_permute2f128_ps::<0x31>(four[C], four[4 + C]));
        });
    }
}
