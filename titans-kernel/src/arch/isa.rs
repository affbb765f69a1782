//! Instruction sets, and what this processor has of them.

#[cfg(all(any(feature = "avx2", feature = "avx512"), target_arch = "x86_64", target_feature = "sse2"))]
use super::x86;

/// An instruction set that [`Simd`](super::Simd) has a version for.
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
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Does this processor have it, and does the system save its registers?
    pub fn available(self) -> bool {
        match self {
            #[cfg(all(feature = "avx512", target_arch = "x86_64", target_feature = "sse2"))]
            Self::Avx512 => x86::detect::avx512(),
            #[cfg(all(feature = "avx2", target_arch = "x86_64", target_feature = "sse2"))]
            Self::Avx2 => x86::detect::avx2(),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Self::Neon => true,
            Self::Portable => true,
            // Those of another processor, or left out of this build.
            #[allow(unreachable_patterns)]
            Self::Avx512 | Self::Avx2 | Self::Neon => false,
        }
    }

    /// The fastest one this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|isa| isa.available()).unwrap_or(Self::Portable)
    }

    /// The same, asked of the processor in the first call of the program only: under a hypervisor the question can cost
    /// more than a token.
    pub fn cached() -> Self {
        #[cfg(all(any(feature = "avx2", feature = "avx512"), target_arch = "x86_64", target_feature = "sse2"))]
        {
            use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
            /// 1 and the place in [`Isa::ALL`]; 0 before the first call.
            static FOUND: AtomicUsize = AtomicUsize::new(0);
            if let Some(&isa) = FOUND.load(Relaxed).checked_sub(1).and_then(|place| Self::ALL.get(place)) {
                return isa;
            }
            let best = Self::best();
            let place = Self::ALL.iter().position(|&isa| isa == best);
            FOUND.store(place.map_or(0, |place| place + 1), Relaxed); // whoever is first: all find the same
            best
        }
        #[cfg(not(all(any(feature = "avx2", feature = "avx512"), target_arch = "x86_64", target_feature = "sse2")))]
        Self::best()
    }
}
