//! Options of the needle task.

use super::super::super::places::{absolute, set};
use crate::cli::options::named;
use crate::data::needle::NeedleKind;
use crate::error::{Error, Result};
use crate::task::needle::NeedleConfig;
use std::path::{Path, PathBuf};
use titans_kernel::Choice;

/// What is hidden, and in what.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Needles")]
pub struct NeedleArgs {
    /// What is hidden: passkey (a number of 7 digits), number (the same, in a text) or uuid [default: passkey]
    #[arg(long, value_name = "NAME", value_parser = named::<NeedleKind>())]
    kind: Option<NeedleKind>,
    /// Files of text to hide it in, .gz is read as it is, or noise: a few sentences that repeat [default: noise, of
    /// passkey alone]
    #[arg(long, value_name = "noise|FILE", num_args = 1..)]
    haystack: Vec<PathBuf>,
}

impl NeedleArgs {
    /// The first option of this task that is given; where the data lie is none.
    pub fn given(&self) -> Option<&'static str> {
        self.kind.map(|_| "--kind")
    }

    /// The first option of this task that is given, where the data lie included.
    pub fn any(&self) -> Option<&'static str> {
        self.given().or(if self.haystack.is_empty() { None } else { Some("--haystack") })
    }

    /// Whether it is said where the haystack lies.
    pub fn names_files(&self) -> bool {
        !self.haystack.is_empty()
    }

    /// Puts the places of the haystack into the task.
    pub fn places(&self, c: &mut NeedleConfig) -> Result<()> {
        match &self.haystack[..] {
            [] => {}
            [noise] if noise == Path::new("noise") => c.haystack.clear(),
            files => c.haystack = files.iter().map(|path| absolute("--haystack", path)).collect::<Result<_>>()?,
        }
        Ok(())
    }

    /// Puts the options into the task.
    pub fn change(&self, c: &mut NeedleConfig) -> Result<()> {
        set(&mut c.kind, self.kind);
        if c.kind != NeedleKind::Passkey && c.haystack.is_empty() && self.haystack.is_empty() {
            let name = c.kind.name();
            return Err(Error::usage(format!(
                "--kind {name} needs --haystack FILE…: text to hide it in (--haystack noise: sentences that repeat)"
            )));
        }
        Ok(())
    }
}
