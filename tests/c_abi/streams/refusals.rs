//! Every call of a model or stream in every wrong way: the documented code, and nothing changed.

use super::support::{Blob, Running, numbers, open, running, size, texts};
use crate::support::{Arena, details, expect, message};
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use titans::titans_status::*;
use titans::*;
use titans_host::model::Kind;

fn none() -> titans_model {
    titans_model { opaque: [0; 6] }
}

#[test]
fn opening_refuses_what_is_no_model_and_leaves_the_structure_alone() {
    let blob = texts();
    let (at, len) = (blob.arena.start(), blob.arena.bytes().len());
    let (size, abi) = (size_of::<titans_model>(), TITANS_ABI_VERSION);
    let mut model = none();
    let m = &raw mut model;
    let odd = at.wrapping_byte_add(2);
    // SAFETY: NULL, misaligned and overlapping pointers are found out before they are followed; the rest are borrows.
    unsafe {
        let open = |m, size, abi, at, len| titans_model_open(m, size, abi, at, len, null_mut());
        expect(open(null_mut(), size, abi, at, len), TITANS_ERROR_NULL);
        expect(open(m, size, abi, null(), len), TITANS_ERROR_NULL);
        expect(open(m, size, abi, null(), 0), TITANS_ERROR_NULL);
        expect(open(m, size - 1, abi, at, len), TITANS_ERROR_STRUCT_SIZE);
        expect(open(m, size + 8, abi, at, len), TITANS_ERROR_STRUCT_SIZE);
        expect(open(m, size, abi + 1, at, len), TITANS_ERROR_ABI_VERSION);
        expect(open(m.wrapping_byte_add(4), size, abi, at, len), TITANS_ERROR_MISALIGNED);
        expect(open(m, size, abi, odd, len - 2), TITANS_ERROR_MISALIGNED);
        expect(open(at.cast(), size, abi, at, len), TITANS_ERROR_OVERLAP);
        expect(open(m, size, abi, at, 0), TITANS_ERROR_MODEL_FOREIGN);
        expect(open(m, size, abi, at, usize::MAX), TITANS_ERROR_TOO_LARGE);
        expect(open(m, size, abi, at, len - 1), TITANS_ERROR_MODEL_LENGTH);
    }
    assert_eq!(model.opaque, [0; 6]);
    let changed = |change: fn(&mut [u8])| {
        let mut other = Arena::new(len);
        other.bytes_mut().copy_from_slice(blob.arena.bytes());
        change(other.bytes_mut());
        let mut model = none();
        let (mut info, mut status) = (details(), 0);
        status += super::support::open(&mut model, &other, &mut info);
        assert_eq!((info.code, info.arg, model.opaque), (status, 4, [0; 6]), "{}", message(&info));
        status
    };
    expect(changed(|b| b[0] ^= 1), TITANS_ERROR_MODEL_FOREIGN);
    expect(changed(|b| b[7] += 1), TITANS_ERROR_MODEL_VERSION);
    expect(changed(|b| b[8] = 8), TITANS_ERROR_MODEL_NUMBERS);
    expect(changed(|b| b[24..28].fill(0)), TITANS_ERROR_MODEL_CONFIG);
    expect(changed(|b| b[200] ^= 1), TITANS_ERROR_MODEL_CORRUPT);
    expect(changed(|b| *b.last_mut().unwrap() ^= 1), TITANS_ERROR_MODEL_CORRUPT);
}

/// Every truncation and every flipped bit of a small blob.
#[test]
fn damaged_blobs_are_refused() {
    let mut config = super::blocks::tiny(Kind::Lmm);
    (config.vocabulary, config.width, config.blocks, config.heads, config.head_width) = (2, 2, 1, 1, 2);
    (config.feed_forward, config.persistent, config.conv_width) = (1, 0, 0);
    let blob = Blob::new(&config);
    let bytes = blob.arena.bytes().to_vec();
    let refused = |bytes: &[u8], what: &str| {
        let mut arena = Arena::new(bytes.len());
        arena.bytes_mut().copy_from_slice(bytes);
        let (mut model, mut info) = (none(), details());
        let status = open(&mut model, &arena, &mut info);
        let family = TITANS_ERROR_MODEL_NOT_FINITE as i32..=TITANS_ERROR_MODEL_FOREIGN as i32;
        assert!(family.contains(&status), "{what}: {status}, {}", message(&info));
        assert_eq!(model.opaque, [0; 6], "{what}");
    };
    (0..bytes.len()).for_each(|len| refused(&bytes[..len], &format!("{len} bytes")));
    refused(&[&bytes[..], &[0]].concat(), "a byte too many");
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(&flipped, &format!("bit {bit}"));
    }
}

#[test]
fn models_and_blocks_that_are_none_are_told_apart() {
    let (blob, other) = (texts(), numbers());
    let stream = Running::new(&blob, running(2, 3));
    let good = blob.model;
    let mut position = 77;
    let sealed = |change: fn(&mut titans_model)| {
        let mut model = good;
        change(&mut model);
        // SAFETY: integers only.
        let mut about: titans_model_info = unsafe { std::mem::zeroed() };
        about.struct_size = size_of::<titans_model_info>() as u32;
        // SAFETY: borrows.
        let status = unsafe { titans_model_describe(&model, &mut about, null_mut()) };
        assert_eq!(about.width, 0);
        status
    };
    expect(sealed(|m| m.opaque = [0; 6]), TITANS_ERROR_UNINITIALISED);
    expect(sealed(|m| m.opaque[0] ^= 1), TITANS_ERROR_FOREIGN);
    expect(sealed(|m| m.opaque[1] += 1), TITANS_ERROR_BLOCK_VERSION);
    for word in [|m: &mut titans_model| m.opaque[2] += 4, |m: &mut titans_model| m.opaque[3] -= 1] {
        expect(sealed(word), TITANS_ERROR_CORRUPT);
    }
    expect(sealed(|m| m.opaque[5] ^= 1), TITANS_ERROR_CORRUPT);
    // SAFETY: NULL and misaligned pointers are found out before they are followed; the rest are borrows.
    unsafe {
        let mut told = |stream| titans_stream_position(stream, &mut position, null_mut());
        expect(told(null()), TITANS_ERROR_NULL);
        expect(told(stream.stream.wrapping_byte_add(8)), TITANS_ERROR_MISALIGNED);
        let mut block = Arena::new(stream.arena.bytes().len());
        block.bytes_mut().fill(0);
        expect(told(block.start().cast()), TITANS_ERROR_UNINITIALISED);
        block.bytes_mut().copy_from_slice(stream.arena.bytes());
        for (byte, wanted) in [
            (0, TITANS_ERROR_FOREIGN),
            (8, TITANS_ERROR_BLOCK_VERSION),
            (12, TITANS_ERROR_CORRUPT),
            (16, TITANS_ERROR_CORRUPT),
            (72, TITANS_ERROR_CORRUPT),
        ] {
            block.bytes_mut()[byte] ^= 2;
            expect(told(block.start().cast()), wanted);
            block.bytes_mut()[byte] ^= 2;
        }
        expect(told(block.start().cast()), TITANS_OK);
        assert_eq!(position, 0);
        expect(titans_stream_reset(stream.stream, &other.model, null_mut()), TITANS_ERROR_OTHER_MODEL);
        expect(titans_stream_reset(stream.stream, null(), null_mut()), TITANS_ERROR_NULL);
    }
}

/// A blob that was exchanged for another one under an opened model.
#[test]
fn a_blob_that_changed_since_it_was_opened_is_another_model() {
    let mut blob = texts();
    let end = blob.arena.bytes().len() - 1;
    blob.arena.bytes_mut()[end] ^= 1;
    // SAFETY: integers only.
    let mut about: titans_model_info = unsafe { std::mem::zeroed() };
    about.struct_size = size_of::<titans_model_info>() as u32;
    // SAFETY: borrows.
    expect(unsafe { titans_model_describe(&blob.model, &mut about, null_mut()) }, TITANS_ERROR_OTHER_MODEL);
    blob.arena.bytes_mut().fill(0);
    // SAFETY: borrows.
    expect(unsafe { titans_model_describe(&blob.model, &mut about, null_mut()) }, TITANS_ERROR_OTHER_MODEL);
}

#[test]
fn descriptions_want_their_structure_and_a_block_that_is_there() {
    let blob = texts();
    // SAFETY: integers only.
    let (mut about, mut block): (titans_model_info, titans_block_info) = unsafe { std::mem::zeroed() };
    // SAFETY: NULL pointers are found out before they are followed; the rest are borrows.
    unsafe {
        let model = &raw const blob.model;
        expect(titans_model_describe(model, null_mut(), null_mut()), TITANS_ERROR_NULL);
        expect(titans_model_describe(model, &mut about, null_mut()), TITANS_ERROR_STRUCT_SIZE);
        about.struct_size = size_of::<titans_model_info>() as u32;
        expect(titans_model_describe(null(), &mut about, null_mut()), TITANS_ERROR_NULL);
        expect(titans_model_describe(model, &mut about, null_mut()), TITANS_OK);
        block.struct_size = size_of::<titans_block_info>() as u32;
        expect(titans_model_describe_block(model, about.blocks, &mut block, null_mut()), TITANS_ERROR_LENGTH);
        expect(titans_model_describe_block(model, u32::MAX, &mut block, null_mut()), TITANS_ERROR_LENGTH);
        let mut memories = 0;
        for i in 0..about.blocks {
            expect(titans_model_describe_block(model, i, &mut block, null_mut()), TITANS_OK);
            assert_eq!((block.kind, block.first_memory), (titans_block_kind::TITANS_BLOCK_MAL as i32, memories));
            memories += block.memories;
        }
        assert_eq!((memories, about.input, about.input_size, about.outputs), (about.memories, 0, 7, 7));
    }
}

#[test]
fn configurations_out_of_range_are_refused() {
    let blob = texts();
    type Change = fn(&mut titans_stream_config);
    let cases: [(&str, Change, titans_status); 9] = [
        ("config", |c| c.struct_size -= 4, TITANS_ERROR_STRUCT_SIZE),
        ("config.flags", |c| c.flags = 1, TITANS_ERROR_FLAGS),
        ("config.reserved", |c| c.reserved = 1, TITANS_ERROR_FLAGS),
        ("rows", |c| c.rows = 0, TITANS_ERROR_CONFIG),
        ("rows", |c| c.rows = u32::MAX, TITANS_ERROR_CONFIG),
        ("undo", |c| c.undo = (1 << 20) + 1, TITANS_ERROR_CONFIG),
        ("memory mode", |c| c.mode = 3, TITANS_ERROR_CONFIG),
        ("memory mode", |c| c.mode = -1, TITANS_ERROR_CONFIG),
        ("memory mode", |c| c.mode = 256, TITANS_ERROR_CONFIG),
    ];
    for (name, change, wanted) in cases {
        let mut config = running(1, 1);
        change(&mut config);
        let (mut bytes, mut info) = (77, details());
        // SAFETY: borrows.
        let status = unsafe { titans_stream_size(&blob.model, &config, &mut bytes, &mut info) };
        expect(status, wanted);
        assert!(message(&info).starts_with(name) && info.arg == 2 && bytes == 77, "{}", message(&info));
    }
    let mut config = running(1, 1);
    // SAFETY: NULL is found out; the rest are borrows.
    unsafe {
        let init = |c, size, abi| titans_stream_config_init(c, size, abi, null_mut());
        let size = size_of::<titans_stream_config>();
        expect(init(null_mut(), size, TITANS_ABI_VERSION), TITANS_ERROR_NULL);
        expect(init(&raw mut config, size - 1, TITANS_ABI_VERSION), TITANS_ERROR_STRUCT_SIZE);
        expect(init(&raw mut config, size, TITANS_ABI_VERSION + 1), TITANS_ERROR_ABI_VERSION);
        expect(titans_stream_size(&blob.model, null(), &mut 0, null_mut()), TITANS_ERROR_NULL);
        expect(titans_stream_size(&blob.model, &config, null_mut(), null_mut()), TITANS_ERROR_NULL);
        expect(titans_stream_saved_size(&blob.model, null_mut(), null_mut()), TITANS_ERROR_NULL);
        expect(titans_stream_saved_size(null(), &mut 0, null_mut()), TITANS_ERROR_NULL);
        // No answer lies in what it is about.
        let (at, m) = (&raw mut config, &raw const blob.model);
        let (before, within) = (config, inside(at).cast());
        for place in [m.cast_mut().cast(), within, blob.arena.start().cast()] {
            expect(titans_stream_size(m, at, place, null_mut()), TITANS_ERROR_OVERLAP);
            if place != within {
                expect(titans_stream_saved_size(m, place, null_mut()), TITANS_ERROR_OVERLAP);
            }
        }
        assert_eq!(config, before);
    }
    assert_eq!(titans_stream_align(), 64);
}

/// The first place within a configuration at which a pointer or a size may be written: the configuration itself need
/// be a multiple of 4 only.
fn inside(config: *mut titans_stream_config) -> *mut usize {
    let past = config.cast::<u8>().wrapping_add(1);
    past.wrapping_add(past.align_offset(align_of::<usize>())).cast()
}

#[test]
fn making_a_stream_refuses_buffers_that_do_not_fit_and_leaves_them_alone() {
    let blob = texts();
    let config = running(3, 2);
    let mut arena = Arena::new(size(&blob, &config) + 64);
    arena.bytes_mut().fill(0x5A);
    let (start, bytes) = (arena.start(), size(&blob, &config));
    let mut stream = null_mut();
    let out = &raw mut stream;
    // SAFETY: NULL, misaligned and overlapping pointers are found out before they are followed; the rest are borrows.
    unsafe {
        let m = &raw const blob.model;
        let init = |b: *mut c_void, n, m, c, out| titans_stream_init(b, n, m, c, out, null_mut());
        expect(init(null_mut(), bytes, m, &config, out), TITANS_ERROR_NULL);
        expect(init(start.wrapping_byte_add(32), bytes, m, &config, out), TITANS_ERROR_MISALIGNED);
        expect(init(start, bytes - 1, m, &config, out), TITANS_ERROR_BUFFER_TOO_SMALL);
        expect(init(start, 0, m, &config, out), TITANS_ERROR_BUFFER_TOO_SMALL);
        expect(init(start, bytes, null(), &config, out), TITANS_ERROR_NULL);
        expect(init(start, bytes, m, null(), out), TITANS_ERROR_NULL);
        expect(init(start, bytes, m, &config, null_mut()), TITANS_ERROR_NULL);
        expect(init(start, bytes, m, &config, start.cast()), TITANS_ERROR_OVERLAP);
        let own = (&raw const config).cast_mut();
        expect(init(start, bytes, m, own, inside(own).cast()), TITANS_ERROR_OVERLAP);
        start.cast::<titans_stream_config>().write(config);
        expect(init(start, bytes, m, start.cast(), out), TITANS_ERROR_OVERLAP);
        start.cast::<u8>().write_bytes(0x5A, size_of::<titans_stream_config>());
        let blob_at = blob.arena.start();
        expect(init(blob_at, 1 << 30, m, &config, out), TITANS_ERROR_OVERLAP);
        let attach = |b: *mut c_void, n, m, out| titans_stream_attach(b, n, m, out, null_mut());
        expect(attach(start, bytes, m, out), TITANS_ERROR_FOREIGN);
        expect(attach(start, 63, m, out), TITANS_ERROR_BUFFER_TOO_SMALL);
        assert!(arena.bytes().iter().all(|&b| b == 0x5A) && stream.is_null());
        expect(init(start, bytes, m, &config, out), TITANS_OK);
        expect(attach(start, bytes - 1, m, out), TITANS_ERROR_BUFFER_TOO_SMALL);
        expect(attach(start, bytes, m, start.cast()), TITANS_ERROR_OVERLAP);
        expect(attach(start, bytes, &numbers().model, out), TITANS_ERROR_OTHER_MODEL);
        expect(attach(start, bytes, m, out), TITANS_OK);
        let fork = |s, b: *mut c_void, n, out| titans_stream_fork(s, b, n, out, null_mut());
        expect(fork(null(), start, bytes, out), TITANS_ERROR_NULL);
        expect(fork(stream, start, bytes, out), TITANS_ERROR_OVERLAP);
        expect(fork(stream, start.wrapping_byte_add(64), bytes, out), TITANS_ERROR_OVERLAP);
        expect(fork(stream, start.wrapping_byte_add(8), bytes, out), TITANS_ERROR_MISALIGNED);
        expect(fork(stream, start, bytes - 1, out), TITANS_ERROR_BUFFER_TOO_SMALL);
        expect(fork(stream, null_mut(), bytes, out), TITANS_ERROR_NULL);
    }
}
