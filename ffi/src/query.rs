//! Sizes of a configuration, and what a memory knows about itself.

use crate::block::{Block, Head, Layout, Owned, titans_memory};
use crate::boundary;
use crate::config::titans_memory_config;
use crate::failure::{Failure, Outcome};
use crate::info::titans_error_info;
use crate::pointer::{ALIGN, Arg, addresses, arg, output, store, struct_addresses};
use crate::status::titans_status::*;
use titans_kernel::memory::MemorySpec;

/// Alignment in bytes that a memory's buffer needs: 64.
#[unsafe(no_mangle)]
pub extern "C" fn titans_memory_align() -> usize {
    ALIGN
}

/// Answers a question about a configuration.
///
/// # Safety
/// Pointers are NULL or valid.
unsafe fn ask(
    config: *const titans_memory_config,
    answer: Arg,
    out: *mut usize,
    info: *mut titans_error_info,
    question: impl FnOnce(&MemorySpec, &Layout) -> usize,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises `config`.
        let (spec, _) = unsafe { titans_memory_config::read(1, config) }?.spec(1)?;
        let layout = Layout::new(1, &spec)?;
        // SAFETY: the caller promises `config`, which was accepted, and `out`.
        unsafe { store(answer, out, question(&spec, &layout), &[struct_addresses(config)]) }
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Bytes of the buffer for a memory of this configuration, all its working space included: no call needs more.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, those of a configuration.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_size(
    config: *const titans_memory_config,
    bytes: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    // SAFETY: the caller's promises are the same.
    unsafe { ask(config, arg(2, "bytes"), bytes, info, |_, layout| layout.total()) }
}

/// Bytes that `titans_memory_save` writes for a memory of this configuration, at any time.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, those of a configuration.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_saved_size(
    config: *const titans_memory_config,
    bytes: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    // SAFETY: the caller's promises are the same.
    unsafe { ask(config, arg(2, "bytes"), bytes, info, |spec, _| Owned::saved_len(spec)) }
}

/// Numbers that a memory of this configuration learns: the length of `w0`.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, those of a configuration.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_parameters(
    config: *const titans_memory_config,
    count: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    // SAFETY: the caller's promises are the same.
    unsafe { ask(config, arg(2, "count"), count, info, |spec, _| spec.params()) }
}

/// Answers a question about a memory from its head alone.
///
/// # Safety
/// Pointers are NULL or valid.
unsafe fn tell<T: Copy>(
    memory: *const titans_memory,
    out: *mut T,
    info: *mut titans_error_info,
    question: impl FnOnce(&Head) -> Outcome<T>,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the memory to read.
        let (head, _, _, layout) = unsafe { Head::read(arg(1, "memory"), memory) }?;
        let answer = question(&head)?;
        // SAFETY: the caller promises `out`.
        unsafe { store(arg(2, "value"), out, answer, &[addresses(memory.cast::<u8>(), layout.total())]) }
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Tokens the memory has seen since it was initialised or reset, across save and load.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, those of a block.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_position(
    memory: *const titans_memory,
    value: *mut u64,
    info: *mut titans_error_info,
) -> i32 {
    // SAFETY: the caller's promises are the same.
    unsafe { tell(memory, value, info, |head| Ok(head.counters().position)) }
}

/// Tokens whose gradient was longer than the configuration's `clip` and was shortened.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, those of a block.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_clipped(
    memory: *const titans_memory,
    value: *mut u64,
    info: *mut titans_error_info,
) -> i32 {
    // SAFETY: the caller's promises are the same.
    unsafe { tell(memory, value, info, |head| Ok(head.counters().clipped)) }
}

/// The surprise of the last token given to the memory, the configuration's loss: half the squared distance, by default,
/// between what it expected for the token's key and the token's value.
///
/// Errors: `NO_TOKEN` when there was none since the memory was initialised, reset or loaded; `NULL`, `MISALIGNED`,
/// `OVERLAP`, those of a block.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_surprise(
    memory: *const titans_memory,
    value: *mut f32,
    info: *mut titans_error_info,
) -> i32 {
    let question = |head: &Head| head.surprise().ok_or(Failure::new(TITANS_ERROR_NO_TOKEN, 1, "memory"));
    // SAFETY: the caller's promises are the same.
    unsafe { tell(memory, value, info, question) }
}

/// What the memory has learned after its last token, the unfinished chunk included: the weights in the layout of `w0`,
/// then their momentum in the same layout. `len` is twice `titans_memory_parameters`.
///
/// Errors: `NULL`, `LENGTH`, `MISALIGNED`, `OVERLAP`, those of a block.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_weights(
    memory: *mut titans_memory,
    weights: *mut f32,
    len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the memory for the length of the call.
        let mut block = unsafe { Block::open(arg(1, "memory"), memory) }?;
        let out = output(arg(2, "weights"), weights, len, block.spec().state_len())?;
        out.apart_from(&[block.addresses.clone()])?;
        // SAFETY: apart from the block, the only other borrow.
        let out = unsafe { out.borrow() };
        block.with_memory(|memory| memory.state(out)).map_err(Failure::internal)
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}
