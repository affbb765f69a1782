//! The code that talks to the real machine, where there is none: a fake CUDA driver, cuBLAS and NVRTC, made of the
//! emulated kernels, found by the loader in the place of the real ones. Each test runs itself again in processes of its
//! own with that place in `LD_LIBRARY_PATH`.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use titans_host::device::cpu::Cpu;
use titans_host::device::cuda::compile::SOURCES;
use titans_host::device::cuda::{Cuda, emulator, probe};
use titans_host::device::{Device, LinearDims};
use titans_host::selftest;

/// Set in the second process.
const INSIDE: &str = "TITANS_FAKE_CUDA";

/// All that a machine has, by the names that NVIDIA gives them.
pub(crate) const ALL: [&str; 3] = ["libcuda.so.1", "libcublas.so.13", "libnvrtc.so.13"];

/// Folders with the fake libraries.
pub(crate) struct Fake {
    folder: TempDir,
    library: PathBuf,
}

fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

impl Fake {
    /// Compiles the fake.
    pub(crate) fn new(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = include_str!("cuda_fake/driver.cpp");
        let (source, library) = (folder.path().join("fake.cpp"), folder.path().join("fake"));
        std::fs::write(&source, format!("{}\n{fake}", emulator::source(SOURCES))).unwrap();
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        let mut command = Command::new(compiler);
        command.args(["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]).args(flags);
        let output = command.arg("-o").args([&library, &source]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let fake = Self { folder, library };
        // What shall be missing is hidden behind files that are no libraries, should the machine have the real one.
        for name in ["cuda", "cublas", "nvrtc"] {
            for ending in ["so", "so.1", "so.11", "so.12", "so.13"] {
                fake.write("loader", &format!("lib{name}.{ending}"), b"no library");
            }
        }
        fake
    }

    pub(crate) fn path(&self, folder: &str) -> PathBuf {
        self.folder.path().join(folder)
    }

    fn write(&self, folder: &str, name: &str, bytes: &[u8]) {
        let folder = self.path(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }

    /// Puts the fake where the loader finds it by these names.
    pub(crate) fn with(self, names: &[&str]) -> Self {
        names.iter().for_each(|name| self.put("loader", name));
        self
    }

    fn put(&self, folder: &str, name: &str) {
        self.write(folder, name, &std::fs::read(&self.library).unwrap());
    }

    /// The test again, in a process that finds the fake libraries.
    fn run(&self, test: &str, environment: &[(&str, &str)]) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("cuda_fake_driver::{test}"), "--nocapture"]).env(INSIDE, "1");
        for name in ["TITANS_CUDA_DIR", "CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LOCAL_RANK"] {
            command.env_remove(name);
        }
        command.env("LD_LIBRARY_PATH", self.path("loader")).env("HOME", self.path("home"));
        command.env("XDG_CACHE_HOME", self.path("cache")).envs(environment.iter().copied());
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("1 passed"), "{environment:?}: {text}");
    }
}

/// Runs `body` in a process that finds the fake libraries. `test` is the calling test's name.
fn with_fake(test: &str, names: &[&str], flags: &[&str], environment: &[(&str, &str)], body: impl FnOnce()) {
    if inside() {
        return body();
    }
    Fake::new(flags).with(names).run(test, environment);
}

/// The same on a machine where the libraries are there alone, should it have real ones.
fn with_fake_alone(test: &str, names: &[&str], flags: &[&str], environment: &[(&str, &str)], body: impl FnOnce()) {
    if inside() {
        return body();
    }
    let fake = Fake::new(flags).with(names);
    let folder = fake.path("loader");
    fake.run(test, &[environment, &[("TITANS_CUDA_DIR", folder.to_str().unwrap())]].concat());
}

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
    let kept = cuda.upload(&vec![0.0; 1 << 20]).unwrap();
    let huge = cuda.alloc(1 << 40).unwrap_err().to_string();
    for says in ["4194304 MiB (4398046511104 bytes)", "MiB are free of 3072 MiB", "--batch", "--boundaries sqrt"] {
        assert!(huge.contains(says), "{huge}");
    }
    drop(kept);
    let absent = Cuda::new(1).unwrap_err().to_string();
    assert!(absent.contains("there is no device 1"), "{absent}");
}

#[test]
fn the_whole_self_test_passes_on_a_fake_gpu() {
    if crate::left_for_long_runs() {
        return;
    }
    with_fake("the_whole_self_test_passes_on_a_fake_gpu", &ALL, &[], &[], everything);
}

#[test]
fn a_gpu_without_memory_pools_is_as_good() {
    let body = || {
        let cuda = Cuda::new(0).unwrap();
        let mut checks = selftest::operations(&cuda, &Cpu::<f64>::new(Some(1)).unwrap());
        checks.extend(selftest::training(&cuda, &Cpu::<f64>::new(Some(1)).unwrap()));
        let failed: Vec<_> = checks.iter().filter(|c| !c.passed()).collect();
        assert!(failed.is_empty() && checks.len() > 90, "{} of {}: {failed:#?}", failed.len(), checks.len());
    };
    with_fake("a_gpu_without_memory_pools_is_as_good", &ALL, &[], &[("FAKE_POOLS", "0")], body);
}

/// The probe and `Cuda::new` give this reason, without a panic.
fn missing(reason: &str, devices: usize) {
    let found = probe();
    assert_eq!(found.devices.len(), devices);
    assert!(found.missing.as_deref().is_some_and(|m| m.contains(reason)), "{found:?}");
    for error in [Cuda::new(0).unwrap_err(), Cuda::first().unwrap_err()].map(|error| error.to_string()) {
        assert!(error.starts_with("device cuda: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn a_driver_that_lacks_functions_is_a_reason() {
    let body = || missing("update the NVIDIA driver", 0);
    with_fake("a_driver_that_lacks_functions_is_a_reason", &[ALL[0]], &["-DPARTIAL"], &[], body);
}

#[test]
fn a_machine_without_cublas_says_so_and_lists_its_devices() {
    let body = || missing("cuBLAS 13 or 12 (libcublas.so) was not found", 1);
    with_fake_alone("a_machine_without_cublas_says_so_and_lists_its_devices", &[ALL[0], ALL[2]], &[], &[], body);
}

#[test]
fn a_machine_without_nvrtc_says_so_and_lists_its_devices() {
    let body = || missing("pip install nvidia-cuda-nvrtc", 1);
    with_fake_alone("a_machine_without_nvrtc_says_so_and_lists_its_devices", &ALL[..2], &[], &[], body);
}

#[test]
fn a_machine_without_devices_says_so() {
    let body = || missing("lists no device", 0);
    with_fake("a_machine_without_devices_says_so", &ALL, &[], &[("FAKE_DEVICES", "0")], body);
}

#[test]
fn a_driver_that_is_too_old_is_named_with_what_it_supports() {
    let body = || missing("the NVIDIA driver supports CUDA 11.8 at the most; expected 12 or 13", 0);
    let driver = [("FAKE_DRIVER", "11080")];
    with_fake("a_driver_that_is_too_old_is_named_with_what_it_supports", &ALL, &[], &driver, body);
}

#[test]
fn libraries_newer_than_the_driver_are_not_taken() {
    let body = || {
        missing("cuBLAS 12 (libcublas.so) was not found", 1);
        missing("nvidia-cublas-cu12", 1);
        missing("it is of version 13.0; expected 12 at the most", 1);
    };
    let names = [&ALL[..], &["libcublas.so"]].concat();
    with_fake_alone("libraries_newer_than_the_driver_are_not_taken", &names, &[], &[("FAKE_DRIVER", "12040")], body);
}

#[test]
fn cuda_12_is_as_good() {
    let names = ["libcuda.so.1", "libcublas.so.12", "libnvrtc.so.12"];
    with_fake("cuda_12_is_as_good", &names, &["-DMAJOR=12", "-DMINOR=4"], &[], || {
        let found = probe();
        assert_eq!((found.driver, found.missing), (Some((12, 4)), None));
        let said: Vec<String> = found.libraries.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["cuBLAS 12.4 (libcublas.so.12)", "NVRTC 12.4 (libnvrtc.so.12)"]);
        products(&Cuda::new(0).unwrap()).unwrap();
    });
}

/// A product, a kernel and copies.
fn products(cuda: &Cuda) -> titans_host::Result<()> {
    let x = cuda.upload(&[1.0, 2.0, 3.0, 4.0])?;
    let (mut y, mut z) = (cuda.alloc(4)?, cuda.alloc(4)?);
    let dims = LinearDims { rows: 2, inputs: 2, outputs: 2, transposed: false };
    cuda.linear(dims, &x, &x, None, &mut y)?;
    cuda.copy(&y, &mut z)?;
    cuda.silu(&y, &mut z)?;
    let silu = |x: f32| x / (1.0 + (-x).exp());
    assert_eq!(cuda.download(&y)?, [7.0, 10.0, 15.0, 22.0]);
    let close = |(a, b): (&f32, f32)| (a - b).abs() < 1e-5 * b.abs();
    assert!(cuda.download(&z)?.iter().zip([7.0, 10.0, 15.0, 22.0].map(silu)).all(close));
    Ok(())
}

#[test]
fn devices_that_cannot_be_used_are_passed_over_with_their_reasons() {
    let environment = [("FAKE_DEVICES", "8"), ("FAKE_BUSY", "0,5"), ("FAKE_OLD", "1"), ("FAKE_NEW", "2")];
    with_fake("devices_that_cannot_be_used_are_passed_over_with_their_reasons", &ALL, &[], &environment, || {
        let found = probe();
        assert_eq!((found.missing, found.devices.len()), (None, 8));
        let unusable: Vec<_> = found.devices.iter().filter(|info| info.unusable.is_some()).map(|i| i.ordinal).collect();
        assert_eq!(unusable, [1], "that one is busy is known when it is opened");
        let (cuda, skipped) = Cuda::first().unwrap();
        assert_eq!(cuda.describe(), "cuda: Fake GPU (compute 20.0, 3 GiB)");
        assert_eq!(skipped.len(), 2, "{skipped:?}");
        assert!(skipped[0].contains("device 0 (Fake GPU)") && skipped[0].contains("DEVICE_UNAVAILABLE"), "{skipped:?}");
        assert!(
            skipped[1].contains("device 1 (Fake GPU)") && skipped[1].contains("compute capability 5.0"),
            "{skipped:?}"
        );
        // Newer than the compiler knows: PTX of the newest that it does.
        products(&cuda).unwrap();
        let busy = Cuda::new(5).unwrap_err().to_string();
        assert!(busy.contains("DEVICE_UNAVAILABLE"), "{busy}");
        let old = Cuda::new(1).unwrap_err().to_string();
        assert!(old.contains("compute capability 5.0 is older"), "{old}");
        products(&Cuda::new(7).unwrap()).unwrap();
    });
}

#[test]
fn a_machine_whose_devices_are_all_busy_says_so() {
    let environment = [("FAKE_DEVICES", "2"), ("FAKE_BUSY", "0,1")];
    with_fake("a_machine_whose_devices_are_all_busy_says_so", &ALL, &[], &environment, || {
        let error = Cuda::first().unwrap_err().to_string();
        assert!(error.contains("device 0") && error.contains("device 1") && error.contains("UNAVAILABLE"), "{error}");
    });
}

#[test]
fn libraries_are_found_in_pythons_folders_and_where_the_user_says() {
    const TEST: &str = "libraries_are_found_in_pythons_folders_and_where_the_user_says";
    if inside() {
        let found = probe();
        assert_eq!(found.missing, None);
        let want = std::env::var("EXPECTED").unwrap();
        let at = |i: usize| found.libraries[i].place.starts_with(&want);
        assert!(at(0) && at(1), "{:?}: {want}", found.libraries);
        return products(&Cuda::new(0).unwrap()).unwrap();
    }
    if let Some(real) = ["/usr/local/cuda", "/opt/cuda"].into_iter().find(|path| Path::new(path).exists()) {
        return println!("skipped: {real} comes before Python's folders");
    }
    let fake = Fake::new(&[]).with(&ALL[..1]);
    for (package, name) in [("cublas", ALL[1]), ("cuda_nvrtc", ALL[2])] {
        fake.put(&format!("venv/lib/python3.12/site-packages/nvidia/{package}/lib"), name);
        fake.put("toolkit/lib64", name);
        fake.put("own", name);
    }
    let path = |folder: &str| fake.path(folder).to_str().unwrap().to_owned();
    let (venv, toolkit, own) = (path("venv"), path("toolkit"), path("own"));
    fake.run(TEST, &[("VIRTUAL_ENV", &venv), ("EXPECTED", &venv)]);
    fake.run(TEST, &[("VIRTUAL_ENV", &venv), ("CUDA_HOME", &toolkit), ("EXPECTED", &toolkit)]);
    let all = [("VIRTUAL_ENV", &venv[..]), ("CUDA_HOME", &toolkit), ("TITANS_CUDA_DIR", &own), ("EXPECTED", &own)];
    fake.run(TEST, &all);
    // The root of a toolkit is as good as its folder of libraries.
    fake.run(TEST, &[("TITANS_CUDA_DIR", &toolkit), ("EXPECTED", &toolkit)]);
}

#[test]
fn kernels_are_compiled_once_for_all_processes() {
    const TEST: &str = "kernels_are_compiled_once_for_all_processes";
    if inside() {
        return products(&Cuda::new(0).unwrap()).unwrap();
    }
    let fake = Fake::new(&[]).with(&ALL);
    let log = fake.path("compiled");
    let compiled = || std::fs::read(&log).map_or(0, |text| text.len());
    let run = || fake.run(TEST, &[("FAKE_COMPILED", log.to_str().unwrap())]);
    (0..2).for_each(|_| run());
    assert_eq!(compiled(), 1);
    let kept: Vec<_> =
        std::fs::read_dir(fake.path("cache/titans/kernels")).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    std::fs::write(&kept[0], "damaged").unwrap();
    (0..2).for_each(|_| run());
    assert_eq!(compiled(), 2);
    // A folder that cannot be written is no reason to fail.
    std::fs::remove_dir_all(fake.path("cache")).unwrap();
    std::fs::write(fake.path("cache"), "").unwrap();
    (0..2).for_each(|_| run());
    assert_eq!(compiled(), 4);
}

/// Whatever call fails, and all calls after it: a reason, never an abort, also when what was opened is closed.
#[test]
fn a_device_that_breaks_down_at_any_call_is_a_reason() {
    const TEST: &str = "a_device_that_breaks_down_at_any_call_is_a_reason";
    if inside() {
        let done = Cuda::new(0).and_then(|cuda| products(&cuda));
        match (done, std::env::var("FAKE_FAIL").is_ok()) {
            (Ok(()), _) => {}
            (Err(error), true) => {
                let error = error.to_string();
                let known = ["CUDA_ERROR_LAUNCH_FAILED", "of cuBLAS"];
                assert!(error.starts_with("device cuda: ") && known.iter().any(|k| error.contains(k)), "{error}");
                println!("reason");
            }
            (Err(error), false) => panic!("{error}"),
        }
        return;
    }
    let fake = Fake::new(&[]).with(&ALL);
    let count = fake.path("count");
    fake.run(TEST, &[("FAKE_COUNT", count.to_str().unwrap())]);
    let calls: usize = std::fs::read_to_string(&count).unwrap().parse().unwrap();
    assert!((15..200).contains(&calls), "{calls}");
    for i in 1..=calls {
        fake.run(TEST, &[("FAKE_FAIL", &i.to_string())]);
    }
}

#[test]
fn the_command_names_devices_and_ranks() {
    let fake = Fake::new(&[]).with(&ALL);
    let run = |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_titans"));
        command.args(args).env_remove("TITANS_CUDA_DIR").env_remove("LOCAL_RANK");
        command.env("LD_LIBRARY_PATH", fake.path("loader")).env("XDG_CACHE_HOME", fake.path("cache"));
        command.env("FAKE_DEVICES", "4").env("FAKE_BUSY", "0").envs(environment.iter().copied());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, _) = run(&["devices"], &[]);
    assert_eq!(code, 0);
    for says in ["driver for CUDA up to 13.0", "cuBLAS 13.0 (libcublas.so.13)", "NVRTC 13.0", "3: Fake GPU, 3.0 GiB"] {
        assert!(out.contains(says), "{out}");
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/linear_one_token.safetensors");
    let (input, output) = (golden.to_str().unwrap(), fake.path("out.safetensors"));
    let memory = |device: &str, environment: &[(&str, &str)]| {
        run(&["memory", input, output.to_str().unwrap(), "--dtype", "f32", "--device", device], environment)
    };
    let (code, _, told) = memory("cuda", &[]);
    assert!(code == 0 && output.exists(), "{told}");
    assert!(told.contains("CUDA device 0 (Fake GPU) is passed over: "), "{told}");
    let (code, _, told) = memory("cuda", &[("LOCAL_RANK", "2")]);
    assert!(code == 0 && told.is_empty(), "{told}");
    let (code, _, told) = memory("cuda:3", &[("LOCAL_RANK", "9")]);
    assert!(code == 0 && told.is_empty(), "{told}");
    for (device, rank, says) in [
        ("cuda:0", "", "DEVICE_UNAVAILABLE"),
        ("cuda:9", "", "there is no device 9: expected 0 to 3"),
        ("cuda", "7", "there is no device 7"),
        ("cuda", "x", "LOCAL_RANK: expected a whole number from 0, found \"x\""),
        ("cuda:x", "", "cuda:N"),
        ("gpu", "", "expected cpu, cuda, cuda:N"),
    ] {
        let (code, _, told) = memory(device, &[("LOCAL_RANK", rank)]);
        assert!(code == 2 && told.contains(says), "{device}, {rank}: {code}: {told}");
    }
    // Nothing of CUDA is looked at for the CPU: not even what is no library.
    let (code, _, told) = memory("cpu", &[("LOCAL_RANK", "x")]);
    assert!(code == 0 && told.is_empty(), "{told}");
    let (code, out, _) = run(&["memory", "--help"], &[]);
    assert!(code == 0 && out.contains("cuda:N"), "{out}");
    assert!(Path::new(&fake.path("cache/titans/kernels")).is_dir());
}
