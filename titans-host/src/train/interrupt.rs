//! Ctrl-C as a flag that training looks at between steps.

use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop after the current step. Clones share the request.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A request that nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A request that Ctrl-C makes. `again` runs, on a thread of its own, when it comes a second time: the place to
    /// leave at once.
    ///
    /// # Errors
    /// [`Error::Usage`] when the process already has a handler.
    pub fn on_ctrl_c(again: impl Fn() + Send + 'static) -> Result<Self> {
        let interrupt = Self::new();
        let shared = interrupt.clone();
        ctrlc::set_handler(move || shared.raise_or(&again))
            .map_err(|e| Error::usage(format!("cannot listen for Ctrl-C: {e}")))?;
        Ok(interrupt)
    }

    /// Makes the request.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was made.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn raise_or(&self, again: &impl Fn()) {
        if self.0.swap(true, Ordering::SeqCst) {
            again();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Interrupt;
    use std::cell::Cell;

    #[test]
    fn the_second_signal_calls_and_clones_share_the_first() {
        let interrupt = Interrupt::new();
        let seen = interrupt.clone();
        let calls = Cell::new(0);
        let again = || calls.set(calls.get() + 1);
        assert!(!seen.raised());
        interrupt.raise_or(&again);
        assert!(seen.raised());
        assert_eq!(calls.get(), 0);
        interrupt.raise_or(&again);
        assert_eq!(calls.get(), 1);
    }
}
