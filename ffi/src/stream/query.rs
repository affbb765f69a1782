//! Sizes of a stream, and what it knows about itself.

use super::block::{StreamHead, StreamLayout, titans_stream};
use super::config::titans_stream_config;
use crate::boundary;
use crate::failure::{Failure, Outcome};
use crate::info::titans_error_info;
use crate::model::{Opened, borrow_model, titans_model};
use crate::pointer::{ALIGN, addresses, arg, fill, output, store, struct_addresses};
use crate::status::titans_status::*;
use titans_kernel::Choice;
use titans_kernel::model::{Input, KeptState};

/// Alignment in bytes that a stream's buffer needs: 64.
#[unsafe(no_mangle)]
pub extern "C" fn titans_stream_align() -> usize {
    ALIGN
}

/// Bytes of the buffer for a stream through this model, all its working space included: no call needs more.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, those of a configuration and of a model.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_size(
    model: *const titans_model,
    config: *const titans_stream_config,
    bytes: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises both structures.
        let (opened, (read, _)) =
            unsafe { (borrow_model(arg(1, "model"), model)?, titans_stream_config::read(2, config)?) };
        let layout = StreamLayout::new(2, &opened.model, &read)?;
        let [own, blob] = opened.addresses;
        // SAFETY: the caller promises `config`, which was accepted, and `bytes`.
        unsafe { store(arg(3, "bytes"), bytes, layout.total(), &[struct_addresses(config), own, blob]) }
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Bytes that `titans_stream_save` writes at most for a stream through this model.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, those of a model.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_saved_size(
    model: *const titans_model,
    bytes: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises the model.
        let Opened { model, addresses } = unsafe { borrow_model(arg(1, "model"), model) }?;
        let open = match model.spec().input {
            Input::Tokens(_) => 0,
            Input::Rows(size) => size,
        };
        let size = model.saved_len().saturating_add(KeptState::head_len(open));
        // SAFETY: the caller promises `bytes`.
        unsafe { store(arg(2, "bytes"), bytes, size, &addresses) }
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Where a stream stands. Set `struct_size` to its sizeof and let `titans_stream_describe` fill the rest.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct titans_stream_info {
    /// sizeof(titans_stream_info), set by the caller.
    pub struct_size: u32,
    /// A `titans_mode`.
    pub mode: i32,
    /// Tokens taken since the start, across save and load.
    pub position: u64,
    /// Gradients that were longer than the model's clip and were shortened, over all memories, across save and load.
    pub clipped: u64,
    /// Tokens that were refused since the stream was made or begun anew.
    pub refused: u64,
    /// Bytes of the block.
    pub bytes: u64,
    /// Rows and undo of the configuration.
    pub rows: u32,
    /// See `titans_stream_config`.
    pub undo: u32,
    /// 1 when a token was refused without an undo: the stream must be reset or loaded.
    pub torn: u32,
    /// The checksum of its model.
    pub checksum: u32,
}

/// Reads a stream's head and writes what a question makes of it.
///
/// # Safety
/// Pointers are NULL or valid.
unsafe fn tell(
    stream: *const titans_stream,
    info: *mut titans_error_info,
    answer: impl FnOnce(&StreamHead, core::ops::Range<usize>) -> Outcome<()>,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the stream to read.
        let head = unsafe { StreamHead::read(arg(1, "stream"), stream) }?;
        answer(&head, addresses(stream.cast::<u8>(), head.layout.total()))
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Fills `about` with where the stream stands.
///
/// Errors: `NULL`, `MISALIGNED`, `STRUCT_SIZE`, `OVERLAP`, those of a stream.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_describe(
    stream: *const titans_stream,
    about: *mut titans_stream_info,
    info: *mut titans_error_info,
) -> i32 {
    let answer = |head: &StreamHead, own: core::ops::Range<usize>| {
        let place = head.position(arg(1, "stream"))?;
        let told = titans_stream_info {
            struct_size: 0,
            mode: i32::from(place.mode.code()),
            position: place.tokens,
            clipped: place.clipped,
            refused: head.refused,
            bytes: head.layout.total() as u64,
            rows: head.config.rows,
            undo: head.config.undo,
            torn: u32::from(place.torn),
            checksum: head.checksum,
        };
        // SAFETY: the caller promises `about`.
        unsafe { fill(arg(2, "about"), about, told, &[own]) }
    };
    // SAFETY: the caller's promises are the same.
    unsafe { tell(stream, info, answer) }
}

/// Tokens the stream has taken since it was made or reset, across save and load.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, those of a stream.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_position(
    stream: *const titans_stream,
    value: *mut u64,
    info: *mut titans_error_info,
) -> i32 {
    let answer = |head: &StreamHead, own: core::ops::Range<usize>| {
        // SAFETY: the caller promises `value`.
        unsafe { store(arg(2, "value"), value, head.place.tokens, &[own]) }
    };
    // SAFETY: the caller's promises are the same.
    unsafe { tell(stream, info, answer) }
}

/// What a loaded state had read and not fed: `titans stream` keeps the last token of a text until the next one comes,
/// and numbers of a row that is not whole yet. `*token` is the token, or UINT32_MAX for none: feed it first, and what
/// the model says then is about the token after it. `numbers` receives the numbers of the open row, `capacity` of at
/// least their count (input_size is always enough), and `*count` how many they are. Both are forgotten when a token is
/// fed.
///
/// Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a stream.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_waiting(
    stream: *const titans_stream,
    token: *mut u32,
    numbers: *mut f32,
    capacity: usize,
    count: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    let answer = |head: &StreamHead, own: core::ops::Range<usize>| {
        let open = head.open as usize;
        let (token, count) = (output(arg(2, "token"), token, 1, 1)?, output(arg(5, "count"), count, 1, 1)?);
        if capacity < open && !numbers.is_null() {
            return Err(Failure::sizes(TITANS_ERROR_BUFFER_TOO_SMALL, 4, "capacity", open as u64, capacity as u64));
        }
        let out = output(arg(3, "numbers"), numbers, open, open)?;
        token.apart_from(&[own.clone(), out.addresses(), count.addresses()])?;
        count.apart_from(&[own.clone(), out.addresses()])?;
        out.apart_from(&[own])?;
        let from = stream.cast::<u8>().wrapping_add(head.open_at()).cast::<f32>();
        // SAFETY: block and outputs were shown to be apart; the open row lies in the block.
        unsafe {
            let row = core::slice::from_raw_parts(from, open);
            out.borrow().copy_from_slice(row);
            (token.borrow()[0], count.borrow()[0]) = (if head.waits == 1 { head.waiting } else { u32::MAX }, open);
        }
        Ok(())
    };
    // SAFETY: the caller's promises are the same.
    unsafe { tell(stream, info, answer) }
}
