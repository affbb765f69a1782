//! The parts of a step's batch that this process computes: their sequences, losses and gradients.
//!
//! Every part's gradient begins at 0, and the sum adds them in the order of the parts: what one process adds, several
//! add to the same bits ([`super::ranks`]).

use super::config::RunConfig;
use super::given::IdsOrNumbers;
use super::ranks::sum::{BUCKET, GradientSum};
use super::ranks::{Collective, parts_of, share};
use super::task::{Batch, Task};
use super::trainer::predicted;
use crate::device::Device;
use crate::model::{Aim, Dropout, Input, Model, Recompute};
use crate::tape::{Gradients, HearGradient, Losses, ParamId, Shared, Tape, Var, Workspace};
use crate::{Error, Result};
use std::fmt;
use std::sync::Arc;
use titans_kernel::Scalar;

/// What a step leaves for the next one, so that it takes nothing from the heap.
pub(super) struct StepParts<D: Device> {
    parts: Vec<BatchPart<D>>,
    sum: SumOf<D>,
    space: PartSpace<D>,
}

/// One part of the step's batch.
struct BatchPart<D: Device> {
    /// Among the parts of all processes.
    number: u64,
    batch: Batch,
    /// The sum of its losses, on the device.
    loss: Option<D::Buffer>,
    /// How many tokens were predicted.
    correct: u64,
}

/// How the gradients of the parts become one.
enum SumOf<D: Device> {
    /// There is one part, and its gradient is the sum.
    One,
    /// One process has all of them: the next one is computed here, and added.
    Own(Gradients<D>),
    /// Several processes have them.
    All(GradientSum<D::Elem>),
}

struct PartSpace<D: Device> {
    tape: Workspace<D>,
    recompute: Recompute<D>,
    /// What a part reads, and what it should say.
    given: Option<[IdsOrNumbers<D>; 2]>,
    logits: Vec<D::Elem>,
}

/// What a step computes with.
pub(super) struct Stepping<'s, D: Device> {
    pub(super) device: &'s D,
    pub(super) ranks: &'s dyn Collective,
    pub(super) config: &'s RunConfig,
    pub(super) model: &'s Model<D>,
    /// Steps done before it.
    pub(super) number: u64,
    /// Whether predicted tokens are counted.
    pub(super) accuracy: bool,
}

/// Tokens of a step, over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) scored: u64,
    pub(super) tokens: u64,
}

impl<D: Device> StepParts<D> {
    /// Space for the parts of a process.
    ///
    /// # Errors
    /// As [`parts_of`]; what the device reports.
    pub(super) fn new(device: &D, config: &RunConfig, model: &Model<D>, ranks: &dyn Collective) -> Result<Self> {
        let all = config.train.accumulate;
        let part = |number| BatchPart { number, batch: Batch::default(), loss: None, correct: 0 };
        let parts: Vec<_> = parts_of(ranks, all)?.map(part).collect();
        let sum = match (ranks.size(), all) {
            (1, 1) => SumOf::One,
            (1, _) => SumOf::Own(Gradients::zeros_like(device, &model.params)?),
            (size, _) => {
                let lens = model.params.iter().map(|p| device.len(p.value));
                SumOf::All(GradientSum::new(lens, size, BUCKET))
            }
        };
        let (tape, recompute) = (Workspace::new(), Recompute::new());
        Ok(Self { parts, sum, space: PartSpace { tape, recompute, given: None, logits: Vec::new() } })
    }

    /// Draws this process's parts of a step's batch.
    ///
    /// # Errors
    /// What the task and the other processes report.
    pub(super) fn draw(&mut self, task: &dyn Task<D>, step: u64, ranks: &dyn Collective) -> Result<Drawn> {
        let mut mine = [0, 0];
        for BatchPart { number, batch, .. } in &mut self.parts {
            task.batch(step, *number, batch)?;
            batch.validate()?;
            mine = [mine[0] + batch.scored() as u64, mine[1] + batch.tokens() as u64];
        }
        let add = |sum: Drawn, &[scored, tokens]: &[u64; 2]| Drawn {
            scored: sum.scored.saturating_add(scored),
            tokens: sum.tokens.saturating_add(tokens),
        };
        match ranks.size() {
            1 => Ok(add(Drawn::default(), &mine)),
            _ => Ok(share::counts(ranks, mine)?.iter().fold(Drawn::default(), add)),
        }
    }

    /// Gradients of the mean loss over all parts; that loss, and how many tokens were predicted. The mean is a sum over
    /// the parts of their losses / scored, so its gradient is the sum of theirs, added in the order of the parts.
    ///
    /// # Errors
    /// What the device and the other processes report.
    pub(super) fn backward(
        &mut self,
        step: &Stepping<'_, D>,
        scored: u64,
        gradients: &mut Gradients<D>,
    ) -> Result<(f64, u64)> {
        let Self { parts, sum, space } = self;
        let (device, ranks, all) = (step.device, step.ranks, step.config.train.accumulate);
        let (size, rounds) = (ranks.size() as u64, all.div_ceil(ranks.size() as u64));
        let mut own = parts.iter_mut();
        for round in 0..rounds {
            match (&mut *sum, own.next()) {
                (SumOf::All(sum), part) => {
                    if let Some(part) = part {
                        let mut hear =
                            |id: ParamId, gradient: &D::Buffer| sum.ready(device, ranks, id.index(), gradient);
                        space.of_part(step, part, scored, gradients, Some(&mut hear))?;
                    }
                    sum.add(device, ranks, gradients, (all - round * size).min(size) as usize)?;
                }
                (SumOf::Own(spare), Some(part)) if round > 0 => {
                    space.of_part(step, part, scored, spare, None)?;
                    gradients.add(device, spare)?;
                }
                (_, Some(part)) => space.of_part(step, part, scored, gradients, None)?,
                (_, None) => {}
            }
        }
        if let SumOf::All(sum) = sum {
            sum.finish(device, ranks, gradients)?;
        }
        self.losses(step, rounds)
    }

    /// Whether a device can repeat the step: it has one part, in one process, which reads nothing on the way and drops
    /// nothing, as masks are each step's own.
    pub(super) fn can_be_repeated(&self, config: &RunConfig) -> bool {
        let plain = |part: &BatchPart<D>| part.batch.before.is_empty();
        matches!(self.sum, SumOf::One) && config.train.dropout == 0.0 && self.parts.iter().all(plain)
    }

    /// Sizes of the parts that were drawn.
    pub(super) fn sizes(&self) -> Vec<u64> {
        let of = |Batch { ids, rows, targets, wanted, weights, lengths, batch, time, .. }: &Batch| {
            let lens = [ids.len(), targets.len(), lengths.len(), rows.len(), wanted.len(), weights.len()];
            lens.into_iter().chain([*batch, *time]).map(|len| len as u64).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(|part| of(&part.batch)).collect()
    }

    /// What the only part that was drawn reads and should say, on the device.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn put(&mut self, device: &D) -> Result<[IdsOrNumbers<D>; 2]> {
        let Self { parts, space, .. } = self;
        let batch = &parts.first().ok_or_else(no_part)?.batch;
        IdsOrNumbers::both(device, &mut space.given, batch)
    }

    /// Gradients of the only part; the sum of its losses, on the device.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn alone(
        &mut self,
        step: &Stepping<'_, D>,
        scored: u64,
        given: &[IdsOrNumbers<D>; 2],
        gradients: &mut Gradients<D>,
    ) -> Result<D::Buffer> {
        let Self { parts, space, .. } = self;
        let part = parts.first_mut().ok_or_else(no_part)?;
        space.backward(step, part, given, scored, gradients, None)?;
        part.loss.take().ok_or_else(no_part)
    }

    /// The sum of the losses of all parts, and how many tokens were predicted, added in the order of the parts.
    fn losses(&mut self, step: &Stepping<'_, D>, rounds: u64) -> Result<(f64, u64)> {
        let (mut loss, mut correct) = (0.0, 0u64);
        for round in 0..rounds as usize {
            let mut mine = [0.0f64.to_bits(), 0];
            if let Some(part) = self.parts.get_mut(round)
                && let Some(sum) = part.loss.take()
            {
                let mut read = [D::Elem::ZERO];
                step.device.read(&sum, &mut read)?;
                mine = [read[0].to_f64().to_bits(), part.correct];
            }
            let mut add = |&[sum, right]: &[u64; 2]| {
                loss += f64::from_bits(sum);
                correct = correct.saturating_add(right);
            };
            match step.ranks.size() {
                1 => add(&mine),
                // Those without a part in the last round add 0.
                _ => share::counts(step.ranks, mine)?.iter().for_each(add),
            }
        }
        Ok((loss, correct))
    }
}

impl<D: Device> PartSpace<D> {
    /// [`PartSpace::backward`] of a part as it was drawn.
    fn of_part(
        &mut self,
        step: &Stepping<'_, D>,
        part: &mut BatchPart<D>,
        scored: u64,
        gradients: &mut Gradients<D>,
        hear: Option<HearGradient<'_, D>>,
    ) -> Result<()> {
        let given = IdsOrNumbers::both(step.device, &mut self.given, &part.batch)?;
        self.backward(step, part, &given, scored, gradients, hear)
    }

    /// The gradient of one part's share of the mean loss, whatever `gradients` held; its losses go to the part.
    /// Gradients that are done are told of on the way, but where blocks are computed again.
    fn backward(
        &mut self,
        step: &Stepping<'_, D>,
        part: &mut BatchPart<D>,
        [read, wanted]: &[IdsOrNumbers<D>; 2],
        scored: u64,
        gradients: &mut Gradients<D>,
        hear: Option<HearGradient<'_, D>>,
    ) -> Result<()> {
        let &Stepping { device, model, config, number: of, accuracy, .. } = step;
        let Self { tape: space, recompute, logits, .. } = self;
        let (classes, boundaries) = (config.model.said(), config.train.boundaries);
        let BatchPart { number, batch: part, loss, correct } = part;
        let mut total = device.zeros(1)?;
        *correct = 0;
        gradients.clear(device)?;
        let dropout = Dropout::new(config.train.dropout, config.train.seed, of, *number)?;
        // Forgotten is how they came about: no gradient goes there.
        let start = before(device, model, space, part)?;
        let input = Input { dropout, start: &start, ..Input::of(read.source(), part.batch, part.time) };
        let (targets, unit) = (wanted.targets(), wanted.unit());
        let scale = unit / scored as f64;
        let mut see = |x: &Var<D>, losses: &Losses<D>| {
            if unit == 1.0 {
                device.sum(losses.buffer(), &mut total)?;
            } else {
                let mut sum = device.zeros(1)?;
                device.sum(losses.buffer(), &mut sum)?;
                device.add_scaled(unit, &sum, &mut total)?;
            }
            if accuracy {
                logits.resize(device.len(x.buffer()), D::Elem::ZERO);
                device.read(x.buffer(), logits)?;
                *correct = predicted(logits, classes, &part.targets);
            }
            Ok(())
        };
        if config.train.recompute {
            let aim = Aim { targets, scale, boundaries };
            model.backward_recomputed(device, recompute, &input, aim, gradients, see)?;
        } else {
            let mut tape = Tape::recording_in(device, &model.params, space);
            tape.keep_boundaries(boundaries);
            let forward = model.forward(&mut tape, input)?;
            let losses = model.loss(&mut tape, &forward.logits, targets)?;
            see(&forward.logits, &losses)?;
            drop(forward);
            match hear {
                Some(hear) => tape.backward_heard(&losses, scale, gradients, hear)?,
                None => tape.backward(&losses, scale, gradients)?,
            }
        }
        *loss = Some(total);
        Ok(())
    }
}

/// The memories after the tokens before a part's sequences; none where they begin at w0.
fn before<D: Device>(device: &D, model: &Model<D>, space: &mut Workspace<D>, part: &Batch) -> Result<Vec<Shared<D>>> {
    if part.before.is_empty() {
        return Ok(Vec::new());
    }
    let ids = Arc::new(device.upload_indices(&part.before)?);
    let mut tape = Tape::inference_in(device, &model.params, space);
    let input = Input { states: true, ..Input::new(&ids, part.batch, part.time) };
    Ok(model.forward(&mut tape, input)?.states)
}

/// A process has a part of every step.
fn no_part() -> Error {
    Error::usage("a step of no part")
}

impl<D: Device> fmt::Debug for StepParts<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepParts").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}
