//! The tier with an operating system: models by path, texts, several at once, and every wrong call.

use crate::streams::support::{Blob, weights};
use crate::support::{details, expect, message};
use crate::tools::temporary;
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use titans::titans_status::*;
use titans::*;
use titans_host::model::ModelConfig;

fn c(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// A blob of an untrained model of bytes, as a file.
fn blob() -> &'static Path {
    static FILE: OnceLock<std::path::PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let config =
            ModelConfig { width: 8, blocks: 1, heads: 2, head_width: 4, feed_forward: 8, ..ModelConfig::default() };
        let path = temporary("texts.titans");
        std::fs::write(&path, weights(&config).bytes()).unwrap();
        path
    })
}

fn open(path: &Path, info: *mut titans_error_info) -> (i32, *mut titans_host_model) {
    let (path, mut model) = (c(path), null_mut());
    // SAFETY: borrows; `info` is NULL or one.
    (unsafe { titans_host_open(path.as_ptr(), null(), &mut model, info) }, model)
}

/// A reader, whose model is closed at once: it goes on without it.
pub struct Reader(pub *mut titans_text);

// SAFETY: a text may be used in any thread, one at a time.
unsafe impl Send for Reader {}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: opened below, closed once.
        unsafe { titans_text_close(self.0) };
    }
}

impl Reader {
    pub fn new() -> Self {
        let (status, model) = open(blob(), null_mut());
        expect(status, TITANS_OK);
        let mut text = null_mut();
        // SAFETY: borrows.
        unsafe {
            expect(titans_text_open(model, null(), &mut text, null_mut()), TITANS_OK);
            titans_host_close(model);
        }
        Self(text)
    }

    pub fn feed(&mut self, bytes: &[u8]) -> titans_text_read {
        let mut read = nothing();
        // SAFETY: borrows with their lengths.
        let status = unsafe { titans_text_feed(self.0, bytes.as_ptr().cast(), bytes.len(), &mut read, null_mut()) };
        expect(status, TITANS_OK);
        read
    }

    pub fn next(&self) -> Vec<f64> {
        let mut odds = vec![f64::NAN; 256];
        // SAFETY: borrows with their lengths.
        expect(unsafe { titans_text_next(self.0, odds.as_mut_ptr(), 256, null_mut()) }, TITANS_OK);
        odds
    }

    pub fn write(&mut self, tokens: usize, keep: i32) -> Vec<u8> {
        extern "C" fn each(user: *mut c_void, bytes: *const u8, len: usize) -> i32 {
            // SAFETY: `user` is the vector below, and the bytes are the library's.
            unsafe { (*user.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(bytes, len)) };
            0
        }
        let (mut text, mut written) = (Vec::<u8>::new(), 0);
        let user = (&raw mut text).cast();
        // SAFETY: borrows.
        expect(
            unsafe { titans_text_write(self.0, tokens, keep, Some(each), user, &mut written, null_mut()) },
            TITANS_OK,
        );
        assert_eq!((written, text.len()), (tokens, tokens));
        text
    }
}

pub fn nothing() -> titans_text_read {
    // SAFETY: numbers only.
    let mut read: titans_text_read = unsafe { std::mem::zeroed() };
    read.struct_size = size_of::<titans_text_read>() as u32;
    read
}

pub const TEXT: &[u8] = b"A text, and the same text. A text, and the same text.";

#[test]
fn odds_and_costs_agree_and_states_go_on() {
    let (mut whole, mut cut) = (Reader::new(), Reader::new());
    let read = whole.feed(TEXT);
    assert_eq!((read.tokens, read.predicted, read.bytes), (53, 52, 53));
    let path = c(&temporary("texts.state"));
    let mut sum = 0.0;
    for &byte in TEXT {
        let odds = cut.next();
        assert!((odds.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let one = cut.feed(&[byte]);
        assert!(one.predicted == 0 || (one.nats + odds[usize::from(byte)].ln()).abs() < 1e-5);
        sum += one.nats;
        // SAFETY: borrows.
        unsafe {
            expect(titans_text_save(cut.0, path.as_ptr(), null_mut()), TITANS_OK);
            cut = Reader::new();
            expect(titans_text_load(cut.0, path.as_ptr(), null_mut()), TITANS_OK);
        }
    }
    assert!((sum - read.nats).abs() < 1e-9 && cut.next() == whole.next());
    let (again, same) = (whole.write(12, 0), whole.write(12, 0));
    assert!(again == same && whole.next() == cut.next(), "a text that is not kept leaves no trace");
    assert_eq!(cut.write(12, 1), again);
    whole.feed(&again);
    assert_eq!(whole.next(), cut.next());
    let mut position = 0;
    // SAFETY: borrows.
    unsafe {
        expect(titans_text_position(cut.0, &mut position, null_mut()), TITANS_OK);
        assert_eq!(position, 65);
        expect(titans_text_reset(cut.0, null_mut()), TITANS_OK);
        expect(titans_text_read_only(cut.0, 1, null_mut()), TITANS_OK);
        let mut fork = null_mut();
        expect(titans_text_fork(cut.0, &mut fork, null_mut()), TITANS_OK);
        let mut fork = Reader(fork);
        assert_eq!(fork.feed(TEXT).nats, cut.feed(TEXT).nats);
    }
}

#[test]
fn several_texts_at_once_are_the_same_texts_one_after_another() {
    let texts: Vec<Vec<u8>> = (0..9).map(|i| TEXT.repeat(1 + i % 4)[i..].to_vec()).collect();
    let alone: Vec<f64> = texts.iter().map(|t| Reader::new().feed(t).nats).collect();
    for threads in [1, 3, 16] {
        let readers: Vec<Reader> = texts.iter().map(|_| Reader::new()).collect();
        let handles: Vec<_> = readers.iter().map(|r| r.0).collect();
        let bytes: Vec<*const c_void> = texts.iter().map(|t| t.as_ptr().cast()).collect();
        let lens: Vec<usize> = texts.iter().map(Vec::len).collect();
        let mut reads = vec![nothing(); texts.len()];
        // SAFETY: borrows with their lengths.
        let status = unsafe {
            let (handles, bytes, lens) = (handles.as_ptr(), bytes.as_ptr(), lens.as_ptr());
            titans_text_feed_all(handles, bytes, lens, 9, threads, reads.as_mut_ptr(), null_mut())
        };
        expect(status, TITANS_OK);
        assert_eq!(reads.iter().map(|r| r.nats).collect::<Vec<_>>(), alone);
        let twice = [handles[0], handles[0]];
        // SAFETY: as above.
        unsafe {
            let all = |t: *const *mut titans_text, n, threads| {
                titans_text_feed_all(t, bytes.as_ptr(), lens.as_ptr(), n, threads, null_mut(), null_mut())
            };
            expect(all(twice.as_ptr(), 2, 1), TITANS_ERROR_OVERLAP);
            expect(all(handles.as_ptr(), 9, 0), TITANS_ERROR_CONFIG);
            expect(all(handles.as_ptr(), 9, 257), TITANS_ERROR_CONFIG);
            expect(all(null(), 9, 1), TITANS_ERROR_NULL);
            expect(all(null(), 0, 1), TITANS_OK);
        }
    }
}

#[test]
fn a_view_is_the_model_for_streams_and_a_blob_is_written_whole() {
    let (status, model) = open(blob(), null_mut());
    expect(status, TITANS_OK);
    let mut view = titans_model { opaque: [0; 6] };
    let copy = temporary("texts-copy.titans");
    // SAFETY: borrows.
    unsafe {
        let size = size_of::<titans_model>();
        expect(titans_host_view(model, &mut view, size, TITANS_ABI_VERSION, null_mut()), TITANS_OK);
        expect(titans_host_view(model, &mut view, size, TITANS_ABI_VERSION + 1, null_mut()), TITANS_ERROR_ABI_VERSION);
        expect(titans_host_view(null(), &mut view, size, TITANS_ABI_VERSION, null_mut()), TITANS_ERROR_NULL);
        let mut info = details();
        expect(titans_host_view(model, null_mut(), size, TITANS_ABI_VERSION, &mut info), TITANS_ERROR_NULL);
        assert!(info.arg == 2 && message(&info).contains("view"), "{}", message(&info));
        expect(titans_host_save_blob(model, c(&copy).as_ptr(), null_mut()), TITANS_OK);
        expect(titans_host_save_blob(model, c(Path::new("/nowhere/x")).as_ptr(), null_mut()), TITANS_ERROR_IO);
    }
    let bytes = std::fs::read(blob()).unwrap();
    assert!(std::fs::read(&copy).unwrap() == bytes);
    assert_eq!(crate::streams::support::about(&view).checksum, Blob::of(&bytes).info.checksum);
    // SAFETY: opened above, closed once; NULL and foreign pointers are left alone.
    unsafe {
        titans_host_close(model);
        titans_host_close(null_mut());
        titans_text_close(null_mut());
        let mut foreign = [7u64; 64];
        titans_host_close(foreign.as_mut_ptr().cast());
    }
}

#[test]
fn files_that_are_none_are_told_with_a_whole_sentence() {
    let wrong = temporary("texts.wrong");
    std::fs::write(&wrong, "no model").unwrap();
    let damaged = temporary("texts.damaged");
    let mut bytes = std::fs::read(blob()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let folder = temporary("texts.folder");
    std::fs::create_dir_all(&folder).unwrap();
    let cases = [
        (temporary("texts.nothing"), TITANS_ERROR_IO),
        (wrong.clone(), TITANS_ERROR_FILE),
        (damaged, TITANS_ERROR_FILE),
        (folder, TITANS_ERROR_FILE),
    ];
    for (path, wanted) in cases {
        let mut info = details();
        let (status, model) = open(&path, &mut info);
        expect(status, wanted);
        // SAFETY: a text of the library's that ends in a zero.
        let sentence = unsafe { CStr::from_ptr(titans_host_error()) }.to_str().unwrap();
        assert!(model.is_null() && sentence.contains(path.to_str().unwrap()), "{sentence}");
        assert!(sentence.starts_with(&message(&info)), "{sentence}: {}", message(&info));
    }
    let mut reader = Reader::new();
    let before = reader.next();
    reader.feed(b"a");
    let state = reader.next();
    // SAFETY: borrows.
    unsafe {
        let load = |path: &Path| titans_text_load(reader.0, c(path).as_ptr(), null_mut());
        expect(load(&wrong), TITANS_ERROR_SAVED_CORRUPT);
        expect(load(&temporary("texts.nothing")), TITANS_ERROR_IO);
        expect(titans_text_load(reader.0, null(), null_mut()), TITANS_ERROR_NULL);
        expect(titans_text_load(reader.0, c"".as_ptr(), null_mut()), TITANS_ERROR_USAGE);
        expect(titans_text_save(reader.0, c"/nowhere/x".as_ptr(), null_mut()), TITANS_ERROR_IO);
    }
    assert!(reader.next() == state && state != before, "a refused state changes nothing");
}

#[test]
fn wrong_options_configurations_and_handles_are_refused() {
    let mut options = std::mem::MaybeUninit::<titans_host_options>::uninit();
    let mut config = std::mem::MaybeUninit::<titans_text_config>::uninit();
    let (path, mut model) = (c(blob()), null_mut());
    // SAFETY: NULL and foreign pointers are found out; the rest are borrows.
    unsafe {
        let size = size_of::<titans_host_options>();
        let init = titans_host_options_init;
        expect(init(options.as_mut_ptr(), size - 1, TITANS_ABI_VERSION, null_mut()), TITANS_ERROR_STRUCT_SIZE);
        expect(init(options.as_mut_ptr(), size, 0, null_mut()), TITANS_ERROR_ABI_VERSION);
        expect(init(options.as_mut_ptr(), size, TITANS_ABI_VERSION, null_mut()), TITANS_OK);
        let mut open = |change: &dyn Fn(&mut titans_host_options)| {
            let mut changed = options.assume_init();
            change(&mut changed);
            titans_host_open(path.as_ptr(), &changed, &mut model, null_mut())
        };
        expect(open(&|o| o.threads = 0), TITANS_ERROR_CONFIG);
        expect(open(&|o| o.threads = 1000), TITANS_ERROR_CONFIG);
        expect(open(&|o| o.flags = 1), TITANS_ERROR_FLAGS);
        expect(open(&|o| o.struct_size = 4), TITANS_ERROR_STRUCT_SIZE);
        let said = || CStr::from_ptr(titans_host_error()).to_str().unwrap().to_owned();
        expect(open(&|o| o.checkpoint = c"best".as_ptr()), TITANS_ERROR_USAGE);
        assert!(said().starts_with("checkpoint: ") && !said().contains("--"), "{}", said());
        expect(open(&|o| o.tokenizer = c"/nowhere".as_ptr()), TITANS_ERROR_IO);
        expect(open(&|o| o.log = Some(heard)), TITANS_OK);
        assert_eq!(HEARD.load(std::sync::atomic::Ordering::Relaxed), 1);
        expect(titans_host_open(null(), null(), &mut model, null_mut()), TITANS_ERROR_NULL);
        expect(titans_host_open(path.as_ptr(), null(), null_mut(), null_mut()), TITANS_ERROR_NULL);
        let size = size_of::<titans_text_config>();
        expect(titans_text_config_init(config.as_mut_ptr(), size, TITANS_ABI_VERSION, null_mut()), TITANS_OK);
        let mut text = null_mut();
        let mut begin = |change: &dyn Fn(&mut titans_text_config)| {
            let mut changed = config.assume_init();
            change(&mut changed);
            titans_text_open(model, &changed, &mut text, null_mut())
        };
        expect(begin(&|c| c.mode = 3), TITANS_ERROR_CONFIG);
        expect(begin(&|c| c.temperature = f64::NAN), TITANS_ERROR_CONFIG);
        expect(begin(&|c| c.top_p = 0.0), TITANS_ERROR_CONFIG);
        assert!(said().starts_with("top_p: "), "{}", said());
        expect(begin(&|c| c.reserved = 1), TITANS_ERROR_FLAGS);
        expect(begin(&|c| c.progress = Some(stop)), TITANS_OK);
        let mut read = nothing();
        let bytes = TEXT.repeat(60);
        let feed = |t, b: *const u8, n, r, i| titans_text_feed(t, b.cast::<c_void>(), n, r, i);
        expect(feed(text, bytes.as_ptr(), bytes.len(), &mut read, null_mut()), TITANS_ERROR_STOPPED);
        assert!(read.tokens > 0 && read.tokens < bytes.len() as u64, "{}", read.tokens);
        expect(feed(text, null(), 5, null_mut(), null_mut()), TITANS_ERROR_NULL);
        expect(feed(text, null(), 0, null_mut(), null_mut()), TITANS_OK);
        read.struct_size = 3;
        expect(feed(text, bytes.as_ptr(), 1, &mut read, null_mut()), TITANS_ERROR_STRUCT_SIZE);
        expect(feed(null_mut(), bytes.as_ptr(), 1, null_mut(), null_mut()), TITANS_ERROR_NULL);
        expect(feed(model.cast(), bytes.as_ptr(), 1, null_mut(), null_mut()), TITANS_ERROR_FOREIGN);
        expect(titans_text_write(text, 1, 2, None, null_mut(), null_mut(), null_mut()), TITANS_ERROR_NULL);
        let mut odds = [0.0; 256];
        expect(titans_text_next(text, odds.as_mut_ptr(), 255, null_mut()), TITANS_ERROR_LENGTH);
        let (mut byte, mut len, mut count) = (0, 0, 0);
        expect(titans_text_vocabulary(text, &mut count, null_mut()), TITANS_OK);
        expect(titans_text_token(text, 256, &mut byte, 1, &mut len, null_mut()), TITANS_ERROR_TOKEN_RANGE);
        expect(titans_text_token(text, 65, &mut byte, 1, &mut len, null_mut()), TITANS_OK);
        assert_eq!((byte, len, count), (65, 1, 256));
        expect(titans_text_read_only(text, 7, null_mut()), TITANS_ERROR_CONFIG);
        titans_text_close(text);
        titans_host_close(model);
    }
}

static HEARD: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

extern "C" fn heard(_: *mut c_void, level: i32, line: *const c_char) {
    // SAFETY: a text of the library's that ends in a zero.
    assert!(level == 0 && unsafe { CStr::from_ptr(line) }.to_str().unwrap().contains("texts.titans"));
    HEARD.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

extern "C" fn stop(_: *mut c_void, done: u64, total: u64) -> i32 {
    assert!(done <= total);
    1
}
