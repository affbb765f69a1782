//! Bits a byte by how much was read before: in the window, or in the stream.

use crate::error::Result;
use crate::task::evaluate::TokenRow;
use crate::train::plot::{Curve, Labels, lines};
use std::path::Path;

/// Points of a picture, at most.
const POINTS: usize = 64;

/// Sums by position.
pub(super) struct Positions {
    window: usize,
    /// Tokens of a point.
    step: usize,
    /// Nats and bytes.
    sums: Vec<(f64, usize)>,
}

impl Positions {
    /// For so many tokens, in windows or (0) in one stream.
    pub(super) fn new(window: usize, tokens: usize) -> Self {
        let fed = tokens.saturating_sub(1).max(1);
        let length = if window == 0 { fed } else { window.min(fed) };
        let step = length.div_ceil(POINTS);
        Self { window: if window == 0 { fed } else { window }, step, sums: vec![(0.0, 0); length.div_ceil(step)] }
    }

    pub(super) fn add(&mut self, row: &TokenRow, bytes: usize) {
        let seen = row.position.saturating_sub(1) as usize % self.window;
        if let Some(sum) = self.sums.get_mut(seen / self.step) {
            *sum = (sum.0 - row.log_probability, sum.1 + bytes);
        }
    }

    /// Middles of the points, and bits a byte.
    fn points(&self) -> Vec<(f64, f64)> {
        let there = self.sums.iter().enumerate().filter(|(_, sum)| sum.1 > 0);
        let x = |i: usize| (i as f64 + 0.5) * self.step as f64;
        there.map(|(i, sum)| (x(i), sum.0 / std::f64::consts::LN_2 / sum.1 as f64)).collect()
    }

    pub(super) fn draw(&self, path: &Path) -> Result<()> {
        let curve = Curve { name: "bits a byte".into(), points: self.points(), marked: true };
        let labels = Labels { title: "Bits a byte by position", x: "tokens read before", y: "bits a byte" };
        lines(path, &labels, &[curve])
    }
}

#[cfg(test)]
mod tests {
    use super::Positions;
    use crate::task::evaluate::TokenRow;

    #[test]
    fn positions_are_those_of_the_window_or_of_the_stream() {
        let row = |position, nats: f64| TokenRow { position, token: 0, log_probability: -nats, surprise: vec![] };
        for (window, points) in [(4, vec![(0.5, 2.0), (1.5, 1.0), (2.5, 1.0), (3.5, 1.0)]), (0, vec![(0.5, 2.0)])] {
            let mut positions = Positions::new(window, 9);
            for position in 1..9u64 {
                let nats = if (position - 1) % 4 == 0 { 2.0 } else { 1.0 };
                positions.add(&row(position, nats * std::f64::consts::LN_2), 1);
            }
            let found = positions.points();
            assert_eq!(found.len(), if window == 0 { 8 } else { 4 });
            for (f, e) in found.iter().zip(points) {
                assert!((f.0 - e.0).abs() < 1e-12 && (f.1 - e.1).abs() < 1e-12, "{found:?}");
            }
        }
        let mut many = Positions::new(0, 1_000_000);
        many.add(&row(999_999, 1.0), 2);
        assert_eq!((many.sums.len(), many.points().len()), (64, 1));
    }
}
