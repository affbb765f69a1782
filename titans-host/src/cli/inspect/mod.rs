//! `titans inspect`: what a file of ours holds.

mod memory;

pub use memory::{PlannedOn, peak};

use super::checkpoint::CheckpointArgs;
use super::options::{named, threads};
use super::{Failure, npz, output, state, tensors};
use crate::error::{Error, counted, plain};
use crate::train::store::{Float, Store, without_tensors};
use memory::PlannedKind;
use safetensors::tensor::{SafeTensors, TensorView};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Show what a checkpoint, a raw memory's saved stream or a file of tensors holds: configuration, tensors, and whether
/// it is whole
///
/// A damaged or truncated file is an error (exit code 2). With --memory, the memory that a step of training will take
/// on the CPU or on a CUDA device, by formula: nothing runs, and no such device need be there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
JSON keys: file, bytes, metadata (text that is JSON is given as JSON), elements, tensors [{name, dtype, shape, min, max,
rms, not_finite}] (the last four only for F32 and F64). Of a saved stream: file, bytes, state. Of --memory: file,
device, threads (0 on CUDA), batch, time, and in bytes: parameters, gradients, moments, kept {linear, norms,
convolutions, elementwise, attention, memories, boundaries, other, total} (what the forward leaves for the backward),
working (what cotangents and scratch add at the peak), peak.

Examples:
  titans inspect runs/recall --checkpoint latest
  titans inspect out.safetensors --json
  titans inspect --memory runs/text/config.toml --threads 2
  titans inspect --memory runs/text/config.toml --device cuda")]
pub struct Args {
    /// A checkpoint, any safetensors file, an .npz file, or a raw memory's stream as the kernel and libtitans save it
    /// (not the state of `titans stream`, which that verb checks); of a run folder, its best checkpoint. With --memory
    /// a run's config.toml, a run folder or a checkpoint
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    which: CheckpointArgs,

    /// Print the bytes of a training step of this configuration, before anything runs
    #[arg(long, conflicts_with = "checkpoint")]
    memory: bool,

    /// Where the step would run: cpu or cuda
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = named::<PlannedKind>(), requires = "memory")]
    device: PlannedKind,

    /// CPU threads of the step [default: all of this machine's]
    #[arg(long, value_name = "N", value_parser = threads, requires = "memory")]
    threads: Option<usize>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    file: String,
    bytes: usize,
    metadata: Map<String, Value>,
    elements: usize,
    tensors: Vec<TensorEntry>,
}

#[derive(Serialize)]
struct TensorEntry {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    #[serde(flatten)]
    values: Option<Values>,
}

/// What the finite elements of a tensor are like.
#[derive(Serialize)]
struct Values {
    min: f64,
    max: f64,
    rms: f64,
    not_finite: usize,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.memory {
        let on = match (args.device, args.threads) {
            (PlannedKind::Cuda, Some(_)) => {
                return Err(Failure::input("--threads is for the CPU: leave it out with --device cuda"));
            }
            (PlannedKind::Cuda, None) => PlannedOn::Cuda,
            (PlannedKind::Cpu, threads) => PlannedOn::Cpu(threads),
        };
        return memory::run(&args.file, on, args.json);
    }
    let path = args.which.file(&args.file)?;
    let bytes = tensors::read(&path)?;
    if state::is_state(&bytes) {
        let (file, bytes, state) = (path.display().to_string(), bytes.len(), state::read(&path, &bytes)?);
        let report = serde_json::json!({ "file": file, "bytes": bytes, "state": state });
        return if args.json {
            output::print_json(&report)
        } else {
            output::print(format_args!("saved stream: {}", plain(report)))
        };
    }
    if let Some(what) = without_tensors(&bytes) {
        let reason = format!("is {what}, which `titans stream` reads and checks; this verb does not");
        return Err(Error::file(&path, reason).into());
    }
    let bytes = npz::as_safetensors(&path, bytes)?;
    let report = report(&path, &bytes)?;
    if args.json { output::print_json(&report) } else { print(&report) }
}

fn report(path: &Path, bytes: &[u8]) -> Result<Report, Failure> {
    let broken = |e| Error::file(path, format!("is no complete safetensors file: {e}"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    if header.metadata().as_ref().is_some_and(|entries| entries.contains_key("titans.checksum")) {
        Store::from_bytes(bytes).map_err(|reason| Error::file(path, reason))?;
    }
    let mut entries: Vec<_> = header.metadata().iter().flatten().collect();
    entries.sort();
    let json = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    let mut tensors: Vec<TensorEntry> = file.iter().map(|(name, view)| tensor(name, &view)).collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Report {
        file: path.display().to_string(),
        bytes: bytes.len(),
        metadata: entries.into_iter().map(|(key, text)| (key.clone(), json(text))).collect(),
        elements: tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum(),
        tensors,
    })
}

fn tensor(name: &str, view: &TensorView<'_>) -> TensorEntry {
    let values = Float::of_dtype(view.dtype()).map(|float| values(float.numbers(view.data())));
    TensorEntry { name: name.to_owned(), dtype: view.dtype().to_string(), shape: view.shape().to_vec(), values }
}

fn values(all: impl Iterator<Item = f64>) -> Values {
    let (mut count, mut squares) = (0usize, 0.0);
    let mut values = Values { min: f64::INFINITY, max: f64::NEG_INFINITY, rms: 0.0, not_finite: 0 };
    for x in all {
        if x.is_finite() {
            count += 1;
            squares += x * x;
            values.min = values.min.min(x);
            values.max = values.max.max(x);
        } else {
            values.not_finite += 1;
        }
    }
    values.rms = (squares / count.max(1) as f64).sqrt();
    if count == 0 {
        (values.min, values.max) = (0.0, 0.0);
    }
    values
}

fn print(report: &Report) -> Result<(), Failure> {
    let Report { file, bytes, metadata, elements, tensors } = report;
    output::print(format_args!(
        "{}: {bytes} bytes, {}, {}",
        plain(file),
        counted(tensors.len(), "tensor"),
        counted(elements, "element")
    ))?;
    for (key, value) in metadata {
        output::print(format_args!("  {} = {}", plain(key), plain(value)))?;
    }
    let names: Vec<String> = tensors.iter().map(|t| plain(&t.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, TensorEntry { dtype, shape, values, .. }) in names.iter().zip(tensors) {
        let shape = format!("{shape:?}");
        let values = values.as_ref().map_or(String::new(), |v| {
            let broken = if v.not_finite > 0 { format!("  {} not finite", v.not_finite) } else { String::new() };
            let [min, max, rms] = [v.min, v.max, v.rms].map(output::places);
            format!("{min:>11} to {max:<11} rms {rms:<11}{broken}")
        });
        output::print(format!("  {name:width$}  {dtype:4}  {shape:18}  {values}").trim_end())?;
    }
    Ok(())
}
