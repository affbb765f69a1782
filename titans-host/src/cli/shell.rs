//! `titans completions` and `titans man`: the command line for shells and readers, from the text that parses it.

use super::{Failure, output};
use crate::error::{Error, Result, plain};
use clap::Command;
use clap_complete::Shell;
use std::path::{Path, PathBuf};

/// Print what a shell needs to complete verbs, options and their values
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  titans completions bash > ~/.local/share/bash-completion/completions/titans
  titans completions zsh > ~/.zfunc/_titans
  titans completions fish > ~/.config/fish/completions/titans.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Write a manual page for the command and for every verb
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  titans man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// The folder to write them into, made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Prints the completions of `command`.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> std::result::Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "titans", &mut text);
    output::stream(&text)
}

/// Writes the pages of `command` and its verbs.
pub fn man(args: &ManArgs, command: Command) -> std::result::Result<(), Failure> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "making the folder", e))?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let count = pages(folder, &command)?;
    output::print(format_args!("{count} pages in {}", plain(folder.display())))
}

fn pages(folder: &Path, command: &Command) -> Result<usize> {
    let man = clap_mangen::Man::new(command.clone());
    let path = folder.join(man.get_filename());
    let mut page = Vec::new();
    man.render(&mut page).map_err(|e| Error::io(&path, "rendering the page", e))?;
    output::write_whole(&path, &page)?;
    command.get_subcommands().try_fold(1, |count, verb| Ok(count + pages(folder, verb)?))
}
