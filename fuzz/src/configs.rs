//! Configurations of memories and streams from a stranger: refused with a code, or sizes that hold.

use crate::small::{Line, blob, lines, open};
use std::ptr::null_mut;
use titans::titans_status::*;
use titans::*;

/// Words of both structures, the first ones as they should be.
pub fn run(bytes: &[u8]) {
    let mut words = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut word = || words.next().unwrap_or(0);
    let memory = titans_memory_config {
        struct_size: size_of::<titans_memory_config>() as u32,
        flags: word() & 1,
        layers: word(),
        widths: [word(), word(), word(), word(), word()],
        activation: word() as i32,
        network: word() as i32,
        loss: word() as i32,
        read: word() as i32,
        chunk: word(),
        clip: f32::from_bits(word()),
        compute_chunk: word(),
    };
    memory_of(&memory);
    let stream = titans_stream_config {
        struct_size: size_of::<titans_stream_config>() as u32,
        flags: word() & 1,
        rows: word(),
        undo: word(),
        mode: word() as i32,
        reserved: word() & 1,
    };
    stream_of(&stream);
}

/// A configuration of each that is taken.
pub fn seeds() -> Vec<Vec<u8>> {
    let words = [0, 1, 3, 4, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 2, 2, 0, 0u32];
    let deep = [0, 2, 3, 4, 3, 0, 0, 1, 1, 0, 1, 4, 0x3f80_0000, 2, 0, 1, 0, 1, 0u32];
    [words, deep].iter().map(|w| w.iter().flat_map(|w| w.to_le_bytes()).collect()).collect()
}

fn known(status: i32) {
    let codes = [TITANS_ERROR_CONFIG, TITANS_ERROR_FLAGS, TITANS_ERROR_TOO_LARGE].map(|code| code as i32);
    assert!(codes.contains(&status), "{status}");
}

fn memory_of(config: &titans_memory_config) {
    let (mut bytes, mut params) = (0, 0);
    // SAFETY: borrows.
    let status = unsafe { titans_memory_size(config, &mut bytes, null_mut()) };
    if status != 0 {
        return known(status);
    }
    if bytes > 1 << 22 {
        return;
    }
    let mut block = vec![Line([0xA5; 64]); bytes / 64 + 1];
    let mut memory = null_mut();
    // SAFETY: a buffer of that size; borrows with their lengths.
    unsafe {
        assert_eq!(titans_memory_parameters(config, &mut params, null_mut()), 0);
        let w0 = vec![0.25f32; params];
        let at = block.as_mut_ptr().cast();
        assert_eq!(titans_memory_init(at, bytes, config, w0.as_ptr(), params, &mut memory, null_mut()), 0);
        let (key, value) = (config.widths[0] as usize, config.widths[config.layers as usize] as usize);
        let (k, v, mut y) = (vec![0.1f32; key], vec![0.2f32; value], vec![0.0f32; value]);
        for _ in 0..3 {
            let y = y.as_mut_ptr();
            let (k, v, none) = (k.as_ptr(), v.as_ptr(), null_mut());
            let status =
                titans_memory_step(memory, k, key, v, value, k, key, 0.1, 0.01, 0.1, y, value, none, null_mut());
            assert!(status == 0 || status == TITANS_ERROR_DIVERGED as i32, "{status}");
        }
    }
    assert!(block.last().is_some_and(|line| line.0 == [0xA5; 64]), "a guard byte was overwritten");
}

fn stream_of(config: &titans_stream_config) {
    let bytes = blob(2);
    let blob = lines(&bytes);
    let model = open(&blob, bytes.len()).expect("a whole blob");
    let mut size = 0;
    // SAFETY: borrows.
    let status = unsafe { titans_stream_size(&model, config, &mut size, null_mut()) };
    if status != 0 {
        return known(status);
    }
    if size > 1 << 22 {
        return;
    }
    let mut block = vec![Line([0xA5; 64]); size / 64 + 1];
    let mut stream = null_mut();
    // SAFETY: a buffer of that size; borrows.
    unsafe {
        let at = block.as_mut_ptr().cast();
        assert_eq!(titans_stream_init(at, size, &model, config, &mut stream, null_mut()), 0);
        let none = null_mut();
        assert_eq!(titans_stream_step(stream, &model, 1, none, 0, none, 0, null_mut()), 0);
    }
    assert!(block.last().is_some_and(|line| line.0 == [0xA5; 64]), "a guard byte was overwritten");
}
