//! A model from a stranger: refused, or opened, described and streamed through; never a panic.

use crate::small::{Live, blob, config, lines, open, seal};
use std::ptr::null_mut;
use titans::titans_status::*;
use titans::*;

/// The bytes as they are, and with a checksum that fits.
pub fn run(bytes: &[u8]) {
    try_open(bytes);
    let mut fitting = bytes.to_vec();
    seal(&mut fitting, 0);
    try_open(&fitting);
}

/// The blobs to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..5).map(blob).collect()
}

fn try_open(bytes: &[u8]) {
    let lines = lines(bytes);
    let model = match open(&lines, bytes.len()) {
        Ok(model) => model,
        Err(status) => {
            let family = TITANS_ERROR_MODEL_NOT_FINITE as i32..=TITANS_ERROR_MODEL_FOREIGN as i32;
            assert!(family.contains(&status) || status == TITANS_ERROR_NULL as i32, "{status}");
            return;
        }
    };
    // SAFETY: integers only.
    let (mut about, mut block): (titans_model_info, titans_block_info) = unsafe { std::mem::zeroed() };
    (about.struct_size, block.struct_size) =
        (size_of::<titans_model_info>() as u32, size_of::<titans_block_info>() as u32);
    // SAFETY: borrows.
    unsafe {
        assert_eq!(titans_model_describe(&model, &mut about, null_mut()), 0);
        for i in 0..about.blocks {
            assert_eq!(titans_model_describe_block(&model, i, &mut block, null_mut()), 0);
        }
    }
    let (outputs, memories) = (about.outputs as usize, about.memories as usize);
    if about.input != 0 || outputs.max(memories) > 4096 {
        return;
    }
    for undo in [0, 2] {
        let Ok(mut live) = Live::new(&model, &config(3, undo)) else { return };
        let ids: Vec<u32> = (0..7).map(|i| i % about.input_size).collect();
        let (status, y, s) = live.push(&ids, outputs, memories);
        if status == 0 {
            assert!(y.iter().chain(&s).all(|x| x.is_finite()));
            let saved = live.save();
            assert_eq!(live.load(&saved), 0);
        } else {
            assert_eq!(status, TITANS_ERROR_DIVERGED as i32);
        }
    }
}
