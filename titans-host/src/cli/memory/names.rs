//! Tensors of the input that would silently be of no use.

use super::problem::Part;
use crate::cli::tensors::Tensors;
use crate::error::Result;

/// Inputs beside the parts of the memory.
const TOKENS: [&str; 7] = ["k", "v", "q", "theta", "alpha", "eta", "mask"];

/// Refuses what is no input: initial weights, momentum and cotangents that belong to no part of the memory, and every
/// other name but those of outputs, which may be one of these that is misspelled.
///
/// # Errors
/// Naming the tensor, and what it would need, or the inputs that there are.
pub fn check(file: &Tensors<'_>, parts: &[Part]) -> Result<()> {
    let both = |part: &Part| [false, true].map(|m| (part.initial(m), format!("cot.{}", part.last(m))));
    let known: Vec<(String, String)> = parts.iter().flat_map(both).collect();
    let used = |name: &str| {
        let of_part = || known.iter().any(|(initial, cot)| name == initial || name == cot);
        name == "cot.y" || TOKENS.contains(&name) || of_part() || is_output(name)
    };
    let mut names = file.names();
    names.sort_unstable();
    match names.into_iter().find(|name| !used(name)) {
        None => Ok(()),
        Some(name) => Err(file.error(name, reason(name, parts))),
    }
}

/// What this verb writes, and reference vectors hold beside their inputs: a file may be an answer too.
fn is_output(name: &str) -> bool {
    let parts = ["y.", "w.", "s.", "grad."];
    ["y", "surprise", "gamma", "sgamma"].contains(&name) || parts.iter().any(|part| name.starts_with(part))
}

fn reason(name: &str, parts: &[Part]) -> String {
    if matches!(name, "cot.gamma" | "cot.sgamma") {
        return "is of no use: a plain network has no gamma; leave it out or ask for --network residual".into();
    }
    let layers = parts.iter().filter(|part| part.layer.is_some()).count();
    if ["w0.", "s0.", "cot."].iter().any(|prefix| name.starts_with(prefix)) {
        let held = if layers == 1 { "w0.0 alone gives".to_owned() } else { format!("w0.0 to w0.{} give", layers - 1) };
        return format!(
            "is of no use: {held} the memory {layers} layer(s), counted from 0 without gaps; rename it, leave it out or add w0.{layers}"
        );
    }
    format!(
        "is no input: expected {}, w0.0 w0.1 … s0.0 s0.1 … gamma0 sgamma0, and cot.y cot.w.0 … with --grad; rename it or leave it out",
        TOKENS.join(" ")
    )
}
