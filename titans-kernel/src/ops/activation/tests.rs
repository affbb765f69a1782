//! φ and its derivatives: against differences, against `f64` over all of `f32`, and on every instruction set.

use super::*;
use crate::arch::{Isa, Simd};
use crate::arithmetic::Portable;
use crate::ops::check::{poison, values};
use crate::scalar::grid::{ulp, with_edges};
use std::vec::Vec;

const ALL: [Activation; 5] =
    [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Identity];

#[test]
fn derivatives_are_those_of_the_function() {
    let z = [-31.0f64, -6.0, -2.5, -0.7, -1e-3, 0.2, 1.0, 3.3, 9.0, 40.0];
    let h = 1e-5;
    for a in ALL {
        let (mut up, mut down, mut d1, mut d1_up, mut d1_down) =
            ([f64::NAN; 10], [f64::NAN; 10], [f64::NAN; 10], [f64::NAN; 10], [f64::NAN; 10]);
        let (zu, zd) = (z.map(|x| x + h), z.map(|x| x - h));
        forward(&Portable, a, &zu, &mut up);
        forward(&Portable, a, &zd, &mut down);
        vjp(&Portable, a, &z, &[1.0; 10], &mut d1);
        vjp(&Portable, a, &zu, &[1.0; 10], &mut d1_up);
        vjp(&Portable, a, &zd, &[1.0; 10], &mut d1_down);
        let (mut dd, mut d2) = ([f64::NAN; 10], [f64::NAN; 10]);
        vjp_vjp(&Portable, a, &z, &[3.0; 10], &[2.0; 10], &mut dd, &mut d2);
        let mut sum = [1.0; 10];
        vjp_add(&Portable, a, &z, &[1.0; 10], &mut sum);
        for i in 0..10 {
            assert!(((up[i] - down[i]) / (2.0 * h) - d1[i]).abs() < 1e-8, "{a:?} first at {}", z[i]);
            assert!((6.0 * (d1_up[i] - d1_down[i]) / (2.0 * h) - d2[i]).abs() < 1e-7, "{a:?} second at {}", z[i]);
            assert!((dd[i] - 2.0 * d1[i]).abs() < 1e-12 && (sum[i] - 1.0 - d1[i]).abs() < 1e-12);
        }
    }
}

#[test]
fn single_precision_follows_double() {
    for a in ALL {
        for i in -400..400 {
            let x = i as f32 * 0.05;
            let (mut y, mut w) = ([f32::NAN], [f64::NAN]);
            forward(&Portable, a, &[x], &mut y);
            forward(&Portable, a, &[f64::from(x)], &mut w);
            assert!((f64::from(y[0]) - w[0]).abs() <= 1e-6 * (1.0 + w[0].abs()), "{a:?} {x}");
        }
    }
}

/// φ, φ′ and φ″ of every x by the public functions.
fn three<T: Scalar, G: Arithmetic<T>>(g: &G, a: Activation, x: &[T]) -> [Vec<T>; 3] {
    let (n, one) = (x.len(), std::vec![T::ONE; x.len()]);
    let mut out = core::array::from_fn(|_| std::vec![T::NAN; n]);
    let [value, first, second] = &mut out;
    forward(g, a, x, value);
    vjp_vjp(g, a, x, &one, &one, first, second);
    out
}

/// Allowed error of φ, φ′ and φ″ in 2^−24 (1 + |value|), everywhere; and of φ in ULP where it is at least 1e-30.
const ALLOWED: [(Activation, [f64; 3], f64); 5] = [
    (Activation::Silu, [2.2, 1.8, 1.5], 2.9),
    (Activation::Gelu, [1.2, 1.8, 1.3], 5.6),
    (Activation::GeluTanh, [1.7, 1.7, 2.9], 180.0),
    (Activation::Relu, [0.0; 3], 0.0),
    (Activation::Identity, [0.0; 3], 0.0),
];

#[test]
fn single_precision_is_within_the_stated_errors_everywhere() {
    let x = with_edges();
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    for (g, (a, allowed, allowed_ulp)) in
        Isa::ALL.into_iter().filter_map(Simd::new).flat_map(|g| ALLOWED.map(|case| (g, case)))
    {
        let (got, want) = (three(&g, a, &x), three(&Portable, a, &wide));
        let (mut worst, mut worst_ulp) = ([(0.0f64, 0.0f32); 3], (0.0f64, 0.0f32));
        for i in (0..x.len()).filter(|&i| x[i].is_finite()) {
            for k in 0..3 {
                let (got, want) = (f64::from(got[k][i]), want[k][i]);
                assert!(got.is_finite(), "{a:?} {k} at {:e}", x[i]);
                let off = (got - want).abs() / (1.0 + want.abs()) * 16_777_216.0;
                if off > worst[k].0 {
                    worst[k] = (off, x[i]);
                }
            }
            let off = (f64::from(got[0][i]) - want[0][i]).abs() / ulp(want[0][i]);
            if want[0][i].abs() >= 1e-30 && off > worst_ulp.0 {
                worst_ulp = (off, x[i]);
            }
        }
        assert!(
            (0..3).all(|k| worst[k].0 <= allowed[k]) && worst_ulp.0 <= allowed_ulp,
            "{a:?} {:?}: {worst:?} {worst_ulp:?}",
            g.isa()
        );
    }
}

#[test]
fn not_a_number_stays_and_infinity_has_its_limits() {
    for (g, a) in Isa::ALL.into_iter().filter_map(Simd::new).flat_map(|g| ALL.map(|a| (g, a))) {
        let [value, first, _] = three(&g, a, &[f32::NAN, f32::INFINITY]);
        assert!(value[0].is_nan() && value[1] == f32::INFINITY, "{a:?} {:?}", g.isa());
        assert!(first[0].is_nan() || matches!(a, Activation::Relu | Activation::Identity), "{a:?} {:?}", g.isa());
    }
    for g in Isa::ALL.into_iter().filter_map(Simd::new) {
        let x = [f32::NEG_INFINITY, f32::INFINITY, -0.0, -1e30, 1e30, -90.0];
        let [value, first, second] = three(&g, Activation::Silu, &x);
        assert!(value[0].is_nan() && first[..2].iter().chain(&second[..2]).all(|x| x.is_nan()), "{:?}", g.isa());
        let (zero, one) = (value[2..].to_vec(), first[2..].to_vec());
        assert_eq!((zero[0].to_bits(), &zero[1..]), ((-0.0f32).to_bits(), &[-0.0, 1e30, -0.0][..]), "{:?}", g.isa());
        assert_eq!((one, second[3..].to_vec()), (std::vec![0.5, -0.0, 1.0, -0.0], std::vec![0.0; 3]), "{:?}", g.isa());
    }
    for a in [Activation::Gelu, Activation::GeluTanh] {
        let [_, first, second] = three(&Portable, a, &[f32::INFINITY, f32::NEG_INFINITY]);
        assert_eq!((first, second), (std::vec![1.0, 0.0], std::vec![0.0; 2]), "{a:?}");
    }
}

/// The bits of φ, φ′ and φ″; all NaN are one.
fn bits<T: Scalar, G: Arithmetic<T>>(g: &G, a: Activation, x: &[T]) -> [Vec<u64>; 3] {
    let bits = |x: &T| if x.to_f64().is_nan() { 0 } else { x.to_f64().to_bits() };
    three(g, a, x).map(|x| x.iter().map(bits).collect())
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let x = with_edges();
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    for a in ALL {
        let versions: Vec<_> = Isa::ALL.into_iter().filter_map(Simd::new).collect();
        let fused = versions.iter().find(|g| g.isa() != Isa::Portable);
        for g in &versions {
            // The e^x of SiLU has fused multiply-adds where the version has them.
            match fused {
                Some(fused) if a == Activation::Silu && g.isa() != Isa::Portable => {
                    assert!(bits::<f32, _>(g, a, &x) == bits(fused, a, &x), "{a:?} {:?}", g.isa());
                }
                _ => assert!(bits::<f32, _>(g, a, &x) == bits(&Portable, a, &x), "{a:?} {:?}", g.isa()),
            }
            assert!(bits::<f64, _>(g, a, &wide) == bits(&Portable, a, &wide), "f64 {a:?} {:?}", g.isa());
        }
    }
}

#[test]
fn a_number_has_the_same_bits_in_any_company() {
    let x = values::<f32>(70, 5);
    for g in Isa::ALL.into_iter().filter_map(Simd::new) {
        for a in ALL {
            let all = bits(&g, a, &x);
            for from in [0, 1, 33] {
                for n in 1..=x.len() - from {
                    let part = bits(&g, a, &x[from..from + n]);
                    assert!((0..3).all(|k| part[k] == all[k][from..from + n]), "{a:?} {from} {n} {:?}", g.isa());
                }
            }
        }
    }
}

#[test]
fn the_kept_slope_has_the_bits_of_the_separate_functions() {
    for g in Isa::ALL.into_iter().filter_map(Simd::new) {
        for n in [1, 7, 15, 16, 17, 63, 64, 65, 256, 1024] {
            let (z, d_out) = (values::<f32>(n, 1), values::<f32>(n, 2));
            for a in ALL {
                let [mut value, mut d_z, mut out, mut slope, mut d] = core::array::from_fn(|_| poison::<f32>(n));
                forward(&g, a, &z, &mut value);
                vjp(&g, a, &z, &d_out, &mut d_z);
                forward_with_slope(&g, a, &z, &mut out, &mut slope);
                vjp_slope(&g, &slope, &d_out, &mut d);
                assert_eq!((out, d), (value, d_z), "{a:?} {n} {:?}", g.isa());
            }
        }
    }
}
