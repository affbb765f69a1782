//! The library and `titans stream`: the same bits, and states that either goes on from.

use crate::streams::blocks::{KINDS, tiny};
use crate::streams::support::{Blob, Fed, Running, running, weights};
use crate::support::expect;
use crate::tools::{run, temporary, titans};
use std::ffi::CString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use titans::titans_status::TITANS_OK;
use titans::*;

const TEXT: &[u8] =
    b"One half of this text is read by the command, and the other half by the library, or the other way round.";
const HALF: usize = 51;

/// Runs `titans stream` over some bytes; what it says per token: byte and log-probability.
fn stream(blob: &Path, state: &Path, bytes: &[u8]) -> Vec<(u8, f64)> {
    let table = state.with_extension("csv"); // tests run side by side, each with a state of its own
    let mut command = Command::new(titans());
    command.arg("stream").arg(blob).arg("--state").arg(state).arg("--per-token").arg(&table);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let text = std::fs::read_to_string(&table).unwrap();
    let rows = text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row| (row[1].parse().unwrap(), row[2].parse().unwrap())).collect()
}

/// The log-probability of each byte but the first, from the logits after the one before it, by the host's own sum.
fn costs(logits: &[f32], bytes: &[u8]) -> Vec<(u8, f64)> {
    let rows = logits.chunks(256).zip(&bytes[1..]);
    let said = |(row, &byte): (&[f32], &u8)| {
        let step = titans_host::model::Step { logits: row.to_vec(), surprise: vec![] };
        (byte, -step.nats(byte.into()).unwrap())
    };
    rows.map(said).collect()
}

fn ids(bytes: &[u8]) -> Fed {
    Fed::Ids(bytes.iter().map(|&b| b.into()).collect())
}

#[test]
fn every_block_has_the_bits_of_the_command_and_states_go_both_ways() {
    for (i, kind) in KINDS.into_iter().enumerate() {
        let mut config = tiny(kind);
        config.vocabulary = 256;
        let path = temporary(&format!("command-{i}.titans"));
        std::fs::write(&path, weights(&config).bytes()).unwrap();
        let blob = Blob::new(&config);
        let state = temporary(&format!("command-{i}.state"));
        let _ = std::fs::remove_file(&state);
        let mut whole = Running::new(&blob, running(16, 9));
        let (logits, _) = whole.push(&ids(TEXT), 0..TEXT.len());
        let want = costs(&logits, TEXT);

        // The command first: its last byte waits in the state.
        let first = stream(&path, &state, &TEXT[..HALF]);
        assert_eq!(first, want[..HALF - 1], "{kind:?}");
        let mut other = Running::new(&blob, running(3, 2));
        expect(other.load(&std::fs::read(&state).unwrap(), null_mut()), TITANS_OK);
        let (mut token, mut count) = (7, 7);
        // SAFETY: borrows.
        let status = unsafe { titans_stream_waiting(other.stream, &mut token, null_mut(), 0, &mut count, null_mut()) };
        expect(status, TITANS_OK);
        assert_eq!((token, count), (TEXT[HALF - 1].into(), 0));
        let (rest, _) = other.push(&ids(TEXT), HALF - 1..TEXT.len());
        assert!(rest == logits[(HALF - 1) * 256..] && other.save() == whole.save(), "{kind:?}: from the command");

        // The library first.
        let mut early = Running::new(&blob, running(1, 0));
        early.push(&ids(TEXT), 0..HALF);
        std::fs::write(&state, early.save()).unwrap();
        let second = stream(&path, &state, &TEXT[HALF..]);
        assert_eq!(second, want[HALF..], "{kind:?}: the first byte after a load has no prediction");
        expect(other.load(&std::fs::read(&state).unwrap(), null_mut()), TITANS_OK);
        other.push(&ids(TEXT), TEXT.len() - 1..TEXT.len());
        assert!(other.save() == whole.save(), "{kind:?}: and back");
    }
}

#[test]
fn a_text_and_the_command_go_on_from_each_other_without_a_gap() {
    let mut config = tiny(KINDS[0]);
    config.vocabulary = 256;
    let (path, state) = (temporary("command-text.titans"), temporary("command-text.state"));
    std::fs::write(&path, weights(&config).bytes()).unwrap();
    let _ = std::fs::remove_file(&state);
    let c = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
    let (mut model, mut text) = (null_mut(), null_mut());
    // SAFETY: borrows with their lengths; what is opened is closed once.
    unsafe {
        expect(titans_host_open(c(&path).as_ptr(), null(), &mut model, null_mut()), TITANS_OK);
        expect(titans_text_open(model, null(), &mut text, null_mut()), TITANS_OK);
        let mut nats = 0.0;
        let mut feed = |bytes: &[u8]| {
            let mut read: titans_text_read = std::mem::zeroed();
            read.struct_size = size_of::<titans_text_read>() as u32;
            expect(titans_text_feed(text, bytes.as_ptr().cast(), bytes.len(), &mut read, null_mut()), TITANS_OK);
            nats += read.nats;
        };
        feed(&TEXT[..HALF]);
        expect(titans_text_save(text, c(&state).as_ptr(), null_mut()), TITANS_OK);
        let told = stream(&path, &state, &TEXT[HALF..]);
        assert_eq!(told.len(), TEXT.len() - HALF, "the first byte too is predicted, from what the text said last");
        let said = told.iter().map(|(_, log)| -log).sum::<f64>();
        feed(&TEXT[HALF..]);
        let apart = nats;
        expect(titans_text_reset(text, null_mut()), TITANS_OK);
        let mut whole = 0.0;
        let mut again = |bytes: &[u8]| {
            let mut read: titans_text_read = std::mem::zeroed();
            read.struct_size = size_of::<titans_text_read>() as u32;
            expect(titans_text_feed(text, bytes.as_ptr().cast(), bytes.len(), &mut read, null_mut()), TITANS_OK);
            whole += read.nats;
            read.nats
        };
        let first = again(&TEXT[..HALF]);
        assert!((apart - first - said).abs() < 1e-9, "the command costs what the library costs");
        // And back: the command's last byte, which waits, is read.
        expect(titans_text_load(text, c(&state).as_ptr(), null_mut()), TITANS_OK);
        let mut position = 0;
        expect(titans_text_position(text, &mut position, null_mut()), TITANS_OK);
        assert_eq!(position as usize, TEXT.len());
        titans_text_close(text);
        titans_host_close(model);
    }
    let mut command = Command::new(titans());
    let generate = command.arg("stream").arg(&path).arg("--state").arg(&state).args(["--generate", "5"]);
    run(generate.stdin(Stdio::null()));
}
