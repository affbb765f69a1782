//! Root-mean-square norm of rows with a learned scale: `y = x / rms(x) ∘ weight`, `rms(x) = sqrt(mean(x²) + EPS)`.

use super::rows::{dot, expect_rows};
use crate::arithmetic::Arithmetic;
use crate::error::{Result, expect_len};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Added to the mean square, so that a row of zeros stays a row of zeros.
pub const EPS: f64 = 1e-6;

/// 1 / rms of a row that is not empty.
#[inline(always)]
fn inverse_rms<T: Scalar>(x: &[T]) -> T {
    T::ONE / (dot(x, x) / T::from_f64(x.len() as f64) + T::from_f64(EPS)).sqrt()
}

/// `y[r] = x[r] / rms(x[r]) ∘ weight`; x and y `[n, d]`, weight `[d]`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or x's columns are not neighbours.
pub fn forward<T: Scalar, G: Arithmetic<T>>(g: &G, x: Mat<'_, T>, weight: &[T], mut y: MatMut<'_, T>) -> Result<()> {
    expect_rows("x columns", "x column stride", x, x.rows(), weight.len())?;
    expect_rows("y", "y column stride", y.as_ref(), x.rows(), x.cols())?;
    if x.cols() == 0 {
        return Ok(());
    }
    g.vectorise(
        #[inline(always)]
        || {
            for r in 0..x.rows() {
                let row = x.row(r);
                let scale = inverse_rms(row);
                for ((y, &x), &w) in y.row_mut(r).iter_mut().zip(row).zip(weight) {
                    *y = x * scale * w;
                }
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`]: `d_x` overwritten, `d_weight` added, rows in ascending order.
///
/// A row is y = ρ x ∘ g with g the weight and ρ = (‖x‖² / d + EPS)^(−1/2), so dρ = −ρ³ x·dx / d and dy = ρ dx ∘ g + dρ
/// x ∘ g + ρ x ∘ dg. With e = ȳ ∘ g (`docs/MATH.md` section 4, "Around the memory")
///
/// ```text
/// x̄ = ρ e − ρ³ (e·x / d) x = ρ (e − ρ² (e·x / d) x),   ḡ += ρ x ∘ ȳ
/// ```
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or a view's columns are not neighbours.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    x: Mat<'_, T>,
    weight: &[T],
    d_y: Mat<'_, T>,
    mut d_x: MatMut<'_, T>,
    d_weight: &mut [T],
) -> Result<()> {
    expect_rows("x columns", "x column stride", x, x.rows(), weight.len())?;
    expect_rows("d_y", "d_y column stride", d_y, x.rows(), x.cols())?;
    expect_rows("d_x", "d_x column stride", d_x.as_ref(), x.rows(), x.cols())?;
    expect_len("d_weight", weight.len(), d_weight.len())?;
    if x.cols() == 0 {
        return Ok(());
    }
    let width = T::from_f64(x.cols() as f64);
    g.vectorise(
        #[inline(always)]
        || {
            for r in 0..x.rows() {
                let (x, d_y, d_x) = (x.row(r), d_y.row(r), d_x.row_mut(r));
                let rho = inverse_rms(x);
                // e = ȳ ∘ g, in x̄'s place.
                for ((e, &d), &w) in d_x.iter_mut().zip(d_y).zip(weight) {
                    *e = d * w;
                }
                let along = rho * rho * dot(d_x, x) / width; // ρ² (e·x / d)
                // x̄ = ρ (e − ρ² (e·x / d) x)
                for (e, &x) in d_x.iter_mut().zip(x) {
                    *e = rho * (*e - x * along);
                }
                // ḡ += ρ x ∘ ȳ
                for ((w, &d), &x) in d_weight.iter_mut().zip(d_y).zip(x) {
                    *w += d * (x * rho);
                }
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{EPS, forward, vjp};
    use crate::arithmetic::Portable;
    use crate::ops::check::{SINGLE, WIDTHS, added, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use crate::view::{Mat, MatMut};
    use std::vec::Vec;

    fn run<T: Scalar>(d: usize, x: &[T], weight: &[T]) -> Vec<T> {
        let (n, mut y) = (x.len() / d, poison(x.len()));
        forward(&Portable, Mat::new(x, n, d).unwrap(), weight, MatMut::new(&mut y, n, d).unwrap()).unwrap();
        y
    }

    #[test]
    fn forward_is_the_definition_in_both_precisions() {
        for d in WIDTHS {
            let (x, w) = (values::<f64>(3 * d, 1), values::<f64>(d, 2));
            let mut want = Vec::new();
            for row in x.chunks(d) {
                let rms = (row.iter().map(|x| x * x).sum::<f64>() / d as f64 + EPS).sqrt();
                want.extend(row.iter().zip(&w).map(|(x, w)| x / rms * w));
            }
            assert_close("y", &run(d, &x, &w), &want, 1e-14);
            assert_close("f32 y", &widen(&run::<f32>(d, &values(3 * d, 1), &values(d, 2))), &want, SINGLE);
        }
    }

    #[test]
    fn vjp_is_the_finite_difference_and_agrees_in_f32() {
        fn gradients<T: Scalar>(d: usize, x: &[T], w: &[T], cot: &[T], d_w: &[T]) -> (Vec<T>, Vec<T>) {
            let (n, mut d_x, mut d_w) = (x.len() / d, poison(x.len()), d_w.to_vec());
            let (x, cot) = (Mat::new(x, n, d).unwrap(), Mat::new(cot, n, d).unwrap());
            vjp(&Portable, x, w, cot, MatMut::new(&mut d_x, n, d).unwrap(), &mut d_w).unwrap();
            (d_x, d_w)
        }
        for d in WIDTHS {
            let (x, w, cot, before) = (values(2 * d, 3), values(d, 4), values::<f64>(2 * d, 5), values(d, 6));
            let (d_x, d_w) = gradients(d, &x, &w, &cot, &before);
            assert_gradient("d_x", &x, &d_x, |x| inner(&run(d, x, &w), &cot));
            assert_gradient("d_weight", &w, &added(&d_w, &before), |w| inner(&run(d, &x, w), &cot));
            let (x, w, cot, before) = (values::<f32>(2 * d, 3), values(d, 4), values(2 * d, 5), values(d, 6));
            let single = gradients(d, &x, &w, &cot, &before);
            assert_close("f32 d_x", &widen(&single.0), &d_x, SINGLE);
            assert_close("f32 d_weight", &widen(&single.1), &d_w, SINGLE);
        }
    }

    #[test]
    fn zeros_stay_zeros_and_a_row_has_the_same_bits_alone() {
        assert_eq!(run(5, &[0.0f32; 5], &[2.0; 5]), [0.0; 5]);
        let (x, w) = (values::<f32>(7 * 37, 8), values::<f32>(37, 9));
        let all = run(37, &x, &w);
        for (row, y) in x.chunks(37).zip(all.chunks(37)) {
            assert_eq!(run(37, row, &w), y);
        }
    }

    #[test]
    fn wrong_sizes_and_strides_are_errors() {
        let (a, mut y, mut z) = ([1.0f32; 6], [7.0f32; 6], [7.0f32; 3]);
        let x = Mat::new(&a, 2, 3).unwrap();
        assert!(forward(&Portable, x, &a[..2], MatMut::new(&mut y, 2, 3).unwrap()).is_err());
        assert!(forward(&Portable, x, &a[..3], MatMut::new(&mut y, 3, 2).unwrap()).is_err());
        assert!(forward(&Portable, x.t(), &a[..2], MatMut::new(&mut y, 3, 2).unwrap()).is_err());
        assert!(vjp(&Portable, x, &a[..3], x.t(), MatMut::new(&mut y, 2, 3).unwrap(), &mut z).is_err());
        assert!(vjp(&Portable, x, &a[..3], x, MatMut::new(&mut y, 2, 3).unwrap(), &mut z[..2]).is_err());
        assert_eq!((y, z), ([7.0; 6], [7.0; 3]));
        let empty = Mat::strided(&a[..0], 3, 0, 5, 1).unwrap();
        forward(&Portable, empty, &[], MatMut::strided(&mut [], 3, 0, 5).unwrap()).unwrap();
    }
}
