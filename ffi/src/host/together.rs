//! Several texts at once, on as many threads as are asked for.

use super::call::{Handle, HostFailure, HostOutcome, call};
use super::text::{TEXT, TextState, titans_text, titans_text_read, told};
use crate::failure::Failure;
use crate::info::titans_error_info;
use crate::pointer::{Arg, addresses, arg, expect_fillable, fill, input, slice_addresses};
use crate::status::titans_status::*;
use core::ffi::c_void;
use core::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use titans_host::task::reader::ReadText;

/// A text and its bytes, for one thread at a time.
struct Job<'a> {
    text: *mut titans_text,
    bytes: &'a [u8],
    done: Option<(ReadText, HostOutcome<()>)>,
}

// SAFETY: a text may be used in any thread, one at a time, and so may what its caller gave it: the documentation says
// so.
unsafe impl Send for Job<'_> {}

impl Job<'_> {
    fn run(&mut self, which: Arg) {
        let (bytes, mut read) = (self.bytes, ReadText::default());
        let body = |state: &mut TextState| {
            let (what, done) = state.feed(bytes);
            read = what;
            done
        };
        // SAFETY: all texts are different ones, lent by the caller.
        let one = || unsafe { Handle::change(which, TEXT, self.text.cast(), body) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(one));
        let lost = |_| Err(Failure::new(TITANS_ERROR_INTERNAL, 0, "library").into());
        self.done = Some((read, done.unwrap_or_else(lost)));
    }
}

/// Reads `count` texts at once, each its own bytes as `titans_text_feed` does, on `threads` threads (1 to 256; this one
/// is one of them), which end with the call. `reads` (may be NULL) are as many structures, all of one `struct_size`.
/// All texts are read, whatever happens to one of them. `progress` of a text is called in the thread that reads it.
///
/// Errors: `NULL`, `MISALIGNED`, `STRUCT_SIZE`, `CONFIG` for other threads, `TOO_LARGE`, `FOREIGN`, `POISONED`,
/// `OVERLAP`, of a text that is there twice too: nothing was read. Else that of the first text that failed;
/// `info->found` is then its token's number if that was refused, and `info->arg` 1.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_feed_all(
    texts: *const *mut titans_text,
    bytes: *const *const c_void,
    lens: *const usize,
    count: usize,
    threads: u32,
    reads: *mut titans_text_read,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises arrays of that length.
        let (texts, bytes, lens) = unsafe {
            let texts = input(arg(1, "texts"), texts, count, count)?;
            (texts, input(arg(2, "bytes"), bytes, count, count)?, input(arg(3, "lens"), lens, count, count)?)
        };
        if !(1..=256).contains(&threads) {
            return Err(Failure::rule(5, "threads: 1 to 256", threads.into()).into());
        }
        let pointers = bytes.as_ptr();
        let mut jobs = Vec::with_capacity(count);
        for ((i, &text), (&bytes, &len)) in texts.iter().enumerate().zip(bytes.iter().zip(lens)) {
            if texts.get(..i).is_some_and(|before| before.contains(&text)) {
                return Err(arg(1, "texts").fail(TITANS_ERROR_OVERLAP).into());
            }
            // SAFETY: the caller promises the bytes, and what is there of the texts.
            let bytes = unsafe {
                Handle::<TextState>::borrow(arg(1, "texts"), TEXT, text.cast())?;
                input(arg(2, "bytes"), bytes.cast::<u8>(), len, len)?
            };
            jobs.push(Mutex::new(Job { text, bytes, done: None }));
        }
        let read: Vec<_> = jobs.iter().flat_map(|job| job.try_lock().map(|job| slice_addresses(job.bytes))).collect();
        let own: Vec<_> = texts.iter().map(|text| Handle::<TextState>::addresses(text.cast())).collect();
        let arrays = [slice_addresses(texts), addresses(pointers, count), slice_addresses(lens)];
        let read = [&read[..], &own[..], &arrays[..]].concat();
        // SAFETY: the caller promises `count` structures.
        let places = unsafe { places(reads, count, &read) }?;
        run(&jobs, threads as usize);
        let mut first = Ok(());
        for (i, job) in jobs.into_iter().enumerate() {
            let done = job.into_inner().unwrap_or_else(PoisonError::into_inner).done;
            let Some((read, done)) = done else { continue };
            if let Some(&place) = places.get(i) {
                // SAFETY: as above.
                unsafe { fill(arg(6, "reads"), place, told(&read), &[]) }?;
            }
            first = first.and(done.map_err(|mut failed: HostFailure| {
                failed.failure.arg = 1;
                failed
            }));
        }
        first
    };
    // SAFETY: the caller promises `info`.
    unsafe { call(info, body) }
}

/// Where each of the caller's structures lies, all of which can be written at the end; a later header's are longer.
///
/// # Safety
/// `reads` is NULL or points to `count` structures that are as long as the first one's first field says.
unsafe fn places(
    reads: *mut titans_text_read,
    count: usize,
    others: &[Range<usize>],
) -> HostOutcome<Vec<*mut titans_text_read>> {
    let at = arg(6, "reads");
    if reads.is_null() || count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the promise is this function's own.
    let size = unsafe { expect_fillable(at, reads, others) }?;
    let mut places = Vec::with_capacity(count);
    for i in 0..count {
        let place = reads.wrapping_byte_add(i.saturating_mul(size as usize));
        // SAFETY: as above.
        let said = unsafe { expect_fillable(at, place, others) }?;
        if said != size {
            let (expected, found) = (size.into(), said.into());
            return Err(Failure::sizes(TITANS_ERROR_STRUCT_SIZE, 6, "reads", expected, found).into());
        }
        places.push(place);
    }
    Ok(places)
}

/// Every job once; a thread that the system does not give is done without.
fn run(jobs: &[Mutex<Job<'_>>], threads: usize) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Relaxed)) {
            job.lock().unwrap_or_else(PoisonError::into_inner).run(arg(1, "texts"));
        }
    };
    std::thread::scope(|scope| {
        let start = |_| std::thread::Builder::new().name("titans-text".into()).spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (1..threads.min(jobs.len())).filter_map(start).collect();
        work();
        // The scope would wait for them by a counter and a futex; a join is what checkers of threads know too.
        helpers.into_iter().for_each(|helper| drop(helper.join()));
    });
}
