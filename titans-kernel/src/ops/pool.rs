//! Means over the beginnings of sequences: `y[b] = mean_{t < lengths[b]} x[b, t]`, the pooling of classifiers.
//!
//! Rows behind a sequence's length are padding: they are not read, whatever they hold, and their gradient is 0. A
//! sequence of length 0 has the mean 0. Sums go over the rows ascending.

use super::rows::expect_rows;
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Every sequence is as long as its rows at most; the rows of all of them.
fn expect_lengths(lengths: &[u32], time: usize) -> Result<usize> {
    match lengths.iter().position(|&n| usize::try_from(n).map_or(true, |n| n > time)) {
        Some(index) => Err(Error::Range { what: "lengths", index }),
        None => Ok(lengths.len().saturating_mul(time)),
    }
}

/// `y[b] = mean_{t < lengths[b]} x[b, t]`; x `[batch · time, width]`, lengths `[batch]`, each `time` at most, y
/// `[batch, width]`.
///
/// # Errors
/// [`Error::Shape`] when the sizes disagree or columns are not neighbours, [`Error::Range`] with the first length above
/// `time`. `y` is not touched then.
pub fn forward<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    time: usize,
    lengths: &[u32],
    x: Mat<'_, T>,
    mut y: MatMut<'_, T>,
) -> Result<()> {
    let rows = expect_lengths(lengths, time)?;
    expect_rows("x", "x column stride", x, rows, x.cols())?;
    expect_rows("y", "y column stride", y.as_ref(), lengths.len(), x.cols())?;
    g.vectorise(
        #[inline(always)]
        || {
            for (b, &length) in lengths.iter().enumerate() {
                let out = y.row_mut(b);
                out.fill(T::ZERO);
                for t in 0..length as usize {
                    out.iter_mut().zip(x.row(b * time + t)).for_each(|(y, &x)| *y += x);
                }
                if length > 0 {
                    let count = T::from_f64(f64::from(length));
                    out.iter_mut().for_each(|y| *y /= count);
                }
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`], overwritten: `d_x[b, t] = d_y[b] / lengths[b]` for `t < lengths[b]`, else 0.
///
/// y\[b\] = Σ_{t < n} x\[b, t\] / n with n = lengths\[b\], so ∂y\[b\]/∂x\[b, t\] is 1 / n for t < n. A row behind the
/// length is in no mean, and with n = 0 none is.
///
/// # Errors
/// As [`forward`]; `d_x` is not touched then.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    time: usize,
    lengths: &[u32],
    d_y: Mat<'_, T>,
    mut d_x: MatMut<'_, T>,
) -> Result<()> {
    let rows = expect_lengths(lengths, time)?;
    expect_rows("d_x", "d_x column stride", d_x.as_ref(), rows, d_y.cols())?;
    expect_rows("d_y", "d_y column stride", d_y, lengths.len(), d_y.cols())?;
    g.vectorise(
        #[inline(always)]
        || {
            for (b, &length) in lengths.iter().enumerate() {
                let count = T::from_f64(f64::from(length));
                for t in 0..time {
                    let out = d_x.row_mut(b * time + t);
                    if t < length as usize {
                        out.iter_mut().zip(d_y.row(b)).for_each(|(d, &d_y)| *d = d_y / count);
                    } else {
                        out.fill(T::ZERO);
                    }
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
    use crate::error::Error;
    use crate::ops::check::{SINGLE, WIDTHS, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use crate::view::{Mat, MatMut};
    use std::vec::Vec;

    const TIME: usize = 5;
    const LENGTHS: [u32; 4] = [5, 1, 3, 0];

    fn run<T: Scalar>(width: usize, x: &[T]) -> Vec<T> {
        let mut y = poison(LENGTHS.len() * width);
        let x = Mat::new(x, LENGTHS.len() * TIME, width).unwrap();
        forward(&Portable, TIME, &LENGTHS, x, MatMut::new(&mut y, LENGTHS.len(), width).unwrap()).unwrap();
        y
    }

    fn run_vjp<T: Scalar>(width: usize, d_y: &[T]) -> Vec<T> {
        let mut d_x = poison(LENGTHS.len() * TIME * width);
        let d_y = Mat::new(d_y, LENGTHS.len(), width).unwrap();
        vjp(&Portable, TIME, &LENGTHS, d_y, MatMut::new(&mut d_x, LENGTHS.len() * TIME, width).unwrap()).unwrap();
        d_x
    }

    #[test]
    fn forward_and_vjp_in_both_precisions() {
        for width in WIDTHS {
            let n = LENGTHS.len() * TIME * width;
            let x = values::<f64>(n, 1);
            let mean = |b: usize, c: usize| {
                let rows = LENGTHS[b] as usize;
                let sum = (0..rows).map(|t| x[(b * TIME + t) * width + c]).sum::<f64>();
                sum / (rows.max(1)) as f64
            };
            let want: Vec<f64> = (0..LENGTHS.len() * width).map(|i| mean(i / width, i % width)).collect();
            assert_close("y", &run(width, &x), &want, 1e-14);
            assert_close("f32 y", &widen(&run(width, &values::<f32>(n, 1))), &want, SINGLE);
            let d_y = values::<f64>(LENGTHS.len() * width, 2);
            let d_x = run_vjp(width, &d_y);
            assert_gradient("d_x", &x, &d_x, |x| inner(&run(width, x), &d_y));
            assert_close("f32 d_x", &widen(&run_vjp(width, &values::<f32>(d_y.len(), 2))), &d_x, SINGLE);
        }
    }

    #[test]
    fn padding_is_not_read_and_sequences_stand_alone() {
        let mut x = values::<f32>(LENGTHS.len() * TIME * 3, 1);
        let before = run(3, &x);
        for (b, &length) in LENGTHS.iter().enumerate() {
            x[(b * TIME + length as usize) * 3..(b + 1) * TIME * 3].fill(f32::NAN);
        }
        assert_eq!(run(3, &x).map_bits(), before.map_bits());
        x[2 * TIME * 3] = f32::NAN;
        let nan: Vec<usize> = run(3, &x).iter().enumerate().filter(|(_, y)| y.is_nan()).map(|(i, _)| i).collect();
        assert_eq!(nan, [6]);
    }

    trait Bits {
        fn map_bits(&self) -> Vec<u32>;
    }

    impl Bits for Vec<f32> {
        fn map_bits(&self) -> Vec<u32> {
            self.iter().map(|x| x.to_bits()).collect()
        }
    }

    #[test]
    fn sizes_are_checked() {
        let (x, mut y) = ([1.0f32; 12], [7.0f32; 6]);
        let m = |rows| Mat::new(&x, rows, 3).unwrap();
        let mut out = |rows| MatMut::new(&mut y, rows, 3).map(drop);
        out(2).unwrap();
        let too_long = forward(&Portable, 2, &[1, 3], m(4), MatMut::new(&mut y, 2, 3).unwrap());
        assert_eq!(too_long, Err(Error::Range { what: "lengths", index: 1 }));
        assert!(forward(&Portable, 2, &[1, 2], m(3), MatMut::new(&mut y, 2, 3).unwrap()).is_err());
        assert!(forward(&Portable, 2, &[1, 2], m(4), MatMut::new(&mut y, 1, 3).unwrap()).is_err());
        assert!(vjp(&Portable, 2, &[1], m(1), MatMut::new(&mut y, 1, 3).unwrap()).is_err());
        assert!(vjp(&Portable, 1, &[2], m(1), MatMut::new(&mut y, 1, 3).unwrap()).is_err());
        assert_eq!(y, [7.0; 6]);
    }
}
