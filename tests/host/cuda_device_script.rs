//! `benches/device.sh`, which is for machines with a GPU, where there is none: with the command on a fake GPU, without
//! one, and with commands that fail, hang and say nonsense.

use crate::cuda_fake_driver::{ALL, Fake};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The script, its folder of results below `folder`.
fn script(titans: &Path, folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/device.sh"));
    command.arg(titans).arg(folder.join("out")).args(more);
    for name in ["TITANS_CUDA_DIR", "LOCAL_RANK", "TITANS_DEVICE_GBS", "TITANS_DEVICE_SECONDS"] {
        command.env_remove(name);
    }
    command
}

/// Exit code and standard error.
fn ended(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn summary(folder: &Path) -> (Value, String) {
    let text = |name: &str| std::fs::read_to_string(folder.join("out").join(name)).unwrap();
    (serde_json::from_str(&text("summary.json")).unwrap(), text("summary.md"))
}

fn state<'a>(summary: &'a Value, step: &str) -> &'a str {
    let steps = summary["steps"].as_array().unwrap();
    steps.iter().find(|s| s["name"] == step).unwrap_or_else(|| panic!("{step}: {summary}"))["state"].as_str().unwrap()
}

#[test]
fn on_a_fake_gpu_everything_is_measured_and_summed_up() {
    if crate::left_for_long_runs() {
        return;
    }
    let fake = Fake::new(&[]).with(&ALL);
    let titans = Path::new(env!("CARGO_BIN_EXE_titans"));
    let mut command = script(titans, &fake.path(""), &["--quick"]);
    command.env("LD_LIBRARY_PATH", fake.path("loader")).env("XDG_CACHE_HOME", fake.path("cache"));
    let (code, told) = ended(command.env("TITANS_DEVICE_GBS", "100").env("TITANS_DEVICE_SECONDS", "86400"));
    let (found, text) = summary(&fake.path(""));
    assert_eq!(code, 0, "{told}{text}");
    assert_eq!((&found["passed"], &found["bandwidth_gbs"]), (&true.into(), &100.0.into()));
    assert!(found["selftest"]["small"]["checks"].as_u64() > Some(600), "{text}");
    let rows = found["memory"].as_array().unwrap();
    // L, chunk, forward or both.
    assert_eq!(rows.len(), 8);
    for row in rows.iter().chain(found["train"].as_array().unwrap()) {
        let says = &row["predicted"];
        let number = |key: &str| says[key].as_f64().unwrap();
        assert!(row["seconds"].as_f64() > Some(0.0) && number("operations") > 0.0, "{row}");
        assert!(number("all") >= number("limit") && number("limit") >= number("operations"), "{row}");
    }
    // 32 tokens of 2 memories of 8 × 8: a piece.
    let row = &rows[0];
    assert_eq!((&row["memories"], &row["chunk"], &row["grad"]), (&2.into(), &1.into(), &false.into()));
    let counts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/device/counts.json");
    let counts: Value = serde_json::from_str(&std::fs::read_to_string(counts).unwrap()).unwrap();
    let [first, each] = [0, 1].map(|i| counts["memory"]["L1 chunk 1"][i].as_f64().unwrap());
    assert!((row["predicted"]["launches"].as_f64().unwrap() - 3e-6 * (first + each)).abs() < 1e-12);
    assert!(text.contains("| 8 | 1 | 64 | 32 | 2 | both |") && text.contains("not installed"), "{text}");
    // The folder holds a run.
    let (code, told) = ended(&mut script(titans, &fake.path(""), &["--quick"]));
    assert!(code == 2 && told.contains("holds the results of another run"), "{code}: {told}");
}

#[test]
fn without_a_gpu_it_says_so() {
    let none = Fake::new(&[]);
    let mut command = script(Path::new(env!("CARGO_BIN_EXE_titans")), &none.path(""), &[]);
    let (code, told) = ended(command.env("LD_LIBRARY_PATH", none.path("loader")));
    assert!(
        code == 3 && told.contains("device.sh: no GPU can be used here: ") && told.contains("--device cuda"),
        "{told}"
    );
    assert!(!none.path("out/summary.json").exists());
}

/// A command of its own: what it does is a script, `$*` its arguments.
fn false_titans(folder: &TempDir, body: &str) -> PathBuf {
    let path = folder.path().join("titans");
    std::fs::write(&path, format!("#!/bin/sh\ncase \"$*\" in\n{body}\n*) echo '{{}}' ;;\nesac\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn what_fails_hangs_or_says_nonsense_is_no_success() {
    if crate::left_for_long_runs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let titans = false_titans(
        &folder,
        "devices*) echo '{\"cuda\": {\"devices\": [\"cuda: NVIDIA H200 (compute 9.0, 139 GiB)\"]}}' ;;\n\
         selftest*) echo 'error: a kernel is wrong' >&2; exit 1 ;;\n\
         *train*) sleep 600 ;;",
    );
    let (code, _) = ended(script(&titans, folder.path(), &["--quick"]).env("TITANS_DEVICE_SECONDS", "20"));
    let (found, text) = summary(folder.path());
    assert_eq!((code, &found["passed"], &found["bandwidth_gbs"]), (1, &false.into(), &4800.into()), "{text}");
    assert_eq!(state(&found, "selftest-small"), "failed");
    // It answers, but not with what a row needs.
    assert_eq!(state(&found, "memory-d8-l1-c1-t32-m2"), "failed");
    assert_eq!((state(&found, "train-s1-t8"), state(&found, "peers")), ("stopped at its limit", "not begun"));
    assert!(text.contains("NOT ALL PASSED") && text.contains("error: a kernel is wrong"), "{text}");
}

#[test]
fn wrong_usage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let titans = false_titans(&folder, "devices*) echo 'no libraries' >&2; exit 1 ;;");
    let wrong: [(&Path, &[&str], &str); 4] = [
        (Path::new("/no/titans"), &[], "is no program"),
        (&titans, &["--slow"], "expected --quick, found --slow"),
        (&titans, &["--quick", "more"], "expected benches/device.sh TITANS OUT"),
        (&titans, &[], "does not answer: no libraries"),
    ];
    for (titans, more, says) in wrong {
        let (code, told) = ended(&mut script(titans, folder.path(), more));
        assert!(code == 2 && told.contains(says), "{code}: {told}");
    }
}
