//! Where a text stands: told, forked, begun anew, kept in files.

use super::call::{Handle, HostFailure, call, path};
use super::model::write_whole;
use super::text::{OWN, TEXT, TextState, change, titans_text};
use crate::choice;
use crate::failure::Failure;
use crate::info::titans_error_info;
use crate::pointer::{arg, output, store};
use crate::status::titans_status::*;
use core::ffi::c_char;
use titans_host::Error;

/// Makes a second text that stands where this one stands; both go on independently.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`. `*other` is not written then.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_fork(
    text: *const titans_text,
    other: *mut *mut titans_text,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        let out = output(arg(2, "other"), other, 1, 1)?;
        out.apart_from(&[Handle::<TextState>::addresses(text.cast())])?;
        // SAFETY: the caller promises the text, and the place.
        unsafe {
            let state = Handle::<TextState>::borrow(OWN, TEXT, text.cast())?;
            out.borrow()[0] = Handle::give(TEXT, state.clone()).cast();
        }
        Ok(())
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// Begins anew, before the first byte.
///
/// Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`, `DIVERGED` when the model's own first numbers do not stay
/// finite.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_reset(text: *mut titans_text, info: *mut titans_error_info) -> i32 {
    // SAFETY: the caller's promises are the same.
    unsafe { change(text, info, |state| state.reader.reset().map_err(HostFailure::host)) }
}

/// With `read_only` 1 the memories answer and do not change from the next token on; with 0 they learn.
///
/// Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`; `CONFIG` for other numbers, and for memories that are absent.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_read_only(
    text: *mut titans_text,
    read_only: i32,
    info: *mut titans_error_info,
) -> i32 {
    let body = |state: &mut TextState| {
        let mode = choice::read_only(2, read_only)?;
        let absent = |_| Failure::rule(1, "mode: absent from the start to the end", 2);
        Ok(state.reader.set_mode(mode).map_err(absent)?)
    };
    // SAFETY: the caller's promises are the same.
    unsafe { change(text, info, body) }
}

/// Tokens read since the start, across save and load.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_position(
    text: *const titans_text,
    value: *mut u64,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises text and value.
        unsafe {
            let state = Handle::<TextState>::borrow(OWN, TEXT, text.cast())?;
            let at = Handle::<TextState>::addresses(text.cast());
            Ok(store(arg(2, "value"), value, state.reader.position(), &[at])?)
        }
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// Writes where the text stands to a file, the old one or the whole new one, as `titans stream --state` does, which
/// goes on from it.
///
/// Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`, `IO`, `USAGE` for an empty path.
///
/// # Safety
/// Pointers are NULL or valid; texts end in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_save(
    text: *mut titans_text,
    to: *const c_char,
    info: *mut titans_error_info,
) -> i32 {
    let body = |state: &mut TextState| {
        // SAFETY: the caller promises the path.
        let to = unsafe { path(arg(2, "to"), to) }?.ok_or(arg(2, "to").fail(TITANS_ERROR_NULL))?;
        write_whole(to, &state.reader.save().map_err(HostFailure::host)?)
    };
    // SAFETY: the caller's promises are the same.
    unsafe { change(text, info, body) }
}

/// Goes on from a file that `titans_text_save` or `titans stream --state` wrote, with the same model.
///
/// Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`, `IO`, `USAGE` for an empty path; `SAVED_CORRUPT` for bytes that
/// are no state of this model, or damaged. The text is as before then.
///
/// # Safety
/// Pointers are NULL or valid; texts end in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_load(
    text: *mut titans_text,
    from: *const c_char,
    info: *mut titans_error_info,
) -> i32 {
    let body = |state: &mut TextState| {
        // SAFETY: the caller promises the path.
        let from = unsafe { path(arg(2, "from"), from) }?.ok_or(arg(2, "from").fail(TITANS_ERROR_NULL))?;
        let bytes = std::fs::read(from).map_err(|e| HostFailure::host(Error::io(from, "reading the state", e)))?;
        state.reader.load(&bytes).map_err(|error| {
            let text = format!("{}: {error}; it must come from this model", from.display());
            HostFailure::new(TITANS_ERROR_SAVED_CORRUPT, 2, "from", text)
        })
    };
    // SAFETY: the caller's promises are the same.
    unsafe { change(text, info, body) }
}
