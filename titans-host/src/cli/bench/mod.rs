//! `titans bench`: speed, against what the machine can do.

mod counts;
mod memory;
mod peak;
mod stream;
mod table;
mod timed;
mod timing;
mod train;
mod work;

use super::Failure;
use clap::Subcommand;

/// Measure speed on this machine
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Memory(memory::Args),
    Stream(stream::Args),
    Table(table::Args),
    Train(train::Args),
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Memory(args) => memory::run(args),
        What::Stream(args) => stream::run(args),
        What::Table(args) => table::run(args),
        What::Train(args) => train::run(args),
    }
}

/// Seconds to measure: 0 to 3600.
fn seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.0..=3600.0).contains(s)).ok_or("expected seconds, 0 to 3600".into())
}
