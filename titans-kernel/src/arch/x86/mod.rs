//! x86-64: AVX-512, and AVX2 with FMA.

#[cfg(feature = "avx2")]
pub(super) mod avx2;
#[cfg(feature = "avx512")]
pub(super) mod avx512;
pub(super) mod detect;
