//! The host's one error type: what was expected, what was found, what to do.

use std::path::{Path, PathBuf};

/// Everything that can go wrong on the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// An argument or a configuration value that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The content of a file is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was expected, what was found.
        reason: String,
    },
    /// The operating system refused.
    #[error("{}: {doing}: {source}{}", path.display(), remedy(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, e.g. `"writing the checkpoint"`.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A number left the finite range.
    #[error("{what} is not finite at step {step}: lower the learning rate or theta_max; {kept}")]
    NotFinite {
        /// e.g. `"loss"`.
        what: &'static str,
        /// The training step.
        step: u64,
        /// What was saved.
        kept: String,
    },
    /// A trained model predicts with a probability, or a number, that is not finite.
    #[error(
        "the loss is not finite at position {position} of the data: the memory diverged; train with a lower theta_max, a \
         shorter chunk or a clip"
    )]
    Diverged {
        /// The first such token or patch.
        position: u64,
    },
    /// A token that a stream does not take: its write into a memory, or what the model says after it, would not be finite. The tokens before
    /// it are in, and the stream stands as if this one had never come.
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
        ErrorKind::AlreadyExists => "; choose another name or remove it",
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => "; a file and a folder are confused: check the path",
        _ => "",
    }
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

    /// An [`Error::Usage`].
    pub fn usage(reason: impl Into<String>) -> Self {
        Self::Usage(reason.into())
    }
}

/// The host's result.
pub type Result<T> = std::result::Result<T, Error>;
