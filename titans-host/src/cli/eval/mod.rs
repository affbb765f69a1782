//! `titans eval`: how well a trained model does what it was trained for.

mod babilong;
mod classify;
mod forecast;
mod needle;
mod numbers;
mod positions;
mod questions;
mod recall;
mod text;
mod track;

pub use recall::print as print_recall;
pub use text::tokenizer;
pub use track::print as print_tracked;

use super::checkpoint::{CheckpointArgs, spare};
use super::options::{DeviceArgs, count, expect_once, named, number, size, svg};
use super::{Failure, on_device, output};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Mode;
use crate::task::{TaskConfig, TaskName};
use std::path::PathBuf;

const ABOUT: &str = "\
A run of the text task: without --data the run's own text is read and its validation part (the last tenth) evaluated.

--per-token writes CSV with the header position,byte,log_probability,surprise_0,surprise_1,...: one row for each byte
predicted; position counts from 0 in the bytes evaluated (the first byte is never predicted), log_probability is
natural, surprise_l is that of layer l at the byte before: the inner loss c ‖M(k) − v‖² averaged over the heads, with c by
the model's memory.loss (sum 1, half 1/2, mean 1/d_v). With --tokenizer in training, rows are tokens: position counts tokens, and
in the place of byte are token,bytes: its id and how many bytes it stands for.

A run of the series task: the mean squared error of the next patch in standardised units, over the validation part or --data.
A run of the forecast task: mean squared and absolute errors by horizon, of every forecast of the test part, beside baselines; --carry
lets the memories go on learning from forecast to forecast. --per-window writes row,column,mse,surprise; --picture draws them.
A run of the classify task: accuracy, Matthews correlation, F1, AUC and the table of confusions of the test rows (of validation where there are none), beside
baselines. --per-item writes row,line,name,label,predicted and every class's probability; --picture draws the confusions.
A run of the recall task: recall against --lengths with the memory on, frozen and absent. Sequences above 32768 tokens are read
as streams on the CPU, in memory that does not grow with them.
A run of the track task: products and whole words that are right, by --lengths, of new words or of those of --data (CSV with columns input and
target, a file for each length). --per-item writes length,number,products,first_wrong; --picture draws what is right by place in the word.
A run of the needle task: the share of values that are written by --lengths and --depths, in the run's haystack or in --data, with the memory on, frozen and absent; of the
babilong task the share of answers by task and --lengths, of the test questions (--part valid: of validation). --picture draws a heat map, --per-item writes what was asked and said.
Sequences above 32768 tokens are streams here too.

A loss, or a surprise that --per-token writes, that is not finite ends the verb with exit code 1: it says where, and writes nothing.

JSON keys: tokens (predicted), bytes (that these stand for), nats_per_token, bits_per_byte; of series patches,
mean_squared_error, unchanged (the error of predicting that nothing changes); of recall as recall.json; of track for each length products, words, frozen, chance; of forecasts mse, mae (the first
horizon's), horizons {N: {mse, mae}}, mean, part, windows, columns, lookback, rows_seen, memory, carry, seconds, baselines {last, seasonal,
linear, season, ridge}; of classify accuracy, mcc, f1, auc, loss, rows, confusion, classes [{name, rows, precision, recall, f1}], part, memory, strands, seconds,
baselines {majority, words_4, words_6}; of needles kind, haystack, tokens, memory, chance, lengths [{length, samples, accuracy, standard_error, frozen,
absent}], cells [{length, depth, samples, accuracy, nats}]; of babilong part, tokens, memory, rows [{task, length, samples, mean_tokens, accuracy, standard_error, nats,
frozen, absent}], baselines {qa1: {majority, last_mentioned, chance}}.

Examples:
  titans eval runs/text
  titans eval runs/text --memory frozen
  titans eval runs/text --checkpoint latest --data book.txt.gz --window 0 --json
  titans eval runs/text --data book.txt --per-token book.csv
  titans eval runs/recall --lengths 256,1024,4096,16384
  titans eval runs/recall --lengths 2097152 --sequences 1
  titans eval runs/series --data later.csv
  titans eval runs/track --data S5.len256.test.csv.gz S5.len1024.test.csv.gz
  titans eval runs/forecast --carry --picture errors.svg
  titans eval runs/needle --lengths 2048,4096,8192,16384 --depths 0,25,50,75,100 --picture heat.svg
  titans eval runs/needle --lengths 2000000 --sequences 1 --no-baselines
  titans eval runs/babilong --data books/test/*.md --lengths 0,4096,16384
  titans eval runs/classify --per-item items.csv --picture confusions.svg";

/// What this verb can do about a memory that diverges.
const SHORTER: &str = "or evaluate in shorter windows (--window)";

/// Measure a trained model: nats and bits a byte of text, recall by length, the error of predicted numbers, classes of
/// sequences, or what is found in haystacks
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// A run folder (its best checkpoint), or a checkpoint
    #[arg(value_name = "RUN")]
    run: PathBuf,

    #[command(flatten)]
    which: CheckpointArgs,

    /// Text (of FASTA the sequences alone, as in training), numbers, words, rows, or text to hide in, one file after
    /// the other; .gz is read as it is (text, series, forecast, track, classify, needle, babilong) [default: the run's
    /// validation part]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,

    /// Evaluate only the last part of --data, a share above 0 and below 1
    #[arg(long, value_name = "SHARE", requires = "data", allow_negative_numbers = true, value_parser = number)]
    tail: Option<f64>,

    /// Tokens or patches of a window, each with fresh memories; 0 reads everything as one uncut stream [default: 512,
    /// or that of the run's validation]
    #[arg(long, value_name = "N", value_parser = count)]
    window: Option<usize>,

    /// What the memories do: write every token (on), stay as training left them (frozen), answer 0 (absent) [default:
    /// on; a table of recall has all three]
    #[arg(long, value_parser = named::<Mode>())]
    memory: Option<Mode>,

    /// Write every token's log-probability and surprise (text)
    #[arg(long, value_name = "OUT.csv")]
    per_token: Option<PathBuf>,

    /// Predict the last word of every text of a file of lines {"text": …} instead (text)
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["data", "window", "per_token"])]
    lambada: Option<PathBuf>,

    /// Choose among the ways for a text to go on instead, of a file of lines {"context": …, "choices": [ … ], "answer":
    /// 0} (text)
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["data", "window", "per_token", "lambada"])]
    choices: Option<PathBuf>,

    /// Write what the model says of every text of --lambada or question of --choices (text), word (track), row
    /// (classify), sample (needle, babilong), or window, as --per-window does (forecast)
    #[arg(long, value_name = "OUT.csv")]
    per_item: Option<PathBuf>,

    /// The perplexity of a word too, line ends counted, which compares between vocabularies (text)
    #[arg(long, conflicts_with_all = ["lambada", "choices"])]
    word_perplexity: bool,

    /// What counts of the training part reach on the same text, and gzip (text)
    #[arg(long, conflicts_with_all = ["lambada", "choices"])]
    baselines: bool,

    /// Where the run's vocabulary lies now (text, classify, needle, babilong) [default: where it was in training]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// Where needles lie, in percent of the haystack (needle) [default: 0,25,50,75,100]
    #[arg(long, value_name = "P,…", value_delimiter = ',', value_parser = number)]
    depths: Vec<f64>,

    /// Lengths of the table (recall, track, needle, babilong) [default: those of the run]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = count)]
    lengths: Vec<usize>,

    /// Sequences of each length, samples of each length and depth, or questions of each task (recall, track, needle,
    /// babilong) [default: those of the run]
    #[arg(long, value_name = "N", value_parser = size)]
    sequences: Option<usize>,

    /// The memories go on from forecast to forecast, in time, instead of beginning anew before each (forecast)
    #[arg(long)]
    carry: bool,

    /// Which rows, bytes or questions of the run are measured (forecast, text, classify, babilong) [default: test; of a
    /// text without --split and of a run of classify without a test its validation part]
    #[arg(long, value_enum, conflicts_with_all = ["data", "lambada", "choices"])]
    part: Option<forecast::PartName>,

    /// Leave the baselines out (forecast, classify, needle, babilong)
    #[arg(long)]
    no_baselines: bool,

    /// Write every forecast's error and the memory's surprise (forecast)
    #[arg(long, value_name = "OUT.csv", conflicts_with = "per_item")]
    per_window: Option<PathBuf>,

    /// Draw errors and surprise over the rows (forecast), bits a byte by position, how answers depend on the context's
    /// length (text), the table of confusions (classify), products by place in the word (track), or shares by length
    /// and depth or task (needle, babilong)
    #[arg(long, value_name = "OUT.svg", value_parser = svg())]
    picture: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    on: DeviceArgs,
}

/// Runs the verb.
pub fn run(args: &Args) -> std::result::Result<(), Failure> {
    let measured: std::result::Result<(), Failure> = on_device!(args.on, device => on(&device, args));
    measured.map_err(|failure| {
        let failure = failure.saying("task.lengths", "--lengths", !args.lengths.is_empty());
        let failure = failure.saying("task.depths", "--depths", !args.depths.is_empty());
        failure.saying("task.sequences", "--sequences", args.sequences.is_some())
    })
}

fn on<D: Device>(device: &D, args: &Args) -> std::result::Result<(), Failure> {
    expect_once("--lengths", &args.lengths)?;
    expect_once("--depths", &args.depths)?;
    let outputs = [
        ("--per-token", args.per_token.as_deref()),
        ("--per-window", args.per_window.as_deref()),
        ("--per-item", args.per_item.as_deref()),
        ("--picture", args.picture.as_deref()),
    ];
    spare(&args.run, &outputs)?;
    for (name, path) in outputs.iter().filter_map(|(name, path)| Some((*name, (*path)?))) {
        output::expect_folder(name, path)?;
    }
    for read in &args.data {
        let written = outputs.iter().filter_map(|(name, path)| Some((*name, (*path)?)));
        let files: Vec<_> = std::iter::once(("--data", read.as_path())).chain(written).collect();
        output::expect_distinct(&files)?;
    }
    let (config, state, model) = args.which.load(device, &args.run)?;
    let task = TaskConfig::of(&config)?;
    args.foreign(&task)?;
    match task {
        TaskConfig::Text(task) => text::run(device, args, (&config, &task, &state), &model),
        TaskConfig::Recall(task) => recall::run(device, args, task, config.train.seed, &model),
        TaskConfig::Classify(task) => classify::run(device, args, task, (config.train.seed, &state), &model),
        TaskConfig::Babilong(task) => babilong::run(device, args, task, (config.train.seed, &state), &model),
        TaskConfig::Needle(task) => needle::run(device, args, task, (config.train.seed, &state), &model),
        TaskConfig::Track(task) => track::run(device, args, task, config.train.seed, &model),
        TaskConfig::Forecast(task) => forecast::run(device, args, task, (config.train.seed, &state), &model),
        TaskConfig::Series(task) => numbers::run(device, args, task, (config.train.seed, &state), &model),
    }
}

/// What a run's own data are when they are not those of its training any more.
fn own(error: Error) -> Error {
    Error::usage(format!("{error}; --data FILE evaluates any other"))
}

/// e to the power of nats, which a text of very long words brings beyond all numbers.
fn perplexity(nats: f64, of: &str) -> std::result::Result<f64, Failure> {
    match nats.exp() {
        x if x.is_finite() => Ok(x),
        _ => Err(Failure::failed(format!(
            "the perplexity of {of} is beyond the largest number: {nats:.1} nats each; expected a text whose words are shorter"
        ))),
    }
}

impl Args {
    fn mode(&self) -> Mode {
        self.memory.unwrap_or_default()
    }

    /// Every option that is not of all tasks, those whose runs it measures, and whether it is given.
    fn particular(&self) -> [(&'static str, &'static [TaskName], bool); 19] {
        use TaskName::{Babilong, Classify, Forecast, Needle, Recall, Series, Text, Track};
        [
            ("--data", &[Text, Series, Forecast, Track, Classify, Needle, Babilong], !self.data.is_empty()),
            ("--tail", &[Text, Series, Forecast], self.tail.is_some()),
            ("--window", &[Text, Series], self.window.is_some()),
            ("--memory", &[Text, Series, Forecast, Classify, Needle, Babilong], self.memory.is_some()),
            ("--carry", &[Forecast], self.carry),
            ("--part", &[Forecast, Text, Classify, Babilong], self.part.is_some()),
            ("--no-baselines", &[Forecast, Classify, Needle, Babilong], self.no_baselines),
            ("--per-window", &[Forecast], self.per_window.is_some()),
            ("--picture", &[Forecast, Text, Track, Classify, Needle, Babilong], self.picture.is_some()),
            ("--lambada", &[Text], self.lambada.is_some()),
            ("--choices", &[Text], self.choices.is_some()),
            ("--per-item", &[Text, Track, Classify, Needle, Babilong, Forecast], self.per_item.is_some()),
            ("--word-perplexity", &[Text], self.word_perplexity),
            ("--baselines", &[Text], self.baselines),
            ("--per-token", &[Text], self.per_token.is_some()),
            ("--tokenizer", &[Text, Classify, Needle, Babilong], self.tokenizer.is_some()),
            ("--depths", &[Needle], !self.depths.is_empty()),
            ("--lengths", &[Recall, Track, Needle, Babilong], !self.lengths.is_empty()),
            ("--sequences", &[Recall, Track, Needle, Babilong], self.sequences.is_some()),
        ]
    }

    /// Refuses options that say nothing about this task.
    fn foreign(&self, task: &TaskConfig) -> Result<()> {
        let (task, name) = (task.task(), task.name());
        if task == TaskName::Text && self.per_item.is_some() && self.lambada.is_none() && self.choices.is_none() {
            return Err(Error::usage("--per-item is for --lambada and --choices: expected one of them, found none"));
        }
        match self.particular().into_iter().find(|(_, of, given)| *given && !of.contains(&task)) {
            Some((option, of, _)) => Err(Error::usage(format!(
                "{option} is for runs of the {} task, {} is of the {name} task",
                output::tasks(of, "and"),
                self.run.display()
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::task::TaskName;
    use titans_kernel::Choice;

    /// Where an option's help names tasks, it names those that the table has.
    #[test]
    fn help_names_the_tasks_of_every_option() {
        #[derive(clap::Parser)]
        struct Verb {
            #[command(flatten)]
            args: super::Args,
        }
        let verb = <Verb as clap::Parser>::try_parse_from(["eval", "run"]).unwrap();
        let command = <Verb as clap::CommandFactory>::command();
        let mut compared = 0;
        for (option, of, _) in verb.args.particular() {
            let argument = command.get_arguments().find(|a| a.get_long() == option.strip_prefix("--")).unwrap();
            let help = argument.get_help().unwrap().to_string();
            let lists = help.split('(').skip(1).filter_map(|rest| rest.split(')').next());
            let tasks = |list: &str| list.split(", ").map(TaskName::of_name).collect::<Option<Vec<_>>>();
            let mut named: Vec<_> = lists.filter_map(tasks).flatten().map(TaskName::code).collect();
            if named.is_empty() {
                continue;
            }
            let mut wanted: Vec<_> = of.iter().map(|task| task.code()).collect();
            named.sort_unstable();
            wanted.sort_unstable();
            named.dedup();
            assert_eq!(named, wanted, "{option}: {help}");
            compared += 1;
        }
        assert!(compared >= 10, "{compared}");
    }
}
