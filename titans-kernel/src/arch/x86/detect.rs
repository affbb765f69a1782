//! What this processor has, asked of the processor itself: there is no std here.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

/// Bits of a register that the system saves: SSE and AVX.
const YMM: u64 = 0b110;
/// The same with the masks and upper halves of AVX-512.
#[cfg(feature = "avx512")]
const ZMM: u64 = 0b1110_0110;

/// The registers that the system saves (XCR0), 0 where it does not say.
fn saved() -> u64 {
    const XSAVE_ON: u32 = 1 << 27;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & XSAVE_ON == 0 {
        return 0;
    }
    // SAFETY: the system has turned XSAVE on, so the instruction exists.
    unsafe { xcr0() }
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: register 0 exists wherever XSAVE does.
    unsafe { _xgetbv(0) }
}

/// AVX2 and FMA, and a system that saves their registers.
pub(in crate::arch) fn avx2() -> bool {
    const FMA: u32 = 1 << 12;
    const AVX: u32 = 1 << 28;
    const AVX2: u32 = 1 << 5;
    saved() & YMM == YMM && __cpuid(1).ecx & (FMA | AVX) == FMA | AVX && __cpuid_count(7, 0).ebx & AVX2 != 0
}

/// AVX-512 F, CD, BW, DQ and VL, and all that [`avx2`] asks for.
#[cfg(feature = "avx512")]
pub(in crate::arch) fn avx512() -> bool {
    const ALL: u32 = 1 << 16 | 1 << 17 | 1 << 28 | 1 << 30 | 1 << 31;
    avx2() && saved() & ZMM == ZMM && __cpuid_count(7, 0).ebx & ALL == ALL
}
