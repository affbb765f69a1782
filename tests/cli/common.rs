//! Running the real binary.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// The binary in `folder`, to which every signal says something, whatever it says to these tests.
pub fn titans(folder: &Path) -> Command {
    hear_signals();
    let mut command = Command::new(env!("CARGO_BIN_EXE_titans"));
    command.current_dir(folder).env_remove("TITANS_ISA");
    command
}

/// What is ignored here (under `nohup`, in the background of a script) would be ignored by what is started; what has a
/// handler is not.
#[cfg(unix)]
fn hear_signals() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map_or("0", str::trim);
    let mask = u64::from_str_radix(mask, 16).unwrap_or(0);
    for signal in [1, 2, 15].into_iter().filter(|signal| mask >> (signal - 1) & 1 == 1) {
        signal_hook::flag::register(signal, std::sync::Arc::default()).unwrap();
    }
}

#[cfg(not(unix))]
fn hear_signals() {}

/// Runs it to its end.
pub fn run<S: AsRef<OsStr>>(folder: &Path, args: &[S]) -> Output {
    titans(folder).args(args).output().unwrap()
}

/// Standard output of a run that must end well, with nothing about panics or bugs on standard error.
pub fn ok<S: AsRef<OsStr>>(folder: &Path, args: &[S]) -> String {
    let output = run(folder, args);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", names(args));
    assert!(!stderr.contains("panic") && !stderr.contains("bug"), "{stderr}");
    text(&output.stdout)
}

/// Standard error of a run that must fail with `code`, in a few lines that contain every one of `says`.
pub fn fails<S: AsRef<OsStr>>(folder: &Path, args: &[S], code: i32, says: &[&str]) -> String {
    check_failure(&run(folder, args), &format!("{:?}", names(args)), code, says)
}

/// The same of an output.
pub fn check_failure(output: &Output, what: &str, code: i32, says: &[&str]) -> String {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{what}: {stderr}");
    for say in says {
        assert!(stderr.contains(say), "{what}: expected `{say}` in: {stderr}");
    }
    let errors = stderr.lines().filter(|line| line.contains("error")).count();
    assert!(errors <= 1 && !stderr.contains("panic") && !stderr.contains("this is a bug"), "{what}: {stderr}");
    stderr
}

/// JSON from standard output of a run that must end well.
pub fn json<S: AsRef<OsStr>>(folder: &Path, args: &[S]) -> serde_json::Value {
    let stdout = ok(folder, args);
    serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{:?}: {e}: {stdout}", names(args)))
}

/// The keys of a JSON object, sorted.
pub fn keys(value: &serde_json::Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn names<S: AsRef<OsStr>>(args: &[S]) -> Vec<&OsStr> {
    args.iter().map(AsRef::as_ref).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
