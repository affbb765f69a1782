//! Options that say something about another task than the run's.

use super::ConfigArgs;
use crate::cli::options::expect_once;
use crate::cli::output;
use crate::error::{Error, Result};
use crate::task::{TaskConfig, TaskName};
use titans_kernel::Choice;

impl ConfigArgs {
    /// What is given of the options that not every task reads: the name of an option, or of the group by which
    /// [`TaskName::takes`] knows it, and the option that was given.
    fn particular(&self) -> [(&'static str, Option<&'static str>); 12] {
        let one = |name: &'static str, given: bool| (name, given.then_some(name));
        [
            one("--data", !self.data.is_empty()),
            one("--carry", self.carry.is_some()),
            one("--tokenizer", self.tokenizer.is_some()),
            one("--patch", self.patch.is_some()),
            one("--split", self.split.is_some()),
            one("--pairs", self.pairs.is_some()),
            one("--group", self.group.is_some()),
            one("--micro-steps", self.micro_steps.is_some()),
            one("--lengths", !self.lengths.is_empty()),
            ("table", self.layout.given()),
            ("forecast", self.forecast.given()),
            ("classify", self.classify.any()),
        ]
    }

    /// Refuses what says something about another task, or one thing twice.
    pub(super) fn foreign(&self, task: &TaskConfig) -> Result<()> {
        expect_once("--lengths", &self.lengths)?;
        let name = task.name();
        if let Some(asked) = self.task.filter(|asked| *asked != task.task()) {
            return Err(Error::usage(format!(
                "--task {}: the configuration file is of the {name} task; leave one out",
                asked.name()
            )));
        }
        let takers = |group: &str| -> Vec<&'static str> {
            TaskName::ALL.iter().filter(|task| task.takes().contains(&group)).map(|task| task.name()).collect()
        };
        for (group, given) in self.particular().into_iter().chain(self.own.particular()) {
            let (Some(option), takers) = (given, takers(group)) else { continue };
            if takers.contains(&name) {
                continue;
            }
            return Err(Error::usage(match group {
                "--data" => {
                    let why = match (task.task(), self.task) {
                        (TaskName::Needle, _) => "the needle task hides in --haystack FILE…".into(),
                        (TaskName::Babilong, _) => "the babilong task reads --facts and --noise".into(),
                        (_, Some(_)) => format!("the {name} task makes its own data"),
                        (_, None) => format!("without --task it is {name}, which makes its own data"),
                    };
                    format!("--data is for --task {}; {why}", takers.join(", "))
                }
                _ => format!("{option} is for the {} task, this run is of {name}", output::listed(&takers, "or")),
            }));
        }
        Ok(())
    }
}
