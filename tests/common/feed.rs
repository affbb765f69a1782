//! What the small models of `blocks` read, and what they should have said. Tests write both as ids; a model of rows of
//! numbers reads a row in the place of every id.
#![allow(dead_code)] // each test uses its part

use std::sync::Arc;
use titans_host::device::Device;
use titans_host::model::{Head, ModelConfig, Source, Targets};
use titans_host::tape::Shared;
use titans_kernel::Scalar;

/// Ids or numbers on a device.
pub enum Fed<D: Device> {
    Ids(Arc<D::Indices>),
    Numbers(Shared<D>),
    /// A class for each sequence, and how many of its tokens count, with the tokens that it has with its padding.
    Pooled(Arc<D::Indices>, Arc<D::Indices>, usize),
}

/// A row of `width` numbers for every id.
pub fn rows<T: Scalar>(width: usize, ids: &[u32]) -> Vec<T> {
    let number = |id: u32, i: usize| T::from_f64((1.7 * f64::from(id) + 2.9 * i as f64 + 0.6).sin());
    ids.iter().flat_map(|&id| (0..width).map(move |i| number(id, i))).collect()
}

impl<D: Device> Fed<D> {
    fn ids(device: &D, ids: &[u32]) -> Self {
        Self::Ids(Arc::new(device.upload_indices(ids).unwrap()))
    }

    /// These numbers as they are.
    pub fn numbers(device: &D, numbers: &[D::Elem]) -> Self {
        Self::Numbers(Shared::new(device.upload(numbers).unwrap()))
    }

    /// Classes of whole sequences of `time` tokens, of which the first `lengths` count.
    pub fn pooled(device: &D, classes: &[u32], lengths: &[u32], time: usize) -> Self {
        let put = |numbers: &[u32]| Arc::new(device.upload_indices(numbers).unwrap());
        Self::Pooled(put(classes), put(lengths), time)
    }

    /// What a model of this configuration reads.
    pub fn input(device: &D, config: &ModelConfig, ids: &[u32]) -> Self {
        match config.inputs {
            0 => Self::ids(device, ids),
            width => Self::numbers(device, &rows(width, ids)),
        }
    }

    /// What its head should say.
    pub fn wanted(device: &D, config: &ModelConfig, ids: &[u32]) -> Self {
        match config.head {
            Head::Regression => Self::numbers(device, &rows(config.outputs, ids)),
            Head::Tokens | Head::Classes => Self::ids(device, ids),
        }
    }

    pub fn source(&self) -> Source<'_, D> {
        match self {
            Self::Ids(ids) | Self::Pooled(ids, ..) => Source::Ids(ids),
            Self::Numbers(rows) => Source::Rows(rows),
        }
    }

    pub fn targets(&self) -> Targets<'_, D> {
        match self {
            Self::Ids(ids) => Targets::Ids(ids),
            Self::Pooled(classes, lengths, time) => Targets::Pooled { classes, lengths, time: *time },
            Self::Numbers(rows) => Targets::Numbers(rows),
        }
    }
}
