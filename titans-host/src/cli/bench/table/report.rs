//! The table as people and programs read it.

use super::super::timing::Spread;
use super::rows::TableRow;
use crate::device::cpu::Isa;
use serde::Serialize;

/// Everything of one run.
#[derive(Serialize)]
pub struct TableRecord {
    /// The processor, as the system names it.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: usize,
    /// The first rows' instruction set.
    pub isa: &'static str,
    /// Time of a row.
    pub seconds: f64,
    /// Whether lengths were cut.
    pub quick: bool,
    /// As measured.
    pub rows: Vec<Measured>,
}

/// One line as measured.
#[derive(Serialize)]
pub struct Measured {
    pub name: String,
    pub isa: &'static str,
    pub threads: usize,
    /// What `reached` and `goal` are.
    pub figure: &'static str,
    pub reached: Spread,
    pub goal: Option<f64>,
    /// The goal is an upper one.
    pub at_most: bool,
    pub met: Option<bool>,
    pub tokens_per_s: Spread,
    pub flops_per_token: f64,
    pub peak_gflops: Option<Spread>,
    pub bandwidth_gb_s: Option<Spread>,
    pub repetitions: usize,
    pub note: String,
}

impl Measured {
    /// A row's line without what it alone measures.
    pub fn new(
        row: &TableRow,
        figure: &'static str,
        reached: Spread,
        tokens_per_s: Spread,
        flops_per_token: f64,
    ) -> Self {
        Self {
            name: row.name.clone(),
            isa: row.isa.name(),
            threads: 1,
            figure,
            reached,
            goal: row.goal,
            at_most: false,
            met: row.goal.map(|goal| reached.median >= goal),
            tokens_per_s,
            flops_per_token,
            peak_gflops: None,
            bandwidth_gb_s: None,
            repetitions: 0,
            note: String::new(),
        }
    }

    /// The goal is an upper one.
    pub fn at_most(mut self) -> Self {
        self.at_most = true;
        self.met = self.goal.map(|goal| self.reached.median <= goal);
        self
    }

    /// The line below [`TableRecord::head`].
    pub fn line(&self) -> String {
        let share = self.figure.starts_with("share");
        let figure = |x: f64| if share { format!("{:.1} %", 100.0 * x) } else { format!("{x:.3}") };
        let Spread { median, p10, p90 } = self.reached;
        let reached = format!("{} ({} to {})", figure(median), figure(p10), figure(p90));
        let sign = if self.at_most { "<=" } else { ">=" };
        let goal = self.goal.map_or("-".into(), |goal| format!("{sign} {}", figure(goal)));
        let met = self.met.map_or("", |met| if met { "met" } else { "missed" });
        let peak = self.peak_gflops.map_or("-".into(), |peak| format!("{:.1}", peak.median));
        let note = if self.note.is_empty() { String::new() } else { format!("\n    {}", self.note) };
        let (name, rate) = (&self.name, self.tokens_per_s.median);
        format!("{name:<30} {rate:>12.0} {peak:>8} {reached:<30} {goal:<10} {met:<6} {:>5}{note}", self.repetitions)
    }
}

impl TableRecord {
    /// A record without rows.
    pub fn new(isa: Isa, seconds: f64, quick: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cpu: cpu(), cores, isa: isa.name(), seconds, quick, rows: Vec::new() }
    }

    /// What was measured on, and the columns' names.
    pub fn head(&self) -> String {
        let Self { cpu, cores, seconds, .. } = self;
        let head = format!(
            "{:<30} {:>12} {:>8} {:<30} {:<10} {:<6} {:>5}",
            "row", "tokens/s", "GFLOP/s", "reached (p10 to p90)", "goal", "", "turns"
        );
        format!("{cpu}, {cores} cores; {seconds} s a row; peaks in GFLOP/s\n{head}")
    }
}

/// The processor's name, where Linux tells.
fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    name.map_or_else(|| format!("unknown {}", std::env::consts::ARCH), |(_, name)| name.trim().to_owned())
}
