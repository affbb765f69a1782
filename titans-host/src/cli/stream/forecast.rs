//! Rows in, forecasts and surprise out: a run of the forecasting task as a stream.

use super::forecast_state::ForecastState;
use super::lines::{Line, LineReader};
use super::numbers::Patches;
use super::{Args, OnDivergence, own};
use crate::cli::output::{self, digits};
use crate::cli::{Failure, signals};
use crate::data::series::{Gaps, LatestDate, no_record};
use crate::error::{Error, Result, counted};
use crate::model::{Session, Weights};
use crate::task::forecast::{ForecastConfig, Frame, SeriesTable};
use crate::train::plot::{Curve, Labels, lines};
use crate::train::{Interrupt, Owner};
use std::sync::Arc;
use std::time::{Duration, Instant};
use titans_kernel::arch::Simd;

/// Points of a picture's curves, at most: the latest.
const POINTS: usize = 1 << 18;

/// The stream of a forecaster: one memory for each lane and each row of a patch, all run in one session.
pub(super) struct Forecaster<'a> {
    args: &'a Args,
    task: &'a ForecastConfig,
    frame: Frame,
    session: Session<f32>,
    state: ForecastState,
    saved: Instant,
    resets: u64,
    /// Row, error and surprise.
    scores: Vec<(f64, f64, f64)>,
    _owner: Option<Owner>,
}

/// What is said behind a row.
struct Said {
    /// The forecast of each column, in standardised units.
    columns: Vec<(usize, Vec<f64>)>,
    /// The memories' inner loss; none where the model has no memory.
    surprise: Option<f64>,
}

pub(super) fn run(
    args: &Args,
    task: &ForecastConfig,
    weights: &Arc<Weights<f32>>,
    arithmetic: Simd,
) -> std::result::Result<(), Failure> {
    if args.generate.is_some() || args.per_token.is_some() || args.tokenizer.is_some() {
        let text = "--generate, --per-token and --tokenizer are for models of text; this one reads rows";
        return Err(Error::usage(text).into());
    }
    let horizon = Frame::of(task).horizon;
    if let Some(ahead) = args.ahead.filter(|&ahead| ahead > horizon) {
        return Err(Error::usage(format!("--ahead: expected 1 to {horizon}, the run's horizon, found {ahead}")).into());
    }
    let session = Session::of(Arc::clone(weights), arithmetic, args.memory)?;
    let interrupt = signals::listen()?;
    let mut forecaster = Forecaster::new(args, task, session)?;
    forecaster.save()?;
    let result = forecaster.read(&interrupt);
    forecaster.save()?;
    forecaster.draw()?;
    result?;
    let (resets, seen) = (forecaster.resets, forecaster.state.seen);
    if resets > 0 {
        output::complain(&format!("memories began anew {}", counted(resets, "time")));
    }
    if seen < forecaster.frame.lookback as u64 {
        let needed = forecaster.frame.lookback;
        output::complain(&format!("{} so far; forecasts begin behind {needed}, the look-back", counted(seen, "row")));
    }
    match interrupt.requested() {
        true => Err(Failure::interrupted(
            &interrupt,
            match &args.state {
                Some(path) => format!("the state after {} is in {}", counted(seen, "row"), path.display()),
                None => "nothing was saved; --state FILE would have".into(),
            },
        )),
        false => Ok(()),
    }
}

impl<'a> Forecaster<'a> {
    fn new(args: &'a Args, task: &'a ForecastConfig, mut session: Session<f32>) -> Result<Self> {
        let frame = Frame::of(task);
        let owner = args.state.as_deref().map(own).transpose()?.flatten();
        let memories = frame.lanes().saturating_mul(frame.patch);
        let fresh = session.save()?;
        let mut state = ForecastState::new(frame.columns, memories);
        if let Some(path) = &args.state
            && let Some(found) = ForecastState::read(path)?
        {
            found.check(&state, frame.lookback, &frame.targets).map_err(|reason| Error::file(path, reason))?;
            for memory in found.memories.iter().flatten() {
                session.load(memory).and_then(|()| session.set_mode(args.memory)).map_err(|e| {
                    Error::file(
                        path,
                        format!("{e}; it must come from this checkpoint, with or without memory as it began"),
                    )
                })?;
            }
            state = found;
        }
        for memory in state.memories.iter_mut().filter(|memory| memory.is_none()) {
            *memory = Some(fresh.clone());
        }
        Ok(Self {
            args,
            task,
            frame,
            session,
            state,
            saved: Instant::now(),
            resets: 0,
            scores: Vec::new(),
            _owner: owner,
        })
    }

    fn save(&mut self) -> Result<()> {
        if let Some(path) = &self.args.state {
            output::write_whole(path, &self.state.bytes())?;
        }
        self.saved = Instant::now();
        Ok(())
    }

    fn keep(&mut self) -> Result<()> {
        if self.saved.elapsed() >= Duration::from_secs(self.args.save_every) { self.save() } else { Ok(()) }
    }

    fn read(&mut self, interrupt: &Interrupt) -> std::result::Result<(), Failure> {
        let patches = Patches::table(&self.task.columns, &self.task.layout);
        let (mut lines, mut first, mut headed) = (LineReader::new(&self.task.layout), true, false);
        while !interrupt.requested() {
            let line = match lines.next()? {
                Line::Is(line) => line,
                Line::NotYet => {
                    self.keep()?;
                    continue;
                }
                Line::End => return Ok(()),
            };
            let mut fields = csv::ReaderBuilder::new();
            fields.has_headers(false).flexible(true).delimiter(self.task.layout.byte());
            let mut record = csv::StringRecord::new();
            let number = lines.number();
            let wrong = |e: csv::Error| Error::usage(format!("standard input, {}", no_record(e, |_| number)));
            if !fields.from_reader(&line[..]).read_record(&mut record).map_err(wrong)? {
                continue;
            }
            let Some(numbers) = patches.read(number, &record, std::mem::take(&mut first))? else { continue };
            let date = self.date(&record, number)?;
            let error = self.error(&numbers);
            let said = self.take(&numbers, number)?;
            self.state.date = date;
            let Some(said) = said else { continue };
            if !headed && !self.args.json {
                output::print(output::csv_line(self.header())?)?;
                headed = true;
            }
            self.score(&said, error);
            match self.args.json {
                true => output::print(self.object(&said, error))?,
                false => output::print(output::csv_line(self.values(&said, error))?)?,
            }
            self.keep()?;
        }
        Ok(())
    }

    /// The date of a row, which must lie behind that of the row before. Rows of the run's columns alone have none.
    fn date(&self, record: &csv::StringRecord, line: u64) -> Result<LatestDate> {
        let layout = &self.task.layout;
        let whole = record.len() == self.task.columns.len() + layout.skipped().len();
        let Some((text, place)) = layout.date_of(record).zip(layout.date_place()).filter(|_| whole) else {
            return Ok(self.state.date.clone());
        };
        let wrong = |reason| Error::usage(format!("standard input, line {line}, {place}: {reason}"));
        self.state.date.next(&text).map_err(wrong)
    }

    /// How far a row is from its forecast: the root of the mean square over the columns that are there.
    fn error(&self, numbers: &[f32]) -> Option<f64> {
        let pairs = self.frame.targets.iter().zip(&self.state.expected);
        let squares: Vec<f64> = pairs
            .map(|(&c, expected)| (f64::from(numbers[c]) - expected).powi(2))
            .filter(|square| !square.is_nan())
            .collect();
        (!squares.is_empty()).then(|| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
    }

    /// Takes a row; nothing is said until there is a look-back. Of a row that is refused nothing is kept.
    fn take(&mut self, numbers: &[f32], line: u64) -> std::result::Result<Option<Said>, Failure> {
        let (lookback, mut rows) = (self.frame.lookback, self.state.rows.clone());
        for (column, &x) in rows.iter_mut().zip(numbers) {
            let stands = match self.task.layout.gaps {
                Gaps::Hold => column.last().copied().unwrap_or(0.0),
                // The mean; a refused gap never comes here.
                Gaps::Mean | Gaps::Refuse => 0.0,
            };
            column.push(if x.is_nan() { stands } else { f64::from(x) });
            let over = column.len().saturating_sub(lookback);
            column.drain(..over);
        }
        let seen = self.state.seen + 1;
        let ready = seen >= lookback as u64;
        let table = SeriesTable { columns: rows, missing: Vec::new() };
        let (mut said, mut memories) = (Said { columns: Vec::new(), surprise: None }, Vec::new());
        if ready {
            let phase = ((seen - lookback as u64) % self.frame.patch as u64) as usize;
            for lane in 0..self.frame.lanes() {
                let place = phase * self.frame.lanes() + lane;
                memories.push((place, self.lane(&table, lane, place, line, &mut said)?));
            }
            said.columns.sort_by_key(|(column, _)| *column);
            let first = |(_, numbers): &(usize, Vec<f64>)| numbers.first().copied().unwrap_or(0.0);
            self.state.expected = said.columns.iter().map(first).collect();
        }
        for (place, memory) in memories {
            self.state.memories[place] = Some(memory);
        }
        (self.state.rows, self.state.seen) = (table.columns, seen);
        Ok(ready.then_some(said))
    }

    /// Feeds one lane's token to its memory and adds what is said; the memory behind it.
    fn lane(
        &mut self,
        table: &SeriesTable,
        lane: usize,
        place: usize,
        line: u64,
        said: &mut Said,
    ) -> std::result::Result<Vec<u8>, Failure> {
        let mut token = Vec::with_capacity(self.frame.inputs());
        let levels = self.frame.token(table, self.frame.lookback, lane, &mut token);
        let token: Vec<f32> = token.into_iter().map(|x| x as f32).collect();
        if let Some(memory) = self.state.memories.get(place).and_then(Option::as_ref) {
            self.session.load(memory)?;
            self.session.set_mode(self.args.memory)?;
        }
        let mut taken = self.session.take_rows(&token)?;
        if taken.refused.is_some() && self.args.on_divergence == OnDivergence::Reset {
            self.session.reset()?;
            taken = self.session.take_rows(&token)?;
            self.resets += u64::from(taken.refused.is_none());
        }
        let Some(step) = taken.steps.first().filter(|_| taken.refused.is_none()) else {
            return Err(Failure::failed(format!(
                "standard input, line {line}: refused: with this row a memory, or the forecast, would not be finite; leave it out, let the \
                 memory begin anew there with --on-divergence reset, or train with a lower --theta-max"
            )));
        };
        let heads = step.surprise.iter().flatten();
        let (sum, count) = heads.fold((0.0, 0u32), |(sum, n), &x| (sum + f64::from(x), n + 1));
        if count > 0 {
            *said.surprise.get_or_insert(0.0) += sum / f64::from(count) / self.frame.lanes() as f64;
        }
        let columns = self.frame.said(lane);
        for (i, (&column, level)) in columns.iter().zip(&levels).enumerate() {
            let of_column = step.logits.iter().skip(i).step_by(columns.len());
            said.columns.push((column, of_column.map(|&x| f64::from(x) * level.scale + level.shift).collect()));
        }
        Ok(self.session.save()?)
    }

    fn ahead(&self) -> usize {
        self.args.ahead.unwrap_or(1)
    }

    fn header(&self) -> Vec<String> {
        let ahead = self.ahead();
        let column = |&c: &usize| {
            let name = self.task.columns[c].name.clone();
            (1..=ahead)
                .map(move |i| if ahead == 1 { format!("forecast_{name}") } else { format!("forecast_{name}_{i}") })
        };
        let forecasts = self.frame.targets.iter().flat_map(column);
        std::iter::once("row".into()).chain(forecasts).chain(["error".into(), "surprise".into()]).collect()
    }

    /// Keeps a row's scores for the picture.
    fn score(&mut self, said: &Said, error: Option<f64>) {
        let none = f64::NAN;
        self.scores.push((self.state.seen as f64, error.unwrap_or(none), said.surprise.unwrap_or(none)));
        let over = self.scores.len().saturating_sub(2 * POINTS);
        if over > 0 {
            self.scores.drain(..POINTS);
        }
    }

    /// The name of every column that is forecast, and its forecast of the next rows in its own units.
    fn forecasts<'s>(&'s self, said: &'s Said) -> impl Iterator<Item = (&'s str, Vec<String>)> {
        said.columns.iter().map(|(c, numbers)| {
            let column = &self.task.columns[*c];
            let ahead = numbers.iter().take(self.ahead());
            (column.name.as_str(), ahead.map(|&x| digits(column.restore(x), column.deviation)).collect())
        })
    }

    /// What is said behind a row as JSON, on one line.
    fn object(&self, said: &Said, error: Option<f64>) -> serde_json::Value {
        let number = |text: &String| text.parse::<f64>().unwrap_or_default();
        let of = |(name, texts): (&str, Vec<String>)| (name.to_owned(), texts.iter().map(number).collect());
        let forecast: serde_json::Map<String, serde_json::Value> = self.forecasts(said).map(of).collect();
        serde_json::json!({"row": self.state.seen, "forecast": forecast, "error": error, "surprise": said.surprise})
    }

    fn values(&self, said: &Said, error: Option<f64>) -> Vec<String> {
        let mut values = vec![self.state.seen.to_string()];
        values.extend(self.forecasts(said).flat_map(|(_, texts)| texts));
        values.extend([error, said.surprise].map(|x| x.map_or(String::new(), |x| (x as f32).to_string())));
        values
    }

    /// The anomaly scores over the rows.
    fn draw(&self) -> Result<()> {
        let Some(path) = &self.args.picture else { return Ok(()) };
        let latest = &self.scores[self.scores.len().saturating_sub(POINTS)..];
        let curve = |name: &str, value: fn(&(f64, f64, f64)) -> f64| Curve {
            name: name.into(),
            points: latest.iter().map(|score| (score.0, value(score))).collect(),
            marked: false,
        };
        let curves = [curve("error of the forecast", |s| s.1), curve("surprise of the memory", |s| s.2)];
        lines(path, &Labels { title: "Anomaly scores", x: "row", y: "deviations; inner loss" }, &curves)
    }
}
