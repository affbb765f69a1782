//! `titans bench table`: the figures by which this project judges its speed on a CPU, each beside the machine's limit.

mod attention;
mod exact;
mod measure;
mod report;
mod rows;

use super::seconds;
use crate::cli::options::{forced_by_environment, instruction_set, isa};
use crate::cli::{Failure, output};
use crate::device::cpu::Isa;
use report::TableRecord;
use rows::{TableRow, rows};

const ABOUT: &str = "\
Rows, all f32 and on one thread unless said; d is the width of keys and values, deep memories have two layers and 4 d between:
  linear/chunkB/dD     one layer, chunks of B tokens: share of the peak
  deep/chunk64/dD      two layers, plain: share of the peak
  exact/dD, exact-grad/dD   one layer, every token's own gradient, pieces of 64: its rate over that of chunks of 64,
                       measured by turns; forward, forward and backward
  exact-stream/dD      a stream of them that takes one token a call: its rate over that of pieces of one token, by turns
  residual/chunk64/dD  two layers, residual: its rate over the plain network's, measured by turns
  stream/linear/dD     a stream that takes one token a call, chunk 1: share of the peak (9 P operations a token)
  stream/deep/dD       the same, two layers: share of what the slower of peak (11 P - 2 p1 operations) and bandwidth (16 P
                       bytes over a state of 8 P bytes, measured by turns) allows
  token/linear/dD      a whole sequence token by token, chunk 1: share of the peak
  grad/linear/dD, grad/deep/dD   forward and backward, chunk 64: share of the peak
  attention/windowW    one head of width 64 over 512 tokens, each of which sees the last W: share of the peak
  attention-grad/windowW   its backward alone (five products instead of two)
  threads/dD           4 heads, chunk 64: the rate of two threads over that of one, measured by turns
  length/dD            chunk 64: cost of a token in the most expensive of several lengths over the cheapest, 4096 to
                       1048576 tokens (--quick: to 65536)
  train                a training step of the default text model (`titans bench train`): share of the peak
  train/chunkB         the same with chunks of B tokens
Names begin with the instruction set: the best one of this processor, and avx2 too where the best is wider, with goals 5
points lower. --isa leaves one. The peak is that of f32 multiply-adds in registers with the same instructions.

The limit is measured before and behind every repetition, and a repetition's share is against these two: what slows the machine
down slows both. `reached` is the median of the repetitions' shares, with the tenth slowest and the tenth fastest. Nothing fails
when a goal is missed.

JSON keys: cpu, cores, isa, seconds, quick, rows [{name, isa, threads, figure, reached {median, p10, p90}, goal, at_most, met,
tokens_per_s {median, p10, p90}, flops_per_token, peak_gflops {median, p10, p90}, bandwidth_gb_s {...}, repetitions, note}]. goal
and met are null where none is set, peak_gflops and bandwidth_gb_s where a row does not measure them.

Examples:
  titans bench table
  titans bench table --quick --only linear/chunk64
  titans bench table --isa avx2 --seconds 5 --json";

/// Measure the project's table of figures: each beside the machine's peak, with its goal
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// Only the rows whose name contains PATTERN
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Name the rows and measure nothing
    #[arg(long, conflicts_with = "json")]
    list: bool,
    /// Time of a row; at least five repetitions whatever they take
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    seconds: f64,
    /// A first look: a tenth of the time, shorter lengths
    #[arg(long)]
    quick: bool,
    /// Instruction set: avx512, avx2, portable [default: the best one, and avx2 beside avx512]
    #[arg(long, value_name = "ISA", value_parser = isa)]
    isa: Option<Isa>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    let forced = args.isa.is_some() || forced_by_environment().is_some();
    let best = instruction_set(args.isa)?;
    let mut isas = vec![best];
    if !forced && best == Isa::Avx512 && Isa::Avx2.available() {
        isas.push(Isa::Avx2);
    }
    let chosen = select(rows(&isas), args.only.as_deref())?;
    if args.list {
        return chosen.iter().try_for_each(|row| output::print(&row.name));
    }
    let time = if args.quick { 0.1 * args.seconds } else { args.seconds };
    let mut record = TableRecord::new(best, time, args.quick);
    if !args.json {
        output::print(record.head())?;
    }
    for row in chosen {
        let found = measure::row(&row, time, args.quick)?;
        if !args.json {
            output::print(found.line())?;
        }
        record.rows.push(found);
    }
    if args.json { output::print_json(&record) } else { Ok(()) }
}

/// The rows whose names contain `pattern`; an error with the names there are where it fits none.
fn select(all: Vec<TableRow>, pattern: Option<&str>) -> Result<Vec<TableRow>, Failure> {
    let pattern = pattern.unwrap_or("");
    let (chosen, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|row| row.name.contains(pattern));
    if chosen.is_empty() {
        let names: Vec<_> = others.iter().map(|row| row.name.as_str()).collect();
        return Err(Failure::input(format!("--only {pattern}: no such row; there are {}", names.join(", "))));
    }
    Ok(chosen)
}
