//! The heavy arithmetic in versions for instruction sets, chosen at run time by asking the processor: no std needed.
//!
//! [`Simd`] implements [`Gemm`] for `f32` and `f64`. All versions with fused multiply-add compute every element by the
//! same operations in the same order and give the same bits; [`Isa::Portable`] rounds twice a step and differs.
//!
//! This is the only room of the kernel with `unsafe`. Sizes are checked at the safe edge ([`Simd`]'s methods and
//! `product`); inside are raw pointers.
#![allow(unsafe_code)]
// Without a version for this processor, the portable loops remain, and the rest is not called.
#![cfg_attr(
    not(any(
        all(target_arch = "x86_64", target_feature = "sse2"),
        all(target_arch = "aarch64", target_feature = "neon")
    )),
    allow(dead_code, unused_imports, unused_macros)
)]
// `each!` writes out cases that are never reached.
#![allow(clippy::out_of_bounds_indexing, clippy::absurd_extreme_comparisons)]

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64;
mod product;
mod unroll;
mod update;
mod vector;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod x86;

use crate::gemm::{Gemm, Portable, Store};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};
use product::Part;
use vector::Vector;

/// An instruction set that [`Simd`] has a version for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// x86-64: 512-bit registers (AVX-512 F, CD, BW, DQ, VL).
    Avx512,
    /// x86-64: 256-bit registers (AVX2 and FMA).
    Avx2,
    /// AArch64: 128-bit registers, on every processor.
    Neon,
    /// What the program was compiled for; two roundings a step.
    Portable,
}

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// `avx512`, `avx2`, `neon` or `portable`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Does this processor have it, and does the system save its registers?
    pub fn available(self) -> bool {
        match self {
            #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
            Self::Avx512 => x86::detect::avx512(),
            #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
            Self::Avx2 => x86::detect::avx2(),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Self::Neon => true,
            Self::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The fastest one this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|isa| isa.available()).unwrap_or(Self::Portable)
    }
}

/// The kernel's arithmetic for one instruction set. It exists only where the processor has that set.
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

    /// Which instruction set it uses.
    pub const fn isa(&self) -> Isa {
        self.isa
    }
}

/// The numbers that have versions: `f32` and `f64`.
pub trait SimdScalar: Scalar + versions::Versions {}

impl SimdScalar for f32 {}
impl SimdScalar for f64 {}

mod versions {
    use super::vector::Vector;

    /// The registers of a number by instruction set.
    pub trait Versions: Sized {
        /// 512 bits.
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        type Avx512: Vector<T = Self>;
        /// 256 bits.
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        type Avx2: Vector<T = Self>;
        /// 128 bits.
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        type Neon: Vector<T = Self>;
    }

    impl Versions for f32 {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        type Avx512 = super::x86::avx512::F32x16;
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        type Avx2 = super::x86::avx2::F32x8;
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        type Neon = super::aarch64::neon::F32x4;
    }

    impl Versions for f64 {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        type Avx512 = super::x86::avx512::F64x8;
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        type Avx2 = super::x86::avx2::F64x4;
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        type Neon = super::aarch64::neon::F64x2;
    }
}

/// Work that is compiled for every instruction set: `run` is inlined into a function that enables it.
trait Job<T: SimdScalar> {
    type Output;

    /// Does the work with registers V.
    ///
    /// # Safety
    /// Only inside a function that enables V's instructions, on a processor that has them.
    unsafe fn run<V: Vector<T = T>>(self) -> Self::Output;
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod enabled {
    use super::{Job, SimdScalar};

    #[target_feature(enable = "avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn avx512<T: SimdScalar, J: Job<T>>(job: J) -> J::Output {
        // SAFETY: this function enables the instructions; whoever may call it is on a processor that has them.
        unsafe { job.run::<T::Avx512>() }
    }

    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn avx2<T: SimdScalar, J: Job<T>>(job: J) -> J::Output {
        // SAFETY: as above.
        unsafe { job.run::<T::Avx2>() }
    }

    #[target_feature(enable = "avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn loops_avx512<R>(body: impl FnOnce() -> R) -> R {
        body()
    }

    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn loops_avx2<R>(body: impl FnOnce() -> R) -> R {
        body()
    }
}

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod enabled {
    use super::{Job, SimdScalar};

    #[target_feature(enable = "neon")]
    pub(super) fn neon<T: SimdScalar, J: Job<T>>(job: J) -> J::Output {
        // SAFETY: this function enables the instructions; whoever may call it is on a processor that has them.
        unsafe { job.run::<T::Neon>() }
    }
}

impl Simd {
    /// `job` with this version's registers, or `portable` where it has none.
    #[inline(always)]
    fn run<T: SimdScalar, J: Job<T>>(self, job: J, portable: impl FnOnce(J) -> J::Output) -> J::Output {
        match self.isa {
            // SAFETY: a `Simd` of an instruction set exists only where the processor has it.
            #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
            Isa::Avx512 => unsafe { enabled::avx512(job) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
            Isa::Avx2 => unsafe { enabled::avx2(job) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Isa::Neon => unsafe { enabled::neon(job) },
            #[allow(unreachable_patterns)]
            _ => portable(job),
        }
    }
}

/// The operands of a product.
struct Product<'a, T> {
    store: Store,
    part: Part,
    a: Mat<'a, T>,
    b: Mat<'a, T>,
    c: MatMut<'a, T>,
}

impl<T: SimdScalar> Job<T> for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: the same contract.
        unsafe { product::product::<V>(self.store, self.part, self.a, self.b, self.c) }
    }
}

/// The operands of `y ± w x`.
struct Axpy<'a, T>(Store, T, &'a [T], &'a mut [T]);

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

/// The operands of [`Gemm::update`].
struct Update<'a, T>([T; 3], Mat<'a, T>, &'a [T], MatMut<'a, T>, MatMut<'a, T>);

impl<T: SimdScalar> Job<T> for Update<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: the same contract.
        unsafe { update::update::<V>(self.0, self.1, self.2, self.3, self.4) }
    }
}

impl<T: SimdScalar> Gemm<T> for Simd {
    fn gemm(&self, store: Store, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        self.run(Product { store, part: Part::Whole, a, b, c }, |p| Portable.gemm(p.store, p.a, p.b, p.c));
    }

    fn axpy(&self, store: Store, w: T, x: &[T], y: &mut [T]) {
        self.run(Axpy(store, w, x, y), |Axpy(store, w, x, y)| Portable.axpy(store, w, x, y));
    }

    #[inline(always)]
    fn vectorise<R>(&self, body: impl FnOnce() -> R) -> R {
        match self.isa {
            // SAFETY: a `Simd` of an instruction set exists only where the processor has it.
            #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
            Isa::Avx512 => unsafe { enabled::loops_avx512(body) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
            Isa::Avx2 => unsafe { enabled::loops_avx2(body) },
            #[allow(unreachable_patterns)]
            _ => body(),
        }
    }

    fn causal(&self, store: Store, offset: usize, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        let part = Part::CausalInner(offset);
        self.run(Product { store, part, a, b, c }, |p| Portable.causal(p.store, offset, p.a, p.b, p.c));
    }

    fn lower(&self, offset: usize, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        let part = Part::CausalOuter(offset);
        self.run(Product { store: Store::Set, part, a, b, c }, |p| Portable.lower(offset, p.a, p.b, p.c));
    }

    fn update(&self, decay: [T; 3], h: Mat<'_, T>, weighted: &[T], w: MatMut<'_, T>, s: MatMut<'_, T>) {
        self.run(Update(decay, h, weighted, w, s), |u| Portable.update(u.0, u.1, u.2, u.3, u.4));
    }
}

#[cfg(test)]
mod tests;
