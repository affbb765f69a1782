//! The `titans` command: one file per verb, nothing but arguments, calls and printing.
//!
//! Results go to standard output, everything else to standard error; the exit code says how it ended
//! ([`Code`]). No verb panics on bad input: errors name the thing, what was expected and what was found.

mod bench;
mod checkpoint;
mod classify;
mod devices;
mod eval;
mod export;
mod failure;
mod forecast;
mod generate;
mod inspect;
mod memory;
mod npz;
mod options;
mod output;
mod selftest;
mod shell;
mod signals;
mod state;
mod stream;
mod study;
mod tensors;
mod tokenizer;
mod train;

pub use failure::{Code, Failure};
use options::on_device;

use crate::error::tidy;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed while running (a full disk, a device error, a loss that is not a number)
  2    bad usage or bad input (an unknown flag, a wrong shape, a damaged file, a device that is not there)
  129, 130, 143  stopped by SIGHUP, Ctrl-C, SIGTERM (128 and the signal's number), after keeping what there is to keep

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
    Forecast(forecast::Args),
    Classify(classify::Args),
    Export(export::Args),
    Study(study::Args),
    Tokenizer(tokenizer::Args),
    Stream(stream::Args),
    Devices(devices::Args),
    Memory(memory::Args),
    Bench(bench::Args),
    Inspect(inspect::Args),
    Selftest(selftest::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

impl Verb {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Train(args) => train::run(&args),
            Self::Eval(args) => eval::run(&args),
            Self::Generate(args) => generate::run(&args),
            Self::Forecast(args) => forecast::run(&args),
            Self::Classify(args) => classify::run(&args),
            Self::Export(args) => export::run(&args),
            Self::Study(args) => study::run(&args),
            Self::Tokenizer(args) => tokenizer::run(&args),
            Self::Stream(args) => stream::run(&args),
            Self::Devices(args) => devices::run(&args),
            Self::Memory(args) => memory::run(&args),
            Self::Bench(args) => bench::run(&args),
            Self::Inspect(args) => inspect::run(&args),
            Self::Selftest(args) => selftest::run(&args),
            Self::Completions(args) => shell::completions(&args, command()),
            Self::Man(args) => shell::man(&args, command()),
        }
    }
}

/// Runs the command line of this process and returns its exit code. A panic, which would be a bug of this program,
/// ends as one line on standard error and exit code 1.
pub fn main() -> ExitCode {
    failure::watch_panics();
    signals::survive_limits();
    let code = std::panic::catch_unwind(|| match parse() {
        Ok(cli) => cli.verb.run().map_or_else(|failure| failure.report(), |()| Code::Done),
        Err(error) => {
            let wrong = error.use_stderr();
            tell_usage(error);
            if wrong { Code::Input } else { Code::Done }
        }
    });
    code.unwrap_or_else(|_| failure::bug().report()).into()
}

/// The command line. A negative number is a value wherever one is expected, so that the option says which numbers it
/// takes.
fn command() -> Command {
    fn with_numbers(command: Command) -> Command {
        let takes = |arg: Arg| match arg.get_action().takes_values() && !arg.is_positional() {
            true => arg.allow_negative_numbers(true),
            false => arg,
        };
        command.mut_args(takes).mut_subcommands(with_numbers)
    }
    rejoin_help(with_numbers(Cli::command()))
}

/// The text behind the options of every verb as paragraphs, which the parser breaks where the terminal ends; lines of
/// tables and examples, which begin with blanks, stay lines.
fn rejoin_help(command: Command) -> Command {
    let text = command.get_after_help().map(|text| join_lines(&text.to_string()));
    let command = command.mut_subcommands(rejoin_help);
    match text {
        Some(text) => command.after_help(text),
        None => command,
    }
}

/// Joins the lines of a paragraph as its author broke them; a sentence's end, or a colon, may end one, and what is far
/// to the right goes on from the line above.
fn join_lines(text: &str) -> String {
    const TABLE: usize = 12;
    let mut flowing = String::with_capacity(text.len());
    let mut before = "";
    for line in text.lines() {
        let blanks = line.len() - line.trim_start().len();
        let prose = blanks == 0 && !before.is_empty() && !before.starts_with(' ') && !before.ends_with(['.', ':']);
        let goes_on = !line.is_empty() && (prose || blanks >= TABLE && !before.is_empty());
        if !flowing.is_empty() {
            flowing.push_str(if goes_on { " " } else { "\n" });
        }
        flowing.push_str(if goes_on { line.trim_start() } else { line });
        before = line;
    }
    flowing
}

fn parse() -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// What to say of an argument that is not UTF-8 where text is expected: the parser itself names none. It is the one
/// without which the parser complains no more, or not of that.
fn not_utf8(arguments: &[OsString]) -> Option<String> {
    let mut tried = arguments.to_vec();
    let culprit = (1..arguments.len()).find(|&i| {
        let text = tried[i].to_string_lossy().into_owned().into();
        tried[i] = text;
        let fine = |error: clap::Error| error.kind() != ErrorKind::InvalidUtf8;
        arguments[i].to_str().is_none() && command().try_get_matches_from(&tried).err().is_none_or(fine)
    })?;
    let found = arguments[culprit].to_string_lossy();
    let option = match found.split_once('=') {
        Some((option, _)) if option.starts_with("--") => option.to_owned(),
        _ => arguments[culprit - 1].to_str().filter(|before| before.starts_with('-')).unwrap_or_default().to_owned(),
    };
    let of = if option.is_empty() { format!("argument {culprit}") } else { option };
    Some(format!("{of}: expected text in UTF-8, found {found:?}; give it in UTF-8"))
}

/// Prints help, or what is wrong with the arguments, which may hold anything.
fn tell_usage(mut error: clap::Error) {
    if error.kind() == ErrorKind::InvalidUtf8
        && let Some(text) = not_utf8(&std::env::args_os().collect::<Vec<_>>())
    {
        return output::complain(&format!("error: {text}"));
    }
    if let Some(ContextValue::String(found)) = error.get(ContextKind::InvalidArg)
        && error.kind() == ErrorKind::UnknownArgument
        && found.starts_with('-')
        && !found.starts_with("--")
    {
        // The parser's own advice, `-- VALUE`, does not help an option.
        let tip = format!("a value that begins with a dash is given as --OPTION={found}, a file also as ./{found}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    let text = error.render().to_string();
    let tidied = tidy(&text);
    // Printing may fail where nobody listens; there is nobody to tell.
    if tidied == text || !error.use_stderr() {
        let _ = error.print();
    } else {
        output::complain_plainly(&tidied);
    }
}

#[cfg(test)]
mod tests {
    use super::{command, join_lines};

    #[test]
    fn paragraphs_flow_and_tables_stay() {
        let text = "One line\nand its rest.\nAnother:\n  a  b\n              c\n  d\nMore\n\n  e\nf";
        assert_eq!(join_lines(text), "One line and its rest.\nAnother:\n  a  b c\n  d\nMore\n\n  e\nf");
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
