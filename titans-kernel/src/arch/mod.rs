//! The heavy arithmetic in versions for instruction sets, chosen at run time by asking the processor: no std needed.
//!
//! [`Simd`] implements [`Arithmetic`] for `f32` and `f64`. All versions with fused multiply-add compute every element
//! by the same operations in the same order and give the same bits; [`Isa::Portable`] rounds twice a step and differs.
//!
//! This is the only room of the kernel with `unsafe`. Sizes are checked at the safe edge ([`Simd`]'s methods and
//! `product`); inside are raw pointers.
#![allow(unsafe_code)]
// Without a version for this processor, the portable loops remain, and the rest is not called.
#![cfg_attr(
    not(any(
        all(any(feature = "avx2", feature = "avx512"), target_arch = "x86_64", target_feature = "sse2"),
        all(target_arch = "aarch64", target_feature = "neon")
    )),
    allow(dead_code, unused_imports, unused_macros)
)]
// `each!` writes out branches that are never taken, with indices and comparisons that would be wrong if they were.
#![allow(clippy::out_of_bounds_indexing, clippy::absurd_extreme_comparisons)]

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64;
mod back;
mod blend;
mod carry;
mod chunk;
mod dispatch;
mod exp;
mod few;
mod isa;
mod jobs;
mod prefetch;
mod product;
mod silu;
#[allow(unconditional_panic)] // as below
mod softmax;
mod solve;
mod strip;
#[allow(unconditional_panic)] // in branches of `each!` that are never compiled
mod sweep;
mod tile;
mod token;
mod token_jobs;
#[cfg(test)]
mod token_tests;
mod unroll;
mod update;
mod vector;
#[cfg(all(any(feature = "avx2", feature = "avx512"), target_arch = "x86_64", target_feature = "sse2"))]
mod x86;

use crate::arithmetic::{
    Arithmetic, Beside, Blend, Carried, Carry, Columns, Learn, Probe, QUERIES, RateScaling, Recurrence, ScoreScaling,
    Silu, Store, Substitution, Update,
};
use crate::view::{Mat, MatMut};
pub use dispatch::SimdScalar;
pub use isa::Isa;
use jobs::{Axpy, Product, Transpose};
use product::ProductPart;
use softmax::{Row, Scaled};
use token_jobs::{Carrying, Learning, MatVec, VecMat};

/// The kernel's arithmetic for one instruction set. It exists only where the processor has that set.
///
/// ```
/// use titans_kernel::arch::{Isa, Simd};
/// use titans_kernel::{Arithmetic, Mat, MatMut, Store};
///
/// let (a, b) = ([1.0f32, 2.0], [3.0, 4.0]);
/// for g in Isa::ALL.into_iter().filter_map(Simd::new).chain([Simd::best()]) {
///     let mut c = [f32::NAN];
///     g.gemm(Store::Set, Mat::new(&a, 1, 2)?, Mat::new(&b, 2, 1)?, MatMut::new(&mut c, 1, 1)?);
///     assert_eq!(c, [11.0], "{}", g.isa().name());
/// }
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Simd {
    isa: Isa,
}

impl Simd {
    /// The version for `isa`, if this processor has it.
    pub fn new(isa: Isa) -> Option<Self> {
        isa.available().then_some(Self { isa })
    }

    /// The version for the fastest instruction set of this processor.
    pub fn best() -> Self {
        Self { isa: Isa::best() }
    }

    /// The same, with what the processor said in the program's first call ([`Isa::cached`]).
    pub fn cached() -> Self {
        Self { isa: Isa::cached() }
    }

    /// Which instruction set it uses.
    pub const fn isa(&self) -> Isa {
        self.isa
    }
}

impl<T: SimdScalar> Arithmetic<T> for Simd {
    fn gemm(&self, store: Store, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        T::product(*self, Product { store, part: ProductPart::Whole, a, b, c });
    }

    fn axpy(&self, store: Store, w: T, x: &[T], y: &mut [T]) {
        T::axpy(*self, Axpy(store, w, x, y));
    }

    fn transpose(&self, x: Mat<'_, T>, out: MatMut<'_, T>) {
        T::transpose(*self, Transpose(x, out));
    }

    #[inline(always)]
    fn vectorise<R>(&self, body: impl FnOnce() -> R) -> R {
        self.loops(body)
    }

    fn causal(&self, store: Store, beside: Beside, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        T::product(*self, Product { store, part: ProductPart::CausalInner(beside), a, b, c });
    }

    fn band(&self, beside: Beside, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        T::product(*self, Product { store: Store::Set, part: ProductPart::Band(beside), a, b, c });
    }

    fn softmax_columns(&self, columns: Columns<'_, T>) -> [[T; QUERIES]; 2] {
        T::softmax_columns(*self, columns)
    }

    fn softmax_row(&self, scale: T, row: &mut [T]) -> [T; 2] {
        T::softmax_row(*self, Row(scale, row))
    }

    fn scale_rows(&self, factors: &[T], y: MatMut<'_, T>) -> bool {
        T::scale_rows(*self, Scaled(factors, y))
    }

    fn recur(&self, recurrence: Recurrence<'_, T>) {
        T::recur(*self, recurrence);
    }

    fn scale_scores(&self, scaling: ScoreScaling<'_, T>) {
        T::scale_scores(*self, scaling);
    }

    fn blend(&self, blend: Blend<'_, T>) {
        T::blend(*self, blend);
    }

    fn scale_by_rates(&self, scaling: RateScaling<'_, T>) {
        T::scale_by_rates(*self, scaling);
    }

    fn update(&self, update: Update<'_, T>) {
        T::update(*self, update);
    }

    fn substitute(&self, substitution: Substitution<'_, T>) {
        T::substitute(*self, substitution);
    }

    fn silu(&self, silu: Silu<'_, T>) {
        T::silu(*self, silu);
    }

    fn vecmat(&self, x: &[T], w: &[T], out: &mut [T]) {
        T::vecmat(*self, VecMat { x, w, out });
    }

    fn matvec(&self, w: &[T], delta: &[T], out: &mut [T]) {
        T::matvec(*self, MatVec { w, delta, out });
    }

    fn learn(&self, change: Learn<'_, T>, w: &mut [T], s: &mut [T], probes: [Option<Probe<'_, T>>; 2]) {
        T::learn(*self, Learning { change, w, s, probes });
    }

    fn carry(&self, tokens: Carry<'_, T>, out: Carried<'_, T>) {
        T::carry(*self, Carrying { tokens, out });
    }
}

#[cfg(test)]
mod tests;
