//! The `titans` command: one file per verb, nothing but arguments, calls and printing.
//!
//! Results go to standard output, everything else to standard error; the exit code says how it ended
//! ([`Code`]). No verb panics on bad input: errors name the thing, what was expected and what was found.

mod bench;
mod checkpoint;
mod devices;
mod eval;
mod export;
mod failure;
mod generate;
mod inspect;
mod memory;
mod options;
mod output;
mod selftest;
mod state;
mod stream;
mod tensors;
mod train;

pub use failure::{Code, Failure};
use options::on_device;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed while running (a full disk, a device error, a loss that is not a number)
  2    bad usage or bad input (an unknown flag, a wrong shape, a damaged file, a device that is not there)
  130  interrupted by Ctrl-C

Results go to standard output, errors and progress to standard error.";

/// Sequence models with a memory that learns while they run (Titans).
#[derive(Debug, Parser)]
#[command(name = "titans", version, propagate_version = true, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Train(Box<train::Args>),
    Eval(eval::Args),
    Generate(generate::Args),
    Export(export::Args),
    Stream(stream::Args),
    Devices(devices::Args),
    Memory(memory::Args),
    Bench(bench::Args),
    Inspect(inspect::Args),
    Selftest(selftest::Args),
}

impl Verb {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Train(args) => train::run(&args),
            Self::Eval(args) => eval::run(&args),
            Self::Generate(args) => generate::run(&args),
            Self::Export(args) => export::run(&args),
            Self::Stream(args) => stream::run(&args),
            Self::Devices(args) => devices::run(&args),
            Self::Memory(args) => memory::run(&args),
            Self::Bench(args) => bench::run(&args),
            Self::Inspect(args) => inspect::run(&args),
            Self::Selftest(args) => selftest::run(&args),
        }
    }
}

/// Runs the command line of this process and returns its exit code. A panic, which would be a bug of this program,
/// ends as one line on standard error and exit code 1.
pub fn main() -> ExitCode {
    failure::watch_panics();
    let code = std::panic::catch_unwind(|| match Cli::try_parse() {
        Ok(cli) => cli.verb.run().map_or_else(|failure| failure.report(), |()| Code::Done),
        Err(error) => {
            // Printing may fail where nobody listens; there is nobody to tell.
            let _ = error.print();
            if error.use_stderr() { Code::Input } else { Code::Done }
        }
    });
    code.unwrap_or_else(|_| failure::bug().report()).into()
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
