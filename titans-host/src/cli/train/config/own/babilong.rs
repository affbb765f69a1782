//! Options of the BABILong task.

use super::super::super::places::absolute;
use crate::cli::options::size;
use crate::error::Result;
use crate::task::babilong::BabilongConfig;
use std::path::{Path, PathBuf};

/// Which stories, and in what they are hidden.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "BABILong")]
pub struct BabilongArgs {
    /// The folder of the stories: qaN_…_train.txt and qaN_…_test.txt, .gz or not, and the index of the test questions
    #[arg(long, value_name = "DIR")]
    facts: Option<PathBuf>,
    /// Files of text to hide them in, .gz is read as it is, or noise: a few sentences that repeat [default: noise]
    #[arg(long, value_name = "noise|FILE", num_args = 1..)]
    noise: Vec<PathBuf>,
    /// Which tasks, by number [default: 1]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = size)]
    questions: Vec<usize>,
}

impl BabilongArgs {
    /// The first option of this task that is given; where the data lie is none.
    pub fn given(&self) -> Option<&'static str> {
        if self.questions.is_empty() { None } else { Some("--questions") }
    }

    /// The first option of this task that is given, where the data lie included.
    pub fn any(&self) -> Option<&'static str> {
        let noise = if self.noise.is_empty() { None } else { Some("--noise") };
        self.given().or(self.facts.as_ref().map(|_| "--facts")).or(noise)
    }

    /// Whether it is said where stories or noise lie.
    pub fn names_files(&self) -> bool {
        self.facts.is_some() || !self.noise.is_empty()
    }

    /// Puts the places of the files into the task.
    pub fn places(&self, c: &mut BabilongConfig) -> Result<()> {
        if let Some(folder) = &self.facts {
            c.facts = absolute("--facts", folder)?;
        }
        match &self.noise[..] {
            [] => {}
            [noise] if noise == Path::new("noise") => c.noise.clear(),
            files => c.noise = files.iter().map(|path| absolute("--noise", path)).collect::<Result<_>>()?,
        }
        Ok(())
    }

    /// Puts the options into the task.
    pub fn change(&self, c: &mut BabilongConfig) {
        if !self.questions.is_empty() {
            c.questions.clone_from(&self.questions);
        }
    }
}
