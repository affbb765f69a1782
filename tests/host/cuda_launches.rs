//! Launches of memories and of a training step, as `benches/device.sh` predicts with them:
//! `benches/device/counts.json`. A memory's grow with its pieces alone, a linear one's with groups of them, so that two
//! numbers say them: those of no piece (or group), and those of each.

use crate::cuda_counting::{counted, replayed};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use titans_host::device::cuda::Cuda;
use titans_host::device::cuda::counting::Counting;
use titans_host::device::{Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use titans_host::model::ModelConfig;
use titans_host::train::TrainConfig;
use titans_kernel::memory::{Loss, MemorySpec, Network, Read};

/// Launches of an operation as `titans bench memory` makes it, and of its backward.
fn launches(layers: usize, chunk: usize, grad: bool, pieces: usize) -> u64 {
    let mut widths = vec![32; layers + 1];
    (widths[0], widths[layers]) = (8, 8);
    let mut spec = MemorySpec::new(&widths).unwrap();
    spec.network = if layers > 1 { Network::Residual } else { Network::Plain };
    (spec.chunk, spec.loss, spec.clip) = (chunk, Loss::Sum, None);
    spec.compute_chunk = spec.usual_compute_chunk();
    let time = pieces * spec.piece_len();
    // Of so many linear memories a piece is a group.
    let (batch, heads) = if layers == 1 { (64, 16) } else { (2, 3) };
    let op = MemoryOp { spec, batch, time, heads, read: Read::After, read_only: false, token_form: false };
    let machine = Arc::new(Counting::default());
    let d = Cuda::with_driver(machine.clone());
    let new = |len: usize| d.alloc(len).unwrap();
    let rows = op.batch * op.time * op.heads * op.spec.key_width();
    let (k, v, q, gates, state) = (new(rows), new(rows), new(rows), new(op.gates_len()), new(op.state_len()));
    let inputs = || MemoryInputs { k: &k, v: &v, q: &q, gates: &gates, state: &state, mask: None };
    let (mut y, mut last, mut boundaries) = (new(rows), new(op.state_len()), new(op.boundaries_len()));
    let kept = grad.then_some(&mut boundaries);
    let outputs = MemoryOutputs { y: &mut y, surprise: None, state: Some(&mut last), boundaries: kept };
    d.memory(&op, inputs(), outputs).unwrap();
    if grad {
        let (mut d_k, mut d_v, mut d_q) = (new(rows), new(rows), new(rows));
        let (mut d_gates, mut d_state) = (new(op.gates_len()), new(op.state_len()));
        let gradients = MemoryGradients {
            d_k: &mut d_k,
            d_v: &mut d_v,
            d_q: &mut d_q,
            d_gates: &mut d_gates,
            d_state: &mut d_state,
        };
        d.memory_vjp(&op, inputs(), &boundaries, Some(&y), None, gradients).unwrap();
    }
    machine.counts().launches()
}

/// Launches of no piece and of each.
fn line(layers: usize, chunk: usize, grad: bool) -> [u64; 2] {
    let of = |pieces| launches(layers, chunk, grad, pieces);
    let each = (of(32) - of(16)) / 16;
    let first = of(16) - 16 * each;
    for pieces in [8, 32, 48] {
        assert_eq!(of(pieces), first + pieces as u64 * each, "{layers} layers, chunk {chunk}, {grad}: {pieces} pieces");
    }
    [first, each]
}

#[test]
fn launches_are_those_that_speed_is_predicted_with() {
    let mut memory = serde_json::Map::new();
    for (name, layers, chunk) in [("L1 chunk 1", 1, 1), ("L1 chunk n", 1, 64), ("L2 chunk n", 2, 16)] {
        for (way, grad) in [("", false), (" grad", true)] {
            memory.insert(format!("{name}{way}"), json!(line(layers, chunk, grad)));
        }
    }
    let mut train = serde_json::Map::new();
    for (name, sequences) in [("s16-t256", 16), ("s64-t256", 64)] {
        let step = counted(&ModelConfig::default(), &TrainConfig::default(), [sequences, 256]).step;
        let graph = replayed(&ModelConfig::default(), [sequences, 256]).launches();
        let of_step = json!({ "launches": step.launches(), "launches with the graph": graph, "bytes": step.moved });
        train.insert(name.to_owned(), of_step);
    }
    let found = json!({ "memory": memory, "train": train });
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../benches/device/counts.json");
    if std::env::var_os("TITANS_WRITE_RECORDS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let recorded: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(recorded, found, "what is meant is recorded by .ci/kernels --write");
}
