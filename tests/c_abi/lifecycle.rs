//! Configurations, sizes, initialising, attaching and resetting: what works and every way it is refused.

use crate::support::*;
use std::ptr::{null, null_mut};
use titans::*;

/// Initialises from `w0` at `start`.
fn init(
    start: *mut std::ffi::c_void,
    bytes: usize,
    config: *const titans_memory_config,
    w0: &[f32],
    memory: *mut *mut titans_memory,
    info: *mut titans_error_info,
) -> i32 {
    let pointer = if w0.is_empty() { null() } else { w0.as_ptr() };
    // SAFETY: callers pass borrows or NULL, with their lengths.
    unsafe { titans_memory_init(start, bytes, config, pointer, w0.len(), memory, info) }
}

#[test]
fn the_size_is_enough_and_one_byte_less_is_refused() {
    for widths in [&[1, 1][..], &[7, 3], &[8, 8], &[5, 9, 5], &[4, 6, 3], &[3, 5, 4, 3], &[2, 3, 4, 3, 2]] {
        for chunk in [1, 2, 7, 16] {
            let config = config(widths, chunk);
            let (bytes, params) = (ask(titans_memory_size, &config), ask(titans_memory_parameters, &config));
            assert_eq!(bytes % titans_memory_align(), 0);
            let (arena, w0, mut memory, mut info) = (Arena::new(bytes), noise(params, 1), null_mut(), details());
            let start = arena.start();
            expect(init(start, bytes - 1, &config, &w0, &mut memory, &mut info), TITANS_ERROR_BUFFER_TOO_SMALL);
            assert_eq!((info.expected, info.found, info.arg), (bytes as u64, bytes as u64 - 1, 2));
            assert!(memory.is_null() && arena.bytes().iter().all(|&b| b == 0xA5), "touched before success");
            let mut sample = Sample::new(config);
            let feed = Feed::new(2 * chunk as usize + 1, sample.widths());
            sample.write(&feed, 0..2 * chunk as usize + 1);
            assert_eq!(sample.weights().len(), 2 * params);
        }
    }
}

#[test]
fn configurations_no_memory_can_have_are_refused() {
    let good = config(&[4, 6, 4], 3);
    type Change = fn(&mut titans_memory_config);
    let cases: [(Change, titans_status, &str); 19] = [
        (|c| c.struct_size = 0, TITANS_ERROR_STRUCT_SIZE, "config: expected 60, found 0"),
        (|c| c.struct_size -= 1, TITANS_ERROR_STRUCT_SIZE, "config: expected 60, found 59"),
        (|c| c.struct_size = u32::MAX, TITANS_ERROR_STRUCT_SIZE, "config: expected 60"),
        (|c| c.flags = 1, TITANS_ERROR_FLAGS, "config.flags: expected 0, found 1"),
        (|c| c.layers = 0, TITANS_ERROR_CONFIG, "layers: 1 to 4, found 0"),
        (|c| c.layers = 5, TITANS_ERROR_CONFIG, "layers: 1 to 4, found 5"),
        (|c| c.layers = u32::MAX, TITANS_ERROR_CONFIG, "layers: 1 to 4"),
        (|c| c.widths[1] = 0, TITANS_ERROR_CONFIG, "width"),
        (|c| c.widths[1] = u32::MAX, TITANS_ERROR_CONFIG, "width"),
        (|c| c.widths[2] = 5, TITANS_ERROR_CONFIG, "residual"),
        (
            |c| c.activation = 5,
            TITANS_ERROR_CONFIG,
            "activation: 0 silu, 1 gelu, 2 gelu-tanh, 3 relu, 4 identity, found 5",
        ),
        (|c| c.network = -1, TITANS_ERROR_CONFIG, "network: 0 plain, 1 residual, found"),
        (|c| c.loss = 3, TITANS_ERROR_CONFIG, "loss: 0 sum, 1 half, 2 mean, found 3"),
        (|c| c.read = i32::MIN, TITANS_ERROR_CONFIG, "read: 0 after, 1 before, 2 chunk-start"),
        (|c| c.chunk = 0, TITANS_ERROR_CONFIG, "chunk"),
        (|c| c.compute_chunk = u32::MAX, TITANS_ERROR_CONFIG, "compute_chunk: 0 to 1048576"),
        (
            |c| *c = cut(default(&[4, 4]), 3, 64),
            TITANS_ERROR_CONFIG,
            "compute_chunk: above the chunk a multiple of it, found 64",
        ),
        (|c| c.clip = -1.0, TITANS_ERROR_CONFIG, "clip"),
        (|c| c.clip = f32::NAN, TITANS_ERROR_CONFIG, "clip"),
    ];
    for (i, (change, wanted, text)) in cases.into_iter().enumerate() {
        let mut config = good;
        change(&mut config);
        let (mut bytes, mut info) = (77, details());
        // SAFETY: borrows.
        let status = unsafe { titans_memory_size(&config, &mut bytes, &mut info) };
        assert_eq!(status, wanted as i32, "case {i}: {}", message(&info));
        assert_eq!((bytes, info.code, info.arg), (77, status, 1), "case {i}");
        assert!(message(&info).starts_with(text), "case {i}: {}", message(&info));
    }
    let mut huge = config(&[1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20], 1 << 20);
    huge.chunk = 1 << 20;
    let (mut bytes, mut info) = (77, details());
    // SAFETY: borrows.
    let status = unsafe { titans_memory_size(&huge, &mut bytes, &mut info) };
    assert!(status == 0 || status == TITANS_ERROR_TOO_LARGE as i32, "{}", message(&info));
}

#[test]
fn a_linear_memory_is_exact_by_default_and_compute_chunk_says_what_waits() {
    let exact = default(&[4, 4]);
    assert_eq!((exact.chunk, exact.loss, exact.compute_chunk, exact.clip), (1, 1, 0, 0.0));
    let with = |chunk, compute_chunk| cut(exact, chunk, compute_chunk);
    let saved = |c| ask(titans_memory_saved_size, &c);
    assert_eq!(saved(exact), saved(with(1, 64)));
    assert_eq!(saved(with(5, 0)), saved(with(5, 60)));
    assert_eq!(saved(with(64, 0)), saved(with(64, 64)));
    assert_eq!(saved(with(100, 0)), saved(with(100, 100)));
    // W, S and two bounds, where no token ever waits.
    assert!(saved(with(1, 1)) < saved(exact) / 4);
    let deep = |compute_chunk| cut(config(&[4, 6, 4], 3), 3, compute_chunk);
    assert_eq!(saved(deep(0)), saved(deep(64)));
}

#[test]
fn a_longer_configuration_is_accepted_when_the_unknown_tail_is_zero() {
    #[repr(C)]
    struct Longer {
        known: titans_memory_config,
        tail: [u32; 4],
    }
    let mut longer = Longer { known: config(&[4, 4], 2), tail: [0; 4] };
    longer.known.struct_size = size_of::<Longer>() as u32;
    let mut bytes = 0;
    let mut ask_size = |config: &Longer| {
        // SAFETY: the structure is as long as it says.
        unsafe { titans_memory_size(std::ptr::from_ref(config).cast(), &mut bytes, null_mut()) }
    };
    expect(ask_size(&longer), TITANS_OK);
    longer.tail[3] = 1;
    expect(ask_size(&longer), TITANS_ERROR_STRUCT_SIZE);
    assert_eq!(bytes, ask(titans_memory_size, &config(&[4, 4], 2)));
    // SAFETY: the structure has room for the size that is passed.
    let status = unsafe {
        let pointer = std::ptr::from_mut(&mut longer).cast();
        titans_memory_config_init(pointer, size_of::<Longer>(), TITANS_ABI_VERSION, null_mut())
    };
    expect(status, TITANS_OK);
    assert_eq!((longer.known.struct_size as usize, longer.tail), (size_of::<Longer>(), [0; 4]));
}

#[test]
fn the_configuration_is_only_filled_for_this_abi() {
    let (mut c, size) = (config(&[4, 4], 2), size_of::<titans_memory_config>());
    let before = c;
    // SAFETY: a borrow, or NULL, of the size that is passed or larger.
    unsafe {
        let abi = TITANS_ABI_VERSION;
        expect(titans_memory_config_init(null_mut(), size, abi, null_mut()), TITANS_ERROR_NULL);
        expect(titans_memory_config_init(&mut c, size, abi + 1, null_mut()), TITANS_ERROR_ABI_VERSION);
        expect(titans_memory_config_init(&mut c, size - 4, abi, null_mut()), TITANS_ERROR_STRUCT_SIZE);
        let odd = std::ptr::from_mut(&mut c).byte_add(1);
        expect(titans_memory_config_init(odd, size, abi, null_mut()), TITANS_ERROR_MISALIGNED);
    }
    assert_eq!(c, before);
}

#[test]
fn no_answer_lies_in_the_configuration_that_it_is_about() {
    #[repr(C, align(64))]
    #[derive(Clone, Copy)]
    struct Longer {
        known: titans_memory_config,
        tail: [u32; 9],
    }
    let mut config = Longer { known: config(&[4, 4], 2), tail: [0; 9] };
    config.known.struct_size = 64; // with four bytes that this library does not know
    let (bytes, before) = (ask(titans_memory_size, &config.known), config);
    let mut arena = Arena::new(bytes);
    let (mut w0, mut memory) = ([0.25f32; 16], null_mut());
    let at = &raw mut config;
    // SAFETY: overlapping pointers are found out before anything is written; the others are borrows with their lengths.
    unsafe {
        for question in [titans_memory_size, titans_memory_saved_size, titans_memory_parameters] {
            for place in [0, 8, 56] {
                expect(question(at.cast(), at.byte_add(place).cast(), null_mut()), TITANS_ERROR_OVERLAP);
            }
            expect(question(at.cast(), at.byte_add(64).cast(), null_mut()), TITANS_OK);
        }
        config.tail = [0; 9];
        let (start, w) = (arena.start(), w0.as_mut_ptr());
        let init = |c: *const titans_memory_config, out| titans_memory_init(start, bytes, c, w, 16, out, null_mut());
        expect(init(at.cast(), at.byte_add(56).cast()), TITANS_ERROR_OVERLAP);
        expect(init(at.cast(), w.cast()), TITANS_ERROR_OVERLAP);
        start.cast::<titans_memory_config>().write(before.known);
        (*start.cast::<titans_memory_config>()).struct_size = size_of::<titans_memory_config>() as u32;
        let lying = arena.bytes().to_vec();
        expect(init(start.cast(), &mut memory), TITANS_ERROR_OVERLAP);
        assert!(arena.bytes() == lying && memory.is_null() && w0 == [0.25; 16]);
        assert!(config.known == before.known && config.tail == before.tail);
    }
    arena.bytes_mut().fill(0);
}

#[test]
fn initialising_checks_every_argument() {
    let (linear, deep) = (config(&[4, 4], 2), config(&[4, 4, 4], 2));
    let bytes = ask(titans_memory_size, &deep);
    let (arena, mut info) = (Arena::new(bytes + 64), details());
    let (start, w0) = (arena.start(), noise(ask(titans_memory_parameters, &deep), 2));
    let mut memory = null_mut();
    expect(init(null_mut(), bytes, &deep, &w0, &mut memory, &mut info), TITANS_ERROR_NULL);
    assert!(message(&info).starts_with("buffer: "), "{}", message(&info));
    expect(init(start.wrapping_byte_add(8), bytes, &deep, &w0, &mut memory, &mut info), TITANS_ERROR_MISALIGNED);
    expect(init(start, bytes, null(), &w0, &mut memory, &mut info), TITANS_ERROR_NULL);
    expect(init(start, bytes, &deep, &w0[1..], &mut memory, &mut info), TITANS_ERROR_LENGTH);
    assert_eq!((info.arg, info.expected, info.found), (4, w0.len() as u64, w0.len() as u64 - 1));
    expect(init(start, bytes, &deep, &[], &mut memory, &mut info), TITANS_ERROR_NULL); // zeros cannot learn
    expect(init(start, bytes, &deep, &w0, null_mut(), &mut info), TITANS_ERROR_NULL);
    expect(init(start, bytes, &deep, &w0, start.cast(), &mut info), TITANS_ERROR_OVERLAP);
    let mut bad = w0.clone();
    bad[5] = f32::INFINITY;
    expect(init(start, bytes, &deep, &bad, &mut memory, &mut info), TITANS_ERROR_NOT_FINITE);
    assert_eq!((info.found, info.arg), (5, 4));
    // SAFETY: pointers into the arena, NULL, or borrows.
    unsafe {
        let inside = start.cast::<f32>();
        let status = titans_memory_init(start, bytes, &deep, inside, w0.len(), &mut memory, null_mut());
        expect(status, TITANS_ERROR_OVERLAP);
        let odd = w0.as_ptr().byte_add(1);
        let status = titans_memory_init(start, bytes, &deep, odd, w0.len(), &mut memory, null_mut());
        expect(status, TITANS_ERROR_MISALIGNED);
        let status = titans_memory_init(start, bytes, &deep, null(), w0.len(), &mut memory, null_mut());
        expect(status, TITANS_ERROR_NULL);
    }
    assert!(memory.is_null() && arena.bytes().iter().all(|&b| b == 0xA5), "touched before success");
    expect(init(start, bytes, &linear, &[], &mut memory, &mut info), TITANS_OK);
    assert_eq!((info.code, info.arg, message(&info)), (0, 0, String::new()));
}

#[test]
fn wrong_details_structures_are_refused_and_untouched() {
    let config = config(&[4, 4], 2);
    let (mut info, mut bytes) = (details(), 77);
    info.struct_size -= 8;
    let before = format!("{info:?}");
    // SAFETY: borrows; the odd pointer is found out before it is followed.
    unsafe {
        expect(titans_memory_size(&config, &mut bytes, &mut info), TITANS_ERROR_STRUCT_SIZE);
        let odd = std::ptr::from_mut(&mut info).byte_add(2);
        expect(titans_memory_size(&config, &mut bytes, odd), TITANS_ERROR_MISALIGNED);
    }
    assert_eq!((before, bytes), (format!("{info:?}"), 77));
}

#[test]
fn blocks_that_hold_no_memory_are_told_apart() {
    let sample = Sample::new(config(&[4, 4], 2));
    let good = sample.arena.bytes().to_vec();
    let mut arena = Arena::new(good.len());
    let start = arena.start();
    let (mut memory, mut info) = (null_mut(), details());
    let mut attach = |len: usize, memory: *mut *mut titans_memory| {
        // SAFETY: a pointer into the arena with at most its length.
        unsafe { titans_memory_attach(start, len, memory, &mut info) }
    };
    let len = good.len();
    arena.bytes_mut().fill(0);
    expect(attach(len, &mut memory), TITANS_ERROR_UNINITIALISED);
    arena.bytes_mut().fill(0x5A);
    expect(attach(len, &mut memory), TITANS_ERROR_FOREIGN);
    arena.bytes_mut().copy_from_slice(&good);
    expect(attach(len - 1, &mut memory), TITANS_ERROR_BUFFER_TOO_SMALL);
    expect(attach(10, &mut memory), TITANS_ERROR_BUFFER_TOO_SMALL);
    expect(attach(len, null_mut()), TITANS_ERROR_NULL);
    expect(attach(len, start.cast()), TITANS_ERROR_OVERLAP);
    arena.bytes_mut()[8] ^= 1; // the ABI number
    expect(attach(len, &mut memory), TITANS_ERROR_BLOCK_VERSION);
    arena.bytes_mut().copy_from_slice(&good);
    arena.bytes_mut()[40] ^= 1; // the number of layers
    expect(attach(len, &mut memory), TITANS_ERROR_CORRUPT);
    assert!(memory.is_null());
    arena.bytes_mut().copy_from_slice(&good);
    expect(attach(len, &mut memory), TITANS_OK);
    assert_eq!(memory.cast(), start);
    // SAFETY: pointers that are NULL or found to be misaligned before they are followed.
    unsafe {
        expect(titans_memory_attach(null_mut(), len, &mut memory, null_mut()), TITANS_ERROR_NULL);
        let odd = start.wrapping_byte_add(4);
        expect(titans_memory_attach(odd, len, &mut memory, null_mut()), TITANS_ERROR_MISALIGNED);
    }
}

#[test]
fn no_flipped_bit_of_a_head_leads_outside_the_block() {
    let mut sample = Sample::new(config(&[3, 3], 2));
    let feed = Feed::new(9, sample.widths());
    sample.write(&feed, 0..9);
    let good = sample.arena.bytes().to_vec();
    let mut accepted = 0;
    for bit in 0..8 * 128 {
        sample.arena.bytes_mut().copy_from_slice(&good);
        sample.arena.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        let mut memory = null_mut();
        // SAFETY: the arena is the block.
        let status = unsafe { titans_memory_attach(sample.arena.start(), good.len(), &mut memory, null_mut()) };
        let family = [TITANS_ERROR_FOREIGN, TITANS_ERROR_BLOCK_VERSION, TITANS_ERROR_CORRUPT, TITANS_ERROR_POISONED];
        if status == TITANS_OK as i32 {
            // Counters and the last surprise are data: any value is one.
            accepted += 1;
            sample.write(&feed, 0..3);
        } else {
            assert!(family.iter().any(|s| *s as i32 == status), "bit {bit}: {status}");
        }
    }
    assert!(accepted < 8 * (8 + 8 + 4 + 4 + 4 + 8), "{accepted} flips accepted");
    sample.arena.bytes_mut().copy_from_slice(&good);
}

#[test]
fn resetting_starts_anew() {
    let mut sample = Sample::new(config(&[4, 6, 4], 3));
    let feed = Feed::new(10, sample.widths());
    let first = sample.write(&feed, 0..10);
    let learned = sample.arena.bytes().to_vec();
    let w0 = sample.w0.clone();
    let mut info = details();
    // SAFETY: borrows with their lengths, or NULL.
    unsafe {
        let m = sample.memory;
        expect(titans_memory_reset(null_mut(), w0.as_ptr(), w0.len(), null_mut()), TITANS_ERROR_NULL);
        expect(titans_memory_reset(m, null(), 0, null_mut()), TITANS_ERROR_NULL);
        expect(titans_memory_reset(m, w0.as_ptr(), w0.len() - 1, &mut info), TITANS_ERROR_LENGTH);
        expect(titans_memory_reset(m, m.cast::<f32>(), w0.len(), &mut info), TITANS_ERROR_OVERLAP);
        expect(titans_memory_reset(m, m.cast::<f32>(), usize::MAX, &mut info), TITANS_ERROR_OVERLAP);
        assert_eq!(sample.arena.bytes(), learned);
        expect(titans_memory_reset(m, w0.as_ptr(), w0.len(), &mut info), TITANS_OK);
    }
    assert_eq!(sample.position(), 0);
    assert_eq!(sample.weights()[..w0.len()], w0);
    assert!(sample.weights()[w0.len()..].iter().all(|&s| s == 0.0));
    assert_eq!(sample.write(&feed, 0..10), first);
}
