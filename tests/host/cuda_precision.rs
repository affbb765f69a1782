//! Linear maps of the emulated device with factors of fewer bits: their definition, their error, and what stays `f32`.

use crate::cuda_boundaries::{bits, operation};
use crate::cuda_emulator::emulated;
use titans_host::device::cuda::Precision;
use titans_host::device::{Device, InputGradient, LinearDims, LinearGradients};
use titans_kernel::Choice;

/// Significant bits of a factor.
const fn significant(precision: Precision) -> i32 {
    match precision {
        Precision::F32 => 24,
        Precision::Tf32 => 11,
        Precision::Bf16 => 8,
    }
}

/// x to so many significant bits, by arithmetic: the nearest multiple of the last bit's weight, ties to even.
fn nearest(x: f32, precision: Precision) -> f64 {
    if x == 0.0 {
        return 0.0;
    }
    let x = f64::from(x);
    let unit = 2f64.powi(x.abs().log2().floor() as i32 + 1 - significant(precision));
    (x / unit).round_ties_even() * unit
}

fn wave(n: usize, size: f32) -> Vec<f32> {
    (0..n).map(|i| size * (0.7 * i as f32 + 0.2).sin()).collect()
}

/// One product of every kind: what a device made of it, and for each result the sums of products of the rounded
/// factors, of the factors themselves, and of their magnitudes.
struct Product {
    name: &'static str,
    found: Vec<f32>,
    sums: Vec<[f64; 3]>,
}

fn products(precision: Precision, transposed: bool, (rows, inputs, outputs): (usize, usize, usize)) -> [Product; 3] {
    let d = emulated().with_precision(precision);
    let dims = LinearDims { rows, inputs, outputs, transposed };
    let (x, w, d_y) = (wave(rows * inputs, 1.0), wave(inputs * outputs, 0.3), wave(rows * outputs, 2.0));
    let up = |x: &[f32]| d.upload(x).unwrap();
    let (on_x, on_w, on_d_y) = (up(&x), up(&w), up(&d_y));
    let (mut y, mut d_x) = (up(&vec![f32::NAN; rows * outputs]), up(&vec![f32::NAN; rows * inputs]));
    let mut d_w = d.zeros(inputs * outputs).unwrap();
    d.linear(dims, &on_x, &on_w, None, &mut y).unwrap();
    let gradients = LinearGradients { d_x: Some(InputGradient::Set(&mut d_x)), d_w: &mut d_w, d_bias: None };
    d.linear_vjp(dims, &on_x, &on_w, &on_d_y, gradients).unwrap();
    let weight = |i: usize, o: usize| w[if transposed { o * inputs + i } else { i * outputs + o }];
    let sums = |m: usize, n: usize, k: usize, a: &dyn Fn(usize, usize) -> f32, b: &dyn Fn(usize, usize) -> f32| {
        let element = |at: usize| {
            (0..k).fold([0.0; 3], |sum, z| {
                let (a, b) = (a(at / n, z), b(z, at % n));
                let exact = f64::from(a) * f64::from(b);
                [sum[0] + nearest(a, precision) * nearest(b, precision), sum[1] + exact, sum[2] + exact.abs()]
            })
        };
        (0..m * n).map(element).collect::<Vec<_>>()
    };
    let found = |x| d.download(x).unwrap();
    let of_w: Vec<[f64; 3]> = {
        let all = sums(inputs, outputs, rows, &|i, r| x[r * inputs + i], &|r, o| d_y[r * outputs + o]);
        // As the weight lies.
        let place = |at: usize| if transposed { at % inputs * outputs + at / inputs } else { at };
        (0..all.len()).map(|at| all[place(at)]).collect()
    };
    [
        Product { name: "y", found: found(&y), sums: sums(rows, outputs, inputs, &|r, i| x[r * inputs + i], &weight) },
        Product {
            name: "d_x",
            found: found(&d_x),
            sums: sums(rows, inputs, outputs, &|r, o| d_y[r * outputs + o], &|o, i| weight(i, o)),
        },
        Product { name: "d_w", found: found(&d_w), sums: of_w },
    ]
}

/// Each result is the `f32` sum of products of rounded factors: off by what `f32` sums lose (k roundings of 2⁻²⁴ of the
/// magnitudes), and by 2u + u² of the magnitudes from the exact one, u = 2⁻ᵖ for p bits.
#[test]
fn factors_are_rounded_and_nothing_else() {
    for &precision in Precision::ALL {
        let u = 2f64.powi(-significant(precision));
        for transposed in [false, true] {
            for sizes in [(1, 1, 1), (3, 5, 7), (17, 33, 9)] {
                for Product { name, found, sums } in products(precision, transposed, sizes) {
                    let mut far = 0.0f64;
                    for (&found, [rounded, exact, size]) in found.iter().zip(sums) {
                        let off = (f64::from(found) - rounded).abs();
                        assert!(off <= 40.0 * 6e-8 * size, "{precision:?} {name} {sizes:?}: {found} for {rounded}");
                        far = far.max((f64::from(found) - exact).abs() / size);
                    }
                    assert!(far <= 2.1 * u + 40.0 * 6e-8, "{precision:?} {name} {sizes:?}: {far:e}");
                    assert!(
                        precision == Precision::F32 || sizes.0 == 1 || far > u / 16.0,
                        "nothing was rounded: {name} {sizes:?}"
                    );
                }
            }
        }
    }
}

/// The memory's own products know no precision.
#[test]
fn memories_stay_f32() {
    for (widths, cut) in [(&[5, 5][..], [1, 4]), (&[6, 9, 6], [4, 0])] {
        let op = operation(widths, cut, None, 1);
        let whole = bits(&emulated(), &op, true);
        assert!(bits(&emulated().with_precision(Precision::Bf16), &op, true) == whole, "{widths:?}");
    }
}
