//! The studies that need no file: the paper's table 5 and figures 7 to 9, on any of the tasks.

use super::file::{Entry, StudyFile, StudyKind, has_twice};
use crate::error::{Error, Result};
use crate::model::Kind;
use crate::task::{StudyBy, TaskName};
use std::path::PathBuf;
use titans_kernel::Choice;
use toml::{Table, Value};

/// The tasks of which a study needs no more than [`StudyOptions`] say.
pub fn tasks_of_options() -> Vec<TaskName> {
    TaskName::ALL.iter().copied().filter(|task| task.facts().study == StudyBy::Options).collect()
}

/// What a study is made from where there is no file.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyOptions {
    /// One of [`tasks_of_options`].
    pub task: TaskName,
    /// Files of text, of rows with labels, or one of numbers.
    pub data: Vec<PathBuf>,
    /// The vocabulary of that text.
    pub tokenizer: Option<PathBuf>,
    /// Seeds; none for 0 alone.
    pub seeds: Vec<u64>,
    /// Steps of every run.
    pub steps: Option<u64>,
    /// Tokens of a training sequence.
    pub context: Option<usize>,
    /// Sequences (text) or tokens of a batch.
    pub batch: Option<usize>,
    /// Blocks.
    pub blocks: Option<usize>,
    /// Width of the stream.
    pub width: Option<usize>,
    /// Lengths by which is measured.
    pub lengths: Vec<usize>,
    /// Parameters of every model.
    pub parameters: Option<usize>,
}

impl StudyOptions {
    /// Those that say no more than the task.
    pub const fn of(task: TaskName) -> Self {
        Self {
            task,
            data: Vec::new(),
            tokenizer: None,
            seeds: Vec::new(),
            steps: None,
            context: None,
            batch: None,
            blocks: None,
            width: None,
            lengths: Vec::new(),
            parameters: None,
        }
    }
}

/// The study of a kind.
///
/// # Errors
/// [`Error::Usage`] for a number that TOML cannot hold, or a path that is not UTF-8.
pub fn describe(kind: StudyKind, options: &StudyOptions) -> Result<StudyFile> {
    let text = options.task == TaskName::Text;
    let mut task = Table::from_iter([("name".to_owned(), Value::from(options.task.name()))]);
    let lasting = options.task.facts().own_lengths;
    if let (TaskName::Forecast, [file, ..]) = (options.task, &options.data[..]) {
        task.insert("data".into(), Value::from(utf8(file)?));
    } else if !options.data.is_empty() {
        let files = options.data.iter().map(|path| Ok(Value::from(utf8(path)?))).collect::<Result<Vec<_>>>()?;
        task.insert("data".into(), Value::Array(files));
    }
    if let Some(path) = &options.tokenizer {
        task.insert("tokenizer".into(), Value::from(utf8(path)?));
    }
    let names = if text || lasting { ("context", "sequences") } else { ("length", "tokens") };
    number(&mut task, names.0, options.context)?;
    number(&mut task, names.1, options.batch)?;
    let mut model = Table::from_iter([("persistent".to_owned(), Value::Integer(4))]);
    number(&mut model, "blocks", options.blocks)?;
    number(&mut model, "width", options.width)?;
    let mut train = Table::new();
    number(&mut train, "steps", options.steps)?;
    let lengths = match (options.lengths.is_empty(), kind) {
        (false, _) => options.lengths.clone(),
        (true, StudyKind::Ablation) => Vec::new(),
        (true, _) if lasting => Vec::new(),
        (true, _) if options.task == TaskName::Track => vec![16, 64, 256, 1024],
        (true, _) if options.task == TaskName::Needle => vec![1024, 2048, 4096, 8192, 16384],
        (true, _) => vec![256, 512, 1024, 2048, 4096],
    };
    // As its file would refuse them when the study goes on.
    if lengths.contains(&0) || has_twice(&lengths) {
        let found = &options.lengths;
        return Err(Error::usage(format!("--lengths: expected 1 or more tokens, each length once, found {found:?}")));
    }
    if has_twice(&options.seeds) {
        return Err(Error::usage(format!("--seeds: expected each once, found {:?}", options.seeds)));
    }
    Ok(StudyFile {
        kind,
        seeds: if options.seeds.is_empty() { vec![0] } else { options.seeds.clone() },
        parameters: options.parameters,
        tolerance: 0.01,
        lengths,
        tokens: 1 << 17,
        step_tokens: 4096,
        repeats: 5,
        task,
        model,
        train,
        configuration: configurations(kind, text),
    })
}

fn utf8(path: &std::path::Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::file(path, "expected a path in UTF-8, which a study's file can name"))
}

fn number<T: TryInto<i64>>(table: &mut Table, name: &str, value: Option<T>) -> Result<()> {
    if let Some(value) = value {
        let value = value.try_into().map_err(|_| Error::usage(format!("{name}: expected up to {}", i64::MAX)))?;
        table.insert(name.into(), Value::Integer(value));
    }
    Ok(())
}

fn configurations(kind: StudyKind, text: bool) -> Vec<Entry> {
    // The paper's figures are perplexities of text.
    let of = |name: &str, layers: usize, paper: Option<f64>, model: &[(&str, Value)]| Entry {
        name: name.into(),
        layers,
        paper: paper.filter(|_| text),
        model: model.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
    };
    let block = |name: &str| ("block", Value::from(name));
    let blocks = Kind::ALL.iter().map(|kind| kind.name());
    match kind {
        StudyKind::Ablation => vec![
            of("LMM", 2, Some(27.01), &[]),
            of("LMM + attention, MAC", 2, Some(26.67), &[block("mac")]),
            of("LMM + attention, MAG", 2, Some(25.70), &[block("mag")]),
            of("LMM + attention, MAL", 2, Some(25.91), &[block("mal")]),
            of("linear memory", 1, Some(28.49), &[]),
            of("without convolution", 2, Some(28.73), &[("conv_width", Value::Integer(0))]),
            of("without momentum", 2, Some(28.98), &[("momentum", Value::Boolean(false))]),
            of("without weight decay", 2, Some(29.04), &[("forgetting", Value::Boolean(false))]),
            of("without persistent memory", 2, Some(27.63), &[("persistent", Value::Integer(0))]),
        ],
        StudyKind::Depth => (1..=4).map(|layers| of(&format!("layers {layers}"), layers, None, &[])).collect(),
        StudyKind::Length => blocks.map(|name| of(name, 1, None, &[block(name)])).collect(),
        StudyKind::Throughput => {
            let mut all: Vec<Entry> = blocks.map(|name| of(name, 1, None, &[block(name)])).collect();
            all.insert(1, of("lmm, 2 layers", 2, None, &[block("lmm")]));
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arms::Study;
    use super::super::file::{StudyFile, StudyKind};
    use super::{StudyOptions, describe};
    use crate::task::TaskName;
    use titans_kernel::Choice;

    #[test]
    fn every_kind_is_a_study_of_one_size_on_every_task() {
        for &kind in StudyKind::ALL {
            for task in [TaskName::Recall, TaskName::Text, TaskName::Track, TaskName::Needle] {
                let options = StudyOptions { steps: Some(7), ..StudyOptions::of(task) };
                let file = describe(kind, &options).unwrap();
                let written = toml::to_string(&file).unwrap();
                assert_eq!(toml::from_str::<StudyFile>(&written).unwrap(), file, "{written}");
                let study = Study::new(file).unwrap();
                let sizes: Vec<usize> = study.arms.iter().map(|arm| arm.parameters).collect();
                let far = |&n: &usize| n.abs_diff(study.parameters) as f64 > 0.01 * study.parameters as f64;
                assert!(!sizes.iter().any(far), "{kind:?} {task:?}: {sizes:?}");
                assert!(study.arms.iter().all(|arm| arm.run.train.steps == 7));
            }
        }
    }

    #[test]
    fn what_the_file_would_refuse_is_refused_before_there_is_one() {
        let options = |lengths: &[usize], seeds: &[u64]| StudyOptions {
            lengths: lengths.into(),
            seeds: seeds.into(),
            ..StudyOptions::of(TaskName::Recall)
        };
        for (options, name) in [
            (options(&[8, 0], &[]), "--lengths"),
            (options(&[8, 8], &[]), "--lengths"),
            (options(&[], &[1, 1]), "--seeds"),
        ] {
            let error = describe(StudyKind::Length, &options).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
