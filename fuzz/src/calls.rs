//! Any sequence of calls: what is refused changes nothing, and what is taken can be told from the history alone.

use crate::small::{Live, SYMBOLS, blob, config, lines, memories, open};
use std::ptr::null_mut;
use titans::titans_status::*;
use titans::*;

/// What a stream was fed since its beginning or a change of mode, so that another one can be brought there.
#[derive(Clone, Default)]
struct History(Vec<(bool, Vec<u32>)>);

/// The first bytes choose model and configuration, each other two a call.
pub fn run(bytes: &[u8]) {
    let (Some(head), Some(calls)) = (bytes.get(..3), bytes.get(3..)) else { return };
    let which = usize::from(head[0]) % 5;
    let whole = blob(which);
    let blob = lines(&whole);
    let model = open(&blob, whole.len()).expect("a whole blob");
    let config = config(1 + u32::from(head[1] % 6), 1 + u32::from(head[2] % 9));
    let mut all: Vec<(Live, History)> = vec![(Live::new(&model, &config).expect("a stream"), History::default())];
    let mut kept: Option<(Vec<u8>, History)> = None;
    for call in calls.chunks_exact(2).take(200) {
        let at = usize::from(call[0] >> 4) % all.len();
        let few = all.len() < 3;
        let (live, history) = &mut all[at];
        let before = live.bytes();
        match call[0] % 8 {
            0 | 1 => feed(live, history, which, &ids(call[1])),
            2 => {
                let saved = live.save();
                kept = Some((saved, history.clone()));
            }
            3 => {
                if let Some((saved, then)) = &kept {
                    assert_eq!(live.load(saved), 0);
                    *history = then.clone();
                }
            }
            4 => {
                // SAFETY: borrows.
                let status = unsafe { titans_stream_read_only(live.stream, &model, (call[1] % 3).into(), null_mut()) };
                match call[1] % 3 {
                    2 => assert!(status == TITANS_ERROR_CONFIG as i32 && live.bytes() == before),
                    _ => assert_eq!(status, 0),
                }
                if call[1] % 3 < 2 {
                    history.0.push((call[1] % 3 == 1, vec![]));
                }
            }
            5 if few => {
                let mut fork = Live::new(&model, &config).expect("a stream");
                let (bytes, mut other) = (fork.block.len() * 64, null_mut());
                let to = fork.block.as_mut_ptr().cast();
                // SAFETY: a buffer of that size; borrows.
                assert_eq!(unsafe { titans_stream_fork(live.stream, to, bytes, &mut other, null_mut()) }, 0);
                let history = history.clone();
                all.push((fork, history));
            }
            6 => {
                let frozen = history.0.last().is_some_and(|(frozen, _)| *frozen);
                // SAFETY: borrows.
                assert_eq!(unsafe { titans_stream_reset(live.stream, &model, null_mut()) }, 0);
                // Persistent rows are seen in the mode that it is in.
                *history = History(vec![(frozen, vec![])]);
                if frozen {
                    kept = None;
                    history.0.clear();
                    // SAFETY: borrows.
                    unsafe {
                        assert_eq!(titans_stream_read_only(live.stream, &model, 0, null_mut()), 0);
                        assert_eq!(titans_stream_reset(live.stream, &model, null_mut()), 0);
                    }
                }
            }
            _ => {
                let (status, y, s) = live.push(&[1, SYMBOLS + u32::from(call[1])], 5, memories(which));
                assert_eq!(status, TITANS_ERROR_TOKEN_RANGE as i32);
                assert!(y.iter().chain(&s).all(|&x| x == 7.0) && live.bytes() == before);
            }
        }
    }
    for (mut live, history) in all {
        let mut again = Live::new(&model, &config).expect("a stream");
        for (frozen, ids) in &history.0 {
            // SAFETY: borrows.
            assert_eq!(unsafe { titans_stream_read_only(again.stream, &model, i32::from(*frozen), null_mut()) }, 0);
            assert_eq!(again.push(ids, 5, memories(which)).0, 0);
        }
        assert!(live.save() == again.save(), "a stream is not what its history says");
    }
}

/// Up to seven ids; the last symbol is refused.
fn ids(byte: u8) -> Vec<u32> {
    (0..u32::from(byte % 8)).map(|i| (u32::from(byte >> 3) + i * 3) % SYMBOLS).collect()
}

fn feed(live: &mut Live, history: &mut History, which: usize, ids: &[u32]) {
    let (status, ..) = live.push(ids, 5, memories(which));
    let bad = ids.iter().position(|&id| id == SYMBOLS - 1);
    assert_eq!(status, if bad.is_some() { TITANS_ERROR_DIVERGED as i32 } else { 0 });
    if history.0.is_empty() {
        history.0.push((false, vec![]));
    }
    if let Some((_, fed)) = history.0.last_mut() {
        fed.extend(&ids[..bad.unwrap_or(ids.len())]);
    }
}

/// Sequences to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    let calls = [0u8, 0x2f, 2, 0, 0, 0x17, 5, 0, 0x10, 0x66, 3, 0, 4, 1, 0, 0x5e, 4, 0, 6, 0, 7, 3, 1, 0x33];
    (0..5u8).map(|which| [&[which, which, 3][..], &calls].concat()).collect()
}
