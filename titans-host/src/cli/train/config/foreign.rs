//! Options that say something about another task than the run's.

use super::super::names::TaskOption;
use super::ConfigArgs;
use crate::cli::options::expect_once;
use crate::cli::output;
use crate::error::{Error, Result};
use crate::task::{TaskConfig, TaskName};
use titans_kernel::Choice;

impl ConfigArgs {
    /// The options that not every task reads, each with the name of the one that is given.
    fn particular(&self) -> [(TaskOption, Option<&'static str>); 12] {
        let one = |option, name, given: bool| (option, given.then_some(name));
        [
            one(TaskOption::Data, "--data", !self.data.is_empty()),
            one(TaskOption::Carry, "--carry", self.carry.is_some()),
            one(TaskOption::Tokenizer, "--tokenizer", self.tokenizer.is_some()),
            one(TaskOption::Patch, "--patch", self.patch.is_some()),
            one(TaskOption::Split, "--split", self.split.is_some()),
            one(TaskOption::Pairs, "--pairs", self.pairs.is_some()),
            one(TaskOption::Group, "--group", self.group.is_some()),
            one(TaskOption::MicroSteps, "--micro-steps", self.micro_steps.is_some()),
            one(TaskOption::Lengths, "--lengths", !self.lengths.is_empty()),
            (TaskOption::Table, self.layout.given()),
            (TaskOption::Forecast, self.forecast.given()),
            (TaskOption::Classify, self.classify.any()),
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
        let takers = |group: TaskOption| -> Vec<&'static str> {
            TaskName::ALL.iter().filter(|task| task.takes().contains(&group)).map(|task| task.name()).collect()
        };
        for (group, given) in self.particular().into_iter().chain(self.own.particular()) {
            let (Some(option), takers) = (given, takers(group)) else { continue };
            if takers.contains(&name) {
                continue;
            }
            return Err(Error::usage(match group {
                TaskOption::Data => {
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
