//! A batch on the device, in the place of the one before.

use super::task::Batch;
use crate::device::Device;
use crate::error::Result;
use crate::model::{Source, Targets};
use crate::tape::Shared;
use std::sync::Arc;
use titans_kernel::Scalar;

/// Ids or rows of numbers.
pub(super) enum IdsOrNumbers<D: Device> {
    Ids(Arc<D::Indices>),
    Numbers(Shared<D>),
}

impl<D: Device> Clone for IdsOrNumbers<D> {
    fn clone(&self) -> Self {
        match self {
            Self::Ids(ids) => Self::Ids(Arc::clone(ids)),
            Self::Numbers(numbers) => Self::Numbers(numbers.clone()),
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
        let wanted = Self::put(device, wanted, &part.targets, &part.wanted)?;
        Ok(place.insert([read, wanted]).clone())
    }

    fn put(device: &D, before: Option<Self>, ids: &[u32], numbers: &[f64]) -> Result<Self> {
        if ids.is_empty() {
            let numbers: Vec<D::Elem> = numbers.iter().map(|&x| D::Elem::from_f64(x)).collect();
            return Ok(Self::Numbers(Shared::new(device.upload(&numbers)?)));
        }
        if let Some(Self::Ids(mut place)) = before
            && let Some(place_of) = Arc::get_mut(&mut place)
        {
            device.write_indices(ids, place_of)?;
            return Ok(Self::Ids(place));
        }
        Ok(Self::Ids(Arc::new(device.upload_indices(ids)?)))
    }

    /// As a model's input.
    pub(super) fn source(&self) -> Source<'_, D> {
        match self {
            Self::Ids(ids) => Source::Ids(ids),
            Self::Numbers(numbers) => Source::Rows(numbers),
        }
    }

    /// As a model's targets.
    pub(super) fn targets(&self) -> Targets<'_, D> {
        match self {
            Self::Ids(ids) => Targets::Ids(ids),
            Self::Numbers(numbers) => Targets::Numbers(numbers),
        }
    }
}
