//! Buffers with several owners, whose counters are used again: a training step takes no block from the heap for them.

use crate::device::Device;
use crate::error::Result;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// A counter and the buffer that it counts the owners of; empty while it waits for the next one.
type Cell<D> = Arc<Option<<D as Device>::Buffer>>;

/// A buffer on the device with several owners. Cloning is cheap; the last owner gives the buffer back.
///
/// ```
/// use titans_host::device::{Device, cpu::Cpu};
/// use titans_host::tape::Shared;
///
/// let mut buffer = Shared::<Cpu<f32>>::new(Cpu::new(Some(1))?.upload(&[1.0])?);
/// assert!(buffer.get_mut().is_some());
/// let other = buffer.clone();
/// assert!(buffer.get_mut().is_none()); // two owners: nobody changes it
/// drop(other);
/// assert!(buffer.get_mut().is_some());
/// # Ok::<(), titans_host::Error>(())
/// ```
pub struct Shared<D: Device> {
    /// Full, but for the moment of its end.
    cell: Cell<D>,
    home: Option<Arc<Cells<D>>>,
}

impl<D: Device> Shared<D> {
    /// A buffer with one owner so far, its counter from the heap.
    pub fn new(buffer: D::Buffer) -> Self {
        Self { cell: Arc::new(Some(buffer)), home: None }
    }

    /// The buffer to change, as long as there is no other owner.
    pub fn get_mut(&mut self) -> Option<&mut D::Buffer> {
        Arc::get_mut(&mut self.cell)?.as_mut()
    }
}

impl<D: Device> Shared<D> {
    /// The buffer itself where there is no other owner, else what `copy` makes of it. The counter goes home when the
    /// last owner does.
    pub(super) fn into_own(mut self, copy: impl FnOnce(&D::Buffer) -> Result<D::Buffer>) -> Result<D::Buffer> {
        if let Some(buffer) = Arc::get_mut(&mut self.cell).and_then(Option::take) {
            return Ok(buffer);
        }
        copy(&*self)
    }
}

impl<D: Device> Clone for Shared<D> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell), home: self.home.clone() }
    }
}

impl<D: Device> Deref for Shared<D> {
    type Target = D::Buffer;

    fn deref(&self) -> &D::Buffer {
        match self.cell.as_ref() {
            Some(buffer) => buffer,
            None => unreachable!("a shared buffer is emptied by the end of its last owner only"),
        }
    }
}

impl<D: Device> Drop for Shared<D> {
    fn drop(&mut self) {
        let Some(home) = &self.home else { return };
        // The last owner alone gets through. Two that go at once do not: then the counter goes to the heap with the
        // buffer, and is missed by nobody.
        if let Some(cell) = Arc::get_mut(&mut self.cell) {
            *cell = None;
            home.idle().push(Arc::clone(&self.cell));
        }
    }
}

impl<D: Device> fmt::Debug for Shared<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cell.fmt(f)
    }
}

/// Counters that wait for a buffer.
pub(super) struct Cells<D: Device>(Mutex<Vec<Cell<D>>>);

impl<D: Device> Cells<D> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Vec::new())))
    }

    /// `buffer` with a counter from here, if one waits.
    pub(super) fn share(self: &Arc<Self>, buffer: D::Buffer) -> Shared<D> {
        let mut cell = self.idle().pop().unwrap_or_default();
        match Arc::get_mut(&mut cell) {
            Some(place) => *place = Some(buffer),
            // Its last owner has not quite let go.
            None => cell = Arc::new(Some(buffer)),
        }
        Shared { cell, home: Some(Arc::clone(self)) }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Cell<D>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cells, Shared};
    use crate::device::Device;
    use crate::device::cpu::Cpu;

    #[test]
    fn counters_come_back_with_the_last_owner_and_buffers_go() {
        let device = Cpu::<f32>::new(Some(1)).unwrap();
        let cells = Cells::<Cpu<f32>>::new();
        let a = cells.share(device.upload(&[1.0]).unwrap());
        let mut b = a.clone();
        assert!(b.get_mut().is_none());
        drop(a);
        assert_eq!(cells.idle().len(), 0);
        device.write(&[2.0], b.get_mut().unwrap()).unwrap();
        assert_eq!(device.download(&b).unwrap(), [2.0]);
        drop(b);
        assert_eq!(cells.idle().len(), 1);
        let c = cells.share(device.upload(&[3.0]).unwrap());
        assert_eq!((cells.idle().len(), device.download(&c).unwrap()), (0, vec![3.0]));
        drop(Shared::<Cpu<f32>>::new(device.upload(&[4.0]).unwrap()));
        assert_eq!(cells.idle().len(), 0, "it has no home");
    }
}
