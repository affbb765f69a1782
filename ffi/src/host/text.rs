//! `titans_text`: a text that is read as a stream, and goes on.

use super::call::{Handle, HostFailure, HostOutcome, call};
use super::model::{HostModel, borrow_model, titans_host_model};
use super::options::{titans_bytes_fn, titans_progress_fn, titans_text_config};
use crate::choice::flag;
use crate::failure::Failure;
use crate::info::titans_error_info;
use crate::pointer::{Arg, arg, expect_fillable, fill, input, output, slice_addresses, store, struct_addresses};
use crate::status::titans_status::*;
use core::ffi::c_void;
use std::sync::Arc;
use titans_host::task::generate::Sampling;
use titans_host::task::reader::{ReadText, TextReader};

/// A text that a model reads: `titans_text_open` makes one, `titans_text_close` gives it back. One thread at a time;
/// different ones are independent, of one model too.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
pub struct titans_text {
    _handle: Handle<TextState>,
}

pub(super) const TEXT: u64 = u64::from_le_bytes(*b"TITANST\0");

/// What a call returns of a text that was read. Set `struct_size` to its sizeof.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct titans_text_read {
    /// sizeof(titans_text_read), set by the caller.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Tokens that are in.
    pub tokens: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Tokens among them that were predicted: all but a stream's very first.
    pub predicted: u64,
    /// Bytes of those.
    pub predicted_bytes: u64,
    /// What those cost, in nats, all together. Divided by ln 2 and by `predicted_bytes`: bits a byte.
    pub nats: f64,
}

/// A reader, how it writes, and who is told.
#[derive(Clone, Debug)]
pub(super) struct TextState {
    pub(super) reader: TextReader,
    sampling: Sampling,
    progress: titans_progress_fn,
    user: *mut c_void,
}

/// The one argument that all functions of a text begin with.
pub(super) const OWN: Arg = arg(1, "text");

impl TextState {
    /// Tells how far a call is; false to stop.
    pub(super) fn told(progress: titans_progress_fn, user: *mut c_void, done: u64, total: u64) -> bool {
        // SAFETY: the caller promises the function and what it is given back.
        progress.is_none_or(|progress| unsafe { progress(user, done, total) } == 0)
    }

    /// Reads bytes; what was read, and how it ended.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> (ReadText, HostOutcome<()>) {
        let (progress, user, mut stopped) = (self.progress, self.user, false);
        let (read, done) = self.reader.feed(bytes, |done, total| {
            stopped = !Self::told(progress, user, done, total);
            !stopped
        });
        let done = done.map_err(HostFailure::host);
        let stop = || Err(Failure::new(TITANS_ERROR_STOPPED, 0, "progress").into());
        (read, if stopped && done.is_ok() { stop() } else { done })
    }
}

pub(super) fn told(read: &ReadText) -> titans_text_read {
    let ReadText { tokens, bytes, predicted, predicted_bytes, nats } = *read;
    titans_text_read { struct_size: 0, reserved: 0, tokens, bytes, predicted, predicted_bytes, nats }
}

/// Begins to read a text with a model. `config` may be NULL.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`, `STRUCT_SIZE`, `FLAGS`, `CONFIG`; `USAGE` for a
/// model that does not read text, or with another vocabulary, `SYSTEM` without memory. `*text` is not written then.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_open(
    model: *const titans_host_model,
    config: *const titans_text_config,
    text: *mut *mut titans_text,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        let out = output(arg(3, "text"), text, 1, 1)?;
        // SAFETY: the caller promises model and configuration.
        let (own, (config, sampling)) = unsafe {
            let read = titans_text_config::read(2, config)?;
            out.apart_from(&[struct_addresses(config), Handle::<HostModel>::addresses(model.cast())])?;
            (borrow_model(model)?, read)
        };
        let reader = TextReader::new(Arc::clone(&own.weights), own.tokenizer.clone(), sampling.mode);
        let reader = reader.map_err(HostFailure::host)?;
        let state = TextState { reader, sampling, progress: config.progress, user: config.user };
        // SAFETY: not NULL, aligned, writable by promise.
        unsafe { out.borrow()[0] = Handle::give(TEXT, state).cast() };
        Ok(())
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// Gives a text back. NULL is fine.
///
/// # Safety
/// A pointer that is not NULL is a text that was opened and not closed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_close(text: *mut titans_text) {
    // SAFETY: the caller's promise is the same.
    unsafe { Handle::<TextState>::take(TEXT, text.cast()) }
}

/// Lends a text to `body`.
///
/// # Safety
/// Pointers are NULL or valid; nobody else uses the text.
pub(super) unsafe fn change(
    text: *mut titans_text,
    info: *mut titans_error_info,
    body: impl FnOnce(&mut TextState) -> HostOutcome<()>,
) -> i32 {
    // SAFETY: the promises are this function's own.
    unsafe { call(info, || Handle::change(OWN, TEXT, text.cast(), body)) }
}

/// Reads `len` bytes, and learns from them. They are tokens for themselves: with a vocabulary of words, a word that is
/// cut between two calls becomes other tokens. `read` may be NULL; it is written after errors too, where anything was
/// read.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, `FOREIGN`, `POISONED`, `STRUCT_SIZE`; `DIVERGED` for a token
/// that would not leave the numbers finite (`info->found` is its number in this call; the tokens before it are in, and
/// the text goes on from there), `STOPPED` by `progress` (what was read is in), `FILE` when the vocabulary cannot write
/// the bytes.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_feed(
    text: *mut titans_text,
    bytes: *const c_void,
    len: usize,
    read: *mut titans_text_read,
    info: *mut titans_error_info,
) -> i32 {
    let at = Handle::<TextState>::addresses(text.cast());
    let body = |state: &mut TextState| {
        // SAFETY: the caller promises `bytes`; nothing is written while they are read.
        let bytes = unsafe { input(arg(2, "bytes"), bytes.cast::<u8>(), len, len) }?;
        if !read.is_null() {
            // SAFETY: the caller promises `read`: it can be written at the end too.
            unsafe { expect_fillable(arg(4, "read"), read, &[slice_addresses(bytes), at.clone()]) }?;
        }
        let (what, done) = state.feed(bytes);
        if !read.is_null() {
            // SAFETY: as above.
            unsafe { fill(arg(4, "read"), read, told(&what), &[]) }?;
        }
        done
    };
    // SAFETY: the caller's promises are the same.
    unsafe { change(text, info, body) }
}

/// Ids of the vocabulary: the length of what `titans_text_next` writes.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_vocabulary(
    text: *const titans_text,
    count: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    let at = Handle::<TextState>::addresses(text.cast());
    let body = || {
        // SAFETY: the caller promises text and count.
        unsafe {
            let state = Handle::<TextState>::borrow(OWN, TEXT, text.cast())?;
            Ok(store(arg(2, "count"), count, state.reader.tokenizer().vocabulary(), &[at])?)
        }
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// Writes the bytes that token `id` stands for to `bytes`, `capacity` of at least their number, and that number to
/// `*len`. NULL with capacity 0 asks for the number alone.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`, `TOKEN_RANGE`, `BUFFER_TOO_SMALL`.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_token(
    text: *const titans_text,
    id: u32,
    bytes: *mut u8,
    capacity: usize,
    len: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises the text.
        let state = unsafe { Handle::<TextState>::borrow(OWN, TEXT, text.cast()) }?;
        let tokenizer = state.reader.tokenizer();
        if id as usize >= tokenizer.vocabulary() {
            let below = tokenizer.vocabulary() as u64;
            return Err(Failure::sizes(TITANS_ERROR_TOKEN_RANGE, 2, "id (below)", below, id.into()).into());
        }
        let token = tokenizer.bytes(id);
        let count = output(arg(5, "len"), len, 1, 1)?;
        let at = Handle::<TextState>::addresses(text.cast());
        count.apart_from(core::slice::from_ref(&at))?;
        if !bytes.is_null() || capacity != 0 {
            if capacity < token.len() {
                let (needed, given) = (token.len() as u64, capacity as u64);
                return Err(Failure::sizes(TITANS_ERROR_BUFFER_TOO_SMALL, 4, "capacity", needed, given).into());
            }
            let out = output(arg(3, "bytes"), bytes, token.len(), token.len())?;
            out.apart_from(&[count.addresses(), at])?;
            // SAFETY: the caller's own buffer.
            unsafe { out.borrow() }.copy_from_slice(token);
        }
        // SAFETY: the caller promises `len`.
        Ok(unsafe { store(arg(5, "len"), len, token.len(), &[]) }?)
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// Writes the probability of every token that may come next to `probabilities`, `len` = `titans_text_vocabulary`
/// numbers; before the first token all are alike.
///
/// Errors: `NULL`, `LENGTH`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_next(
    text: *const titans_text,
    probabilities: *mut f64,
    len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises the text.
        let state = unsafe { Handle::<TextState>::borrow(OWN, TEXT, text.cast()) }?;
        let out = output(arg(2, "probabilities"), probabilities, len, state.reader.tokenizer().vocabulary())?;
        out.apart_from(&[Handle::<TextState>::addresses(text.cast())])?;
        // SAFETY: the caller's own buffer.
        let out = unsafe { out.borrow() };
        out.iter_mut().zip(state.reader.next()).for_each(|(p, log)| *p = log.exp());
        Ok(())
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// Writes up to `tokens` tokens that go on from here; `each` is given the bytes of every one, and may stop it. With
/// `keep` 1 the model reads what it writes, as any text; with 0 the text stays where it is, and the same call writes
/// the same. Before the first token the text begins with a line break. `*written` (may be NULL) is how many tokens
/// there were, after errors on the way too.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `CONFIG` for another `keep`, `FOREIGN`, `POISONED`; `DIVERGED` for a token
/// that would not leave the numbers finite (what came before it was written, and read with `keep` 1), `STOPPED` by
/// `progress`, `SYSTEM` without memory.
///
/// # Safety
/// Pointers are NULL or valid; `each` and its `user` are the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_write(
    text: *mut titans_text,
    tokens: usize,
    keep: i32,
    each: titans_bytes_fn,
    user: *mut c_void,
    written: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    let at = Handle::<TextState>::addresses(text.cast());
    let body = |state: &mut TextState| {
        let each = each.ok_or(arg(4, "each").fail(TITANS_ERROR_NULL))?;
        let keep = flag(3, "keep: 0 or 1", keep)?;
        let count = if written.is_null() { None } else { Some(output(arg(6, "written"), written, 1, 1)?) };
        count.iter().try_for_each(|count| count.apart_from(core::slice::from_ref(&at)))?;
        let sampling = Sampling { tokens, ..state.sampling.clone() };
        let mut fork = None;
        let reader = if keep { &mut state.reader } else { fork.insert(state.reader.clone()) };
        let (mut made, mut stopped) = (0, false);
        let (progress, user_of) = (state.progress, state.user);
        let done = reader.write(&sampling, |bytes| {
            made += 1;
            // SAFETY: the caller promises the function and what it is given back.
            let asked = unsafe { each(user, bytes.as_ptr(), bytes.len()) } != 0;
            stopped = !TextState::told(progress, user_of, made as u64, tokens as u64);
            !asked && !stopped
        });
        if let Some(count) = count {
            // SAFETY: the caller's own.
            unsafe { count.borrow()[0] = made };
        }
        done.map_err(HostFailure::host)?;
        if stopped { Err(Failure::new(TITANS_ERROR_STOPPED, 0, "progress").into()) } else { Ok(()) }
    };
    // SAFETY: the caller's promises are the same.
    unsafe { change(text, info, body) }
}
