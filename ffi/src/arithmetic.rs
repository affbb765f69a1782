//! The kernel's arithmetic for the processor that the library runs on.

use std::sync::OnceLock;
use titans_kernel::arch::Simd;

/// The version for the fastest instruction set. The processor is asked in the first call only: under a hypervisor the
/// question can cost more than a token.
pub fn arithmetic() -> &'static Simd {
    static BEST: OnceLock<Simd> = OnceLock::new();
    BEST.get_or_init(Simd::best)
}
