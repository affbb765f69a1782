//! `titans tokenizer`: a vocabulary of one's own.

use super::options::{number, size, whole};
use super::{Failure, output};
use crate::data::text::{self, split};
use crate::data::tokenizer::{Learned, learn};
use crate::error::{counted, plain};
use clap::Subcommand;
use serde::Serialize;
use std::path::PathBuf;

/// Make a vocabulary for `titans train --task text --tokenizer`
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    what: TokenizerVerb,
}

#[derive(Debug, Subcommand)]
enum TokenizerVerb {
    Train(TrainArgs),
}

/// Learn byte-level BPE from a text: all bytes, and the pairs of tokens that come most often
///
/// The same text and options give the same file. It is a tokenizer.json as other programs read it, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --head the vocabulary sees what a run trains on, and nothing of its validation and test: 0.9 for a run without --split and for
--split enwik8.

JSON keys: file, vocabulary, bytes (learned from), tokens (that these are in it), bytes_per_token.

Examples:
  titans tokenizer train --vocab 4096 --data wiki.train.tokens --head 0.9 --out tokenizer.json
  titans train --task text --data wiki.train.tokens --tokenizer tokenizer.json --out runs/wiki")]
struct TrainArgs {
    /// Tokens: all 256 bytes, and those merged from them
    #[arg(long, value_name = "N", value_parser = size)]
    vocab: usize,

    /// Files of text, one after the other; .gz is read as it is, of FASTA (.fa, .fna, .faa, .fasta) the sequences alone
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,

    /// Learn from the first part alone, a share above 0 and below 1 [default: everything]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, value_parser = number)]
    head: Option<f64>,

    /// Pairs that come less often are not merged
    #[arg(long, value_name = "N", default_value = "2", value_parser = whole)]
    min_count: u64,

    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(Serialize)]
struct Written {
    file: String,
    vocabulary: usize,
    bytes: usize,
    tokens: usize,
    bytes_per_token: f64,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        TokenizerVerb::Train(args) => train(args),
    }
}

/// A share that leaves nothing before it, or hardly anything behind it.
fn too_short(share: f64, bytes: usize) -> Failure {
    Failure::input(format!(
        "--head: expected a share that takes 1 byte or more and leaves 2 or more, found {share} of {}; give more text, or another share",
        counted(bytes, "byte")
    ))
}

fn train(args: &TrainArgs) -> Result<(), Failure> {
    let mut files = vec![("--out", args.out.as_path())];
    files.extend(args.data.iter().map(|path| ("--data", path.as_path())));
    if let Some(share) = args.head.filter(|share| !(*share > 0.0 && *share < 1.0)) {
        return Err(Failure::input(format!(
            "--head: expected a share between 0 and 1, and neither of them, found {share}"
        )));
    }
    // Data may come twice, but must not be written over.
    files[1..].iter().try_for_each(|&data| output::expect_distinct(&[data, files[0]]))?;
    let text::Content { bytes, notes } = text::read_texts(&args.data)?;
    output::tell(&notes);
    let head = match args.head {
        // What is behind the head is as long as the tail that a run keeps.
        Some(share) => split(&bytes, 1.0 - share, 1).map_err(|_| too_short(share, bytes.len()))?.0,
        None => &bytes[..],
    };
    let Learned { json, vocabulary, tokens } = learn(head, args.vocab, args.min_count)?;
    if vocabulary < args.vocab {
        output::complain(&format!(
            "the text has no more pairs that come {} or more: {vocabulary} tokens instead of {}",
            counted(args.min_count, "time"),
            args.vocab
        ));
    }
    output::write_whole(&args.out, json.as_bytes())?;
    let bytes = head.len();
    let file = args.out.display().to_string();
    let written = Written { file, vocabulary, bytes, tokens, bytes_per_token: bytes as f64 / tokens.max(1) as f64 };
    if args.json {
        return output::print_json(&written);
    }
    let Written { file, bytes_per_token, .. } = written;
    output::print(format_args!(
        "{}: {vocabulary} tokens, from {bytes} bytes, which are {tokens} of them ({bytes_per_token:.2} bytes a token)",
        plain(file)
    ))
}
