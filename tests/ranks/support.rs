//! Runs of the real binary, by itself and under mpirun.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use titans_host::train::store::Store;

/// Where a process has options of its own, they follow one of these.
pub const ALSO: &str = ":";

/// What a launcher leaves in the environment.
const LAUNCHED: [&str; 20] = [
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TITANS_PORT",
    "TORCHELASTIC_RUN_ID",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "PMI_RANK",
    "PMI_SIZE",
    "SLURM_PROCID",
    "SLURM_STEP_ID",
    "SLURM_STEP_NUM_TASKS",
    "MPI_LOCALRANKID",
    "SLURM_LOCALID",
    "TITANS_ALONE",
    "TITANS_ISA",
];

/// The binary in `folder`, started by nobody.
pub fn titans(folder: &Path) -> Command {
    cleared(Command::new(env!("CARGO_BIN_EXE_titans")), folder)
}

fn cleared(mut command: Command, folder: &Path) -> Command {
    command.current_dir(folder);
    for name in LAUNCHED {
        command.env_remove(name);
    }
    command
}

/// Whether mpirun can be run here; says why not. With `TITANS_REQUIRE_TOOLS` and the feature it must.
pub fn mpirun_is_there() -> bool {
    if !cfg!(feature = "mpi") {
        println!("skipped: built without the feature `mpi`");
        return false;
    }
    let there = Command::new("mpirun").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("TITANS_REQUIRE_TOOLS").is_none(), "no mpirun: install openmpi-bin");
    if !there {
        println!("skipped: there is no mpirun");
    }
    there
}

/// `titans` as so many processes, on however few cores.
pub fn mpirun(folder: &Path, size: usize, args: &[&str]) -> Command {
    let mut command = cleared(Command::new("mpirun"), folder);
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    // Containers forbid one process to read another's memory.
    command.env("OMPI_MCA_btl_vader_single_copy_mechanism", "none").env("OMPI_MCA_rmaps_base_oversubscribe", "1");
    command.args(["--oversubscribe", "--bind-to", "none", "-n", &size.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_titans")).args(args);
    command
}

/// Standard error, and standard output, of what must end well.
pub fn ok(mut command: Command) -> [String; 2] {
    let output = command.output().unwrap();
    let [told, printed] = texts(&output);
    assert!(output.status.success(), "{:?}: {told}", output.status);
    assert!(!told.contains("panic") && !told.contains("error"), "{told}");
    [told, printed]
}

/// Standard error of what must end with `code`, where one line in all says what is wrong.
pub fn fails(mut command: Command, code: i32, says: &[&str]) -> String {
    let output = command.output().unwrap();
    let [told, _] = texts(&output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    says.iter().for_each(|say| assert!(told.contains(say), "expected `{say}` in: {told}"));
    assert_eq!(told.matches("titans: ").count(), 1, "one process speaks: {told}");
    told
}

pub fn texts(output: &Output) -> [String; 2] {
    [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// A text with something to learn, and the options of a small run on it.
pub fn small(folder: &Path) -> Vec<&'static str> {
    let text: Vec<u8> = (0..300).flat_map(|i| format!("line {} of the text\n", i % 10).into_bytes()).collect();
    std::fs::write(folder.join("text.txt"), text).unwrap();
    "train --task text --data text.txt --blocks 1 --width 16 --heads 2 --head-width 8 --feed-forward 16 --context 32 --batch 2 \
     --threads 1"
        .split(' ')
        .collect()
}

/// Options after others.
pub fn and<'a>(base: &[&'a str], more: &'a str) -> Vec<&'a str> {
    base.iter().copied().chain(more.split(' ')).collect()
}

/// A checkpoint's content without the seconds, which differ from run to run.
pub fn content(folder: &Path, run: &str, name: &str) -> Store {
    let path: PathBuf = folder.join(run).join(name);
    let mut store = Store::read(&path, "reading").unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&store.text["titans.state"]).unwrap();
    state.as_object_mut().unwrap().remove("seconds").unwrap();
    store.text.insert("titans.state".into(), state.to_string());
    store
}

/// The steps that a run's latest checkpoint has done.
pub fn step(folder: &Path, run: &str) -> u64 {
    let store = content(folder, run, "latest.safetensors");
    let state: serde_json::Value = serde_json::from_str(&store.text["titans.state"]).unwrap();
    state["step"].as_u64().unwrap()
}

/// A run's figures without the seconds.
pub fn metrics(folder: &Path, run: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join(run).join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        record.as_object_mut().unwrap().remove("seconds");
        record
    };
    text.lines().map(line).collect()
}

/// Expects the same checkpoints, figures and configuration of two runs.
pub fn expect_same(folder: &Path, a: &str, b: &str) {
    for name in ["latest.safetensors", "best.safetensors"] {
        let [a, b] = [a, b].map(|run| content(folder, run, name));
        assert_eq!(a.text, b.text, "{name}");
        assert!(a.tensors == b.tensors, "{name}: other numbers");
    }
    assert_eq!(metrics(folder, a), metrics(folder, b), "{a} and {b}");
    let [x, y] = [a, b].map(|run| std::fs::read_to_string(folder.join(run).join("config.toml")).unwrap());
    assert_eq!(x, y, "config.toml");
}

/// `endless.toml`, of a run of two parts that saves after every step.
pub fn endless(folder: &Path) {
    let first = and(&small(folder), "--steps 1 --out first --accumulate 2");
    let mut command = titans(folder);
    command.args(first);
    ok(command);
    let config = std::fs::read_to_string(folder.join("first/config.toml")).unwrap();
    let config = config.replace("save_every = 30.0", "save_every = 0.0").replace("steps = 1\n", "steps = 100000000\n");
    assert!(config.contains("save_every = 0.0") && config.contains("steps = 100000000"), "{config}");
    std::fs::write(folder.join("endless.toml"), config).unwrap();
}

pub fn wait_for(what: &str, there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The run's last checkpoint is whole, and one process goes on from it.
pub fn expect_whole(folder: &Path) {
    let done = step(folder, "run");
    content(folder, "run", "latest.safetensors");
    let mut command = titans(folder);
    command.args(["train", "--resume", "run", "--threads", "1", "--steps", &(done + 1).to_string()]);
    ok(command);
    assert_eq!(step(folder, "run"), done + 1);
}
