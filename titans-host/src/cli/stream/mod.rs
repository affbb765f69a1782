//! `titans stream`: a model over standard input, learning as it reads, with a state that outlives the process.

mod feed;
mod forecast;
mod forecast_state;
mod input;
mod lines;
mod numbers;
mod quotes;
mod state;
mod text;

use super::checkpoint::{CheckpointArgs, spare, tell};
use super::options::{self, named};
use super::{Failure, output, signals};
use crate::data::tokenizer::Tokenizer;
use crate::device::Device;
use crate::error::{Error, counted};
use crate::model::{Mode, Session};
use crate::task::TaskConfig;
use crate::task::runnable::Runnable;
use crate::task::text::TextConfig;
use crate::train::Owner;
use crate::train::checkpoint::RunState;
use numbers::Patches;
use state::StreamState;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use titans_kernel::model::Input;

const ABOUT: &str = "\
A model of text reads text, predicts each token (byte) and learns from it; --generate N then continues the text on standard
output, from a copy of the memory. A model of numbers reads CSV rows and writes one row for each: its prediction of the next one,
and the surprise of each block; a run of the series task knows how to standardise them and how many make a patch, a blob takes
them as they are, the rows of a patch side by side. A run of the forecast task reads CSV rows too, and from the end of the first look-back on
writes one row for each: row (its number), the forecast of the next --ahead rows of each column, error (how far the row was from its
forecast, the root of the mean square in standardised units) and surprise (the memories' inner loss): two scores of anomaly, which
--picture draws. With --json a line is an object instead, with row, forecast {COLUMN: [...]}, error and surprise. Where the run's file has
dates, those of the rows must rise.

--state FILE: the stream goes on from FILE if it is there and from the beginning if not, and FILE is brought up to date
every --save-every seconds, at the end, at an error of the input, and at Ctrl-C, SIGTERM and SIGHUP (a second signal leaves at once),
always whole. One process at a time writes it: another one is refused. However bytes are cut into runs, the predictions are those of one run; tokens of a larger
vocabulary end where a run ends. A state belongs to its weights: the best checkpoint of a run may be another one after more
training, and so is the latest; then another FILE begins anew.

--per-token OUT.csv writes what `titans eval --window 0 --per-token` writes: position,byte,log_probability,surprise_0,...

A token (a row, a patch) is refused whose write into the memory, or what the model says after it, would not be finite. The verb then
ends with exit code 1 and says where it is; all that was read before it is predicted, and in the state. With --on-divergence reset the memory
begins anew there instead, reads that token and goes on; how often is told at the end, and positions count from there. Text that
--generate writes is not read anew: it ends there.

Totals go to standard error. JSON keys (--json, on standard output, of text, without --generate): tokens,
position, nats_per_token, bits_per_byte, clipped, resets.

Examples:
  titans stream runs/text --state memory.state < book.txt
  titans stream runs/text --state memory.state --generate 300 < /dev/null
  titans stream model.titans --per-token out.csv < book.txt
  titans stream runs/series < measurements.csv > predictions.csv
  titans stream runs/forecast --state live.state --picture scores.svg < rows.csv > forecasts.csv";

/// Run a model over standard input, token by token, learning as it reads
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// A run folder (its best checkpoint), a checkpoint, or a blob that `titans export` wrote
    #[arg(value_name = "RUN")]
    run: PathBuf,

    #[command(flatten)]
    which: CheckpointArgs,

    /// Continue from this state and keep it up to date
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Seconds between two writings of the state
    #[arg(long, value_name = "S", default_value = "60", requires = "state", value_parser = options::whole)]
    save_every: u64,

    /// Tokens to write after the input
    #[arg(long, value_name = "N", value_parser = options::count)]
    generate: Option<usize>,

    /// 0 takes the likeliest token, 1 the model's own odds
    #[arg(long, value_name = "X", default_value = "0.8", allow_negative_numbers = true, requires = "generate", value_parser = options::number)]
    temperature: f64,

    /// Draw among the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value = "0.95", allow_negative_numbers = true, requires = "generate", value_parser = options::number)]
    top_p: f64,

    /// Seed of the draws
    #[arg(long, value_name = "N", default_value = "0", value_parser = options::whole, requires = "generate")]
    seed: u64,

    /// Write every token's log-probability and surprise
    #[arg(long, value_name = "OUT.csv")]
    per_token: Option<PathBuf>,

    /// The model's vocabulary [default: where it was in training; of a blob: bytes]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// What the memories do: write every token (on), stay as training left them (frozen), answer 0 (absent)
    #[arg(long, default_value = "on", value_parser = named::<Mode>())]
    memory: Mode,

    /// What to do at a token with which the memory would not stay finite
    #[arg(long, value_enum, default_value = "stop")]
    on_divergence: OnDivergence,

    /// Rows ahead that are printed of each forecast (runs of --task forecast) [default: 1]
    #[arg(long, value_name = "N", value_parser = options::size)]
    ahead: Option<usize>,

    /// Draw the error of the forecasts and the memory's surprise over the rows, at the end (runs of --task forecast)
    #[arg(long, value_name = "OUT.svg", value_parser = options::svg())]
    picture: Option<PathBuf>,

    /// Print totals as JSON (text), or every line as JSON (runs of --task forecast)
    #[arg(long, conflicts_with = "generate")]
    json: bool,
}

/// What to do at a token that the stream refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnDivergence {
    /// Keep what came before it and end with exit code 1
    Stop,
    /// Begin anew with it, and count that
    Reset,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<(), Failure> {
    let outputs = [
        ("--state", args.state.as_deref()),
        ("--per-token", args.per_token.as_deref()),
        ("--picture", args.picture.as_deref()),
    ];
    spare(&args.run, &outputs)?;
    let device = options::cpu::<f32>(Some(1))?;
    let Runnable { weights, run, found } = Runnable::open(&device, &args.run, args.which.checkpoint.as_ref())?;
    if let Some(found) = found.filter(|_| args.run.is_dir()) {
        tell(&args.run, &found, run.as_ref().map(|(_, state)| state.step));
    }
    let weights = Arc::new(weights);
    let input = weights.model()?.spec().input;
    let task = run.as_ref().map(|(config, _)| TaskConfig::of(config)).transpose()?;
    if let Some(TaskConfig::Forecast(task)) = &task {
        return forecast::run(args, task, &weights, device.arithmetic());
    }
    if let Some((task, instead)) = task.as_ref().and_then(|task| Some((task, task.task().facts().ends?))) {
        let run = args.run.display();
        let reason = format!("is a run of the {} task, whose sequences end; {instead}", task.name());
        return Err(Error::usage(format!("{run}: {reason}")).into());
    }
    if args.ahead.is_some() || args.picture.is_some() {
        return Err(Error::usage("--ahead and --picture are for runs of --task forecast").into());
    }
    let session = Session::of(Arc::clone(&weights), device.arithmetic(), args.memory)?;
    let interrupt = signals::listen()?;
    let mut live = Live::new(args, session)?;
    live.save()?; // before anything is read: a place that cannot be written is told at once
    match (input, task.zip(run.as_ref().map(|(_, state)| state))) {
        (Input::Tokens(_), Some((TaskConfig::Text(task), state))) => {
            let tokenizer = tokenizer(args, task, state)?;
            output::tell(tokenizer.notes());
            text::run(args, &mut live, &tokenizer, &interrupt)?;
        }
        (Input::Tokens(_), _) => {
            let tokenizer = Tokenizer::open(args.tokenizer.as_deref())?;
            output::tell(tokenizer.notes());
            text::run(args, &mut live, &tokenizer, &interrupt)?;
        }
        (Input::Rows(_), _) if args.tokenizer.is_some() => {
            return Err(Error::usage("--tokenizer is for models of text; this one reads rows of numbers").into());
        }
        (Input::Rows(size), Some((TaskConfig::Series(task), _))) => {
            numbers::run(args, &mut live, &Patches::of(&task, size), &interrupt)?;
        }
        (Input::Rows(size), _) => numbers::run(args, &mut live, &Patches::plain(size), &interrupt)?,
    }
    if interrupt.requested() { Err(Failure::interrupted(&interrupt, live.kept())) } else { Ok(()) }
}

/// The vocabulary of a run, wherever it lies now.
fn tokenizer(args: &Args, mut task: TextConfig, state: &RunState) -> Result<Tokenizer, Error> {
    if let Some(path) = &args.tokenizer {
        task.tokenizer = Some(path.clone());
    }
    crate::task::text::tokenizer(&task, &state.task)
}

/// A stream and its file.
struct Live<'a> {
    args: &'a Args,
    session: Session<f32>,
    /// The last token read: it is fed when the next one comes.
    pending: Option<u32>,
    /// Numbers of a patch that is not whole yet; of text, what the model says after the last token, if none waits.
    open: Vec<f32>,
    saved: Instant,
    /// How often the memory began anew.
    resets: u64,
    /// Whether a push failed half way.
    torn: bool,
    /// Nobody else writes the file meanwhile.
    _owner: Option<Owner>,
}

impl<'a> Live<'a> {
    fn new(args: &'a Args, mut session: Session<f32>) -> Result<Self, Error> {
        let (mut pending, mut open) = (None, Vec::new());
        let owner = args.state.as_deref().map(own).transpose()?.flatten();
        if let Some(path) = &args.state
            && let Some(state) = StreamState::read(path)?
        {
            session.load(&state.stream).map_err(|e| {
                Error::file(
                    path,
                    format!(
                        "{e}; it must come from this model: of a run, from the same checkpoint (--checkpoint; the best one may \
                         change with more training); name another file to begin anew"
                    ),
                )
            })?;
            session.set_mode(args.memory).map_err(|e| {
                Error::file(path, format!("{e}; --memory absent goes with a state that began so, and with no other"))
            })?;
            (pending, open) = (state.pending, state.open);
        }
        Ok(Self { args, session, pending, open, saved: Instant::now(), resets: 0, torn: false, _owner: owner })
    }

    /// Writes the state if it is time to.
    fn keep(&mut self) -> Result<(), Error> {
        if self.saved.elapsed() >= Duration::from_secs(self.args.save_every) { self.save() } else { Ok(()) }
    }

    /// Writes the state, if there is a file for it.
    fn save(&mut self) -> Result<(), Error> {
        if let Some(path) = self.args.state.as_ref().filter(|_| !self.torn) {
            let state = StreamState { pending: self.pending, open: self.open.clone(), stream: self.session.save()? };
            output::write_whole(path, &state.bytes()?)?;
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// What an early end leaves behind.
    fn kept(&self) -> String {
        match &self.args.state {
            Some(path) => {
                let tokens = counted(self.session.position(), "token");
                format!("the state after {tokens} is in {}", path.display())
            }
            None => "nothing was saved; --state FILE would have".into(),
        }
    }
}

/// Owns a state file; devices have no owner.
fn own(path: &Path) -> Result<Option<Owner>, Error> {
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Ok(None);
    }
    let owner = Owner::of_file(path)?;
    if let Some(why) = owner.unlocked() {
        output::complain(why);
    }
    Ok(Some(owner))
}

/// The blocks whose surprise a step tells.
fn blocks(live: &Live<'_>) -> crate::Result<Vec<usize>> {
    let model = live.session.weights().model()?;
    let mut blocks = Vec::new();
    for i in 0..model.spec().blocks {
        blocks.extend((model.block(i)?.memories() > 0).then_some(i));
    }
    Ok(blocks)
}
