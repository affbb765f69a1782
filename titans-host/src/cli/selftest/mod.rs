//! `titans selftest`: a device against the CPU in f64.

mod golden;
mod memory;
mod ops;
mod training;

use super::options::{self, DeviceArgs};
use super::{Failure, on_device, output};
use crate::device::Device;
use crate::device::cpu::Cpu;
use crate::error::Result;
use serde::Serialize;
use std::path::PathBuf;
use titans_kernel::Scalar;

/// Check a device: every operation, golden vectors and ten training steps, against the CPU in f64
///
/// Errors are relative to the largest value of each tensor. Exit code 1 when a check fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
JSON keys: device, passed, checks [{name, error, allowed, passed, reason}].

Examples:
  titans selftest
  titans selftest --device cuda
  titans selftest --device cuda --golden tests/golden --json")]
pub struct Args {
    /// A folder of golden vectors to check all of; without it four built-in ones
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    on: DeviceArgs,
}

/// How one check went.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    error: Option<f64>,
    allowed: f64,
    passed: bool,
    /// Why there is no error to compare.
    reason: Option<String>,
}

impl Check {
    fn new(name: impl Into<String>, allowed: f64, error: Result<f64>) -> Self {
        let (error, reason) = match error {
            Ok(error) => (Some(error), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { name: name.into(), passed: error.is_some_and(|e| e <= allowed), error, allowed, reason }
    }
}

#[derive(Serialize)]
struct Report {
    device: String,
    passed: bool,
    checks: Vec<Check>,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    on_device!(args.on, device => on(&device, args))
}

fn on<D: Device>(device: &D, args: &Args) -> std::result::Result<(), Failure> {
    let reference: Cpu<f64> = options::cpu(args.on.threads)?;
    let mut checks = ops::checks(device, &reference);
    checks.extend(memory::checks(device, &reference));
    checks.extend(golden::checks(device, args.golden.as_deref())?);
    checks.push(training::check(device, &reference));
    let failed = checks.iter().filter(|check| !check.passed).count();
    let all = checks.len();
    let report = Report { device: device.describe(), passed: failed == 0, checks };
    if args.json {
        output::print_json(&report)?;
    } else {
        print(&report)?;
    }
    if failed > 0 {
        return Err(Failure::failed(format!("{}: {failed} of {all} checks failed", report.device)));
    }
    Ok(())
}

fn print(report: &Report) -> std::result::Result<(), Failure> {
    output::print(&report.device)?;
    for Check { name, error, allowed, passed, reason } in &report.checks {
        let mark = if *passed { "ok    " } else { "FAILED" };
        let error = error.map_or(String::new(), |e| format!("error {e:.1e} of {allowed:.0e} allowed"));
        output::print(format!("{mark}  {name:40}  {error}{}", reason.as_deref().unwrap_or("")).trim_end())?;
    }
    output::print(if report.passed { "all checks passed" } else { "some checks failed" })
}

/// Numbers of one operation, tensor by tensor, widened.
type Outputs = Vec<Vec<f64>>;

/// The largest error, each tensor relative to its largest value; infinite where one is not a number.
fn error(expected: &Outputs, found: &Outputs) -> f64 {
    if expected.len() != found.len() {
        return f64::INFINITY;
    }
    expected.iter().zip(found).map(|(e, f)| tensor_error(e, f)).fold(0.0, f64::max)
}

/// The largest error of one tensor relative to its largest value.
fn tensor_error(expected: &[f64], found: &[f64]) -> f64 {
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let errors = expected.iter().zip(found).map(|(e, f)| (e - f).abs() / largest);
    let worst = errors.fold(0.0, |m: f64, e| if e.is_nan() { f64::INFINITY } else { m.max(e) });
    if expected.len() == found.len() { worst } else { f64::INFINITY }
}

/// Uploads the same numbers to any device, and brings results back.
struct Bench<'a, D: Device> {
    device: &'a D,
    seed: u64,
}

impl<'a, D: Device> Bench<'a, D> {
    fn new(device: &'a D) -> Self {
        Self { device, seed: 7 }
    }

    /// `len` numbers from `low` to `high` that f32 holds exactly.
    fn numbers(&mut self, len: usize, low: f64, high: f64) -> Vec<f64> {
        let mut next = || {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = (self.seed >> 11) as f64 / (1u64 << 53) as f64;
            f64::from((low + (high - low) * unit) as f32)
        };
        (0..len).map(|_| next()).collect()
    }

    fn put(&self, x: &[f64]) -> Result<D::Buffer> {
        self.device.upload(&x.iter().map(|&x| D::Elem::from_f64(x)).collect::<Vec<_>>())
    }

    /// Random numbers around 0, on the device.
    fn random(&mut self, len: usize) -> Result<D::Buffer> {
        let numbers = self.numbers(len, -1.0, 1.0);
        self.put(&numbers)
    }

    /// An output that must be overwritten: not a number, all of it.
    fn poison(&self, len: usize) -> Result<D::Buffer> {
        self.put(&vec![f64::NAN; len])
    }

    fn get(&self, x: &D::Buffer) -> Result<Vec<f64>> {
        Ok(self.device.download(x)?.iter().map(|x| x.to_f64()).collect())
    }

    fn all(&self, buffers: &[&D::Buffer]) -> Result<Outputs> {
        buffers.iter().map(|x| self.get(x)).collect()
    }
}
