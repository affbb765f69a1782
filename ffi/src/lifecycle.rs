//! Making a memory in a caller's buffer, finding it again in a copy, and starting it anew.

use crate::block::{Block, Head, Layout, titans_memory};
use crate::boundary;
use crate::config::titans_memory_config;
use crate::failure::{Failure, Outcome};
use crate::info::titans_error_info;
use crate::pointer::{Arg, addresses, apart, arg, check_buffer, input, output, slice_addresses, struct_addresses};
use crate::status::titans_status::*;
use core::ffi::c_void;
use titans_kernel::memory::{MemorySpec, Start};

/// The initial weights: `params` finite numbers, or none (NULL) for zeros where zeros can learn.
///
/// # Safety
/// As [`input`].
unsafe fn initial<'a>(arg: Arg, w0: *const f32, len: usize, spec: &MemorySpec) -> Outcome<Option<&'a [f32]>> {
    if w0.is_null() && len == 0 {
        if spec.layers() > 1 {
            return Err(Failure::new(TITANS_ERROR_NULL, arg.position, "w0 (with 2 layers and more zeros never learn)"));
        }
        return Ok(None);
    }
    // SAFETY: the promise about `w0` is this function's own.
    let w0 = unsafe { input(arg, w0, len, spec.params()) }?;
    match w0.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Failure::index(TITANS_ERROR_NOT_FINITE, arg.position, arg.name, i)),
        None => Ok(Some(w0)),
    }
}

/// Starts the block's memory from `w0`, or from zeros.
fn start(block: &mut Block<'_>, w0: Option<&[f32]>) -> Outcome<()> {
    block.set_surprise(None);
    // Memories of several layers were refused without weights; of one layer a fresh one is zeros.
    let start = w0.map_or(Start::Fresh(0), Start::Weights);
    block.with_memory(|memory| memory.reset(start)).map_err(Failure::internal)
}

/// Makes a memory in `buffer`: `buffer_bytes` of at least `titans_memory_size`, aligned to `titans_memory_align()`.
///
/// `w0` holds the initial weights, `w0_len` = `titans_memory_parameters` numbers: layer after layer, each row-major
/// [inputs, outputs], then gamma of residual networks. NULL with length 0 means zeros, for memories of one layer only:
/// from zeros, deeper ones never learn. The weights are copied. `*memory` is set to the memory, which lies at the
/// buffer's address and needs no destruction: free or reuse the buffer when you like.
///
/// Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `LENGTH`, `NOT_FINITE`, `OVERLAP`, `TOO_LARGE`, those of a
/// configuration. The buffer is not touched then.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_init(
    buffer: *mut c_void,
    buffer_bytes: usize,
    config: *const titans_memory_config,
    w0: *const f32,
    w0_len: usize,
    memory: *mut *mut titans_memory,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises `config`.
        let (config, config_at) = unsafe { (titans_memory_config::read(3, config)?, struct_addresses(config)) };
        let (spec, read) = config.spec(3)?;
        let layout = Layout::new(3, &spec)?;
        check_buffer(buffer, buffer_bytes, layout.total())?;
        // SAFETY: the caller promises `w0`.
        let w0 = unsafe { initial(arg(4, "w0"), w0, w0_len, &spec) }?;
        let own = addresses(buffer.cast::<u8>(), layout.total());
        let out = output(arg(6, "memory"), memory, 1, 1)?;
        let w0_at = w0.map_or(0..0, slice_addresses);
        out.apart_from(&[own.clone(), config_at.clone(), w0_at.clone()])?;
        apart(arg(1, "buffer"), &own, &config_at)?;
        apart(arg(1, "buffer"), &own, &w0_at)?;
        // SAFETY: aligned and large enough (just checked), the caller's to lend.
        let mut block = unsafe { Block::create(buffer.cast(), config, spec, read, layout) }?;
        start(&mut block, w0)?;
        // SAFETY: not NULL, aligned, outside of the block.
        let out = unsafe { out.borrow() };
        out[0] = buffer.cast();
        Ok(())
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}

/// Finds the memory in a buffer that holds the bytes of one: a block that was copied with memcpy, sent or mapped. The
/// copy is a memory of its own. Bytes of untrusted origin do not belong here: use `titans_memory_load` for those.
///
/// Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a block (`UNINITIALISED`, `FOREIGN`,
/// `BLOCK_VERSION`, `CORRUPT`, `POISONED`).
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_attach(
    buffer: *mut c_void,
    buffer_bytes: usize,
    memory: *mut *mut titans_memory,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        check_buffer(buffer, buffer_bytes, size_of::<Head>())?;
        // SAFETY: aligned, and at least a head's bytes are there.
        let (_, _, _, layout) = unsafe { Head::read(arg(1, "buffer"), buffer.cast()) }?;
        check_buffer(buffer, buffer_bytes, layout.total())?;
        let out = output(arg(3, "memory"), memory, 1, 1)?;
        out.apart_from(&[addresses(buffer.cast::<u8>(), layout.total())])?;
        // SAFETY: not NULL, aligned, outside of the block.
        let out = unsafe { out.borrow() };
        out[0] = buffer.cast();
        Ok(())
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}

/// Starts a memory anew from `w0` (as in `titans_memory_init`): no momentum, position 0, counters 0.
///
/// Errors: `NULL`, `LENGTH`, `MISALIGNED`, `NOT_FINITE`, `OVERLAP`, those of a block.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_reset(
    memory: *mut titans_memory,
    w0: *const f32,
    w0_len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the memory for the length of the call.
        let mut block = unsafe { Block::open(arg(1, "memory"), memory) }?;
        apart(arg(2, "w0"), &addresses(w0, w0_len), &block.addresses)?;
        // SAFETY: the caller promises `w0`, and it lies outside of the block.
        let w0 = unsafe { initial(arg(2, "w0"), w0, w0_len, block.spec()) }?;
        start(&mut block, w0)
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}
