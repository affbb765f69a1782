//! Telling how a run goes: training reports to a [`Progress`], which may draw a bar, write lines, or keep silent.

use crate::device::MemoryUse;
use crate::error::tidy;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::time::{Duration, Instant};

/// Where a run stands after a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run, where it is limited by steps.
    pub steps: Option<u64>,
    /// Share of the run that is done, 0 to 1.
    pub done: f64,
    /// Training loss, averaged over the last steps.
    pub loss: f64,
    /// Training accuracy, averaged likewise, where the task has one.
    pub accuracy: Option<f64>,
    /// Tokens a second over the last steps; 0 while unknown.
    pub tokens_per_s: f64,
    /// Seconds that the rest should take; NaN while unknown.
    pub left: f64,
    /// What the task says of itself.
    pub note: String,
    /// How the device's memory is used, where it has one of its own.
    pub memory: Option<MemoryUse>,
}

impl Status {
    fn line(&self) -> String {
        let of = self.steps.map_or(String::new(), |n| format!("/{n}"));
        let accuracy = self.accuracy.map_or(String::new(), |a| format!("  accuracy {:5.1} %", 100.0 * a));
        let note = if self.note.is_empty() { String::new() } else { format!("  {}", self.note) };
        let rate = self.tokens_per_s;
        let rate = if rate > 0.0 { format!("  {rate:.0} tokens/s") } else { String::new() };
        let left = time(self.left).map_or(String::new(), |left| format!("  {left} left"));
        let memory = self.memory.map_or(String::new(), device_memory);
        format!("step {}{of}  loss {:.4}{accuracy}{rate}{left}{memory}{note}", self.step, self.loss)
    }
}

fn device_memory(MemoryUse { used, total, .. }: MemoryUse) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    format!("  device {:.1} of {:.1} GiB", gib(used), gib(total))
}

fn time(seconds: f64) -> Option<String> {
    if !seconds.is_finite() || seconds < 0.0 {
        return None;
    }
    let s = seconds.round() as u64;
    Some(if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    })
}

/// Receives what a run has to say. Every method has a silent default.
pub trait Progress {
    /// After every step.
    fn step(&mut self, status: &Status) {
        let _ = status;
    }
    /// Something worth a line: a validation, a checkpoint, an evaluation that begins.
    fn message(&mut self, text: &str) {
        let _ = text;
    }
    /// The run is over, or stops here.
    fn finish(&mut self) {}
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// A bar on a terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar drawn on `target`, usually the standard error stream.
    pub fn new(target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(Some(1000), target);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar:.cyan} {percent:>3} %  {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }
}

impl Progress for Bar {
    fn step(&mut self, status: &Status) {
        self.0.set_position((1000.0 * status.done.clamp(0.0, 1.0)) as u64);
        self.0.set_message(status.line());
    }

    fn message(&mut self, text: &str) {
        self.0.println(tidy(text));
    }

    fn finish(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Plain lines, one every few seconds, for logs and pipes.
#[derive(Debug)]
pub struct Lines<W: Write> {
    out: W,
    every: Duration,
    last: Option<Instant>,
    unwritten: Option<String>,
}

impl<W: Write> Lines<W> {
    /// Lines to `out`, at least `every` apart.
    pub fn new(out: W, every: Duration) -> Self {
        Self { out, every, last: None, unwritten: None }
    }

    fn write(&mut self, line: &str) {
        // A log that cannot be written (a closed pipe) must not stop the training.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}

impl<W: Write> Progress for Lines<W> {
    fn step(&mut self, status: &Status) {
        if self.last.is_some_and(|last| last.elapsed() < self.every) {
            self.unwritten = Some(status.line());
            return;
        }
        self.last = Some(Instant::now());
        self.unwritten = None;
        self.write(&status.line());
    }

    fn message(&mut self, text: &str) {
        self.write(&tidy(text));
    }

    fn finish(&mut self) {
        if let Some(line) = self.unwritten.take() {
            self.write(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bar, Lines, MemoryUse, Progress, Status, time};
    use std::time::Duration;

    fn status(step: u64) -> Status {
        let note = "length 24".to_string();
        let (steps, accuracy) = (Some(9), Some(0.5));
        Status { step, steps, done: 0.5, loss: 1.25, accuracy, tokens_per_s: 1e4, left: 61.0, note, memory: None }
    }

    #[test]
    fn lines_keep_their_distance_and_the_last_one_is_written() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out, Duration::from_secs(3600));
        for step in 1..=4 {
            lines.step(&status(step));
        }
        lines.message("saved");
        lines.finish();
        let text = String::from_utf8(out).unwrap();
        let expected = "step 1/9  loss 1.2500  accuracy  50.0 %  10000 tokens/s  1:01 left  length 24\nsaved\n\
                        step 4/9  loss 1.2500  accuracy  50.0 %  10000 tokens/s  1:01 left  length 24\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_bar_takes_any_status() {
        let mut bar = Bar::new(indicatif::ProgressDrawTarget::hidden());
        bar.step(&Status { done: f64::NAN, left: f64::INFINITY, ..status(1) });
        bar.message("saved");
        bar.finish();
        assert!(bar.0.is_finished());
        assert_eq!(time(f64::NAN), None);
        assert_eq!((time(59.6).unwrap().as_str(), time(3725.0).unwrap().as_str()), ("1:00", "1:02:05"));
        let first = Status { tokens_per_s: 0.0, left: f64::NAN, accuracy: None, note: String::new(), ..status(1) };
        assert_eq!(first.line(), "step 1/9  loss 1.2500", "what is not known yet is left out");
        let memory = Some(MemoryUse { used: 3 << 29, free: 5 << 29, total: 4 << 30 });
        assert!(Status { memory, ..status(1) }.line().ends_with("1:01 left  device 1.5 of 4.0 GiB  length 24"));
    }
}
