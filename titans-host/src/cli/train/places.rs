//! Places of files that configurations name, and fields that options change.

use crate::error::{Error, Result, brief};
use std::path::{Path, PathBuf};

/// So that the run resumes from anywhere. What `config.toml` names must be text.
pub(super) fn absolute(option: &str, path: &Path) -> Result<PathBuf> {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    match whole.to_str() {
        Some(_) => Ok(whole),
        None => Err(Error::usage(format!(
            "{option} {}: expected a path in UTF-8, because config.toml names it, found {:?}; rename it, or give a link to it \
             (ln -s) that lies under such a name",
            path.display(),
            whole
        ))),
    }
}

/// Puts a value that is given in the place of what is there.
pub(super) fn set<T: Copy>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// What --split says, in the words of the task.
pub(super) fn split<T: std::str::FromStr<Err = String>>(said: Option<&str>) -> Result<Option<T>> {
    let parse = |text: &str| {
        text.parse().map_err(|expected| Error::usage(format!("--split: {expected}, found {}", brief(text))))
    };
    said.map(parse).transpose()
}
