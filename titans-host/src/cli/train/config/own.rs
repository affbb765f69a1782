//! Tasks whose options have a file of their own: what the rest of the configuration needs to know of them.

mod babilong;
mod needle;

use super::super::names::TaskOption;
use super::super::places::set;
use super::ConfigArgs;
use crate::cli::options::size;
use crate::error::{Error, Result};
use crate::task::{TaskConfig, TaskName, babilong as stories, needle as needles};
use crate::train::RunConfig;
use babilong::BabilongArgs;
use needle::NeedleArgs;
use titans_kernel::Choice;

/// Their options.
#[derive(Debug, clap::Args)]
pub struct OwnArgs {
    #[command(flatten)]
    needle: NeedleArgs,
    #[command(flatten)]
    babilong: BabilongArgs,
    /// Tokens of the longest sequences at first, which grow to --context (needle, babilong) [default: a little more
    /// than the least]
    #[arg(long, value_name = "N", help_heading = "Training", value_parser = size)]
    first_length: Option<usize>,
}

impl OwnArgs {
    /// The first option that says something about a new run, by name; where data lie is none.
    pub fn given(&self) -> Option<&'static str> {
        let length = self.first_length.map(|_| "--first-length");
        length.or_else(|| self.needle.given()).or_else(|| self.babilong.given())
    }

    /// Whether it is said where data lie.
    pub fn names_files(&self) -> bool {
        self.needle.names_files() || self.babilong.names_files()
    }

    /// Those that not every task reads, each with the name of the one that is given.
    pub(super) fn particular(&self) -> [(TaskOption, Option<&'static str>); 3] {
        let length = self.first_length.map(|_| "--first-length");
        [
            (TaskOption::FirstLength, length),
            (TaskOption::Needle, self.needle.any()),
            (TaskOption::Babilong, self.babilong.any()),
        ]
    }
}

impl ConfigArgs {
    /// The recipe of such a task, with what is said of its data.
    pub(super) fn own_base(&self, name: TaskName) -> Result<RunConfig> {
        let layers = self.model.layers.unwrap_or(1);
        match name {
            TaskName::Needle => {
                let mut task = TaskConfig::Needle(needles::NeedleConfig::default());
                self.change_own(&mut task)?;
                needles::default_run(task, layers, &self.model.block)
            }
            TaskName::Babilong => {
                let mut task = TaskConfig::Babilong(stories::BabilongConfig::default());
                self.change_own(&mut task)?;
                stories::default_run(task, layers, &self.model.block)
            }
            TaskName::Recall
            | TaskName::Text
            | TaskName::Series
            | TaskName::Forecast
            | TaskName::Track
            | TaskName::Classify => Err(Error::usage(format!("--task {}: it has no recipe here", name.name()))),
        }
    }

    /// Puts the places of files into the task.
    pub(super) fn own_places(&self, task: &mut TaskConfig) -> Result<()> {
        match task {
            TaskConfig::Needle(c) => {
                self.texts(&mut Vec::new(), &mut c.tokenizer)?;
                self.own.needle.places(c)
            }
            TaskConfig::Babilong(c) => {
                self.texts(&mut Vec::new(), &mut c.tokenizer)?;
                self.own.babilong.places(c)
            }
            TaskConfig::Recall(_)
            | TaskConfig::Text(_)
            | TaskConfig::Series(_)
            | TaskConfig::Forecast(_)
            | TaskConfig::Track(_)
            | TaskConfig::Classify(_) => Ok(()),
        }
    }

    /// Puts the options into the task, and says whether the model must be fitted to it.
    pub(super) fn change_own(&self, task: &mut TaskConfig) -> Result<bool> {
        self.own_places(task)?;
        match task {
            TaskConfig::Needle(c) => {
                self.own.needle.change(c)?;
                set(&mut c.growth.first_length, self.own.first_length);
                set(&mut c.length, self.context);
                set(&mut c.tokens, self.batch);
                self.own_lengths(&mut c.lengths);
            }
            TaskConfig::Babilong(c) => {
                self.own.babilong.change(c);
                set(&mut c.growth.first_length, self.own.first_length);
                set(&mut c.length, self.context);
                set(&mut c.tokens, self.batch);
                self.own_lengths(&mut c.lengths);
            }
            TaskConfig::Recall(_)
            | TaskConfig::Text(_)
            | TaskConfig::Series(_)
            | TaskConfig::Forecast(_)
            | TaskConfig::Track(_)
            | TaskConfig::Classify(_) => return Ok(false),
        }
        Ok(self.tokenizer.is_some())
    }

    fn own_lengths(&self, lengths: &mut Vec<usize>) {
        if !self.lengths.is_empty() {
            lengths.clone_from(&self.lengths);
        }
    }
}
