//! How a run of the command ends when it does not end well.

use super::output;
use crate::error::{Error, links_loop};
use crate::train::Interrupt;
use std::fmt;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// The exit codes of `titans`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done.
    Done = 0,
    /// Failed while running.
    Failed = 1,
    /// Bad usage, bad input, or a device that is not there.
    Input = 2,
    /// SIGHUP: the terminal went away.
    HungUp = 129,
    /// Ctrl-C.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl Code {
    /// 128 and the number of the signal.
    pub fn of_signal(signal: u8) -> Self {
        match signal {
            1 => Self::HungUp,
            15 => Self::Terminated,
            _ => Self::Interrupted,
        }
    }

    /// What asked for the end; nothing for other codes than those of signals.
    fn signal(self) -> Option<&'static str> {
        match self {
            Self::HungUp => Some("SIGHUP"),
            Self::Interrupted => Some("Ctrl-C"),
            Self::Terminated => Some("SIGTERM"),
            Self::Done | Self::Failed | Self::Input => None,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// An exit code other than 0, or a reader of our output that went away, with the lines for standard error.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    text: String,
}

impl Failure {
    /// Bad usage or bad input: exit code 2.
    pub fn input(text: impl Into<String>) -> Self {
        Self { code: Code::Input, text: text.into() }
    }

    /// A failure at run time: exit code 1.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { code: Code::Failed, text: text.into() }
    }

    /// A signal; `text` says what was kept and how to go on: exit code 128 and its number.
    pub fn interrupted(interrupt: &Interrupt, text: impl Into<String>) -> Self {
        Self { code: Code::of_signal(interrupt.signal().unwrap_or_default()), text: text.into() }
    }

    /// The reader of standard output went away (`titans … | head`): we stop in silence, exit code 0.
    pub fn closed() -> Self {
        Self { code: Code::Done, text: String::new() }
    }

    /// What was told already, with its exit code.
    pub fn told(code: Code) -> Self {
        Self { code, text: String::new() }
    }

    /// Whether everything that there is to keep was kept: a signal, or a reader of our output that went away.
    pub fn in_order(&self) -> bool {
        self.code == Code::Done || self.code.signal().is_some()
    }

    /// The same of one of several processes; rank 0 needs no name.
    pub fn of_process(mut self, rank: usize, size: usize) -> Self {
        if rank > 0 && !self.text.is_empty() {
            self.text = format!("process {rank} of {size}: {}", self.text);
        }
        self
    }

    /// An error, and what this verb can do about a memory that diverged, if that is what it is.
    pub fn hinting(error: Error, hint: &str) -> Self {
        match &error {
            // A verb's user knows of no pushes.
            Error::Refused { position, .. } => Self::failed(format!(
                "token {position} of the stream is refused: with it the memory, or what the model says, would not be finite; \
                 train with a lower --theta-max, a shorter --chunk or a clip, {hint}"
            )),
            Error::Diverged { .. } => Self::failed(format!("{error}, {hint}")),
            _ => error.into(),
        }
    }

    /// The same in the words of the command line: an option in the place of a field of the configuration, if it was
    /// given.
    pub fn saying(mut self, field: &str, option: &str, given: bool) -> Self {
        if given && self.text.starts_with(&format!("{field}:")) {
            self.text.replace_range(..field.len(), option);
        }
        self
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Prints the lines on standard error and gives the exit code.
    pub fn report(self) -> Code {
        if !self.text.is_empty() {
            output::complain(&match self.code.signal() {
                Some(signal) => format!("interrupted by {signal}: {}", self.text),
                None => format!("error: {}", self.text),
            });
        }
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Usage(_) | Error::File { .. } | Error::Held { .. } | Error::NoMemory { .. } => Code::Input,
            Error::Io { source, .. } if unusable_path(source.kind()) || links_loop(source) => Code::Input,
            Error::Kernel(titans_kernel::Error::Shape { .. } | titans_kernel::Error::Buffer { .. }) => Code::Failed,
            Error::Kernel(titans_kernel::Error::Diverged { .. } | titans_kernel::Error::Torn) => Code::Failed,
            Error::Kernel(_) => Code::Input,
            Error::Refused { .. } | Error::Stopped => Code::Failed,
            Error::Device { .. } | Error::Io { .. } | Error::NotFinite { .. } | Error::Diverged { .. } => Code::Failed,
        };
        Self { code, text: error.to_string() }
    }
}

impl From<titans_kernel::Error> for Failure {
    fn from(error: titans_kernel::Error) -> Self {
        Error::from(error).into()
    }
}

/// Kinds that say the path given cannot be used, as opposed to a machine that failed while using it.
fn unusable_path(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::AlreadyExists
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidData
            | ErrorKind::InvalidFilename
            | ErrorKind::ReadOnlyFilesystem
    )
}

/// What the last panic said. Some are caught on the way (a CUDA library that is there in part) and are no bug.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Keeps panics off standard error until it is clear that nobody catches them.
pub(super) fn watch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload_as_str().unwrap_or("unknown panic");
        let place = panic.location().map_or(String::new(), |l| format!(" ({}:{})", l.file(), l.line()));
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = format!("{what}{place}");
    }));
}

/// The failure for a panic that reached the top: always a bug of this program, never of its input.
pub(super) fn bug() -> Failure {
    let what = PANIC.lock().unwrap_or_else(PoisonError::into_inner);
    Failure::failed(format!("this is a bug in titans, please report it with the command you ran: {what}"))
}

#[cfg(test)]
mod tests {
    use super::{Code, Failure};
    use crate::error::Error;
    use crate::train::Interrupt;
    use std::io;

    #[test]
    fn codes_tell_bad_input_from_bad_luck() {
        let code = |e: Error| Failure::from(e).code();
        assert_eq!(code(Error::usage("no")), Code::Input);
        assert_eq!(code(Error::file("x", "damaged")), Code::Input);
        assert_eq!(code(Error::io("x", "reading", io::ErrorKind::NotFound.into())), Code::Input);
        assert_eq!(code(Error::io("x", "writing", io::ErrorKind::StorageFull.into())), Code::Failed);
        assert_eq!(code(Error::io("x", "reading", io::ErrorKind::InvalidData.into())), Code::Input);
        let held = Error::Held { path: "x".into(), by: "titans, process 7 on mars".into() };
        assert!(held.to_string().contains("process 7 on mars"));
        assert_eq!(code(held), Code::Input);
        assert_eq!(code(titans_kernel::Error::Config { what: "chunk", found: 0 }.into()), Code::Input);
        assert_eq!(code(titans_kernel::Error::Shape { what: "k", expected: 1, found: 2 }.into()), Code::Failed);
    }

    #[test]
    fn a_signal_s_code_is_128_and_its_number() {
        for (signal, code) in [(1, 129), (2, 130), (15, 143)] {
            let interrupt = Interrupt::new();
            interrupt.receive(signal);
            let failure = Failure::interrupted(&interrupt, "saved");
            assert_eq!(failure.code() as i32, code);
            assert!(failure.code().signal().is_some());
        }
    }
}
