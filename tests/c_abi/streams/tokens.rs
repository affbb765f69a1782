//! Tokens and outputs that are wrong, and tokens with which numbers would not stay finite.

use super::support::{Blob, Fed, Running, numbers, running, texts, weights};
use crate::support::{details, expect, message};
use std::ptr::{null, null_mut};
use titans::titans_status::*;
use titans::*;
use titans_host::model::ModelConfig;

/// Calls `push` of some kind and expects a refusal that changes neither block nor outputs.
fn refuse(
    running: &mut Running<'_>,
    what: &str,
    wanted: titans_status,
    call: impl FnOnce(&mut Running<'_>, *mut f32, usize, *mut f32, usize, &mut titans_error_info) -> i32,
) {
    let before = running.arena.bytes().to_vec();
    let n = 5;
    let (mut y, mut s) =
        (vec![7.0f32; n * running.blob.info.outputs as usize], vec![7.0f32; n * running.blob.info.memories as usize]);
    let mut info = details();
    let (y_len, s_len) = (y.len(), s.len());
    let status = call(running, y.as_mut_ptr(), y_len, s.as_mut_ptr(), s_len, &mut info);
    assert_eq!(status, wanted as i32, "{what}: {}", message(&info));
    assert!(y.iter().chain(&s).all(|&x| x == 7.0), "{what}: an output was written");
    assert!(running.arena.bytes() == before, "{what}: the stream changed");
}

#[allow(unused_variables, reason = "a case uses what it needs")]
#[test]
fn wrong_tokens_and_outputs_are_refused_and_nothing_changes() {
    let (text, rows) = (texts(), numbers());
    let (mut text, mut rows) = (Running::new(&text, running(3, 2)), Running::new(&rows, running(3, 0)));
    text.push(&Fed::new(&text.blob.info, 9), 0..9);
    rows.push(&Fed::new(&rows.blob.info, 9), 0..9);
    let (ids, x) = ([0u32, 6, 3, 2, 1], [0.25f32; 20]);
    let bad = [0u32, 6, 7, 2, 1];
    let (mut nan, mut huge) = (x, x);
    (nan[7], huge[19]) = (f32::NAN, f32::INFINITY);
    macro_rules! case {
        ($stream:ident, $what:literal, $wanted:ident, |$s:ident, $m:ident, $y:ident, $yn:ident, $l:ident, $ln:ident| $call:ident($($arg:expr),+)) => {
            refuse(&mut $stream, $what, $wanted, |r, $y, $yn, $l, $ln, info| {
                let ($s, $m) = (r.stream, &raw const r.blob.model);
                // SAFETY: what a case makes invalid is found out before it is followed; the rest are borrows.
                unsafe { $call($($arg),+, info) }
            });
        };
    }
    let (i, r) = (ids.as_ptr(), x.as_ptr());
    case!(text, "stream", TITANS_ERROR_NULL, |s, m, y, yn, l, ln| titans_stream_push(
        null_mut(),
        m,
        i,
        5,
        y,
        yn,
        l,
        ln
    ));
    case!(text, "model", TITANS_ERROR_NULL, |s, m, y, yn, l, ln| titans_stream_push(s, null(), i, 5, y, yn, l, ln));
    case!(text, "ids", TITANS_ERROR_NULL, |s, m, y, yn, l, ln| titans_stream_push(s, m, null(), 5, y, yn, l, ln));
    case!(text, "ids odd", TITANS_ERROR_MISALIGNED, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        m,
        i.wrapping_byte_add(1),
        5,
        y,
        yn,
        l,
        ln
    ));
    case!(text, "n", TITANS_ERROR_TOO_LARGE, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        m,
        i,
        usize::MAX,
        y,
        yn,
        l,
        ln
    ));
    case!(text, "y", TITANS_ERROR_LENGTH, |s, m, y, yn, l, ln| titans_stream_push(s, m, i, 5, y, yn - 1, l, ln));
    case!(text, "y null", TITANS_ERROR_NULL, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        m,
        i,
        5,
        null_mut(),
        yn,
        l,
        ln
    ));
    case!(text, "y odd", TITANS_ERROR_MISALIGNED, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        m,
        i,
        5,
        y.wrapping_byte_add(2),
        yn,
        l,
        ln
    ));
    case!(text, "surprise", TITANS_ERROR_LENGTH, |s, m, y, yn, l, ln| titans_stream_push(s, m, i, 5, y, yn, l, ln - 1));
    case!(text, "both", TITANS_ERROR_OVERLAP, |s, m, y, yn, l, ln| titans_stream_push(s, m, i, 5, y, yn, y, ln));
    case!(text, "y in the block", TITANS_ERROR_OVERLAP, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        m,
        i,
        5,
        s.cast(),
        yn,
        l,
        ln
    ));
    case!(text, "y on the input", TITANS_ERROR_OVERLAP, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        m,
        y.cast(),
        5,
        y,
        yn,
        l,
        ln
    ));
    case!(text, "y on the model", TITANS_ERROR_OVERLAP, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        m,
        i,
        5,
        m.cast_mut().cast(),
        yn,
        l,
        ln
    ));
    case!(text, "input in the block", TITANS_ERROR_OVERLAP, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        m,
        s.cast(),
        5,
        y,
        yn,
        l,
        ln
    ));
    case!(text, "id", TITANS_ERROR_TOKEN_RANGE, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        m,
        bad.as_ptr(),
        5,
        y,
        yn,
        l,
        ln
    ));
    case!(text, "step id", TITANS_ERROR_TOKEN_RANGE, |s, m, y, yn, l, ln| titans_stream_step(
        s,
        m,
        7,
        y,
        yn / 5,
        l,
        ln / 5
    ));
    case!(text, "step y", TITANS_ERROR_LENGTH, |s, m, y, yn, l, ln| titans_stream_step(s, m, 1, y, yn, l, ln / 5));
    case!(text, "rows", TITANS_ERROR_INPUT_KIND, |s, m, y, yn, l, ln| titans_stream_push_rows(
        s, m, r, 20, y, yn, l, ln
    ));
    case!(text, "row", TITANS_ERROR_INPUT_KIND, |s, m, y, yn, l, ln| titans_stream_step_row(
        s,
        m,
        r,
        4,
        y,
        yn / 5,
        l,
        ln / 5
    ));
    case!(rows, "ids", TITANS_ERROR_INPUT_KIND, |s, m, y, yn, l, ln| titans_stream_push(s, m, i, 5, y, yn, l, ln));
    case!(rows, "id", TITANS_ERROR_INPUT_KIND, |s, m, y, yn, l, ln| titans_stream_step(s, m, 1, y, yn / 5, l, ln / 5));
    case!(rows, "no whole rows", TITANS_ERROR_LENGTH, |s, m, y, yn, l, ln| titans_stream_push_rows(
        s, m, r, 19, y, yn, l, ln
    ));
    case!(rows, "two rows", TITANS_ERROR_LENGTH, |s, m, y, yn, l, ln| titans_stream_step_row(
        s,
        m,
        r,
        8,
        y,
        yn / 5,
        l,
        ln / 5
    ));
    case!(rows, "no row", TITANS_ERROR_LENGTH, |s, m, y, yn, l, ln| titans_stream_step_row(s, m, r, 0, y, 0, l, 0));
    case!(rows, "nan", TITANS_ERROR_NOT_FINITE, |s, m, y, yn, l, ln| titans_stream_push_rows(
        s,
        m,
        nan.as_ptr(),
        20,
        y,
        yn,
        l,
        ln
    ));
    case!(rows, "infinity", TITANS_ERROR_NOT_FINITE, |s, m, y, yn, l, ln| titans_stream_push_rows(
        s,
        m,
        huge.as_ptr(),
        20,
        y,
        yn,
        l,
        ln
    ));
    case!(text, "read_only", TITANS_ERROR_CONFIG, |s, m, y, yn, l, ln| titans_stream_read_only(s, m, 2));
    case!(text, "other", TITANS_ERROR_OTHER_MODEL, |s, m, y, yn, l, ln| titans_stream_push(
        s,
        &raw const rows.blob.model,
        i,
        5,
        y,
        yn,
        l,
        ln
    ));
    let before = text.save();
    text.push(&Fed::Ids(vec![]), 0..0); // no token is fine
    assert_eq!(text.save(), before);
    let absent = texts();
    let mut absent = Running::new(&absent, titans_stream_config { mode: 2, ..running(1, 0) });
    case!(absent, "absent", TITANS_ERROR_CONFIG, |s, m, y, yn, l, ln| titans_stream_read_only(s, m, 0));
}

/// A model whose embedding of the last symbol is infinite: feeding it is refused.
fn explosive(config: &ModelConfig) -> Blob {
    let weights = weights(config);
    let mut bytes = weights.bytes().to_vec();
    let last = 64 + 128 * config.blocks + 4 * config.width * (config.vocabulary - 1);
    bytes[last..last + 4 * config.width]
        .chunks_exact_mut(4)
        .for_each(|b| b.copy_from_slice(&f32::INFINITY.to_le_bytes()));
    let end = bytes.len() - 4;
    let sum = titans_kernel::model::checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum);
    Blob::of(&bytes)
}

#[test]
fn a_refused_token_changes_nothing_and_the_stream_goes_on_from_the_last_good_one() {
    for kind in super::blocks::KINDS {
        let mut config = super::blocks::tiny(kind);
        config.tied = false;
        let blob = explosive(&config);
        let ids: Vec<u32> = (0..60).map(|i| i * i % 6).collect();
        let mut with = ids.clone();
        with[41] = 6;
        for (undo, piece) in [(64, 60), (7, 60), (1, 1), (5, 4), (20, 1)] {
            let mut good = Running::new(&blob, running(4, undo));
            let mut stream = Running::new(&blob, running(4, undo));
            let (mut y, mut from, mut refused) = (vec![], 0, 0);
            while from < 41 {
                let to = 60.min(from + piece);
                let mut info = details();
                let (status, more, felt) = stream.try_push(&Fed::Ids(with.clone()), from..to, &mut info);
                if status == 0 {
                    y.extend(more);
                    from = to;
                    continue;
                }
                expect(status, TITANS_ERROR_DIVERGED);
                assert_eq!(info.found as usize, 41 - from, "{}", message(&info));
                let good = 41 - from;
                y.extend(&more[..good * 7]);
                let felt = felt.split_at(good * blob.info.memories as usize);
                assert!(felt.0.iter().all(|x| x.is_finite()));
                let rest = more[good * 7..].iter().chain(felt.1);
                assert!(rest.copied().all(f32::is_nan), "an output of a refused token was written");
                (from, refused) = (41, 1);
            }
            let want = good.push(&Fed::Ids(ids.clone()), 0..41);
            assert!((y, stream.save()) == (want.0, good.save()), "{kind:?}, undo {undo}, pieces of {piece}");
            // Once more, as a step: outputs and state are as they were.
            let (mut out, mut s) = ([7.0f32; 7], vec![7.0f32; blob.info.memories as usize]);
            // SAFETY: borrows with their lengths.
            let status = unsafe {
                titans_stream_step(
                    stream.stream,
                    &blob.model,
                    6,
                    out.as_mut_ptr(),
                    7,
                    s.as_mut_ptr(),
                    s.len(),
                    null_mut(),
                )
            };
            expect(status, TITANS_ERROR_DIVERGED);
            assert!(out.iter().chain(&s).all(|&x| x == 7.0), "an output was written");
            let about = stream.about();
            assert_eq!((about.refused, about.torn, about.position), (refused + 1, 0, 41));
            assert!(stream.push(&Fed::Ids(ids.clone()), 41..60) == good.push(&Fed::Ids(ids.clone()), 41..60));
            assert!(stream.save() == good.save(), "{kind:?}, undo {undo}");
        }
        // Without an undo it ends there, and says so until it begins anew.
        let mut stream = Running::new(&blob, running(4, 0));
        let saved = stream.save();
        let (status, y, _) = stream.try_push(&Fed::Ids(with.clone()), 0..60, null_mut());
        expect(status, TITANS_ERROR_DIVERGED);
        assert!(y[..41 * 7].iter().all(|x| x.is_finite()) && y[41 * 7..].iter().all(|x| x.is_nan()));
        assert_eq!(stream.about().torn, 1);
        let (status, ..) = stream.try_push(&Fed::Ids(ids.clone()), 0..1, null_mut());
        expect(status, TITANS_ERROR_TORN);
        // SAFETY: borrows.
        expect(unsafe { titans_stream_read_only(stream.stream, &blob.model, 1, null_mut()) }, TITANS_ERROR_TORN);
        expect(stream.load(&saved, null_mut()), TITANS_OK);
        stream.push(&Fed::Ids(ids.clone()), 0..41);
        expect(stream.reset(), TITANS_OK);
        assert_eq!(stream.save(), saved);
    }
}
