//! Saving and loading: the continuation has the same bits, and no damaged byte gets in.

use crate::support::*;
use std::ptr::null_mut;
use titans::*;

fn learned(config: titans_memory_config) -> (Sample, Feed) {
    let mut sample = Sample::new(config);
    let feed = Feed::new(20, sample.widths());
    sample.write(&feed, 0..9);
    (sample, feed)
}

#[test]
fn a_loaded_or_copied_memory_goes_on_with_the_same_bits() {
    for c in [config(&[5, 3], 4), config(&[4, 6, 4], 7), config(&[3, 3], 1), default(&[4, 3])] {
        let (mut sample, feed) = learned(c);
        let saved = sample.save();
        let mut loaded = Sample::new(c);
        expect(loaded.load(&saved, null_mut()), TITANS_OK);
        assert_eq!((loaded.position(), loaded.save()), (9, saved));
        let mut copy = Arena::new(sample.arena.bytes().len());
        copy.bytes_mut().copy_from_slice(sample.arena.bytes());
        let (start, bytes, mut memory) = (copy.start(), copy.bytes().len(), null_mut());
        // SAFETY: the arena holds that many bytes.
        expect(unsafe { titans_memory_attach(start, bytes, &mut memory, null_mut()) }, TITANS_OK);
        let mut copied = Sample { arena: copy, memory, config: c, w0: sample.w0.clone() };
        let uncut = sample.write(&feed, 9..20);
        assert_eq!(loaded.write(&feed, 9..20), uncut);
        assert_eq!(copied.write(&feed, 9..20), uncut);
        assert_eq!((loaded.weights(), copied.weights()), (sample.weights(), sample.weights()));
        assert_eq!((loaded.save(), copied.save()), (sample.save(), sample.save()));
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused_and_changes_nothing() {
    let (mut source, _) = learned(config(&[2, 2], 2));
    let saved = source.save();
    let (mut target, _) = learned(config(&[2, 2], 2));
    target.write(&Feed::new(3, (2, 2)), 0..3);
    let before = target.arena.bytes().to_vec();
    let mut refused = |bytes: &[u8], what: &str| {
        let mut info = details();
        let status = target.load(bytes, &mut info);
        let family = TITANS_ERROR_SAVED_CORRUPT as i32..=TITANS_ERROR_SAVED_FOREIGN as i32;
        assert!(family.contains(&status), "{what}: {status}, {}", message(&info));
        assert_eq!((info.code, info.arg), (status, 2), "{what}");
        assert!(target.arena.bytes() == before, "{what}: the memory changed");
        status
    };
    for len in 0..saved.len() {
        let status = refused(&saved[..len], &format!("{len} bytes"));
        assert_eq!(status, TITANS_ERROR_SAVED_LENGTH as i32, "{len} bytes");
    }
    let longer = [&saved[..], &[0]].concat();
    refused(&longer, "a byte too many");
    refused(&vec![0; saved.len()], "zeros");
    for bit in 0..8 * saved.len() {
        let mut flipped = saved.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(&flipped, &format!("bit {bit}"));
    }
    expect(target.load(&saved, null_mut()), TITANS_OK);
    assert_eq!(target.save(), saved);
}

#[test]
fn damage_is_told_from_other_formats_and_configurations() {
    let (mut source, _) = learned(config(&[2, 2], 2));
    let saved = source.save();
    let mut others = vec![config(&[2, 2], 3), config(&[2, 3], 2), config(&[2, 2, 2], 2)];
    let changes: [fn(&mut titans_memory_config); 5] =
        [|c| c.loss = 1, |c| c.activation = 3, |c| c.read = 1, |c| c.clip = 2.0, |c| c.compute_chunk = 4];
    for change in changes {
        let mut c = config(&[2, 2], 2);
        change(&mut c);
        others.push(c);
    }
    for c in others {
        let mut other = Sample::new(c);
        let mut info = details();
        let status = other.load(&saved, &mut info);
        assert_eq!(status, TITANS_ERROR_SAVED_CONFIG as i32, "{c:?}: {}", message(&info));
    }
    let mut foreign = saved.clone();
    foreign[0] ^= 0x20;
    expect(source.load(&foreign, null_mut()), TITANS_ERROR_SAVED_FOREIGN);
    let mut later = saved.clone();
    later[7] += 1;
    expect(source.load(&later, null_mut()), TITANS_ERROR_SAVED_VERSION);
    let mut damaged = saved.clone();
    *damaged.last_mut().unwrap() ^= 1;
    expect(source.load(&damaged, null_mut()), TITANS_ERROR_SAVED_CORRUPT);
}

#[test]
fn wrong_arguments_are_refused() {
    let (mut sample, _) = learned(config(&[3, 3], 2));
    let saved = sample.save();
    let before = sample.arena.bytes().to_vec();
    let (mut bytes, mut written, mut info) = (vec![0xEE; saved.len()], 77, details());
    let (m, len, out) = (sample.memory, saved.len(), bytes.as_mut_ptr());
    let inside = m.cast::<std::ffi::c_void>();
    // SAFETY: NULL and overlapping pointers are found out before they are followed; the others are borrows.
    unsafe {
        let out = out.cast();
        expect(titans_memory_save(null_mut(), out, len, &mut written, null_mut()), TITANS_ERROR_NULL);
        expect(titans_memory_save(m, null_mut(), len, &mut written, null_mut()), TITANS_ERROR_NULL);
        expect(titans_memory_save(m, out, len, null_mut(), null_mut()), TITANS_ERROR_NULL);
        expect(titans_memory_save(m, out, len - 1, &mut written, &mut info), TITANS_ERROR_BUFFER_TOO_SMALL);
        assert_eq!((info.expected, info.found), (len as u64, len as u64 - 1));
        expect(titans_memory_save(m, inside, len, &mut written, null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_memory_save(m, out, len, inside.cast(), null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_memory_load(m, std::ptr::null(), len, null_mut()), TITANS_ERROR_NULL);
        expect(titans_memory_load(m, inside, len, null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_memory_load(null_mut(), saved.as_ptr().cast(), len, null_mut()), TITANS_ERROR_NULL);
    }
    assert!(bytes.iter().all(|&b| b == 0xEE) && written == 77, "an output was written");
    assert!(sample.arena.bytes() == before, "the memory changed");
}

#[test]
fn loading_forgets_the_last_surprise() {
    let (mut sample, _) = learned(config(&[3, 3], 2));
    let saved = sample.save();
    let mut surprise = 0.0;
    // SAFETY: a borrow.
    let ask = |m, out: &mut f32| unsafe { titans_memory_surprise(m, out, null_mut()) };
    expect(ask(sample.memory, &mut surprise), TITANS_OK);
    expect(sample.load(&saved, null_mut()), TITANS_OK);
    expect(ask(sample.memory, &mut surprise), TITANS_ERROR_NO_TOKEN);
}
