//! A memory as bytes that may travel: checked in full before anything changes.

use crate::block::{Block, Owned, titans_memory};
use crate::boundary;
use crate::failure::Failure;
use crate::info::titans_error_info;
use crate::pointer::{addresses, apart, arg, input, output};
use crate::status::titans_status::*;
use core::ffi::c_void;

/// Writes the memory to `bytes`, `len` of at least `titans_memory_saved_size`; `*written` is how many were used. The
/// bytes hold the configuration, all numbers, the unfinished chunk and a checksum, little-endian: a memory that loads
/// them, on any machine, goes on with the bits this one would have given.
///
/// Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a block.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_save(
    memory: *mut titans_memory,
    bytes: *mut c_void,
    len: usize,
    written: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the memory for the length of the call.
        let mut block = unsafe { Block::open(arg(1, "memory"), memory) }?;
        let needed = Owned::saved_len(block.spec());
        if len < needed && !bytes.is_null() {
            return Err(Failure::sizes(TITANS_ERROR_BUFFER_TOO_SMALL, 3, "len", needed as u64, len as u64));
        }
        let out = output(arg(2, "bytes"), bytes.cast::<u8>(), needed, needed)?;
        let count = output(arg(4, "written"), written, 1, 1)?;
        out.apart_from(&[block.addresses.clone(), count.addresses()])?;
        count.apart_from(&[block.addresses.clone()])?;
        // SAFETY: block, bytes and count were shown to be apart.
        let (out, count) = unsafe { (out.borrow(), count.borrow()) };
        count[0] = block.with_memory(|memory| memory.save(out)).map_err(Failure::internal)?;
        Ok(())
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Replaces what the memory holds by what was saved, `len` bytes, from a memory of the same configuration. The bytes
/// may come from anywhere: they are checked in full first.
///
/// Errors: `SAVED_FOREIGN`, `SAVED_VERSION`, `SAVED_CONFIG`, `SAVED_LENGTH`, `SAVED_CORRUPT`; `NULL`, `OVERLAP`,
/// `TOO_LARGE`, those of a block. The memory is as before then.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_load(
    memory: *mut titans_memory,
    bytes: *const c_void,
    len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the memory for the length of the call.
        let mut block = unsafe { Block::open(arg(1, "memory"), memory) }?;
        if bytes.is_null() {
            return Err(arg(2, "bytes").fail(TITANS_ERROR_NULL));
        }
        apart(arg(2, "bytes"), &addresses(bytes.cast::<u8>(), len), &block.addresses)?;
        // SAFETY: the caller promises `bytes`; they lie outside of the block.
        let bytes = unsafe { input(arg(2, "bytes"), bytes.cast::<u8>(), len, len) }?;
        block.with_memory(|memory| memory.load(bytes)).map_err(|error| Failure::saved(2, error))?;
        block.set_surprise(None);
        Ok(())
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}
