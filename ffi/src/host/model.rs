//! `titans_host_model`: a model from a run folder, a checkpoint or a blob, owned by the library.

use super::call::{Handle, HostFailure, HostOutcome, call, path};
use super::options::{Listener, titans_host_options, titans_log_level};
use crate::info::titans_error_info;
use crate::model::{Opening, titans_model};
use crate::pointer::{arg, output, struct_addresses};
use crate::status::titans_status::*;
use core::ffi::c_char;
use std::sync::Arc;
use titans_host::data::tokenizer::Tokenizer;
use titans_host::device::cpu::Cpu;
use titans_host::error::plain;
use titans_host::model::Weights;
use titans_host::task::runnable::Runnable;
use titans_host::train::atomic;
use titans_host::train::which::Which;

/// A model that the library owns: `titans_host_open` makes one, `titans_host_close` gives it back. Any number of
/// threads may read it.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
pub struct titans_host_model {
    _handle: Handle<HostModel>,
}

pub(super) const MODEL: u64 = u64::from_le_bytes(*b"TITANSH\0");

/// Weights, and how their text is read.
#[derive(Debug)]
pub(super) struct HostModel {
    pub(super) weights: Arc<Weights<f32>>,
    pub(super) tokenizer: Tokenizer,
}

/// Borrows a model.
///
/// # Safety
/// A pointer that is not NULL is a model that was opened and not closed.
pub(super) unsafe fn borrow_model<'a>(model: *const titans_host_model) -> HostOutcome<&'a HostModel> {
    // SAFETY: the promise is this function's own.
    unsafe { Handle::borrow(arg(1, "model"), MODEL, model.cast()) }
}

fn open(from: &std::path::Path, options: &titans_host_options) -> HostOutcome<HostModel> {
    let log = Listener { log: options.log, user: options.user };
    // SAFETY: texts that end in a zero, by the caller's promise.
    let (asked, named) =
        unsafe { (path(arg(2, "checkpoint"), options.checkpoint)?, path(arg(2, "tokenizer"), options.tokenizer)?) };
    if asked.is_some() && from.exists() && !from.is_dir() {
        let text = format!(
            "checkpoint: expected NULL with {}, which is a file; checkpoints are chosen among those of a run folder",
            from.display()
        );
        return Err(HostFailure::new(TITANS_ERROR_USAGE, 2, "checkpoint", text));
    }
    let asked = asked.map(|name| Which::from(name.as_os_str().to_owned()));
    let device = Cpu::<f32>::new(Some(options.threads as usize)).map_err(HostFailure::host)?;
    let runnable = Runnable::open(&device, from, asked.as_ref()).map_err(HostFailure::host)?;
    let tokenizer = runnable.tokenizer(named).map_err(HostFailure::host)?;
    let step = runnable.run.as_ref().map(|(_, state)| format!(", step {}", state.step));
    let what = runnable.found.as_ref().map_or(from, |found| &found.path);
    if runnable.found.as_ref().is_some_and(|found| found.for_want_of_best) {
        let line = "no best checkpoint, nothing was validated yet: taking the latest one";
        log.tell(titans_log_level::TITANS_LOG_WARNING, line);
    }
    log.tell(titans_log_level::TITANS_LOG_INFO, &plain(format!("{}{}", what.display(), step.unwrap_or_default())));
    tokenizer.notes().iter().for_each(|note| log.tell(titans_log_level::TITANS_LOG_WARNING, note));
    Ok(HostModel { weights: Arc::new(runnable.weights), tokenizer })
}

/// Opens a model by its path: a run folder of `titans train`, a checkpoint, or a blob of `titans export`. `options` may
/// be NULL.
///
/// Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `STRUCT_SIZE`, `FLAGS`, `CONFIG`; `IO` when the system refuses, `FILE` when
/// the content is not what it should be, `USAGE` for an empty path and a checkpoint that is asked of a file, `SYSTEM`
/// without memory or threads. `*model` is not written then.
///
/// # Safety
/// Pointers are NULL or valid; texts end in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_host_open(
    from: *const c_char,
    options: *const titans_host_options,
    model: *mut *mut titans_host_model,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        let out = output(arg(3, "model"), model, 1, 1)?;
        // SAFETY: the caller promises options and texts.
        let (options, from) = unsafe {
            let read = titans_host_options::read(2, options)?;
            out.apart_from(&[struct_addresses(options)])?;
            (read, path(arg(1, "from"), from)?)
        };
        let from = from.ok_or(arg(1, "from").fail(TITANS_ERROR_NULL))?;
        let handle = Handle::give(MODEL, open(from, &options)?);
        // SAFETY: not NULL, aligned, writable by promise.
        unsafe { out.borrow()[0] = handle.cast() };
        Ok(())
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// Gives a model back. Readers of texts that were made from it go on; a `titans_model` that `titans_host_view` filled
/// does not. NULL is fine.
///
/// # Safety
/// A pointer that is not NULL is a model that was opened and not closed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_host_close(model: *mut titans_host_model) {
    // SAFETY: the caller's promise is the same.
    unsafe { Handle::<HostModel>::take(MODEL, model.cast()) }
}

/// Fills `view` with the model for the functions of streams, as `titans_model_open` does; it holds until
/// `titans_host_close`.
///
/// Errors: `FOREIGN`, `POISONED`, those of `titans_model_open`.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_host_view(
    model: *const titans_host_model,
    view: *mut titans_model,
    view_size: usize,
    abi_version: u32,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        let to = Opening { model: arg(2, "view"), size: arg(3, "view_size"), abi: arg(4, "abi_version") };
        output(arg(2, "view"), view, 1, 1)?.apart_from(&[Handle::<HostModel>::addresses(model.cast())])?;
        // SAFETY: the caller promises the model; the blob is its own; the rest are the caller's promises.
        unsafe {
            let blob = borrow_model(model)?.weights.bytes();
            Ok(to.open(view, view_size, abi_version, blob.as_ptr().cast(), blob.len())?)
        }
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// Writes the model as a blob, as `titans export` does: for microcontrollers, or to map. The file is the old one or the
/// whole new one.
///
/// Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`, `IO`, `USAGE` for an empty path.
///
/// # Safety
/// Pointers are NULL or valid; texts end in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_host_save_blob(
    model: *const titans_host_model,
    to: *const c_char,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises model and text.
        let (own, to) = unsafe { (borrow_model(model)?, path(arg(2, "to"), to)?) };
        let to = to.ok_or(arg(2, "to").fail(TITANS_ERROR_NULL))?;
        write_whole(to, own.weights.bytes())
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// A file that is the old one or the whole new one.
pub(super) fn write_whole(to: &std::path::Path, bytes: &[u8]) -> HostOutcome<()> {
    atomic::write(to, "writing the output", |out| out.write_all(bytes)).map_err(HostFailure::host)
}
