//! A model streamed from C has the bits of the host's sessions, which `titans stream` runs, for every block, however
//! tokens are cut.

use super::blocks::cases;
use super::support::{Blob, Fed, Running, running, weights};
use crate::support::expect;
use std::ptr::null_mut;
use std::sync::Arc;
use titans::titans_status::TITANS_OK;
use titans::*;
use titans_host::model::{Mode, ModelConfig, Session};
use titans_kernel::arch::Simd;

const N: usize = 37;

/// What the host's session makes of the tokens: outputs, surprise, and what it saves.
fn by_the_host(config: &ModelConfig, fed: &Fed, mode: Mode) -> (Vec<f32>, Vec<f32>, Vec<u8>) {
    let mut session = Session::of(Arc::new(weights(config)), Simd::best(), mode).unwrap();
    let steps = match fed {
        Fed::Ids(ids) => session.push(ids).unwrap(),
        Fed::Rows(rows, _) => session.push_rows(rows).unwrap(),
    };
    let outputs = steps.iter().flat_map(|s| s.logits.clone()).collect();
    let surprise = steps.iter().flat_map(|s| s.surprise.concat()).collect();
    (outputs, surprise, session.save().unwrap())
}

#[test]
fn every_block_and_option_has_the_bits_of_the_host_in_any_cuts() {
    let all = cases();
    assert!(all.len() > 200, "{}", all.len());
    for (i, (what, config)) in all.iter().enumerate() {
        let blob = Blob::new(config);
        let fed = Fed::new(&blob.info, N);
        let (outputs, surprise, saved) = by_the_host(config, &fed, Mode::On);
        assert!(outputs.iter().chain(&surprise).all(|x| x.is_finite()));
        let (rows, undo, piece) = [(64, 64, N), (1, 0, 1), (5, 3, 7), (3, 64, 1)][i % 4];
        let mut stream = Running::new(&blob, running(rows, undo));
        let (mut y, mut s) = (vec![], vec![]);
        for from in (0..N).step_by(piece) {
            let (more, surprise) = stream.push(&fed, from..N.min(from + piece));
            y.extend(more);
            s.extend(surprise);
        }
        assert!((y, s) == (outputs, surprise), "{what}: other bits");
        let bytes = stream.save();
        assert!(bytes[20..] == saved, "{what}: another state");
        let about = stream.about();
        assert_eq!((about.position, about.mode, about.torn, about.refused), (N as u64, 0, 0, 0));
        assert_eq!(about.bytes, stream.arena.bytes().len() as u64);
        // A state that the host saved goes on here.
        let mut other = Running::new(&blob, running(2, 0));
        expect(other.load(&saved, null_mut()), TITANS_OK);
        assert!(other.push(&fed, 0..9) == stream.push(&fed, 0..9), "{what}: loaded");
    }
}

#[test]
fn modes_are_those_of_the_host() {
    for (i, (what, config)) in cases().iter().enumerate().filter(|(i, _)| i % 9 == 0) {
        let blob = Blob::new(config);
        let fed = Fed::new(&blob.info, N);
        for (mode, number) in [(Mode::Frozen, 1), (Mode::Absent, 2)] {
            let (outputs, _, saved) = by_the_host(config, &fed, mode);
            let mut stream = Running::new(&blob, titans_stream_config { mode: number, ..running(4, i as u32 % 3) });
            let (y, s) = stream.push(&fed, 0..N);
            assert_eq!(y, outputs, "{what}, {mode:?}");
            assert!(number != 2 || s.iter().all(|&x| x == 0.0));
            assert_eq!(stream.save()[20..], saved, "{what}, {mode:?}");
        }
    }
}

#[test]
fn a_step_is_a_push_of_one_token() {
    for (what, config) in cases().iter().step_by(11) {
        let blob = Blob::new(config);
        let fed = Fed::new(&blob.info, N);
        let (mut pushed, mut stepped) = (Running::new(&blob, running(1, 5)), Running::new(&blob, running(8, 0)));
        for t in 0..N {
            let (y, s) = pushed.push(&fed, t..t + 1);
            let (mut out, mut surprise) = (vec![f32::NAN; y.len()], vec![f32::NAN; s.len()]);
            let (stream, model) = (stepped.stream, &raw const blob.model);
            let (at_y, y_len, at_s, s_len) = (out.as_mut_ptr(), y.len(), surprise.as_mut_ptr(), s.len());
            // SAFETY: borrows with their lengths.
            let status = unsafe {
                match &fed {
                    Fed::Ids(ids) => titans_stream_step(stream, model, ids[t], at_y, y_len, at_s, s_len, null_mut()),
                    Fed::Rows(rows, size) => {
                        let row = rows[t * size..].as_ptr();
                        titans_stream_step_row(stream, model, row, *size, at_y, y_len, at_s, s_len, null_mut())
                    }
                }
            };
            expect(status, TITANS_OK);
            assert_eq!((out, surprise), (y, s), "{what}, token {t}");
        }
        assert_eq!(pushed.save(), stepped.save(), "{what}");
    }
}

#[test]
fn forks_copies_and_resets_go_on_as_they_should() {
    for (what, config) in cases().iter().step_by(7) {
        let blob = Blob::new(config);
        let fed = Fed::new(&blob.info, N);
        let mut stream = Running::new(&blob, running(6, 4));
        let first = stream.push(&fed, 0..N);
        let mut fork = Running::new(&blob, stream.config);
        let (start, bytes, mut other) = (fork.arena.start(), fork.arena.bytes().len(), null_mut());
        // SAFETY: a buffer of that size, and borrows.
        let status = unsafe { titans_stream_fork(stream.stream, start, bytes, &mut other, null_mut()) };
        expect(status, TITANS_OK);
        assert_eq!(other.cast(), start);
        let mut copy = Running::new(&blob, stream.config);
        copy.arena.bytes_mut().copy_from_slice(stream.arena.bytes());
        let (start, bytes) = (copy.arena.start(), copy.arena.bytes().len());
        // SAFETY: as above.
        expect(unsafe { titans_stream_attach(start, bytes, &blob.model, &mut other, null_mut()) }, TITANS_OK);
        let want = stream.push(&fed, 3..19);
        assert_eq!((fork.push(&fed, 3..19), copy.push(&fed, 3..19)), (want.clone(), want), "{what}");
        assert_eq!((fork.save(), copy.save()), (stream.save(), stream.save()), "{what}");
        expect(fork.reset(), TITANS_OK);
        assert_eq!((fork.about().position, fork.push(&fed, 0..N)), (0, first), "{what}: reset");
        // SAFETY: borrows.
        unsafe {
            expect(titans_stream_read_only(copy.stream, &blob.model, 1, null_mut()), TITANS_OK);
            let before = copy.about();
            copy.push(&fed, 0..9);
            expect(titans_stream_read_only(copy.stream, &blob.model, 0, null_mut()), TITANS_OK);
            assert_eq!((before.mode, copy.about().mode), (1, 0));
        }
    }
}
