//! Text: nats and bits a byte, token by token if asked.

use super::forecast::PartName;
use super::positions::Positions;
use super::{Args, own};
use crate::cli::{Failure, output};
use crate::data::text;
use crate::data::tokenizer::Tokenizer;
use crate::device::Device;
use crate::error::{Error, Result, counted};
use crate::model::Model;
use crate::task::evaluate::{TokenRow, Totals, evaluate};
use crate::task::language::{TextBaselines, text_baselines, words};
use crate::task::text::TextConfig;
use crate::task::{MEASURED, TaskConfig, text as task_text};
use crate::train::RunConfig;
use crate::train::checkpoint::RunState;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Tokens of a window, where nothing is said.
const WINDOW: usize = 512;

/// Bytes of a word, on the mean, in hardly any language that has blanks between them.
const WORD: usize = 40;

/// What is printed.
#[derive(Serialize)]
struct TextReport {
    #[serde(flatten)]
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<PartName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<usize>,
    /// Null where it is asked for and no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    word_perplexity: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baselines: Option<TextBaselines>,
}

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    (config, task, state): (&RunConfig, &TextConfig, &RunState),
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    let tokenizer = tokenizer(&args.run, config, state, args.tokenizer.as_deref())?;
    if args.lambada.is_some() || args.choices.is_some() {
        return super::questions::run(device, args, &tokenizer, model);
    }
    let measured = args.evaluation_text(task, state)?;
    let ids = tokenizer.encode(&measured.bytes)?;
    let window = args.window.unwrap_or(WINDOW);
    let mut positions = args.picture.as_ref().map(|_| Positions::new(window, ids.len()));
    let evaluation = Evaluation { device, model, tokenizer: &tokenizer, ids: &ids, window, args };
    let totals = match &args.per_token {
        None => evaluation.totals(None, positions.as_mut()),
        Some(path) => output::write_with(path, |out| evaluation.per_token(path, out, positions.as_mut())),
    }
    .map_err(|error| Failure::hinting(error, super::SHORTER))?;
    if let (Some(path), Some(positions)) = (&args.picture, &positions) {
        positions.draw(path)?;
    }
    let words = args.word_perplexity.then(|| words(&measured.bytes));
    // The first token, which nothing stands before, costs what a choice among all costs.
    let nats = totals.nats_per_token * totals.tokens as f64 + (tokenizer.vocabulary() as f64).ln();
    let baselines = measured.train.map(|train| text_baselines(&train, &measured.bytes)).transpose()?;
    let word_perplexity = words.map(|words| word_perplexity(words, measured.bytes.len(), nats));
    let report = TextReport { totals, part: measured.part, words, word_perplexity, baselines };
    if args.json {
        return output::print_json(&report);
    }
    let pieces = if window == 0 { "one uncut stream".to_owned() } else { format!("windows of {window} tokens") };
    print(&report, &tokenizer, &format!("{pieces}, memory {}", titans_kernel::Choice::name(args.mode())))
}

/// exp of the nats by the words; none where that is no number, which is told with what to do, as is what is hardly a
/// text of words.
fn word_perplexity(words: usize, bytes: usize, nats: f64) -> Option<f64> {
    let perplexity = (nats / words as f64).exp();
    let found = (words > 0 && perplexity.is_finite()).then_some(perplexity);
    if found.is_none() || bytes / words.max(1) > WORD {
        let none = if found.is_none() { "their perplexity is beyond all numbers; " } else { "" };
        output::complain(&format!(
            "--word-perplexity: a word is what stands between blanks, or a line end; this text of {} has {}: {none}compare by bits a byte \
             instead, or put blanks between its words",
            counted(bytes, "byte"),
            counted(words, "word")
        ));
    }
    found
}

/// `how` the text was read.
fn print(report: &TextReport, tokenizer: &Tokenizer, how: &str) -> std::result::Result<(), Failure> {
    let Totals { tokens, bytes, nats_per_token, bits_per_byte } = report.totals;
    match tokenizer.crc32() {
        None => output::print(format_args!(
            "{}, {nats_per_token:.4} nats a byte, {bits_per_byte:.4} bits a byte ({how})",
            counted(bytes, "byte")
        )),
        Some(_) => output::print(format_args!(
            "{} of {}, {nats_per_token:.4} nats a token, {bits_per_byte:.4} bits a byte ({how})",
            counted(tokens, "token"),
            counted(bytes, "byte")
        )),
    }?;
    if let (Some(words), Some(Some(perplexity))) = (report.words, report.word_perplexity) {
        output::print(format_args!("perplexity of a word {perplexity:.2} ({words} words, line ends counted)"))?;
    }
    if let Some(baselines) = &report.baselines {
        let list = |of: &BTreeMap<usize, f64>| of.values().map(|x| format!("{x:>8.4}")).collect::<String>();
        let heads = baselines.orders.keys().map(|k| format!("{k:>8}")).collect::<String>();
        output::print(format_args!("bits a byte by counts after so many bytes\n{:<22}{heads}", ""))?;
        output::print(format_args!("{:<22}{}", "of the training part", list(&baselines.orders)))?;
        output::print(format_args!("{:<22}{}", "that go on", list(&baselines.orders_adaptive)))?;
        output::print(format_args!("{:<22}{:>8.4}", "gzip", baselines.gzip))?;
    }
    Ok(())
}

/// How a run reads text: by bytes, or by the vocabulary of its training, from `place` if it lies elsewhere now.
///
/// # Errors
/// [`Error::Usage`] for a run of another task or another vocabulary; what reading it reports.
pub fn tokenizer(run: &Path, config: &RunConfig, state: &RunState, place: Option<&Path>) -> Result<Tokenizer> {
    let task = TaskConfig::of(config)?;
    let (name, ends) = (task.name(), task.task().facts().ends);
    let mut task = match task {
        TaskConfig::Text(task) => task,
        other => {
            let instead = match other {
                TaskConfig::Forecast(_) => "titans forecast says what comes after the last row of a file",
                TaskConfig::Series(_) => "titans stream predicts what comes after each patch of rows",
                _ => ends.unwrap_or(MEASURED),
            };
            return Err(Error::usage(format!(
                "{}: expected a run of the text task, found one of the {name} task, which writes no text of its own; {instead}",
                run.display()
            )));
        }
    };
    if let Some(place) = place {
        task.tokenizer = Some(place.to_path_buf());
    }
    let tokenizer = task_text::tokenizer(&task, &state.task)?;
    output::tell(tokenizer.notes());
    Ok(tokenizer)
}

struct Evaluation<'a, D: Device> {
    device: &'a D,
    model: &'a Model<D>,
    tokenizer: &'a Tokenizer,
    ids: &'a [u32],
    window: usize,
    args: &'a Args,
}

impl<D: Device> Evaluation<'_, D> {
    fn totals(
        &self,
        each: Option<&mut dyn FnMut(TokenRow) -> Result<()>>,
        positions: Option<&mut Positions>,
    ) -> Result<Totals> {
        let Self { device, model, tokenizer, ids, window, args } = *self;
        let Some(positions) = positions else {
            return evaluate(device, model, tokenizer, ids, window, args.mode(), each);
        };
        let mut each = each;
        let mut both = |row: TokenRow| {
            positions.add(&row, tokenizer.bytes(row.token).len());
            each.as_mut().map_or(Ok(()), |each| each(row))
        };
        evaluate(device, model, tokenizer, ids, window, args.mode(), Some(&mut both))
    }

    fn per_token(&self, path: &Path, out: &mut dyn Write, positions: Option<&mut Positions>) -> Result<Totals> {
        let fail = |e: csv::Error| match e.into_kind() {
            csv::ErrorKind::Io(e) => Error::io(path, "writing the table", e),
            other => Error::file(path, format!("{other:?}")),
        };
        let bytes_alone = self.tokenizer.crc32().is_none();
        let mut table = csv::Writer::from_writer(out);
        let first: &[&str] = if bytes_alone { &["position", "byte"] } else { &["position", "token", "bytes"] };
        let mut header: Vec<String> = first.iter().map(|&name| name.into()).collect();
        header.push("log_probability".into());
        header.extend(self.model.config().remembering().map(|block| format!("surprise_{block}")));
        table.write_record(header).map_err(fail)?;
        let mut each = |row: TokenRow| -> Result<()> {
            let mut record = vec![row.position.to_string(), row.token.to_string()];
            if !bytes_alone {
                record.push(self.tokenizer.bytes(row.token).len().to_string());
            }
            record.push(row.log_probability.to_string());
            record.extend(row.surprise.iter().map(f64::to_string));
            table.write_record(record).map_err(fail)
        };
        let totals = self.totals(Some(&mut each), positions)?;
        table.flush().map_err(|e| Error::io(path, "writing the table", e))?;
        Ok(totals)
    }
}

/// The text to predict, and where it comes from.
struct EvaluationText {
    bytes: Vec<u8>,
    part: Option<PartName>,
    /// The run's training part, for the baselines.
    train: Option<Vec<u8>>,
}

impl Args {
    fn evaluation_text(&self, task: &TextConfig, state: &RunState) -> Result<EvaluationText> {
        let own_text = self.data.is_empty();
        let mut measured = EvaluationText { bytes: Vec::new(), part: None, train: None };
        if own_text || self.baselines {
            let text::Content { bytes, notes } = text::read_texts(&task.data).map_err(own)?;
            task.expect_same(&state.task, &bytes).map_err(own)?;
            output::tell(&notes);
            let parts = task.parts(&bytes).map_err(own)?;
            measured.train = self.baselines.then(|| bytes[parts.train].to_vec());
            if own_text {
                let (name, part) = match (self.part, task.split) {
                    (Some(PartName::Valid), _) => (Some(PartName::Valid), parts.valid),
                    (Some(PartName::Test), None) => return Err(no_test()),
                    (None, None) => (None, parts.valid),
                    (_, Some(_)) => (Some(PartName::Test), parts.test),
                };
                (measured.part, measured.bytes) = (name, bytes[part].to_vec());
            }
        }
        if !own_text {
            let text::Content { bytes, notes } = text::read_texts(&self.data)?;
            output::tell(&notes);
            measured.bytes = match self.tail {
                Some(share) => text::split(&bytes, share, 0)?.1.to_vec(),
                None => bytes,
            };
        }
        Ok(measured)
    }
}

fn no_test() -> Error {
    Error::usage(
        "--part test: the run has no test part: expected one trained with --split, found none; --part valid or --data FILE evaluate others",
    )
}
