//! The recall task: what the memory is for, in its smallest form.

use super::TaskConfig;
use super::curriculum::{Curriculum, CurriculumConfig};
use super::hidden::BATCHED;
use super::judged::losses_and_logits;
use super::pieces::{self, PIECE, reading};
use super::table::{Row, Table};
use crate::data::recall::Alphabet;
use crate::data::{Purpose, rng};
use crate::device::Device;
use crate::model::{Kind, Mode, Model, ModelConfig, Session};
use crate::train::task::{Batch, Load, Task, Validation};
use crate::train::trainer::predicted;
use crate::train::{Interrupt, RunConfig, TrainConfig};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use titans_kernel::arch::SimdScalar;

/// Tokens that an evaluation runs at once, at least one sequence.
const EVALUATION_TOKENS: usize = 8192;

/// Most tokens of a sequence or a batch, and most sequences of an evaluation.
const LIMIT: usize = 1 << 24;

/// The recall task's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecallConfig {
    /// Tokens of the longest training sequence.
    pub length: usize,
    /// Pairs of the fullest training sequence, and of every evaluation.
    pub pairs: usize,
    /// Tokens of a batch, about: as many sequences as fit.
    pub tokens: usize,
    /// Lengths of the final evaluation.
    pub lengths: Vec<usize>,
    /// Sequences of each evaluation.
    pub sequences: usize,
    /// The symbols.
    pub alphabet: Alphabet,
    /// From easy to hard.
    pub curriculum: CurriculumConfig,
}

impl Default for RecallConfig {
    fn default() -> Self {
        Self {
            length: 256,
            pairs: 16,
            tokens: 4096,
            lengths: vec![256, 512, 1024, 2048, 4096],
            sequences: 32,
            alphabet: Alphabet::default(),
            curriculum: CurriculumConfig::default(),
        }
    }
}

/// The run that `titans train` does by default: one block with memories of `layers` layers, of any of these kinds (none
/// for the memory alone), which the caller sets.
///
/// # Errors
/// As [`TaskConfig::run`].
pub fn default_run(layers: usize, kinds: &[Kind]) -> Result<RunConfig> {
    let task = RecallConfig::default();
    let mut model = ModelConfig {
        vocabulary: task.alphabet.vocabulary(),
        width: 64,
        blocks: 1,
        heads: 2,
        head_width: 32,
        feed_forward: 128,
        tied: true,
        ..ModelConfig::default()
    };
    model.set_layers(layers);
    model.alpha_bias = if layers == 1 { -7.0 } else { -10.0 }; // what a deep memory forgets, it does not forget evenly
    let mut train = TrainConfig { steps: if layers == 1 { 2000 } else { 4000 }, ..TrainConfig::default() };
    if layers == 1 && !kinds.iter().any(|kind| kind.has_attention()) {
        // Noise must not be written: gates that begin shut open for pairs, those that begin half open close less well.
        // Beside attention a memory that begins shut is not learned to be used in so many steps.
        model.theta_bias = -4.0;
        // Weight decay opens them again: not by what sequences of training would show, but over 16,384 tokens.
        (train.weight_decay, train.gate_rate) = (0.0, 10.0);
    }
    model.memory.hidden = 2 * model.head_width;
    TaskConfig::Recall(task).run(model, train)
}

/// The task.
#[derive(Clone, Debug)]
pub struct Recall {
    config: RecallConfig,
    seed: u64,
    curriculum: Curriculum,
}

impl Recall {
    /// The task at the beginning of its curriculum.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the field that cannot be used.
    pub fn new(config: RecallConfig, seed: u64) -> Result<Self> {
        config.curriculum.validate()?;
        let mut sizes = vec![("length", config.length), ("tokens", config.tokens), ("sequences", config.sequences)];
        sizes.extend(config.lengths.iter().map(|&length| ("lengths", length)));
        if let Some((name, found)) = sizes.into_iter().find(|&(_, x)| x == 0 || x > LIMIT) {
            return Err(Error::usage(format!("task.{name}: expected 1 to {LIMIT}, found {found}")));
        }
        for &length in config.lengths.iter().chain([&config.length]) {
            config.alphabet.check(length, config.pairs)?;
        }
        let curriculum = config.curriculum.start(config.length, config.pairs);
        Ok(Self { config, seed, curriculum })
    }

    /// What it was made from.
    pub fn config(&self) -> &RecallConfig {
        &self.config
    }

    /// Where the curriculum stands.
    pub fn curriculum(&self) -> &Curriculum {
        &self.curriculum
    }

    /// `count` sequences, the first of number `first`, of step `step`.
    fn sequences(
        &self,
        purpose: Purpose,
        step: u64,
        first: u64,
        count: usize,
        size: (usize, usize),
        batch: &mut Batch,
    ) -> Result<()> {
        let (time, pairs) = size;
        batch.restart(count, time);
        for number in first..first + count as u64 {
            let sequence = self.config.alphabet.sequence(&mut rng(self.seed, purpose, step, number), time, pairs)?;
            batch.ids.extend(sequence.ids);
            batch.targets.extend(sequence.targets);
        }
        Ok(())
    }

    /// The model's score on sequences of `length` tokens that training has never drawn.
    ///
    /// # Errors
    /// What the device reports; [`Error::Usage`] when the pairs do not fit in the length.
    pub fn measure<D: Device>(&self, device: &D, model: &Model<D>, length: usize, mode: Mode) -> Result<Validation> {
        self.judge(device, model, length, mode).map(|(found, _)| found)
    }

    /// The same, and the first position in its sequence of a loss that is not finite.
    fn judge<D: Device>(
        &self,
        device: &D,
        model: &Model<D>,
        length: usize,
        mode: Mode,
    ) -> Result<(Validation, Option<usize>)> {
        if length > BATCHED {
            return self.stream(device, model, length, mode).map(|found| (found, None));
        }
        let at_once = self.at_once(length);
        let (mut loss, mut right, mut scored, mut diverged) = (0.0, 0, 0, None);
        let mut first = 0;
        let mut batch = Batch::default();
        while first < self.config.sequences {
            let count = at_once.min(self.config.sequences - first);
            let size = (length, self.config.pairs);
            self.sequences(Purpose::Evaluation, length as u64, first as u64, count, size, &mut batch)?;
            let (losses, logits) = losses_and_logits(device, model, &batch, mode)?;
            let r = predicted(&logits, model.config().vocabulary, &batch.targets);
            let l: f64 = losses.iter().sum();
            diverged = diverged.or_else(|| losses.iter().position(|x| !x.is_finite()).map(|i| i % length));
            (loss, right, scored) = (loss + l, right + r, scored + batch.scored() as u64);
            first += count;
        }
        let share = |x: f64| x / scored as f64;
        Ok((Validation { loss: share(loss), accuracy: Some(share(right as f64)), tokens: scored }, diverged))
    }

    /// Sequences of an evaluation that run at once.
    fn at_once(&self, length: usize) -> usize {
        (EVALUATION_TOKENS / length.max(1)).clamp(1, self.config.sequences)
    }

    /// What an evaluation at `length` tokens takes at once.
    fn load<T: SimdScalar>(&self, model: &ModelConfig, length: usize) -> Result<Load> {
        if length > BATCHED {
            return pieces::load::<T>(model);
        }
        let batch = self.at_once(length);
        // Ids and targets, here and in the device's form; losses, and as they are summed; logits.
        let token = 4 * size_of::<u32>() + (1 + model.vocabulary) * T::BYTES + size_of::<f64>();
        Ok(Load { batch, time: length, surprise: false, host: (batch * length).saturating_mul(token) })
    }

    /// The same, one sequence after another as a stream that no memory must hold: for any length.
    ///
    /// # Errors
    /// As [`Recall::measure`]; [`Error::Diverged`] where a scored loss is not finite, [`Error::Refused`] where the
    /// stream refuses a token.
    pub fn stream<D: Device>(&self, device: &D, model: &Model<D>, length: usize, mode: Mode) -> Result<Validation> {
        let (mut loss, mut right, mut scored) = (0.0, 0.0, 0);
        let fresh = Session::new(device, model, mode)?;
        for number in 0..self.config.sequences as u64 {
            let mut session = fresh.clone();
            let tokens = self.evaluation(length, number)?;
            let found = pieces::score(tokens, (model.config().vocabulary, PIECE), &mut reading(&mut session))?;
            let n = found.tokens as f64;
            loss += found.loss * n;
            right += found.accuracy.unwrap_or(0.0) * n;
            scored += found.tokens;
        }
        let share = |x: f64| x / scored as f64;
        Ok(Validation { loss: share(loss), accuracy: Some(share(right)), tokens: scored })
    }

    /// Recall against length with the memory on, frozen and absent. `each` hears of every length before it is measured.
    ///
    /// # Errors
    /// As [`Recall::row`].
    pub fn table<D: Device>(&self, device: &D, model: &Model<D>, each: &mut dyn FnMut(usize)) -> Result<Table> {
        let mut rows = BTreeMap::new();
        for &length in &self.config.lengths {
            each(length);
            rows.insert(length, self.row(device, model, length)?);
        }
        Ok(Table(rows))
    }

    /// One length of the table. No more than 8192 tokens or one sequence are on the device at once, and of a sequence
    /// longer than 32,768 tokens a piece.
    ///
    /// # Errors
    /// As [`Recall::measure`] and [`Recall::stream`]; [`Error::Diverged`] where a scored loss is not finite.
    pub fn row<D: Device>(&self, device: &D, model: &Model<D>, length: usize) -> Result<Row> {
        let share = |mode| match self.judge(device, model, length, mode)? {
            (_, Some(position)) => Err(Error::Diverged { position: position as u64 }),
            (found, None) => Ok(found.accuracy.unwrap_or(0.0)),
        };
        let on = share(Mode::On)?;
        if model.config().remembering().next().is_none() {
            return Ok(Row { on, frozen: None, absent: None });
        }
        Ok(Row { on, frozen: Some(share(Mode::Frozen)?), absent: Some(share(Mode::Absent)?) })
    }

    /// Sequence `number` of the evaluation at `length` tokens, token by token with targets, for [`pieces::score`].
    ///
    /// # Errors
    /// [`Error::Usage`] when the pairs do not fit in the length.
    fn evaluation(&self, length: usize, number: u64) -> Result<impl Iterator<Item = (u32, u32)> + use<>> {
        let rng = rng(self.seed, Purpose::Evaluation, length as u64, number);
        self.config.alphabet.tokens(rng, length, self.config.pairs)
    }
}

impl<D: Device> Task<D> for Recall {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let (length, pairs) = self.curriculum.sizes(self.seed, step);
        let count = (self.config.tokens / length).max(1);
        self.sequences(Purpose::Training, step, part * count as u64, count, (length, pairs), batch)
    }

    fn wants_accuracy(&self) -> bool {
        true
    }

    fn feedback(&mut self, _loss: f64, accuracy: Option<f64>) {
        let (length, pairs) = (self.config.length, self.config.pairs);
        self.curriculum.feedback(&self.config.curriculum, length, pairs, accuracy.unwrap_or(0.0));
    }

    fn state(&self) -> serde_json::Value {
        serde_json::to_value(self.curriculum).unwrap_or_default()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        let wrong = |e: String| Error::usage(format!("curriculum: expected the state of one, found {e}"));
        let state: Curriculum = serde_json::from_value(state.clone()).map_err(|e| wrong(e.to_string()))?;
        let within = |x: f64, most: usize| (1.0..=most as f64).contains(&x);
        let sizes = within(state.length, self.config.length) && within(state.pairs, self.config.pairs);
        if !(sizes && (0.0..=1.0).contains(&state.accuracy)) {
            return Err(wrong(format!("{state:?}")));
        }
        self.curriculum = state;
        Ok(())
    }

    fn peak_loads(&self, model: &ModelConfig) -> Result<Vec<Load>> {
        // The table at the end is of the same kind.
        let lengths = self.config.lengths.iter().chain([&self.config.length]);
        lengths.map(|&length| self.load::<D::Elem>(model, length)).collect()
    }

    fn status(&self) -> String {
        format!("up to {} tokens, {} pairs", self.curriculum.length as usize, self.curriculum.pairs as usize)
    }

    fn validate_until(
        &self,
        device: &D,
        model: &Model<D>,
        _thorough: bool,
        _interrupt: &Interrupt,
    ) -> Result<Validation> {
        self.measure(device, model, self.config.length, Mode::On)
    }
}

#[cfg(test)]
mod tests {
    use super::{Recall, RecallConfig, default_run};
    use crate::data::recall::Alphabet;
    use crate::model::Kind;

    #[test]
    fn gates_of_the_memory_alone_begin_shut_and_beside_attention_half_open() {
        let bias = |layers, kinds: &[Kind]| default_run(layers, kinds).unwrap().model.theta_bias;
        assert_eq!([bias(1, &[]), bias(1, &[Kind::Lmm])], [-4.0; 2]);
        assert_eq!([bias(1, &[Kind::Mal]), bias(1, &[Kind::Lmm, Kind::Mag]), bias(2, &[])], [0.0; 3]);
        let rates =
            |kinds: &[Kind]| default_run(1, kinds).map(|run| (run.train.weight_decay, run.train.gate_rate)).unwrap();
        assert_eq!([rates(&[]), rates(&[Kind::Mal])], [(0.0, 10.0), (0.1, 1.0)]);
    }

    #[test]
    fn sizes_far_from_any_use_are_refused_by_name() {
        type Spoil = fn(&mut RecallConfig, usize);
        let fields: [(&str, Spoil); 5] = [
            ("task.length:", |c, x| c.length = x),
            ("task.lengths", |c, x| c.lengths = vec![256, x]),
            ("task.tokens", |c, x| c.tokens = x),
            ("task.sequences", |c, x| c.sequences = x),
            ("pairs", |c, x| c.pairs = x),
        ];
        Recall::new(RecallConfig::default(), 0).unwrap();
        for (name, spoil) in fields {
            for found in [0, (1 << 24) + 1, 1 << 40, i64::MAX as usize] {
                let mut config = RecallConfig::default();
                spoil(&mut config, found);
                let error = Recall::new(config, 0).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains(&found.to_string()), "{error}");
            }
        }
        let alphabet = Alphabet { keys: usize::MAX, values: usize::MAX, noise: usize::MAX };
        assert!(Recall::new(RecallConfig { alphabet, ..RecallConfig::default() }, 0).is_err());
    }
}
