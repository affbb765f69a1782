//! Steps of a run that were begun and are not written down yet: where losses stay on the device, several are read at
//! once.

use super::checkpoint::RunState;
use super::metrics::{Metrics, Record};
use super::recent::Recent;
use super::repeat::MOST_UNREAD;
use super::trainer::StepReport;
use crate::error::Result;
use std::collections::VecDeque;

/// Seconds of training that are read at once, at most: what a run shows is hardly older, and a stop waits no longer.
const AT_ONCE: f64 = 1.0;

/// Lines of the metrics, in their order.
#[derive(Debug, Default)]
pub(super) struct BegunSteps {
    /// Those whose losses are not known.
    begun: VecDeque<Record>,
    /// Those that are whole, and not in the file.
    found: VecDeque<Record>,
}

impl BegunSteps {
    /// A step was begun, and a run stands there.
    pub(super) fn begin(&mut self, state: &RunState, status: String) {
        let task = Some(status).filter(|status| !status.is_empty());
        self.begun.push_back(Record { step: state.step, tokens: state.tokens, task, ..Record::default() });
    }

    /// Whether there are some.
    pub(super) fn any(&self) -> bool {
        !self.begun.is_empty() || !self.found.is_empty()
    }

    /// Whether to read now, where the losses of so many wait on the device and a step takes so long.
    pub(super) fn are_enough(&self, unread: usize, seconds_per_step: f64) -> bool {
        // Not a number while unknown, which is cut to 0.
        let fit = (AT_ONCE / seconds_per_step) as usize;
        unread == 0 || unread >= fit.clamp(1, MOST_UNREAD)
    }

    /// What the first of them gave, read after `now` seconds of the run. They took equal shares of the time.
    pub(super) fn hear(&mut self, reports: &[StepReport], recent: &mut Recent, now: f64) {
        let (from, count) = (recent.last().unwrap_or(now), reports.len());
        for (done, report) in (1..).zip(reports) {
            let Some(begun) = self.begun.pop_front() else { return };
            let seconds = if done == count { now } else { from + (now - from) * done as f64 / count as f64 };
            recent.add(report, seconds);
            self.found.push_back(Record {
                seconds,
                loss: Some(report.loss),
                accuracy: report.accuracy,
                learning_rate: Some(report.learning_rate),
                gradient_norm: Some(report.gradient_norm),
                ..begun
            });
        }
    }

    /// Writes those that are whole; what cannot be written stays for the next time.
    ///
    /// # Errors
    /// As [`Metrics::push`].
    pub(super) fn write(&mut self, metrics: &mut Metrics) -> Result<()> {
        while let Some(record) = self.found.front() {
            metrics.push(record.clone())?;
            self.found.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BegunSteps, RunState};
    use crate::train::metrics::Metrics;
    use crate::train::recent::Recent;
    use crate::train::trainer::StepReport;

    #[test]
    fn slow_steps_are_read_one_by_one_and_fast_ones_together() {
        let begun = BegunSteps::default();
        let enough = |unread, seconds| begun.are_enough(unread, seconds);
        assert!(enough(0, 0.001), "nothing waits: a loss is there");
        assert!(enough(1, f64::NAN) && enough(1, 0.6) && enough(1, 7.0));
        assert!(!enough(1, 0.4) && enough(2, 0.4));
        assert!(!enough(15, 1e-9) && enough(16, 1e-9));
    }

    #[test]
    fn lines_come_in_order_once_and_share_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(&folder.path().join("metrics.jsonl"), 0).unwrap();
        let (mut begun, mut recent) = (BegunSteps::default(), Recent::default());
        let report = |loss| StepReport { loss, accuracy: None, gradient_norm: 1.0, learning_rate: 0.5, tokens: 7 };
        for step in 1..=4 {
            begun.begin(&RunState { step, tokens: 7 * step, ..RunState::default() }, String::new());
        }
        begun.hear(&[report(4.0)], &mut recent, 2.0);
        begun.hear(&[report(3.0), report(2.0)], &mut recent, 5.0);
        assert_eq!(metrics.records().len(), 0);
        begun.write(&mut metrics).unwrap();
        begun.write(&mut metrics).unwrap();
        let found: Vec<_> = metrics.records().iter().map(|r| (r.step, r.tokens, r.seconds, r.loss)).collect();
        assert_eq!(found, [(1, 7, 2.0, Some(4.0)), (2, 14, 3.5, Some(3.0)), (3, 21, 5.0, Some(2.0))]);
        assert!(begun.any(), "the fourth is not read");
    }
}
