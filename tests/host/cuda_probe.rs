//! A machine without CUDA says so and goes on; a machine with it passes the self-test.

use std::path::Path;
use titans_host::Error;
use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::device::cuda::{Cuda, probe};
use titans_host::selftest;

#[test]
fn the_probe_gives_devices_or_a_reason() {
    let found = probe();
    assert_eq!(found, probe(), "asking again gives the same answer");
    match &found.missing {
        Some(reason) => {
            println!("no CUDA here: {reason}");
            assert!(
                reason.contains("install") || reason.contains("nvidia-smi") || reason.contains("driver"),
                "{reason}"
            );
            let error = Cuda::new(0).unwrap_err();
            assert!(matches!(error, Error::Device { device: "cuda", .. }), "{error:?}");
            assert!(error.to_string().contains(reason.as_str()), "{error}");
        }
        None => {
            assert!(!found.devices.is_empty());
            let error = Cuda::new(found.devices.len()).unwrap_err().to_string();
            assert!(error.contains("there is no device"), "{error}");
        }
    }
}

#[test]
fn a_gpu_passes_the_self_test() {
    if let Some(reason) = probe().missing {
        println!("skipped: {reason}");
        return;
    }
    let (cuda, cpu) = (Cuda::new(0).unwrap(), Cpu::<f64>::new(None).unwrap());
    println!("{}", cuda.describe());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let checks = selftest::all(&cuda, &cpu, Some(&folder)).unwrap();
    let failed: Vec<_> = checks.iter().filter(|c| !c.passed()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), checks.len());
}
