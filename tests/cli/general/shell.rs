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
