//! The mean squared error of rows: `loss[r] = mean_c (x[r, c] − target[r, c])²`, the loss of regression.
//!
//! Every row counts: there is no target that is ignored. A row of no width costs 0. NaN in a row makes its loss and the
//! element's gradient NaN.

use super::rows::{expect_rows, sum_pairs};
use crate::arithmetic::Arithmetic;
use crate::error::{Result, expect_len};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// `losses[r] = mean_c (x[r, c] − target[r, c])²`; x and target `[n, width]`, losses `[n]`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or columns are not neighbours. `losses` is not touched then.
pub fn forward<T: Scalar, G: Arithmetic<T>>(g: &G, x: Mat<'_, T>, target: Mat<'_, T>, losses: &mut [T]) -> Result<()> {
    expect_rows("x", "x column stride", x, x.rows(), x.cols())?;
    expect_rows("target", "target column stride", target, x.rows(), x.cols())?;
    expect_len("losses", x.rows(), losses.len())?;
    if x.cols() == 0 {
        losses.fill(T::ZERO);
        return Ok(());
    }
    let width = T::from_f64(x.cols() as f64);
    g.vectorise(
        #[inline(always)]
        || {
            for (r, loss) in losses.iter_mut().enumerate() {
                let squares = sum_pairs(
                    x.row(r),
                    target.row(r),
                    #[inline(always)]
                    |x, t| (x - t) * (x - t),
                );
                *loss = squares / width;
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`] for the cotangent `scale` of every row, overwritten: `d_x = scale · 2 (x − target) / width`.
///
/// loss = Σ_c (x_c − target_c)² / width, so ∂loss/∂x_c = 2 (x_c − target_c) / width.
///
/// # Errors
/// As [`forward`]; `d_x` is not touched then.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    x: Mat<'_, T>,
    target: Mat<'_, T>,
    scale: T,
    mut d_x: MatMut<'_, T>,
) -> Result<()> {
    expect_rows("x", "x column stride", x, x.rows(), x.cols())?;
    expect_rows("target", "target column stride", target, x.rows(), x.cols())?;
    expect_rows("d_x", "d_x column stride", d_x.as_ref(), x.rows(), x.cols())?;
    if x.cols() == 0 {
        return Ok(());
    }
    let factor = scale * T::from_f64(2.0) / T::from_f64(x.cols() as f64);
    g.vectorise(
        #[inline(always)]
        || {
            for r in 0..x.rows() {
                for ((d, &x), &t) in d_x.row_mut(r).iter_mut().zip(x.row(r)).zip(target.row(r)) {
                    *d = factor * (x - t);
                }
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{forward, vjp};
    use crate::arithmetic::Portable;
    use crate::ops::check::{SINGLE, WIDTHS, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use crate::view::{Mat, MatMut};
    use std::vec::Vec;

    const ROWS: usize = 5;

    fn run<T: Scalar>(width: usize, x: &[T], target: &[T]) -> Vec<T> {
        let mut losses = poison(ROWS);
        let [x, target] = [x, target].map(|x| Mat::new(x, ROWS, width).unwrap());
        forward(&Portable, x, target, &mut losses).unwrap();
        losses
    }

    fn run_vjp<T: Scalar>(width: usize, x: &[T], target: &[T], scale: T) -> Vec<T> {
        let mut d_x = poison(x.len());
        let [x, target] = [x, target].map(|x| Mat::new(x, ROWS, width).unwrap());
        vjp(&Portable, x, target, scale, MatMut::new(&mut d_x, ROWS, width).unwrap()).unwrap();
        d_x
    }

    #[test]
    fn forward_and_vjp_in_both_precisions() {
        for width in WIDTHS {
            let n = ROWS * width;
            let (x, target) = (values::<f64>(n, 1), values::<f64>(n, 2));
            let rows = x.chunks(width).zip(target.chunks(width));
            let mean =
                |(x, t): (&[f64], &[f64])| x.iter().zip(t).map(|(x, t)| (x - t).powi(2)).sum::<f64>() / width as f64;
            let want: Vec<f64> = rows.map(mean).collect();
            assert_close("losses", &run(width, &x, &target), &want, 1e-14);
            let (x32, target32) = (values::<f32>(n, 1), values::<f32>(n, 2));
            assert_close("f32 losses", &widen(&run(width, &x32, &target32)), &want, SINGLE);
            let d_x = run_vjp(width, &x, &target, 0.75);
            assert_gradient("d_x", &x, &d_x, |x| inner(&run(width, x, &target), &[0.75; ROWS]));
            assert_close("f32 d_x", &widen(&run_vjp(width, &x32, &target32, 0.75)), &d_x, SINGLE);
        }
    }

    #[test]
    fn rows_stand_alone_and_no_width_costs_nothing() {
        let (mut x, target) = (values::<f32>(ROWS * 3, 1), values::<f32>(ROWS * 3, 2));
        let before = run(3, &x, &target);
        x[4] = f32::NAN;
        let after = run(3, &x, &target);
        assert!(after[1].is_nan());
        for r in [0, 2, 3, 4] {
            assert_eq!(after[r].to_bits(), before[r].to_bits());
        }
        let nan: Vec<bool> = run_vjp(3, &x, &target, 1.0).iter().map(|d| d.is_nan()).collect();
        assert_eq!(nan.iter().position(|&n| n), Some(4));
        assert_eq!(nan.iter().filter(|&&n| n).count(), 1);
        assert_eq!(run::<f32>(0, &[], &[]), [0.0; ROWS]);
        assert!(run_vjp::<f32>(0, &[], &[], 1.0).is_empty());
    }

    #[test]
    fn sizes_are_checked() {
        let (x, mut y) = ([1.0f32; 6], [7.0f32; 6]);
        let m = Mat::new(&x, 2, 3).unwrap();
        let short = Mat::new(&x, 1, 3).unwrap();
        let narrow = Mat::new(&x, 2, 2).unwrap();
        assert!(forward(&Portable, m, short, &mut y[..2]).is_err());
        assert!(forward(&Portable, m, narrow, &mut y[..2]).is_err());
        assert!(forward(&Portable, m, m, &mut y[..3]).is_err());
        assert!(forward(&Portable, m.t(), m.t(), &mut y[..3]).is_err());
        assert!(vjp(&Portable, m, short, 1.0, MatMut::new(&mut y, 2, 3).unwrap()).is_err());
        assert!(vjp(&Portable, m, m, 1.0, MatMut::new(&mut y, 3, 2).unwrap()).is_err());
        assert_eq!(y, [7.0; 6]);
    }
}
