//! What a call takes of the stack: docs/ABI.md says so, and threads of small systems count on it.

use crate::streams::blocks::cases;
use crate::streams::support::{Blob, Fed, Running, running};
use crate::support::{Feed, Sample, config, default};
#[cfg(feature = "host")]
use crate::texts::{Reader, TEXT};
use std::ptr::null_mut;
#[cfg(feature = "host")]
use titans::titans_text_write;

/// What the page says is enough for a thread that makes calls of memories and streams.
const STACK: usize = 64 << 10;
/// The same for the tier with an operating system.
#[cfg(feature = "host")]
const HOSTED: usize = 128 << 10;

#[test]
fn a_thread_with_the_stack_that_the_page_names_makes_every_kind_of_call() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ABI.md")).unwrap();
    assert!(page.contains(&format!("{} KiB", STACK >> 10)), "the page names another number");
    for config in
        [default(&[48, 48]), default(&[48; 3]), config(&[48; 5], 4), config(&[48; 2], 64), config(&[7, 150, 13], 9)]
    {
        let call = move || {
            let mut sample = Sample::new(config);
            let mut feed = Feed::new(130, sample.widths());
            feed.gates[1].iter_mut().for_each(|theta| *theta *= 0.05); // wide chunks of whole sums stay finite
            let (y, _) = sample.write(&feed, 0..130);
            assert!(y.iter().all(|y| y.is_finite()));
            let saved = sample.save();
            assert_eq!(sample.load(&saved, null_mut()), 0);
            sample.position()
        };
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(call).unwrap();
        assert_eq!(thread.join().unwrap(), 130);
    }
}

#[test]
fn streams_of_every_block_make_do_with_it_too() {
    for (_, model) in cases().into_iter().step_by(3) {
        let call = move || {
            let blob = Blob::new(&model);
            let fed = Fed::new(&blob.info, 40);
            (blob, fed)
        };
        // Making a model is the host's business, and takes what it takes.
        let (blob, fed) = std::thread::Builder::new().stack_size(8 << 20).spawn(call).unwrap().join().unwrap();
        std::thread::scope(|scope| {
            let call = || {
                let mut stream = Running::new(&blob, running(16, 5));
                stream.push(&fed, 0..40);
                (0..9).for_each(|t| drop(stream.push(&fed, t..t + 1)));
                let saved = stream.save();
                assert_eq!(stream.load(&saved, null_mut()), 0);
                assert_eq!(stream.reset(), 0);
            };
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, call).unwrap().join().unwrap();
        });
    }
}

/// Models by path and texts: files are parsed, words are looked for.
#[cfg(feature = "host")]
#[test]
fn models_by_path_and_texts_make_do_with_twice_as_much() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ABI.md")).unwrap();
    assert!(page.contains(&format!("{} KiB", HOSTED >> 10)), "the page names another number");
    let packed = || {
        let (blob, words) = crate::words::packed("stack-packed");
        crate::words::reader_of(&blob, &words).expect("a packed vocabulary is unpacked")
    };
    for open in [Reader::new, || crate::words::reader("stack"), packed] {
        let call = move || {
            let mut reader = open();
            assert_eq!(reader.feed(TEXT).bytes, TEXT.len() as u64);
            let mut written = 0;
            // SAFETY: borrows; the function below keeps nothing.
            unsafe {
                let go_on = Some(each as unsafe extern "C" fn(_, _, _) -> i32);
                assert_eq!(titans_text_write(reader.0, 5, 1, go_on, null_mut(), &mut written, null_mut()), 0);
            }
            assert_eq!(written, 5);
        };
        std::thread::Builder::new().stack_size(HOSTED).spawn(call).unwrap().join().unwrap();
    }
}

/// The parser of JSON calls itself for every level, and goes down 127 of them.
#[cfg(feature = "host")]
#[test]
fn a_nested_vocabulary_is_refused_in_that_stack() {
    for depth in [5, 120, 127, 128, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let call = move || {
                let (blob, words) = crate::words::packed("stack-nested");
                let words = words.with_extension("nested.json");
                std::fs::write(&words, format!("{}0{}", open.repeat(depth), close.repeat(depth))).unwrap();
                crate::words::reader_of(&blob, &words).err()
            };
            let thread = std::thread::Builder::new().stack_size(HOSTED).spawn(call).unwrap();
            assert_eq!(thread.join().unwrap(), Some(titans::titans_status::TITANS_ERROR_FILE as i32), "{depth}");
        }
    }
}

#[cfg(feature = "host")]
extern "C" fn each(_: *mut std::ffi::c_void, _: *const u8, _: usize) -> i32 {
    0
}
