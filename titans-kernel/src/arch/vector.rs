//! What a kernel needs of a register of numbers, so that it is written once for every instruction set.

use crate::part::Parts;
use crate::scalar::Scalar;

/// A register of [`Vector::LANES`] numbers.
///
/// # Safety
/// An implementation may use instructions that not every processor has: all methods may be called only inside a
/// function that enables them (`#[target_feature]`), on a processor that has them. They are `#[inline(always)]`, so
/// that they become part of that function. Pointers must be valid for the lanes that a method reads or writes; no
/// alignment is asked for.
pub unsafe trait Vector: Copy {
    /// The number in a lane.
    type T: Scalar;
    /// Numbers in a register.
    const LANES: usize;
    /// Registers side by side in a tile of a product.
    const ACROSS: usize;

    /// x in every lane.
    unsafe fn splat(x: Self::T) -> Self;
    /// All lanes from `p`.
    unsafe fn load(p: *const Self::T) -> Self;
    /// All lanes to `p`.
    unsafe fn store(self, p: *mut Self::T);
    /// The first `n ≤ LANES` lanes from `p`, zeros behind them; nothing behind them is read.
    unsafe fn load_first(p: *const Self::T, n: usize) -> Self;
    /// The first `n ≤ LANES` lanes to `p`; nothing behind them is written.
    unsafe fn store_first(self, p: *mut Self::T, n: usize);
    /// self · b + acc, rounded once.
    unsafe fn mul_add(self, b: Self, acc: Self) -> Self;
    /// self · b.
    unsafe fn mul(self, b: Self) -> Self;
    /// self + b.
    unsafe fn add(self, b: Self) -> Self;
    /// self − b.
    unsafe fn sub(self, b: Self) -> Self;
    /// −self, the sign bit turned.
    unsafe fn neg(self) -> Self;
    /// self / b.
    unsafe fn div(self, b: Self) -> Self;
    /// −|self|.
    unsafe fn below(self) -> Self;
    /// In every lane self, or `other` where x is less than 0; where x is −0 or NaN, one of them.
    unsafe fn unless_negative(self, other: Self, x: Self) -> Self;
    /// In every lane the larger one; `other`'s where they are equal or one is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// Lanes `from .. to ≤ LANES` of self, the others of `other`.
    #[inline(always)]
    unsafe fn keep(self, from: usize, to: usize, other: Self) -> Self {
        const { assert!(Self::LANES <= 16) };
        let (mut lanes, mut kept) = ([Self::T::ZERO; 16], [Self::T::ZERO; 16]);
        // SAFETY: no register holds more than sixteen numbers.
        unsafe {
            other.store(lanes.as_mut_ptr());
            self.store(kept.as_mut_ptr());
            lanes.part_mut(from..to).become_copy(kept.part(from..to));
            Self::load(lanes.as_ptr())
        }
    }
    /// In every lane self, or 0 where |self| < `least`; NaN stays.
    unsafe fn flush(self, least: Self) -> Self;
    /// e^x for x ≤ 0 or NaN, to 1 ULP.
    unsafe fn exp<const R: usize>(x: [Self; R]) -> [Self; R];

    /// `body` in a function of its own, which enables the same instructions.
    unsafe fn apart(body: impl FnOnce());

    /// Asks for the cache line of `p`; any address will do.
    fn prefetch(p: *const Self::T);

    /// Writes the transpose of `rows × cols` numbers (rows `stride` apart) to `out`, rows of `out` `width` apart:
    /// element (r, c) to `out[c * width + r]`.
    #[inline(always)]
    unsafe fn transpose(p: *const Self::T, stride: usize, rows: usize, cols: usize, out: *mut Self::T, width: usize) {
        // SAFETY: the caller's promise: every (r, c) lies inside both blocks.
        unsafe { transpose_by_element(p, stride, rows, cols, out, width) }
    }
}

/// [`Vector::transpose`], number by number.
///
/// # Safety
/// `p[r * stride + c]` and `out[c * width + r]` are valid for all r < rows, c < cols.
#[inline(always)]
pub(super) unsafe fn transpose_by_element<T: Copy>(
    p: *const T,
    stride: usize,
    rows: usize,
    cols: usize,
    out: *mut T,
    width: usize,
) {
    for r in 0..rows {
        for c in 0..cols {
            // SAFETY: inside both blocks, as the caller promises.
            unsafe { *out.add(c * width + r) = *p.add(r * stride + c) };
        }
    }
}
