use super::{Counters, Gates, Loss, Memory, MemorySpec, Network, Read, Start, Stream, Tokens};
use super::{Gate, Mask};
use crate::arch::{Simd, SimdScalar};
use crate::arithmetic::Portable;
use crate::error::{Error, Fault};
use crate::ops::check::{poison, values};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};
use std::vec;
use std::vec::Vec;

const N: usize = 70;

fn specs() -> Vec<MemorySpec> {
    let of = |widths: &[usize], change: &dyn Fn(&mut MemorySpec)| {
        let mut spec = MemorySpec::new(widths).unwrap();
        change(&mut spec);
        spec.validate().unwrap();
        spec
    };
    vec![
        of(&[5, 3], &|_| ()),
        of(&[4, 4], &|s| s.compute_chunk = 1),
        of(&[4, 4], &|s| (s.chunk, s.compute_chunk) = (16, 0)),
        of(&[3, 7, 3], &|_| ()),
        of(&[3, 7, 2], &|s| (s.network, s.loss, s.clip) = (Network::Plain, Loss::Mean, None)),
        of(&[1, 1], &|_| ()),
    ]
}

fn gates<T: Scalar>() -> Gates<T> {
    let [alpha, theta, eta] = [0.01, 0.2, 0.3].map(T::from_f64);
    Gates { alpha, theta, eta }
}

/// Tokens one by one and whole batches are what a stream makes of them, to the bit, whatever held the buffer before.
fn agrees_with_a_stream<T: SimdScalar>() {
    for spec in specs() {
        let (keys, outs) = (spec.key_width(), spec.value_width());
        let [k, v, q] = [(keys, 1), (outs, 2), (keys, 3)].map(|(w, seed)| values::<T>(N * w, seed));
        let small = |x: Vec<T>| x.into_iter().map(|x| x * T::from_f64(0.125)).collect::<Vec<T>>();
        let (k, w0) = (small(k), small(values::<T>(spec.params(), 4)));
        let g = Simd::best();
        let (mut block, mut scratch) = (poison(Stream::<T>::len(&spec)), poison(Stream::<T>::scratch_len(&spec)));
        let mut stream = Stream::new(&spec, Read::After, &w0, &mut block).unwrap();
        let gates = gates::<T>();
        let [alpha, theta, eta] =
            [&gates.alpha, &gates.theta, &gates.eta].map(|x| Gate::strided_tokens(core::slice::from_ref(x), 0));
        let mat = |x, w| Mat::new(x, N, w).unwrap();
        let (k_, v_, q_) = (mat(&k, keys), mat(&v, outs), mat(&q, keys));
        let tokens = Tokens { k: k_, v: v_, q: q_, alpha, theta, eta, mask: Mask::Write };
        let (mut y, mut surprise) = (poison(N * outs), poison(N));
        let out = MatMut::new(&mut y, N, outs).unwrap();
        stream.write(&g, &tokens, Some(out), Some(&mut surprise), &mut scratch).unwrap();

        let builder = || Memory::of(spec.clone()).scalar::<T>().start(Start::Weights(&w0));
        let mut one = builder().build_in(poison::<T>(builder().buffer_len().unwrap())).unwrap();
        let mut answer = poison(outs);
        for t in 0..N {
            let row = |x: &[T], w: usize| x[t * w..][..w].to_vec();
            let found = one.step(&row(&k, keys), &row(&v, outs), gates, &row(&q, keys), &mut answer).unwrap();
            assert_eq!((found, &answer[..]), (surprise[t], &y[t * outs..][..outs]), "{spec:?} {t}");
        }
        let mut many = builder().build().unwrap();
        let (mut answers, mut found) = (poison(N * outs), poison(N));
        let out = MatMut::new(&mut answers, N, outs).unwrap();
        many.write_batch(&tokens, Some(out), Some(&mut found)).unwrap();
        assert_eq!((&answers, &found), (&y, &surprise));

        let state = |memory: &mut Memory<T, Vec<T>>| {
            let mut out = poison(spec.state_len());
            memory.state(&mut out).unwrap();
            out
        };
        let mut expected = poison(spec.state_len());
        stream.state(&g, &mut expected, &mut scratch).unwrap();
        assert_eq!((state(&mut one), state(&mut many)), (expected.clone(), expected.clone()));
        assert_eq!((one.counters(), many.position()), (stream.counters(), N as u64));

        // Saved, a fork goes on; what was loaded is what was saved.
        let mut bytes = vec![0; Memory::<T, Vec<T>>::saved_len(&spec)];
        assert_eq!(many.save(&mut bytes).unwrap(), bytes.len());
        let mut fork = many.clone();
        fork.write(&k[..keys], &v[..outs], gates).unwrap();
        assert!(state(&mut fork) != expected && state(&mut many) == expected);
        fork.load(&bytes).unwrap();
        assert_eq!((state(&mut fork), fork.counters()), (expected.clone(), many.counters()));
        let (counters, buffer) = (many.counters(), many.into_buffer());
        let mut again = Memory::<T, _>::attach(spec.clone(), Read::After, counters, g, buffer).unwrap();
        assert_eq!(state(&mut again), expected);
        again.reset(Start::Weights(&w0)).unwrap();
        assert_eq!((&state(&mut again)[..w0.len()], again.counters()), (&w0[..], Counters::default()));
    }
}

#[test]
fn an_owned_memory_is_a_stream() {
    agrees_with_a_stream::<f32>();
    agrees_with_a_stream::<f64>();
}

#[test]
fn a_fresh_memory_learns() {
    for builder in [Memory::linear(8, 8), Memory::mlp(&[8, 16, 8]), Memory::mlp(&[8, 16, 12, 5])] {
        let mut memory = builder.clone().build().unwrap();
        let outs = memory.spec().value_width();
        let (mut key, mut value) = (values::<f32>(8, 1), values::<f32>(outs, 2));
        for x in [&mut key, &mut value] {
            let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt();
            x.iter_mut().for_each(|x| *x /= norm);
        }
        let gates = Gates { alpha: 0.0, theta: 0.1, eta: 0.0 };
        let first = memory.write(&key, &value, gates).unwrap();
        let last = (0..300).map(|_| memory.write(&key, &value, gates).unwrap()).last().unwrap();
        assert!(last < 0.5 * first, "{:?}: {first} {last}", memory.spec().widths);
        let mut other = builder.clone().start(Start::Fresh(1)).build().unwrap();
        let same = other.write(&key, &value, gates).unwrap() == first;
        assert!(same, "the last layer is 0 whatever the seed");
        let weights = |m: &mut Memory<f32, Vec<f32>>| {
            let mut out = vec![f32::NAN; m.spec().state_len()];
            m.state(&mut out).unwrap();
            out
        };
        other.reset(Start::Fresh(0)).unwrap();
        memory.reset(Start::Fresh(0)).unwrap();
        assert_eq!(weights(&mut other), weights(&mut memory));
        other.reset(Start::Fresh(1)).unwrap();
        assert_eq!(
            weights(&mut other) == weights(&mut memory),
            memory.spec().layers() == 1,
            "seeds differ where there are any"
        );
    }
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    assert!(matches!(Memory::linear(0, 4).build(), Err(Error::Config { .. })));
    assert!(matches!(Memory::mlp(&[1; 6]).chunk(3).build(), Err(Error::Config { .. })));
    assert!(matches!(Memory::linear(4, 4).chunk(0).build(), Err(Error::Config { .. })));
    let early = Memory::linear(3, 2).start(Start::Weights(&[0.0; 6])).scalar::<f64>();
    assert!(
        matches!(early.build(), Err(Error::Config { found: 6, .. })),
        "weights of another type are not dropped in silence"
    );
    let seeded =
        |seed| Memory::mlp(&[3, 4, 2]).start(Start::Fresh(seed)).scalar::<f64>().build().unwrap().into_buffer();
    assert_ne!(seeded(1), seeded(2), "a seed is of every type");
    let builder = Memory::linear(3, 2).arithmetic(Portable);
    let needed = builder.buffer_len().unwrap();
    let short = builder.clone().build_in(vec![0.0; needed - 1]).err();
    assert_eq!(short, Some(Error::Buffer { what: "buffer of a memory", needed, given: needed - 1 }));
    let short = builder.clone().start(Start::Weights(&[0.0; 5])).build().err();
    assert_eq!(short, Some(Error::Shape { what: "w0", expected: 6, found: 5 }));

    let mut room = [f32::NAN; 2048]; // a token by itself needs little
    let mut memory = builder.compute_chunk(1).build_in(&mut room).unwrap();
    let (key, value, mut answer) = ([0.6, 0.0, 0.8], [1.0, -1.0], [f32::NAN; 2]);
    let good = Gates { alpha: 0.0, theta: 0.5, eta: 0.0 };
    memory.write(&key, &value, good).unwrap();
    let mut before = [0.0; 12];
    memory.state(&mut before).unwrap();
    let refused = [
        (memory.write(&[f32::NAN, 0.0, 0.0], &value, good), Error::Value { what: "k", index: 0 }),
        (memory.write(&key, &[0.0, f32::INFINITY], good), Error::Value { what: "v", index: 1 }),
        (memory.write(&key, &value, Gates { alpha: 1.5, ..good }), Error::Range { what: "alpha", index: 0 }),
        (memory.write(&key, &value, Gates { theta: -1.0, ..good }), Error::Range { what: "theta", index: 0 }),
        (memory.write(&key, &[1e30, 0.0], good), Error::Diverged { token: 0 }),
        (memory.write(&key[..2], &value, good), Error::Shape { what: "key", expected: 3, found: 2 }),
        (memory.write(&key, &[0.0; 3], good), Error::Shape { what: "value", expected: 2, found: 3 }),
        (
            memory.step(&key, &value, good, &key[1..], &mut answer),
            Error::Shape { what: "query", expected: 3, found: 2 },
        ),
        (memory.step(&key, &value, good, &key, &mut [0.0]), Error::Shape { what: "answer", expected: 2, found: 1 }),
    ];
    for (found, expected) in refused {
        assert_eq!(found, Err(expected));
    }
    assert!(memory.read(&key[..2], &mut answer).is_err() && memory.read(&key, &mut [0.0; 3]).is_err());
    let mut after = [1.0; 12];
    memory.state(&mut after).unwrap();
    assert_eq!((before, memory.position()), (after, 1));
    memory.read(&[key, key].concat(), &mut [0.0; 4]).unwrap();
    memory.read(&[], &mut []).unwrap();
    assert!(memory.load(&[0; 3]).is_err() && memory.save(&mut [0; 3]).is_err());
}

#[test]
fn what_was_saved_with_another_width_is_refused_by_that_width() {
    let mut saved = vec![0; Memory::<f32, ()>::saved_len(&MemorySpec::new(&[3, 4, 2]).unwrap())];
    Memory::mlp(&[3, 4, 2]).build().unwrap().save(&mut saved).unwrap();
    let mut other = Memory::mlp(&[3, 6, 2]).build().unwrap();
    assert_eq!(other.load(&saved), Err(Fault::Config.error("widths", 6, 4)));
}
