//! The arithmetic lent to the kernel: the kernel's own version for this processor, or the one that was asked for.

pub use titans_kernel::arch::{Isa, Simd, SimdScalar};

use crate::error::{Error, Result};

/// The version for one instruction set.
///
/// # Errors
/// [`Error::Device`] when this processor lacks it.
pub fn simd(isa: Isa) -> Result<Simd> {
    Simd::new(isa).ok_or_else(|| Error::Device {
        device: "cpu",
        reason: format!("this processor has no {}; choose {}", isa.name(), Isa::Portable.name()),
    })
}

/// The instruction set of that name.
///
/// # Errors
/// [`Error::Usage`] when there is none.
pub fn isa_named(name: &str) -> Result<Isa> {
    Isa::of_name(name).ok_or_else(|| {
        let names: Vec<&str> = Isa::ALL.iter().map(|isa| isa.name()).collect();
        Error::usage(format!(
            "instruction set: expected one of {}, found `{name}`; choose one of these",
            names.join(", ")
        ))
    })
}
