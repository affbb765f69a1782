//! Steps that the device records once and enqueues as one from then on ([`Device::repeat`]): nothing in them waits for
//! the host, which uploads a batch and its numbers before, and reads losses and norms behind, of several steps at once.

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

/// Steps whose losses may wait on the device.
pub(super) const MOST_UNREAD: usize = 16;

/// What the steps of a run leave for one another where they are repeated.
pub(super) struct RepeatedSteps<D: Device> {
    kept: D::RecordedSteps,
    /// A row a step that was not read: the loss and the gradients' sum of squares.
    report: Option<D::Buffer>,
    /// Rows that were not read.
    unread: usize,
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
        Self { kept: D::RecordedSteps::default(), report: None, unread: 0 }
    }

    /// A whole step, whose loss and norm wait to be read, those of at most [`MOST_UNREAD`] steps. Where one of them is
    /// not finite, neither this step nor one behind it has changed a parameter.
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
    ) -> Result<()> {
        let &RepeatedWork { device, ranks, config, number, learning_rate, scored } = work;
        let given = parts.put(device)?;
        optimiser.begin(learning_rate, 1.0, &model.params);
        let updates = optimiser.constants_of_each().to_vec();
        let [_, wanted] = &given;
        let step = RepeatedStep {
            sizes: &parts.sizes(),
            indices: &IdsOrNumbers::indices(&given),
            loss_scale: wanted.unit() / scored as f64,
            row: self.unread,
            updates: &updates,
        };
        let Self { kept, report, unread } = self;
        let report = match report {
            Some(report) => report,
            None => report.insert(device.zeros(2 * MOST_UNREAD)?),
        };
        device.repeat(kept, &step, &mut || {
            let step = Stepping { device, ranks, config, model: &*model, number, accuracy: false };
            let loss = parts.alone(&step, scored, &given, gradients)?;
            let mut squares = device.zeros(1)?;
            gradients.add_squares(device, &mut squares)?;
            let by = ClippedBy { clip: optimiser.constants.clip, loss: &loss, squares: &squares, report: &mut *report };
            device.adamw_clipped(by, optimiser.updates(gradients, &mut model.params))
        })?;
        *unread += 1;
        optimiser.steps += 1;
        Ok(())
    }

    /// The sums of losses and the gradients' norms of the steps since the last call.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn read(&mut self, device: &D) -> Result<Vec<[f64; 2]>> {
        let Some(report) = self.report.as_ref().filter(|_| self.unread > 0) else { return Ok(Vec::new()) };
        let mut rows = vec![D::Elem::ZERO; 2 * MOST_UNREAD];
        device.read(report, &mut rows)?;
        let unread = std::mem::take(&mut self.unread);
        Ok(rows.chunks_exact(2).take(unread).map(|row| [row[0].to_f64(), row[1].to_f64().sqrt()]).collect())
    }
}
