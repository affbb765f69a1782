//! Which library this is.

use core::ffi::{CStr, c_char};

/// Number of the binary interface this header describes: the number in the shared library's soname. It rises with
/// every change after which programs must be compiled again.
pub const TITANS_ABI_VERSION: u32 = 1;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"unknown",
};

/// The ABI number of the library that was loaded; compare it with `TITANS_ABI_VERSION`.
#[unsafe(no_mangle)]
pub extern "C" fn titans_abi_version() -> u32 {
    TITANS_ABI_VERSION
}

/// The library's version, e.g. "0.1.0". Static: never free it.
#[unsafe(no_mangle)]
pub extern "C" fn titans_version_string() -> *const c_char {
    VERSION.as_ptr()
}
