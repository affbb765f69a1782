//! The operations of the chunk form as work for every instruction set.

use super::dispatch::{Job, SimdScalar};
use super::product::ProductPart;
use super::vector::Vector;
use super::{product, update};
use crate::arithmetic::{Arithmetic, Portable, Store, Update};
use crate::view::{Mat, MatMut};

/// The operands of a product.
pub struct Product<'a, T> {
    pub store: Store,
    pub part: ProductPart,
    pub a: Mat<'a, T>,
    pub b: Mat<'a, T>,
    pub c: MatMut<'a, T>,
}

impl<T: SimdScalar> Product<'_, T> {
    pub fn portable(self) {
        let Self { store, part, a, b, c } = self;
        match part {
            ProductPart::Whole => Portable.gemm(store, a, b, c),
            ProductPart::CausalInner(beside) => Portable.causal(store, beside, a, b, c),
            ProductPart::Band(beside) => Portable.band(beside, a, b, c),
        }
    }
}

impl<T: SimdScalar> Job<T> for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: the same contract.
        unsafe { product::product::<V>(self.store, self.part, self.a, self.b, self.c) }
    }
}

/// X and what becomes Xᵀ.
pub struct Transpose<'a, T>(pub Mat<'a, T>, pub MatMut<'a, T>);

impl<T: SimdScalar> Transpose<'_, T> {
    pub fn portable(self) {
        Portable.transpose(self.0, self.1);
    }
}

impl<T: SimdScalar> Job<T> for Transpose<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Self(x, mut out) = self;
        if x.col_stride() != 1 || [x.cols(), x.rows()] != [out.rows(), out.cols()] {
            return Portable.transpose(x, out);
        }
        let (p, stride, rows, cols, width) = (x.data().as_ptr(), x.row_stride(), x.rows(), x.cols(), out.row_stride());
        // SAFETY: x has `rows` rows of `cols` numbers `stride` apart, and `out` as many the other way round. The
        // instructions are the caller's promise.
        unsafe { product::transposed::<V>(p, stride, rows, cols, out.data_mut().as_mut_ptr(), width) }
    }
}

/// The operands of `y ± w x`.
pub struct Axpy<'a, T>(pub Store, pub T, pub &'a [T], pub &'a mut [T]);

impl<T: SimdScalar> Axpy<'_, T> {
    pub fn portable(self) {
        Portable.axpy(self.0, self.1, self.2, self.3);
    }
}

impl<T: SimdScalar> Job<T> for Axpy<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let Self(store, w, x, y) = self;
        let n = x.len().min(y.len());
        // SAFETY: both slices hold n numbers; the instructions are the caller's promise.
        unsafe {
            let w = V::splat(if store == Store::Sub { -w } else { w });
            let (x, y) = (x.as_ptr(), y.as_mut_ptr());
            let mut i = 0;
            while i + V::LANES <= n {
                w.mul_add(V::load(x.add(i)), V::load(y.add(i))).store(y.add(i));
                i += V::LANES;
            }
            if i < n {
                let rest = n - i;
                w.mul_add(V::load_first(x.add(i), rest), V::load_first(y.add(i), rest)).store_first(y.add(i), rest);
            }
        }
    }
}

impl<T: SimdScalar> Update<'_, T> {
    pub(super) fn portable(self) {
        Portable.update(self);
    }
}

impl<T: SimdScalar> Job<T> for Update<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: the same contract.
        unsafe { update::update::<V>(self) }
    }
}
