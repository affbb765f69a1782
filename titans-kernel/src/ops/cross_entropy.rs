//! Cross entropy of rows of logits against one target class each, in nats, by log-sum-exp.
//!
//! `loss = ln Σ_j e^{x_j − m} + (m − x_target)` with m the row's largest logit, so logits of any finite size are
//! exact to rounding. A logit of −∞ is a class that cannot happen: it adds nothing, and as the target it costs +∞
//! (with a finite gradient). A NaN or +∞ anywhere in a row, or a row of −∞ alone, makes the row's loss and its whole
//! gradient NaN. Rows whose target is [`IGNORE`] are not read: their loss and gradient are 0.

use super::rows::{expect_rows, max, sum_by};
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result, expect_len};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Target of a row that has none: its loss and gradient are 0.
pub const IGNORE: u32 = u32::MAX;

/// Every target is a class or [`IGNORE`].
fn expect_targets(targets: &[u32], classes: usize) -> Result<()> {
    let wrong = |&t: &u32| t != IGNORE && usize::try_from(t).map_or(true, |t| t >= classes);
    match targets.iter().position(wrong) {
        Some(index) => Err(Error::Range { what: "targets", index }),
        None => Ok(()),
    }
}

/// `losses[r] = −ln softmax(logits[r])[targets[r]]`; logits `[n, classes]`, targets and losses `[n]`.
///
/// # Errors
/// [`Error::Shape`] when the sizes disagree or the logits' columns are not neighbours; [`Error::Range`] with the
/// index of the first target that is neither a class nor [`IGNORE`]. `losses` is not touched then.
pub fn forward<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    logits: Mat<'_, T>,
    targets: &[u32],
    losses: &mut [T],
) -> Result<()> {
    expect_rows("logits", "logits column stride", logits, targets.len(), logits.cols())?;
    expect_len("losses", targets.len(), losses.len())?;
    expect_targets(targets, logits.cols())?;
    g.vectorise(
        #[inline(always)]
        || {
            for (r, (loss, &target)) in losses.iter_mut().zip(targets).enumerate() {
                if target == IGNORE {
                    *loss = T::ZERO;
                    continue;
                }
                let row = logits.row(r);
                let m = max(row);
                let sum = sum_by(
                    row,
                    #[inline(always)]
                    |x| (x - m).exp(),
                );
                // Two terms, neither below 0: nothing cancels, however large the logits are.
                *loss = sum.ln() + (m - row[target as usize]);
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`] for the cotangent `scale` of every row, overwritten:
/// `d_logits[r] = scale (softmax(logits[r]) − one-hot(targets[r]))`, as ∂ ln Σ_k e^{x_k} / ∂x_j = e^{x_j} / Σ_k
/// e^{x_k}, and −x_target adds −1 at the target.
///
/// # Errors
/// As [`forward`]; `d_logits` is not touched then.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    logits: Mat<'_, T>,
    targets: &[u32],
    scale: T,
    mut d_logits: MatMut<'_, T>,
) -> Result<()> {
    expect_rows("logits", "logits column stride", logits, targets.len(), logits.cols())?;
    expect_rows("d_logits", "d_logits column stride", d_logits.as_ref(), targets.len(), logits.cols())?;
    expect_targets(targets, logits.cols())?;
    if logits.cols() == 0 {
        return Ok(());
    }
    g.vectorise(
        #[inline(always)]
        || {
            for (r, &target) in targets.iter().enumerate() {
                let d = d_logits.row_mut(r);
                if target == IGNORE {
                    d.fill(T::ZERO);
                    continue;
                }
                let row = logits.row(r);
                let m = max(row);
                for (d, &x) in d.iter_mut().zip(row) {
                    *d = (x - m).exp();
                }
                // scale / Σ e
                let share = scale
                    / sum_by(
                        d,
                        #[inline(always)]
                        |e| e,
                    );
                for d in d.iter_mut() {
                    *d *= share;
                }
                d[target as usize] -= scale; // the −1 at the target
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{IGNORE, forward, vjp};
    use crate::arithmetic::Portable;
    use crate::error::Error;
    use crate::ops::check::{SINGLE, WIDTHS, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use crate::view::{Mat, MatMut};
    use std::vec::Vec;

    const INF: f32 = f32::INFINITY;

    fn run<T: Scalar>(x: &[T], targets: &[u32]) -> Vec<T> {
        let (n, c) = (targets.len(), x.len() / targets.len());
        let mut losses = poison(n);
        forward(&Portable, Mat::new(x, n, c).unwrap(), targets, &mut losses).unwrap();
        losses
    }

    fn run_vjp<T: Scalar>(x: &[T], targets: &[u32], scale: T) -> Vec<T> {
        let (n, c) = (targets.len(), x.len() / targets.len());
        let mut d = poison(x.len());
        vjp(&Portable, Mat::new(x, n, c).unwrap(), targets, scale, MatMut::new(&mut d, n, c).unwrap()).unwrap();
        d
    }

    #[test]
    fn forward_and_vjp_in_both_precisions() {
        for c in WIDTHS.into_iter().chain([255, 256, 257]) {
            let targets = [0, IGNORE, (c / 2) as u32, (c - 1) as u32];
            let x = values::<f64>(4 * c, 1);
            let mut want = Vec::new();
            for (row, t) in x.chunks(c).zip(targets) {
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                want.push(if t == IGNORE { 0.0 } else { sum.ln() - row[t as usize] });
            }
            assert_close("losses", &run(&x, &targets), &want, 1e-14);
            assert_close("f32 losses", &widen(&run(&values::<f32>(4 * c, 1), &targets)), &want, SINGLE);
            let d = run_vjp(&x, &targets, 0.75);
            assert_gradient("d_logits", &x, &d, |x| inner(&run(x, &targets), &[0.75; 4]));
            assert_close("f32 d_logits", &widen(&run_vjp(&values::<f32>(4 * c, 1), &targets, 0.75)), &d, SINGLE);
        }
    }

    #[test]
    fn large_logits_are_exact_to_rounding() {
        for shift in [1e4f32, -1e4, 3e38, -3e38] {
            assert_eq!(run(&[shift, shift], &[1]), [core::f32::consts::LN_2]);
            assert_eq!(run_vjp(&[shift, shift], &[1], 2.0), [1.0, -1.0]);
        }
        assert_eq!(run(&[500.0f32, -500.0], &[1]), [1000.0]);
        assert_eq!(run(&[500.0f32, -500.0], &[0]), [0.0]);
        assert_eq!(run_vjp(&[500.0f32, -500.0], &[1], 1.0), [1.0, -1.0]);
    }

    #[test]
    fn infinities_and_nan_are_as_documented() {
        assert_eq!(run(&[-INF, 0.0, 0.0], &[1]), [core::f32::consts::LN_2]);
        assert_eq!(run(&[-INF, 0.0, 0.0], &[0]), [INF]);
        assert_eq!(run_vjp(&[-INF, 0.0, 0.0], &[0], 1.0), [-1.0, 0.5, 0.5]);
        for bad in [[f32::NAN, 0.0, 1.0], [0.0, 1.0, INF], [-INF; 3]] {
            assert!(run(&bad, &[1])[0].is_nan(), "{bad:?}");
            assert!(run_vjp(&bad, &[1], 1.0).iter().all(|d| d.is_nan()), "{bad:?}");
            assert_eq!(run(&bad, &[IGNORE]), [0.0]);
            assert_eq!(run_vjp(&bad, &[IGNORE], 1.0), [0.0; 3]);
        }
    }

    #[test]
    fn bad_targets_and_sizes_are_errors_and_change_nothing() {
        let (x, mut y) = ([1.0f32; 6], [7.0f32; 6]);
        let m = Mat::new(&x, 2, 3).unwrap();
        for bad in [3, IGNORE - 1] {
            let e = Err(Error::Range { what: "targets", index: 1 });
            assert_eq!(forward(&Portable, m, &[0, bad], &mut y[..2]), e);
            assert_eq!(vjp(&Portable, m, &[IGNORE, bad], 1.0, MatMut::new(&mut y, 2, 3).unwrap()), e);
        }
        assert!(forward(&Portable, m, &[0], &mut y[..1]).is_err());
        assert!(forward(&Portable, m, &[0, 1], &mut y[..1]).is_err());
        assert!(forward(&Portable, m.t(), &[0, 1, 0], &mut y[..3]).is_err());
        assert!(vjp(&Portable, m, &[0, 1], 1.0, MatMut::new(&mut y, 3, 2).unwrap()).is_err());
        assert_eq!(y, [7.0; 6]);
        forward(&Portable, Mat::new(&x[..0], 2, 0).unwrap(), &[IGNORE; 2], &mut y[..2]).unwrap();
        assert_eq!(y[..3], [0.0, 0.0, 7.0]);
    }
}
