//! Memory on the device with an owner, and unowned views into it.

use super::arena::Arena;
use super::driver::{Address, Arg, Driver};
use crate::error::Result;
use std::sync::Arc;

/// Numbers (or `u32`s) in a device's memory; given back to the device's arena when dropped.
#[derive(Debug)]
pub struct DeviceBuffer<R: Driver> {
    driver: Arc<Arena<R>>,
    address: Address,
    len: usize,
}

/// Bytes of one element: `f32` and `u32` alike.
pub(super) const BYTES: usize = 4;

impl<R: Driver> DeviceBuffer<R> {
    /// `len` elements of unspecified content.
    pub(super) fn alloc(driver: &Arc<Arena<R>>, len: usize) -> Result<Self> {
        let address = if len == 0 { 0 } else { driver.alloc(len.saturating_mul(BYTES))? };
        Ok(Self { driver: driver.clone(), address, len })
    }

    /// `len` elements, all bytes 0.
    pub(super) fn zeros(driver: &Arc<Arena<R>>, len: usize) -> Result<Self> {
        let buffer = Self::alloc(driver, len)?;
        buffer.clear()?;
        Ok(buffer)
    }

    /// A copy of `bytes`, whole elements.
    pub(super) fn upload(driver: &Arc<Arena<R>>, bytes: &[u8]) -> Result<Self> {
        let buffer = Self::alloc(driver, bytes.len() / BYTES)?;
        buffer.write(bytes)?;
        Ok(buffer)
    }

    /// Overwrites the buffer; `bytes` is as long as the buffer.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(bytes.len(), self.len * BYTES, "whole buffers are written");
        if bytes.is_empty() || bytes.len() != self.len * BYTES {
            return Ok(());
        }
        // SAFETY: the buffer's own memory, of exactly this length.
        unsafe { self.driver.upload(bytes, self.address) }
    }

    /// Overwrites whole elements from `offset` on.
    pub(super) fn write_at(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        let fits = offset + bytes.len() / BYTES <= self.len;
        debug_assert!(fits, "a part of its buffer is written");
        if bytes.is_empty() || !fits {
            return Ok(());
        }
        // SAFETY: a range of the buffer's own memory.
        unsafe { self.driver.upload(bytes, self.from(offset).address) }
    }

    /// The content, after all enqueued operations.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.len * BYTES];
        if self.len > 0 {
            // SAFETY: the buffer's own memory, of exactly this length.
            unsafe { self.driver.download(self.address, &mut bytes)? };
        }
        Ok(bytes)
    }

    /// Sets every element to 0.
    pub(super) fn clear(&self) -> Result<()> {
        if self.len == 0 {
            return Ok(());
        }
        // SAFETY: the buffer's own memory.
        unsafe { self.driver.clear(self.address, self.len * BYTES) }
    }

    /// Overwrites the buffer with another one of the same length.
    pub(super) fn copy_from(&self, from: &Self) -> Result<()> {
        debug_assert_eq!(self.len, from.len, "whole buffers are copied");
        if self.len == 0 || self.len != from.len {
            return Ok(());
        }
        // SAFETY: two live buffers of this length; distinct owners do not overlap.
        unsafe { self.driver.copy(from.address, self.address, self.len * BYTES) }
    }

    /// Overwrites the first `len` elements with those of another buffer from `offset` on.
    pub(super) fn copy_range(&self, from: &Self, offset: usize, len: usize) -> Result<()> {
        let fits = len <= self.len && offset.checked_add(len).is_some_and(|end| end <= from.len);
        debug_assert!(fits, "a part of a buffer is copied");
        if len == 0 || !fits {
            return Ok(());
        }
        // SAFETY: parts of two live buffers; distinct owners do not overlap.
        unsafe { self.driver.copy(from.from(offset).address, self.address, len * BYTES) }
    }

    /// Elements.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of it.
    pub(super) fn view(&self) -> View {
        View { address: self.address, len: self.len }
    }

    /// What follows the first `offset` elements.
    pub(super) fn from(&self, offset: usize) -> View {
        debug_assert!(offset <= self.len, "a view inside its buffer");
        View { address: self.address + (offset * BYTES) as u64, len: self.len.saturating_sub(offset) }
    }
}

impl<R: Driver> Drop for DeviceBuffer<R> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated by this arena with as many bytes, freed once. Operations that still use it come
            // before those of whoever gets it next.
            unsafe { self.driver.free(self.address, self.len * BYTES) };
        }
    }
}

/// A part of a buffer that somebody else keeps alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub address: Address,
    pub len: usize,
}

impl From<View> for Arg {
    fn from(view: View) -> Self {
        Self::Address(view.address)
    }
}

impl From<Option<View>> for Arg {
    fn from(view: Option<View>) -> Self {
        Self::Address(view.map_or(0, |view| view.address))
    }
}

impl<R: Driver> From<&DeviceBuffer<R>> for Arg {
    fn from(buffer: &DeviceBuffer<R>) -> Self {
        Self::Address(buffer.address)
    }
}

impl<R: Driver> From<&mut DeviceBuffer<R>> for Arg {
    fn from(buffer: &mut DeviceBuffer<R>) -> Self {
        Self::Address(buffer.address)
    }
}

impl<R: Driver> From<Option<&DeviceBuffer<R>>> for Arg {
    fn from(buffer: Option<&DeviceBuffer<R>>) -> Self {
        Self::Address(buffer.map_or(0, |b| b.address))
    }
}

impl From<usize> for Arg {
    fn from(x: usize) -> Self {
        // Sizes are elements of buffers that exist, far below 2^63.
        Self::Int(x as i64)
    }
}

impl From<i64> for Arg {
    fn from(x: i64) -> Self {
        Self::Int(x)
    }
}

impl From<f32> for Arg {
    fn from(x: f32) -> Self {
        Self::Float(x)
    }
}

impl From<f64> for Arg {
    fn from(x: f64) -> Self {
        Self::Float(x as f32)
    }
}

/// The bytes of numbers.
pub(super) fn bytes_of<T: Word>(x: &[T]) -> Vec<u8> {
    x.iter().flat_map(|x| x.bytes()).collect()
}

/// `f32` and `u32`, as the device stores them.
pub(super) trait Word {
    /// The bytes of one.
    fn bytes(&self) -> [u8; 4];
}

impl Word for f32 {
    fn bytes(&self) -> [u8; 4] {
        self.to_ne_bytes()
    }
}

impl Word for u32 {
    fn bytes(&self) -> [u8; 4] {
        self.to_ne_bytes()
    }
}
