//! Tokens that a stream refuses: which they are does not depend on the cut, those before them are as ever, and a torn
//! stream does nothing but begin anew.

use super::case::{Fed, KINDS, MODES, ModelCase, Number, Out, World, buffer, push, saved};
use titans_kernel::memory::Network;
use titans_kernel::model::{Feed, Input, Kind, Mode, Stream};
use titans_kernel::{Error, Mat, MatMut};

const N: usize = 150;

/// A model whose memories run away when they see the same token again and again.
fn hot(seed: u64, kinds: &[Kind]) -> ModelCase {
    let mut case = ModelCase::new(seed, kinds);
    for block in &mut case.blocks {
        (block.theta_max, block.memory.clip, block.memory.network) = (1000.0, None, Network::Plain);
        block.persistent = block.persistent.min(1);
    }
    case
}

/// The same token all the time.
fn same(case: &ModelCase) -> Fed<f32> {
    match case.spec.input {
        Input::Tokens(_) => Fed::Tokens(vec![2; N]),
        Input::Rows(size) => Fed::Rows((0..N * size).map(|i| [0.7, -1.1, 0.4][i % size % 3]).collect(), size),
    }
}

/// The first token that is refused when one is given at a time, what was said before it, and the state after the last
/// good one.
fn one_by_one(stream: &mut Stream<'_, f32>, fed: &Fed<f32>) -> Option<(usize, Out, Vec<u8>)> {
    let mut out = Out::default();
    for t in 0..N {
        let before = saved(stream);
        match push(stream, fed, t, 1, &mut out) {
            Ok(()) => {}
            Err(Error::Diverged { token: 0 }) => return Some((t, out, before)),
            Err(e) => panic!("{e}"),
        }
    }
    None
}

#[test]
fn any_cut_refuses_the_same_token_and_a_copy_of_the_state_leads_to_the_last_good_one() {
    let hybrids =
        [&[Kind::Lmm, Kind::Mag][..], &[Kind::Attention, Kind::Mac], &[Kind::Mal, Kind::Lmm, Kind::Attention]];
    let alone: Vec<[Kind; 1]> = KINDS.into_iter().map(|kind| [kind]).collect();
    let mut refusals = 0;
    for (kinds, seed) in alone.iter().map(|k| &k[..]).chain(hybrids).flat_map(|k| (0..16).map(move |seed| (k, seed))) {
        let case = hot(seed, kinds);
        let (mut world, fed, g) = (World::<f32>::new(&case), same(&case), f32::kernel());
        let model = world.model();
        let mut room = buffer(&model, 16);
        let Ok(mut stream) = Stream::new(&g, &model, Mode::On, 16, &mut room) else { continue };
        let Some((bad, said, state)) = one_by_one(&mut stream, &fed) else { continue };
        refusals += 1;
        for rows in [1, 5, 16] {
            let mut room = buffer(&model, rows);
            let place = Stream::new(&g, &model, Mode::On, rows, &mut room).unwrap().place();
            let kept = room[..model.state_len(rows)].to_vec();
            let mut stream = Stream::attach(&model, rows, place, &mut room).unwrap();
            let (columns, memories) = (case.spec.outputs, model.memories());
            let (mut y, mut surprise) = (vec![f32::NAN; N * columns], vec![f32::NAN; N * memories]);
            let outputs = MatMut::new(&mut y, N, columns).unwrap();
            let losses = MatMut::new(&mut surprise, N, memories).unwrap();
            let error = stream.push(&g, fed.feed(0, N), Some(outputs), Some(losses)).unwrap_err();
            assert_eq!(error, Error::Diverged { token: bad }, "rows {rows}: {case:?}");
            let bits = |x: &[f32], of: usize| x[..bad * of].iter().map(|x| f64::from(*x).to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&y, columns), said.outputs.concat(), "rows {rows}: {case:?}");
            assert_eq!(bits(&surprise, memories), said.surprise.concat(), "rows {rows}: {case:?}");
            let torn = stream.place();
            assert!(torn.torn);
            room[..kept.len()].copy_from_slice(&kept);
            let mut stream = Stream::attach(&model, rows, place, &mut room).unwrap();
            stream.push(&g, fed.feed(0, bad), None, None).unwrap();
            assert_eq!(saved(&stream), state, "rows {rows}: {case:?}");
        }
    }
    assert!(refusals > 30, "{refusals}");
}

#[test]
fn a_torn_stream_begins_anew_or_loads_and_does_nothing_else() {
    let diverges = |case: &ModelCase| {
        let mut world = World::<f32>::new(case);
        let (model, mut good) = (world.model(), Out::default());
        let mut room = buffer(&model, 4);
        let mut stream = Stream::new(&f32::kernel(), &model, Mode::On, 4, &mut room).unwrap();
        push(&mut stream, &same(case), 0, 3, &mut good).is_ok()
            && push(&mut stream, &same(case), 3, N - 3, &mut good).is_err()
    };
    let case = (0..40).map(|seed| hot(seed, &[Kind::Lmm])).find(diverges).unwrap();
    let (mut world, fed, g) = (World::<f32>::new(&case), same(&case), f32::kernel());
    let model = world.model();
    let [mut a, mut b] = [buffer(&model, 4), buffer(&model, 4)];
    let mut other = Stream::new(&g, &model, Mode::On, 4, &mut b).unwrap();
    let mut stream = Stream::new(&g, &model, Mode::On, 4, &mut a).unwrap();
    let mut out = Out::default();
    push(&mut stream, &fed, 0, 3, &mut out).unwrap();
    let good = saved(&stream);
    assert!(matches!(push(&mut stream, &fed, 3, N - 3, &mut out), Err(Error::Diverged { .. })));
    let mut bytes = vec![7; model.saved_len()];
    assert_eq!(push(&mut stream, &fed, 0, 1, &mut out), Err(Error::Torn));
    let mut outputs = vec![0.0; case.spec.outputs];
    assert_eq!(stream.step(&g, fed.feed(0, 1), &mut outputs, None), Err(Error::Torn));
    assert_eq!(stream.save(&mut bytes), Err(Error::Torn));
    assert!(bytes.iter().all(|&b| b == 7));
    assert_eq!(stream.fork_into(&mut other), Err(Error::Torn));
    let place = stream.place();
    // Who attaches it again knows no more about it.
    let mut stream = Stream::attach(&model, 4, place, &mut a).unwrap();
    assert_eq!(push(&mut stream, &fed, 0, 1, &mut out), Err(Error::Torn));
    stream.load(&good).unwrap();
    assert_eq!(saved(&stream), good);
    assert!(push(&mut stream, &fed, 3, N - 3, &mut out).is_err());
    stream.reset(&g, Mode::On).unwrap();
    assert!(!stream.place().torn);
    push(&mut stream, &fed, 0, 3, &mut out).unwrap();
    assert_eq!(saved(&stream), good);
    other.fork_into(&mut stream).unwrap();
    // A state that holds what no stream leaves behind.
    let at = good.len() - 4 - 8;
    let mut spoilt = good[..good.len() - 4].to_vec();
    spoilt[at..at + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let sum = titans_kernel::model::checksum(&spoilt);
    spoilt.extend(sum);
    assert!(matches!(other.load(&spoilt), Err(Error::Format { found: 1, .. })));
}

#[test]
fn numbers_that_are_not_finite_change_nothing_and_those_that_overflow_are_refused() {
    for (kind, mode) in KINDS.into_iter().flat_map(|kind| MODES.map(|mode| (kind, mode))) {
        let case = &ModelCase::chosen(kind)[3];
        let (mut world, g) = (World::<f32>::new(case), f32::kernel());
        let (model, fed) = (world.model(), case.input::<f32>(40));
        let Fed::Rows(good, 4) = &fed else { panic!("rows of four numbers") };
        let mut room = buffer(&model, 16);
        let mut stream = Stream::new(&g, &model, mode, 16, &mut room).unwrap();
        push(&mut stream, &fed, 0, 5, &mut Out::default()).unwrap();
        let before = saved(&stream);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut rows = good[20..60].to_vec();
            rows[4 * 7 + 2] = bad;
            let feed = Feed::Rows(Mat::new(&rows, 10, 4).unwrap());
            assert_eq!(stream.push(&g, feed, None, None), Err(Error::Value { what: "rows", index: 30 }));
            assert_eq!(saved(&stream), before);
        }
        // Finite, but its residual row is not: nothing before it sees that.
        let mut rows = good.clone();
        rows[4 * 23..4 * 24].fill(f32::MAX);
        let signs = rows[4 * 23..4 * 24].iter_mut().zip(model.numbers().chunks(case.spec.width));
        signs.for_each(|(x, row)| *x = x.copysign(row[0]));
        stream.reset(&g, mode).unwrap();
        let bad = Fed::Rows(rows, 4);
        let (mut said, mut want) = (vec![f32::NAN; 40 * 4], Out::default());
        let feed = bad.feed(0, 40);
        let error = stream.push(&g, feed, Some(MatMut::new(&mut said, 40, 4).unwrap()), None).unwrap_err();
        assert_eq!(error, Error::Diverged { token: 23 }, "{case:?}");
        stream.reset(&g, mode).unwrap();
        push(&mut stream, &fed, 0, 23, &mut want).unwrap();
        assert_eq!(said[..23 * 4].iter().map(|x| f64::from(*x).to_bits()).collect::<Vec<_>>(), want.outputs.concat());
    }
}
