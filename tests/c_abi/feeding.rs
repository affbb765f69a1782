//! Writing, stepping and reading: the kernel's bits, whatever the split, and every refusal.

use crate::support::*;
use std::ptr::{null, null_mut};
use titans::*;
use titans_kernel::arch::{Isa, Simd};
use titans_kernel::memory::{Gate, Loss, Mask, MemorySpec, Network, Read, Stream, Tokens};
use titans_kernel::{Arithmetic, Mat, MatMut, Portable};

const N: usize = 23;

/// What the kernel itself makes of the feed with `kernel`'s arithmetic: y, surprise, and the final state.
fn by_the_kernel<G: Arithmetic<f32>>(kernel: &G, sample: &Sample, feed: &Feed) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (key, value) = sample.widths();
    let c = &sample.config;
    let widths: Vec<usize> = c.widths[..=c.layers as usize].iter().map(|&w| w as usize).collect();
    let mut spec = MemorySpec::new(&widths).unwrap();
    spec.network = if c.network == 0 { Network::Plain } else { Network::Residual };
    (spec.chunk, spec.compute_chunk, spec.clip) = (c.chunk as usize, c.compute_chunk as usize, None);
    spec.loss = if c.loss == 0 { Loss::Sum } else { Loss::Half };
    if c.compute_chunk == 0 {
        spec.compute_chunk = spec.usual_compute_chunk();
    }
    let mut block = vec![f32::NAN; Stream::<f32>::len(&spec)];
    let mut scratch = vec![f32::NAN; Stream::<f32>::scratch_len(&spec)];
    let mut stream = Stream::new(&spec, Read::After, &sample.w0, &mut block).unwrap();
    let (mut y, mut surprise) = (vec![f32::NAN; N * value], vec![f32::NAN; N]);
    let tokens = Tokens {
        k: Mat::new(&feed.k, N, key).unwrap(),
        v: Mat::new(&feed.v, N, value).unwrap(),
        q: Mat::new(&feed.q, N, key).unwrap(),
        alpha: Gate::tokens(&feed.gates[0]),
        theta: Gate::tokens(&feed.gates[1]),
        eta: Gate::tokens(&feed.gates[2]),
        mask: Mask::Tokens(&feed.mask),
    };
    let out = MatMut::new(&mut y, N, value).unwrap();
    stream.write(kernel, &tokens, Some(out), Some(&mut surprise), &mut scratch).unwrap();
    let mut state = vec![f32::NAN; spec.state_len()];
    stream.state(kernel, &mut state, &mut scratch).unwrap();
    (y, surprise, state)
}

#[test]
fn any_split_gives_the_bits_of_the_kernel() {
    let (pieces, own) = (cut(config(&[5, 3], 4), 4, 8), cut(default(&[5, 3]), 1, 1));
    for c in [config(&[5, 3], 4), config(&[6, 9, 6], 7), config(&[4, 4], 1), default(&[5, 3]), pieces, own] {
        let mut sample = Sample::new(c);
        let feed = Feed::new(N, sample.widths());
        let (y, surprise, state) = by_the_kernel(&Simd::best(), &sample, &feed);
        assert!(y.iter().chain(&surprise).chain(&state).all(|x| x.is_finite()));
        for piece in [1, 2, 7, N] {
            sample = Sample::new(c);
            let (mut got_y, mut got_surprise) = (vec![], vec![]);
            for from in (0..N).step_by(piece) {
                let (y, s) = sample.write(&feed, from..N.min(from + piece));
                got_y.extend(y);
                got_surprise.extend(s);
            }
            assert_eq!((&got_y, &got_surprise), (&y, &surprise), "pieces of {piece}");
            assert_eq!(sample.weights(), state, "pieces of {piece}");
            assert_eq!(sample.position(), N as u64);
        }
        if Isa::best() != Isa::Portable {
            // The loops of the library before it knew processors differ, by their roundings alone.
            let (slow, ..) = by_the_kernel(&Portable, &sample, &feed);
            let far = slow.iter().zip(&y).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max);
            assert!(slow != y && far < 1e-4, "{far}");
        }
    }
}

#[test]
fn outputs_are_optional_and_the_last_surprise_is_kept() {
    let (n, widths) = (150, &[5, 3]);
    let (mut with, mut without) = (Sample::new(config(widths, 4)), Sample::new(config(widths, 4)));
    let feed = Feed::new(n, with.widths());
    let mut last = -1.0;
    // SAFETY: borrows with their lengths, or NULL.
    unsafe {
        expect(titans_memory_surprise(without.memory, &mut last, null_mut()), TITANS_ERROR_NO_TOKEN);
        assert_eq!(last, -1.0);
        let mut tokens = feed.tokens(0..n, 5, 3);
        (tokens.q, tokens.q_len) = (null(), 0);
        expect(titans_memory_write(without.memory, &tokens, null_mut(), 0, null_mut(), 0, null_mut()), TITANS_OK);
        expect(titans_memory_surprise(without.memory, &mut last, null_mut()), TITANS_OK);
    }
    let (_, surprise) = with.write(&feed, 0..n);
    assert_eq!(last, surprise[n - 1]);
    assert_eq!(with.weights(), without.weights());
    assert_eq!(with.write(&feed, 0..0), (vec![], vec![]), "no token is fine");
    assert_eq!(with.position(), n as u64);
}

#[test]
fn one_value_for_all_tokens_is_that_value_for_each() {
    let (mut each, mut one) = (Sample::new(config(&[4, 4], 3)), Sample::new(config(&[4, 4], 3)));
    let mut feed = Feed::new(N, each.widths());
    feed.gates = [vec![0.1; N], vec![0.2; N], vec![0.5; N]];
    let (y, _) = each.write(&feed, 0..N);
    let mut tokens = feed.tokens(0..N, 4, 4);
    (tokens.alpha_len, tokens.theta_len, tokens.eta_len) = (1, 1, 1);
    let mut got = vec![f32::NAN; y.len()];
    // SAFETY: borrows with their lengths, or NULL.
    let status =
        unsafe { titans_memory_write(one.memory, &tokens, got.as_mut_ptr(), got.len(), null_mut(), 0, null_mut()) };
    expect(status, TITANS_OK);
    assert_eq!((got, one.weights()), (y, each.weights()));
}

#[test]
fn a_step_is_a_write_of_one_token_and_reading_changes_nothing() {
    let (mut stepped, mut written) = (Sample::new(config(&[4, 7, 4], 3)), Sample::new(config(&[4, 7, 4], 3)));
    let mut feed = Feed::new(N, stepped.widths());
    feed.mask.fill(0);
    for t in 0..N {
        let (y, surprise) = written.write(&feed, t..t + 1);
        let (mut got, mut s, at) = (vec![f32::NAN; 4], f32::NAN, t * 4);
        let [alpha, theta, eta] = [0, 1, 2].map(|i| feed.gates[i][t]);
        // SAFETY: borrows with their lengths, or NULL.
        let status = unsafe {
            let (k, v, q) = (feed.k[at..].as_ptr(), feed.v[at..].as_ptr(), feed.q[at..].as_ptr());
            let m = stepped.memory;
            titans_memory_step(m, k, 4, v, 4, q, 4, alpha, theta, eta, got.as_mut_ptr(), 4, &mut s, null_mut())
        };
        expect(status, TITANS_OK);
        assert_eq!((got, vec![s]), (y, surprise), "token {t}");
        let saved = stepped.save();
        let mut answer = vec![f32::NAN; N * 4];
        // SAFETY: borrows with their lengths.
        let status = unsafe {
            titans_memory_read(stepped.memory, N, feed.q.as_ptr(), N * 4, answer.as_mut_ptr(), N * 4, null_mut())
        };
        expect(status, TITANS_OK);
        assert!(answer.iter().all(|x| x.is_finite()));
        assert_eq!(stepped.save(), saved, "reading changed the memory");
    }
}

#[test]
fn clipped_tokens_are_counted() {
    let mut c = config(&[4, 4], 3);
    c.clip = 1e-3;
    let mut sample = Sample::new(c);
    let mut feed = Feed::new(N, sample.widths());
    feed.mask.fill(0);
    sample.write(&feed, 0..N);
    let mut clipped = 0;
    // SAFETY: a borrow.
    expect(unsafe { titans_memory_clipped(sample.memory, &mut clipped, null_mut()) }, TITANS_OK);
    assert_eq!(clipped, N as u64);
}

#[test]
fn a_token_that_would_not_stay_finite_is_refused_and_those_before_it_are_kept() {
    for c in [default(&[4, 3]), cut(default(&[4, 3]), 1, 1), config(&[4, 3], 4), config(&[4, 6, 4], 3)] {
        let (n, bad) = (150, 137);
        let (mut sample, mut good) = (Sample::new(c), Sample::new(c));
        let (key, value) = sample.widths();
        let mut feed = Feed::new(n, (key, value));
        feed.mask.fill(0);
        let (y, surprise) = good.write(&feed, 0..bad);
        feed.v[bad * value] = 1e38;
        let tokens = feed.tokens(0..n, key, value);
        let (mut got, mut info, mut last) = (vec![7.0f32; n * value], details(), -1.0);
        let mut felt = vec![7.0f32; n];
        // SAFETY: borrows with their lengths, or NULL.
        unsafe {
            let (out, s) = (got.as_mut_ptr(), felt.as_mut_ptr());
            let status = titans_memory_write(sample.memory, &tokens, out, n * value, s, n, &mut info);
            expect(status, TITANS_ERROR_DIVERGED);
            expect(titans_memory_surprise(sample.memory, &mut last, null_mut()), TITANS_OK);
        }
        assert_eq!((info.arg, info.found), (2, bad as u64), "{}", message(&info));
        assert!(message(&info).starts_with("token[137]: "), "{}", message(&info));
        assert_eq!((&got[..bad * value], &felt[..bad], last), (&y[..], &surprise[..], surprise[bad - 1]));
        let rest = got[bad * value..].iter().chain(&felt[bad..]);
        assert!(rest.copied().all(|x| x == 7.0), "an output of a refused token was written");
        let state = |sample: &mut Sample| (sample.position(), sample.weights());
        let before = state(&mut good);
        assert_eq!((before.0, state(&mut sample)), (bad as u64, before.clone()));
        // A step that is refused changes nothing, and it goes on as if nothing had been.
        let (k, v) = (feed.k[bad * key..].as_ptr(), feed.v[bad * value..].as_ptr());
        // SAFETY: as above.
        let step = |m, v, info| unsafe {
            let (mut y, mut s) = ([7.0f32; 4], 7.0f32);
            let out = y.as_mut_ptr();
            let status = titans_memory_step(m, k, key, v, value, k, key, 0.0, 0.1, 0.0, out, value, &mut s, info);
            assert!(status != 0 && y == [7.0; 4] && s == 7.0, "an output of a refused token was written");
            titans_memory_step(m, k, key, v, value, null(), 0, 0.0, 0.1, 0.0, null_mut(), 0, null_mut(), info)
        };
        expect(step(sample.memory, v, &mut info), TITANS_ERROR_DIVERGED);
        assert_eq!((info.found, state(&mut sample)), (0, before.clone()));
        let nan = vec![f32::NAN; value];
        expect(step(sample.memory, nan.as_ptr(), &mut info), TITANS_ERROR_NOT_FINITE);
        assert_eq!(state(&mut sample), before);
        feed.v[bad * value] = 0.5;
        assert_eq!(sample.write(&feed, bad..n), good.write(&feed, bad..n));
        assert_eq!(sample.save(), good.save());
    }
}

/// Writes the feed's tokens, changed by `change`, and expects a refusal that names `name` and changes nothing.
fn refuse(feed: &Feed, change: impl Fn(&mut titans_tokens), name: &str, wanted: titans_status) {
    let mut sample = Sample::new(config(&[4, 3], 4));
    sample.write(&Feed::new(6, sample.widths()), 0..6);
    let before = sample.arena.bytes().to_vec();
    let mut tokens = feed.tokens(0..N, 4, 3);
    change(&mut tokens);
    let (mut y, mut surprise, mut info) = (vec![7.0f32; N * 3], vec![7.0f32; N], details());
    // SAFETY: what a case makes invalid is found out before it is followed; the rest are borrows.
    let status = unsafe {
        let (y, s) = (y.as_mut_ptr(), surprise.as_mut_ptr());
        titans_memory_write(sample.memory, &tokens, y, N * 3, s, N, &mut info)
    };
    assert_eq!(status, wanted as i32, "{name}: {}", message(&info));
    assert!(message(&info).starts_with(name), "{name}: {}", message(&info));
    assert_eq!(info.arg, if name == "y" { 3 } else { 2 }, "{name}");
    assert!(y.iter().chain(&surprise).all(|&x| x == 7.0), "{name}: an output was written");
    assert!(sample.arena.bytes() == before, "{name}: the memory changed");
}

#[test]
fn bad_tokens_are_refused_and_nothing_changes() {
    type Change = fn(&mut titans_tokens);
    let cases: [(&str, Change, titans_status); 16] = [
        ("tokens", |t| t.struct_size -= 8, TITANS_ERROR_STRUCT_SIZE),
        ("tokens", |t| t.struct_size = u32::MAX, TITANS_ERROR_STRUCT_SIZE),
        ("tokens.flags", |t| t.flags = 1, TITANS_ERROR_FLAGS),
        ("k", |t| t.k = null(), TITANS_ERROR_NULL),
        ("v", |t| t.v = null(), TITANS_ERROR_NULL),
        ("q", |t| (t.q, t.q_len) = (null(), 0), TITANS_ERROR_NULL),
        ("alpha", |t| t.alpha = null(), TITANS_ERROR_NULL),
        ("theta", |t| (t.theta, t.theta_len) = (null(), 0), TITANS_ERROR_NULL),
        ("eta", |t| t.eta_len -= 1, TITANS_ERROR_LENGTH),
        ("k", |t| t.k_len += 1, TITANS_ERROR_LENGTH),
        ("v", |t| t.v_len -= 1, TITANS_ERROR_LENGTH),
        ("mask", |t| t.mask_len -= 1, TITANS_ERROR_LENGTH),
        ("mask", |t| t.mask = null(), TITANS_ERROR_NULL),
        ("y", |t| t.n = usize::MAX, TITANS_ERROR_TOO_LARGE),
        ("y", |t| t.n += 1, TITANS_ERROR_LENGTH),
        ("k", |t| t.k = t.k.wrapping_byte_add(2), TITANS_ERROR_MISALIGNED),
    ];
    let feed = Feed::new(N, (4, 3));
    for (name, change, wanted) in cases {
        refuse(&feed, change, name, wanted);
    }
}

#[test]
fn bad_numbers_are_refused_and_nothing_changes() {
    type Change = fn(&mut Feed);
    let cases: [(&str, Change, titans_status); 9] = [
        ("k[9]", |f| f.k[9] = f32::NAN, TITANS_ERROR_NOT_FINITE),
        ("v[2]", |f| f.v[2] = f32::INFINITY, TITANS_ERROR_NOT_FINITE),
        ("q[91]", |f| f.q[N * 4 - 1] = f32::NEG_INFINITY, TITANS_ERROR_NOT_FINITE),
        ("alpha[3]", |f| f.gates[0][3] = 1.0001, TITANS_ERROR_GATE_RANGE),
        ("alpha[3]", |f| f.gates[0][3] = f32::NAN, TITANS_ERROR_GATE_RANGE),
        ("theta[1]", |f| f.gates[1][1] = -1e-9, TITANS_ERROR_GATE_RANGE),
        ("theta[22]", |f| f.gates[1][N - 1] = f32::INFINITY, TITANS_ERROR_GATE_RANGE),
        ("eta[0]", |f| f.gates[2][0] = -0.5, TITANS_ERROR_GATE_RANGE),
        ("eta[0]", |f| f.gates[2][0] = f32::NAN, TITANS_ERROR_GATE_RANGE),
    ];
    for (name, change, wanted) in cases {
        let mut feed = Feed::new(N, (4, 3));
        change(&mut feed);
        refuse(&feed, |_| (), name, wanted);
    }
}

#[test]
fn overlapping_and_missing_arguments_are_refused() {
    let mut sample = Sample::new(config(&[4, 4], 4));
    let mut feed = Feed::new(N, sample.widths());
    sample.write(&feed, 0..6);
    let before = sample.arena.bytes().to_vec();
    let tokens = feed.tokens(0..N, 4, 4);
    let (m, inside) = (sample.memory, sample.memory.cast::<f32>());
    let (mut y, mut info) = (vec![7.0f32; N * 4], details());
    let (k, v, y) = (feed.k.as_mut_ptr(), feed.v.as_mut_ptr(), y.as_mut_ptr());
    // SAFETY: overlapping and NULL pointers are found out before anything is written; the others are borrows.
    unsafe {
        let write =
            |t: *const titans_tokens, y, y_len, s, s_len| titans_memory_write(m, t, y, y_len, s, s_len, null_mut());
        let none = null_mut();
        expect(write(&tokens, k, N * 4, none, 0), TITANS_ERROR_OVERLAP);
        expect(write(&tokens, v.add(N * 4 - 1), N * 4, none, 0), TITANS_ERROR_OVERLAP);
        expect(write(&tokens, inside.add(40), N * 4, none, 0), TITANS_ERROR_OVERLAP);
        expect(write(&tokens, none, 0, inside, N), TITANS_ERROR_OVERLAP);
        expect(write(&tokens, y, N * 4, y.add(3), N), TITANS_ERROR_OVERLAP);
        expect(write(&tokens, y, N * 4 - 1, none, 0), TITANS_ERROR_LENGTH);
        expect(write(&tokens, none, N * 4, none, 0), TITANS_ERROR_NULL);
        expect(write(&tokens, none, 0, y, N + 1), TITANS_ERROR_LENGTH);
        expect(write(null(), none, 0, none, 0), TITANS_ERROR_NULL);
        let odd = std::ptr::from_ref(&tokens).byte_add(4);
        expect(write(odd, none, 0, none, 0), TITANS_ERROR_MISALIGNED);
        let own = titans_tokens { k: inside, ..tokens };
        expect(write(&own, none, 0, none, 0), TITANS_ERROR_OVERLAP);
        // The structure of the tokens is an input too.
        let mut one = feed.tokens(0..1, 4, 4);
        let at = (&raw mut one).cast::<f32>();
        expect(write(at.cast(), at.add(4), 4, none, 0), TITANS_ERROR_OVERLAP);
        expect(write(at.cast(), none, 0, at.add(30), 1), TITANS_ERROR_OVERLAP);
        expect(titans_memory_write(null_mut(), &tokens, none, 0, none, 0, null_mut()), TITANS_ERROR_NULL);
        let read = |n, q: *const f32, q_len, y, y_len, info| titans_memory_read(m, n, q, q_len, y, y_len, info);
        expect(read(N, k, N * 4, null_mut(), N * 4, null_mut()), TITANS_ERROR_NULL);
        expect(read(N, null(), N * 4, y, N * 4, null_mut()), TITANS_ERROR_NULL);
        expect(read(N, k, N * 4 - 1, y, N * 4, null_mut()), TITANS_ERROR_LENGTH);
        expect(read(N, k, N * 4, k, N * 4, null_mut()), TITANS_ERROR_OVERLAP);
        expect(read(1, inside, 4, y, 4, null_mut()), TITANS_ERROR_OVERLAP);
        expect(read(usize::MAX, k, N * 4, y, N * 4, null_mut()), TITANS_ERROR_TOO_LARGE);
        *k.add(6) = f32::NAN;
        expect(read(N, k, N * 4, y, N * 4, &mut info), TITANS_ERROR_NOT_FINITE);
        assert_eq!((info.arg, info.found), (3, 6));
        let step = |theta, info| titans_memory_step(m, v, 4, v, 4, none, 0, 0.1, theta, 0.0, none, 0, none, info);
        expect(step(f32::NAN, &mut info), TITANS_ERROR_GATE_RANGE);
        assert_eq!(info.arg, 9);
        expect(titans_memory_weights(m, y, 31, null_mut()), TITANS_ERROR_LENGTH);
        expect(titans_memory_weights(m, inside, 32, null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_memory_position(m, null_mut(), null_mut()), TITANS_ERROR_NULL);
        expect(titans_memory_position(null(), &mut 0, null_mut()), TITANS_ERROR_NULL);
        expect(titans_memory_clipped(m, m.cast(), null_mut()), TITANS_ERROR_OVERLAP);
        let all = std::slice::from_raw_parts(y, N * 4);
        assert!(all.iter().all(|&x| x == 7.0), "an output was written");
    }
    assert!(sample.arena.bytes() == before, "the memory changed");
}

/// README's settings through C, linear and deep, on one token again and again: nothing is refused, nothing runs away.
#[test]
fn the_settings_of_the_readme_hold_on_equal_tokens() {
    const TOKENS: usize = 500;
    let linear = [[0.0, 1.0, 0.0], [0.01, 0.5, 0.3]].map(|gates| (default(&[4, 4]), gates));
    for (config, gates) in linear.into_iter().chain([(default(&[16, 64, 16]), [0.0, 0.1, 0.0])]) {
        let mut sample = Sample::new(config);
        let (key, value) = sample.widths();
        let unit = 1.0 / (key as f32).sqrt();
        let mut feed = Feed::new(TOKENS, (key, value));
        feed.k.fill(unit);
        feed.q.fill(unit);
        feed.v.fill(0.7);
        feed.mask.fill(0);
        feed.gates = gates.map(|gate| vec![gate; TOKENS]);
        let (first, _) = sample.write(&feed, 0..TOKENS);
        for _ in 1..40 {
            let (y, surprise) = sample.write(&feed, 0..TOKENS);
            assert!(y.iter().chain(&surprise).all(|x| x.is_finite()), "{gates:?}");
            let size = |y: &[f32]| y.iter().fold(0.0, |most: f32, y| most.max(y.abs()));
            assert!(size(&y) <= 2.0 * size(&first), "{gates:?}: {} after {}", size(&y), size(&first));
            if config.layers == 1 {
                assert!(y.iter().all(|y| (y - 0.7).abs() < 0.05), "{gates:?}: {:?}", &y[..value]);
            }
        }
        assert_eq!(sample.position(), 40 * TOKENS as u64);
    }
}
