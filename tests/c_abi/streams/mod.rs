//! Streams through whole models.

mod bits;
#[path = "../../common/blocks.rs"]
pub mod blocks;
mod refusals;
mod saved;
pub mod support;
mod tokens;

use titans_host::model::{Kind, ModelConfig, specs};

/// The macro of titans.h that bounds a stream through such a model.
pub fn bounded(config: &ModelConfig, rows: u32, undo: u32) -> String {
    let (spec, all) = specs(config).unwrap();
    let most = |f: &dyn Fn(&titans_kernel::model::BlockSpec) -> usize| all.iter().map(f).max().unwrap();
    let remembers = all.iter().any(|b| b.kind != Kind::Attention);
    let widths = &all[0].memory.widths;
    let (inputs, outputs): (usize, usize) = (widths[..widths.len() - 1].iter().sum(), widths[1..].iter().sum());
    let (params, gamma, sets) = (all[0].memory.params(), all[0].memory.gamma_len(), all[0].memory.gate_sets());
    let piece = all[0].memory.period_len();
    let working = if all.iter().any(|b| b.kind == Kind::Mac) { piece.max(16) } else { piece };
    let own = |what: &str, piece: usize| match remembers {
        true => format!("TITANS_MEMORY_{what}_NUMBERS({params}, {inputs}, {outputs}, {gamma}, {piece}, {sets})"),
        false => "0".into(),
    };
    let seen = most(&|b| match b.kind {
        Kind::Lmm => 0,
        Kind::Mac => 2 * b.segment,
        _ => b.window,
    });
    format!(
        "TITANS_STREAM_BYTES({rows}, {undo}, {}, {}, {}, {}, {}, {}, {sets}, {params}, {}, {}, {}, {}, {seen}, {})",
        if config.inputs > 0 { config.inputs } else { 1 },
        spec.outputs,
        spec.width,
        spec.blocks,
        all[0].heads,
        all[0].head_width,
        own("STATE", piece),
        own("WORK", working),
        all[0].conv_width,
        all[0].persistent,
        all[0].feed_forward,
    )
}
