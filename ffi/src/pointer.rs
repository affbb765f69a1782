//! From a caller's pointers to slices: NULL, alignment, length and overlap, all checked in this one place.

use crate::failure::{Failure, Outcome};
use crate::status::titans_status::{self, *};
use core::ops::Range;

/// Which argument of the call a pointer came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arg {
    pub(crate) position: i32,
    pub(crate) name: &'static str,
}

/// Names an argument.
pub(crate) const fn arg(position: i32, name: &'static str) -> Arg {
    Arg { position, name }
}

impl Arg {
    pub(crate) const fn fail(self, code: titans_status) -> Failure {
        Failure::new(code, self.position, self.name)
    }

    const fn sizes(self, code: titans_status, expected: usize, found: usize) -> Failure {
        Failure::sizes(code, self.position, self.name, expected as u64, found as u64)
    }
}

/// Is `len` the wanted number of elements, and does the pointer fit it?
fn check<T>(arg: Arg, pointer: *const T, len: usize, expected: usize) -> Outcome<()> {
    if pointer.is_null() && (len != 0 || expected != 0) {
        return Err(arg.fail(TITANS_ERROR_NULL));
    }
    if len != expected {
        return Err(arg.sizes(TITANS_ERROR_LENGTH, expected, len));
    }
    if len.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(arg.fail(TITANS_ERROR_TOO_LARGE));
    }
    if !pointer.is_aligned() {
        return Err(arg.fail(TITANS_ERROR_MISALIGNED));
    }
    Ok(())
}

/// An input of exactly `expected` elements; NULL is fine for none.
///
/// # Safety
/// A pointer that is not NULL points to `len` initialised elements that nobody writes during the call.
pub(crate) unsafe fn input<'a, T>(arg: Arg, pointer: *const T, len: usize, expected: usize) -> Outcome<&'a [T]> {
    check(arg, pointer, len, expected)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: not NULL, aligned, of a size that fits the address space; the caller promises the contents.
    Ok(unsafe { core::slice::from_raw_parts(pointer, len) })
}

/// An output of exactly `expected` elements, not yet borrowed: first it must be shown to overlap nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output<T> {
    arg: Arg,
    pointer: *mut T,
    len: usize,
}

/// Checks an output's pointer and length.
pub(crate) fn output<T>(arg: Arg, pointer: *mut T, len: usize, expected: usize) -> Outcome<Output<T>> {
    check(arg, pointer, len, expected)?;
    Ok(Output { arg, pointer, len })
}

/// An output that may be absent: NULL with length 0.
pub(crate) fn optional<T>(arg: Arg, pointer: *mut T, len: usize, expected: usize) -> Outcome<Option<Output<T>>> {
    if pointer.is_null() && len == 0 { Ok(None) } else { output(arg, pointer, len, expected).map(Some) }
}

impl<T> Output<T> {
    /// The addresses it covers.
    pub(crate) fn range(&self) -> Range<usize> {
        range(self.pointer, self.len)
    }

    /// Refuses the output when it shares a byte with one of `others`.
    pub(crate) fn apart_from(&self, others: &[Range<usize>]) -> Outcome<()> {
        others.iter().try_for_each(|other| apart(self.arg, &self.range(), other))
    }

    /// The elements, to write.
    ///
    /// # Safety
    /// The caller of the library promises `len` writable elements; the caller of this function has shown with
    /// [`Output::apart_from`] that no other borrow covers them.
    pub(crate) unsafe fn borrow<'a>(self) -> &'a mut [T] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: not NULL, aligned, sized (checked when made); exclusive by the promise above.
        unsafe { core::slice::from_raw_parts_mut(self.pointer, self.len) }
    }
}

/// Refuses an argument at addresses `own` when it shares a byte with `other`.
pub(crate) fn apart(arg: Arg, own: &Range<usize>, other: &Range<usize>) -> Outcome<()> {
    let overlap = own.start < other.end && other.start < own.end && !own.is_empty() && !other.is_empty();
    if overlap { Err(arg.fail(TITANS_ERROR_OVERLAP)) } else { Ok(()) }
}

/// The addresses of `len` elements.
pub(crate) fn range<T>(pointer: *const T, len: usize) -> Range<usize> {
    let start = pointer.addr();
    start..start.saturating_add(len.saturating_mul(size_of::<T>()))
}

/// The addresses of a slice.
pub(crate) fn range_of<T>(slice: &[T]) -> Range<usize> {
    range(slice.as_ptr(), slice.len())
}

/// Writes one value through a pointer that must not be NULL.
///
/// # Safety
/// A pointer that is not NULL points to one writable element.
pub(crate) unsafe fn store<T: Copy>(arg: Arg, pointer: *mut T, value: T) -> Outcome<()> {
    check(arg, pointer, 1, 1)?;
    // SAFETY: not NULL, aligned, writable by promise.
    unsafe { pointer.write(value) };
    Ok(())
}

/// A `struct_size` above this is taken for garbage and its tail is not looked at.
pub(crate) const LARGEST_STRUCT: usize = 4096;

/// Copies a structure whose first field is its own size. A longer one, of a later header, is accepted when all that this
/// library does not know is zero; a shorter one never existed.
///
/// # Safety
/// A pointer that is not NULL points to as many readable bytes as its first field, a `u32`, says, at least to that
/// field; `T` is `repr(C)`, begins with that field, and any bytes are a value of it.
pub(crate) unsafe fn versioned<T: Copy>(arg: Arg, pointer: *const T) -> Outcome<T> {
    check(arg, pointer, 1, 1)?;
    // SAFETY: aligned, not NULL; the first field is there whatever its value.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    let wrong = arg.sizes(TITANS_ERROR_STRUCT_SIZE, size_of::<T>(), size);
    if !(size_of::<T>()..=LARGEST_STRUCT).contains(&size) {
        return Err(wrong);
    }
    // SAFETY: `size` readable bytes by promise; the tail starts right behind the known fields.
    let tail = unsafe { core::slice::from_raw_parts(pointer.add(1).cast::<u8>(), size - size_of::<T>()) };
    if tail.iter().any(|&byte| byte != 0) {
        return Err(wrong);
    }
    // SAFETY: at least the known fields are there, aligned, and any bytes are a value.
    Ok(unsafe { pointer.read() })
}
