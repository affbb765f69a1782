//! The matrix product lent to the kernel: its own tile, compiled for the widest instructions this processor has.
//!
//! All fused instruction sets give the same bits: every element is one chain of fused multiply-adds over k.

#[cfg(target_arch = "x86_64")]
mod x86;

use titans_kernel::gemm::{MulAdd, axpy, panel};
use titans_kernel::{Gemm, Mat, MatMut, Portable, Scalar, Store};

use crate::error::{Error, Result};
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// An instruction set that [`HostGemm`] can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 512-bit vectors with fused multiply-add.
    Avx512,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// What the program was compiled for; two roundings a step.
    Portable,
}

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// `avx512`, `avx2` or `portable`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// This processor has it.
    pub fn available(self) -> bool {
        HostGemm::with(self).is_ok()
    }

    /// The fastest one this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|isa| isa.available()).unwrap_or(Self::Portable)
    }
}

impl std::str::FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|isa| isa.name() == name);
        found.ok_or_else(|| {
            Error::usage(format!(
                "instruction set: expected avx512, avx2 or portable, found `{name}`; choose one of these"
            ))
        })
    }
}

/// A matrix product per instruction set, chosen once. Loops in [`Gemm::vectorise`] are compiled for each set too, if
/// their closures are `#[inline(always)]`.
#[derive(Clone, Copy, Debug)]
pub enum HostGemm {
    /// See [`Isa::Avx512`].
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// See [`Isa::Avx2`].
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// See [`Isa::Portable`].
    Portable(Portable),
}

impl HostGemm {
    /// The product for one instruction set.
    ///
    /// # Errors
    /// [`Error::Device`] when this processor lacks it.
    pub fn with(isa: Isa) -> Result<Self> {
        let gemm = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => pulp::x86::V4::try_new().map(|simd| Self::Avx512(Avx512(simd))),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => pulp::x86::V3::try_new().map(|simd| Self::Avx2(Avx2(simd))),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => None,
            Isa::Portable => Some(Self::Portable(Portable)),
        };
        gemm.ok_or_else(|| Error::Device {
            device: "cpu",
            reason: format!("this processor has no {}; choose {}", isa.name(), Isa::Portable.name()),
        })
    }

    /// Which instruction set it uses.
    pub const fn isa(&self) -> Isa {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Isa::Avx512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Isa::Avx2,
            Self::Portable(_) => Isa::Portable,
        }
    }
}

/// An expression with `$g` bound to the product of the chosen instruction set.
macro_rules! chosen {
    ($gemm:expr, $g:ident => $body:expr) => {
        match $gemm {
            #[cfg(target_arch = "x86_64")]
            HostGemm::Avx512($g) => $body,
            #[cfg(target_arch = "x86_64")]
            HostGemm::Avx2($g) => $body,
            HostGemm::Portable($g) => $body,
        }
    };
}

impl<T: HostScalar> Gemm<T> for HostGemm {
    fn gemm(&self, store: Store, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        chosen!(self, g => g.gemm(store, a, b, c));
    }

    fn axpy(&self, store: Store, w: T, x: &[T], y: &mut [T]) {
        chosen!(self, g => g.axpy(store, w, x, y));
    }

    fn vectorise<R>(&self, body: impl FnOnce() -> R) -> R {
        chosen!(self, g => Gemm::<T>::vectorise(g, body))
    }

    fn causal(&self, store: Store, offset: usize, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        chosen!(self, g => g.causal(store, offset, a, b, c));
    }
}

/// One rounding a step. Only to be used where the instruction is enabled: elsewhere it is a slow library call.
#[derive(Clone, Copy, Debug)]
struct Fused;

impl MulAdd<f32> for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, acc: f32) -> f32 {
        a.mul_add(b, acc)
    }
}

impl MulAdd<f64> for Fused {
    #[inline(always)]
    fn mul_add(a: f64, b: f64, acc: f64) -> f64 {
        a.mul_add(b, acc)
    }
}

/// The numbers a host computes with, with the tiles that fit its registers: `f32` and `f64`.
pub trait HostScalar: Scalar {
    /// C from A and B by 512-bit tiles.
    #[doc(hidden)]
    fn wide(store: Store, a: Mat<'_, Self>, b: Mat<'_, Self>, c: MatMut<'_, Self>);
    /// C from A and B by 256-bit tiles.
    #[doc(hidden)]
    fn narrow(store: Store, a: Mat<'_, Self>, b: Mat<'_, Self>, c: MatMut<'_, Self>);
    /// `y ± w x`, one rounding.
    #[doc(hidden)]
    fn fused_axpy(store: Store, w: Self, x: &[Self], y: &mut [Self]);
}

/// Panels from wide to narrow over the columns of C: (rows × columns of a tile).
macro_rules! tiles {
    ($t:ty, $store:ident, $a:ident, $b:ident, $c:ident, $kc:literal; $($mr:literal x $nr:literal),+; $last_mr:literal x $last_nr:literal) => {{
        let n = $c.cols();
        let mut j = 0;
        $(while n - j >= $nr {
            panel::<$t, Fused, $mr, $nr, $kc>($store, $a, $b, &mut $c, j, $nr);
            j += $nr;
        })+
        while j < n {
            let width = $last_nr.min(n - j);
            panel::<$t, Fused, $last_mr, $last_nr, $kc>($store, $a, $b, &mut $c, j, width);
            j += width;
        }
    }};
}

macro_rules! host_scalar {
    ($t:ident, $wide:tt, $narrow:tt) => {
        impl HostScalar for $t {
            #[inline(always)]
            fn wide(store: Store, a: Mat<'_, Self>, b: Mat<'_, Self>, mut c: MatMut<'_, Self>) {
                host_scalar!(@tiles $t, store, a, b, c, $wide);
            }
            #[inline(always)]
            fn narrow(store: Store, a: Mat<'_, Self>, b: Mat<'_, Self>, mut c: MatMut<'_, Self>) {
                host_scalar!(@tiles $t, store, a, b, c, $narrow);
            }
            #[inline(always)]
            fn fused_axpy(store: Store, w: Self, x: &[Self], y: &mut [Self]) {
                axpy::<Self, Fused>(store, w, x, y);
            }
        }
    };
    (@tiles $t:ident, $store:ident, $a:ident, $b:ident, $c:ident, ($($tiles:tt)*)) => {
        tiles!($t, $store, $a, $b, $c, 64; $($tiles)*)
    };
}

// Tiles of 8 rows lose their vectors in the compiler (a fiftieth of the speed).
host_scalar!(f32, (4 x 64, 4 x 32; 4 x 16), (4 x 16; 4 x 8));
host_scalar!(f64, (4 x 32, 4 x 16; 4 x 8), (4 x 8; 4 x 4));
