//! The tier without an operating system takes nothing from the heap.

use crate::streams::blocks::cases;
use crate::streams::support::{Blob, Fed, Running, running};
use crate::support::expect;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use titans::titans_status::TITANS_OK;
use titans::*;

/// The system's allocator, which counts what each thread takes.
struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = TAKEN.try_with(|taken| taken.set(taken.get() + 1));
        // SAFETY: the promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the promises are the same.
        unsafe { System.dealloc(at, layout) };
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

#[test]
fn steps_pushes_saves_and_loads_take_nothing_from_the_heap() {
    for (what, config) in cases().iter().step_by(5) {
        let blob = Blob::new(config);
        let (fed, mut stream) = (Fed::new(&blob.info, 30), Running::new(&blob, running(4, 6)));
        let (mut y, mut s) =
            (vec![0.0f32; 30 * blob.info.outputs as usize], vec![0.0f32; 30 * blob.info.memories as usize]);
        let mut bytes = stream.save();
        let (mut written, mut about) = (0, stream.about());
        let before = TAKEN.get();
        assert!(before > 0, "the counter counts");
        // SAFETY: borrows with their lengths.
        unsafe {
            let (stream, model) = (stream.stream, &raw const blob.model);
            let (y, y_len, s, s_len) = (y.as_mut_ptr(), y.len(), s.as_mut_ptr(), s.len());
            match &fed {
                Fed::Ids(ids) => {
                    expect(
                        titans_stream_push(stream, model, ids.as_ptr(), 30, y, y_len, s, s_len, null_mut()),
                        TITANS_OK,
                    );
                    for id in ids {
                        expect(
                            titans_stream_step(stream, model, *id, y, y_len / 30, s, s_len / 30, null_mut()),
                            TITANS_OK,
                        );
                    }
                }
                Fed::Rows(rows, n) => {
                    let all = rows.as_ptr();
                    expect(
                        titans_stream_push_rows(stream, model, all, rows.len(), y, y_len, s, s_len, null_mut()),
                        TITANS_OK,
                    );
                    for row in rows.chunks(*n) {
                        let row = row.as_ptr();
                        expect(
                            titans_stream_step_row(stream, model, row, *n, y, y_len / 30, s, s_len / 30, null_mut()),
                            TITANS_OK,
                        );
                    }
                }
            }
            let at = bytes.as_mut_ptr().cast();
            expect(titans_stream_save(stream, model, at, bytes.len(), &mut written, null_mut()), TITANS_OK);
            expect(titans_stream_load(stream, model, at, written, null_mut()), TITANS_OK);
            expect(titans_stream_read_only(stream, model, 1, null_mut()), TITANS_OK);
            expect(titans_stream_describe(stream, &mut about, null_mut()), TITANS_OK);
            expect(titans_stream_reset(stream, model, null_mut()), TITANS_OK);
        }
        assert_eq!(TAKEN.get(), before, "{what}");
    }
}
