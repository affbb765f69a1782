//! The runs of a study, one after another, each kept as soon as it is done.

use crate::cli::train::room;
use crate::cli::train::shown;
use crate::cli::{Failure, output};
use crate::device::Device;
use crate::error::{Error, Result, plain};
use crate::task::study::{Arm, ArmResult, Study, StudyReport, by_length, load, rate, save};
use crate::task::{self, TaskConfig};
use crate::train::run::FILES;
use crate::train::{Interrupt, Outcome, Owner, Progress, RunConfig, Trainer, atomic, checkpoint};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is done, and where.
pub(super) struct StudyWork<'a, D: Device> {
    pub(super) device: &'a D,
    pub(super) study: &'a Study,
    pub(super) folder: &'a Path,
    pub(super) interrupt: &'a Interrupt,
    pub(super) quiet: bool,
    /// Of the processor; none where another device computes.
    pub(super) threads: Option<Option<usize>>,
}

/// What a run of a study left: its numbers, or only checkpoints.
enum Left {
    Result(Box<ArmResult>),
    Stopped,
}

impl<D: Device> StudyWork<'_, D> {
    /// All runs, those that are there already among them. Tables and pictures are made anew after each.
    pub(super) fn all(&self) -> std::result::Result<Vec<ArmResult>, Failure> {
        let arms = || self.study.seeds().iter().flat_map(|&seed| self.study.arms.iter().map(move |arm| (arm, seed)));
        let of = arms().count();
        // What does not fit any more is told before anything runs.
        let kept: Vec<Option<ArmResult>> =
            arms().map(|(arm, seed)| load(&self.result(arm, seed), &arm.of_seed(seed))).collect::<Result<_>>()?;
        let mut results: Vec<ArmResult> = Vec::new();
        for (number, ((arm, seed), kept)) in arms().zip(kept).enumerate() {
            if let Some(kept) = kept {
                results.push(kept);
                continue;
            }
            self.say(&format!("{} of {of}: {}, seed {seed}", number + 1, plain(&arm.name)));
            match self.one(arm, seed)? {
                Left::Result(result) => {
                    save(&self.result(arm, seed), &result)?;
                    results.push(*result);
                    self.write(&results)?;
                }
                Left::Stopped => {
                    let (done, folder) = (results.len(), plain(self.folder.display()));
                    let kind = titans_kernel::Choice::name(self.study.file.kind);
                    let text = format!("{done} of {of} runs are done; go on with: titans study {kind} --out {folder}");
                    return Err(Failure::interrupted(self.interrupt, text));
                }
            }
        }
        self.write(&results)?;
        Ok(results)
    }

    fn run_folder(&self, arm: &Arm, seed: u64) -> PathBuf {
        self.folder.join("runs").join(arm.folder(seed))
    }

    fn result(&self, arm: &Arm, seed: u64) -> PathBuf {
        self.run_folder(arm, seed).join("result.json")
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            output::complain(text);
        }
    }

    fn progress(&self) -> Box<dyn Progress> {
        shown(self.quiet, Duration::from_secs(60))
    }

    /// One run: training, which goes on where it was stopped, and what is measured then.
    fn one(&self, arm: &Arm, seed: u64) -> std::result::Result<Left, Failure> {
        let folder = self.run_folder(arm, seed);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, "making the run folder", e))?;
        let _owner = Owner::of_folder(&folder, &FILES)?;
        let run = arm.of_seed(seed);
        let mut result = ArmResult {
            name: arm.name.clone(),
            seed,
            parameters: arm.parameters,
            feed_forward: run.model.feed_forward,
            steps: 0,
            tokens: 0,
            seconds: 0.0,
            validation: None,
            lengths: BTreeMap::new(),
            throughput: BTreeMap::new(),
            run,
        };
        if self.study.learns() && !self.learn(&folder, &mut result)? {
            return Ok(Left::Stopped);
        }
        if self.study.is_timed() && self.study.seeds().first() == Some(&seed) {
            let file = &self.study.file;
            for &length in &file.lengths {
                match rate(self.device, &result.run, length, (file.step_tokens, file.repeats), self.interrupt)? {
                    Some(rate) => result.throughput.insert(length, rate),
                    None => return Ok(Left::Stopped),
                };
            }
        }
        Ok(Left::Result(Box::new(result)))
    }

    /// Trains and measures; says whether it came to its end.
    fn learn(&self, folder: &Path, result: &mut ArmResult) -> std::result::Result<bool, Failure> {
        let run = &result.run;
        room::expect_data(&TaskConfig::of(run)?)?;
        let mut task = task::open::<D>(run)?;
        if result.seed == self.study.seeds().first().copied().unwrap_or_default() && !self.quiet {
            output::tell(task.notes());
        }
        let loads = task.peak_loads(&run.model)?;
        match self.threads {
            Some(threads) => room::expect(run, threads, task.held(), &loads)?,
            None => room::expect_on_device(run, self.device.memory_use(), &loads)?,
        }
        let mut trainer = if checkpoint::are_in(folder) {
            let checkpoint = checkpoint::load(self.device, folder)?;
            expect_same(folder, &checkpoint.config, run)?;
            Trainer::resume(self.device, checkpoint, &mut *task)?
        } else {
            crate::train::create(folder, run)?;
            Trainer::new(self.device, run.clone(), &mut *task)?
        };
        let mut progress = self.progress();
        let outcome = crate::train::train(&mut trainer, folder, self.interrupt, &mut *progress)?;
        let Outcome { interrupted, step, seconds, tokens, validation, .. } = outcome;
        if interrupted {
            return Ok(false);
        }
        (result.steps, result.seconds, result.tokens, result.validation) = (step, seconds, tokens, validation);
        let hint = |e| Failure::hinting(e, "or leave that length out");
        let lengths = by_length(self.device, &self.study.file, &result.run, trainer.model(), self.interrupt);
        match lengths.map_err(hint)? {
            Some(lengths) => result.lengths = lengths,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Tables and pictures of what is there.
    fn write(&self, results: &[ArmResult]) -> Result<()> {
        let report = StudyReport::new(self.study, results);
        let path = self.folder.join("results.json");
        let json = serde_json::to_string_pretty(&report).map_err(|e| Error::file(&path, e.to_string()))?;
        atomic::write(&path, "writing the results", |out| writeln!(out, "{json}"))?;
        atomic::write(&self.folder.join("table.txt"), "writing the table", |out| write!(out, "{report}"))?;
        report.draw(self.folder).map(drop)
    }
}

/// A run that was begun is the one that the study means.
fn expect_same(folder: &Path, found: &RunConfig, expected: &RunConfig) -> Result<()> {
    let value = |config: &RunConfig| serde_json::to_value(config).map_err(|e| Error::usage(e.to_string()));
    if value(found)? == value(expected)? {
        return Ok(());
    }
    Err(Error::file(
        folder,
        "the run that was begun there is of another configuration than the study's file says now; put that back, remove the folder, or name \
         another one for the study",
    ))
}
