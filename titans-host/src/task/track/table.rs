//! What a measurement says of each length.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Shares of one length, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
    /// Products that were predicted.
    pub products: f64,
    /// Words of which every product was.
    pub words: f64,
    /// Products that were predicted where the memory does not write; none for a model without memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<f64>,
    /// Products that a guess predicts; not known of tables of before.
    #[serde(default)]
    pub chance: f64,
}

/// By length: `{"64": {"products": 1.0, "words": 1.0, "frozen": 0.5, "chance": 0.5}, …}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackTable(pub BTreeMap<usize, Tracked>);

impl std::fmt::Display for TrackTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:>8}  {:>9}  {:>9}  {:>9}  {:>9}", "elements", "products", "words", "frozen", "chance")?;
        for (length, Tracked { products, words, frozen, chance }) in &self.0 {
            let p = |x: f64| format!("{:.1} %", 100.0 * x);
            let frozen = frozen.map_or("-".into(), p);
            writeln!(f, "{length:>8}  {:>9}  {:>9}  {frozen:>9}  {:>9}", p(*products), p(*words), p(*chance))?;
        }
        Ok(())
    }
}
