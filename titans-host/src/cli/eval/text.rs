//! Text: nats and bits a byte, token by token if asked.

use super::{Args, own};
use crate::cli::{Failure, output};
use crate::data::text;
use crate::data::tokenizer::Tokenizer;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::task::evaluate::{TokenRow, Totals, evaluate};
use crate::task::text::{Text, TextConfig};
use crate::task::{TaskConfig, text as task_text};
use crate::train::RunConfig;
use crate::train::checkpoint::RunState;
use crate::train::task::Task;
use std::io::Write;
use std::path::Path;

/// Tokens of a window, where nothing is said.
const WINDOW: usize = 512;

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    (config, task, state): (&RunConfig, &TextConfig, &RunState),
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    let tokenizer = tokenizer(&args.run, config, state, args.tokenizer.as_deref())?;
    let ids = args.ids::<D>(task, (config.train.seed, state), &tokenizer)?;
    let window = args.window.unwrap_or(WINDOW);
    let evaluation = Evaluation { device, model, tokenizer: &tokenizer, ids: &ids, window, args };
    let totals = match &args.per_token {
        None => evaluation.totals(None),
        Some(path) => output::write_with(path, |out| evaluation.per_token(path, out)),
    }
    .map_err(|error| Failure::hinting(error, super::SHORTER))?;
    if args.json {
        return output::print_json(&totals);
    }
    let Totals { tokens, bytes, nats_per_token, bits_per_byte } = totals;
    match tokenizer.crc32() {
        None => output::print(format_args!(
            "{bytes} bytes, {nats_per_token:.4} nats a byte, {bits_per_byte:.4} bits a byte"
        )),
        Some(_) => output::print(format_args!(
            "{tokens} tokens of {bytes} bytes, {nats_per_token:.4} nats a token, {bits_per_byte:.4} bits a byte"
        )),
    }
}

/// How a run reads text: by bytes, or by the vocabulary of its training, from `place` if it lies elsewhere now.
///
/// # Errors
/// [`Error::Usage`] for a run of another task or another vocabulary; what reading it reports.
pub fn tokenizer(run: &Path, config: &RunConfig, state: &RunState, place: Option<&Path>) -> Result<Tokenizer> {
    let TaskConfig::Text(mut task) = TaskConfig::of(config)? else {
        return Err(Error::usage(format!(
            "{}: it reads no text: it was trained on another task than text",
            run.display()
        )));
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
    fn totals(&self, each: Option<&mut dyn FnMut(TokenRow) -> Result<()>>) -> Result<Totals> {
        let Self { device, model, tokenizer, ids, window, args } = *self;
        evaluate(device, model, tokenizer, ids, window, args.mode(), each)
    }

    fn per_token(&self, path: &Path, out: &mut dyn Write) -> Result<Totals> {
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
        let totals = self.totals(Some(&mut each))?;
        table.flush().map_err(|e| Error::io(path, "writing the table", e))?;
        Ok(totals)
    }
}

impl Args {
    /// The ids to predict.
    fn ids<D: Device>(
        &self,
        task: &TextConfig,
        (seed, state): (u64, &RunState),
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>> {
        if self.data.is_empty() {
            let place = self.tokenizer.clone().or(task.tokenizer.clone());
            let task = TextConfig { tokenizer: place, ..task.clone() };
            let mut text = Text::read(task, seed).map_err(own)?;
            Task::<D>::restore(&mut text, &state.task).map_err(own)?;
            // Those of the vocabulary are told.
            let notes = Task::<D>::notes(&text);
            output::tell(notes.iter().filter(|note| !tokenizer.notes().contains(note)));
            return Ok(text.validation_ids().to_vec());
        }
        let text::Content { bytes, notes } = text::read(&self.data)?;
        output::tell(&notes);
        match self.tail {
            Some(share) => tokenizer.encode(text::split(&bytes, share, 0)?.1),
            None => tokenizer.encode(&bytes),
        }
    }
}
