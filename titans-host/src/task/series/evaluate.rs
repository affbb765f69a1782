//! How well a model predicts a series, in windows with fresh memories.

use crate::device::Device;
use crate::error::counted;
use crate::model::{Head, Input, Mode, Model, Source, Targets};
use crate::tape::{Shared, Tape};
use crate::train::Interrupt;
use crate::train::task::{Batch, Load};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use titans_kernel::Scalar;

/// Patches that an evaluation runs at once, at least one window.
const AT_ONCE: usize = 8192;

/// How well a model predicts a series, in standardised units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesTotals {
    /// Patches predicted.
    pub patches: u64,
    /// Mean square of the predictions' errors.
    pub mean_squared_error: f64,
    /// The same of predicting that the next patch is the last one: what a prediction is worth anything against.
    pub unchanged: f64,
}

/// Evaluates `model` on standardised `numbers` in windows of `window` patches with fresh memories each, 0 for one; at
/// most `most` windows, spread evenly. Numbers after the last whole patch are left out; the first patch of a window is
/// not predicted, but the next window begins with the last patch of the one before.
///
/// # Errors
/// [`Error::Usage`] for fewer than 2 patches or a model that does not read such patches; [`Error::Diverged`] naming the
/// first patch whose prediction is not finite; what the device reports.
pub fn evaluate<D: Device>(
    device: &D,
    model: &Model<D>,
    numbers: &[f64],
    windows: (usize, usize),
    mode: Mode,
) -> Result<SeriesTotals> {
    let (totals, diverged) = run(device, model, numbers, windows, mode, &Interrupt::new())?;
    diverged.map_or(Ok(totals), |patch| Err(Error::Diverged { position: patch as u64 }))
}

/// The same, finite or not, and the first patch whose error is not.
///
/// # Errors
/// [`Error::Usage`] as [`evaluate`], [`Error::Stopped`] once `interrupt` is raised; what the device reports.
pub(super) fn run<D: Device>(
    device: &D,
    model: &Model<D>,
    numbers: &[f64],
    (window, most): (usize, usize),
    mode: Mode,
    interrupt: &Interrupt,
) -> Result<(SeriesTotals, Option<usize>)> {
    let c = model.config();
    let width = c.inputs;
    if width == 0 || c.outputs != width || c.head != Head::Regression {
        return Err(Error::usage("the model predicts no patches of numbers; it was trained on another task"));
    }
    let fed = (numbers.len() / width).saturating_sub(1);
    if fed == 0 {
        return Err(Error::usage(format!(
            "the series is too short: expected 2 patches of {width} numbers or more, found {}",
            counted(numbers.len(), "number")
        )));
    }
    let window = if window == 0 { fed } else { window.min(fed) };
    let starts: Vec<usize> = (0..fed).step_by(window).collect();
    let kept = most.min(starts.len()).max(1);
    let (mut patches, mut error, mut unchanged, mut diverged) = (0, 0.0, 0.0, None);
    let mut batch = Batch::default();
    let mut left: Vec<usize> = (0..kept).map(|i| starts[i * starts.len() / kept]).collect();
    while let Some(&first) = left.first() {
        interrupt.check()?;
        let time = window.min(fed - first);
        let at_once = (AT_ONCE / time).max(1);
        let now = left.iter().take(at_once).take_while(|&&s| window.min(fed - s) == time).count();
        batch.restart(now, time);
        let firsts: Vec<usize> = left.drain(..now).collect();
        for start in &firsts {
            let part = &numbers[start * width..(start + time + 1) * width];
            batch.rows.extend_from_slice(&part[..time * width]);
            batch.wanted.extend_from_slice(&part[width..]);
        }
        patches += (now * time) as u64;
        let errors = squared_errors(device, model, &batch, mode)?;
        error += errors.iter().sum::<f64>();
        diverged =
            diverged.or_else(|| errors.iter().position(|x| !x.is_finite()).map(|i| firsts[i / time] + i % time + 1));
        let still = batch.rows.iter().zip(&batch.wanted).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
        unchanged += still / width as f64;
    }
    let n = patches as f64;
    Ok((SeriesTotals { patches, mean_squared_error: error / n, unchanged: unchanged / n }, diverged))
}

/// What the largest batch takes of an evaluation of so many numbers, `width` a patch, in such windows.
pub(super) fn load<T: Scalar>(numbers: usize, width: usize, window: usize) -> Load {
    let fed = (numbers / width.max(1)).saturating_sub(1);
    let time = if window == 0 { fed } else { window.min(fed) }.max(1);
    let batch = (AT_ONCE / time).max(1).min(fed / time).max(1);
    // Rows and what is wanted, here and in the device's numbers; losses, and as they are summed.
    let token = 2 * width * (size_of::<f64>() + T::BYTES) + T::BYTES + size_of::<f64>();
    Load { batch, time, surprise: false, host: (batch * time).saturating_mul(token) }
}

/// The mean square of the errors of each of a batch's patches.
fn squared_errors<D: Device>(device: &D, model: &Model<D>, batch: &Batch, mode: Mode) -> Result<Vec<f64>> {
    let upload = |numbers: &[f64]| -> Result<Shared<D>> {
        let numbers: Vec<D::Elem> = numbers.iter().map(|&x| D::Elem::from_f64(x)).collect();
        Ok(Shared::new(device.upload(&numbers)?))
    };
    let (rows, wanted) = (upload(&batch.rows)?, upload(&batch.wanted)?);
    let mut tape = Tape::inference(device, &model.params);
    let input = Input { mode, ..Input::of(Source::Rows(&rows), batch.batch, batch.time) };
    let forward = model.forward(&mut tape, input)?;
    let losses = model.loss(&mut tape, &forward.logits, Targets::Numbers(&wanted))?;
    Ok(device.download(losses.buffer())?.iter().map(|x| x.to_f64()).collect())
}
