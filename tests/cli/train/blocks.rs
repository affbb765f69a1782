//! Wirings, what MAC is fed, ways to join, and published sizes, as the options name them.

use super::{TEXT, folder};
use crate::common::ok;

#[test]
fn every_wiring_trains_and_is_what_the_run_says() {
    let folder = folder();
    let here = folder.path();
    for (i, (options, says)) in [
        (&["--block", "mal", "--wiring", "letter"][..], "wiring = \"letter\""),
        (&["--block", "mag", "--wiring", "letter", "--combine", "product"], "combine = \"product\""),
        (&["--block", "mag"], "combine = \"gated\""),
        (&["--block", "mag", "--combine", "gates"], "combine = \"gates\""),
        (&["--block", "mac", "--mac-feed", "tokens"], "feed = \"tokens\""),
        (&["--block", "mac", "--mac-feed", "output"], "feed = \"output\""),
        (&["--block", "mac", "--mac-read", "segment"], "read = \"segment\""),
        (&["--block", "mac", "--layers", "2"], "layer_gates = true"),
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("run{i}");
        ok(here, &[&TEXT[..], options, &["--out", &run, "--steps", "2"]].concat());
        let config = std::fs::read_to_string(here.join(&run).join("config.toml")).unwrap();
        assert!(config.contains(says), "{options:?}: {config}");
        ok(here, &["eval", &run, "--window", "32"]);
    }
}

/// Smaller, but with the published memories: two layers four times as wide, GELU, a residual, chunks of 16.
#[test]
fn published_models_are_finite_from_the_first_step() {
    let folder = folder();
    let here = folder.path();
    for block in ["lmm", "mac", "mag", "mal"] {
        let published = ["--preset", "paper-170m", "--block", block, "--persistent", "2", "--steps", "8"];
        ok(here, &[&TEXT[..], &published, &["--out", block]].concat());
        let metrics = std::fs::read_to_string(here.join(block).join("metrics.jsonl")).unwrap();
        let losses: Vec<f64> = metrics
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64())
            .collect();
        assert!(losses.len() >= 8 && losses.iter().all(|loss| (0.5..7.0).contains(loss)), "{block}: {losses:?}");
    }
}
