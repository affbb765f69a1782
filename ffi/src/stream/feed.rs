//! Tokens into a stream: token ids or rows of numbers, many or one.

use super::block::{StreamBlock, titans_stream};
use super::undo::Said;
use crate::batch::elements;
use crate::boundary;
use crate::failure::{Failure, Outcome, copy, sure};
use crate::info::titans_error_info;
use crate::model::{borrow_model, titans_model};
use crate::pointer::{Output, apart, arg, input, optional, slice_addresses};
use crate::status::titans_status::*;
use core::ops::Range;
use titans_kernel::Mat;
use titans_kernel::model::{Feed, Input};

/// Where the outputs of a push go, as the caller says; position of each argument in the call.
struct Asked {
    outputs: (i32, *mut f32, usize),
    surprise: (i32, *mut f32, usize),
}

/// What a caller feeds.
#[derive(Clone, Copy)]
enum Fed {
    Ids(*const u32, usize),
    Rows(*const f32, usize),
}

/// The caller's tokens as the kernel takes them.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
unsafe fn feed<'a>(fed: Fed, reads: Input) -> Outcome<(Feed<'a, f32>, Range<usize>)> {
    let wrong = |found: u64| {
        Failure::sizes(TITANS_ERROR_INPUT_KIND, 3, "input (numbers in a row; 0 for ids)", kind(reads), found)
    };
    match (fed, reads) {
        (Fed::Ids(ids, n), Input::Tokens(_)) => {
            // SAFETY: the promise about the pointer is this function's own.
            let ids = unsafe { input(arg(3, "ids"), ids, n, n) }?;
            Ok((Feed::Tokens(ids), slice_addresses(ids)))
        }
        (Fed::Rows(rows, len), Input::Rows(size)) => {
            let size = size.max(1);
            if !len.is_multiple_of(size) {
                let whole = len.next_multiple_of(size) as u64;
                return Err(Failure::sizes(TITANS_ERROR_LENGTH, 4, "rows_len (whole rows)", whole, len as u64));
            }
            // SAFETY: as above.
            let rows = unsafe { input(arg(3, "rows"), rows, len, len) }?;
            let matrix = Mat::new(rows, len / size, size).map_err(Failure::internal)?;
            Ok((Feed::Rows(matrix), slice_addresses(rows)))
        }
        (Fed::Ids(..), Input::Rows(_)) => Err(wrong(0)),
        (Fed::Rows(..), Input::Tokens(_)) => Err(wrong(1)),
    }
}

const fn kind(reads: Input) -> u64 {
    match reads {
        Input::Tokens(_) => 0,
        Input::Rows(size) => size as u64,
    }
}

/// The one way into a stream.
///
/// # Safety
/// Pointers are NULL or valid for their lengths; the stream is lent for the length of the call.
unsafe fn push(
    stream: *mut titans_stream,
    model: *const titans_model,
    fed: Fed,
    one: bool,
    asked: &Asked,
) -> Outcome<()> {
    // SAFETY: both are the caller's to promise.
    let mut block = unsafe { StreamBlock::open(arg(1, "stream"), stream, borrow_model(arg(2, "model"), model)?) }?;
    let spec = *block.model.spec();
    // SAFETY: the caller promises what is fed; nothing is written before it is known to lie apart from block and
    // outputs.
    let (feed, at) = unsafe { feed(fed, spec.input) }?;
    if one && feed.len() != 1 {
        return Err(Failure::sizes(
            TITANS_ERROR_LENGTH,
            4,
            "row_len",
            spec.input.size() as u64,
            kind(spec.input) * feed.len() as u64,
        ));
    }
    let (n, memories) = (feed.len(), block.model.memories());
    let (y, s) = (asked.outputs, asked.surprise);
    let y_arg = arg(y.0, "outputs");
    let y = optional(y_arg, y.1, y.2, elements(y_arg, n, spec.outputs)?)?;
    let s_arg = arg(s.0, "surprise");
    let s = optional(s_arg, s.1, s.2, elements(s_arg, n, memories)?)?;
    apart(arg(3, "input"), &at, &block.addresses[0])?;
    for output in [&y, &s].into_iter().flatten() {
        output.apart_from(&block.addresses)?;
        output.apart_from(core::slice::from_ref(&at))?;
    }
    if let (Some(y), Some(s)) = (&y, &s) {
        y.apart_from(&[s.addresses()])?;
    }
    block.whole()?;
    // SAFETY: both outputs were shown to overlap nothing else.
    let (y, s) = unsafe { (y.map(|y| writable(y)), s.map(|s| writable(s))) };
    let refused =
        if y.is_none() && s.is_none() { block.take(feed, [None, None])? } else { block.staged(feed, [y, s])? };
    if let Some(token) = refused {
        if token > 0 {
            block.settled();
        }
        return Err(Failure::index(TITANS_ERROR_DIVERGED, 3, "token", token));
    }
    if n > 0 {
        block.settled();
    }
    Ok(())
}

/// # Safety
/// As [`Output::borrow`].
unsafe fn writable<'a>(output: Output<f32>) -> &'a mut [f32] {
    // SAFETY: the promise is this function's own.
    unsafe { output.borrow() }
}

impl StreamBlock<'_> {
    /// Feeds tokens whose outputs are written when they are in, and not otherwise: as many at once as there is room
    /// for.
    fn staged(&mut self, feed: Feed<'_, f32>, [mut y, mut s]: Said<'_>) -> Outcome<Option<usize>> {
        let (n, rows) = (feed.len(), (self.head.config.rows as usize).max(1));
        if n > rows {
            self.with_stream(|stream, _| stream.check(&feed))?.map_err(Failure::fed)?;
        }
        let staged = core::mem::take(&mut self.staged);
        let (mut from, mut refused) = (0, Ok(None));
        while from < n && matches!(refused, Ok(None)) {
            let some = rows.min(n - from);
            refused = self.some(feed.sub(from, some), from, [&mut y, &mut s], staged);
            from += some;
        }
        self.staged = staged;
        refused
    }

    /// Feeds some of a call's tokens, which begin with number `from`.
    fn some(
        &mut self,
        feed: Feed<'_, f32>,
        from: usize,
        [y, s]: [&mut Option<&mut [f32]>; 2],
        staged: &mut [f32],
    ) -> Outcome<Option<usize>> {
        let (outputs, memories) = (self.model.spec().outputs, self.model.memories());
        let (said, felt) = sure(staged.split_at_mut_checked(feed.len() * outputs))?;
        let felt = sure(felt.get_mut(..feed.len() * memories))?;
        let refused = self.take(feed, [y.as_ref().map(|_| &mut *said), s.as_ref().map(|_| &mut *felt)])?;
        let good = refused.unwrap_or(feed.len());
        for (to, rows, columns) in [(y, &*said, outputs), (s, &*felt, memories)] {
            if let Some(to) = to {
                let (to, rows) = (to.get_mut(from * columns..(from + good) * columns), rows.get(..good * columns));
                copy(to.unwrap_or_default(), rows.unwrap_or_default());
            }
        }
        Ok(refused.map(|token| from + token))
    }

    /// A token went in: what waited before it is no longer waited for.
    fn settled(&mut self) {
        (self.head.waits, self.head.open) = (0, 0);
    }
}

/// Feeds `n` token ids, each below the vocabulary's size. How tokens are cut into calls does not matter: the results
/// have the same bits.
///
/// `outputs` receives what the model says after each token, [n, outputs] (`titans_model_info`): logits or predicted
/// numbers. `surprise` receives the loss of each memory at each token, [n, memories]: how wrong it was about the
/// token's value, by its own measure, before it learned it; 0 where memories are absent. Either may be NULL with length
/// 0.
///
/// Errors: `NULL`, `LENGTH`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, `TOKEN_RANGE` (`found` is its number in this call),
/// `INPUT_KIND`, `TORN`, `END`, those of a stream (`UNINITIALISED`, `FOREIGN`, `BLOCK_VERSION`, `CORRUPT`, `POISONED`,
/// `OTHER_MODEL`) and of a model. Nothing has changed then. `DIVERGED`: a token was refused whose write, or what the
/// model says after it, would not be finite; `info->found` is its number in this call. The tokens before it are in,
/// with their outputs; from it on nothing is written. The stream goes on from there with tokens that it can take
/// (without an undo, after `titans_stream_reset` or `titans_stream_load`).
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_push(
    stream: *mut titans_stream,
    model: *const titans_model,
    ids: *const u32,
    n: usize,
    outputs: *mut f32,
    outputs_len: usize,
    surprise: *mut f32,
    surprise_len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let asked = Asked { outputs: (5, outputs, outputs_len), surprise: (7, surprise, surprise_len) };
    // SAFETY: the caller's promises are the same.
    unsafe { boundary::call(info, || push(stream, model, Fed::Ids(ids, n), false, &asked)) }
}

/// Feeds rows of numbers, [n, input_size] with `rows_len` numbers in all: `titans_stream_push` for models that read
/// rows.
///
/// Errors: as `titans_stream_push`; `LENGTH` for rows that are not whole, `NOT_FINITE` (`found` is the number's index).
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_push_rows(
    stream: *mut titans_stream,
    model: *const titans_model,
    rows: *const f32,
    rows_len: usize,
    outputs: *mut f32,
    outputs_len: usize,
    surprise: *mut f32,
    surprise_len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let asked = Asked { outputs: (5, outputs, outputs_len), surprise: (7, surprise, surprise_len) };
    // SAFETY: the caller's promises are the same.
    unsafe { boundary::call(info, || push(stream, model, Fed::Rows(rows, rows_len), false, &asked)) }
}

/// Feeds one token id: `titans_stream_push` with n = 1.
///
/// Errors: as `titans_stream_push`; nothing has changed after any of them, but for a stream without an undo, which
/// `DIVERGED` ends.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_step(
    stream: *mut titans_stream,
    model: *const titans_model,
    id: u32,
    outputs: *mut f32,
    outputs_len: usize,
    surprise: *mut f32,
    surprise_len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let asked = Asked { outputs: (4, outputs, outputs_len), surprise: (6, surprise, surprise_len) };
    // SAFETY: the caller's promises are the same; the id is this call's own.
    unsafe { boundary::call(info, || push(stream, model, Fed::Ids(&id, 1), true, &asked)) }
}

/// Feeds one row of numbers, `row_len` = input_size: `titans_stream_push_rows` with one row.
///
/// Errors: as `titans_stream_push_rows`; nothing has changed after any of them, but for a stream without an undo, which
/// `DIVERGED` ends.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_step_row(
    stream: *mut titans_stream,
    model: *const titans_model,
    row: *const f32,
    row_len: usize,
    outputs: *mut f32,
    outputs_len: usize,
    surprise: *mut f32,
    surprise_len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let asked = Asked { outputs: (5, outputs, outputs_len), surprise: (7, surprise, surprise_len) };
    // SAFETY: the caller's promises are the same.
    unsafe { boundary::call(info, || push(stream, model, Fed::Rows(row, row_len), true, &asked)) }
}
