//! A run in its folder: `config.toml`, `metrics.jsonl`, `loss.svg`, `latest.safetensors` and `best.safetensors`.

mod validations;

use super::begun::BegunSteps;
use super::checkpoint::{self, BEST, LATEST};
use super::config::RunConfig;
use super::follow::Agreed;
use super::interrupt::Interrupt;
use super::metrics::{self, Metrics, Record};
use super::plot::{self, Curve, Labels};
use super::progress::{Progress, Status};
use super::recent::Recent;
use super::task::Validation;
use super::trainer::Trainer;
use crate::device::{Device, MemoryUse};
use crate::error::counted;
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use titans_kernel::Choice;

/// What a run writes into its folder.
pub const FILES: [&str; 7] = [CONFIG, METRICS, LOSS_PICTURE, LATEST, BEST, RECALL_FILES[0], RECALL_FILES[1]];

/// The file in a run folder with the curves of its losses.
const LOSS_PICTURE: &str = "loss.svg";
/// The files of the recall task's table, and of its picture.
pub const RECALL_FILES: [&str; 2] = ["recall.json", "recall.svg"];
/// The file in a run folder that has its figures.
const METRICS: &str = "metrics.jsonl";

/// The file in a run folder that says what the run is.
pub const CONFIG: &str = "config.toml";

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether it stopped on request, before its end.
    pub interrupted: bool,
    /// Whether it had come to its end before, and nothing was done now: what it ended with is told again.
    pub again: bool,
    /// The checkpoint to continue from.
    pub saved: PathBuf,
    /// Steps done.
    pub step: u64,
    /// Seconds of training, all parts of the run.
    pub seconds: f64,
    /// Tokens read.
    pub tokens: u64,
    /// The thorough validation at the end, its last one; none after an interruption.
    pub validation: Option<Validation>,
    /// Which checkpoint is the best one, and the folder stands for; none while nothing was validated.
    pub best: Option<Best>,
}

/// The checkpoint with the lowest validation loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Best {
    /// Steps done.
    pub step: u64,
    /// The loss of its validation: the cheap one where the run has such, by which checkpoints compare.
    pub loss: f64,
}

/// Makes `folder` a run folder: creates it and writes `config.toml`.
///
/// # Errors
/// [`Error::Usage`] when it holds a run already, [`Error::File`] when a file of a run's name lies there that no run
/// wrote, [`Error::Io`] when it cannot be made or written.
pub fn create(folder: &Path, config: &RunConfig) -> Result<()> {
    config.validate()?;
    if checkpoint::are_in(folder) {
        let name = folder.display();
        return Err(Error::usage(format!("{name}: holds a run already; resume it or choose another folder")));
    }
    if let Some(foreign) = foreign(folder) {
        let reason = "a run writes a file of this name, and no run has written this one; choose another folder";
        return Err(Error::file(&foreign, reason));
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "making the run folder", e))?;
    config.write(&folder.join(CONFIG))
}

/// A file that a run would write over and that is not of an earlier try: a run begins with a configuration that can be
/// read.
fn foreign(folder: &Path) -> Option<PathBuf> {
    let config = folder.join(CONFIG);
    if RunConfig::read(&config).is_ok() {
        return None;
    }
    FILES.iter().map(|name| folder.join(name)).find(|path| path.symlink_metadata().is_ok())
}

/// Trains until the run is done or `interrupt` is raised, and saves on the way and at the end. The folder must exist
/// ([`create`]). Of a run that is done already nothing is done, but for a last validation that was not. Where several
/// processes train the model, rank 0 calls this and the others [`follow`](super::follow::follow).
///
/// # Errors
/// [`Error::NotFinite`] saying which checkpoint is kept; [`Error::Io`] when the folder cannot be written; what the
/// task and the device report. The last checkpoint is intact after any of them.
pub fn train<D: Device>(
    trainer: &mut Trainer<'_, D>,
    folder: &Path,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    let metrics = Metrics::open(&folder.join(METRICS), trainer.state().step)?;
    let mut run = Run::new(trainer, folder, metrics);
    if let Some(validation) = run.ended_with() {
        run.trainer.agree(true, run.before, interrupt)?; // the others end too
        let step = run.trainer.state().step;
        progress.message(&format!(
            "the run is finished: all of its {} are done; --steps or --minutes prolongs it",
            counted(step, "step")
        ));
        progress.finish();
        return Ok(Outcome { again: true, ..run.outcome(Some(validation)) });
    }
    let outcome = run.train(interrupt, progress);
    // Where numbers are not finite, the checkpoint of before the trouble stays. Steps before it are written down.
    let finite = |done: &Result<()>| !matches!(done, Err(Error::NotFinite { .. }));
    if outcome.is_err()
        && finite(&run.hear_steps())
        && outcome.as_ref().is_err_and(|e| !matches!(e, Error::NotFinite { .. }))
        && run.saved_step.is_some_and(|saved| saved != run.trainer.state().step)
    {
        // What could not be written may be another file, or there is room again: the steps since the last checkpoint
        // are worth a try.
        let _ = run.save();
    }
    progress.finish();
    let drawn = run.draw();
    let outcome = outcome.map_err(|e| run.kept(e))?;
    drawn.map(|()| outcome)
}

/// Keeps the table that a run ends with, as JSON, with its figures.
///
/// # Errors
/// [`Error::Io`] when they cannot be read or written.
pub fn keep_table(folder: &Path, outcome: &Outcome, table: serde_json::Value) -> Result<()> {
    let &Outcome { step, seconds, tokens, .. } = outcome;
    let record = Record { step, seconds, tokens, table: Some(table), ..Record::default() };
    Metrics::open(&folder.join(METRICS), step)?.push(record)
}

/// The table that was kept of a run that ended with that step.
///
/// # Errors
/// [`Error::Io`] when the figures cannot be read.
pub fn kept_table(folder: &Path, step: u64) -> Result<Option<serde_json::Value>> {
    let records = metrics::read(&folder.join(METRICS), step)?;
    Ok(records.into_iter().rev().take_while(|record| record.step == step).find_map(|record| record.table))
}

struct Run<'t, 'a, D: Device> {
    trainer: &'t mut Trainer<'a, D>,
    folder: &'t Path,
    metrics: Metrics,
    /// Seconds before this part of the run, and its start.
    before: f64,
    start: Instant,
    saved_step: Option<u64>,
    saved_at: Instant,
    begun: BegunSteps,
    recent: Recent,
    /// The device's memory, and when it was asked.
    memory: Option<(Instant, MemoryUse)>,
}

impl<'t, 'a, D: Device> Run<'t, 'a, D> {
    fn new(trainer: &'t mut Trainer<'a, D>, folder: &'t Path, metrics: Metrics) -> Self {
        let (before, start) = (trainer.state().seconds, Instant::now());
        // A run that goes on begins at its checkpoint.
        let saved_step = Some(trainer.state().step).filter(|&step| step > 0);
        Self {
            trainer,
            folder,
            metrics,
            before,
            start,
            saved_step,
            saved_at: start,
            begun: BegunSteps::default(),
            recent: Recent::default(),
            memory: None,
        }
    }

    fn seconds(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }

    fn train(&mut self, interrupt: &Interrupt, progress: &mut dyn Progress) -> Result<Outcome> {
        if self.trainer.state().step == 0 {
            self.save()?; // an unwritable folder shows before the work, not after
            if self.trainer.was_prepared() && self.trainer.config().train.validate_every > 0 {
                self.validate(None, progress)?;
            }
        }
        let mut interrupted = loop {
            let seconds = self.seconds();
            match self.trainer.agree(self.done_after(seconds), seconds, interrupt)? {
                Agreed::Step(seconds) => self.step(seconds, progress)?,
                ends => break ends == Agreed::Stop,
            }
        };
        self.tell_steps(progress)?;
        self.save()?; // before the validation, which may take long or fail
        let mut validation = None;
        if !interrupted {
            match self.validate_at_the_end(interrupt, progress) {
                // Whoever resumes the run has it validated.
                Err(Error::Stopped) => interrupted = true,
                found => validation = Some(found?),
            }
        }
        Ok(Outcome { interrupted, ..self.outcome(validation) })
    }

    /// Where it stands.
    fn outcome(&self, validation: Option<Validation>) -> Outcome {
        let state = self.trainer.state();
        let best = state.best_step.zip(state.best).map(|(step, loss)| Best { step, loss });
        Outcome {
            interrupted: false,
            again: false,
            saved: self.folder.join(LATEST),
            step: state.step,
            seconds: state.seconds,
            tokens: state.tokens,
            validation,
            best,
        }
    }

    fn done(&self) -> bool {
        self.done_after(self.seconds())
    }

    fn done_after(&self, seconds: f64) -> bool {
        self.trainer.config().train.done(self.trainer.state().step, seconds) >= 1.0
    }

    /// The last validation of a run that is at its end, and was validated there.
    fn ended_with(&self) -> Option<Validation> {
        let step = self.trainer.state().step;
        let of_end = |record: &&Record| record.step == step;
        let last = self.metrics.records().iter().rev().take_while(of_end);
        last.filter(|_| step > 0 && self.done()).find_map(|record| record.thorough_validation.clone())
    }

    fn step(&mut self, seconds: f64, progress: &mut dyn Progress) -> Result<()> {
        self.trainer.begin_step(seconds)?;
        self.begun.begin(self.trainer.state(), self.trainer.status());
        self.look_at_memory();
        if self.begun.are_enough(self.trainer.unread(), self.recent.seconds_per_step()) {
            self.tell_steps(progress)?;
        }
        let config = &self.trainer.config().train;
        let every = config.validate_every;
        if every > 0 && self.trainer.state().step.is_multiple_of(every) && !self.done() {
            self.tell_steps(progress)?;
            self.validate(None, progress)?;
        } else if self.saved_at.elapsed().as_secs_f64() >= config.save_every {
            self.tell_steps(progress)?;
            self.save()?;
        }
        Ok(())
    }

    /// Says how the steps went that were begun since the last time, and where the run stands.
    fn tell_steps(&mut self, progress: &mut dyn Progress) -> Result<()> {
        if self.begun.any() {
            self.hear_steps()?;
            progress.step(&self.status(self.seconds()));
        }
        Ok(())
    }

    /// Reads how these steps went, and writes it down.
    fn hear_steps(&mut self) -> Result<()> {
        let (reports, done) = self.trainer.finish_steps();
        let now = self.seconds();
        self.begun.hear(&reports, &mut self.recent, now);
        self.begun.write(&mut self.metrics)?;
        done
    }

    fn status(&self, seconds: f64) -> Status {
        let (config, state) = (&self.trainer.config().train, self.trainer.state());
        let by = |steps: u64| steps.saturating_sub(state.step) as f64 * self.recent.seconds_per_step();
        let left = match config.minutes {
            Some(minutes) => (60.0 * minutes - seconds).min(config.most_steps.map_or(f64::INFINITY, by)),
            None => by(config.steps),
        };
        Status {
            step: state.step,
            steps: config.minutes.is_none().then_some(config.steps),
            done: config.done(state.step, seconds),
            loss: self.recent.loss,
            accuracy: self.recent.accuracy,
            tokens_per_s: self.recent.tokens_per_s(),
            left: if left.is_nan() { left } else { left.max(0.0) },
            note: self.trainer.status(),
            memory: self.memory.map(|(_, memory)| memory),
        }
    }

    /// Asks the device now and then: it may have to be waited for.
    fn look_at_memory(&mut self) {
        const EVERY: Duration = Duration::from_secs(1);
        if self.memory.is_none_or(|(asked, _)| asked.elapsed() >= EVERY) {
            self.memory = self.trainer.device_memory().map(|memory| (Instant::now(), memory));
        }
    }

    fn save(&mut self) -> Result<()> {
        self.hear_steps()?;
        let seconds = self.seconds();
        self.trainer.save(&self.folder.join(LATEST), seconds)?;
        self.saved_step = Some(self.trainer.state().step);
        self.saved_at = Instant::now();
        Ok(())
    }

    /// `loss.svg`: every step, and the validations.
    fn draw(&self) -> Result<()> {
        let records = self.metrics.records();
        let points = |value: fn(&Record) -> Option<f64>| -> Vec<(f64, f64)> {
            records.iter().filter_map(|r| Some((r.step as f64, value(r)?))).collect()
        };
        let mut curves = vec![Curve { name: "training".into(), points: points(|r| r.loss), marked: false }];
        let validation = points(|r| r.validation_loss);
        if !validation.is_empty() {
            curves.push(Curve { name: "validation".into(), points: validation, marked: true });
        }
        let y = format!("{} a scored token", self.trainer.unit().name());
        let labels = Labels { title: "Loss", x: "step", y: &y };
        plot::loss(&self.folder.join(LOSS_PICTURE), &labels, &curves)
    }

    /// Says in a [`Error::NotFinite`] what is left.
    fn kept(&self, error: Error) -> Error {
        match (error, self.saved_step) {
            (Error::NotFinite { what, step, .. }, Some(saved)) => {
                let kept = format!("{} holds step {saved}", self.folder.join(LATEST).display());
                Error::NotFinite { what, step, kept }
            }
            (error, _) => error,
        }
    }
}
