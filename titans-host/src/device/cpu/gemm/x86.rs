//! Dispatch to the instruction sets of x86-64: the tiles inlined into functions that enable the instructions.

use titans_kernel::gemm::causal;
use titans_kernel::{Gemm, Mat, MatMut, Store};

use super::HostScalar;

/// A tile set without dispatch, to be inlined into a function that enables the instructions.
#[derive(Clone, Copy)]
struct Inline<const WIDE: bool>;

impl<T: HostScalar, const WIDE: bool> Gemm<T> for Inline<WIDE> {
    #[inline(always)]
    fn gemm(&self, store: Store, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        if WIDE { T::wide(store, a, b, c) } else { T::narrow(store, a, b, c) }
    }

    #[inline(always)]
    fn axpy(&self, store: Store, w: T, x: &[T], y: &mut [T]) {
        T::fused_axpy(store, w, x, y);
    }
}

/// The operands of a product. A closure in its place would not have to be inlined where the instructions are enabled.
struct Product<'a, T, const WIDE: bool> {
    store: Store,
    /// Of [`Gemm::causal`].
    offset: Option<usize>,
    a: Mat<'a, T>,
    b: Mat<'a, T>,
    c: MatMut<'a, T>,
}

impl<T: HostScalar, const WIDE: bool> pulp::NullaryFnOnce for Product<'_, T, WIDE> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        match self.offset {
            None => Inline::<WIDE>.gemm(self.store, self.a, self.b, self.c),
            Some(offset) => causal(&Inline::<WIDE>, self.store, offset, self.a, self.b, self.c),
        }
    }
}

/// The operands of `y ± w x`.
struct Axpy<'a, T>(Store, T, &'a [T], &'a mut [T]);

impl<T: HostScalar> pulp::NullaryFnOnce for Axpy<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        T::fused_axpy(self.0, self.1, self.2, self.3);
    }
}

macro_rules! dispatched {
    ($(#[$doc:meta])* $name:ident, $simd:ty, $wide:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name(pub(super) $simd);

        impl<T: HostScalar> Gemm<T> for $name {
            fn gemm(&self, store: Store, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
                self.0.vectorize(Product::<T, $wide> { store, offset: None, a, b, c });
            }

            #[inline]
            fn axpy(&self, store: Store, w: T, x: &[T], y: &mut [T]) {
                self.0.vectorize(Axpy(store, w, x, y));
            }

            #[inline(always)]
            fn vectorise<R>(&self, body: impl FnOnce() -> R) -> R {
                self.0.vectorize(body)
            }

            fn causal(&self, store: Store, offset: usize, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
                self.0.vectorize(Product::<T, $wide> { store, offset: Some(offset), a, b, c });
            }
        }
    };
}

dispatched!(/** Products with 512-bit vectors; exists only where the processor has them. */ Avx512, pulp::x86::V4, true);
dispatched!(/** Products with 256-bit vectors; exists only where the processor has them. */ Avx2, pulp::x86::V3, false);
