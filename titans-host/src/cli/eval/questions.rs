//! Last words and choices: how likely a model of text finds what goes on from a context.

use super::Args;
use crate::cli::{Failure, output};
use crate::data::questions::{self, LastWord, Question};
use crate::data::tokenizer::Tokenizer;
use crate::device::Device;
use crate::error::{Result, counted, plain};
use crate::model::Model;
use crate::task::evaluate::reads;
use crate::task::language::{
    ChoiceReport, Continuation, ContinuationScore, LambadaReport, choose, of_last_words, of_questions, report_choices,
    report_lambada, score,
};
use crate::train::plot::{Curve, Labels, lines};
use serde::Serialize;
use std::path::{Path, PathBuf};
use titans_kernel::Choice;

/// Points of a picture.
const POINTS: usize = 12;

/// What is printed.
#[derive(Serialize)]
struct WithMemory<T> {
    #[serde(flatten)]
    report: T,
    memory: &'static str,
}

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    tokenizer: &Tokenizer,
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    reads(model, tokenizer)?;
    match (&args.lambada, &args.choices) {
        (Some(path), _) => last_words(device, args, (path, tokenizer), model),
        (None, Some(path)) => choices(device, args, (path, tokenizer), model),
        (None, None) => Ok(()),
    }
}

fn last_words<D: Device>(
    device: &D,
    args: &Args,
    (path, tokenizer): (&PathBuf, &Tokenizer),
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    args.spare_input("--lambada", path)?;
    let (items, notes) = questions::last_words(path)?;
    output::tell(&notes);
    let asked = of_last_words(tokenizer, &items)?;
    let lines: Vec<usize> = items.iter().map(|item| item.line).collect();
    let said = args.scores(device, model, path, &asked, &lines)?;
    // Before anything is written.
    let report = report_lambada(&items, &said);
    super::perplexity(report.nats_per_word, "a last word")?;
    if let Some(out) = &args.per_item {
        let row = |(item, said): (&LastWord, &ContinuationScore)| {
            let word = item.word.trim_start().to_owned();
            vec![item.line.to_string(), word, (-said.nats).to_string(), said.tokens.to_string(), flag(said.greedy)]
        };
        table(out, &["line", "word", "log_probability", "tokens", "right"], items.iter().zip(&said).map(row))?;
    }
    if let Some(out) = &args.picture {
        let points = by_length(asked.iter().zip(&said).map(|(c, s)| (c.before.len(), s.nats)));
        draw(out, "The last word by the length of its context", "nats of the last word", points)?;
    }
    if args.json {
        return output::print_json(&WithMemory { report, memory: args.mode().name() });
    }
    let LambadaReport { items, perplexity, accuracy, standard_error, baselines, .. } = report;
    let p = |x: f64| format!("{:.2} %", 100.0 * x);
    output::print(format_args!(
        "{}: perplexity {perplexity:.2}, accuracy {} ± {}",
        counted(items, "last word"),
        p(accuracy),
        p(standard_error)
    ))?;
    output::print(format_args!(
        "a random word of the context {}, a random capitalised one {}",
        p(baselines.random_word),
        p(baselines.random_capitalised)
    ))
}

fn choices<D: Device>(
    device: &D,
    args: &Args,
    (path, tokenizer): (&PathBuf, &Tokenizer),
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    args.spare_input("--choices", path)?;
    let (items, notes) = questions::questions(path)?;
    output::tell(&notes);
    let asked = of_questions(tokenizer, &items)?;
    let lines: Vec<usize> = items.iter().flat_map(|q| std::iter::repeat_n(q.line, q.choices.len())).collect();
    let said = args.scores(device, model, path, &asked, &lines)?;
    let mut rest = &said[..];
    let own = items.iter().map(|q| {
        let (own, others) = rest.split_at(q.choices.len().min(rest.len()));
        rest = others;
        (q, own)
    });
    let own: Vec<(&Question, &[ContinuationScore])> = own.collect();
    if let Some(out) = &args.per_item {
        let columns = ["line", "choice", "answer", "log_probability", "tokens", "bytes", "chosen", "chosen_normalised"];
        table(out, &columns, own.iter().flat_map(|&(q, said)| rows(q, said)))?;
    }
    if let Some(out) = &args.picture {
        let mut first = 0;
        let points = own.iter().map(|&(q, said)| {
            let length = asked.get(first).map_or(0, |c| c.before.len());
            first += q.choices.len();
            (length, f64::from(u8::from(choose(q, said)[0] == q.answer)))
        });
        draw(out, "Right choices by the length of the context", "share that is right", by_length(points))?;
    }
    let report = report_choices(&items, &said);
    if args.json {
        return output::print_json(&WithMemory { report, memory: args.mode().name() });
    }
    print_choices(&report)
}

fn print_choices(report: &ChoiceReport) -> std::result::Result<(), Failure> {
    let p = |x: f64| format!("{:.2} %", 100.0 * x);
    let ChoiceReport { items, accuracy, standard_error, accuracy_normalised, standard_error_normalised, .. } = *report;
    output::print(format_args!(
        "{}: accuracy {} ± {}, by probability a byte {} ± {}",
        counted(items, "question"),
        p(accuracy),
        p(standard_error),
        p(accuracy_normalised),
        p(standard_error_normalised)
    ))?;
    let b = &report.baselines;
    output::print(format_args!(
        "chance {}, the commonest place {}, the longest choice {}, the shortest {}",
        p(b.chance),
        p(b.commonest_place),
        p(b.longest),
        p(b.shortest)
    ))
}

/// One question's rows of `--per-item`, one for each choice.
fn rows(question: &Question, said: &[ContinuationScore]) -> Vec<Vec<String>> {
    let [raw, normalised] = choose(question, said);
    let row = |(i, (said, choice)): (usize, (&ContinuationScore, &String))| {
        vec![
            question.line.to_string(),
            i.to_string(),
            flag(i == question.answer),
            (-said.nats).to_string(),
            said.tokens.to_string(),
            choice.trim().len().to_string(),
            flag(i == raw),
            flag(i == normalised),
        ]
    };
    said.iter().zip(&question.choices).enumerate().map(row).collect()
}

fn flag(yes: bool) -> String {
    u8::from(yes).to_string()
}

impl Args {
    /// Refuses to write over the file that is read.
    fn spare_input(&self, name: &str, input: &Path) -> Result<()> {
        let outputs = [("--per-item", &self.per_item), ("--picture", &self.picture)];
        let mut files = vec![(name, input)];
        files.extend(outputs.iter().filter_map(|(name, path)| Some((*name, path.as_deref()?))));
        output::expect_distinct(&files)
    }

    /// What the model says of all that is asked, all of it finite; `lines` says where each stands in its file.
    fn scores<D: Device>(
        &self,
        device: &D,
        model: &Model<D>,
        path: &Path,
        asked: &[Continuation],
        lines: &[usize],
    ) -> std::result::Result<Vec<ContinuationScore>, Failure> {
        let said = score(device, model, asked, self.mode())?;
        match said.iter().zip(lines).find(|(said, _)| !said.nats.is_finite()) {
            None => Ok(said),
            Some((_, line)) => Err(Failure::failed(format!(
                "{}: line {line}: its probability is not finite: the memory diverged; train with a lower --theta-max, a shorter --chunk or a \
                 clip, or evaluate with --memory frozen",
                plain(path.display())
            ))),
        }
    }
}

fn table(out: &Path, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> std::result::Result<(), Failure> {
    let mut text = format!("{}\n", columns.join(","));
    for row in rows {
        text.push_str(&output::csv_line(row)?);
        text.push('\n');
    }
    Ok(output::write_whole(out, text.as_bytes())?)
}

/// Means of a number over items of like length: as many in each point.
fn by_length(items: impl Iterator<Item = (usize, f64)>) -> Vec<(f64, f64)> {
    let mut items: Vec<(usize, f64)> = items.collect();
    items.sort_by_key(|item| item.0);
    let point = |some: &[(usize, f64)]| {
        let mean = |of: fn(&(usize, f64)) -> f64| some.iter().map(of).sum::<f64>() / some.len() as f64;
        (mean(|item| item.0 as f64), mean(|item| item.1))
    };
    items.chunks(items.len().div_ceil(POINTS).max(1)).map(point).collect()
}

fn draw(path: &Path, title: &str, y: &str, points: Vec<(f64, f64)>) -> Result<()> {
    let curve = Curve { name: y.into(), points, marked: true };
    lines(path, &Labels { title, x: "tokens of the context", y }, &[curve])
}

#[cfg(test)]
mod tests {
    use super::by_length;

    #[test]
    fn items_of_like_length_are_a_point() {
        let items = (0..24usize).map(|i| (23 - i, if i < 2 { 1.0 } else { 0.0 }));
        let points = by_length(items);
        assert_eq!((points.len(), points[0], points[11]), (12, (0.5, 0.0), (22.5, 1.0)));
        assert!(by_length(std::iter::empty()).is_empty());
        assert_eq!(by_length([(3, 2.0)].into_iter()), [(3.0, 2.0)]);
    }
}
