//! The learning rate over a run: linear warm-up by steps, times a cosine by the share of the run that is done.

use serde::{Deserialize, Serialize};

/// Shape of the learning rate.
///
/// ```
/// use titans_host::train::schedule::Schedule;
///
/// let schedule = Schedule { peak: 1e-3, warm_up: 10, floor: 0.1 };
/// let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
/// assert!(near(schedule.at(4, 0.0), 5e-4)); // the fifth of ten steps up
/// assert!(near(schedule.at(5000, 1.0), 1e-4)); // a tenth is left at the end
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Highest learning rate.
    pub peak: f64,
    /// Steps over which the rate rises from near 0; 0 for none.
    pub warm_up: u64,
    /// Share of the peak that is left at the end, 0 to 1.
    pub floor: f64,
}

impl Schedule {
    /// The learning rate of step `step` (from 0) when the share `progress` (0 to 1, clamped) of the run is done:
    /// `peak · min(1, (step + 1) / warm_up) · (floor + (1 − floor) (1 + cos π progress) / 2)`.
    pub fn at(&self, step: u64, progress: f64) -> f64 {
        let rise = if step < self.warm_up { (step + 1) as f64 / self.warm_up as f64 } else { 1.0 };
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress.clamp(0.0, 1.0)).cos());
        self.peak * rise * (self.floor + (1.0 - self.floor) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn rises_falls_and_ends_at_the_floor() {
        let s = Schedule { peak: 2.0, warm_up: 4, floor: 0.0 };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(s.at(0, 0.0), 0.5);
        close(s.at(1, 0.0), 1.0);
        close(s.at(3, 0.0), 2.0);
        close(s.at(4, 0.0), 2.0);
        close(s.at(100, 0.5), 1.0);
        close(s.at(100, 1.0 / 3.0), 1.5);
        close(s.at(100, 1.0), 0.0);
        close(s.at(100, 7.0), 0.0);
        close(s.at(100, -1.0), 2.0);
        let s = Schedule { peak: 1.0, warm_up: 0, floor: 0.1 };
        close(s.at(0, 0.0), 1.0);
        close(s.at(0, 1.0), 0.1);
        close(s.at(0, 0.5), 0.55);
    }
}
