//! Copies to the device. Small ones the host does not wait for: what is enqueued before may take long.

use super::Nvidia;
use crate::device::cuda::driver::Address;
use crate::error::Result;
use std::sync::{MutexGuard, PoisonError};

/// Bytes of a copy that is not waited for, at most.
const SMALL: usize = 1 << 20;
/// Bytes of all those that are under way.
const MOST: usize = 16 << 20;

/// What is under way to the device: the bytes stay here until it has them.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    bytes: usize,
    copies: Vec<Vec<u8>>,
}

impl UnderWay {
    /// Whether the device may read some yet.
    pub fn any(&self) -> bool {
        !self.copies.is_empty()
    }
}

impl Nvidia {
    /// Copies to the device; `host` may be reused when the call returns.
    ///
    /// # Safety
    /// `to` has room for `host`.
    pub(super) unsafe fn send(&self, host: &[u8], to: Address) -> Result<()> {
        let mut under_way = self.under_way();
        if host.len() > SMALL || under_way.bytes + host.len() > MOST {
            // SAFETY: the caller promises the room; `host` stays borrowed until the copy is done.
            unsafe { self.enqueue_copy(host, to)? };
            return self.wait_for(under_way);
        }
        let own = host.to_vec();
        // SAFETY: the caller promises the room; the bytes are kept, at the same place, until a wait has seen the end
        // of the copy.
        let enqueued = unsafe { self.enqueue_copy(&own, to) };
        under_way.bytes += own.len();
        under_way.copies.push(own);
        enqueued
    }

    /// Waits for all that is enqueued.
    pub(super) fn wait(&self) -> Result<()> {
        self.wait_for(self.under_way())
    }

    /// No copy begins meanwhile whose bytes would be given up with the others.
    fn wait_for(&self, mut under_way: MutexGuard<'_, UnderWay>) -> Result<()> {
        // SAFETY: the stream is alive.
        self.call("waiting for the device", |driver| unsafe { (driver.calls.wait_for_stream)(self.stream.0) })?;
        *under_way = UnderWay::default();
        Ok(())
    }

    /// # Safety
    /// `to` has room for `host`, which stays as it is until the copy is done.
    unsafe fn enqueue_copy(&self, host: &[u8], to: Address) -> Result<()> {
        // SAFETY: the caller's promise.
        self.call("copying to the device", |driver| unsafe {
            (driver.calls.copy_to_device)(to, host.as_ptr().cast(), host.len(), self.stream.0)
        })
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
