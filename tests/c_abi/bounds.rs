//! The macros of titans.h that bound blocks from above, against the functions that know: never below, and not far
//! above.

use crate::streams::support::{Blob, running, size};
use crate::streams::{blocks, bounded};
use crate::support::{ask, config, cut, default};
use crate::tools::{Standard, run, temporary};
use std::fmt::Write;
use titans::*;
use titans_host::model::{Kind, MemoryConfig, ModelConfig};
use titans_kernel::memory::Network;

/// Compiles assertions that `bound` is at least `exact` bytes, and at most so many times that and a few more.
fn hold(name: &str, cases: &[(String, String, usize, usize)]) {
    let mut text = String::from("#include \"titans.h\"\nint x;\n");
    for (what, bound, exact, times) in cases {
        let most = times * exact + 8192;
        writeln!(text, "_Static_assert({bound} >= {exact} && {bound} <= {most}, \"{what}: {exact}\");").unwrap();
    }
    let source = temporary(name).with_extension("c");
    std::fs::write(&source, text).unwrap();
    run(Standard("c11").compiler().args(["-c", "-o"]).arg(source.with_extension("o")).arg(&source));
}

#[test]
fn memories_fit_their_bounds_over_a_grid() {
    let mut cases = vec![];
    for key in [1, 2, 15, 16, 33, 64, 255, 256, 512] {
        for value in [1, 3, 16, 64, 100, 256] {
            for (chunk, piece) in [(1, 1), (1, 0), (1, 7), (4, 4), (16, 5), (5, 60), (64, 64), (100, 100)] {
                let c = cut(default(&[key, value]), chunk, piece);
                let longest = chunk.max(if piece == 0 { 64 } else { piece });
                let exact = ask(titans_memory_size, &c);
                let bound = format!("TITANS_LINEAR_MEMORY_BYTES({key}, {value}, {longest})");
                // Pieces of a chunk are bounded by the chunk.
                let times = if piece > 0 && piece < chunk { 16 } else { 3 };
                cases.push((format!("{key} to {value}, chunk {chunk}, pieces of {piece}"), bound, exact, times));
            }
        }
    }
    // Wide ends and a narrow middle: the panel of γ, the last width, is all that residual networks close a chunk in.
    let narrow = [&[129, 2, 2, 129][..], &[359, 1, 359], &[1376, 3, 1376], &[300, 300], &[96, 1, 1, 1, 96]];
    for widths in [&[8, 16, 8][..], &[5, 9, 4], &[16, 16, 16, 16], &[32, 64, 64, 64, 32], &[3, 200, 7], &[1, 1, 1]]
        .into_iter()
        .chain(narrow)
    {
        for (chunk, piece) in [(1, 1), (4, 4), (11, 11), (16, 16), (16, 5), (31, 31), (64, 64)] {
            let c = cut(config(widths, chunk), chunk, piece);
            let (inputs, outputs) = (&widths[..widths.len() - 1], &widths[1..]);
            let gamma = if c.network == 1 { outputs[outputs.len() - 1] } else { 0 };
            let params = inputs.iter().zip(outputs).map(|(a, b)| a * b).sum::<u32>() + gamma;
            let [inputs, outputs] = [inputs, outputs].map(|w| w.iter().sum::<u32>());
            let longest = chunk.max(piece);
            let bound = format!("TITANS_MEMORY_BYTES({params}, {inputs}, {outputs}, {gamma}, {longest})");
            // Token by token, the bound is that of one layer, which needs more.
            let times = if piece < chunk || piece == 1 { 16 } else { 3 };
            cases.push((format!("{widths:?}, {chunk}, {piece}"), bound, ask(titans_memory_size, &c), times));
        }
    }
    hold("bounds_memory", &cases);
}

#[test]
fn streams_fit_their_bounds_for_every_block_and_option() {
    let mut cases = vec![];
    for (what, model) in blocks::cases().into_iter().chain(narrow()) {
        let blob = Blob::new(&model);
        for (rows, undo) in [(1, 0), (1, 8), (7, 0), (64, 64)] {
            let exact = size(&blob, &running(rows, undo));
            cases.push((format!("{what}, {rows}, {undo}"), bounded(&model, rows, undo), exact, 9));
        }
    }
    hold("bounds_stream", &cases);
}

/// Residual memories with wide ends and a narrow middle, in every block that has a memory.
fn narrow() -> Vec<(String, ModelConfig)> {
    let kinds = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal];
    let cases = kinds.into_iter().flat_map(|kind| [(300, 4, 60), (130, 2, 11), (360, 1, 4)].map(|shape| (kind, shape)));
    let model = |(kind, (head_width, hidden, chunk))| {
        let mut model = ModelConfig { blocks: 1, heads: 1, head_width, ..blocks::tiny(kind) };
        model.memory =
            MemoryConfig { layers: 2, network: Some(Network::Residual), hidden, chunk, ..model.memory.clone() };
        model.attention.segment = chunk;
        (format!("{kind:?}, {head_width} to {hidden} and back, chunk {chunk}"), model)
    };
    cases.map(model).collect()
}
