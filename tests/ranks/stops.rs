//! A process that dies or is asked to stop ends all, and what was saved is whole.

use super::support::{endless, expect_whole, mpirun, mpirun_is_there, step, texts, wait_for};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// An endless run of two processes in `run` that saves after every step, and has saved some.
fn begun(folder: &Path) -> Child {
    endless(folder);
    let mut command = mpirun(folder, 2, &["train", "--config", "endless.toml", "--out", "run", "--threads", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("a checkpoint", || folder.join("run/latest.safetensors").exists() && step(folder, "run") > 3);
    child
}

/// The process of that rank among those that `mpirun` started.
fn process(mpirun: &Child, rank: usize) -> String {
    let mark = format!("OMPI_COMM_WORLD_RANK={rank}");
    let is = |pid: &String| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        status.lines().any(|line| line.split_whitespace().eq(["PPid:", &mpirun.id().to_string()]))
            && environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let names = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).find(is).expect("a process of that rank")
}

fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
}

#[test]
fn a_process_that_is_killed_ends_all() {
    if !mpirun_is_there() || !Path::new("/proc/self/environ").exists() {
        return;
    }
    for rank in [1, 0] {
        let folder = tempfile::tempdir().unwrap();
        let child = begun(folder.path());
        signal("-KILL", &process(&child, rank));
        let output = child.wait_with_output().unwrap();
        let [told, _] = texts(&output);
        assert!(!output.status.success(), "{told}");
        assert!(told.contains("signal 9"), "{told}");
        expect_whole(folder.path());
    }
}

#[test]
fn a_signal_to_any_process_saves_and_ends_all() {
    if !mpirun_is_there() || !Path::new("/proc/self/environ").exists() {
        return;
    }
    for rank in [1, 0] {
        let folder = tempfile::tempdir().unwrap();
        let child = begun(folder.path());
        signal("-TERM", &process(&child, rank));
        let output = child.wait_with_output().unwrap();
        let [told, _] = texts(&output);
        assert_eq!(output.status.code(), Some(143), "{told}");
        let says = format!("after step {}; go on with: titans train --resume run", step(folder.path(), "run"));
        assert_eq!(told.matches(&says).count(), 1, "{told}");
        expect_whole(folder.path());
    }
}
