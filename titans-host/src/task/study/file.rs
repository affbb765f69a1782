//! The file that describes a study.

use crate::error::{Error, Result, brief};
use crate::model::ModelConfig;
use crate::task::{StudyBy, TaskConfig, TaskName};
use crate::train::TrainConfig;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;
use titans_kernel::{Choice, choice};
use toml::{Spanned, Table};

choice! {
    /// What a study asks.
    pub enum StudyKind: "study" {
        /// What each part of the model is worth: the paper's table 5.
        Ablation = 0, "ablation";
        /// What the memory's layers bring and cost, by length: figures 7 and 8.
        Depth = 1, "depth";
        /// How each block does beyond the length that it was trained on.
        Length = 2, "length";
        /// Tokens a second of a training step, by length: figure 9. Nothing is learned.
        Throughput = 3, "throughput";
    }
}

/// A study, as its file says it. `task`, `model` and `train` hold what differs from the recipe of `titans train`, in
/// the words of a run's `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyFile {
    /// What is asked.
    pub kind: StudyKind,
    /// Seeds of first weights and batches, one run of every configuration for each.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Parameters of every configuration; by default those of the largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<usize>,
    /// How far from that a configuration may be, as a share of it.
    #[serde(default = "tolerance")]
    pub tolerance: f64,
    /// Tokens of the sequences by which is measured (throughput: of a training step); none for the validation alone.
    #[serde(default)]
    pub lengths: Vec<usize>,
    /// Tokens of validation text that are read at every length, the first ones.
    #[serde(default = "tokens")]
    pub tokens: usize,
    /// Tokens of a step whose time is taken.
    #[serde(default = "step_tokens")]
    pub step_tokens: usize,
    /// Steps whose time is taken.
    #[serde(default = "repeats")]
    pub repeats: usize,
    /// The task: `name`, and what differs from its recipe.
    pub task: Table,
    /// Of all models.
    #[serde(default)]
    pub model: Table,
    /// Of all runs.
    #[serde(default)]
    pub train: Table,
    /// What is compared.
    pub configuration: Vec<Entry>,
}

/// One of the things that are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name in tables, and of its folders.
    pub name: String,
    /// Layers of its memories, with the recipe that goes with so many.
    #[serde(default = "one_layer")]
    pub layers: usize,
    /// What the paper has in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<f64>,
    /// What differs from all models.
    #[serde(default)]
    pub model: Table,
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

fn tolerance() -> f64 {
    0.01
}

fn tokens() -> usize {
    1 << 17
}

fn step_tokens() -> usize {
    4096
}

fn repeats() -> usize {
    5
}

fn one_layer() -> usize {
    1
}

/// The same file, read only for its errors, which name their lines: every field of a model and a run is known here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read counts")]
struct Checked {
    kind: Spanned<StudyKind>,
    #[serde(default)]
    seeds: Option<Spanned<Vec<u64>>>,
    parameters: Option<Spanned<usize>>,
    tolerance: Option<Spanned<f64>>,
    #[serde(default)]
    lengths: Option<Spanned<Vec<usize>>>,
    tokens: Option<Spanned<usize>>,
    step_tokens: Option<Spanned<usize>>,
    repeats: Option<Spanned<usize>>,
    task: Spanned<TaskConfig>,
    #[serde(default)]
    model: ModelConfig,
    #[serde(default)]
    train: TrainConfig,
    configuration: Vec<CheckedEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read counts")]
struct CheckedEntry {
    name: Spanned<String>,
    layers: Option<Spanned<usize>>,
    paper: Option<f64>,
    #[serde(default)]
    model: ModelConfig,
}

impl StudyFile {
    /// The task that it names, if there is one of that name.
    pub fn task_name(&self) -> Option<TaskName> {
        self.task.get("name").and_then(|name| name.as_str()).and_then(TaskName::of_name)
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::File`] with the line of what cannot be used.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "reading the study", e))?;
        Self::parse(&text).map_err(|reason| Error::file(path, reason))
    }

    /// From the content of one; an error names its line.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let said = |e: toml::de::Error| match e.span() {
            Some(span) => format!("line {}: {}", line(text, &span), e.message()),
            None => e.message().to_owned(),
        };
        let checked: Checked = toml::from_str(text).map_err(said)?;
        let file: Self = toml::from_str(text).map_err(said)?;
        match file.wrong(&checked) {
            None => Ok(file),
            Some((span, reason)) => Err(format!("line {}: {reason}", line(text, &span))),
        }
    }

    /// The first thing that can be read and not be used.
    fn wrong(&self, checked: &Checked) -> Option<(Range<usize>, String)> {
        let kind = checked.kind.span();
        let of = |span: Option<Range<usize>>, reason: String| Some((span.unwrap_or(kind.clone()), reason));
        let span = |x: &Option<Spanned<usize>>| x.as_ref().map(Spanned::span);
        if self.seeds.is_empty() || has_twice(&self.seeds) {
            let found = &self.seeds;
            let reason = format!("seeds: expected one or more, each once, found {found:?}");
            return of(checked.seeds.as_ref().map(Spanned::span), reason);
        }
        if self.lengths.contains(&0) || has_twice(&self.lengths) {
            let reason = format!("lengths: expected 1 or more tokens, each length once, found {:?}", self.lengths);
            return of(checked.lengths.as_ref().map(Spanned::span), reason);
        }
        let sizes = [
            ("parameters", self.parameters.unwrap_or(1), &checked.parameters),
            ("tokens", self.tokens, &checked.tokens),
            ("step_tokens", self.step_tokens, &checked.step_tokens),
            ("repeats", self.repeats, &checked.repeats),
        ];
        if let Some((name, found, at)) = sizes.into_iter().find(|&(_, x, _)| x == 0 || x > 1 << 31) {
            return of(span(at), format!("{name}: expected 1 to {}, found {found}", 1u64 << 31));
        }
        if !(0.0..1.0).contains(&self.tolerance) {
            let reason = format!("tolerance: expected a share, 0 to below 1, found {}", self.tolerance);
            return of(checked.tolerance.as_ref().map(Spanned::span), reason);
        }
        if self.train.contains_key("minutes") || self.train.contains_key("seed") {
            let reason = "train: a study is by equal steps and for seeds of its own: expected no minutes and no seed; set train.steps and seeds";
            return of(None, reason.into());
        }
        let task = checked.task.get_ref();
        if task.task().facts().study == StudyBy::Nothing {
            return of(Some(checked.task.span()), no_study_of(task).to_string());
        }
        if let Some(reason) = self.without_lengths(task.task()) {
            return of(checked.lengths.as_ref().map(Spanned::span), reason);
        }
        self.wrong_entry(checked, kind.clone())
    }

    /// Why a study of sequences that are as long as they are asks for none by length.
    pub(super) fn without_lengths(&self, task: TaskName) -> Option<String> {
        let fixed = task.facts().own_lengths;
        let asked = !self.lengths.is_empty() || self.kind == StudyKind::Throughput;
        (fixed && asked).then(|| {
            let task = task.name();
            format!("lengths: a study of {task} compares by validation alone: expected no lengths, and not the kind throughput")
        })
    }

    fn wrong_entry(&self, checked: &Checked, kind: Range<usize>) -> Option<(Range<usize>, String)> {
        if self.configuration.is_empty() {
            return Some((kind, "configuration: expected one or more, found none".into()));
        }
        for (i, (entry, at)) in self.configuration.iter().zip(&checked.configuration).enumerate() {
            let span = at.name.span();
            let folder = folder_name(&entry.name);
            if folder.is_empty() || entry.name.len() > 80 {
                let found = brief(&entry.name);
                return Some((span, format!("name: expected letters or digits, 80 bytes at most, found {found}")));
            }
            if self.configuration[..i].iter().any(|other| folder_name(&other.name) == folder) {
                let found = brief(&entry.name);
                return Some((span, format!("name: expected another for every configuration, found {found} again")));
            }
            if !(1..=titans_kernel::memory::MAX_LAYERS).contains(&entry.layers) {
                let (most, found) = (titans_kernel::memory::MAX_LAYERS, entry.layers);
                let span = at.layers.as_ref().map_or(span, Spanned::span);
                return Some((span, format!("layers: expected 1 to {most}, found {found}")));
            }
        }
        None
    }
}

/// The error for a task that has no studies.
pub(super) fn no_study_of(task: &TaskConfig) -> Error {
    let studied = TaskName::ALL.iter().filter(|task| task.facts().study != StudyBy::Nothing);
    let names = studied.map(|task| task.name()).collect::<Vec<_>>().join(", ");
    Error::usage(format!("task: expected one of {names} in a study, found {}", task.name()))
}

pub(super) fn has_twice<T: Ord + Copy>(list: &[T]) -> bool {
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// The line, from 1, in which a place begins.
fn line(text: &str, span: &Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|&b| b == b'\n').count() + 1
}

/// A configuration's name as part of a folder's.
pub(super) fn folder_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{StudyFile, folder_name};

    const GOOD: &str = "kind = \"ablation\"\nseeds = [0, 1]\n[task]\nname = \"recall\"\n[model]\nwidth = 16\n[train]\nsteps = 3\n\
                        [[configuration]]\nname = \"all of it\"\nlayers = 2\n[[configuration]]\nname = \"no momentum\"\nmodel.momentum = false\n";

    #[test]
    fn a_file_is_read_and_written() {
        let file = StudyFile::parse(GOOD).unwrap();
        assert_eq!((file.seeds.as_slice(), file.tolerance, file.configuration.len()), (&[0, 1][..], 0.01, 2));
        assert_eq!((file.configuration[0].layers, file.configuration[1].layers), (2, 1));
        assert_eq!(StudyFile::parse(&toml::to_string(&file).unwrap()).unwrap(), file);
        assert_eq!(folder_name("+ attention (MAC)"), "attention-mac");
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_line() {
        let cases = [
            ("kind = \"ablation\"", "kind = \"ablations\"", "line 1: "),
            ("[0, 1]", "[0, 0]", "line 2: seeds: expected one or more"),
            ("[0, 1]", "[]", "line 2: seeds"),
            ("[0, 1]", "[0, -1]", "line 2: "),
            ("seeds", "sedes", "line 2: unknown field `sedes`"),
            (
                "\"recall\"",
                "\"series\"",
                "task: expected one of recall, text, forecast, track, classify, needle, babilong in",
            ),
            ("width = 16", "widths = 16", "line 6: unknown field `widths`"),
            ("width = 16", "width = \"16\"", "line 6: invalid type"),
            ("steps = 3", "minutes = 3.0", "train.steps"),
            ("layers = 2", "layers = 5", "line 11: layers: expected 1 to 4, found 5"),
            ("no momentum", "All of - it", "line 13: name: expected another"),
            ("no momentum", "...", "line 13: name: expected letters"),
            ("model.momentum", "model.momentums", "line 14: unknown field `momentums`"),
            ("model.momentum = false", "model.momentum = 0", "line 14: invalid type"),
            ("seeds = [0, 1]", "lengths = [8, 0]", "line 2: lengths"),
            ("seeds = [0, 1]", "tolerance = 1.5", "line 2: tolerance: expected a share"),
            ("seeds = [0, 1]", "tokens = 0", "line 2: tokens: expected 1"),
            ("[[configuration]]", "[[configurations]]", "configuration"),
            ("steps = 3", "steps = ", "line 8"),
        ];
        for (old, new, says) in cases {
            let error = StudyFile::parse(&GOOD.replacen(old, new, 1)).unwrap_err();
            assert!(error.contains(says), "{new}: {error}");
        }
    }
}
