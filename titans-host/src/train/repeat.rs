//! Steps that the device records once and enqueues as one from then on ([`Device::repeat`]): nothing in them waits for
//! the host, which uploads a batch and its numbers before, and reads the loss and the norm behind.

use super::config::RunConfig;
use super::given::IdsOrNumbers;
use super::optimiser::Optimiser;
use super::parts::{StepParts, Stepping};
use super::ranks::Collective;
use crate::device::{ClippedBy, Device, RepeatedStep};
use crate::error::Result;
use crate::model::Model;
use crate::tape::Gradients;
use titans_kernel::Scalar;

/// What the steps of a run leave for one another where they are repeated.
pub(super) struct RepeatedSteps<D: Device> {
    kept: D::RecordedSteps,
    /// The loss and the gradients' sum of squares.
    report: Option<D::Buffer>,
}

/// What one works on.
pub(super) struct RepeatedWork<'s, D: Device> {
    pub(super) device: &'s D,
    pub(super) ranks: &'s dyn Collective,
    pub(super) config: &'s RunConfig,
    /// Steps done before it.
    pub(super) number: u64,
    pub(super) learning_rate: f64,
    /// Tokens that are scored.
    pub(super) scored: u64,
}

impl<D: Device> RepeatedSteps<D> {
    pub(super) fn new() -> Self {
        Self { kept: D::RecordedSteps::default(), report: None }
    }

    /// A whole step; the sum of its losses and the gradients' norm. Where one of them is not finite, no parameter has
    /// changed.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn step(
        &mut self,
        work: &RepeatedWork<'_, D>,
        parts: &mut StepParts<D>,
        gradients: &mut Gradients<D>,
        optimiser: &mut Optimiser<D>,
        model: &mut Model<D>,
    ) -> Result<(f64, f64)> {
        let &RepeatedWork { device, ranks, config, number, learning_rate, scored } = work;
        let given = parts.put(device)?;
        optimiser.begin(learning_rate, 1.0, &model.params);
        let updates = optimiser.constants_of_each().to_vec();
        let [_, wanted] = &given;
        let step = RepeatedStep {
            sizes: &parts.sizes(),
            indices: &IdsOrNumbers::indices(&given),
            loss_scale: wanted.unit() / scored as f64,
            updates: &updates,
        };
        let Self { kept, report } = self;
        let report = match report {
            Some(report) => report,
            None => report.insert(device.zeros(2)?),
        };
        device.repeat(kept, &step, &mut || {
            let step = Stepping { device, ranks, config, model: &*model, number, accuracy: false };
            let loss = parts.alone(&step, scored, &given, gradients)?;
            let mut squares = device.zeros(1)?;
            gradients.add_squares(device, &mut squares)?;
            let by = ClippedBy { clip: optimiser.constants.clip, loss: &loss, squares: &squares, report: &mut *report };
            device.adamw_clipped(by, optimiser.updates(gradients, &mut model.params))
        })?;
        let mut read = [D::Elem::ZERO; 2];
        device.read(&*report, &mut read)?;
        let [loss, norm] = [read[0].to_f64(), read[1].to_f64().sqrt()];
        if loss.is_finite() && norm.is_finite() {
            optimiser.steps += 1;
        }
        Ok((loss, norm))
    }
}
