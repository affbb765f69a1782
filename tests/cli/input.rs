//! Running the real binary on standard input.

use super::common::titans;
use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

/// Runs it in `folder` on `input`.
pub fn with_input<S: AsRef<OsStr>>(folder: &Path, args: &[S], input: &[u8]) -> Output {
    let mut command = titans(folder);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A verb that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}
