//! The linear forecaster: least squares from look-backs to what follows, shared by all columns, with a ridge that
//! validation chooses.

use super::frame::SeriesTable;
use super::scores::Tally;
use super::{Frame, Parts};
use crate::{Error, Result};
use titans_kernel::arch::Simd;
use titans_kernel::arithmetic::{Arithmetic, Store};
use titans_kernel::{Mat, MatMut};

/// Longest look-back that is solved for.
pub(super) const LONGEST: usize = 4096;
/// Products that the sums over windows may take: more windows than that are thinned out evenly.
const WORK: usize = 20_000_000_000;
/// Windows of validation that a ridge is chosen by, at most.
const CHOOSING: usize = 20_000;
/// Windows that are summed at once.
const AT_ONCE: usize = 256;
/// Ridges that are tried, times the mean square of the look-back's numbers over all windows.
const RIDGES: [f64; 4] = [1e-4, 1e-2, 1e-1, 1.0];

/// A linear map of look-backs, measured from their level, to the rows ahead.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[lookback, horizon]`.
    pub weights: Vec<f64>,
    /// The ridge that was chosen.
    pub ridge: f64,
}

/// Sums over windows: look-backs times look-backs `[l, l]`, and times what follows `[l, h]`.
struct NormalEquations {
    gram: Vec<f64>,
    cross: Vec<f64>,
}

impl Linear {
    /// The map that fits the training rows best.
    ///
    /// # Errors
    /// [`Error::Usage`] for a look-back that is too long to solve for.
    pub fn fit(frame: &Frame, table: &SeriesTable, parts: &Parts, horizons: &[usize]) -> Result<Self> {
        let (l, h) = (frame.lookback, frame.horizon);
        if l > LONGEST {
            return Err(Error::usage(format!("--lookback: the linear map is solved for up to {LONGEST}, found {l}")));
        }
        let g = Simd::best();
        let normal = sums(&g, frame, table, parts.train.end)?;
        let mean = (0..l).map(|i| normal.gram[i * l + i]).sum::<f64>() / l as f64;
        let mut best: Option<(f64, Self)> = None;
        for ridge in RIDGES {
            let Some(weights) = solve(&normal, l, h, ridge * mean) else { continue };
            let found = Self { weights, ridge };
            let error = found.choose(&g, frame, table, parts, horizons)?;
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, found));
            }
        }
        // Nothing varies: what is taken away from a look-back is all that can be said.
        Ok(best.map_or_else(|| Self { weights: vec![0.0; l * h], ridge: 0.0 }, |(_, found)| found))
    }

    /// The forecasts, measured from the windows' levels, of `windows` `[n, lookback]`.
    ///
    /// # Errors
    /// [`Error::Kernel`] for numbers that are no whole windows.
    pub fn said(&self, g: &Simd, windows: &[f64], lookback: usize) -> Result<Vec<f64>> {
        let (n, horizon) = (windows.len() / lookback.max(1), self.weights.len() / lookback.max(1));
        let mut said = vec![0.0; n * horizon];
        let w = Mat::new(&self.weights, lookback, horizon)?;
        g.gemm(Store::Set, Mat::new(windows, n, lookback)?, w, MatMut::new(&mut said, n, horizon)?);
        Ok(said)
    }

    /// The mean square over the horizons on some of the validation rows.
    fn choose(&self, g: &Simd, frame: &Frame, table: &SeriesTable, parts: &Parts, horizons: &[usize]) -> Result<f64> {
        let moments = parts.valid.start.max(frame.lookback)..(parts.valid.end + 1).saturating_sub(frame.horizon);
        let step = (moments.len() * frame.targets.len()).div_ceil(CHOOSING).max(1);
        let mut tally = Tally::new(horizons, parts.valid.end);
        self.measure(g, frame, table, moments.step_by(step), &mut tally)?;
        Ok(tally.scores().mean().mse)
    }

    /// Adds the errors of forecasts from these moments.
    ///
    /// # Errors
    /// As [`Linear::said`].
    pub fn measure(
        &self,
        g: &Simd,
        frame: &Frame,
        table: &SeriesTable,
        moments: impl Iterator<Item = usize>,
        tally: &mut Tally,
    ) -> Result<()> {
        let moments: Vec<usize> = moments.collect();
        for &column in &frame.targets {
            for some in moments.chunks(AT_ONCE) {
                let (mut windows, mut levels) = (Vec::with_capacity(some.len() * frame.lookback), Vec::new());
                for &moment in some {
                    let window = &table.columns[column][moment - frame.lookback..moment];
                    let level = frame.normalise.level(window);
                    windows.extend(window.iter().map(|x| x - level.shift));
                    levels.push(level.shift);
                }
                let said = self.said(g, &windows, frame.lookback)?;
                for ((&moment, shift), said) in some.iter().zip(levels).zip(said.chunks(frame.horizon)) {
                    let error = |(i, y): (usize, &f64)| Some(table.known(column, moment + i)? - y - shift);
                    tally.add(moment, said.iter().enumerate().map(error));
                }
            }
        }
        Ok(())
    }
}

/// Sums over windows of the rows before `end`, of all columns that are forecast.
fn sums(g: &Simd, frame: &Frame, table: &SeriesTable, end: usize) -> Result<NormalEquations> {
    let (l, h) = (frame.lookback, frame.horizon);
    let (mut gram, mut cross) = (vec![0.0; l * l], vec![0.0; l * h]);
    let count = (end + 1).saturating_sub(l + h);
    let step = (count * frame.targets.len()).saturating_mul(l * (l + h)).div_ceil(WORK).max(1);
    let moments: Vec<usize> = (l..l + count).step_by(step).collect();
    for &column in &frame.targets {
        for some in moments.chunks(AT_ONCE) {
            let (mut x, mut y) = (Vec::with_capacity(some.len() * l), Vec::with_capacity(some.len() * h));
            for &moment in some {
                let numbers = &table.columns[column];
                let window = &numbers[moment - l..moment];
                let shift = frame.normalise.level(window).shift;
                x.extend(window.iter().map(|x| x - shift));
                y.extend(numbers[moment..moment + h].iter().map(|y| y - shift));
            }
            let (x, y) = (Mat::new(&x, some.len(), l)?, Mat::new(&y, some.len(), h)?);
            g.gemm(Store::Add, x.t(), x, MatMut::new(&mut gram, l, l)?);
            g.gemm(Store::Add, x.t(), y, MatMut::new(&mut cross, l, h)?);
        }
    }
    Ok(NormalEquations { gram, cross })
}

/// `(gram + ridge) w = cross` by Cholesky; nothing where that is no positive matrix.
fn solve(normal: &NormalEquations, l: usize, h: usize, ridge: f64) -> Option<Vec<f64>> {
    let mut a = normal.gram.clone();
    (0..l).for_each(|i| a[i * l + i] += ridge);
    for i in 0..l {
        for j in 0..=i {
            let (row, col) = (&a[i * l..i * l + j], &a[j * l..j * l + j]);
            let rest = a[i * l + j] - row.iter().zip(col).map(|(x, y)| x * y).sum::<f64>();
            a[i * l + j] = match i == j {
                true if rest > 0.0 && rest.is_finite() => rest.sqrt(),
                true => return None,
                false => rest / a[j * l + j],
            };
        }
    }
    let mut w = normal.cross.clone();
    let subtract = |w: &mut [f64], i: usize, k: usize, times: f64| {
        let (low, high) = (i.min(k), i.max(k));
        let (head, tail) = w.split_at_mut(high * h);
        let (low, high) = (&mut head[low * h..low * h + h], &mut tail[..h]);
        let (to, from) = if i < k { (low, &*high) } else { (high, &*low) };
        to.iter_mut().zip(from).for_each(|(x, y)| *x -= times * y);
    };
    for i in 0..l {
        (0..i).for_each(|k| subtract(&mut w, i, k, a[i * l + k]));
        w[i * h..(i + 1) * h].iter_mut().for_each(|x| *x /= a[i * l + i]);
    }
    for i in (0..l).rev() {
        (i + 1..l).for_each(|k| subtract(&mut w, i, k, a[k * l + i]));
        w[i * h..(i + 1) * h].iter_mut().for_each(|x| *x /= a[i * l + i]);
    }
    w.iter().all(|x| x.is_finite()).then_some(w)
}

#[cfg(test)]
mod tests {
    use super::super::{Channels, Frame, Normalise, SeriesTable, Split};
    use super::{Linear, NormalEquations, solve};

    #[test]
    fn a_system_is_solved() {
        // [[4, 2], [2, 3]] w = [[8, 2], [7, -1]]
        let normal = NormalEquations { gram: vec![4.0, 2.0, 2.0, 3.0], cross: vec![8.0, 2.0, 7.0, -1.0] };
        let w = solve(&normal, 2, 2, 0.0).unwrap();
        for (found, expected) in w.iter().zip([1.25, 1.0, 1.5, -1.0]) {
            assert!((found - expected).abs() < 1e-12, "{w:?}");
        }
        assert!(solve(&NormalEquations { gram: vec![0.0], cross: vec![1.0] }, 1, 1, 0.0).is_none());
    }

    #[test]
    fn what_repeats_is_forecast_and_what_is_constant_too() {
        let frame = Frame {
            lookback: 24,
            patch: 1,
            context: 1,
            horizon: 8,
            columns: 2,
            targets: vec![0, 1],
            normalise: Normalise::Instance,
            channels: Channels::Independent,
        };
        let wave = |t: usize| (t as f64 * std::f64::consts::TAU / 12.0).sin() + 0.5 * (t as f64 * 0.9).cos();
        let columns = vec![(0..400).map(wave).collect(), vec![3.0; 400]];
        let table = SeriesTable { columns, missing: Vec::new() };
        let parts = Split::default().parts(400).unwrap();
        let linear = Linear::fit(&frame, &table, &parts, &[4, 8]).unwrap();
        let mut tally = super::Tally::new(&[4, 8], 400);
        linear.measure(&super::Simd::best(), &frame, &table, parts.test.start..393, &mut tally).unwrap();
        assert!(tally.scores().mean().mse < 1e-6, "{:?}", tally.scores());
        let still = SeriesTable { columns: vec![vec![1.0; 400]; 2], missing: Vec::new() };
        assert_eq!(Linear::fit(&frame, &still, &parts, &[8]).unwrap().weights, vec![0.0; 24 * 8]);
    }
}
