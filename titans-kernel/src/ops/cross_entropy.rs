//! Cross entropy of rows of logits against one target class each, in nats, by log-sum-exp.
//!
//! `loss = ln Σ_j e^{x_j − m} + (m − x_target)` with m the row's largest logit, so logits of any finite size are
//! exact to rounding. A logit of −∞ is a class that cannot happen: it adds nothing, and as the target it costs +∞
//! (with a finite gradient). A NaN or +∞ anywhere in a row, or a row of −∞ alone, makes the row's loss and its whole
//! gradient NaN. Rows whose target is [`IGNORE`] are not read: their loss and gradient are 0.

use super::rows::{expect_rows, max, sum_by};
use crate::error::{Error, Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Target of a row that has none: its loss and gradient are 0.
pub const IGNORE: u32 = u32::MAX;

/// Every target is a class or [`IGNORE`].
fn expect_targets(targets: &[u32], classes: usize) -> Result<()> {
    let wrong = |&t: &u32| t != IGNORE && usize::try_from(t).map_or(true, |t| t >= classes);
    match targets.iter().position(wrong) {
        Some(index) => Err(Error::Value { what: "targets", index }),
        None => Ok(()),
    }
}

/// `losses[r] = −ln softmax(logits[r])[targets[r]]`; logits `[n, classes]`, targets and losses `[n]`.
///
/// # Errors
/// [`Error::Shape`] when the sizes disagree or the logits' columns are not neighbours; [`Error::Value`] with the
/// index of the first target that is neither a class nor [`IGNORE`]. `losses` is not touched then.
pub fn forward<T: Scalar, G: Gemm<T>>(g: &G, logits: Mat<'_, T>, targets: &[u32], losses: &mut [T]) -> Result<()> {
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
                *loss = sum.ln() + (m - row[target as usize]);
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`] for the cotangent `scale` of every row, overwritten:
/// `d_logits[r] = scale (softmax(logits[r]) − one-hot(targets[r]))`.
///
/// # Errors
/// As [`forward`]; `d_logits` is not touched then.
pub fn vjp<T: Scalar, G: Gemm<T>>(
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
                let share = scale
                    / sum_by(
                        d,
                        #[inline(always)]
                        |e| e,
                    );
                for d in d.iter_mut() {
                    *d *= share;
                }
                d[target as usize] -= scale;
            }
        },
    );
    Ok(())
}
