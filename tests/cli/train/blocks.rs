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

/// Smaller, but with the published memories: two layers four times as wide, GELU, a residual, chunks of 16, the clip of
/// all deep memories. Long sequences have three segments of 512.
#[test]
fn published_models_are_finite_from_the_first_step() {
    let folder = folder();
    let here = folder.path();
    let long = TEXT.map(|word| if word == "32" { "1040" } else { word });
    for (block, text, steps) in ["lmm", "mac", "mag", "mal"].into_iter().flat_map(|b| [(b, TEXT, 8), (b, long, 2)]) {
        let (run, count) = (format!("{block}{steps}"), steps.to_string());
        let published = ["--preset", "paper-170m", "--block", block, "--persistent", "2", "--steps", &count];
        ok(here, &[&text[..], &published, &["--out", &run]].concat());
        let metrics = std::fs::read_to_string(here.join(run).join("metrics.jsonl")).unwrap();
        let losses: Vec<f64> = metrics
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64())
            .collect();
        assert!(losses.len() >= steps && losses.iter().all(|loss| (0.5..7.0).contains(loss)), "{block}: {losses:?}");
    }
}
