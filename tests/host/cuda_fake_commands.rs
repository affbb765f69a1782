//! The command on a fake GPU, and on a machine that has none.

use crate::cuda_fake_driver::{ALL, Fake};
use serde_json::Value;
use std::process::Command;

/// Exit code, standard output, standard error.
fn titans(fake: &Fake, args: &[&str]) -> (i32, String, String) {
    titans_in(fake, &[], args)
}

/// The same with more in the environment.
fn titans_in(fake: &Fake, environment: &[(&str, &str)], args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_titans"));
    command.args(args).current_dir(fake.path("")).env_remove("TITANS_CUDA_DIR").env_remove("LOCAL_RANK");
    command.envs(environment.iter().copied());
    let output =
        command.env("LD_LIBRARY_PATH", fake.path("loader")).env("XDG_CACHE_HOME", fake.path("cache")).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const BENCHES: [&[&str]; 2] = [
    &["bench", "memory", "--dim", "8", "--heads", "2", "--tokens", "20", "--grad"],
    &["bench", "train", "--sequences", "1", "--context", "8"],
];

#[test]
fn speed_is_measured_on_a_gpu() {
    let fake = Fake::new(&[]).with(&ALL);
    for bench in BENCHES {
        let (code, out, told) = titans(&fake, &[bench, &["--seconds", "0", "--device", "cuda", "--json"]].concat());
        assert_eq!(code, 0, "{told}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&report["isa"], &report["threads"]), (&"cuda".into(), &0.into()), "{out}");
        assert!(report["tokens_per_s"]["median"].as_f64() > Some(0.0) && report["peak_gflops"].as_f64() > Some(0.0));
        if let Some(time) = report["time"].as_object() {
            let share = |kind: &str| time[kind].as_f64().unwrap();
            assert!(share("linear") > 0.0 && share("memory") > 0.0 && share("optimiser") > 0.0, "{out}");
            assert!((time.values().map(|x| x.as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-9, "{out}");
        }
        let (code, _, told) = titans(&fake, &[bench, &["--device", "cuda", "--isa", "portable"]].concat());
        assert!(code == 2 && told.contains("--isa is for the CPU"), "{code}: {told}");
    }
}

/// Steps that are launched as one are measured, and what each operation takes is known all the same.
#[test]
fn steps_that_are_launched_as_one_are_measured() {
    let fake = Fake::new(&[]).with(&ALL);
    let replayed = fake.path("replayed");
    let replays = |more: &[&str]| {
        let _ = std::fs::remove_file(&replayed);
        let environment = [("FAKE_REPLAYED", replayed.to_str().unwrap())];
        let cuda = ["--seconds", "0", "--device", "cuda", "--json"];
        let (code, out, told) = titans_in(&fake, &environment, &[BENCHES[1], &cuda, more].concat());
        assert_eq!(code, 0, "{told}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert!(
            report["time"]["linear"].as_f64() > Some(0.0) && report["time"]["memory"].as_f64() > Some(0.0),
            "{out}"
        );
        (std::fs::read(&replayed).map_or(0, |noted| noted.len() as u64), report["repetitions"].as_u64().unwrap())
    };
    assert_eq!(replays(&[]).0, 0);
    assert_eq!(replays(&["--graph", "off"]).0, 0);
    let (replayed, repetitions) = replays(&["--graph", "on"]);
    // Of the four before them all but the first; none of the three that wait for operations.
    assert_eq!(replayed, repetitions + 3);
    let (code, _, told) = titans(&fake, &[BENCHES[1], &["--graph", "on"]].concat());
    assert!(code == 2 && told.contains("--graph on is for --device cuda"), "{code}: {told}");
}

#[test]
fn without_a_gpu_benches_and_checks_are_refused() {
    let none = Fake::new(&[]);
    let selftest: &[&str] = &["selftest", "--sizes", "real"];
    for verb in [BENCHES[0], BENCHES[1], selftest] {
        let (code, out, told) = titans(&none, &[verb, &["--device", "cuda"]].concat());
        assert!(code == 2 && out.is_empty() && told.contains("--device cuda: "), "{verb:?}: {code}: {told}");
    }
}

#[test]
fn what_the_device_has_no_room_for_is_refused_before_it_begins() {
    let fake = Fake::new(&[]).with(&ALL);
    std::fs::write(fake.path("text.txt"), "ten green bottles hanging on the wall, ".repeat(60)).unwrap();
    let sizes = ["--width", "2048", "--feed-forward", "8192", "--blocks", "12", "--context", "16", "--batch", "1"];
    let run = ["train", "--task", "text", "--data", "text.txt", "--out", "run", "--device", "cuda"];
    let (code, _, told) = titans(&fake, &[&run[..], &sizes].concat());
    for says in ["does not fit: a ", " needs ", "(3.0 GiB) at most, what the device has left", "--width"] {
        assert!(code == 2 && told.contains(says), "{code}: {told}");
    }
    assert!(!fake.path("run").exists());
}

#[test]
fn progress_says_how_much_of_the_device_is_used() {
    let fake = Fake::new(&[]).with(&ALL);
    std::fs::write(fake.path("text.txt"), "ten green bottles hanging on the wall, ".repeat(60)).unwrap();
    let sizes = ["--blocks", "1", "--width", "8", "--heads", "1", "--head-width", "4", "--feed-forward", "8"];
    let run = ["train", "--task", "text", "--data", "text.txt", "--context", "16", "--batch", "2", "--steps", "2"];
    let (code, _, told) = titans(&fake, &[&run[..], &sizes, &["--out", "cuda", "--device", "cuda"]].concat());
    assert!(code == 0 && told.contains("  device 0.0 of 3.0 GiB"), "{code}: {told}");
    let (code, _, told) = titans(&fake, &[&run[..], &sizes, &["--out", "cpu"]].concat());
    assert!(code == 0 && told.contains("loss ") && !told.contains("GiB"), "{code}: {told}");
    // Half of the boundaries train to the same losses.
    let (code, _, told) =
        titans(&fake, &[&run[..], &sizes, &["--out", "sqrt", "--device", "cuda", "--boundaries", "sqrt"]].concat());
    assert_eq!(code, 0, "{told}");
    let losses = |folder: &str| {
        let text = std::fs::read_to_string(fake.path(folder).join("metrics.jsonl")).unwrap();
        let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["loss"].clone();
        text.lines().map(of).filter(Value::is_number).collect::<Vec<_>>()
    };
    assert_eq!(losses("cuda"), losses("sqrt"));
    // A step that is launched as one trains to the same losses.
    let replayed = fake.path("replayed");
    let graph = ["--out", "graph", "--device", "cuda", "--graph", "on", "--steps", "5"];
    let (code, _, told) = titans_in(
        &fake,
        &[("FAKE_REPLAYED", replayed.to_str().unwrap())],
        &[&run[..run.len() - 2], &sizes, &graph].concat(),
    );
    assert_eq!(code, 0, "{told}");
    let usual = ["--out", "usual", "--device", "cuda", "--steps", "5"];
    let (code, _, told) = titans(&fake, &[&run[..run.len() - 2], &sizes, &usual].concat());
    assert_eq!((code, losses("graph")), (0, losses("usual")), "{told}");
    assert_eq!(std::fs::read_to_string(&replayed).unwrap().len(), 4, "all steps but the first");
    let (code, _, told) = titans(&fake, &[&run[..], &sizes, &["--out", "cpu", "--graph", "on"]].concat());
    assert!(code == 2 && told.contains("--graph on is for --device cuda"), "{code}: {told}");
    // Linear maps of fewer bits train to losses that differ, by less than a hundredth.
    for precision in ["tf32", "bf16"] {
        let more = ["--out", precision, "--precision", precision, "--device", "cuda"];
        let (code, _, told) = titans(&fake, &[&run[..], &sizes, &more].concat());
        assert_eq!(code, 0, "{told}");
        let pairs: Vec<_> = losses("cuda").into_iter().zip(losses(precision)).collect();
        assert!(pairs.iter().any(|(a, b)| a != b), "{precision}: {pairs:?}");
        let near = |(a, b): &(Value, Value)| (b.as_f64().unwrap() / a.as_f64().unwrap() - 1.0).abs() < 0.01;
        assert!(pairs.iter().all(near), "{precision}: {pairs:?}");
    }
    for (verb, says) in [(&run[..], "is for --device cuda"), (&["selftest"], "the self-test computes in f32")] {
        let (code, _, told) = titans(&fake, &[verb, &["--precision", "bf16"]].concat());
        assert!(code == 2 && told.contains(says), "{code}: {told}");
    }
}
