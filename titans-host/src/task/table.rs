//! Recall against length, with the memory on, frozen and absent: as JSON, as a picture, as text.

use crate::train::atomic;
use crate::train::plot::{self, Curve, Labels};
use crate::train::run::RECALL_FILES;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Shares of queried values that were predicted, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The memory writes at test time.
    pub on: f64,
    /// It does not; none for a model without memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<f64>,
    /// It is not there; none for a model without memory, where all three are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<f64>,
}

/// Recall by length: `{"256": {"on": 1.0, "frozen": 0.03, "absent": 0.03}, …}`; `on` alone for a model without memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table(pub BTreeMap<usize, Row>);

impl Table {
    /// Writes `recall.json` and `recall.svg` in `folder`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] when one cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let [path, picture] = RECALL_FILES.map(|file| folder.join(file));
        let json = serde_json::to_string_pretty(self).map_err(|e| Error::file(&path, e.to_string()))?;
        atomic::write(&path, "writing the recall table", |out| writeln!(out, "{json}"))?;
        let curve = |name: &str, share: fn(&Row) -> Option<f64>| Curve {
            name: name.into(),
            points: self.0.iter().filter_map(|(&length, row)| Some((length as f64, share(row)?))).collect(),
            marked: true,
        };
        let memory = self.0.values().any(|row| row.absent.is_some());
        let mut curves = vec![curve(if memory { "memory on" } else { "no memory" }, |r| Some(r.on))];
        if memory {
            curves.push(curve("memory frozen: no writes at test time", |r| r.frozen));
            curves.push(curve("memory absent", |r| r.absent));
        }
        let labels = Labels { title: "Recall against length", x: "tokens of the sequence", y: "recall" };
        plot::recall(&picture, &labels, &curves)
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:>8}  {:>8}  {:>8}  {:>8}", "tokens", "on", "frozen", "absent")?;
        for (length, row) in &self.0 {
            let p = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.1} %", 100.0 * x));
            writeln!(f, "{length:>8}  {:>8}  {:>8}  {:>8}", p(Some(row.on)), p(row.frozen), p(row.absent))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Table};

    #[test]
    fn the_table_is_kept_as_json_and_as_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let row = Row { on: 1.0, frozen: Some(0.03), absent: Some(0.025) };
        let table = Table([(1024, Row { on: 0.5, ..row }), (256, row)].into());
        table.write(folder.path()).unwrap();
        let json = std::fs::read_to_string(folder.path().join("recall.json")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["256"]["on"], 1.0);
        assert_eq!(value["1024"]["absent"], 0.025);
        assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
        let svg = std::fs::read_to_string(folder.path().join("recall.svg")).unwrap();
        for text in ["memory on", "memory frozen", "memory absent", "\n256\n", "\n1024\n"] {
            assert!(svg.contains(text), "{text}");
        }
        let text = table.to_string();
        assert!(text.lines().nth(1).unwrap().contains("256") && text.contains("100.0 %"), "{text}");
        assert!(table.write(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn a_model_without_memory_has_one_column() {
        let folder = tempfile::tempdir().unwrap();
        let table = Table([(256, Row { on: 0.5, frozen: None, absent: None })].into());
        table.write(folder.path()).unwrap();
        let json = std::fs::read_to_string(folder.path().join("recall.json")).unwrap();
        assert!(!json.contains("frozen") && serde_json::from_str::<Table>(&json).unwrap() == table, "{json}");
        let svg = std::fs::read_to_string(folder.path().join("recall.svg")).unwrap();
        assert!(svg.contains("no memory") && !svg.contains("absent"));
        let text = table.to_string();
        let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words, ["256", "50.0", "%", "-", "-"]);
    }
}
