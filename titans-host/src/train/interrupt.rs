//! A request to stop, as a flag that training looks at between steps.

use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A request to stop after the current step. Clones share the request.
///
/// ```
/// use titans_host::train::Interrupt;
///
/// let interrupt = Interrupt::new();
/// let seen = interrupt.clone(); // for whoever trains
/// assert!(seen.check().is_ok());
/// interrupt.raise();
/// assert!(seen.requested() && seen.check().is_err());
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

/// Asked for by no signal.
const BY_HAND: usize = usize::MAX;

impl Interrupt {
    /// A request that nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the request.
    pub fn raise(&self) {
        self.store(BY_HAND);
    }

    /// Makes the request in the name of a signal. The first one counts; says whether this is it.
    pub fn receive(&self, signal: u8) -> bool {
        self.store(usize::from(signal))
    }

    /// Whether it was made.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst) != 0
    }

    /// Ends what asks, between two parts of its work, once the request was made.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn check(&self) -> Result<()> {
        if self.requested() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// The signal that made it, if one did.
    pub fn signal(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::SeqCst)).ok().filter(|&signal| signal != 0)
    }

    fn store(&self, by: usize) -> bool {
        self.0.compare_exchange(0, by, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Interrupt;

    #[test]
    fn the_first_signal_counts_and_clones_share_it() {
        let interrupt = Interrupt::new();
        let seen = interrupt.clone();
        assert!(!seen.requested() && seen.signal().is_none());
        assert!(interrupt.receive(15) && !interrupt.receive(2));
        interrupt.raise();
        assert!(seen.requested());
        assert_eq!(seen.signal(), Some(15));
        let by_hand = Interrupt::new();
        by_hand.raise();
        assert!(by_hand.requested() && by_hand.signal().is_none());
    }
}
