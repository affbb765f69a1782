//! A batch on the device, in the place of the one before.

use super::task::Batch;
use crate::device::Device;
use crate::error::Result;
use crate::model::{Source, Targets};
use crate::tape::Shared;
use std::sync::Arc;
use titans_kernel::Scalar;

/// Logarithm of the odds of the smallest weight: σ of it is 0 for all that is computed.
const LEAST: f64 = -80.0;

/// Ids, rows of numbers, or numbers that have weights.
pub(super) enum IdsOrNumbers<D: Device> {
    Ids(Arc<D::Indices>),
    /// A class a sequence, and the sequences' lengths, in so many tokens with their padding.
    Pooled {
        classes: Arc<D::Indices>,
        lengths: Arc<D::Indices>,
        time: usize,
    },
    Numbers(Shared<D>),
    Weighted {
        numbers: Shared<D>,
        gates: Shared<D>,
        /// What the weights were divided by.
        unit: f64,
    },
}

impl<D: Device> Clone for IdsOrNumbers<D> {
    fn clone(&self) -> Self {
        match self {
            Self::Ids(ids) => Self::Ids(Arc::clone(ids)),
            Self::Pooled { classes, lengths, time } => {
                Self::Pooled { classes: Arc::clone(classes), lengths: Arc::clone(lengths), time: *time }
            }
            Self::Numbers(numbers) => Self::Numbers(numbers.clone()),
            Self::Weighted { numbers, gates, unit } => {
                Self::Weighted { numbers: numbers.clone(), gates: gates.clone(), unit: *unit }
            }
        }
    }
}

impl<D: Device> IdsOrNumbers<D> {
    /// What a part reads and what it should say. Ids take the place of those before and nothing from the heap.
    pub(super) fn both(device: &D, place: &mut Option<[Self; 2]>, part: &Batch) -> Result<[Self; 2]> {
        let [read, wanted] = match place.take() {
            Some([read, wanted]) => [Some(read), Some(wanted)],
            None => [None, None],
        };
        let read = Self::put(device, read, &part.ids, &part.rows)?;
        let wanted = match part.weights.is_empty() {
            true if !part.lengths.is_empty() => Self::Pooled {
                classes: Arc::new(device.upload_indices(&part.targets)?),
                lengths: Arc::new(device.upload_indices(&part.lengths)?),
                time: part.time,
            },
            true => Self::put(device, wanted, &part.targets, &part.wanted)?,
            false => Self::weighted(device, &part.wanted, &part.weights)?,
        };
        Ok(place.insert([read, wanted]).clone())
    }

    fn put(device: &D, before: Option<Self>, ids: &[u32], numbers: &[f64]) -> Result<Self> {
        if ids.is_empty() {
            return Ok(Self::Numbers(upload(device, numbers.iter().copied())?));
        }
        if let Some(Self::Ids(mut place)) = before
            && let Some(place_of) = Arc::get_mut(&mut place)
        {
            device.write_indices(ids, place_of)?;
            return Ok(Self::Ids(place));
        }
        Ok(Self::Ids(Arc::new(device.upload_indices(ids)?)))
    }

    /// Weights in units of twice the largest one: then all are at most 1/2, and have odds.
    fn weighted(device: &D, wanted: &[f64], weights: &[f64]) -> Result<Self> {
        let most = weights.iter().copied().fold(0.0, f64::max);
        let unit = if most > 0.0 { 2.0 * most } else { 1.0 };
        let share = |w: f64| w / unit;
        let numbers = upload(device, wanted.iter().zip(weights).map(|(x, &w)| x * share(w)))?;
        let gates = upload(device, weights.iter().map(|&w| (share(w) / (1.0 - share(w))).ln().max(LEAST)))?;
        Ok(Self::Weighted { numbers, gates, unit })
    }

    /// By what the losses must be multiplied to be those of the weights that the task gave.
    pub(super) fn unit(&self) -> f64 {
        match self {
            Self::Weighted { unit, .. } => unit * unit,
            Self::Ids(_) | Self::Pooled { .. } | Self::Numbers(_) => 1.0,
        }
    }

    /// The whole numbers among what a part reads and should say.
    pub(super) fn indices([read, wanted]: &[Self; 2]) -> Vec<&D::Indices> {
        [read, wanted].into_iter().flat_map(Self::whole).flatten().collect()
    }

    fn whole(&self) -> [Option<&D::Indices>; 2] {
        match self {
            Self::Ids(ids) => [Some(ids), None],
            Self::Pooled { classes, lengths, .. } => [Some(classes), Some(lengths)],
            Self::Numbers(_) | Self::Weighted { .. } => [None, None],
        }
    }

    /// As a model's input.
    pub(super) fn source(&self) -> Source<'_, D> {
        match self {
            Self::Ids(ids) | Self::Pooled { classes: ids, .. } => Source::Ids(ids),
            Self::Numbers(numbers) | Self::Weighted { numbers, .. } => Source::Rows(numbers),
        }
    }

    /// As a model's targets.
    pub(super) fn targets(&self) -> Targets<'_, D> {
        match self {
            Self::Ids(ids) => Targets::Ids(ids),
            Self::Pooled { classes, lengths, time } => Targets::Pooled { classes, lengths, time: *time },
            Self::Numbers(numbers) => Targets::Numbers(numbers),
            Self::Weighted { numbers, gates, .. } => Targets::Weighted { numbers, gates },
        }
    }
}

fn upload<D: Device>(device: &D, numbers: impl Iterator<Item = f64>) -> Result<Shared<D>> {
    let numbers: Vec<D::Elem> = numbers.map(D::Elem::from_f64).collect();
    Ok(Shared::new(device.upload(&numbers)?))
}
