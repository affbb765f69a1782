//! Tensors of the input that would silently be of no use.

use super::problem::Part;
use crate::cli::tensors::Tensors;
use crate::error::Result;

/// Refuses initial weights, momentum and cotangents that belong to no part of the memory. Tensors of other names are
/// let through: a file may hold more than the input.
///
/// # Errors
/// Naming the tensor, and what it would need.
pub fn check(file: &Tensors<'_>, parts: &[Part]) -> Result<()> {
    let both = |part: &Part| [false, true].map(|m| (part.initial(m), format!("cot.{}", part.last(m))));
    let known: Vec<(String, String)> = parts.iter().flat_map(both).collect();
    let used = |name: &str| name == "cot.y" || known.iter().any(|(initial, cot)| name == initial || name == cot);
    let ours = |name: &&str| ["w0.", "s0.", "cot."].iter().any(|prefix| name.starts_with(prefix));
    let mut names = file.names();
    names.sort_unstable();
    match names.into_iter().filter(ours).find(|name| !used(name)) {
        None => Ok(()),
        Some(name) => Err(file.error(name, format!("is of no use: {}", reason(name, parts)))),
    }
}

fn reason(name: &str, parts: &[Part]) -> String {
    if matches!(name, "cot.gamma" | "cot.sgamma") {
        return "a plain network has no gamma; leave it out or ask for --network residual".into();
    }
    let layers = parts.iter().filter(|part| part.layer.is_some()).count();
    let held = if layers == 1 { "w0.0 alone gives".to_owned() } else { format!("w0.0 to w0.{} give", layers - 1) };
    format!(
        "{held} the memory {layers} layer(s), counted from 0 without gaps; rename it, leave it out or add w0.{layers}"
    )
}
