//! Whatever a stream admits has finite answers, however large its rates are.

use titans_kernel::arithmetic::Portable;
use titans_kernel::memory::{Gate, Mask, MemorySpec, Network, Read, Stream, Tokens};
use titans_kernel::{Error, Mat, MatMut};

/// Whole numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n) as usize
    }

    fn row(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.below(20_001) as f32 / 10_000.0 - 1.0).collect()
    }
}

/// Deep memories of small widths and rates of 1 to 10^15: tokens that were admitted, and tokens that were refused.
fn search(network: Network, seeds: u64) -> (usize, usize) {
    let (mut admitted, mut refused) = (0, 0);
    for seed in 1..=seeds {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let d = 2 + dice.below(3);
        let mut spec = MemorySpec::new(&vec![d; 3 + dice.below(2)]).unwrap();
        (spec.network, spec.chunk, spec.compute_chunk) = (network, 1 + dice.below(4), 0);
        spec.clip = (dice.below(2) == 1).then_some(1.0);
        let w0 = dice.row(spec.params());
        let mut block = vec![0.0; Stream::<f32>::len(&spec)];
        let mut scratch = vec![f32::NAN; Stream::<f32>::scratch_len(&spec)];
        let mut stream = Stream::new(&spec, Read::After, &w0, &mut block).unwrap();
        for token in 0..6 {
            let [k, v, q] = [0; 3].map(|_| dice.row(d));
            let (theta, none) = ([10f32.powi(dice.below(16) as i32)], [0.0]);
            let (mut y, mut surprise) = (vec![f32::NAN; d], [f32::NAN]);
            let [keys, values, queries] = [&k, &v, &q].map(|x| Mat::new(x, 1, d).unwrap());
            let gate = Gate::tokens;
            let (alpha, theta, eta, mask) = (gate(&none), gate(&theta), gate(&none), Mask::Write);
            let tokens = Tokens { k: keys, v: values, q: queries, alpha, theta, eta, mask };
            let out = Some(MatMut::new(&mut y, 1, d).unwrap());
            match stream.write(&Portable, &tokens, out, Some(&mut surprise), &mut scratch) {
                Ok(()) => admitted += 1,
                Err(Error::Diverged { .. }) => {
                    refused += 1;
                    break;
                }
                Err(other) => panic!("{other:?}"),
            }
            assert!(y.iter().chain(&surprise).all(|x| x.is_finite()), "{network:?}, seed {seed}, token {token}: {y:?}");
            let mut own = vec![f32::NAN; d];
            stream.read(&Portable, keys, MatMut::new(&mut own, 1, d).unwrap(), &mut scratch).unwrap();
            assert!(own.iter().all(|x| x.is_finite()), "{network:?}, seed {seed}, token {token}, read: {own:?}");
        }
    }
    (admitted, refused)
}

/// A layer norm's δ is as small as its input is large: the product that bounds W says nothing of its factors.
#[test]
fn answers_of_what_was_admitted_are_finite_at_any_rate() {
    for network in [Network::Residual, Network::Plain] {
        let (admitted, refused) = search(network, 6_000);
        assert!(admitted > 5_000 && refused > 1_000, "{network:?}: {admitted} and {refused}");
    }
}

/// What is admitted of a row is its norm alone: the quick look at its elements only spares the sum.
#[test]
fn a_query_is_refused_by_its_norm_and_no_value_by_its_size() {
    const D: usize = 4;
    let many = |x: f32| [x; D];
    // A query's norm may be 10⁶; its elements may be 5 · 10⁵ then, or one alone 10⁶.
    let queries = [
        (many(1.0), true),
        (many(1e3), true),
        (many(1.001e3), true),
        (many(5e5), true),
        ([1e6, 0.0, 0.0, 0.0], true),
        (many(5.001e5), false),
        ([0.0, 0.0, -1.001e6, 0.0], false),
        ([f32::NAN, 0.0, 0.0, 0.0], false),
        ([0.0, 0.0, 0.0, f32::NEG_INFINITY], false),
    ];
    let values = [many(1.0), many(9.99e5), many(1.01e6), many(-1e9)];
    for (widths, compute_chunk) in [(&[D, D][..], 1), (&[D, D][..], 64), (&[D, 3, D][..], 0)] {
        let mut spec = MemorySpec::new(widths).unwrap();
        spec.compute_chunk = compute_chunk;
        let w0 = vec![0.01; spec.params()];
        let refused = |q: &[f32], v: &[f32]| {
            let mut block = vec![0.0; Stream::<f32>::len(&spec)];
            let mut scratch = vec![f32::NAN; Stream::<f32>::scratch_len(&spec)];
            let mut stream = Stream::new(&spec, Read::After, &w0, &mut block).unwrap();
            let (k, theta, none) = ([0.5; D], [0.5], [0.0]);
            let [k, v, q] = [&k, v, q].map(|x| Mat::new(x, 1, D).unwrap());
            let gate = Gate::tokens;
            let (alpha, theta, eta, mask) = (gate(&none), gate(&theta), gate(&none), Mask::Write);
            let tokens = Tokens { k, v, q, alpha, theta, eta, mask };
            let mut y = [f32::NAN; D];
            let out = MatMut::new(&mut y, 1, D).unwrap();
            let done = stream.write(&Portable, &tokens, Some(out), None, &mut scratch);
            assert_eq!(done.is_ok(), y.iter().all(|y| y.is_finite()), "{widths:?}, {compute_chunk}: {y:?}");
            done.is_err()
        };
        for (q, admitted) in queries {
            assert_eq!(refused(&q, &many(1.0)), !admitted, "{widths:?}, {compute_chunk}: {q:?}");
        }
        for v in values {
            assert!(!refused(&many(1.0), &v), "{widths:?}, {compute_chunk}: {v:?}");
        }
        assert!(refused(&many(1.0), &[0.0, f32::NAN, 0.0, 0.0]));
        assert!(refused(&many(1.0), &[0.0, 0.0, 0.0, f32::INFINITY]));
    }
}
