//! A memory that runs away: `titans stream` stops at the token or begins anew there, keeps what came before it, and no
//! verb prints or saves a number that is not finite and says that all is well.

use super::with_input;
use crate::common::{check_failure, fails, ok};
use std::path::Path;
use std::process::Output;
use tempfile::tempdir;
use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Head, Mode, Model, ModelConfig, Session, Weights};
use titans_kernel::memory::{Loss, Network};

/// One block whose memory diverges within some dozens of equal tokens, as all memories could by default before.
fn hot() -> ModelConfig {
    let mut config = ModelConfig {
        width: 16,
        blocks: 1,
        heads: 1,
        head_width: 8,
        feed_forward: 16,
        theta_max: 4.0,
        theta_bias: 0.0,
        alpha_bias: -4.0,
        ..ModelConfig::default()
    };
    (config.memory.chunk, config.memory.compute_chunk) = (8, 0);
    (config.memory.loss, config.memory.network) = (Loss::Sum, Some(Network::Plain));
    config
}

/// The same in the exact form, the default: it diverges where every token writes twenty times its surprise.
fn exact() -> ModelConfig {
    let mut config = ModelConfig { theta_max: 20.0, theta_bias: 2.0, ..hot() };
    (config.memory.chunk, config.memory.compute_chunk, config.memory.loss) = (1, 64, Loss::Half);
    config
}

fn numbers() -> ModelConfig {
    ModelConfig { inputs: 2, head: Head::Regression, outputs: 2, tied: false, ..hot() }
}

/// Writes a blob; its first tensor, what turns the input into rows, is `scale` times as large. Returns a session of it.
fn blob(here: &Path, config: ModelConfig, scale: f32) -> Session<f32> {
    let device = Cpu::<f32>::new(Some(1)).unwrap();
    let mut model = Model::new(&device, config, 3).unwrap();
    let first = model.params.iter().next().unwrap().id;
    let mut values = model.params.download(&device, first).unwrap();
    values.iter_mut().for_each(|x| *x *= scale);
    device.write(&values, model.params.value_mut(first).unwrap()).unwrap();
    std::fs::write(here.join("model.titans"), Weights::of(&device, &model).unwrap().bytes()).unwrap();
    Session::new(&device, &model, Mode::On).unwrap()
}

fn stream(here: &Path, options: &[&str], input: &[u8]) -> Output {
    with_input(here, &[&["stream", "model.titans"], options].concat(), input)
}

fn finite(csv: &str) -> bool {
    csv.lines().skip(1).flat_map(|line| line.split(',')).all(|x| x.parse::<f64>().unwrap().is_finite())
}

/// The session's part of a state file in which no patch is open.
fn state(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()[20..].to_vec()
}

#[test]
fn text_stops_behind_the_last_good_byte() {
    stops_behind_the_last_good_byte(hot(), 30);
}

#[test]
fn text_stops_behind_the_last_good_byte_in_the_exact_form() {
    stops_behind_the_last_good_byte(exact(), 3);
}

fn stops_behind_the_last_good_byte(config: ModelConfig, least: usize) {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let mut session = blob(here, config, 1.0);
    let text = [&b"a few words, then many dashes "[..], &[b'-'; 6000]].concat();
    let ids: Vec<u32> = text.iter().map(|&b| b.into()).collect();
    let good = session.take(&ids).unwrap().steps.len();
    assert!(good > least && good < 6000, "{good}");
    let options = ["--state", "s", "--per-token", "out.csv", "--json"];
    let output = stream(here, &options, &text);
    let place = format!("standard input, byte {good} (token {good} of the stream)");
    check_failure(&output, "dashes", 1, &[&place, "--on-divergence reset", "the state after", "is in s"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["tokens"].as_u64(), report["position"].as_u64()), (Some(good as u64), Some(good as u64)));
    assert_eq!(report["resets"].as_u64(), Some(0));
    let table = std::fs::read_to_string(here.join("out.csv")).unwrap();
    assert!(table.lines().count() == good + 1 && finite(&table));
    assert_eq!(state(&here.join("s")), session.save().unwrap());
    // The next run goes on from there, or anew: such a memory may refuse whatever comes.
    let output = stream(here, &["--state", "s", "--on-divergence", "reset"], b"calm again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    take(&mut session, &b"calm agai".map(u32::from));
    assert_eq!(state(&here.join("s")), session.save().unwrap());
    // One that waits in the state may be refused as well; it is then gone.
    assert!(stream(here, &["--state", "t"], &text[..=good]).status.success());
    let output = stream(here, &["--state", "t"], b"x");
    check_failure(&output, "waiting", 1, &["the token that waited", &format!("token {good} of")]);
    assert!(stream(here, &["--state", "t"], b"x").status.success());
}

/// Feeds all, beginning anew where a token is refused; how often.
fn take(session: &mut Session<f32>, mut ids: &[u32]) -> u64 {
    let mut resets = 0;
    loop {
        let taken = session.take(ids).unwrap();
        if taken.refused.is_none() {
            return resets;
        }
        ids = &ids[taken.steps.len()..];
        session.reset().unwrap();
        resets += 1;
    }
}

#[test]
fn text_begins_anew_and_counts() {
    begins_anew_and_counts(hot());
}

#[test]
fn text_begins_anew_and_counts_in_the_exact_form() {
    begins_anew_and_counts(exact());
}

fn begins_anew_and_counts(config: ModelConfig) {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let mut session = blob(here, config, 1.0);
    let text = [b'-'; 6000];
    let resets = take(&mut session, &[u32::from(b'-'); 5999]);
    assert!(resets > 1);
    let options = ["--state", "s", "--per-token", "out.csv", "--json", "--on-divergence", "reset"];
    let output = stream(here, &options, &text);
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && says.contains(&format!("began anew {resets} time")), "{says}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["tokens"].as_u64(), report["resets"].as_u64()), (Some(5999), Some(resets)));
    assert_eq!(report["position"].as_u64(), Some(session.position()));
    let table = std::fs::read_to_string(here.join("out.csv")).unwrap();
    assert!(table.lines().count() == 6000 && finite(&table));
    assert_eq!(state(&here.join("s")), session.save().unwrap());
}

#[test]
fn rows_stop_or_begin_anew() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let mut session = blob(here, numbers(), 1.0);
    let good = session.take_rows(&[1.0, 2.0].repeat(3000)).unwrap().steps.len();
    assert!(good > 8 && good < 3000, "{good}");
    let input = "1,2\n".repeat(3000);
    let output = stream(here, &["--state", "s"], input.as_bytes());
    let place = format!("line {} (token {good} of the stream)", good + 1);
    check_failure(&output, "a sensor that stands still", 1, &[&place, "--on-divergence reset", "is in s"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().count() == good + 1 && finite(&said));
    assert_eq!(state(&here.join("s")), session.save().unwrap());
    let output = stream(here, &["--state", "s", "--on-divergence", "reset"], b"1.5,2.5\n");
    assert!(output.status.success() && finite(&String::from_utf8_lossy(&output.stdout)));
    let output = stream(here, &["--on-divergence", "reset"], input.as_bytes());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.lines().count() == 3001 && finite(&said));
    assert!(String::from_utf8_lossy(&output.stderr).contains("began anew"));
}

/// What a memory that begins anew refuses as well does not cost the old one.
#[test]
fn a_row_that_no_memory_takes_ends_a_stream_that_may_begin_anew() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let mut session = blob(here, numbers(), 1000.0);
    session.push_rows(&[1.0, 2.0]).unwrap();
    let options = ["--state", "s", "--on-divergence", "reset"];
    let output = stream(here, &options, b"1,2\n3e38,2\n1,2\n");
    let says = check_failure(&output, "a row that overflows", 1, &["line 2", "anew refuses it too"]);
    assert!(!says.contains("began anew"), "{says}");
    assert_eq!(state(&here.join("s")), session.save().unwrap());
}

/// A run of the series task over two columns, of which the second hardly varies.
fn series(here: &Path) {
    let row = |i: u32| format!("{},{}\n", (f64::from(i) * 0.4).sin(), 5.0 + 1e-3 * f64::from(i % 5));
    std::fs::write(here.join("two.csv"), format!("a,b\n{}", (0..200).map(row).collect::<String>())).unwrap();
    let train = "train --task series --data two.csv --steps 2 --quiet --out run --width 16 --heads 2 --head-width 8 \
                 --feed-forward 16 --context 16 --batch 2 --threads 1";
    ok(here, &train.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn numbers_are_checked_in_the_type_they_are_computed_in() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    series(here);
    let read =
        |options: &[&str], input: &str| with_input(here, &[&["stream", "run"], options].concat(), input.as_bytes());
    assert!(read(&["--state", "s"], "0.5,5\n").status.success());
    let good = std::fs::read(here.join("s")).unwrap();
    let bad = [
        ("1e39,5", "column a", "1e39"),
        ("0.5,1.7976931348623157e308", "column b", "e308"),
        ("nan,5", "column a", "finite number"),
        ("0.5,-inf", "column b", "finite number"),
        ("0.5,3e38", "column b", "deviation"),
        ("x,5", "column a", "finite number"),
    ];
    for (row, column, says) in bad {
        let output = read(&["--state", "s"], &format!("{row}\n0.5,5\n"));
        check_failure(&output, row, 2, &["standard input, line 1", column, says]);
        assert_eq!(std::fs::read(here.join("s")).unwrap(), good, "{row}");
        let output = read(&[], &format!("0.5,5\n\n{row}\n"));
        check_failure(&output, row, 2, &["standard input, line ", column, says]);
        assert!(finite(&String::from_utf8_lossy(&output.stdout)));
        let rows = "0.5,5\n".repeat(70);
        std::fs::write(here.join("bad.csv"), format!("a,b\n{rows}{row}\n{rows}")).unwrap();
        fails(here, &["eval", "run", "--data", "bad.csv"], 2, &["bad.csv: line 72", column, says]);
        if says != "deviation" {
            let train = ["train", "--task", "series", "--data", "bad.csv", "--steps", "1", "--out", "no"];
            fails(here, &train, 2, &["bad.csv: line 72", column, says]);
        }
    }
    assert!(!here.join("no").exists());
}
