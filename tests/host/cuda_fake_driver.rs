//! The code that talks to the real machine, where there is none: a fake CUDA driver, cuBLAS and NVRTC, made of the
//! emulated kernels, found by the loader in the place of the real ones. Each test runs itself again in a process of its
//! own with that place in `LD_LIBRARY_PATH`.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;
use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::device::cuda::{Cuda, emulator, probe};
use titans_host::selftest;

/// Set in the second process.
const INSIDE: &str = "TITANS_FAKE_CUDA";

/// Compiles the fake and puts it where the loader finds it by these names.
fn make(folder: &Path, names: &[&str], flags: &[&str]) {
    let fake = include_str!("cuda_fake/driver.cpp");
    let source = folder.join("fake.cpp");
    std::fs::write(&source, format!("{}\n{fake}", emulator::source())).unwrap();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let library = folder.join("fake.so");
    let mut command = Command::new(compiler);
    command.args(["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]).args(flags);
    let output = command.arg("-o").args([&library, &source]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in names {
        std::fs::copy(&library, folder.join(format!("lib{name}.so"))).unwrap();
    }
    // What shall be missing is hidden behind files that are no libraries, should the machine have the real one.
    for name in ALL.iter().filter(|name| !names.contains(name)) {
        for ending in ["so", "so.1", "so.9", "so.10", "so.11", "so.12", "so.13"] {
            std::fs::write(folder.join(format!("lib{name}.{ending}")), "no library").unwrap();
        }
    }
}

/// Runs `body` in a process that finds the fake libraries. `test` is the calling test's name.
fn with_fake(test: &str, names: &[&str], flags: &[&str], environment: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), names, flags);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("cuda_fake_driver::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .env("LD_LIBRARY_PATH", folder.path())
        .env_remove("TITANS_NVRTC_DIR")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

const ALL: [&str; 3] = ["cuda", "cublas", "nvrtc"];

/// Every operation, the memory and ten training steps.
fn everything() {
    let found = probe();
    assert_eq!((found.missing, found.devices.len()), (None, 1));
    assert_eq!((found.devices[0].name.as_str(), found.devices[0].capability), ("Fake GPU", (9, 0)));
    let cuda = Cuda::new(0).unwrap();
    assert_eq!(cuda.describe(), "cuda: Fake GPU (compute 9.0, 3 GiB)");
    let checks = selftest::all(&cuda, &Cpu::<f64>::new(Some(1)).unwrap(), None).unwrap();
    let failed: Vec<_> = checks.iter().filter(|c| !c.passed()).collect();
    assert!(failed.is_empty() && checks.len() > 600, "{} of {}: {failed:#?}", failed.len(), checks.len());
    // Other threads may use the device too.
    std::thread::scope(|s| {
        s.spawn(|| assert_eq!(cuda.download(&cuda.upload(&[1.0, 2.0]).unwrap()).unwrap(), [1.0, 2.0]));
    });
    let huge = cuda.alloc(1 << 40).unwrap_err().to_string();
    assert!(huge.contains("4398046511104 bytes") && huge.contains("OUT_OF_MEMORY"), "{huge}");
    let absent = Cuda::new(1).unwrap_err().to_string();
    assert!(absent.contains("there is no device 1"), "{absent}");
}

#[test]
fn the_whole_self_test_passes_on_a_fake_gpu() {
    with_fake("the_whole_self_test_passes_on_a_fake_gpu", &ALL, &[], &[], everything);
}

#[test]
fn a_gpu_without_memory_pools_is_as_good() {
    with_fake("a_gpu_without_memory_pools_is_as_good", &ALL, &[], &[("FAKE_POOLS", "0")], everything);
}

/// The probe and `Cuda::new` give this reason, without a panic.
fn missing(reason: &str, devices: usize) {
    let found = probe();
    assert_eq!(found.devices.len(), devices);
    assert!(found.missing.as_deref().is_some_and(|m| m.contains(reason)), "{found:?}");
    let error = Cuda::new(0).unwrap_err().to_string();
    assert!(error.starts_with("device cuda: ") && error.contains(reason), "{error}");
}

#[test]
fn a_driver_that_lacks_functions_is_a_reason() {
    let body = || missing("update the NVIDIA driver", 0);
    with_fake("a_driver_that_lacks_functions_is_a_reason", &["cuda"], &["-DPARTIAL"], &[], body);
}

#[test]
fn a_machine_without_cublas_says_so_and_lists_its_devices() {
    let body = || missing("libcublas.so.13", 1);
    with_fake("a_machine_without_cublas_says_so_and_lists_its_devices", &["cuda", "nvrtc"], &[], &[], body);
}

#[test]
fn a_machine_without_nvrtc_says_so_and_lists_its_devices() {
    let body = || missing("libnvrtc.so.13", 1);
    with_fake("a_machine_without_nvrtc_says_so_and_lists_its_devices", &["cuda", "cublas"], &[], &[], body);
}
