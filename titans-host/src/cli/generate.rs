//! `titans generate`: a trained model continues a text.

use super::checkpoint::CheckpointArgs;
use super::eval::tokenizer;
use super::options::{DeviceArgs, count, named, number, whole};
use super::{Failure, on_device, output};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Mode;
use crate::task::generate::{Sampling, generate};
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::ffi::OsString;
use std::path::PathBuf;

/// What this verb can do about a memory that diverges.
const HINT: &str = "or give another --prompt or --seed, or --memory frozen";

/// Let a trained model write: tokens stream to standard output as they are drawn
///
/// The same seed, checkpoint and options give the same text on the same device.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  titans generate runs/text
  titans generate runs/text --prompt 'ROMEO:' --tokens 300 --temperature 0.7 --top-p 0.9 --seed 1
  titans generate runs/text --checkpoint latest --temperature 0
  titans generate runs/text --prompt-file chapter.txt > continued.txt")]
pub struct Args {
    /// A run folder (its best checkpoint), or a checkpoint
    #[arg(value_name = "RUN")]
    run: PathBuf,

    #[command(flatten)]
    which: CheckpointArgs,

    /// Text to continue [default: a line break]
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, allow_hyphen_values = true,
        value_parser = OsStringValueParser::new().try_map(utf8))]
    prompt: String,

    /// A file to continue instead; written out first like the text of --prompt
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,

    /// Tokens to write: bytes, or those of the run's vocabulary
    #[arg(long, short = 'n', value_name = "N", default_value = "500", value_parser = count)]
    tokens: usize,

    /// 0 takes the likeliest token, 1 the model's own odds
    #[arg(long, value_name = "X", default_value = "0.8", allow_negative_numbers = true, value_parser = number)]
    temperature: f64,

    /// Draw among the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value = "0.95", allow_negative_numbers = true, value_parser = number)]
    top_p: f64,

    /// Seed of the draws
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole)]
    seed: u64,

    /// What the memories do: write every token (on), stay as training left them (frozen), answer 0 (absent)
    #[arg(long, default_value = "on", value_parser = named::<Mode>())]
    memory: Mode,

    /// Where the run's vocabulary lies now [default: where it was in training]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    #[command(flatten)]
    on: DeviceArgs,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    on_device!(args.on, device => on(&device, args))
}

fn on<D: Device>(device: &D, args: &Args) -> std::result::Result<(), Failure> {
    let Args { tokens, temperature, top_p, seed, .. } = *args;
    let sampling = Sampling { tokens, temperature, top_p, seed, mode: args.memory };
    sampling.validate()?;
    let prompt = args.prompt()?;
    let (config, state, model) = args.which.load(device, &args.run)?;
    let tokenizer = tokenizer(&args.run, &config, &state, args.tokenizer.as_deref())?;
    // The prompt is echoed with the first token: a model that cannot write prints nothing.
    let (mut broken, mut echo) = (None, Some(&prompt));
    let result = generate(device, &model, &tokenizer, &prompt, &sampling, &mut |bytes| {
        let echoed = echo.take().map_or(Ok(()), |prompt| output::stream(prompt));
        broken = echoed.and_then(|()| output::stream(bytes)).err();
        Ok(broken.is_none())
    });
    if let Some(prompt) = echo.take().filter(|_| result.is_ok()) {
        output::stream(prompt)?;
    }
    match broken {
        Some(failure) => Err(failure),
        None => result.map_err(|error| Failure::hinting(error, HINT)).and_then(|_| output::stream(b"\n")),
    }
}

/// The text of an argument.
fn utf8(argument: OsString) -> std::result::Result<String, String> {
    argument.into_string().map_err(|_| "expected text in UTF-8; --prompt-file FILE takes any bytes".into())
}

impl Args {
    fn prompt(&self) -> Result<Vec<u8>> {
        match &self.prompt_file {
            Some(path) => std::fs::read(path).map_err(|e| Error::io(path, "reading the prompt", e)),
            None => Ok(self.prompt.clone().into_bytes()),
        }
    }
}
