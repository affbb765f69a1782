//! The edge of the library: no panic crosses it, and every outcome becomes a number.

use crate::failure::Outcome;
use crate::info::{self, titans_error_info};
use crate::status::titans_status::TITANS_OK;

/// Runs `body`, turns a panic into `TITANS_ERROR_INTERNAL`, and fills `info` if there is one.
///
/// # Safety
/// `info` is NULL or points to `struct_size` bytes that are the caller's to write.
pub(crate) unsafe fn call(info: *mut titans_error_info, body: impl FnOnce() -> Outcome<()>) -> i32 {
    // SAFETY: the promise about `info` is this function's own.
    if let Err(failure) = unsafe { info::check(info) } {
        return failure.code as i32;
    }
    let outcome = caught(body);
    // SAFETY: NULL, or checked above; no borrow of the body's is alive any more.
    if let Some(info) = unsafe { info.as_mut() } {
        info::fill(info, &outcome);
    }
    match outcome {
        Ok(()) => TITANS_OK as i32,
        Err(failure) => failure.code as i32,
    }
}

/// Unwind safety: what a panic leaves half done is a memory or stream marked busy, which every later call refuses.
#[cfg(feature = "std")]
fn caught(body: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        std::mem::forget(payload); // its drop could panic again
        Err(crate::failure::Failure::new(crate::status::titans_status::TITANS_ERROR_INTERNAL, 0, "library"))
    })
}

/// Nothing unwinds here: a panic is the panic handler's.
#[cfg(not(feature = "std"))]
fn caught(body: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    body()
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::call;
    use crate::status::titans_status::TITANS_ERROR_INTERNAL;

    #[test]
    fn a_panic_becomes_a_status() {
        let info = core::ptr::null_mut();
        // SAFETY: NULL is a valid `info`.
        let status = unsafe { call(info, || panic!("planted")) };
        assert_eq!(status, TITANS_ERROR_INTERNAL as i32);
        // SAFETY: as above.
        assert_eq!(unsafe { call(info, || Ok(())) }, 0);
    }
}
