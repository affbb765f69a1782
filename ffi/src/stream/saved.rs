//! A stream as bytes that may travel: those of `titans stream --state`, checked in full before anything changes.

use super::block::{StreamBlock, titans_stream};
use crate::boundary;
use crate::failure::{Failure, Outcome, sure};
use crate::info::titans_error_info;
use crate::model::{borrow_model, titans_model};
use crate::pointer::{addresses, apart, arg, input, output};
use crate::status::titans_status::*;
use core::ffi::c_void;
use titans_kernel::header;
use titans_kernel::model::{Input, KeptState};

impl StreamBlock<'_> {
    /// The token that waits.
    fn waiting(&self) -> Option<u32> {
        (self.head.waits == 1).then_some(self.head.waiting)
    }

    /// The state of checked bytes, or a refusal that changes nothing.
    fn load(&mut self, kept: KeptState<'_>) -> Outcome<()> {
        let (open, spec) = (kept.open().len(), *self.model.spec());
        let wrong = |what, expected: usize, found: usize| {
            Err(Failure::sizes(TITANS_ERROR_SAVED_CONFIG, 3, what, expected as u64, found as u64))
        };
        match spec.input {
            Input::Tokens(vocabulary) => {
                if let Some(id) = kept.pending.filter(|&id| id as usize >= vocabulary) {
                    return wrong("waiting token (below)", vocabulary, id as usize);
                }
                // What the model says after its last token, of a text session: its caller's business, not the stream's.
                if open != 0 && open != spec.outputs {
                    return wrong("numbers of the head", spec.outputs, open);
                }
            }
            Input::Rows(size) if open >= size || kept.pending.is_some() => {
                return wrong("numbers of an open row (below)", size, open);
            }
            Input::Rows(_) => {}
        }
        self.with_stream(|stream, _| stream.load(kept.stream))?.map_err(|error| Failure::saved(3, error))?;
        self.head.waits = u32::from(kept.pending.is_some());
        self.head.waiting = kept.pending.unwrap_or(0);
        self.head.open = if self.open.is_empty() { 0 } else { open as u32 };
        self.open.iter_mut().zip(kept.open()).for_each(|(to, from)| *to = from);
        self.keep();
        Ok(())
    }
}

/// Writes the stream to `bytes`, `len` of at least what it needs (`titans_stream_saved_size` is always enough);
/// `*written` is how many were used. The bytes hold all numbers, the position, the mode, the model's checksum and one
/// of their own, little-endian: a stream of the same model that loads them, on any machine, here or by `titans stream
/// --state`, goes on with the bits this one would have given.
///
/// Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, `TORN`, those of a stream and of a model.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_save(
    stream: *mut titans_stream,
    model: *const titans_model,
    bytes: *mut c_void,
    len: usize,
    written: *mut usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the stream for the length of the call.
        let mut block = unsafe { StreamBlock::open(arg(1, "stream"), stream, borrow_model(arg(2, "model"), model)?) }?;
        block.whole()?;
        let open = block.head.open as usize;
        let head = KeptState::head_len(open);
        let needed = block.model.saved_len().saturating_add(head);
        if len < needed && !bytes.is_null() {
            return Err(Failure::sizes(TITANS_ERROR_BUFFER_TOO_SMALL, 4, "len", needed as u64, len as u64));
        }
        let out = output(arg(3, "bytes"), bytes.cast::<u8>(), needed, needed)?;
        let count = output(arg(5, "written"), written, 1, 1)?;
        out.apart_from(&block.addresses)?;
        out.apart_from(&[count.addresses()])?;
        count.apart_from(&block.addresses)?;
        // SAFETY: block, bytes and count were shown to be apart.
        let (out, count) = unsafe { (out.borrow(), count.borrow()) };
        let (before, body) = sure(out.split_at_mut_checked(head))?;
        block.with_stream(|stream, _| stream.save(body))?.map_err(Failure::internal)?;
        KeptState::write_head(block.waiting(), block.open.get(..open).unwrap_or_default(), before)
            .map_err(Failure::internal)?;
        count.fill(needed);
        Ok(())
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Replaces where the stream stands, the mode too, by what was saved, `len` bytes, from a stream of the same model by
/// this library or by `titans stream --state` (see `titans_stream_waiting`). The bytes may come from anywhere: they are
/// checked in full first.
///
/// Errors: `SAVED_FOREIGN`, `SAVED_VERSION`, `SAVED_CONFIG` (another model), `SAVED_LENGTH`, `SAVED_CORRUPT`; `NULL`,
/// `OVERLAP`, `TOO_LARGE`, those of a stream and of a model. The stream is as before then.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_load(
    stream: *mut titans_stream,
    model: *const titans_model,
    bytes: *const c_void,
    len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the stream for the length of the call.
        let mut block = unsafe { StreamBlock::open(arg(1, "stream"), stream, borrow_model(arg(2, "model"), model)?) }?;
        if bytes.is_null() {
            return Err(arg(3, "bytes").fail(TITANS_ERROR_NULL));
        }
        apart(arg(3, "bytes"), &addresses(bytes.cast::<u8>(), len), &block.addresses[0])?;
        // SAFETY: the caller promises `bytes`; they lie outside of the block.
        let bytes = unsafe { input(arg(3, "bytes"), bytes.cast::<u8>(), len, len) }?;
        let begins = [header::KEPT, header::STREAM];
        let known = begins.iter().any(|name| bytes.starts_with(*name) || name.starts_with(bytes));
        if !known {
            return Err(arg(3, "bytes").fail(TITANS_ERROR_SAVED_FOREIGN));
        }
        block.load(KeptState::parse(bytes).map_err(|error| Failure::saved(3, error))?)
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}
