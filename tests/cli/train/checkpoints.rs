//! A run folder stands for its best checkpoint, `--checkpoint` for another, and `--resume` for the latest.

use super::{folder, text_run};
use crate::common::{check_failure, fails, json, ok, run, titans};
use std::path::Path;
use std::process::{Output, Stdio};

/// A run whose best checkpoint, of step 4, is not its latest, of step 6; `early`, of step 2, lies beside both and also
/// outside.
fn overfitted(here: &Path) {
    let copy = |from: &str, to: &str| std::fs::copy(here.join(from), here.join(to)).map(drop).unwrap();
    // Fast, so that two steps are seen in what a checkpoint says.
    text_run(here, &["--out", "run", "--steps", "2", "--learning-rate", "0.02"]);
    copy("run/latest.safetensors", "run/early");
    copy("run/latest.safetensors", "outside");
    ok(here, &["train", "--resume", "run", "--steps", "4", "--quiet"]);
    copy("run/latest.safetensors", "kept");
    ok(here, &["train", "--resume", "run", "--steps", "6", "--quiet"]);
    copy("kept", "run/best.safetensors");
}

/// Standard output and standard error of a verb that must end well.
fn said(here: &Path, args: &[&str]) -> (String, String) {
    let output = run(here, args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn stream(here: &Path, args: &[&str]) -> Output {
    let text = std::fs::File::open(here.join("text.txt")).unwrap();
    titans(here).args(args).stdin(text).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn a_run_is_its_best_checkpoint_and_another_one_if_asked() {
    let folder = folder();
    let here = folder.path();
    overfitted(here);
    for verb in [
        &["eval", "RUN", "--json"][..],
        &["generate", "RUN", "--prompt", "ten", "-n", "200", "--temperature", "1", "--top-p", "1"],
        &["export", "RUN", "--out", "blob", "--json"],
        &["stream", "RUN", "--json"],
        &["inspect", "RUN", "--json"],
    ] {
        let of = |run: &str, more: &[&str]| {
            let args: Vec<&str> = verb.iter().map(|&arg| if arg == "RUN" { run } else { arg }).collect();
            let args = [&args[..], more].concat();
            let output = stream(here, &args);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{args:?}: {stderr}");
            let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
            match verb[0] {
                "export" => said = format!("{:?}", std::fs::read(here.join("blob")).unwrap()),
                // The name of the file is part of what it says.
                "inspect" => said = serde_json::from_str::<serde_json::Value>(&said).unwrap()["tensors"].to_string(),
                _ => {}
            }
            (said, stderr)
        };
        let (best, told) = of("run", &[]);
        let named = |told: &str, what: &str| verb[0] == "inspect" || told.contains(what);
        assert!(named(&told, "run: best checkpoint, step 4"), "{verb:?}: {told}");
        assert_eq!(of("run", &["--checkpoint", "best"]).0, best, "{verb:?}");
        assert_eq!(of("run/best.safetensors", &[]).0, best, "{verb:?}");
        let (latest, told) = of("run", &["--checkpoint", "latest"]);
        assert!(named(&told, "run: latest checkpoint, step 6"), "{verb:?}: {told}");
        assert_eq!(of("run/latest.safetensors", &[]).0, latest, "{verb:?}");
        let (early, told) = of("run", &["--checkpoint", "early"]);
        assert!(named(&told, "run: checkpoint run/early, step 2"), "{verb:?}: {told}");
        assert_eq!(of("run", &["--checkpoint", "outside"]).0, early, "{verb:?}");
        assert!(best != latest && best != early && latest != early, "{verb:?}: {best}");
    }
}

#[test]
fn a_run_that_was_never_validated_is_its_latest_checkpoint() {
    let folder = folder();
    let here = folder.path();
    overfitted(here);
    let latest = said(here, &["eval", "run", "--checkpoint", "latest"]).0;
    std::fs::remove_file(here.join("run/best.safetensors")).unwrap();
    for verb in ["eval", "inspect"] {
        let (_, told) = said(here, &[verb, "run"]);
        assert_eq!(told.matches("no best.safetensors").count(), 1, "{verb}: {told}");
        assert!(told.contains("taking the latest checkpoint"), "{verb}: {told}");
    }
    assert_eq!(said(here, &["eval", "run"]).0, latest);
    // Who asks for the best one does not get another.
    fails(here, &["eval", "run", "--checkpoint", "best"], 2, &["run/best.safetensors", "found none", "`latest`"]);
}

#[test]
fn checkpoints_that_are_not_there_are_named() {
    let folder = folder();
    let here = folder.path();
    overfitted(here);
    ok(here, &["export", "run", "--out", "blob"]);
    for verb in ["eval", "generate", "export", "stream", "inspect"] {
        let refused = |run: &str, which: &str, says: &[&str]| {
            fails(here, &[verb, run, "--checkpoint", which], 2, says);
        };
        for which in ["best", "latest", "outside"] {
            refused("run/latest.safetensors", which, &["--checkpoint", "run/latest.safetensors is a file", "folder"]);
        }
        refused("blob", "best", &["--checkpoint", "blob is a file"]);
        refused("nowhere", "best", &["nowhere", "run folder", "found nothing", "check the path"]);
        refused("run", "at7", &["at7", "`best`, `latest`", "found none", "in run", "check the name"]);
        refused("run", "text.txt", &["text.txt", "safetensors"]);
    }
    fails(here, &["inspect", "--memory", "run", "--checkpoint", "best"], 2, &["--memory", "--checkpoint"]);
    fails(here, &["train", "--resume", "run", "--checkpoint", "best"], 2, &["--checkpoint"]);
}

/// Also where that is not the best one: to the bit as if there were no other.
#[test]
fn training_goes_on_from_the_latest_checkpoint() {
    let folder = folder();
    let here = folder.path();
    overfitted(here);
    std::fs::create_dir(here.join("alone")).unwrap();
    for file in ["config.toml", "metrics.jsonl", "latest.safetensors"] {
        std::fs::copy(here.join("run").join(file), here.join("alone").join(file)).unwrap();
    }
    let end = |run: &str| {
        let report = json(here, &["train", "--resume", run, "--steps", "8", "--quiet", "--json", "--threads", "1"]);
        assert_eq!(report["steps"], 8);
        let inspected = json(here, &["inspect", run, "--checkpoint", "latest", "--json"]);
        let losses = std::fs::read_to_string(here.join(run).join("metrics.jsonl")).unwrap();
        (inspected["tensors"].clone(), losses.lines().filter(|line| line.contains("\"learning_rate\"")).count())
    };
    let (both, one) = (end("run"), end("alone"));
    assert_eq!(both.1, 8, "two steps more");
    assert_eq!(both, one);
}

/// A state is of the weights that it was made with.
#[test]
fn a_state_of_one_checkpoint_is_refused_by_another() {
    let folder = folder();
    let here = folder.path();
    overfitted(here);
    assert!(stream(here, &["stream", "run", "--state", "s"]).status.success());
    assert!(stream(here, &["stream", "run", "--state", "s"]).status.success());
    let kept = std::fs::read(here.join("s")).unwrap();
    let refused = stream(here, &["stream", "run", "--checkpoint", "latest", "--state", "s"]);
    check_failure(&refused, "another checkpoint", 2, &["s: ", "--checkpoint", "begin anew"]);
    assert_eq!(std::fs::read(here.join("s")).unwrap(), kept);
}

#[test]
fn the_end_of_training_names_the_best_checkpoint() {
    let folder = folder();
    let here = folder.path();
    text_run(here, &["--out", "run", "--steps", "3"]);
    let text = ok(here, &["train", "--resume", "run", "--quiet"]);
    assert!(
        text.contains("best checkpoint: step 3 (by validations on the way: loss ") && text.contains("stands for"),
        "{text}"
    );
    let best = json(here, &["train", "--resume", "run", "--quiet", "--json"])["best"].clone();
    assert_eq!(best["step"], 3);
    assert!(text.contains(&format!("{:.4}", best["loss"].as_f64().unwrap())), "{best} in {text}");
}
