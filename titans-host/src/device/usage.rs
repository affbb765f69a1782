//! How memory is used.

/// How a machine's own memory is used now, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Reserved by this program (of a device without pools: by all programs).
    pub used: u64,
    /// What is left for new buffers.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// Memory in a device's buffers, in bytes. On the CPU lengths are rounded up to size classes, by an eighth at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// In buffers now.
    pub live_bytes: usize,
    /// The most in buffers at once, since the device was made or the peak was last measured anew
    /// ([`Cpu::restart_peak`](super::cpu::Cpu::restart_peak)).
    pub peak_bytes: usize,
    /// In buffers and kept for the next ones.
    pub held_bytes: usize,
}
