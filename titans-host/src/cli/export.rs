//! `titans export`: a trained model as one blob, for the kernel's streams.

use super::checkpoint::CheckpointArgs;
use super::options::DeviceArgs;
use super::{Failure, on_device, output};
use crate::device::Device;
use crate::error::{Result, plain};
use crate::model::{ModelConfig, Weights};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Write a trained model as one blob: configuration, weights and checksum, to be mapped or put into flash
///
/// A blob is what `titans stream`, the kernel's Model and a microcontroller run. Numbers are f32, little-endian,
/// aligned to 64 bytes from the blob's start.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
JSON keys: file, bytes, parameters, block_bytes_1 and block_bytes_64 (memory of one stream that takes 1 or 64 tokens at
once).

Examples:
  titans export runs/text
  titans export runs/text --checkpoint latest --out model.titans --json")]
pub struct Args {
    /// A run folder (its best checkpoint), or a checkpoint
    #[arg(value_name = "RUN")]
    run: PathBuf,

    #[command(flatten)]
    which: CheckpointArgs,

    /// The file to write [default: model.titans in the run folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    on: DeviceArgs,
}

/// What was written.
#[derive(Serialize)]
struct Exported {
    file: String,
    bytes: usize,
    parameters: usize,
    block_bytes_1: usize,
    block_bytes_64: usize,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    on_device!(args.on, device => on(&device, args))
}

fn on<D: Device>(device: &D, args: &Args) -> std::result::Result<(), Failure> {
    let (config, _, model) = args.which.load(device, &args.run)?;
    let weights = Weights::of(device, &model)?;
    let out = args.out.clone().unwrap_or_else(|| beside(&args.run));
    output::write_whole(&out, weights.bytes())?;
    let exported = describe(&out, &weights, &config.model)?;
    if args.json {
        return output::print_json(&exported);
    }
    let Exported { file, bytes, parameters, block_bytes_1, block_bytes_64 } = exported;
    output::print(format_args!(
        "{}: {parameters} parameters, {bytes} bytes; a stream takes {block_bytes_1} bytes token by token, {block_bytes_64} \
         with 64 tokens at once",
        plain(file)
    ))
}

fn describe<T: titans_kernel::arch::SimdScalar>(
    out: &Path,
    weights: &Weights<T>,
    config: &ModelConfig,
) -> Result<Exported> {
    let model = weights.model()?;
    let bytes = |rows| model.stream_len(rows).saturating_mul(T::BYTES);
    Ok(Exported {
        file: out.display().to_string(),
        bytes: weights.bytes().len(),
        parameters: config.parameters()?,
        block_bytes_1: bytes(1),
        block_bytes_64: bytes(64),
    })
}

/// `model.titans` in the run's folder.
fn beside(run: &Path) -> PathBuf {
    let folder = if run.is_dir() { Some(run) } else { run.parent() };
    folder.unwrap_or_else(|| Path::new("")).join("model.titans")
}
