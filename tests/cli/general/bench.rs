//! The verbs of `titans bench`: what they report, and what they refuse.

use crate::common::{check_failure, fails, json, keys, ok, titans};
use serde_json::Value;
use std::path::Path;

const QUICK: [&str; 8] = ["bench", "memory", "--dim", "8", "--tokens", "8", "--seconds", "0"];

#[test]
fn instruction_sets_can_be_forced() {
    let here = Path::new(".");
    let forced = |isa: &str, args: &[&str]| {
        let output = titans(here).args(QUICK).arg("--json").args(args).env("TITANS_ISA", isa).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for isa in ["avx512", "avx2", "portable"] {
        // What this processor lacks is bad input, and named.
        for (code, stdout, stderr) in [forced(isa, &[]), forced("portable", &["--isa", isa])] {
            match code {
                Some(0) => assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["isa"], isa),
                Some(2) => {
                    assert!(isa != "portable" && stderr.contains(isa) && stderr.contains("portable"), "{stderr}")
                }
                _ => panic!("{isa}: {code:?} {stderr}"),
            }
        }
    }
    let output = titans(here).args(QUICK).env("TITANS_ISA", "mmx").output().unwrap();
    check_failure(&output, "TITANS_ISA=mmx", 2, &["TITANS_ISA", "mmx", "avx2"]);
    fails(here, &[&QUICK[..], &["--isa", "mmx"]].concat(), 2, &["--isa", "mmx", "avx2"]);
    fails(here, &["bench", "train", "--isa", "mmx"], 2, &["--isa", "mmx"]);
    fails(here, &["bench", "table", "--isa", "mmx"], 2, &["--isa", "mmx"]);
}

#[test]
fn bench_reports_every_key() {
    let here = Path::new(".");
    let size = ["--dim", "16", "--layers", "2", "--hidden", "24", "--heads", "2", "--tokens", "40"];
    let size = [&["bench", "memory", "--json", "--batch", "2", "--threads", "2", "--seconds", "0"][..], &size].concat();
    for (more, flops) in [
        (&["--chunk", "8"][..], 2.0 * (10.0 * 768.0 + 2.0 * 384.0 + 16.0 * 80.0)),
        (&["--chunk", "1"], 2.0 * (11.0 * 768.0 - 2.0 * 384.0)),
        (&["--chunk", "8", "--grad"], 8.0 * (10.0 * 768.0 + 2.0 * 384.0 + 16.0 * 80.0)),
    ] {
        let report = json(here, &[&size[..], more].concat());
        let expected = [
            "bytes_per_token",
            "flops_per_token",
            "isa",
            "peak_gflops",
            "peak_rss_bytes",
            "share_of_peak",
            "threads",
            "tokens_per_s",
        ];
        assert_eq!(keys(&report), expected);
        assert_eq!(keys(&report["tokens_per_s"]), ["median", "p10", "p90"]);
        assert_eq!(report["flops_per_token"], flops, "{more:?}");
        assert_eq!(report["threads"], 2);
        let number = |key: &str| report[key].as_f64().unwrap();
        assert!(number("peak_gflops") > 0.0 && number("share_of_peak") > 0.0 && number("share_of_peak") < 1.5);
        let rate = |key: &str| report["tokens_per_s"][key].as_f64().unwrap();
        assert!(rate("p10") <= rate("median") && rate("median") <= rate("p90") && rate("p10") > 0.0);
        assert!(!cfg!(target_os = "linux") || number("peak_rss_bytes") > 1e5);
    }
}

#[test]
fn networks_and_streams_are_measured() {
    let here = Path::new(".");
    let more = |args: &[&str]| json(here, &[&QUICK[..], &["--heads", "1", "--json"], args].concat());
    for network in ["plain", "residual"] {
        let report = more(&["--layers", "2", "--network", network]);
        assert_eq!(report["flops_per_token"], 10.0 * 512.0 + 2.0 * 256.0 + 128.0 * 80.0, "{network}");
    }
    let stream = more(&["--chunk", "1", "--compute-chunk", "1", "--stream", "3"]);
    assert_eq!((&stream["flops_per_token"], &stream["threads"]), (&Value::from(9.0 * 64.0), &Value::from(1)));
    let chunks = more(&["--chunk", "4", "--compute-chunk", "4", "--stream", "3"]);
    assert_eq!(chunks["flops_per_token"], 10.0 * 64.0 + 8.0 * 16.0);
    // Short chunks of one layer are computed 64 tokens at once; chunks of 64 are what they were.
    let exact = 12.0 * 64.0 + 4.0 * 64.0 * 16.0;
    for more_args in [&["--chunk", "1"][..], &["--chunk", "1", "--stream", "3"], &["--chunk", "4"]] {
        assert_eq!(more(more_args)["flops_per_token"], exact, "{more_args:?}");
    }
    assert_eq!(more(&["--chunk", "1", "--grad"])["flops_per_token"], 4.0 * exact);
    assert_eq!(more(&["--chunk", "64"])["flops_per_token"], 10.0 * 64.0 + 128.0 * 16.0);
    let pieces = more(&["--chunk", "64", "--compute-chunk", "4", "--grad"]);
    assert_eq!(pieces["flops_per_token"], 4.0 * (10.0 * 64.0 + 8.0 * 16.0));
    for (args, says) in [
        (&["--stream", "1", "--threads", "2"][..], &["--stream", "--threads 1"][..]),
        (&["--stream", "1", "--grad"], &["--stream", "--grad"]),
        (&["--stream", "0"], &["--stream", "0"]),
        (&["--network", "wide"], &["--network", "residual"]),
        (&["--dim", "0"], &["--dim"]),
    ] {
        fails(here, &[&QUICK[..2], args].concat(), 2, says);
    }
    for time in ["3601", "-1", "x"] {
        fails(here, &["bench", "memory", &format!("--seconds={time}")], 2, &["--seconds", "0 to 3600"]);
    }
}

#[test]
fn the_table_reports_every_key_beside_its_goal() {
    let here = Path::new(".");
    let names = ok(here, &["bench", "table", "--list", "--isa", "portable"]);
    let names: Vec<&str> = names.lines().collect();
    assert!(names.len() > 20 && names.contains(&"portable/train"), "{names:?}");
    let quick = ["bench", "table", "--json", "--seconds", "0", "--quick"];
    for (only, figure) in [
        ("linear/chunk16/d64", "share of peak"),
        ("residual/chunk64/d64", "rate over the plain network's"),
        ("stream/deep/d64", "share of bound"),
        ("threads/d64", "rate of two threads over one"),
        ("length/d64", "cost of a token: dearest length over cheapest"),
    ] {
        let record = json(here, &[&quick[..], &["--only", only]].concat());
        assert_eq!(keys(&record), ["cores", "cpu", "isa", "quick", "rows", "seconds"]);
        let rows = record["rows"].as_array().unwrap();
        assert!((1..=2).contains(&rows.len()), "{record}");
        for row in rows {
            let expected = [
                "at_most",
                "bandwidth_gb_s",
                "figure",
                "flops_per_token",
                "goal",
                "isa",
                "met",
                "name",
                "note",
                "peak_gflops",
                "reached",
                "repetitions",
                "threads",
                "tokens_per_s",
            ];
            assert_eq!(keys(row), expected);
            assert_eq!(row["figure"], figure);
            assert!(row["name"].as_str().unwrap().ends_with(only) && row["repetitions"].as_u64() >= Some(5), "{row}");
            let (reached, rate) = (row["reached"]["median"].as_f64().unwrap(), &row["tokens_per_s"]);
            assert!(reached > 0.0 && rate["p10"].as_f64() <= rate["p90"].as_f64(), "{row}");
            assert_eq!(row["bandwidth_gb_s"].is_object(), only.starts_with("stream/deep"));
            assert_eq!(row["at_most"], only.starts_with("length"));
            // On a processor without vectors worth the name there is no goal.
            if let Some(goal) = row["goal"].as_f64() {
                let met = if row["at_most"] == true { reached <= goal } else { reached >= goal };
                assert_eq!(row["met"], met);
            }
        }
    }
    let text = ok(here, &["bench", "table", "--seconds", "0", "--isa", "portable", "--only", "linear/chunk64/d64"]);
    assert!(text.contains("reached") && text.contains("portable/linear/chunk64/d64"), "{text}");
    fails(here, &["bench", "table", "--only", "no/such"], 2, &["--only", "no/such", "linear/chunk64/d64"]);
    fails(here, &["bench", "table", "--seconds=x"], 2, &["--seconds", "0 to 3600"]);
}

#[test]
fn a_training_step_is_measured_and_its_time_explained() {
    let here = Path::new(".");
    let small = ["--sequences", "1", "--context", "16", "--seconds", "0", "--threads", "1"];
    let report = json(here, &[&["bench", "train", "--json"][..], &small].concat());
    let expected = [
        "flops_per_token",
        "isa",
        "parameters",
        "peak_gflops",
        "repetitions",
        "share_of_peak",
        "step_s",
        "threads",
        "time",
        "tokens_per_s",
        "tokens_per_step",
    ];
    assert_eq!(keys(&report), expected);
    let kinds =
        ["attention", "convolution", "elementwise", "ends", "linear", "memory", "norms", "optimiser", "outside"];
    assert_eq!(keys(&report["time"]), kinds);
    let shares = report["time"].as_object().unwrap().values().map(|x| x.as_f64().unwrap());
    assert!((shares.sum::<f64>() - 1.0).abs() < 1e-9 && report["time"]["linear"].as_f64() > Some(0.0), "{report}");
    assert_eq!((&report["tokens_per_step"], &report["threads"]), (&Value::from(16), &Value::from(1)));
    assert!(report["parameters"].as_u64().unwrap() <= 1_000_000);
    let text = ok(here, &[&["bench", "train"][..], &small].concat());
    assert!(text.contains("time: ") && text.contains("outside"), "{text}");
    fails(here, &["bench", "train", "--threads", "0"], 2, &["--threads"]);
    fails(here, &["bench", "train", "--context", "0"], 2, &["--context"]);
    fails(here, &["bench", "train", "--sequences", "1048576"], 2, &["task.sequences", "67108864"]);
}
