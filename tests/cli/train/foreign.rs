//! Files of another user in a folder that this user may write.
#![cfg(unix)]

use super::{folder, text_run};
use crate::common::ok;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A user who is not root; the name is only usual.
const NOBODY: u32 = 65_534;

/// Runs the copy of the binary in this folder as that user.
fn as_nobody(here: &Path, args: &[&str], input: &[u8]) {
    let mut command = Command::new(here.join("titans"));
    command.args(args).current_dir(here).uid(NOBODY).gid(NOBODY).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn owners(folder: &Path) -> Vec<(String, u32)> {
    let owner = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().uid())
    };
    let mut owners: Vec<_> = std::fs::read_dir(folder).unwrap().map(owner).collect();
    owners.sort();
    owners
}

#[test]
fn files_of_another_user_are_replaced_and_nothing_is_left_behind() {
    let folder = folder();
    let here = folder.path();
    if std::fs::metadata(here).unwrap().uid() != 0 {
        println!("not tested: only root can leave files of another user");
        return;
    }
    let text = std::fs::read(here.join("text.txt")).unwrap();
    text_run(here, &["--out", "run", "--steps", "2"]);
    std::fs::write(here.join("half.txt"), &text[..100]).unwrap();
    let stream = |state: &str, text: &[u8]| {
        let output = crate::input::with_input(here, &["stream", "run", "--state", state], text);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    stream("uncut", &text[..300]);
    stream("s", &text[..100]);
    // What a process of root that was killed left.
    std::fs::write(here.join(".s.titans.lock"), "titans, process 1 on mars\n").unwrap();
    std::fs::write(here.join("run/.titans.lock"), "titans, process 1 on mars\n").unwrap();
    // By another process: a file that is open for writing here cannot be run.
    let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_titans"), "titans"]).current_dir(here).status().unwrap();
    assert!(copied.success());
    if let Err(e) = [here.to_path_buf(), here.join("run")].iter().try_for_each(|f| chown(f, Some(NOBODY), Some(NOBODY)))
    {
        println!("not tested: there is no other user here: {e}");
        return;
    }
    let before = owners(here);
    assert!(before.contains(&("s".into(), 0)), "{before:?}");
    as_nobody(here, &["stream", "run", "--state", "s"], &text[100..300]);
    assert!(std::fs::read(here.join("s")).unwrap() == std::fs::read(here.join("uncut")).unwrap());
    let mut expected = before.clone();
    expected.retain(|(name, _)| name != ".s.titans.lock");
    expected.iter_mut().filter(|(name, _)| name == "s").for_each(|(_, owner)| *owner = NOBODY);
    assert_eq!(owners(here), expected);
    let before = owners(&here.join("run"));
    as_nobody(here, &["train", "--resume", "run", "--steps", "4", "--quiet"], b"");
    let after = owners(&here.join("run"));
    let written = |name: &str| after.contains(&(name.into(), NOBODY));
    assert!(["latest.safetensors", "config.toml", "metrics.jsonl", "loss.svg"].into_iter().all(written), "{after:?}");
    let names = |owners: &[(String, u32)]| owners.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let mut expected = names(&before);
    expected.retain(|name| name != ".titans.lock");
    assert_eq!(names(&after), expected);
    ok(here, &["eval", "run"]);
}
