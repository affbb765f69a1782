//! `titans eval`: how well a trained model predicts text.

use super::options::{DeviceArgs, ModeName};
use super::{Failure, on_device, output};
use crate::data::text;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{MemoryMode, Model};
use crate::task::evaluate::{Row, Totals, evaluate};
use crate::task::{TaskConfig, text as text_task};
use crate::train::{RunConfig, checkpoint};
use std::io::Write;
use std::path::{Path, PathBuf};

const ABOUT: &str = "\
Without --data the run's own text is read and its validation part (the last tenth) evaluated.

--per-token writes CSV with the header position,byte,log_probability,surprise_0,surprise_1,...: one row for each byte
predicted; position counts from 0 in the bytes evaluated (the first byte is never predicted), log_probability is
natural, surprise_l is that of layer l at the byte before: the inner loss c ‖M(k) − v‖² averaged over the heads, with c by
the model's memory.loss (sum 1, half 1/2, mean 1/d_v).

JSON keys: tokens (bytes predicted), nats_per_token, bits_per_byte.

Examples:
  titans eval runs/text
  titans eval runs/text --memory frozen
  titans eval runs/text/best.safetensors --data book.txt.gz --window 0 --json
  titans eval runs/text --data book.txt --per-token book.csv";

/// Measure how well a trained model predicts text: nats and bits a byte
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// A run folder (its latest checkpoint), or a checkpoint
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Text to predict, one file after the other; .gz is read as it is [default: the run's validation part]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,

    /// Evaluate only the last part of --data, a share above 0 and below 1
    #[arg(long, value_name = "SHARE", requires = "data", allow_negative_numbers = true)]
    tail: Option<f64>,

    /// Tokens of a window, each with fresh memories; 0 reads everything as one uncut stream
    #[arg(long, value_name = "N", default_value = "512")]
    window: usize,

    /// What the memories may do
    #[arg(long, value_enum, default_value = "on")]
    memory: ModeName,

    /// Write every byte's log-probability and surprise
    #[arg(long, value_name = "OUT.csv")]
    per_token: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    on: DeviceArgs,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    on_device!(args.on, device => on(&device, args))
}

fn on<D: Device>(device: &D, args: &Args) -> std::result::Result<(), Failure> {
    let (config, _, model) = checkpoint::load_model(device, &args.run)?;
    let bytes = args.bytes(&config)?;
    let mode = args.memory.into();
    let totals = match &args.per_token {
        None => evaluate(device, &model, &bytes, args.window, mode, None)?,
        Some(path) => {
            output::write_with(path, |out| per_token(device, &model, &bytes, args.window, mode, (path, out)))?
        }
    };
    if args.json {
        return output::print_json(&totals);
    }
    let Totals { tokens, nats_per_token, bits_per_byte } = totals;
    output::print(format_args!("{tokens} bytes, {nats_per_token:.4} nats a byte, {bits_per_byte:.4} bits a byte"))
}

fn per_token<D: Device>(
    device: &D,
    model: &Model<D>,
    bytes: &[u8],
    window: usize,
    mode: MemoryMode,
    (path, out): (&Path, &mut dyn Write),
) -> Result<Totals> {
    let fail = |e: csv::Error| match e.into_kind() {
        csv::ErrorKind::Io(e) => Error::io(path, "writing the table", e),
        other => Error::file(path, format!("{other:?}")),
    };
    let mut table = csv::Writer::from_writer(out);
    let mut header = vec!["position".to_owned(), "byte".into(), "log_probability".into()];
    header.extend(model.config().remembering().map(|block| format!("surprise_{block}")));
    table.write_record(header).map_err(fail)?;
    let mut each = |row: Row| -> Result<()> {
        let mut record = vec![row.position.to_string(), row.byte.to_string(), row.log_probability.to_string()];
        record.extend(row.surprise.iter().map(f64::to_string));
        table.write_record(record).map_err(fail)
    };
    let totals = evaluate(device, model, bytes, window, mode, Some(&mut each))?;
    table.flush().map_err(|e| Error::io(path, "writing the table", e))?;
    Ok(totals)
}

impl Args {
    /// The bytes to predict.
    fn bytes(&self, config: &RunConfig) -> Result<Vec<u8>> {
        if !self.data.is_empty() {
            let bytes = text::read(&self.data)?;
            return match self.tail {
                Some(share) => Ok(text::split(&bytes, share, 0)?.1.to_vec()),
                None => Ok(bytes),
            };
        }
        match TaskConfig::of(config)? {
            TaskConfig::Text(task) => Ok(text_task::Text::read(task, config.train.seed)?.validation_bytes().to_vec()),
            TaskConfig::Recall(_) => Err(Error::usage(format!(
                "{}: a run of the recall task reads no text; its results are in recall.json (titans train makes them)",
                self.run.display()
            ))),
        }
    }
}
