//! Registers of 128 bits.

use core::arch::aarch64::*;
use core::arch::asm;

use crate::arch::exp::{self, Single};
use crate::arch::unroll::each;
use crate::arch::vector::{Vector, transpose_by_element};

/// 4 numbers of `f32`.
#[derive(Clone, Copy)]
pub struct F32x4(float32x4_t);

/// 2 numbers of `f64`.
#[derive(Clone, Copy)]
pub struct F64x2(float64x2_t);

/// [`Vector::apart`].
#[target_feature(enable = "neon")]
#[inline(never)]
fn apart(body: impl FnOnce()) {
    body()
}

macro_rules! vector {
    ($name:ident, $t:ident, $lanes:literal; $splat:ident $load:ident $store:ident $fma:ident $mul:ident $div:ident $add:ident
     $sub:ident $neg:ident $greater:ident $select:ident $abs:ident; $transpose:path, $exp:path) => {
        // SAFETY: every method is an instruction of NEON or a few on as many numbers as its contract says.
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
                debug_assert!(n <= $lanes);
                let mut all = [0.0; $lanes];
                // SAFETY: n ≤ LANES numbers are valid at p; `all` holds LANES.
                unsafe {
                    each!(I < $lanes => if I < n { all[I] = *p.add(I) });
                    Self::load(all.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, n: usize) {
                debug_assert!(n <= $lanes);
                let mut all = [0.0; $lanes];
                // SAFETY: `all` holds LANES numbers; n ≤ LANES numbers are valid at p.
                unsafe {
                    self.store(all.as_mut_ptr());
                    each!(I < $lanes => if I < n { *p.add(I) = all[I] });
                }
            }
            #[inline(always)]
            unsafe fn mul_add(self, b: Self, acc: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $fma(acc.0, self.0, b.0) })
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
                Self(unsafe { $neg(self.0) })
            }
            #[inline(always)]
            unsafe fn div(self, b: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $div(self.0, b.0) })
            }
            #[inline(always)]
            unsafe fn below(self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $neg($abs(self.0)) })
            }
            #[inline(always)]
            unsafe fn unless_negative(self, other: Self, x: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $select($greater($splat(0.0), x.0), other.0, self.0) })
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $select($greater(self.0, other.0), self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn flush(self, least: Self) -> Self {
                // SAFETY: as `splat`. Nothing is greater than NaN.
                unsafe { Self($select($greater(least.0, $abs(self.0)), $splat(0.0), self.0)) }
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
                // SAFETY: a hint; it reads nothing that the program sees, and any address will do.
                unsafe { asm!("prfm pldl1keep, [{p}]", p = in(reg) p, options(nostack, preserves_flags, readonly)) }
            }
            #[inline(always)]
            unsafe fn transpose(p: *const $t, stride: usize, rows: usize, cols: usize, out: *mut $t, width: usize) {
                // SAFETY: the same contract.
                unsafe { $transpose(p, stride, rows, cols, out, width) }
            }
        }
    };
}

vector!(F32x4, f32, 4; vdupq_n_f32 vld1q_f32 vst1q_f32 vfmaq_f32 vmulq_f32 vdivq_f32 vaddq_f32 vsubq_f32 vnegq_f32 vcgtq_f32 vbslq_f32 vabsq_f32;
    transpose, exp::single);
vector!(F64x2, f64, 2; vdupq_n_f64 vld1q_f64 vst1q_f64 vfmaq_f64 vmulq_f64 vdivq_f64 vaddq_f64 vsubq_f64 vnegq_f64 vcgtq_f64 vbslq_f64 vabsq_f64;
    transpose_by_element, exp::by_element);

// SAFETY: as `Vector`.
unsafe impl Single for F32x4 {
    #[inline(always)]
    unsafe fn times_power(self, _: Self, shifted: Self, x: Self, least: Self) -> Self {
        // SAFETY: the caller enables the instructions.
        unsafe {
            let bits = vshlq_n_u32::<23>(vreinterpretq_u32_f32(shifted.0));
            let power = vreinterpretq_f32_u32(vaddq_u32(bits, vdupq_n_u32(127 << 23)));
            Self(vbslq_f32(vcltq_f32(x.0, least.0), vdupq_n_f32(0.0), vmulq_f32(self.0, power)))
        }
    }
}

/// [`Vector::transpose`] in squares of 4 × 4, what is left by element.
#[inline(always)]
unsafe fn transpose(p: *const f32, stride: usize, rows: usize, cols: usize, out: *mut f32, width: usize) {
    let (r4, c4) = (rows & !3, cols & !3);
    for r in (0..r4).step_by(4) {
        for c in (0..c4).step_by(4) {
            // SAFETY: the square lies inside both blocks.
            unsafe { square(p.add(r * stride + c), stride, out.add(c * width + r), width) }
        }
    }
    // SAFETY: the rows below and the columns beside the squares lie inside both blocks.
    unsafe {
        transpose_by_element(p.add(c4), stride, r4, cols - c4, out.add(c4 * width), width);
        transpose_by_element(p.add(r4 * stride), stride, rows - r4, cols, out.add(r4), width);
    }
}

/// A 4 × 4 transpose: pairs of rows, then halves of registers.
#[inline(always)]
unsafe fn square(p: *const f32, stride: usize, out: *mut f32, width: usize) {
    // SAFETY: 4 rows of 4 numbers are valid on both sides, by the caller's promise.
    unsafe {
        let mut row = [vdupq_n_f32(0.0); 4];
        each!(R < 4 => row[R] = vld1q_f32(p.add(R * stride)));
        let [a, b, c, d] = row;
        // Columns 0 and 2, then 1 and 3, of rows 0 and 1, and of rows 2 and 3.
        let (ab_even, ab_odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
        let (cd_even, cd_odd) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
        vst1q_f32(out, vcombine_f32(vget_low_f32(ab_even), vget_low_f32(cd_even)));
        vst1q_f32(out.add(width), vcombine_f32(vget_low_f32(ab_odd), vget_low_f32(cd_odd)));
        vst1q_f32(out.add(2 * width), vcombine_f32(vget_high_f32(ab_even), vget_high_f32(cd_even)));
        vst1q_f32(out.add(3 * width), vcombine_f32(vget_high_f32(ab_odd), vget_high_f32(cd_odd)));
    }
}
