//! A batch as a model sees it: what every target costs, and the logits in front of it.

use crate::Result;
use crate::device::Device;
use crate::model::{Input, Mode, Model};
use crate::tape::Tape;
use crate::train::task::Batch;
use std::sync::Arc;
use titans_kernel::Scalar;

/// Losses in nats, token by token (0 where no target is), and the logits, `[tokens, vocabulary]`. Nothing is learned.
///
/// # Errors
/// What the device reports.
pub(super) fn losses_and_logits<D: Device>(
    device: &D,
    model: &Model<D>,
    batch: &Batch,
    mode: Mode,
) -> Result<(Vec<f64>, Vec<D::Elem>)> {
    let ids = Arc::new(device.upload_indices(&batch.ids)?);
    let targets = Arc::new(device.upload_indices(&batch.targets)?);
    let mut tape = Tape::inference(device, &model.params);
    let forward = model.forward(&mut tape, Input { mode, ..Input::new(&ids, batch.batch, batch.time) })?;
    let losses = tape.cross_entropy(model.config().vocabulary, &forward.logits, &targets)?;
    let losses = device.download(losses.buffer())?.iter().map(|x| x.to_f64()).collect();
    Ok((losses, device.download(forward.logits.buffer())?))
}
