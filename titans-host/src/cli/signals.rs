//! The signals that ask a verb to stop, and those that must not kill it.

use super::failure::Code;
use crate::error::{Error, Result};
use crate::train::Interrupt;

/// A request to stop that Ctrl-C, SIGTERM or SIGHUP makes. The verb then keeps what it has and ends; a second signal
/// ends the process at once.
///
/// # Errors
/// [`Error::Io`] when the system lets nobody listen.
pub fn listen() -> Result<Interrupt> {
    let interrupt = Interrupt::new();
    system::listen(&interrupt).map_err(|e| Error::io("signals", "listening for them", e))?;
    Ok(interrupt)
}

/// A file that may grow no further is an error of the write, which is told, and no death by a signal.
pub fn survive_limits() {
    system::survive_limits();
}

/// Leaves at once.
fn leave(signal: u8) {
    std::process::exit(Code::of_signal(signal) as i32);
}

#[cfg(unix)]
mod system {
    use super::{Interrupt, leave};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    use signal_hook::iterator::Signals;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    /// Whoever stops a whole group of processes may send the same signal twice: `timeout` does, and so do shells and
    /// terminals that close. Such a pair is one request.
    const ONE: Duration = Duration::from_millis(300);

    pub(super) fn listen(interrupt: &Interrupt) -> io::Result<()> {
        let signals = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !ignored(signal));
        let (mut signals, interrupt) = (Signals::new(signals)?, interrupt.clone());
        let wait = move || {
            let mut first: Option<Instant> = None;
            for signal in signals.forever() {
                let number = u8::try_from(signal).unwrap_or(0);
                interrupt.receive(number);
                match first {
                    Some(first) if first.elapsed() > ONE => leave(number),
                    Some(_) => {}
                    None => first = Some(Instant::now()),
                }
            }
        };
        std::thread::Builder::new().name("titans-signals".into()).spawn(wait).map(drop)
    }

    pub(super) fn survive_limits() {
        // Nobody looks at the flag: that there is a handler is enough. Where none can be set, the signal kills as ever.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }

    /// Whether the process was started so that this signal says nothing to it (`nohup`, `trap ''`, a background job of
    /// a script); known on Linux alone.
    fn ignored(signal: i32) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        mask >> (signal - 1) & 1 == 1
    }
}

#[cfg(not(unix))]
mod system {
    use super::{Interrupt, leave};
    use std::io;

    /// The number of an interruption in exit codes.
    const INTERRUPTED: u8 = 2;

    pub(super) fn listen(interrupt: &Interrupt) -> io::Result<()> {
        let interrupt = interrupt.clone();
        let handler = move || {
            if !interrupt.receive(INTERRUPTED) {
                leave(INTERRUPTED);
            }
        };
        ctrlc::set_handler(handler).map_err(io::Error::other)
    }

    pub(super) fn survive_limits() {}
}
