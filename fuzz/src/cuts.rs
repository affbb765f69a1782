//! Pushes against steps: however tokens are cut, outputs, surprise and state have the same bits, refused tokens among
//! them or not.

use crate::small::{Live, SYMBOLS, blob, config, lines, memories, open};
use titans::titans_status::TITANS_ERROR_DIVERGED;

/// The first bytes choose model, rows and undo; each other one is a token and whether a push ends behind it.
pub fn run(bytes: &[u8]) {
    let (Some(head), Some(tokens)) = (bytes.get(..3), bytes.get(3..)) else { return };
    let which = usize::from(head[0]) % 5;
    let whole = blob(which);
    let blob = lines(&whole);
    let model = open(&blob, whole.len()).expect("a whole blob");
    let new = |rows, undo| Live::new(&model, &config(rows, undo)).expect("a stream");
    let (mut pushed, mut stepped) = (new(1 + u32::from(head[1] % 9), 1 + u32::from(head[2] % 20)), new(1, 1));
    let memories = memories(which);
    let mut open = Vec::new();
    let tokens = &tokens[..tokens.len().min(300)];
    for (i, &byte) in tokens.iter().enumerate() {
        open.push(u32::from(byte & 0x7f) % SYMBOLS);
        if byte < 0x80 && i + 1 < tokens.len() {
            continue;
        }
        // What is refused is left out, and the rest goes on.
        while !open.is_empty() {
            let (status, y, s) = pushed.push(&open, 5, memories);
            let taken = open.iter().position(|&id| id == SYMBOLS - 1).unwrap_or(open.len());
            assert_eq!(status, if taken < open.len() { TITANS_ERROR_DIVERGED as i32 } else { 0 });
            for (t, &id) in open[..taken].iter().enumerate() {
                let (status, one, surprise) = stepped.push(&[id], 5, memories);
                assert!(status == 0 && one == y[5 * t..5 * t + 5] && surprise == s[memories * t..memories * (t + 1)]);
            }
            if taken < open.len() {
                let (status, one, _) = stepped.push(&[SYMBOLS - 1], 5, memories);
                assert!(status == TITANS_ERROR_DIVERGED as i32 && one == [7.0; 5]);
            }
            open.drain(..open.len().min(taken + 1));
        }
        assert!(pushed.save() == stepped.save(), "cuts changed the state");
    }
}

/// Tokens to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    let tokens: Vec<u8> = (0..60u8).map(|i| i.wrapping_mul(37) ^ (i << 3)).collect();
    (0..5u8).map(|which| [&[which, 2 * which, which + 3][..], &tokens].concat()).collect()
}
