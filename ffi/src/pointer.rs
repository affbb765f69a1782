//! From a caller's pointers to slices: NULL, alignment, length and overlap, all checked in this one place.

use crate::failure::{Failure, Outcome};
use crate::status::titans_status::{self, *};
use crate::version::TITANS_ABI_VERSION;
use core::ffi::c_void;
use core::ops::Range;

/// Alignment of a block: a cache line.
pub(crate) const ALIGN: usize = 64;

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
    pub(crate) fn addresses(&self) -> Range<usize> {
        addresses(self.pointer, self.len)
    }

    /// Refuses the output when it shares a byte with one of `others`.
    pub(crate) fn apart_from(&self, others: &[Range<usize>]) -> Outcome<()> {
        others.iter().try_for_each(|other| apart(self.arg, &self.addresses(), other))
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
pub(crate) fn addresses<T>(pointer: *const T, len: usize) -> Range<usize> {
    let start = pointer.addr();
    start..start.saturating_add(len.saturating_mul(size_of::<T>()))
}

/// The addresses of a slice.
pub(crate) fn slice_addresses<T>(slice: &[T]) -> Range<usize> {
    addresses(slice.as_ptr(), slice.len())
}

/// Writes one value through a pointer that must not be NULL and shares no byte with `others`.
///
/// # Safety
/// A pointer that is not NULL points to one writable element.
pub(crate) unsafe fn store<T: Copy>(arg: Arg, pointer: *mut T, value: T, others: &[Range<usize>]) -> Outcome<()> {
    output(arg, pointer, 1, 1)?.apart_from(others)?;
    // SAFETY: not NULL, aligned, writable by promise.
    unsafe { pointer.write(value) };
    Ok(())
}

/// Checks a block's head by its `expected` and `found` magic number and its ABI version.
pub(crate) fn expect_head(arg: Arg, (expected, found): (u64, u64), abi: u32) -> Outcome<()> {
    if found == 0 {
        return Err(arg.fail(TITANS_ERROR_UNINITIALISED));
    }
    let bad = |code, expected, found| Err(Failure::sizes(code, arg.position, arg.name, expected, found));
    if found != expected {
        return bad(TITANS_ERROR_FOREIGN, expected, found);
    }
    if abi != TITANS_ABI_VERSION {
        return bad(TITANS_ERROR_BLOCK_VERSION, u64::from(TITANS_ABI_VERSION), u64::from(abi));
    }
    Ok(())
}

/// Checks that [`fill`] can fill a caller's structure, and writes nothing; returns the size that it says.
///
/// # Safety
/// As [`fill`]'s.
pub(crate) unsafe fn expect_fillable<T>(arg: Arg, pointer: *mut T, others: &[Range<usize>]) -> Outcome<u32> {
    check(arg, pointer, 1, 1)?;
    // SAFETY: aligned, not NULL; the first field is there whatever its value.
    let said = unsafe { pointer.cast::<u32>().read() };
    let size = said as usize;
    if !(size_of::<T>()..=LARGEST_STRUCT).contains(&size) {
        return Err(arg.sizes(TITANS_ERROR_STRUCT_SIZE, size_of::<T>(), size));
    }
    others.iter().try_for_each(|other| apart(arg, &addresses(pointer.cast::<u8>(), size), other))?;
    Ok(said)
}

/// Fills a caller's structure whose first field is its own size: with `value` in front, and zeros in what this library
/// does not know. That field keeps what the caller said. It overlaps none of `others`.
///
/// # Safety
/// A pointer that is not NULL points to as many writable bytes as its first field, a `u32`, says, at least to that
/// field; `T` is `repr(C)` and begins with that field.
pub(crate) unsafe fn fill<T: Copy>(arg: Arg, pointer: *mut T, value: T, others: &[Range<usize>]) -> Outcome<()> {
    // SAFETY: the promise is this function's own.
    let said = unsafe { expect_fillable(arg, pointer, others) }?;
    let size = said as usize;
    // SAFETY: `size` writable bytes by promise, and at least this library's structure.
    unsafe {
        pointer.write(value);
        pointer.cast::<u32>().write(said);
        pointer.add(1).cast::<u8>().write_bytes(0, size - size_of::<T>());
    }
    Ok(())
}

/// Fills a caller's configuration of `struct_size` bytes with `default`, which says so in its first field, and zeros
/// behind it.
///
/// # Safety
/// `config` is NULL or points to `struct_size` writable bytes; `T` is `repr(C)`.
pub(crate) unsafe fn defaults<T: Copy>(
    config: *mut T,
    struct_size: usize,
    abi_version: u32,
    default: T,
) -> Outcome<()> {
    if abi_version != TITANS_ABI_VERSION {
        let (expected, found) = (u64::from(TITANS_ABI_VERSION), u64::from(abi_version));
        return Err(Failure::sizes(TITANS_ERROR_ABI_VERSION, 3, "abi_version", expected, found));
    }
    if !(size_of::<T>()..=LARGEST_STRUCT).contains(&struct_size) {
        return Err(arg(2, "struct_size").sizes(TITANS_ERROR_STRUCT_SIZE, size_of::<T>(), struct_size));
    }
    // SAFETY: `struct_size` writable bytes by promise, and that is at least this library's structure.
    unsafe {
        store(arg(1, "config"), config, default, &[])?;
        config.add(1).cast::<u8>().write_bytes(0, struct_size - size_of::<T>());
    }
    Ok(())
}

/// NULL and alignment of a pointer to a block.
pub(crate) fn aligned_block(arg: Arg, block: *const u8) -> Outcome<()> {
    if block.is_null() {
        return Err(arg.fail(TITANS_ERROR_NULL));
    }
    if !block.addr().is_multiple_of(ALIGN) {
        return Err(arg.sizes(TITANS_ERROR_MISALIGNED, 0, block.addr() % ALIGN));
    }
    Ok(())
}

/// A buffer that a block may live in: not NULL, aligned, not smaller than `needed` (when that is known). It is the
/// first argument of its call, and its size the second.
pub(crate) fn check_buffer(buffer: *const c_void, bytes: usize, needed: usize) -> Outcome<()> {
    aligned_block(arg(1, "buffer (address modulo 64)"), buffer.cast()).map_err(|failure| match failure.code {
        TITANS_ERROR_NULL => arg(1, "buffer").fail(TITANS_ERROR_NULL),
        _ => failure,
    })?;
    if bytes < needed {
        return Err(arg(2, "buffer_bytes").sizes(TITANS_ERROR_BUFFER_TOO_SMALL, needed, bytes));
    }
    Ok(())
}

/// The addresses of a structure that [`versioned`] accepted, whatever a later header put at its end; none of NULL.
///
/// # Safety
/// As [`versioned`]'s.
pub(crate) unsafe fn struct_addresses<T>(pointer: *const T) -> Range<usize> {
    if pointer.is_null() {
        return 0..0;
    }
    // SAFETY: the first field is its size, readable by promise.
    addresses(pointer.cast::<u8>(), unsafe { pointer.cast::<u32>().read() } as usize)
}

/// A `struct_size` above this is taken for garbage and its tail is not looked at.
pub(crate) const LARGEST_STRUCT: usize = 4096;

/// Copies a structure whose first field is its own size. A longer one, of a later header, is accepted when all that
/// this library does not know is zero; a shorter one never existed.
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
