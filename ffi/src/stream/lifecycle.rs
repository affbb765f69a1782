//! Making a stream in a caller's buffer, finding it again in a copy, forking it, starting it anew.

use super::block::{HEAD, StreamBlock, StreamHead, StreamLayout, titans_stream};
use super::config::titans_stream_config;
use crate::boundary;
use crate::choice;
use crate::failure::{Failure, Outcome};
use crate::info::titans_error_info;
use crate::model::{borrow_model, titans_model};
use crate::pointer::{addresses, apart, arg, check_buffer, output, struct_addresses};
use crate::status::titans_status::*;
use core::ffi::c_void;
use titans_kernel::Error;
use titans_kernel::model::Mode;

/// Why a stream cannot begin: the model's own numbers.
fn no_beginning(error: Error) -> Failure {
    match error {
        Error::Diverged { token } => Failure::index(TITANS_ERROR_MODEL_NOT_FINITE, 0, "persistent row", token),
        Error::Value { what, index } => Failure::index(TITANS_ERROR_MODEL_NOT_FINITE, 0, what, index),
        other => Failure::internal(other),
    }
}

impl StreamBlock<'_> {
    /// Before the first token.
    fn begin(&mut self, mode: Mode) -> Outcome<()> {
        self.with_stream(|stream, g| stream.reset(g, mode))?.map_err(no_beginning)?;
        (self.head.refused, self.head.waits, self.head.open) = (0, 0, 0);
        self.keep();
        Ok(())
    }
}

/// Makes a stream through `model` in `buffer`: `buffer_bytes` of at least `titans_stream_size`, aligned to
/// `titans_stream_align()`. It stands before the first token. `*stream` is set to it; it lies at the buffer's address
/// and needs no destruction.
///
/// Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, `TOO_LARGE`, those of a configuration and of a model:
/// the buffer is not touched then. `MODEL_NOT_FINITE`: the buffer holds no stream.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_init(
    buffer: *mut c_void,
    buffer_bytes: usize,
    model: *const titans_model,
    config: *const titans_stream_config,
    stream: *mut *mut titans_stream,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises both structures.
        let (opened, (read, mode)) =
            unsafe { (borrow_model(arg(3, "model"), model)?, titans_stream_config::read(4, config)?) };
        let layout = StreamLayout::new(4, &opened.model, &read)?;
        check_buffer(buffer, buffer_bytes, layout.total())?;
        let own = addresses(buffer.cast::<u8>(), layout.total());
        let out = output(arg(5, "stream"), stream, 1, 1)?;
        // SAFETY: the structure was accepted.
        let config_at = unsafe { struct_addresses(config) };
        out.apart_from(&[own.clone(), config_at.clone()])?;
        out.apart_from(&opened.addresses)?;
        apart(arg(1, "buffer"), &own, &config_at)?;
        opened.addresses.iter().try_for_each(|other| apart(arg(1, "buffer"), &own, other))?;
        // SAFETY: aligned and large enough (just checked), the caller's to lend, apart from the model.
        let mut block = unsafe { StreamBlock::create(buffer.cast(), read, mode, layout, opened) };
        if let Err(failure) = block.begin(mode) {
            // SAFETY: as above; the block's borrow has ended.
            unsafe { buffer.cast::<u8>().write_bytes(0, HEAD) };
            return Err(failure);
        }
        // SAFETY: not NULL, aligned, outside of the block.
        let out = unsafe { out.borrow() };
        out[0] = buffer.cast();
        Ok(())
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}

/// Finds the stream in a buffer that holds the bytes of one: a block that was copied with memcpy, sent or mapped. The
/// copy is a stream of its own. Bytes of untrusted origin do not belong here: use `titans_stream_load` for those.
///
/// Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a stream and of a model.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_attach(
    buffer: *mut c_void,
    buffer_bytes: usize,
    model: *const titans_model,
    stream: *mut *mut titans_stream,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises the model.
        let opened = unsafe { borrow_model(arg(3, "model"), model) }?;
        check_buffer(buffer, buffer_bytes, HEAD)?;
        // SAFETY: aligned, and at least a head's bytes are there.
        let head = unsafe { StreamHead::read(arg(1, "buffer"), buffer.cast()) }?;
        head.belongs(arg(1, "buffer"), &opened.model)?;
        let layout = StreamLayout::new(1, &opened.model, &head.config)?;
        if head.layout != layout {
            return Err(arg(1, "buffer").fail(TITANS_ERROR_CORRUPT));
        }
        check_buffer(buffer, buffer_bytes, layout.total())?;
        let out = output(arg(4, "stream"), stream, 1, 1)?;
        out.apart_from(&[addresses(buffer.cast::<u8>(), layout.total())])?;
        out.apart_from(&opened.addresses)?;
        // SAFETY: not NULL, aligned, outside of the block.
        let out = unsafe { out.borrow() };
        out[0] = buffer.cast();
        Ok(())
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}

/// Makes in `buffer` a second stream that stands where `stream` stands; both go on independently. The size is that of
/// `stream`'s own block.
///
/// Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a stream. The buffer is not touched then.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_fork(
    stream: *const titans_stream,
    buffer: *mut c_void,
    buffer_bytes: usize,
    other: *mut *mut titans_stream,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the stream to read.
        let head = unsafe { StreamHead::read(arg(1, "stream"), stream) }?;
        let total = head.layout.total();
        check_buffer(buffer, buffer_bytes, total).map_err(|failure| Failure { arg: failure.arg + 1, ..failure })?;
        let (from, own) = (addresses(stream.cast::<u8>(), total), addresses(buffer.cast::<u8>(), total));
        apart(arg(2, "buffer"), &own, &from)?;
        let out = output(arg(4, "other"), other, 1, 1)?;
        out.apart_from(&[own, from])?;
        // SAFETY: a whole block by promise, and as many bytes apart from it; the output lies outside of both.
        unsafe {
            core::ptr::copy_nonoverlapping(stream.cast::<u8>(), buffer.cast::<u8>(), total);
            out.borrow()[0] = buffer.cast();
        }
        Ok(())
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}

/// Starts a stream anew, before the first token, in the mode that it is in: position and counters 0.
///
/// Errors: those of a stream and of a model, `MODEL_NOT_FINITE`; the stream is as before then (without an undo, after
/// `MODEL_NOT_FINITE` it must be loaded or made anew).
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_reset(
    stream: *mut titans_stream,
    model: *const titans_model,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the stream for the length of the call.
        let mut block = unsafe { StreamBlock::open(arg(1, "stream"), stream, borrow_model(arg(2, "model"), model)?) }?;
        let mode = block.head.position(arg(1, "stream"))?.mode;
        let begun = block.begin(mode);
        if begun.is_err() && block.head.config.undo > 0 {
            block.back()?;
        }
        begun
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}

/// With `read_only` 1 the memories answer and do not change from the next token on; with 0 they learn. A change copies
/// the state (see `undo`).
///
/// Errors: `CONFIG` for other numbers, and for a stream whose memories are absent; `TORN`, those of a stream and of a
/// model.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_read_only(
    stream: *mut titans_stream,
    model: *const titans_model,
    read_only: i32,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the stream for the length of the call.
        let mut block = unsafe { StreamBlock::open(arg(1, "stream"), stream, borrow_model(arg(2, "model"), model)?) }?;
        let mode = choice::read_only(3, read_only)?;
        block.whole()?;
        if block.head.position(arg(1, "stream"))?.mode == mode {
            return Ok(());
        }
        let absent = |_| Failure::rule(1, "mode: absent from the start to the end", 2);
        block.with_stream(|stream, _| stream.set_mode(mode))?.map_err(absent)?;
        block.keep(); // what was fed before was fed in the other mode
        Ok(())
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}
