//! From a chosen instruction set to code that is compiled for it.

use super::jobs::{Axpy, Product, Transpose};
use super::softmax::{Row, Scaled};
use super::token_jobs::{Carrying, Learning, MatVec, VecMat};
use super::vector::Vector;
use super::{Isa, Simd};
use crate::arithmetic::{Blend, Columns, QUERIES, RateScaling, Recurrence, ScoreScaling, Silu, Substitution, Update};
use crate::scalar::Scalar;

/// The numbers that have versions: `f32` and `f64`.
pub trait SimdScalar: Scalar + versions::Versions {}

impl SimdScalar for f32 {}
impl SimdScalar for f64 {}

/// Every operation with every instruction set, compiled in this crate once for each number: a generic function would be
/// compiled again wherever it is used.
pub(super) mod versions {
    use super::*;

    /// The trait from one list of operations, and what it is for each number.
    macro_rules! operations {
        ($($operation:ident($job:ident) -> $output:ty;)*) => {
            /// The registers of a number by instruction set, and the operations.
            pub trait Versions: Sized {
                /// 512 bits.
                #[cfg(all(feature = "avx512", target_arch = "x86_64", target_feature = "sse2"))]
                type Avx512: Vector<T = Self>;
                /// 256 bits.
                #[cfg(all(feature = "avx2", target_arch = "x86_64", target_feature = "sse2"))]
                type Avx2: Vector<T = Self>;
                /// 128 bits.
                #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
                type Neon: Vector<T = Self>;

                $(fn $operation(simd: Simd, job: $job<'_, Self>) -> $output;)*
            }

            operations!(@ f32, F32x16, F32x8, F32x4; $($operation($job) -> $output;)*);
            operations!(@ f64, F64x8, F64x4, F64x2; $($operation($job) -> $output;)*);
        };
        (@ $t:ident, $avx512:ident, $avx2:ident, $neon:ident; $($operation:ident($job:ident) -> $output:ty;)*) => {
            impl Versions for $t {
                #[cfg(all(feature = "avx512", target_arch = "x86_64", target_feature = "sse2"))]
                type Avx512 = crate::arch::x86::avx512::$avx512;
                #[cfg(all(feature = "avx2", target_arch = "x86_64", target_feature = "sse2"))]
                type Avx2 = crate::arch::x86::avx2::$avx2;
                #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
                type Neon = crate::arch::aarch64::neon::$neon;

                $(
                    #[inline(never)]
                    fn $operation(simd: Simd, job: $job<'_, Self>) -> $output {
                        simd.run(job, $job::portable)
                    }
                )*
            }
        };
    }

    operations! {
        product(Product) -> ();
        axpy(Axpy) -> ();
        transpose(Transpose) -> ();
        update(Update) -> ();
        softmax_columns(Columns) -> [[Self; QUERIES]; 2];
        softmax_row(Row) -> [Self; 2];
        scale_rows(Scaled) -> bool;
        recur(Recurrence) -> ();
        scale_scores(ScoreScaling) -> ();
        blend(Blend) -> ();
        scale_by_rates(RateScaling) -> ();
        substitute(Substitution) -> ();
        silu(Silu) -> ();
        vecmat(VecMat) -> ();
        matvec(MatVec) -> ();
        learn(Learning) -> ();
        carry(Carrying) -> ();
    }
}

/// Work that is compiled for every instruction set: `run` is inlined into a function that enables it.
pub(super) trait Job<T: SimdScalar> {
    type Output;

    /// Does the work with registers V.
    ///
    /// # Safety
    /// Only inside a function that enables V's instructions, on a processor that has them.
    unsafe fn run<V: Vector<T = T>>(self) -> Self::Output;
}

#[cfg(all(any(feature = "avx2", feature = "avx512"), target_arch = "x86_64", target_feature = "sse2"))]
mod enabled {
    use super::{Job, SimdScalar};

    #[cfg(feature = "avx512")]
    #[target_feature(enable = "avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn avx512<T: SimdScalar, J: Job<T>>(job: J) -> J::Output {
        // SAFETY: this function enables the instructions; whoever may call it is on a processor that has them.
        unsafe { job.run::<T::Avx512>() }
    }

    #[cfg(feature = "avx2")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn avx2<T: SimdScalar, J: Job<T>>(job: J) -> J::Output {
        // SAFETY: as above.
        unsafe { job.run::<T::Avx2>() }
    }

    #[cfg(feature = "avx512")]
    #[target_feature(enable = "avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn loops_avx512<R>(body: impl FnOnce() -> R) -> R {
        body()
    }

    #[cfg(feature = "avx2")]
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
    pub(super) fn run<T: SimdScalar, J: Job<T>>(self, job: J, portable: impl FnOnce(J) -> J::Output) -> J::Output {
        match self.isa() {
            // SAFETY: a `Simd` of an instruction set exists only where the processor has it.
            #[cfg(all(feature = "avx512", target_arch = "x86_64", target_feature = "sse2"))]
            Isa::Avx512 => unsafe { enabled::avx512(job) },
            // SAFETY: as above.
            #[cfg(all(feature = "avx2", target_arch = "x86_64", target_feature = "sse2"))]
            Isa::Avx2 => unsafe { enabled::avx2(job) },
            // SAFETY: as above.
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Isa::Neon => unsafe { enabled::neon(job) },
            #[allow(unreachable_patterns)]
            _ => portable(job),
        }
    }

    /// `body` with this version's instructions, for the compiler to vectorise.
    #[inline(always)]
    pub(super) fn loops<R>(self, body: impl FnOnce() -> R) -> R {
        match self.isa() {
            // SAFETY: a `Simd` of an instruction set exists only where the processor has it.
            #[cfg(all(feature = "avx512", target_arch = "x86_64", target_feature = "sse2"))]
            Isa::Avx512 => unsafe { enabled::loops_avx512(body) },
            // SAFETY: as above.
            #[cfg(all(feature = "avx2", target_arch = "x86_64", target_feature = "sse2"))]
            Isa::Avx2 => unsafe { enabled::loops_avx2(body) },
            #[allow(unreachable_patterns)]
            _ => body(),
        }
    }
}
