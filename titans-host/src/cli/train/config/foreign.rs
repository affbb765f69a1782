//! Options that say something about another task than the run's.

use super::ConfigArgs;
use crate::error::{Error, Result};
use crate::task::TaskConfig;

impl ConfigArgs {
    /// Refuses what says something about another task.
    pub(super) fn foreign(&self, task: &TaskConfig) -> Result<()> {
        let name = task.name();
        if let Some(asked) = self.task.filter(|asked| asked.name() != name) {
            return Err(Error::usage(format!(
                "--task {}: the configuration file is of the {name} task; leave one out",
                asked.name()
            )));
        }
        if (name == "recall" || name == "track" || name == "needle") && !self.data.is_empty() {
            return Err(Error::usage(format!(
                "--data is for --task text, series, forecast and classify; the {name} task makes its own data"
            )));
        }
        let numbers: &[&str] = &["series", "forecast"];
        let options: [(&str, &[&str], bool); 11] = [
            ("--carry", &["text"], self.carry.is_some()),
            ("--tokenizer", &["text", "classify", "needle"], self.tokenizer.is_some()),
            ("--patch", numbers, self.patch.is_some()),
            ("--split", &["forecast", "text"], self.split.is_some()),
            (self.layout.given().unwrap_or_default(), numbers, self.layout.given().is_some()),
            (self.forecast.given().unwrap_or_default(), &["forecast"], self.forecast.given().is_some()),
            (self.classify.any().unwrap_or_default(), &["classify"], self.classify.any().is_some()),
            ("--pairs", &["recall"], self.pairs.is_some()),
            ("--group", &["track"], self.group.is_some()),
            ("--lengths", &["recall", "track", "needle"], !self.lengths.is_empty()),
            (self.needle.any().unwrap_or_default(), &["needle"], self.needle.any().is_some()),
        ];
        match options.into_iter().find(|(_, of, given)| *given && !of.contains(&name)) {
            Some((option, of, _)) => {
                let of = of.join(" or ");
                Err(Error::usage(format!("{option} is for the {of} task, this run is of {name}")))
            }
            None => Ok(()),
        }
    }
}
