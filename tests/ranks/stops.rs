//! A process that dies or is asked to stop ends all, and what was saved is whole.

use super::support::{and, content, mpirun, mpirun_is_there, ok, small, step, texts, titans};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An endless run of two processes in `run` that saves after every step, and has saved some.
fn begun(folder: &Path) -> Child {
    let first = and(&small(folder), "--steps 1 --out first --accumulate 2");
    let mut command = titans(folder);
    command.args(first);
    ok(command);
    let config = std::fs::read_to_string(folder.join("first/config.toml")).unwrap();
    let config = config.replace("save_every = 30.0", "save_every = 0.0").replace("steps = 1\n", "steps = 100000000\n");
    assert!(config.contains("save_every = 0.0") && config.contains("steps = 100000000"), "{config}");
    std::fs::write(folder.join("endless.toml"), config).unwrap();
    let mut command = mpirun(folder, 2, &["train", "--config", "endless.toml", "--out", "run", "--threads", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("a checkpoint", || folder.join("run/latest.safetensors").exists() && step(folder, "run") > 3);
    child
}

fn wait_for(what: &str, there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
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

/// The run's last checkpoint is whole, and one process goes on from it.
fn expect_whole(folder: &Path) {
    let done = step(folder, "run");
    content(folder, "run", "latest.safetensors");
    let mut command = titans(folder);
    command.args(["train", "--resume", "run", "--threads", "1", "--steps", &(done + 1).to_string()]);
    ok(command);
    assert_eq!(step(folder, "run"), done + 1);
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
