//! The kernel's arithmetic for the processor that the library runs on.

use titans_kernel::arch::Simd;

/// The version for the fastest instruction set; the processor is asked in the first call only.
pub fn arithmetic() -> Simd {
    Simd::cached()
}
