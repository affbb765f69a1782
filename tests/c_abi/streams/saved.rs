//! States: no damaged byte gets in, foreign ones are told apart, and those of `titans stream --state` are taken and
//! read.

use super::support::{Blob, Fed, Running, running};
use crate::support::{details, expect, message};
use std::ptr::{null, null_mut};
use titans::titans_status::*;
use titans::*;
use titans_host::model::{Head, Kind, ModelConfig};
use titans_kernel::model::KeptState;

fn small(kind: Kind) -> ModelConfig {
    let mut config = super::blocks::tiny(kind);
    (config.vocabulary, config.width, config.blocks, config.heads, config.head_width) = (3, 2, 1, 1, 2);
    (config.feed_forward, config.persistent, config.conv_width) = (1, 1, 2);
    (config.memory.chunk, config.memory.hidden, config.attention.window, config.attention.segment) = (2, 2, 2, 2);
    config
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused_or_bit_identical() {
    for kind in [Kind::Lmm, Kind::Mac, Kind::Mag] {
        let blob = Blob::new(&small(kind));
        let fed = Fed::new(&blob.info, 12);
        let mut source = Running::new(&blob, running(2, 0));
        source.push(&fed, 0..7);
        let saved = source.save();
        let mut target = Running::new(&blob, running(2, 3));
        target.push(&fed, 3..12);
        let before = target.arena.bytes().to_vec();
        let mut refused = |bytes: &[u8], what: &str| {
            let mut info = details();
            let status = target.load(bytes, &mut info);
            let family = TITANS_ERROR_SAVED_CORRUPT as i32..=TITANS_ERROR_SAVED_FOREIGN as i32;
            assert!(family.contains(&status), "{what}: {status}, {}", message(&info));
            assert_eq!((info.code, info.arg), (status, 3), "{what}");
            assert!(target.arena.bytes() == before, "{what}: the stream changed");
        };
        (0..saved.len()).for_each(|len| refused(&saved[..len], &format!("{len} bytes")));
        refused(&[&saved[..], &[0]].concat(), "a byte too many");
        refused(&vec![0; saved.len()], "zeros");
        for bit in 0..8 * saved.len() {
            let mut flipped = saved.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(&flipped, &format!("bit {bit}"));
        }
        expect(target.load(&saved, null_mut()), TITANS_OK);
        assert_eq!(target.save(), saved);
        assert_eq!(target.push(&fed, 7..12), source.push(&fed, 7..12));
    }
}

#[test]
fn foreign_and_other_states_are_told_apart() {
    let (blob, other) = (Blob::new(&small(Kind::Lmm)), Blob::new(&small(Kind::Mal)));
    let mut stream = Running::new(&blob, running(1, 1));
    let saved = stream.save();
    let mut changed = |at: usize, sum: bool| {
        let mut bytes = saved.clone();
        bytes[at] ^= 0x40;
        if sum {
            let end = bytes.len() - 4;
            let sum = titans_kernel::model::checksum(&bytes[20..end]);
            bytes[end..].copy_from_slice(&sum);
        }
        stream.load(&bytes, null_mut())
    };
    expect(changed(0, false), TITANS_ERROR_SAVED_FOREIGN);
    expect(changed(7, false), TITANS_ERROR_SAVED_VERSION);
    expect(changed(20, false), TITANS_ERROR_SAVED_FOREIGN);
    expect(changed(27, false), TITANS_ERROR_SAVED_VERSION);
    expect(changed(33, false), TITANS_ERROR_SAVED_CONFIG);
    expect(changed(60, true), TITANS_ERROR_SAVED_CORRUPT);
    let mut alien = Running::new(&other, running(1, 1));
    let foreign = alien.save();
    assert!(
        [TITANS_ERROR_SAVED_LENGTH as i32, TITANS_ERROR_SAVED_CONFIG as i32]
            .contains(&stream.load(&foreign, null_mut()))
    );
    let (mut bytes, mut written) = (vec![0xEE_u8; saved.len()], 77);
    let (s, m, len) = (stream.stream, &raw const blob.model, saved.len());
    let inside = s.cast::<std::ffi::c_void>();
    // SAFETY: NULL and overlapping pointers are found out before they are followed; the rest are borrows.
    unsafe {
        let out = bytes.as_mut_ptr().cast();
        expect(titans_stream_save(s, m, null_mut(), len, &mut written, null_mut()), TITANS_ERROR_NULL);
        expect(titans_stream_save(s, m, out, len - 1, &mut written, null_mut()), TITANS_ERROR_BUFFER_TOO_SMALL);
        expect(titans_stream_save(s, m, out, len, null_mut(), null_mut()), TITANS_ERROR_NULL);
        expect(titans_stream_save(s, m, inside, len, &mut written, null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_stream_save(s, m, out, len, inside.cast(), null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_stream_save(s, m, out, len, out.cast(), null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_stream_load(s, m, null(), len, null_mut()), TITANS_ERROR_NULL);
        expect(titans_stream_load(s, m, inside, len, null_mut()), TITANS_ERROR_OVERLAP);
    }
    assert!(bytes.iter().all(|&b| b == 0xEE) && written == 77, "an output was written");
}

/// What waits in a state: token, and numbers of an open row.
fn waiting(stream: &Running<'_>, capacity: usize) -> (i32, u32, Vec<f32>) {
    let (mut token, mut count, mut numbers) = (7, 77, vec![0.0f32; capacity]);
    let out = if capacity == 0 { null_mut() } else { numbers.as_mut_ptr() };
    // SAFETY: borrows with their lengths.
    let status = unsafe { titans_stream_waiting(stream.stream, &mut token, out, capacity, &mut count, null_mut()) };
    numbers.truncate(count);
    (status, token, numbers)
}

/// A state as `titans stream` writes it.
fn kept(pending: Option<u32>, open: &[f32], stream: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; KeptState::head_len(open.len())];
    KeptState::write_head(pending, open, &mut bytes).unwrap();
    [&bytes[..], stream].concat()
}

#[test]
fn what_waits_in_a_state_is_told_kept_and_forgotten() {
    let blob = Blob::new(&small(Kind::Lmm));
    let mut stream = Running::new(&blob, running(1, 2));
    let plain = stream.save()[20..].to_vec();
    assert_eq!(waiting(&stream, 0), (0, u32::MAX, vec![]));
    let with = kept(Some(2), &[], &plain);
    expect(stream.load(&with, null_mut()), TITANS_OK);
    assert_eq!((waiting(&stream, 0), stream.save()), ((0, 2, vec![]), with));
    let said = kept(None, &[0.5; 3], &plain); // a text session keeps what the model says
    expect(stream.load(&said, null_mut()), TITANS_OK);
    assert_eq!(waiting(&stream, 0), (0, u32::MAX, vec![]));
    let before = stream.arena.bytes().to_vec();
    for bad in [kept(Some(3), &[], &plain), kept(None, &[0.5; 2], &plain)] {
        expect(stream.load(&bad, null_mut()), TITANS_ERROR_SAVED_CONFIG);
        assert!(stream.arena.bytes() == before);
    }
    stream.push(&Fed::Ids(vec![1]), 0..1);
    assert_eq!(waiting(&stream, 0).1, u32::MAX);

    let mut config = small(Kind::Mag);
    (config.inputs, config.head, config.outputs, config.tied) = (4, Head::Regression, 4, false);
    let blob = Blob::new(&config);
    let mut stream = Running::new(&blob, running(1, 2));
    let plain = stream.save()[20..].to_vec();
    let with = kept(None, &[1.0, 2.0, 3.0], &plain);
    expect(stream.load(&with, null_mut()), TITANS_OK);
    assert_eq!(waiting(&stream, 4), (0, u32::MAX, vec![1.0, 2.0, 3.0]));
    expect(waiting(&stream, 2).0, TITANS_ERROR_BUFFER_TOO_SMALL);
    expect(waiting(&stream, 0).0, TITANS_ERROR_NULL);
    assert_eq!(stream.save(), with);
    for bad in [kept(None, &[0.0; 4], &plain), kept(Some(1), &[], &plain)] {
        expect(stream.load(&bad, null_mut()), TITANS_ERROR_SAVED_CONFIG);
    }
    assert_eq!(stream.save(), with);
    stream.push(&Fed::new(&blob.info, 1), 0..1);
    assert_eq!(waiting(&stream, 0), (0, u32::MAX, vec![]));
}

#[test]
fn the_end_of_all_positions_is_an_error_and_not_a_panic() {
    let blob = Blob::new(&small(Kind::Lmm));
    let mut stream = Running::new(&blob, running(1, 0));
    let mut saved = stream.save();
    saved[20 + 24..20 + 32].copy_from_slice(&(1u64 << 62).to_le_bytes());
    let end = saved.len() - 4;
    let sum = titans_kernel::model::checksum(&saved[20..end]);
    saved[end..].copy_from_slice(&sum);
    expect(stream.load(&saved, null_mut()), TITANS_OK);
    let (status, ..) = stream.try_push(&Fed::Ids(vec![1]), 0..1, null_mut());
    expect(status, TITANS_ERROR_END);
}
