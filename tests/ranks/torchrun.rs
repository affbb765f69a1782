//! Processes that torchrun starts, with what it puts into their environment, find each other over TCP, in any build.

use super::support::{and, endless, expect_same, expect_whole, fails, ok, small, step, texts, titans, wait_for};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// `titans` as number `rank` of so many processes, of which torchrun says that they meet beside `port`.
fn process(folder: &Path, port: u16, rank: usize, size: usize, args: &[&str]) -> Command {
    let mut command = titans(folder);
    let (rank, size) = (rank.to_string(), size.to_string());
    for (name, value) in [("RANK", &rank), ("LOCAL_RANK", &rank), ("WORLD_SIZE", &size), ("LOCAL_WORLD_SIZE", &size)] {
        command.env(name, value);
    }
    command.env("MASTER_ADDR", "localhost").env("MASTER_PORT", (port - 1).to_string());
    command.env("TORCHELASTIC_RUN_ID", "none").args(args);
    command
}

fn free_port() -> u16 {
    TcpListener::bind(("localhost", 0)).unwrap().local_addr().unwrap().port()
}

fn begun(folder: &Path, size: usize, args: &[&str]) -> Vec<Child> {
    let port = free_port();
    let start = |rank| {
        let mut command = process(folder, port, rank, size, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (0..size).map(start).collect()
}

/// What all of them end with, by rank.
fn all(folder: &Path, size: usize, args: &[&str]) -> Vec<Output> {
    begun(folder, size, args).into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

#[test]
fn processes_give_the_bits_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let base = and(&small(folder), "--steps 6 --seed 3");
    for (size, name, alone) in [(2, "both", "alone2"), (3, "three", "alone3")] {
        let parts = format!("--accumulate {size} --out {alone}");
        let mut command = titans(folder);
        command.args(and(&base, &parts));
        ok(command);
        let out = format!("--out {name}");
        for (rank, output) in all(folder, size, &and(&base, &out)).iter().enumerate() {
            let [told, printed] = texts(output);
            assert!(output.status.success(), "rank {rank}: {told}");
            assert_eq!(told.contains("parameters on"), rank == 0, "one process talks: {told}");
            assert_eq!(printed.contains(&format!("run: {name}")), rank == 0, "{printed}");
        }
        expect_same(folder, alone, name);
    }
}

#[test]
fn one_that_fails_says_why_and_ends_all() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let base = and(&small(folder), "--steps 2 --out taken");
    assert!(all(folder, 2, &base).iter().all(|output| output.status.success()));
    let outputs = all(folder, 2, &base);
    let told: Vec<_> = outputs.iter().map(|output| texts(output)[0].clone()).collect();
    assert!(told[0].contains("holds a run already") && told[1].is_empty(), "{told:?}");
    assert!(outputs.iter().all(|output| output.status.code() == Some(2)), "{outputs:?}");
}

#[test]
fn one_that_is_killed_ends_all_and_the_checkpoint_is_whole() {
    for killed in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        endless(folder);
        let mut children = begun(folder, 2, &["train", "--config", "endless.toml", "--out", "run", "--threads", "1"]);
        wait_for("a checkpoint", || folder.join("run/latest.safetensors").exists() && step(folder, "run") > 3);
        children[killed].kill().unwrap();
        let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let [told, _] = texts(&outputs[1 - killed]);
        assert_eq!(outputs[1 - killed].status.code(), Some(1), "{told}");
        let says = format!("process {killed} of 2: hearing from it: it has ended without a word");
        assert!(told.contains(&says) && told.contains("--resume"), "{told}");
        expect_whole(folder);
    }
}

#[test]
fn what_torchrun_would_have_set_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let base = and(&small(folder.path()), "--steps 1 --out run");
    let mut command = process(folder.path(), free_port(), 1, 2, &base);
    command.env_remove("MASTER_ADDR");
    fails(command, 2, &["MASTER_ADDR: expected torchrun to set it"]);
    let mut command = process(folder.path(), free_port(), 1, 2, &base);
    command.env("MASTER_PORT", "nowhere");
    fails(command, 2, &["MASTER_PORT: expected a port"]);
    assert!(!folder.path().join("run").exists());
}
