//! A training step that a device may record once and enqueue as one from then on.

use super::AdamW;
use crate::error::Error;

/// What a step works on that is not in the buffers it always has, so that a device knows a recorded step again and can
/// give it this step's numbers. Two steps of one owner with equal sizes enqueue the same operations on the same
/// parameters, gradients and moments; only the content of buffers and what stands here differs.
#[derive(Debug)]
pub struct RepeatedStep<'a, I> {
    /// Whatever the operations' sizes follow from.
    pub sizes: &'a [u64],
    /// Ids, targets and lengths that the step reads; they may be others in the place of those before.
    pub indices: &'a [&'a I],
    /// The cotangent of every loss.
    pub loss_scale: f64,
    /// Which row of the report ([`ClippedBy::report`]) is this step's.
    pub row: usize,
    /// The constants of each parameter's update, in the order of
    /// [`Device::adamw_clipped`](super::Device::adamw_clipped)'s. What scales the gradient is found on the device.
    pub updates: &'a [AdamW],
}

/// How [`Device::adamw_clipped`](super::Device::adamw_clipped) scales gradients.
#[derive(Debug)]
pub struct ClippedBy<'a, B> {
    /// Largest norm of all gradients together; infinite: none is too large.
    pub clip: f64,
    /// The sum of the step's losses, one number.
    pub loss: &'a B,
    /// The sum of the gradients' squares, one number.
    pub squares: &'a B,
    /// Where both are left for the host, rows of two numbers, the loss first: [`RepeatedStep::row`] says in which, and
    /// behind the last row the first one follows. Where the row before has a number that is not finite, a step in
    /// any row but number 0 changes nothing, and leaves such numbers too: so several steps may be enqueued before
    /// the first one's row is read.
    pub report: &'a mut B,
}

/// The error of a device that has no such update.
pub(super) fn no_repeat(describe: &str) -> Error {
    Error::usage(format!("{describe} repeats no steps"))
}
