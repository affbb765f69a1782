//! A training step as one launch: recorded once for its sizes, and replayed.
//!
//! A step of sizes that are new runs launch after launch, and what it enqueues is noted ([`Watch`]). The next one of
//! these sizes is recorded. If it enqueued the same, the recording runs, then and from then on; else the step runs as
//! the first one did, with the same bits: an operation whose arguments change in a way that nobody declared is never
//! replayed.

use super::arena::Arena;
use super::buffer::{BYTES, DeviceBuffer};
use super::driver::{Address, Arg, Driver, Recording};
use super::probe::failed;
use super::product::args;
use super::sent::{BlockPart, SentBlock};
use super::watch::{Bound, StepNumbers, Watch};
use super::{Cuda, DeviceIndices};
use crate::device::optimiser::Update;
use crate::device::{AdamW, ClippedBy, RepeatedStep};
use crate::error::Result;
use std::sync::Arc;
use titans_kernel::error::expect_len;

/// Recordings that are kept; steps of other sizes run launch after launch.
const MOST: usize = 8;
/// Recordings of one step that were replayed never, before it is not recorded any more.
const TRIES: u32 = 3;

/// Places of a step's numbers ([`StepNumbers::at`]).
const LOSS_SCALE: usize = 0;
const ROW: usize = 1;
const GRADIENT_SCALE: usize = 2;
const CORRECTIONS: usize = 3;
const RATES: usize = 5;

/// What a device keeps for the owner of steps that it repeats.
#[derive(Debug)]
pub struct RecordedSteps<R: Driver> {
    block: Option<DeviceBuffer<R>>,
    steps: Vec<StepOfSizes<R>>,
}

impl<R: Driver> Default for RecordedSteps<R> {
    fn default() -> Self {
        Self { block: None, steps: Vec::new() }
    }
}

/// Steps of equal sizes.
#[derive(Debug)]
struct StepOfSizes<R: Driver> {
    sizes: Vec<u64>,
    /// What the last one enqueued.
    digest: Option<u64>,
    recorded: Option<RecordedStep<R>>,
    /// Recordings since the last replay.
    tries: u32,
}

/// A recording, and on whose memory it works.
#[derive(Debug)]
struct RecordedStep<R: Driver> {
    machine: Arc<Arena<R>>,
    recording: Recording,
    /// Memory that it took and gave back, with its bytes: nobody may have it when the step is replayed.
    scratch: Vec<(Address, usize)>,
    /// Memory that others had, and whose it was: they must have it still.
    fixed: Vec<(Address, u64)>,
    bounds: Vec<(Address, Bound)>,
    /// What it takes from the block.
    parts: Vec<BlockPart>,
}

impl<R: Driver> Drop for RecordedStep<R> {
    fn drop(&mut self) {
        // SAFETY: made by this machine, and given up once.
        unsafe { self.machine.forget(self.recording) };
    }
}

/// What may be done with a recording now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// All is where it was.
    Ready,
    /// Somebody has its scratch, or an id is no row of its table: not this time.
    Waits,
    /// It works on memory that is gone.
    Stale,
}

impl<R: Driver> RecordedStep<R> {
    fn standing(&self, sent: &SentBlock<'_, R>) -> Standing {
        let within = |&(at, bound): &(Address, Bound)| {
            let found = sent.indices.iter().find(|indices| indices.place() == at);
            found.is_some_and(|indices| indices.keeps(bound))
        };
        match self.machine.has(&self.fixed, &self.scratch) {
            (false, _) => Standing::Stale,
            _ if self.parts != sent.parts => Standing::Stale,
            (true, false) => Standing::Waits,
            (true, true) if self.bounds.iter().all(within) => Standing::Ready,
            (true, true) => Standing::Waits,
        }
    }

    fn replay(&self) -> Result<()> {
        // SAFETY: `standing` found all memory that the recording works on where it was, and its scratch idle.
        unsafe { self.machine.replay(self.recording) }
    }
}

impl<R: Driver> StepOfSizes<R> {
    /// Whether the recording ran in the step's place. One that the machine refuses is not tried again.
    fn replayed(&mut self, sent: &SentBlock<'_, R>) -> bool {
        let Some(step) = &self.recorded else { return false };
        match step.standing(sent) {
            Standing::Waits => return false,
            Standing::Stale => self.recorded = None,
            Standing::Ready => match step.replay() {
                Ok(()) => {
                    self.tries = 0;
                    return true;
                }
                Err(_) => (self.recorded, self.tries) = (None, TRIES),
            },
        }
        false
    }
}

/// The steps of these sizes, if they may be recorded.
fn of_sizes<'k, R: Driver>(steps: &'k mut Vec<StepOfSizes<R>>, sizes: &[u64]) -> Option<&'k mut StepOfSizes<R>> {
    let found = steps.iter().position(|step| step.sizes == sizes);
    if found.is_none() && steps.len() < MOST {
        steps.push(StepOfSizes { sizes: sizes.to_vec(), digest: None, recorded: None, tries: 0 });
        return steps.last_mut();
    }
    steps.get_mut(found?)
}

impl<R: Driver> Cuda<R> {
    pub(super) fn replay_or_run(
        &self,
        kept: &mut RecordedSteps<R>,
        step: &RepeatedStep<'_, DeviceIndices<R>>,
        work: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let RecordedSteps { block, steps } = kept;
        let sent = SentBlock::new(&self.driver, block, numbers_of(step), step.indices)?;
        let Some(same) = of_sizes(steps, step.sizes) else { return self.watched(&sent, work).map(drop) };
        if same.replayed(&sent) {
            return Ok(());
        }
        if let Some(digest) = same.digest.filter(|_| same.recorded.is_none() && same.tries < TRIES) {
            same.tries += 1;
            same.recorded = self.recorded(&sent, digest, work);
            if same.recorded.as_ref().is_some_and(|step| step.replay().is_ok()) {
                return Ok(());
            }
            same.recorded = None;
        }
        same.digest = Some(self.watched(&sent, work)?);
        Ok(())
    }

    /// Runs a step; what it enqueued.
    fn watched(&self, sent: &SentBlock<'_, R>, work: &mut dyn FnMut() -> Result<()>) -> Result<u64> {
        sent.spread().inspect_err(|_| sent.mark(true))?;
        *self.driver.watch() = Some(Watch::new(sent.numbers.clone(), false));
        let done = work();
        let watch = self.driver.watch().take();
        done.map(|()| watch.map_or(0, |watch| watch.digest()))
    }

    /// Records a step, which does not run. Nothing where it cannot be repeated: it waits for the host, takes memory
    /// that is not there, or enqueues something else than the time before.
    fn recorded(
        &self,
        sent: &SentBlock<'_, R>,
        digest: u64,
        work: &mut dyn FnMut() -> Result<()>,
    ) -> Option<RecordedStep<R>> {
        self.driver.begin_recording().ok()?;
        // Before the watch begins: which whole numbers come in the block is no part of the digest.
        let spread = sent.spread();
        let mut watch = Watch::new(sent.numbers.clone(), true);
        watch.places.extend(sent.places());
        *self.driver.watch() = Some(watch);
        let done = spread.and_then(|()| work());
        let watch = self.driver.watch().take();
        let recording = self.driver.end_recording();
        let (watch, recording) = (watch?, recording.ok()?);
        let (fixed, scratch) = self.driver.owners(&watch);
        let (machine, bounds, parts) = (self.driver.clone(), watch.bounds.clone(), sent.parts.clone());
        let step = RecordedStep { machine, recording, scratch, fixed, bounds, parts };
        (done.is_ok() && watch.obstacle.is_none() && watch.digest() == digest).then_some(step)
    }

    /// A factor that is the step's cotangent of every loss, by its value, or by its place where the step is repeated.
    pub(super) fn loss_scale(&self, scale: f64) -> (f32, Address) {
        let scale = scale as f32;
        let place = self.driver.watch().as_mut().and_then(|watch| watch.number(LOSS_SCALE, scale));
        place.map_or((scale, 0), |at| (0.0, at))
    }

    /// Whether a step is being repeated.
    pub(super) fn in_repeated_step(&self) -> bool {
        self.driver.watch().is_some()
    }

    /// Notes what whole numbers are held against.
    pub(super) fn bounded(&self, indices: &DeviceIndices<R>, bound: Bound) {
        if let Some(watch) = &mut *self.driver.watch() {
            watch.bounds.push((indices.place(), bound));
        }
    }

    /// AdamW, the gradients scaled by what the device finds; a loss or a norm that is not finite changes nothing.
    pub(super) fn adamw_scaled(
        &self,
        by: ClippedBy<'_, DeviceBuffer<R>>,
        updates: &[Update<'_, DeviceBuffer<R>>],
    ) -> Result<()> {
        let ClippedBy { clip, loss, squares, report } = by;
        let rows = (report.len() / 2).max(1);
        for (what, expected, x) in [("loss", 1, loss), ("squares", 1, squares), ("report", 2 * rows, &*report)] {
            expect_len(what, expected, x.len())?;
        }
        let Some(at) = self.step_numbers(updates) else {
            return Err(failed("gradients are scaled on the device in a repeated step alone, by its numbers"));
        };
        let place = |i: usize| at + (i * BYTES) as u64;
        let bits = clip.to_bits() as i64;
        let [row, scale] = [ROW, GRADIENT_SCALE].map(|i| Arg::Address(place(i)));
        let args = args![bits, rows, loss, squares, row, scale, report];
        self.launch("clip_scale", 1, args)?;
        self.adamw_many(updates, Some([place(GRADIENT_SCALE), place(RATES)]))
    }

    /// Where the step's numbers are, if its updates are those that were declared.
    fn step_numbers(&self, updates: &[Update<'_, DeviceBuffer<R>>]) -> Option<Address> {
        let steps: Vec<AdamW> = updates.iter().map(|u| *u.step).collect();
        let mut watch = self.driver.watch();
        let StepNumbers { at, values } = &watch.as_mut()?.numbers;
        let same = values.get(CORRECTIONS..).is_some_and(|values| {
            let wanted = rates_of(&steps);
            values.len() == wanted.len() && values.iter().zip(&wanted).all(|(a, b)| a.to_bits() == b.to_bits())
        });
        same.then_some(*at)
    }
}

/// The numbers of a step in their order.
fn numbers_of<I>(step: &RepeatedStep<'_, I>) -> Vec<f32> {
    let mut values = vec![step.loss_scale as f32, step.row as f32, f32::NAN];
    values.extend(rates_of(step.updates));
    values
}

/// Corrections of the moments, and of each parameter its rate and its decay, rounded as arguments are.
fn rates_of(updates: &[AdamW]) -> Vec<f32> {
    let corrections = updates.first().map_or([1.0; 2], |step| step.corrections().map(|x| x as f32));
    let rates = updates.iter().flat_map(|step| step.rates().map(|x| x as f32));
    corrections.into_iter().chain(rates).collect()
}
