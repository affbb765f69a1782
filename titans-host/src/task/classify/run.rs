//! The task: batches of sequences in an order of their own for every epoch, and validation.

use super::evaluate::{Judging, fill, judge_until, load};
use super::scores::bounded_loss;
use super::{ClassScores, ClassifyConfig, Pooling};
use crate::data::alphabet::Encoder;
use crate::data::{Purpose, rng};
use crate::device::{Device, IGNORE};
use crate::model::{Mode, Model, ModelConfig};
use crate::train::Interrupt;
use crate::train::task::{Batch, Load, Task, Validation};
use crate::{Error, Result};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

/// A sequence and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The numbers of its letters.
    pub numbers: Vec<u32>,
    /// The number of its class.
    pub class: u32,
}

/// The task, with its rows.
#[derive(Clone, Debug)]
pub struct ClassifyTask {
    config: ClassifyConfig,
    encoder: Encoder,
    seed: u64,
    /// Parts of a step.
    accumulate: u64,
    train: Vec<Example>,
    valid: Vec<Example>,
    data: RowsFingerprint,
    notes: Vec<String>,
}

/// What tells the rows of one run from another's, kept in checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsFingerprint {
    rows: u64,
    crc32: u32,
    #[serde(default)]
    tokenizer: Option<u32>,
}

impl ClassifyConfig {
    /// Refuses a vocabulary that is another than that of training, by what a checkpoint says of it.
    ///
    /// # Errors
    /// [`Error::Usage`] naming it.
    pub fn expect_vocabulary(&self, encoder: &Encoder, state: &Value) -> Result<()> {
        let before: RowsFingerprint = serde_json::from_value(state.clone())
            .map_err(|e| Error::usage(format!("task: expected rows and CRC-32 of the data in the checkpoint: {e}")))?;
        if before.tokenizer == encoder.tokenizer().crc32() {
            return Ok(());
        }
        let path = self.tokenizer.clone().unwrap_or_default();
        let reason = "another vocabulary than that of training; --tokenizer says where that lies now";
        Err(Error::file(path, reason))
    }
}

impl ClassifyTask {
    /// Reads the configuration's files, those of the test excepted. A step has `accumulate` parts.
    ///
    /// # Errors
    /// As [`ClassifyConfig::examples`]; [`Error::Usage`] naming the field that cannot be used, or for too few rows.
    pub fn read(config: ClassifyConfig, seed: u64, accumulate: u64) -> Result<Self> {
        config.validate()?;
        let encoder = config.encoder()?;
        config.expect_batch(&encoder)?;
        let (mut train, read) = config.examples(&encoder, &config.data, true)?;
        let (mut notes, mut crc32) = (read.notes, read.crc32);
        notes.extend(encoder.tokenizer().notes().iter().cloned());
        let valid = if config.valid.is_empty() {
            split(&mut train, config.validation).map_err(|e| e.in_files(&config.data))?
        } else {
            let (valid, read) = config.examples(&encoder, &config.valid, true)?;
            notes.extend(read.notes);
            crc32 ^= read.crc32.rotate_left(1);
            notes.extend(rows_in_both(&train, &valid));
            valid
        };
        notes.extend(config.test_file_in_use());
        let classes = |rows: &[Example]| rows.iter().map(|row| row.class).collect::<BTreeSet<u32>>();
        if let only @ 1.. = classes(&valid).difference(&classes(&train)).count() {
            notes.push(format!("classes that stand in validation rows alone, so that nothing is learned of them: {only}; give more rows of each"));
        }
        let rows = (train.len() + valid.len()) as u64;
        let data = RowsFingerprint { rows, crc32, tokenizer: encoder.tokenizer().crc32() };
        Ok(Self { config, encoder, seed, accumulate, train, valid, data, notes })
    }

    /// What it was made from.
    pub fn config(&self) -> &ClassifyConfig {
        &self.config
    }

    /// What makes tokens of its sequences.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The rows that are learned from.
    pub fn train(&self) -> &[Example] {
        &self.train
    }

    /// The rows by which the best checkpoint is chosen.
    pub fn valid(&self) -> &[Example] {
        &self.valid
    }

    /// The example that a sequence of training is made of, by its number, as it is read then: on which strand, and what
    /// of it is hidden.
    fn draw(&self, step: u64, number: u64) -> (Vec<u32>, u32) {
        let count = self.train.len() as u64;
        let all = (step * self.accumulate * self.config.sequences as u64) + number;
        let example = &self.train[place(self.seed, all / count, all % count, count) as usize];
        let mut random = rng(self.seed, Purpose::Training, step, number);
        let mut numbers = match self.config.both_strands && random.random_range(0..2u32) == 1 {
            true => self.encoder.other_strand(&example.numbers),
            false => example.numbers.clone(),
        };
        if self.config.hide > 0.0 {
            let unknown = self.encoder.letters() as u32;
            let most = (self.config.hide * 4_294_967_296.0) as u64;
            numbers.iter_mut().filter(|_| u64::from(random.next_u32()) < most).for_each(|n| *n = unknown);
        }
        (numbers, example.class)
    }
}

/// What is to be said where validation knows rows that are learned from.
fn rows_in_both(train: &[Example], valid: &[Example]) -> Option<String> {
    let learned: HashSet<&[u32]> = train.iter().map(|row| row.numbers.as_slice()).collect();
    let known = valid.iter().filter(|row| learned.contains(row.numbers.as_slice())).count();
    let of = valid.len();
    (known > 0).then(|| {
        format!(
            "{known} of {of} validation rows stand among the training rows too: their loss says nothing of new rows, \
             and the best checkpoint is chosen by it; give others by --valid"
        )
    })
}

/// Takes the share of the rows that is for validation, the same ones whatever the seed.
fn split(rows: &mut Vec<Example>, share: f64) -> Result<Vec<Example>> {
    let count = ((rows.len() as f64 * share).round() as usize).max(1);
    if count >= rows.len() {
        return Err(Error::usage(format!(
            "expected 2 rows or more, one for training and one for validation, found {}; give more, or --valid FILE",
            rows.len()
        )));
    }
    let mut order: Vec<(u64, usize)> =
        (0..rows.len()).map(|i| (rng(0, Purpose::Evaluation, 0, i as u64).next_u64(), i)).collect();
    order.sort_unstable();
    let mut taken = vec![false; rows.len()];
    order[..count].iter().for_each(|&(_, i)| taken[i] = true);
    let (mut valid, mut train) = (Vec::with_capacity(count), Vec::with_capacity(rows.len() - count));
    for (row, taken) in std::mem::take(rows).into_iter().zip(taken) {
        if taken { valid.push(row) } else { train.push(row) }
    }
    *rows = train;
    Ok(valid)
}

/// Where a permutation of `count` places, one of its own for every round, takes a place: a Feistel network over the
/// next power of 4, walked until it ends within.
fn place(seed: u64, round: u64, place: u64, count: u64) -> u64 {
    let mut half = 1;
    while 1u64 << (2 * half) < count {
        half += 1;
    }
    let (mask, mut keys) = ((1u64 << half) - 1, [0; 4]);
    let mut random = rng(seed, Purpose::Sizes, round, 0);
    keys.iter_mut().for_each(|key| *key = random.next_u64());
    let mut x = place;
    loop {
        let (mut left, mut right) = (x >> half, x & mask);
        for key in keys {
            let mixed = (right ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (left, right) = (right, left ^ ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) & mask);
        }
        x = left << half | right;
        if x < count {
            return x;
        }
    }
}

impl<D: Device> Task<D> for ClassifyTask {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let sequences = self.config.sequences as u64;
        let drawn: Vec<(Vec<u32>, u32)> =
            (part * sequences..(part + 1) * sequences).map(|number| self.draw(step, number)).collect();
        let numbers: Vec<&[u32]> = drawn.iter().map(|(numbers, _)| &numbers[..]).collect();
        fill(&self.encoder, self.config.context, &numbers, batch);
        let classes = drawn.iter().map(|drawn| drawn.1);
        match self.config.pooling {
            Pooling::Mean => batch.targets.extend(classes),
            Pooling::Last => {
                batch.targets.resize(batch.batch * batch.time, IGNORE);
                for (b, class) in classes.enumerate() {
                    batch.targets[b * batch.time + batch.lengths[b] as usize - 1] = class;
                }
                batch.lengths.clear();
            }
        }
        Ok(())
    }

    fn state(&self) -> Value {
        serde_json::to_value(self.data).unwrap_or_default()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let before: RowsFingerprint = serde_json::from_value(state.clone())
            .map_err(|e| Error::usage(format!("task: expected rows and CRC-32 of the data in the checkpoint: {e}")))?;
        if before == self.data {
            return Ok(());
        }
        let now = self.data;
        let what = if before.tokenizer == now.tokenizer { "the data have" } else { "the vocabulary has" };
        Err(Error::usage(format!(
            "{what} changed since the run began: expected {} rows with CRC-32 {:08x}, found {} with {:08x}; put the old ones back, or begin \
             a new run",
            before.rows, before.crc32, now.rows, now.crc32
        )))
    }

    fn held(&self) -> usize {
        let bytes =
            |rows: &[Example]| rows.iter().map(|row| 4 * row.numbers.len() + size_of::<Example>()).sum::<usize>();
        bytes(&self.train) + bytes(&self.valid)
    }

    fn peak_loads(&self, model: &ModelConfig) -> Result<Vec<Load>> {
        let longest = self.valid.iter().map(|row| row.numbers.len()).max().unwrap_or(1);
        let judging = Judging::of(&self.config, Mode::On);
        Ok(vec![load::<D::Elem>(&self.encoder, model.outputs, judging, self.valid.len(), longest)])
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn status(&self) -> String {
        String::new()
    }

    fn validate_until(
        &self,
        device: &D,
        model: &Model<D>,
        thorough: bool,
        interrupt: &Interrupt,
    ) -> Result<Validation> {
        let step = if thorough { 1 } else { self.valid.len().div_ceil(self.config.cheap_rows).max(1) };
        let some: Vec<&Example> = self.valid.iter().step_by(step).collect();
        let numbers: Vec<&[u32]> = some.iter().map(|row| &row.numbers[..]).collect();
        let truth: Vec<u32> = some.iter().map(|row| row.class).collect();
        let judging = Judging::of(&self.config, Mode::On);
        match judge_until(device, model, &self.encoder, judging, &numbers, interrupt) {
            Ok(said) => {
                let accuracy = Some(ClassScores::of(self.config.classes.len(), &said, &truth).accuracy);
                Ok(Validation { loss: bounded_loss(&said, &truth), accuracy, tokens: truth.len() as u64 })
            }
            Err(Error::Diverged { .. }) => {
                Ok(Validation { loss: f64::NAN, accuracy: None, tokens: truth.len() as u64 })
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Example, place, split};

    #[test]
    fn every_epoch_sees_every_row_once_in_an_order_of_its_own() {
        for count in [1, 2, 3, 4, 5, 16, 17, 1000] {
            let order = |round| (0..count).map(|i| place(3, round, i, count)).collect::<Vec<_>>();
            for round in 0..3 {
                let mut sorted = order(round);
                sorted.sort_unstable();
                assert_eq!(sorted, (0..count).collect::<Vec<_>>(), "{count} {round}");
            }
            if count > 100 {
                assert_ne!(order(0), order(1));
                let close = order(0).windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < count / 10).count();
                assert!((100..300).contains(&close), "neighbours are drawn apart: {close}");
            }
        }
    }

    #[test]
    fn a_share_is_split_off_and_nothing_is_lost() {
        let rows = |n: u32| (0..n).map(|i| Example { numbers: vec![i], class: 0 }).collect::<Vec<_>>();
        let mut train = rows(50);
        let valid = split(&mut train, 0.1).unwrap();
        assert_eq!((train.len(), valid.len()), (45, 5));
        let mut all: Vec<u32> = train.iter().chain(&valid).map(|row| row.numbers[0]).collect();
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
        assert_eq!(split(&mut rows(2), 0.1).unwrap().len(), 1);
        assert!(split(&mut rows(1), 0.1).unwrap_err().to_string().contains("2 rows or more, one for training"));
    }
}
