//! The edge of this tier: outcomes with a whole sentence, and handles that are told from other pointers.

use crate::boundary;
use crate::failure::Failure;
use crate::info::{self, titans_error_info};
use crate::pointer::{Arg, addresses};
use crate::status::titans_status::{self, *};
use core::ops::Range;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use titans_host::Error;
use titans_kernel::Error as KernelError;

/// A failure, and the sentence that the host has for it.
#[derive(Debug)]
pub(super) struct HostFailure {
    pub(super) failure: Failure,
    pub(super) text: Option<String>,
}

pub(super) type HostOutcome<T> = Result<T, HostFailure>;

impl From<Failure> for HostFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, text: None }
    }
}

impl HostFailure {
    /// With a sentence.
    pub(super) fn new(code: titans_status, arg: i32, what: &'static str, text: String) -> Self {
        Self { failure: Failure::new(code, arg, what), text: Some(text) }
    }

    /// What the host reports.
    pub(super) fn host(error: Error) -> Self {
        let text = Some(error.to_string());
        let code = match &error {
            Error::Io { .. } => TITANS_ERROR_IO,
            Error::File { .. } => TITANS_ERROR_FILE,
            Error::Held { .. } => TITANS_ERROR_HELD,
            Error::Usage(_) => TITANS_ERROR_USAGE,
            Error::Device { .. } | Error::NoMemory { .. } => TITANS_ERROR_SYSTEM,
            Error::NotFinite { .. } | Error::Diverged { .. } => TITANS_ERROR_DIVERGED,
            Error::Refused { token, .. } => {
                return Self { failure: Failure::index(TITANS_ERROR_DIVERGED, 0, "token", *token), text };
            }
            Error::Kernel(KernelError::Format { .. }) => TITANS_ERROR_SAVED_CORRUPT,
            Error::Kernel(
                KernelError::Shape { .. }
                | KernelError::Buffer { .. }
                | KernelError::Config { .. }
                | KernelError::Value { .. }
                | KernelError::Range { .. }
                | KernelError::Diverged { .. }
                | KernelError::Torn,
            )
            | Error::Stopped => TITANS_ERROR_USAGE,
        };
        Self { failure: Failure::new(code, 0, "library"), text }
    }
}

thread_local! {
    /// The last sentence of this thread.
    static LAST: RefCell<CString> = RefCell::new(CString::default());
}

/// The whole sentence of the last failure of a function of this tier in this thread; "" before the first. The details
/// structure has room for its beginning only. It lives until the thread's next failure.
#[unsafe(no_mangle)]
pub extern "C" fn titans_host_error() -> *const c_char {
    LAST.with(|last| last.try_borrow().map_or(c"".as_ptr(), |text| text.as_ptr()))
}

/// As `boundary::call`, with the sentence in the details and in [`titans_host_error`].
///
/// # Safety
/// `info` is NULL or points to `struct_size` bytes that are the caller's to write.
pub(super) unsafe fn call(info: *mut titans_error_info, body: impl FnOnce() -> HostOutcome<()>) -> i32 {
    let mut said = None;
    let inner = || {
        body().map_err(|failed| {
            said = failed.text;
            failed.failure
        })
    };
    // SAFETY: the promise about `info` is this function's own.
    let code = unsafe { boundary::call(info, inner) };
    if code == TITANS_OK as i32 {
        return code;
    }
    // SAFETY: as above.
    let usable = unsafe { info::check(info) }.is_ok();
    // SAFETY: NULL or checked just now.
    let info = if usable { unsafe { info.as_mut() } } else { None };
    let text = match (said, info) {
        (Some(text), Some(info)) => {
            say(info, &text);
            text
        }
        (Some(text), None) => text,
        (None, Some(info)) => info.message.iter().take_while(|&&c| c != 0).map(|&c| char::from(c as u8)).collect(),
        (None, None) => code_text(code),
    };
    let text = CString::new(text.replace('\0', "?")).unwrap_or_default();
    LAST.with(|last| last.try_borrow_mut().map(|mut last| *last = text)).ok();
    code
}

/// A code's name, where there is no more to say.
fn code_text(code: i32) -> String {
    // SAFETY: a static string.
    unsafe { CStr::from_ptr(crate::status::titans_status_name(code)) }.to_string_lossy().into_owned()
}

/// The beginning of a text, in ASCII.
fn say(info: &mut titans_error_info, text: &str) {
    info.message.fill(0);
    let places = info.message.iter_mut().rev().skip(1).rev();
    for (place, byte) in places.zip(text.bytes()) {
        *place = if byte.is_ascii() { byte as c_char } else { b'?' as c_char };
    }
}

/// A caller's text that ends in a zero, as a path; NULL for none.
///
/// # Safety
/// A pointer that is not NULL points to a text that ends in a zero and that nobody writes during the call.
pub(super) unsafe fn path<'a>(arg: Arg, text: *const c_char) -> HostOutcome<Option<&'a Path>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: a text that ends in a zero, by promise.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    if bytes.is_empty() {
        return Err(HostFailure::new(
            TITANS_ERROR_USAGE,
            arg.position,
            arg.name,
            format!("{}: expected a path, found nothing", arg.name),
        ));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(Some(Path::new(std::ffi::OsStr::from_bytes(bytes))))
    }
    #[cfg(not(unix))]
    {
        let text = std::str::from_utf8(bytes);
        let wrong =
            |_| HostFailure::new(TITANS_ERROR_USAGE, arg.position, arg.name, format!("{}: expected UTF-8", arg.name));
        Ok(Some(Path::new(text.map_err(wrong)?)))
    }
}

/// What tells a handle of this tier from other pointers.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Handle<T> {
    magic: u64,
    /// 1 while a call changes it; found 1 at a call's start, an earlier one never ended.
    busy: u32,
    pub(super) value: T,
}

impl<T> Handle<T> {
    /// A new one, for its caller to give back.
    pub(super) fn give(magic: u64, value: T) -> *mut Self {
        Box::into_raw(Box::new(Self { magic, busy: 0, value }))
    }

    /// # Safety
    /// A pointer that is not NULL points to readable bytes, at least a handle's.
    unsafe fn check(arg: Arg, magic: u64, handle: *const Self) -> HostOutcome<()> {
        if handle.is_null() {
            return Err(arg.fail(TITANS_ERROR_NULL).into());
        }
        if !handle.is_aligned() {
            return Err(arg.fail(TITANS_ERROR_MISALIGNED).into());
        }
        // SAFETY: readable by promise, integers.
        let (found, busy) = unsafe { ((*handle).magic, (*handle).busy) };
        if found != magic {
            return Err(Failure::sizes(TITANS_ERROR_FOREIGN, arg.position, arg.name, magic, found).into());
        }
        if busy != 0 {
            return Err(arg.fail(TITANS_ERROR_POISONED).into());
        }
        Ok(())
    }

    /// Borrows it to read.
    ///
    /// # Safety
    /// A pointer that is not NULL came from [`Handle::give`], was not taken back, and nobody changes it meanwhile.
    pub(super) unsafe fn borrow<'a>(arg: Arg, magic: u64, handle: *const Self) -> HostOutcome<&'a T> {
        // SAFETY: the promise is this function's own; the handle is one after the check.
        unsafe {
            Self::check(arg, magic, handle)?;
            Ok(&(*handle).value)
        }
    }

    /// Its addresses, where no output may lie.
    pub(super) fn addresses(handle: *const Self) -> Range<usize> {
        addresses(handle, 1)
    }

    /// Lends it to `body`; what a panic leaves behind answers `TITANS_ERROR_POISONED`.
    ///
    /// # Safety
    /// As [`Handle::borrow`], and nobody else uses it meanwhile.
    pub(super) unsafe fn change<R>(
        arg: Arg,
        magic: u64,
        handle: *mut Self,
        body: impl FnOnce(&mut T) -> HostOutcome<R>,
    ) -> HostOutcome<R> {
        // SAFETY: as above.
        let own = unsafe {
            Self::check(arg, magic, handle)?;
            &mut *handle
        };
        own.busy = 1;
        let result = body(&mut own.value);
        own.busy = 0;
        result
    }

    /// Takes it back and drops it; NULL and other pointers are left alone.
    ///
    /// # Safety
    /// A pointer that is not NULL came from [`Handle::give`], was not taken back, and nobody uses it.
    pub(super) unsafe fn take(magic: u64, handle: *mut Self) {
        if handle.is_null() || !handle.is_aligned() {
            return;
        }
        // SAFETY: a handle by promise, and its box is dropped once: the magic number goes first.
        unsafe {
            if (*handle).magic == magic {
                (*handle).magic = 0;
                let own = Box::from_raw(handle);
                // A drop that panics must not cross the edge.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(own)));
            }
        }
    }
}
