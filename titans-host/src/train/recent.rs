//! How a run goes lately.

use super::trainer::StepReport;

/// Averages over about the last twenty steps.
#[derive(Debug, Default)]
pub(super) struct Recent {
    steps: u64,
    pub(super) loss: f64,
    pub(super) accuracy: Option<f64>,
    tokens: f64,
    seconds: f64,
    last: Option<f64>,
}

impl Recent {
    pub(super) fn add(&mut self, report: &StepReport, now: f64) {
        self.steps += 1;
        let share = 1.0 / self.steps.min(20) as f64;
        let mix = |old: f64, new: f64| old + share * (new - old);
        self.loss = mix(self.loss, report.loss);
        self.accuracy = report.accuracy.map(|a| mix(self.accuracy.unwrap_or(0.0), a));
        if let Some(last) = self.last {
            self.seconds = if self.seconds == 0.0 { now - last } else { mix(self.seconds, now - last) };
            self.tokens =
                if self.tokens == 0.0 { report.tokens as f64 } else { mix(self.tokens, report.tokens as f64) };
        }
        self.last = Some(now);
    }

    /// When the last step, or pause, ended.
    pub(super) fn last(&self) -> Option<f64> {
        self.last
    }

    /// What happened until `now` was no training.
    pub(super) fn pause(&mut self, now: f64) {
        self.last = Some(now);
    }

    pub(super) fn seconds_per_step(&self) -> f64 {
        if self.seconds > 0.0 { self.seconds } else { f64::NAN }
    }

    pub(super) fn tokens_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.tokens / self.seconds } else { 0.0 }
    }
}
