//! A study's results as a table, as JSON and as pictures.

use super::arms::Study;
use super::file::StudyKind;
use super::measure::{ArmResult, LengthScore};
use crate::error::Result;
use crate::task::TaskName;
use crate::train::plot::{self, Curve, Labels, NamedBar};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use titans_kernel::Choice;

/// A number over the seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverSeeds {
    /// Over the seeds that are done.
    pub mean: f64,
    /// Standard deviation of a seed; none of one seed alone.
    pub deviation: Option<f64>,
    /// One by one, in the order of the seeds.
    pub seeds: Vec<f64>,
}

/// One configuration over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmReport {
    name: String,
    parameters: usize,
    feed_forward: usize,
    /// Of a text's perplexity in the paper's table 5.
    paper: Option<f64>,
    /// Validation.
    loss: Option<OverSeeds>,
    perplexity: Option<OverSeeds>,
    accuracy: Option<OverSeeds>,
    /// By length: bits a byte, or the share that is right.
    lengths: BTreeMap<usize, OverSeeds>,
    /// By length: tokens a second.
    throughput: BTreeMap<usize, OverSeeds>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyReport {
    kind: StudyKind,
    task: String,
    parameters: usize,
    tolerance: f64,
    steps: u64,
    seeds: Vec<u64>,
    /// Runs that are there, of so many.
    done: usize,
    of: usize,
    /// What `lengths` hold.
    by_length: &'static str,
    configurations: Vec<ArmReport>,
}

impl OverSeeds {
    /// Of numbers, one a seed.
    fn of(seeds: Vec<f64>) -> Option<Self> {
        let n = seeds.len() as f64;
        let mean = seeds.iter().sum::<f64>() / n;
        let squares = seeds.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        let deviation = (seeds.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        (!seeds.is_empty()).then_some(Self { mean, deviation, seeds })
    }
}

impl StudyReport {
    /// From the results that are there.
    pub fn new(study: &Study, results: &[ArmResult]) -> Self {
        let arms = study.arms.iter().map(|arm| {
            let own: Vec<&ArmResult> = results.iter().filter(|r| r.name == arm.name).collect();
            let of = |value: &dyn Fn(&ArmResult) -> Option<f64>| {
                OverSeeds::of(own.iter().filter_map(|r| value(r)).collect())
            };
            let at = |value: &dyn Fn(&ArmResult, usize) -> Option<f64>| {
                let one = |&l: &usize| Some((l, of(&|r| value(r, l))?));
                study.file.lengths.iter().filter_map(one).collect::<BTreeMap<_, _>>()
            };
            let loss = of(&|r| Some(r.validation.as_ref()?.loss));
            let text = study.file.task_name() == Some(TaskName::Text);
            ArmReport {
                name: arm.name.clone(),
                parameters: arm.parameters,
                feed_forward: arm.run.model.feed_forward,
                paper: arm.paper,
                perplexity: if text {
                    of(&|r| Some(r.validation.as_ref()?.loss.exp()).filter(|x| x.is_finite()))
                } else {
                    None
                },
                loss,
                accuracy: of(&|r| r.validation.as_ref()?.accuracy),
                lengths: at(&|r, l| r.lengths.get(&l).and_then(score)),
                throughput: at(&|r, l| Some(r.throughput.get(&l)?.median)),
            }
        });
        let task = study.file.task_name();
        Self {
            kind: study.file.kind,
            task: task.map(TaskName::name).unwrap_or_default().into(),
            parameters: study.parameters,
            tolerance: study.file.tolerance,
            steps: if study.learns() { study.arms.first().map_or(0, |arm| arm.run.train.steps) } else { 0 },
            seeds: study.seeds().to_vec(),
            done: results.len(),
            of: study.arms.len() * study.seeds().len(),
            by_length: if task == Some(TaskName::Text) { "bits a byte" } else { "share that is right" },
            configurations: arms.collect(),
        }
    }

    /// Draws what the study shows into `folder`, atomically, and says where.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when a file cannot be written.
    pub fn draw(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut drawn = Vec::new();
        let bars: Vec<NamedBar> = self.configurations.iter().filter_map(bar).collect();
        if self.kind == StudyKind::Ablation && !bars.is_empty() {
            drawn.push(folder.join("ablation.svg"));
            let labels = Labels { title: "Ablation", x: "validation loss", y: "" };
            plot::bars(&folder.join("ablation.svg"), &labels, &bars)?;
        }
        type Of = fn(&ArmReport) -> &BTreeMap<usize, OverSeeds>;
        let by_length: [(&str, &str, &str, Of); 2] = [
            ("by-length.svg", "By length of the sequence", self.by_length, |arm| &arm.lengths),
            ("throughput.svg", "Tokens a second of a training step", "tokens a second", |arm| &arm.throughput),
        ];
        for (name, title, y, of) in by_length {
            let curve = |arm: &ArmReport| Curve {
                name: arm.name.clone(),
                points: of(arm).iter().map(|(&length, spread)| (length as f64, spread.mean)).collect(),
                marked: true,
            };
            let curves: Vec<Curve> = self.configurations.iter().map(curve).filter(|c| !c.points.is_empty()).collect();
            if !curves.is_empty() {
                drawn.push(folder.join(name));
                plot::by_length(&folder.join(name), &Labels { title, x: "tokens of the sequence", y }, &curves)?;
            }
        }
        Ok(drawn)
    }
}

/// A configuration's validation loss with the range of its seeds.
fn bar(arm: &ArmReport) -> Option<NamedBar> {
    let OverSeeds { mean, seeds, .. } = arm.loss.as_ref()?;
    let low = seeds.iter().copied().fold(f64::INFINITY, f64::min);
    let high = seeds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(NamedBar { name: arm.name.clone(), value: *mean, low, high })
}

fn score(found: &LengthScore) -> Option<f64> {
    found.bits_per_byte.or(found.accuracy)
}

fn said(spread: Option<&OverSeeds>, digits: usize) -> String {
    match spread {
        None => "-".into(),
        Some(OverSeeds { mean, deviation: None, .. }) => format!("{mean:.digits$}"),
        Some(OverSeeds { mean, deviation: Some(d), .. }) => format!("{mean:.digits$} ± {d:.digits$}"),
    }
}

impl fmt::Display for StudyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, task, parameters, steps, done, of, .. } = self;
        let kind = titans_kernel::Choice::name(*kind);
        let steps = if *steps > 0 { format!(", {steps} steps each") } else { String::new() };
        writeln!(f, "{kind} on {task}: {parameters} parameters{steps}; {done} of {of} runs")?;
        let wide = self.configurations.iter().map(|arm| arm.name.chars().count()).max().unwrap_or(0).max(13);
        if self.configurations.iter().any(|arm| arm.loss.is_some()) {
            let heads = ["parameters", "loss", "perplexity", "accuracy", "paper"];
            write!(f, "{:<wide$}", "configuration")?;
            writeln!(f, "{}", heads.map(|head| format!("  {head:>18}")).concat())?;
            for arm in &self.configurations {
                let paper = arm.paper.map_or("-".into(), |x| format!("{x:.2}"));
                let cells = [
                    arm.parameters.to_string(),
                    said(arm.loss.as_ref(), 4),
                    said(arm.perplexity.as_ref(), 2),
                    said(arm.accuracy.as_ref(), 4),
                    paper,
                ];
                writeln!(f, "{:<wide$}{}", arm.name, cells.map(|cell| format!("  {cell:>18}")).concat())?;
            }
        }
        by_length(f, self, wide, self.by_length, 4, |arm| &arm.lengths)?;
        by_length(f, self, wide, "tokens a second of a training step", 0, |arm| &arm.throughput)
    }
}

fn by_length(
    f: &mut fmt::Formatter<'_>,
    report: &StudyReport,
    wide: usize,
    title: &str,
    digits: usize,
    of: fn(&ArmReport) -> &BTreeMap<usize, OverSeeds>,
) -> fmt::Result {
    let mut lengths: Vec<usize> = report.configurations.iter().flat_map(|arm| of(arm).keys().copied()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    if lengths.is_empty() {
        return Ok(());
    }
    let heads = lengths.iter().map(|l| format!("  {l:>18}")).collect::<String>();
    writeln!(f, "\n{title}\n{:<wide$}{heads}", "tokens")?;
    for arm in &report.configurations {
        let cells = lengths.iter().map(|l| format!("  {:>18}", said(of(arm).get(l), digits))).collect::<String>();
        writeln!(f, "{:<wide$}{cells}", arm.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::OverSeeds;

    #[test]
    fn the_spread_is_that_of_a_sample() {
        let spread = OverSeeds::of(vec![1.0, 3.0]).unwrap();
        assert_eq!((spread.mean, spread.deviation), (2.0, Some(2f64.sqrt())));
        assert_eq!(OverSeeds::of(vec![5.0]).unwrap().deviation, None);
        assert_eq!(OverSeeds::of(vec![]), None);
    }
}
