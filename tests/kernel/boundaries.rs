//! The backward from some of the chunk boundaries: the bits of the one from all of them. And without a cotangent of the
//! read-outs: as with zeros.

use crate::case::{Case, case};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use titans_kernel::memory::{Cotangents, Form, Gradients, Record, vjp, vjp_scratch_len};
use titans_kernel::{Error, Mat, MatMut, Portable, Scalar};

fn bits<T: Scalar>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// Numbers that look like cotangents.
fn wave<T: Scalar>(len: usize) -> Vec<T> {
    (0..len).map(|i| T::from_f64((1.9 * i as f64).sin())).collect()
}

/// All gradients; outputs and `spare` elements too many or too few of scratch hold NaN before.
fn gradients<T: Scalar>(case: &Case, boundaries: &[T], spare: isize) -> Result<[Vec<T>; 7], Error> {
    let d_y = wave(case.n * case.spec.value_width());
    gradients_of(case, boundaries, Some(&d_y), spare)
}

/// The same for a cotangent of the read-outs, or none.
fn gradients_of<T: Scalar>(
    case: &Case,
    boundaries: &[T],
    d_y: Option<&[T]>,
    spare: isize,
) -> Result<[Vec<T>; 7], Error> {
    let inputs = case.inputs::<T>();
    let (n, dk, dv) = (case.n, case.spec.key_width(), case.spec.value_width());
    let d_final = wave::<T>(case.spec.state_len());
    let gates = case.alpha.len();
    let mut d = [n * dk, n * dv, n * dk, gates, gates, gates, d_final.len()].map(|n| vec![T::NAN; n]);
    let mut scratch = vec![T::NAN; vjp_scratch_len(&case.spec).saturating_add_signed(spare)];
    let [k, v, q, alpha, theta, eta, state] = &mut d;
    let (k, v, q) = (MatMut::new(k, n, dk)?, MatMut::new(v, n, dv)?, MatMut::new(q, n, dk)?);
    let cotangents = Cotangents { y: d_y.map(|y| Mat::new(y, n, dv)).transpose()?, state: Some(&d_final) };
    let gradients = Gradients { k, v, q, alpha, theta, eta, state };
    vjp(
        &Portable,
        &case.spec,
        Record { read: case.read, tokens: &inputs.tokens(0, n), boundaries },
        cotangents,
        gradients,
        &mut scratch,
    )?;
    Ok(d)
}

/// The same 128 cases in every run.
const SEED: RngSeed = RngSeed::Fixed(663);

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 0, failure_persistence: None, rng_seed: SEED, ..ProptestConfig::default() })]

    #[test]
    fn no_cotangent_of_the_read_outs_is_one_of_zeros(case in case(70, true), keep in 1usize..4) {
        let mut case = case;
        case.spec.keep_every = keep;
        let boundaries = case.run::<f64>(Form::Chunk).boundaries;
        let zeros = vec![0.0; case.n * case.spec.value_width()];
        let [none, zero] = [None, Some(&zeros[..])].map(|d_y| gradients_of(&case, &boundaries, d_y, 0).unwrap());
        for (i, (a, b)) in none.iter().zip(&zero).enumerate() {
            let largest = b.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let off = a.iter().zip(b).fold(0.0f64, |m, (a, b)| if (a - b).abs() <= m { m } else { (a - b).abs() });
            prop_assert!(off <= 1e-11 * largest, "gradient {i}: {off:e} of {largest:e}");
        }
    }

    #[test]
    fn gradients_have_the_same_bits_however_many_boundaries_are_kept(case in case(70, true), keep in prop_oneof![2usize..6, Just(64)]) {
        let mut some = case.clone();
        some.spec.keep_every = keep;
        let (all, kept) = (case.run::<f64>(Form::Chunk), some.run::<f64>(Form::Chunk));
        prop_assert_eq!(kept.boundaries.len(), case.spec.chunks(case.n).div_ceil(keep) * case.spec.state_len());
        prop_assert_eq!(bits(&kept.y), bits(&all.y));
        for (i, boundary) in kept.boundaries.chunks(case.spec.state_len()).enumerate() {
            prop_assert_eq!(bits(boundary), bits(&all.boundaries[i * keep * boundary.len()..][..boundary.len()]));
        }
        let (a, b) = (gradients(&case, &all.boundaries, 0), gradients(&some, &kept.boundaries, 0));
        for (a, b) in a.unwrap().iter().zip(&b.unwrap()) {
            prop_assert_eq!(bits(a), bits(b));
        }
        let (all, kept) = (case.run::<f32>(Form::Chunk), some.run::<f32>(Form::Chunk));
        let (a, b) = (gradients(&case, &all.boundaries, 7), gradients(&some, &kept.boundaries, 7));
        for (a, b) in a.unwrap().iter().zip(&b.unwrap()) {
            prop_assert_eq!(bits(a), bits(b));
        }
        let short = gradients(&some, &kept.boundaries, -1).unwrap_err();
        prop_assert!(matches!(short, Error::Buffer { what: "scratch", .. }), "{short}");
        if all.boundaries.len() != kept.boundaries.len() {
            prop_assert!(gradients(&some, &all.boundaries, 0).is_err(), "boundaries of another configuration");
        }
    }
}
