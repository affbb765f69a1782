//! What shells and readers are given.

use crate::common::{fails, ok, titans};
use tempfile::tempdir;

/// Shells and readers have what the parser has.
#[test]
fn completions_and_pages_know_every_verb() {
    let folder = tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let text = ok(folder.path(), &["completions", shell]);
        for name in ["titans", "train", "stream", "on-divergence", "checkpoint", "completions"] {
            assert!(text.contains(name), "{shell}: {name}");
        }
    }
    fails(folder.path(), &["completions", "tcsh"], 2, &["tcsh", "fish"]);
    assert!(ok(folder.path(), &["man", "man/man1"]).contains("pages in man/man1"));
    for (page, says) in [("titans", "EXIT"), ("titans-train", "resume"), ("titans-bench-memory", "share_of_peak")] {
        let text = std::fs::read_to_string(folder.path().join(format!("man/man1/{page}.1"))).unwrap();
        assert!(text.starts_with(".ie") || text.contains(".TH"), "{page}: {text}");
        assert!(text.to_uppercase().contains(&says.to_uppercase()), "{page}: {says}");
    }
    // A variable that is set to nothing says nothing.
    let output = titans(folder.path()).args(["devices"]).env("TITANS_ISA", "").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What is written behind the options is broken where the terminal ends and nowhere else, but for the ends of
/// sentences.
#[test]
fn help_is_broken_where_the_terminal_ends() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let verbs = "train|eval|generate|forecast|classify|export|study|tokenizer train|stream|devices|memory|bench memory|bench stream|bench train|\
                 bench table|inspect|selftest|completions|man";
    for verb in verbs.split('|') {
        let args: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let output = titans(here).args(&args).env("COLUMNS", "100").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let behind = help.rsplit_once("Print version\n").map_or(&help[..], |(_, behind)| behind);
        assert!(behind.contains("Examples:"), "{verb}: {behind}");
        let lines: Vec<&str> = behind.lines().collect();
        for pair in lines.windows(2) {
            let (above, below) = (pair[0], pair[1]);
            let blank = |line: &str| line.is_empty() || line.starts_with(' ');
            let word = below.split(' ').next().unwrap_or_default();
            let fits = above.chars().count() + 1 + word.chars().count() <= 100;
            let ragged = !blank(above) && !blank(below) && fits && !above.ends_with(['.', ':']);
            assert!(!ragged, "{verb}: broken behind {above:?}, before {below:?}");
            // An example that is broken cannot be copied.
            let example = |line: &str| ["titans ", "mpirun "].iter().any(|start| line.trim_start().starts_with(start));
            assert!(!example(above) || below.is_empty() || example(below), "{verb}: {above}");
        }
    }
}
