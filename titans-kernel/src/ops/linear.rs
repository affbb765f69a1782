//! Linear maps of rows: `y = x W + bias`, with x `[n, i]`, W `[i, o]`, y `[n, o]`.
//!
//! As dy = dx W + x dW + dbias, ⟨d_y, dy⟩ = ⟨d_y Wᵀ, dx⟩ + ⟨xᵀ d_y, dW⟩ + ⟨Σ_r d_y\[r\], dbias⟩: hence the three
//! gradients.
//!
//! The backward is three functions, because not everybody needs all three gradients. A weight stored the other way
//! round, `[o, i]`, is passed as its transposed view; its gradient is [`vjp_weight`] with the roles of x and d_y
//! exchanged, as `(x^T d_y)^T = d_y^T x`.

use super::rows::{expect_rows, expect_shape};
use crate::arithmetic::{Arithmetic, Store};
use crate::error::{Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// `y = x W + bias`. All views may have any strides.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree.
pub fn forward<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    x: Mat<'_, T>,
    w: Mat<'_, T>,
    bias: Option<&[T]>,
    mut y: MatMut<'_, T>,
) -> Result<()> {
    let (n, o) = (x.rows(), w.cols());
    expect_len("w rows", x.cols(), w.rows())?;
    expect_shape("y", y.as_ref(), n, o)?;
    let Some(bias) = bias else {
        g.gemm(Store::Set, x, w, y);
        return Ok(());
    };
    expect_len("bias", o, bias.len())?;
    if o == 0 {
        return Ok(());
    }
    // The product's chain starts from the bias: no second pass over y.
    for r in 0..n {
        y.row_mut(r).become_copy(bias);
    }
    g.gemm(Store::Add, x, w, y);
    Ok(())
}

/// Gradient of the input. y = x W, so ⟨d_y, dx W⟩ = ⟨d_y Wᵀ, dx⟩: `d_x = d_y W^T`, `+=` or `−=`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree.
pub fn vjp_input<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    store: Store,
    w: Mat<'_, T>,
    d_y: Mat<'_, T>,
    mut d_x: MatMut<'_, T>,
) -> Result<()> {
    expect_len("d_y columns", w.cols(), d_y.cols())?;
    expect_shape("d_x", d_x.as_ref(), d_y.rows(), w.rows())?;
    g.gemm(store, d_y, w.t(), d_x.rb());
    Ok(())
}

/// Gradient of the weight, added: ⟨d_y, x dW⟩ = ⟨xᵀ d_y, dW⟩, so `d_w += x^T d_y`.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree.
pub fn vjp_weight<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    x: Mat<'_, T>,
    d_y: Mat<'_, T>,
    mut d_w: MatMut<'_, T>,
) -> Result<()> {
    expect_len("d_y rows", x.rows(), d_y.rows())?;
    expect_shape("d_w", d_w.as_ref(), x.cols(), d_y.cols())?;
    g.gemm(Store::Add, x.t(), d_y, d_w.rb());
    Ok(())
}

/// Gradient of the bias, added: every row of y has it as a term, so `d_bias += Σ_r d_y[r]`, rows in ascending order.
///
/// # Errors
/// [`crate::Error::Shape`] when the sizes disagree or `d_y`'s columns are not neighbours.
pub fn vjp_bias<T: Scalar, G: Arithmetic<T>>(g: &G, d_y: Mat<'_, T>, d_bias: &mut [T]) -> Result<()> {
    expect_rows("d_bias", "d_y column stride", d_y, d_y.rows(), d_bias.len())?;
    if d_bias.is_empty() {
        return Ok(());
    }
    g.vectorise(
        #[inline(always)]
        || {
            for r in 0..d_y.rows() {
                for (b, &d) in d_bias.iter_mut().zip(d_y.row(r)) {
                    *b += d;
                }
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{forward, vjp_bias, vjp_input, vjp_weight};
    use crate::arithmetic::{Portable, Store};
    use crate::error::Error;
    use crate::ops::check::{SINGLE, added, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use crate::view::{Mat, MatMut};
    use std::vec::Vec;

    const SIZES: [(usize, usize, usize); 6] = [(1, 1, 1), (2, 3, 5), (7, 13, 11), (5, 33, 7), (3, 8, 9), (4, 1, 17)];

    fn run<T: Scalar>((n, i, o): (usize, usize, usize), x: &[T], w: Mat<'_, T>, bias: Option<&[T]>) -> Vec<T> {
        let mut y = poison(n * o);
        forward(&Portable, Mat::new(x, n, i).unwrap(), w, bias, MatMut::new(&mut y, n, o).unwrap()).unwrap();
        y
    }

    #[test]
    fn forward_is_the_definition_in_both_precisions_and_for_transposes() {
        for (n, i, o) in SIZES {
            let (x, w, bias) = (values::<f64>(n * i, 1), values::<f64>(i * o, 2), values::<f64>(o, 3));
            let mut want = Vec::new();
            for r in 0..n {
                want.extend((0..o).map(|c| bias[c] + (0..i).map(|k| x[r * i + k] * w[k * o + c]).sum::<f64>()));
            }
            let wm = Mat::new(&w, i, o).unwrap();
            assert_close("y", &run((n, i, o), &x, wm, Some(&bias)), &want, 1e-14);
            let turned: Vec<f64> = (0..o).flat_map(|c| (0..i).map(move |k| (k, c))).map(|(k, c)| wm.at(k, c)).collect();
            let y = run((n, i, o), &x, Mat::new(&turned, o, i).unwrap().t(), Some(&bias));
            assert_close("y of w^T", &y, &want, 1e-14);
            let zero_bias = run((n, i, o), &x, wm, Some(&std::vec![0.0; o]));
            assert_eq!(run((n, i, o), &x, wm, None), zero_bias, "without a bias");
            let (x, w, bias) = (values::<f32>(n * i, 1), values::<f32>(i * o, 2), values::<f32>(o, 3));
            let y = run((n, i, o), &x, Mat::new(&w, i, o).unwrap(), Some(&bias));
            assert_close("f32 y", &widen(&y), &want, SINGLE);
        }
    }

    #[test]
    fn vjps_are_the_finite_differences() {
        for (n, i, o) in SIZES {
            let (x, w, bias, cot) = (values(n * i, 4), values(i * o, 5), values(o, 6), values::<f64>(n * o, 7));
            let d_y = Mat::new(&cot, n, o).unwrap();
            let loss =
                |x: &[f64], w: &[f64], b: &[f64]| inner(&run((n, i, o), x, Mat::new(w, i, o).unwrap(), Some(b)), &cot);
            let mut d_x = poison(n * i);
            vjp_input(&Portable, Store::Set, Mat::new(&w, i, o).unwrap(), d_y, MatMut::new(&mut d_x, n, i).unwrap())
                .unwrap();
            assert_gradient("d_x", &x, &d_x, |x| loss(x, &w, &bias));
            let before = values(i * o, 8);
            let mut d_w = before.clone();
            vjp_weight(&Portable, Mat::new(&x, n, i).unwrap(), d_y, MatMut::new(&mut d_w, i, o).unwrap()).unwrap();
            assert_gradient("d_w", &w, &added(&d_w, &before), |w| loss(&x, w, &bias));
            let mut d_bias = before[..o.min(i * o)].to_vec();
            vjp_bias(&Portable, d_y, &mut d_bias).unwrap();
            assert_gradient("d_bias", &bias, &added(&d_bias, &before[..o]), |b| loss(&x, &w, b));
        }
    }

    #[test]
    fn the_gradient_of_a_transposed_weight_is_the_transpose() {
        let (n, i, o) = (5, 3, 4);
        let (x, d_y) = (values::<f64>(n * i, 1), values::<f64>(n * o, 2));
        let (x, d_y) = (Mat::new(&x, n, i).unwrap(), Mat::new(&d_y, n, o).unwrap());
        let (mut d_w, mut turned) = ([0.0; 12], [0.0; 12]);
        vjp_weight(&Portable, x, d_y, MatMut::new(&mut d_w, i, o).unwrap()).unwrap();
        vjp_weight(&Portable, d_y, x, MatMut::new(&mut turned, o, i).unwrap()).unwrap();
        for k in 0..i {
            for c in 0..o {
                assert_eq!(d_w[k * o + c], turned[c * i + k]);
            }
        }
    }

    #[test]
    fn wrong_sizes_are_errors_and_change_nothing() {
        let (a, mut y) = ([1.0f32; 12], [7.0f32; 12]);
        let m = |r, c| Mat::new(&a, r, c).unwrap();
        let e = forward(&Portable, m(2, 3), m(4, 2), None, MatMut::new(&mut y, 2, 2).unwrap());
        assert_eq!(e, Err(Error::Shape { what: "w rows", expected: 3, found: 4 }));
        assert!(forward(&Portable, m(2, 3), m(3, 2), None, MatMut::new(&mut y, 3, 2).unwrap()).is_err());
        assert!(forward(&Portable, m(2, 3), m(3, 2), Some(&a[..3]), MatMut::new(&mut y, 2, 2).unwrap()).is_err());
        assert!(vjp_input(&Portable, Store::Set, m(3, 2), m(2, 3), MatMut::new(&mut y, 2, 3).unwrap()).is_err());
        assert!(vjp_weight(&Portable, m(2, 3), m(3, 2), MatMut::new(&mut y, 3, 2).unwrap()).is_err());
        assert!(vjp_bias(&Portable, m(2, 3), &mut y[..2]).is_err());
        assert!(vjp_bias(&Portable, m(3, 2).t(), &mut y[..3]).is_err());
        assert_eq!(y, [7.0; 12]);
        forward(&Portable, m(2, 0), m(0, 3), None, MatMut::new(&mut y, 2, 3).unwrap()).unwrap();
        assert_eq!(y[..7], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7.0], "no inputs: zeros");
    }
}
