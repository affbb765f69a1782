//! The host's one error type: what was expected, what was found, what to do.

use std::path::{Path, PathBuf};

/// Everything that can go wrong on the host.
///
/// ```
/// use titans_host::Error;
/// use titans_host::device::cpu::Cpu;
///
/// let Err(error) = Cpu::<f32>::new(Some(0)) else { panic!("a device without threads") };
/// assert!(matches!(error, Error::Usage(_)));
/// assert!(error.to_string().starts_with("threads: expected 1 or more, found 0")); // and what to do
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A shape, buffer or configuration that the kernel refuses.
    #[error(transparent)]
    Kernel(#[from] titans_kernel::Error),
    /// A device that is absent, or that failed.
    #[error("device {device}: {reason}")]
    Device {
        /// `cpu` or `cuda`.
        device: &'static str,
        /// What happened and what to do.
        reason: String,
    },
    /// The system has no memory for what is asked.
    #[error("no memory for {what} of {bytes} bytes: use {remedy}")]
    NoMemory {
        /// e.g. `"a buffer"`.
        what: String,
        /// Its size.
        bytes: usize,
        /// What would need less.
        remedy: String,
    },
    /// An argument or a configuration value that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The content of a file is not what it should be.
    #[error("{}: {reason}", plain(path.display()))]
    File {
        /// The file.
        path: PathBuf,
        /// What was expected, what was found.
        reason: String,
    },
    /// The operating system refused.
    #[error("{}: {doing}: {source}{}", plain(path.display()), remedy(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, e.g. `"writing the checkpoint"`.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process is writing there.
    #[error("{}: another process is writing it ({by}); wait for it to end, or name another place", plain(path.display()))]
    Held {
        /// The file or folder.
        path: PathBuf,
        /// The program, its process and its host.
        by: String,
    },
    /// A number left the finite range.
    #[error(
        "{what} is not finite at step {step}: lower the learning rate (--learning-rate) or theta_max (--theta-max); {kept}"
    )]
    NotFinite {
        /// e.g. `"loss"`.
        what: &'static str,
        /// The training step.
        step: u64,
        /// What was saved.
        kept: String,
    },
    /// A request to stop came while something was measured, of which nothing is known then.
    #[error("stopped on request")]
    Stopped,
    /// A trained model predicts with a probability, or a number, that is not finite.
    #[error(
        "the loss is not finite at position {position} of the data: the memory diverged, or numbers there are far from those of \
         training; train with a lower theta_max (--theta-max), a shorter chunk (--chunk) or a clip, or mend the data"
    )]
    Diverged {
        /// The first such token or patch.
        position: u64,
    },
    /// A token that a stream does not take: its write into a memory, or what the model says after it, would not be
    /// finite. The tokens before it are in, and the stream stands as if this one had never come.
    #[error(
        "token {token} of this push (position {position} of the stream) is refused: with it the memory, or what the model says, \
         would not be finite; all tokens before it are in. Go on without it, reset the stream, or train with a lower theta_max, a \
         shorter chunk or a clip"
    )]
    Refused {
        /// The token, counted from the push's first.
        token: usize,
        /// The tokens that the stream has taken, which is the number of this one.
        position: u64,
    },
}

/// What to do about a system's reason.
fn remedy(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::NotFound => "; check the path",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; choose another place or change its permissions"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space or choose another place",
        ErrorKind::FileTooLarge => {
            "; files may not grow so large here: raise the limit (ulimit -f) or choose another place"
        }
        ErrorKind::InvalidData => "; expected text in UTF-8",
        ErrorKind::AlreadyExists => "; choose another name or remove it",
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => "; a file and a folder are confused: check the path",
        _ if links_loop(source) => "; links that lead to each other lead nowhere: check the path",
        _ if too_many_open(source) => "; raise the limit of open files (ulimit -n)",
        _ => "",
    }
}

/// Whether the reason is a loop of links, for which there is no stable kind.
#[cfg(unix)]
pub(crate) fn links_loop(source: &std::io::Error) -> bool {
    source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(unix)]
fn too_many_open(source: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|e| source.raw_os_error() == Some(e.raw_os_error()))
}

#[cfg(not(unix))]
pub(crate) fn links_loop(_: &std::io::Error) -> bool {
    false
}

#[cfg(not(unix))]
fn too_many_open(_: &std::io::Error) -> bool {
    false
}

impl Error {
    /// An [`Error::Io`] for `path`.
    pub fn io(path: impl AsRef<Path>, doing: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), doing, source }
    }

    /// An [`Error::File`] for `path`.
    pub fn file(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// An [`Error::Usage`] about what several files hold together, as one about the first.
    pub fn in_files(self, paths: &[PathBuf]) -> Self {
        match (self, paths) {
            (Self::Usage(reason), [path]) => Self::file(path, reason),
            (Self::Usage(reason), [path, more @ ..]) => {
                Self::file(path, format!("with {}: {reason}", counted(more.len(), "more file")))
            }
            (other, _) => other,
        }
    }

    /// An [`Error::Usage`].
    pub fn usage(reason: impl Into<String>) -> Self {
        Self::Usage(reason.into())
    }
}

/// Most characters of a message, and how many of them are its end, where it says what to do.
const MESSAGE: usize = 4000;
const END: usize = 800;
/// Most characters of what was found.
const FOUND: usize = 60;

/// A message as a terminal may show it, whatever names and data are in it: without control characters, and of bounded
/// length.
pub fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len().min(2 * MESSAGE));
    let count = text.chars().count();
    for (i, c) in text.chars().enumerate() {
        match c {
            _ if count > MESSAGE && (MESSAGE - END..count - END).contains(&i) => {
                if i == MESSAGE - END {
                    tidy.push_str(&format!(" … ({} characters left out) … ", count - MESSAGE));
                }
            }
            '\n' => tidy.push(c),
            _ => show(c, &mut tidy),
        }
    }
    tidy
}

/// A name as a terminal may show it, on one line: whatever [`tidy`] escapes, and line ends.
pub fn plain(name: impl std::fmt::Display) -> String {
    let name = name.to_string();
    let mut plain = String::with_capacity(name.len());
    name.chars().for_each(|c| show(c, &mut plain));
    plain
}

/// Escapes control characters, and those that turn the direction of the text around.
fn show(c: char, out: &mut String) {
    if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c) {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}

/// The beginning of what was found somewhere, in quotes, and its length where that is not all.
pub fn brief(found: &str) -> String {
    match found.char_indices().nth(FOUND) {
        None => format!("{found:?}"),
        Some((end, _)) => format!("{:?}… ({} bytes)", &found[..end], found.len()),
    }
}

/// A number of things, in the singular where it is one: `1 row`, `2 rows`.
pub fn counted(count: impl std::fmt::Display, thing: &str) -> String {
    let count = count.to_string();
    let plural = match count.as_str() {
        "1" => "",
        _ if thing.ends_with("ch") || thing.ends_with("ss") => "es",
        _ => "s",
    };
    format!("{count} {thing}{plural}")
}

/// The host's result.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::{Error, brief, counted, plain, tidy};

    #[test]
    fn one_thing_is_no_things() {
        assert_eq!([0, 1, 2, 11].map(|n| counted(n, "row")), ["0 rows", "1 row", "2 rows", "11 rows"]);
        assert_eq!([1, 2].map(|n| counted(n, "patch")), ["1 patch", "2 patches"]);
        assert_eq!(counted(2, "process"), "2 processes");
    }

    #[test]
    fn a_path_is_one_line_whatever_it_holds() {
        let error = Error::file("a\nb", "is no file");
        assert_eq!(error.to_string(), "a\\nb: is no file");
    }

    #[test]
    fn messages_are_bounded_and_without_control_characters() {
        assert_eq!(tidy("a\x1b[31mb\u{202e}\n\tc\u{7f}é"), "a\\u{1b}[31mb\\u{202e}\n\\tc\\u{7f}é");
        assert_eq!(plain("a\x1b[31mb\u{9b}\u{202e}\n\"é"), "a\\u{1b}[31mb\\u{9b}\\u{202e}\\n\"é");
        let long = format!("begin {} what to do", "é".repeat(1_000_000));
        let told = tidy(&long);
        assert!(told.chars().count() < 4100 && told.starts_with("begin é") && told.ends_with("é what to do"), "{told}");
        assert_eq!(tidy(&"x".repeat(4000)), "x".repeat(4000));
        assert_eq!((brief("1e39"), brief("")), ("\"1e39\"".into(), "\"\"".into()));
        let field = brief(&"é".repeat(1000));
        assert!(field.ends_with("… (2000 bytes)") && field.len() < 200, "{field}");
    }
}
