//! `titans selftest`: a device against the CPU in f64.

use super::options::{self, DeviceArgs};
use super::{Failure, on_device, output};
use crate::device::Device;
use crate::device::cpu::Cpu;
use crate::selftest::{self, Check, RealSizes};
use clap::ValueEnum;
use serde::Serialize;
use std::path::PathBuf;

/// Check a device: every operation, golden vectors and ten training steps, against the CPU in f64
///
/// Errors are relative to the largest value of each tensor. Exit code 1 when a check fails. The usual sizes are
/// small: --sizes real has those of models at work.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
JSON keys: device, passed, checks [{name, error, allowed, passed, skipped, reason}].

Examples:
  titans selftest
  titans selftest --device cuda
  titans selftest --device cuda --sizes real
  titans selftest --device cuda --golden tests/golden --json")]
pub struct Args {
    /// A folder of golden vectors to check all of; without it four built-in ones
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,

    /// Sizes of what is computed
    #[arg(long, value_enum, default_value = "small")]
    sizes: SizesName,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    on: DeviceArgs,
}

/// Sizes of what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SizesName {
    /// 1, primes and one off powers of two: seconds, on any device
    Small,
    /// Memories of width 64 to 256 by the thousand, arrays beyond 2^31 elements, training steps twice with equal
    /// bits: for a GPU with tens of GiB (what it has no memory for is skipped, and says so); minutes on a CPU
    Real,
}

/// How one check went.
#[derive(Serialize)]
struct CheckLine<'a> {
    name: &'a str,
    /// Null where there is none: a number was not finite, or the operation failed.
    error: Option<f64>,
    allowed: f64,
    passed: bool,
    skipped: bool,
    /// Why there is no error to compare.
    reason: Option<&'a str>,
}

impl<'a> CheckLine<'a> {
    fn new(check: &'a Check) -> Self {
        let error = Some(check.error).filter(|e| e.is_finite());
        let not_finite = error.is_none().then_some("not finite");
        let error = error.filter(|_| check.skipped.is_none());
        let reason = check.failure.as_deref().or(check.skipped.as_deref()).or(not_finite);
        Self {
            name: &check.name,
            error,
            allowed: check.tolerance,
            passed: check.passed(),
            skipped: check.skipped.is_some(),
            reason,
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    device: &'a str,
    passed: bool,
    checks: Vec<CheckLine<'a>>,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    args.on.expect_f32("the self-test")?;
    on_device!(args.on, device => on(&device, args))
}

fn on<D: Device>(device: &D, args: &Args) -> Result<(), Failure> {
    let reference: Cpu<f64> = options::cpu(args.on.threads)?;
    if args.sizes == SizesName::Real && args.golden.is_some() {
        return Err(Failure::input("--golden goes with --sizes small"));
    }
    let checks = match args.sizes {
        SizesName::Small => selftest::all(device, &reference, args.golden.as_deref())?,
        SizesName::Real => selftest::real(device, &reference, &RealSizes::default()),
    };
    let (device, failed) = (device.describe(), checks.iter().filter(|check| !check.passed()).count());
    if args.json {
        let checks = checks.iter().map(CheckLine::new).collect();
        output::print_json(&Report { device: &device, passed: failed == 0, checks })?;
    } else {
        print(&device, &checks)?;
    }
    if failed > 0 {
        return Err(Failure::failed(format!("{device}: {failed} of {} checks failed", checks.len())));
    }
    Ok(())
}

/// One line a group, then one for every check that failed.
fn print(device: &str, checks: &[Check]) -> Result<(), Failure> {
    output::print(crate::error::plain(device))?;
    for group in checks.chunk_by(|a, b| a.group() == b.group()) {
        let Some(first) = group.first() else { continue };
        let mark = if group.iter().all(Check::passed) { "ok    " } else { "FAILED" };
        let largest = group.iter().map(|check| check.error).fold(0.0, f64::max);
        let line = format!("{mark}  {:12} {:5} checks, largest error {largest:.1e}", first.group(), group.len());
        output::print(line)?;
    }
    for check in checks.iter().filter(|check| !check.passed()) {
        let CheckLine { name, error, allowed, reason, .. } = CheckLine::new(check);
        let error = error.map_or(String::new(), |e| format!("error {e:.1e} of {allowed:.0e} allowed "));
        output::print(format!("FAILED  {name}: {error}{}", reason.unwrap_or("")).trim_end())?;
    }
    for check in checks {
        if let Some(why) = &check.skipped {
            output::print(format_args!("skipped {}: {why}", check.name))?;
        }
    }
    output::print(if checks.iter().all(Check::passed) { "all checks passed" } else { "some checks failed" })
}
