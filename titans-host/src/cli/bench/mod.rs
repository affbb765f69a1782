//! `titans bench`: speed, against what the machine can do.

mod counts;
mod memory;
mod peak;
mod timing;

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
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Memory(args) => memory::run(args),
    }
}
