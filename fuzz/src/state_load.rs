//! A stream's state from a stranger: refused and nothing changed, or loaded and usable.

use crate::small::{Line, Live, SYMBOLS, blob, config, lines, memories, open, seal};
use titans::titans_model;
use titans::titans_status::*;

/// The first byte chooses the model; the rest as they are, and with checksums that fit.
pub fn run(bytes: &[u8]) {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    let which = usize::from(which) % 5;
    let (blob, model) = opened(which);
    try_load(&model, which, bytes);
    let mut fitting = bytes.to_vec();
    if fitting.starts_with(b"TTNFEED") && fitting.len() > 20 {
        seal(&mut fitting, 20);
        let head = [&fitting[..16], &[]].concat();
        let sum = titans_kernel::model::checksum(&head);
        fitting[16..20].copy_from_slice(&sum);
    } else {
        seal(&mut fitting, 0);
    }
    try_load(&model, which, &fitting);
    drop(blob);
}

fn opened(which: usize) -> (Vec<Line>, titans_model) {
    let bytes = blob(which);
    let lines = lines(&bytes);
    let model = open(&lines, bytes.len()).expect("a whole blob");
    (lines, model)
}

/// States of streams a few tokens on, of every model.
pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |which: usize| {
        let (_blob, model) = opened(which);
        let mut live = Live::new(&model, &config(2, 0)).expect("a stream");
        assert_eq!(live.push(&[1, 2, 3, 0, 1], 5, memories(which)).0, 0);
        [&[which as u8][..], &live.save()].concat()
    };
    (0..5).map(seed).collect()
}

fn try_load(model: &titans_model, which: usize, bytes: &[u8]) {
    let mut live = Live::new(model, &config(2, 3)).expect("a stream");
    assert_eq!(live.push(&[3, 1, 2], 5, memories(which)).0, 0);
    let before = live.bytes();
    let status = live.load(bytes);
    if status != 0 {
        let family = TITANS_ERROR_SAVED_CORRUPT as i32..=TITANS_ERROR_SAVED_FOREIGN as i32;
        assert!(family.contains(&status), "{status}");
        assert!(live.bytes() == before, "a refused state changed the stream");
        return;
    }
    let saved = live.save();
    // A stranger's numbers may be such that a token would not stay finite, or its position the last one.
    for _ in 0..3 {
        for id in 0..SYMBOLS {
            let (status, y, _) = live.push(&[id], 5, memories(which));
            let known = [0, TITANS_ERROR_DIVERGED as i32, TITANS_ERROR_END as i32];
            assert!(known.contains(&status), "{status}");
            assert!(status != 0 || y.iter().all(|x| x.is_finite()));
        }
    }
    assert_eq!(live.load(&saved), 0);
    assert!(live.save() == saved, "a state that was loaded is saved as another");
}
