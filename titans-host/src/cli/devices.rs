//! `titans devices`: what this machine offers.

use super::options::instruction_set;
use super::{Failure, output};
use crate::device::cuda;
use crate::error::plain;
use serde::Serialize;

/// List what this machine offers: CPU cores and instruction sets, CUDA devices or the reason why there are none
///
/// A machine without CUDA is not an error; TITANS_ISA with a name that is none, or that this processor lacks, is (exit
/// code 2).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  titans devices\n  titans devices --json")]
pub struct Args {
    /// Print JSON: {"cpu": {"cores", "threads", "instruction_sets", "chosen"}, "cuda": {"driver", "libraries",
    /// "devices", "absent"}}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    cpu: CpuReport,
    cuda: CudaReport,
}

#[derive(Serialize)]
struct CpuReport {
    cores: usize,
    threads: usize,
    instruction_sets: Vec<&'static str>,
    chosen: &'static str,
}

#[derive(Serialize)]
struct CudaReport {
    driver: Option<String>,
    libraries: Vec<String>,
    devices: Vec<String>,
    absent: Option<String>,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    let report = Report { cpu: cpu()?, cuda: cuda() };
    if args.json {
        return output::print_json(&report);
    }
    let Report { cpu, cuda } = report;
    output::print(format_args!("cpu   {} cores, {} threads used", cpu.cores, cpu.threads))?;
    output::print(format_args!("      instruction sets: {}", cpu.instruction_sets.join(", ")))?;
    output::print(format_args!("      chosen: {}", cpu.chosen))?;
    if let Some(driver) = &cuda.driver {
        output::print(format_args!("cuda  driver for CUDA up to {driver}"))?;
    }
    for library in &cuda.libraries {
        output::print(format_args!("cuda  {}", plain(library)))?;
    }
    for (i, name) in cuda.devices.iter().enumerate() {
        output::print(format_args!("cuda  {i}: {}", plain(name)))?;
    }
    cuda.absent.map_or(Ok(()), |reason| output::print(format_args!("cuda  not usable: {}", plain(reason))))
}

/// Why CUDA cannot be used here; `None` where it can.
pub fn cuda_absent() -> Option<String> {
    cuda::probe().missing
}

fn cuda() -> CudaReport {
    let cuda::Probe { driver, libraries, devices, missing } = cuda::probe();
    let describe = |info: cuda::Info| {
        let (major, minor) = info.capability;
        let gib = info.memory as f64 / (1u64 << 30) as f64;
        let unusable = info.unusable.map_or_else(String::new, |reason| format!("; not usable: {reason}"));
        format!("{}, {gib:.1} GiB, compute capability {major}.{minor}{unusable}", info.name)
    };
    CudaReport {
        driver: driver.map(|(major, minor)| format!("{major}.{minor}")),
        libraries: libraries.iter().map(ToString::to_string).collect(),
        devices: devices.into_iter().map(describe).collect(),
        absent: missing,
    }
}

fn cpu() -> Result<CpuReport, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chosen = instruction_set(None)?.name();
    Ok(CpuReport { cores: cores().unwrap_or(threads), threads, instruction_sets: instruction_sets(), chosen })
}

/// Cores of the machine as the system counts them, where Linux tells; this process may be allowed fewer.
fn cores() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(text.lines().filter(|line| line.starts_with("processor")).count()).filter(|&n| n > 0)
}

/// Instruction sets of this processor that matter to the arithmetic here.
fn instruction_sets() -> Vec<&'static str> {
    macro_rules! detected {
        ($detect:ident: $($name:tt)+) => {
            [$(($name, std::arch::$detect!($name))),+].into_iter().filter(|x| x.1).map(|x| x.0).collect()
        };
    }
    #[cfg(target_arch = "x86_64")]
    return detected!(is_x86_feature_detected: "sse2" "sse4.1" "avx" "avx2" "fma" "avx512f" "avx512vl" "avx512bf16");
    #[cfg(target_arch = "aarch64")]
    return detected!(is_aarch64_feature_detected: "neon" "sve");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return Vec::new();
}
