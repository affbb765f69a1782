//! The end of a run: a request to stop while it is validated, and a run that was finished before.

use super::{folder, text_run};
use crate::common::{json, ok};
use std::path::Path;
use titans_host::device::cpu::Cpu;
use titans_host::task;
use titans_host::train::{Interrupt, Outcome, Progress, RunConfig, Trainer, checkpoint, train};

/// Makes a request as soon as a message begins so.
struct StopAt<'a>(&'a str, &'a Interrupt, Vec<String>);

impl Progress for StopAt<'_> {
    fn message(&mut self, text: &str) {
        self.2.push(text.to_owned());
        if text.starts_with(self.0) {
            self.1.raise();
        }
    }
}

/// Goes on with a run in its folder.
fn resumed(run: &Path, stop: &str) -> (Outcome, Vec<String>) {
    let device = Cpu::<f32>::new(Some(1)).unwrap();
    let mut checkpoint = checkpoint::load(&device, run).unwrap();
    checkpoint.config = RunConfig::read(&run.join("config.toml")).unwrap();
    let mut task = task::open::<Cpu<f32>>(&checkpoint.config).unwrap();
    let mut trainer = Trainer::resume(&device, checkpoint, &mut *task).unwrap();
    let interrupt = Interrupt::new();
    let mut progress = StopAt(stop, &interrupt, Vec::new());
    let outcome = train(&mut trainer, run, &interrupt, &mut progress).unwrap();
    (outcome, progress.2)
}

fn metrics(run: &Path) -> String {
    std::fs::read_to_string(run.join("metrics.jsonl")).unwrap()
}

#[test]
fn a_request_to_stop_ends_the_last_validation_and_the_run_is_whole() {
    let folder = folder();
    let here = folder.path();
    let rows: String = (0..400).map(|i| format!("{}\n", (f64::from(i) / 7.0).sin())).collect();
    std::fs::write(here.join("in.csv"), &rows).unwrap();
    let labelled: String = (0..60).map(|i| format!("{},{}\n", "ACGT".repeat(3 + i % 2), i % 2)).collect();
    std::fs::write(here.join("dna.csv"), format!("sequence,label\n{labelled}")).unwrap();
    let small =
        "--width 16 --blocks 1 --heads 2 --head-width 8 --feed-forward 16 --batch 2 --steps 1 --quiet --threads 1";
    for (task, more) in [
        ("text", "--data text.txt --context 16"),
        ("series", "--data in.csv --context 16"),
        ("forecast", "--data in.csv --context 2 --lookback 12 --horizon 4 --patch 3"),
        ("classify", "--data dna.csv"),
    ] {
        let args = format!("train --task {task} {more} {small} --out {task}");
        ok(here, &args.split_whitespace().collect::<Vec<_>>());
        let run = here.join(task);
        let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
        std::fs::write(run.join("config.toml"), config.replacen("steps = 1", "steps = 2", 1)).unwrap();
        let (stopped, said) = resumed(&run, "validation at step 2");
        assert!(stopped.interrupted && stopped.validation.is_none(), "{task}: {stopped:?}");
        assert!(!said.iter().any(|text| text.starts_with("thorough")), "{task}: {said:?}");
        assert_eq!((stopped.step, stopped.best.is_some()), (2, true));
        let (ended, said) = resumed(&run, "no such message");
        assert!(!ended.interrupted && !ended.again && ended.validation.is_some(), "{task}: {ended:?}");
        assert!(said.iter().any(|text| text.starts_with("thorough validation at step 2")), "{task}: {said:?}");
        let before = metrics(&run);
        let (again, said) = resumed(&run, "no such message");
        assert_eq!(again, Outcome { again: true, ..ended }, "{task}");
        assert!(said.len() == 1 && said[0].contains("finished: all of its 2 steps"), "{task}: {said:?}");
        assert_eq!(metrics(&run), before, "nothing was measured");
    }
}

#[test]
fn a_finished_run_is_told_again_as_it_ended() {
    let folder = folder();
    let here = folder.path();
    let recall = ["--config", "recall.toml", "--out", "recall"];
    let track = "--task track --group parity --width 16 --batch 64 --context 8 --lengths 8,16 --steps 2 --out track";
    let text = [&super::TEXT[1..], &["--steps", "2", "--out", "text"]].concat();
    let track: Vec<&str> = track.split_whitespace().collect();
    for (run, args) in [("recall", &recall[..]), ("track", &track), ("text", &text)] {
        let args: Vec<&str> = args.iter().copied().filter(|arg| *arg != "--quiet").collect();
        let ended = json(here, &[&["train", "--quiet", "--json"], &args[..]].concat());
        let before = metrics(&here.join(run));
        assert_eq!(json(here, &["train", "--resume", run, "--quiet", "--json"]), ended, "{run}");
        assert_eq!(metrics(&here.join(run)), before, "{run}: nothing was measured");
        let said = ok(here, &["train", "--resume", run, "--quiet"]);
        assert!(said.starts_with("finished before:") && said.contains("--steps or --minutes"), "{said}");
    }
    // What was prolonged ends with figures of its own.
    let steps = |more: &[&str]| json(here, &[&["train", "--resume", "recall", "--quiet", "--json"], more].concat());
    let (more, again) = (steps(&["--steps", "8"]), steps(&[]));
    assert_eq!((more["steps"].as_u64(), &more["recall"]), (Some(8), &again["recall"]));
    assert!(!text_run(here, &["--out", "new", "--steps", "1"]).contains("finished before"));
}
