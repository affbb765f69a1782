//! `mpirun -n N titans train` is `titans train` of as many parts, to the bit, whoever goes on with it.

use super::support::{
    ALSO, and, content, expect_same, fails, metrics, mpirun, mpirun_is_there, ok, small, step, titans,
};

#[test]
fn processes_give_the_bits_of_one() {
    if !mpirun_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let base = and(&small(folder), "--steps 6 --seed 3");
    let alone = |args: &str| {
        let mut command = titans(folder);
        command.args(and(&base, args));
        ok(command)
    };
    alone("--accumulate 2 --out alone2");
    let [told, printed] = ok(mpirun(folder, 2, &and(&base, "--out both")));
    assert!(told.contains("2 processes"), "{told}");
    assert_eq!(printed.matches("run: both").count(), 1, "one process talks: {printed}");
    assert_eq!(told.matches("parameters on").count(), 1, "{told}");
    expect_same(folder, "alone2", "both");
    let tokens = metrics(folder, "both")[0]["tokens"].as_u64();
    assert_eq!(tokens, Some(2 * 2 * 32), "of both");
    let lock = std::fs::read_dir(folder.join("both")).unwrap().any(|e| e.unwrap().file_name() == ".titans.lock");
    assert!(!lock, "the folder is given back");
    alone("--accumulate 3 --out alone3");
    ok(mpirun(folder, 2, &and(&base, "--accumulate 3 --out uneven")));
    expect_same(folder, "alone3", "uneven");
    assert!(
        content(folder, "alone2", "latest.safetensors").tensors
            != content(folder, "alone3", "latest.safetensors").tensors
    );
}

#[test]
fn a_run_goes_on_in_any_number_of_processes() {
    if !mpirun_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let base = and(&small(folder), "--accumulate 2 --steps 3");
    let part = |size: usize, args: &[&str]| match size {
        1 => {
            let mut command = titans(folder);
            command.args(args);
            ok(command)
        }
        size => ok(mpirun(folder, size, args)),
    };
    for (name, sizes) in [("alone", [1, 1]), ("grows", [1, 2]), ("shrinks", [2, 1])] {
        part(sizes[0], &[base.clone(), vec!["--out", name]].concat());
        part(sizes[1], &["train", "--resume", name, "--steps", "6", "--threads", "1"]);
    }
    expect_same(folder, "alone", "grows");
    expect_same(folder, "alone", "shrinks");
    let [_, printed] = part(2, &["train", "--resume", "grows", "--threads", "1"]);
    assert!(printed.contains("finished before"), "{printed}");
    let says = ["accumulate: expected 3 or more", "3 processes, found 2"];
    fails(mpirun(folder, 3, &["train", "--resume", "grows", "--steps", "9"]), 2, &says);
    assert_eq!(step(folder, "grows"), 6);
}

#[test]
fn one_process_says_what_is_wrong() {
    if !mpirun_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let base = and(&small(folder), "--steps 2");
    // What rank 0 finds: a folder that is taken.
    ok(mpirun(folder, 2, &and(&base, "--out taken")));
    fails(mpirun(folder, 2, &and(&base, "--out taken")), 2, &["taken", "holds a run already"]);
    // What all find.
    let missing = [&base[..3], &["--data", "missing.txt", "--out", "none"]].concat();
    fails(mpirun(folder, 2, &missing), 2, &["missing.txt"]);
    let wild = and(&base[..base.len() - 2], "--out wild --learning-rate 1e38 --steps 50");
    fails(mpirun(folder, 2, &wild), 1, &["is not finite at step", "latest.safetensors"]);
    // What the last one finds, which has another device, or another instruction set.
    let program = env!("CARGO_BIN_EXE_titans");
    let base = and(&base, "--out one");
    let of_one = |own: &[&'static str]| [&base[..], &[ALSO, "-n", "1"], own, &base].concat();
    let other = [&of_one(&[program])[..], &["--device", "cuda:77"]].concat();
    fails(mpirun(folder, 1, &other), 2, &["process 1 of 2"]);
    let says = ["instruction set and kind of device", "(rank 0) and titans", "on cpu, portable, f32"];
    fails(mpirun(folder, 1, &of_one(&["env", "TITANS_ISA=portable", program])), 2, &says);
    // A sweep is none of one command.
    let sweep = [&of_one(&[program])[..], &["--seed", "5"]].concat();
    fails(mpirun(folder, 1, &sweep), 2, &["expected one program, command", "TITANS_ALONE=1"]);
    assert!(!folder.join("one").exists(), "nothing is made of a run that cannot begin");
}

#[test]
fn several_processes_without_their_launcher_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base = and(&small(folder.path()), "--steps 1 --out run");
    let launched = |variables: &[(&str, &str)]| {
        let mut command = titans(folder.path());
        command.args(&base).envs(variables.iter().copied());
        command
    };
    if cfg!(not(feature = "mpi")) {
        let variables = [("PMI_RANK", "1"), ("PMI_SIZE", "2"), ("MPI_LOCALRANKID", "1")];
        fails(launched(&variables), 2, &["number 1 of 2", "--features mpi"]);
    }
    fails(
        launched(&[("RANK", "2"), ("WORLD_SIZE", "2")]),
        2,
        &["RANK: expected a number below WORLD_SIZE (2), found 2"],
    );
    assert!(!folder.path().join("run").exists());
    ok(launched(&[("RANK", "0"), ("WORLD_SIZE", "1")]));
}
