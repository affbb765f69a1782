//! SiLU's operations against their definition in `f64`, and what they leave alone.

use super::super::{Isa, SimdScalar};
use super::{bits, numbers, versions};
use crate::arithmetic::{Arithmetic, Portable, Silu, SiluOf};
use std::vec::Vec;

const OF: [SiluOf; 7] = [
    SiluOf::Value,
    SiluOf::ValueAndSlope,
    SiluOf::Slope,
    SiluOf::AddSlope,
    SiluOf::Slopes,
    SiluOf::Gate,
    SiluOf::GateSlopes,
];

/// y₀ and y₁ by their definition; none where nothing is written.
fn want(of: SiluOf, [x, a, b]: [f64; 3], old: f64) -> [Option<f64>; 2] {
    let s = 1.0 / (1.0 + (-x).exp());
    let (value, first) = (x * s, s * (1.0 + x * (1.0 - s)));
    let second = s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s));
    match of {
        SiluOf::Value => [Some(value), None],
        SiluOf::ValueAndSlope => [Some(value), Some(first)],
        SiluOf::Slope => [Some(a * first), None],
        SiluOf::AddSlope => [Some(old + a * first), None],
        SiluOf::Slopes => [Some(b * first), Some(b * a * second)],
        SiluOf::Gate => [Some(a * value), None],
        SiluOf::GateSlopes => [Some(b * value), Some(b * a * first)],
    }
}

/// Slices of several lengths of which the shortest counts; what is not used is empty.
fn follows<T: SimdScalar>(g: &impl Arithmetic<T>, of: SiluOf, n: usize, tolerance: f64) {
    let x = [n + 1, n, n + 5].map(|len| numbers::<T>(len, len as u64));
    let x = x.map(|x| x.iter().map(|&x| x * T::from_f64(4.0)).collect::<Vec<_>>());
    let (read, written) = match of {
        SiluOf::Value => (1, 1),
        SiluOf::ValueAndSlope => (1, 2),
        SiluOf::Slope | SiluOf::AddSlope | SiluOf::Gate => (2, 1),
        SiluOf::Slopes | SiluOf::GateSlopes => (3, 2),
    };
    let n = if read == 1 { n + 1 } else { n };
    let old = if of == SiluOf::AddSlope { T::from_f64(0.25) } else { T::NAN };
    let mut y = [n + 2, n + 19].map(|len| std::vec![old; len]);
    let mut inputs = [&x[0][..], &x[1], &x[2]];
    inputs[read..].fill(&[]);
    let [out, more] = &mut y;
    let more: &mut [T] = if written == 2 { more } else { &mut [] };
    g.silu(Silu { of, x: inputs, y: [out, more] });
    for i in 0..n {
        let x = [0, 1, 2].map(|k| x[k].get(i).map_or(f64::NAN, |x| x.to_f64()));
        for (y, want) in y.iter().zip(want(of, x, old.to_f64())) {
            let off = want.map_or(0.0, |want| (y[i].to_f64() - want).abs() / (1.0 + want.abs()));
            assert!(off <= tolerance, "{of:?} {i} of {n}: off by {off}");
        }
    }
    for y in &y {
        let same = |y: &T| *y == old || y.to_f64().is_nan() && old.to_f64().is_nan();
        assert!(y[n..].iter().all(same), "{of:?} of {n} wrote behind them");
    }
}

/// What an operation writes, of slices of which number `shortest` is the shortest.
fn written<T: SimdScalar>(g: &impl Arithmetic<T>, of: SiluOf, n: usize, shortest: usize) -> Vec<u64> {
    let len = |k: usize| if k == shortest { n } else { n + 1 + k };
    let x = [0, 1, 2].map(|k| numbers::<T>(len(k), 40 + k as u64));
    let mut y = [3, 4].map(|k| std::vec![T::from_f64(0.5); len(k)]);
    let [out, more] = &mut y;
    g.silu(Silu { of, x: [&x[0], &x[1], &x[2]], y: [out, more] });
    y.iter().flat_map(|y| bits(y)).collect()
}

#[test]
fn versions_have_equal_bits_and_stop_at_the_shortest_slice() {
    let all = versions();
    let fused = all.iter().find(|g| g.isa() != Isa::Portable).copied();
    for (of, n) in OF.into_iter().flat_map(|of| [0, 1, 15, 16, 63, 64, 65, 130].map(|n| (of, n))) {
        for shortest in 0..5 {
            let wide = written::<f64>(&Portable, of, n, shortest);
            for g in &all {
                assert!(written::<f64>(g, of, n, shortest) == wide, "f64 {of:?} {n} {shortest} {:?}", g.isa());
                if let (Some(fused), true) = (&fused, g.isa() != Isa::Portable) {
                    let want = written::<f32>(fused, of, n, shortest);
                    assert!(written::<f32>(g, of, n, shortest) == want, "f32 {of:?} {n} {shortest} {:?}", g.isa());
                }
            }
        }
    }
}

#[test]
fn all_are_their_definition_at_every_length_and_touch_nothing_else() {
    for g in versions() {
        for of in OF {
            for n in (0..=70).chain([127, 128, 129]) {
                follows::<f32>(&g, of, n, 4e-7);
                follows::<f64>(&g, of, n, 2e-15);
            }
        }
    }
}
