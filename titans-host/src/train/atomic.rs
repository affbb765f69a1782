//! Writing a file so that a reader finds the old content or the new, never a part.

mod temporary;

use crate::{Error, Result};
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use temporary::Temporary;

/// Links that are followed before they are called a loop, as by the system.
const LINKS: usize = 40;
/// Longer names are told by their checksum, so that what stands before and behind it fits too.
const NAME: usize = 200;

/// Writes `path` through a temporary file beside it: written, flushed to the disk, renamed over the old file, and the
/// rename flushed too. A link stands for its target, there yet or not; mode and owner of an old file are kept as far as
/// the system lets us. On any error the old file is as it was and the temporary one is gone.
///
/// # Errors
/// [`Error::Io`] naming `path` and `doing` (a full disk, an unwritable or missing folder, …).
pub fn write(path: &Path, doing: &'static str, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    write_inner(path, content).map_err(|e| Error::io(path, doing, e))
}

fn write_inner(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let target = target(path)?;
    let before = match std::fs::metadata(&target) {
        Ok(before) => Some(before),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let mut temporary = Temporary::beside(&target, before.is_some())?;
    let mut buffered = io::BufWriter::with_capacity(1 << 20, temporary.file());
    content(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    if let Some(before) = &before {
        keep(temporary.file(), before);
    }
    temporary.persist(&target)?;
    sync_folder(folder(&target))
}

/// The file that a path stands for: the end of its links, whether there is something yet or not.
///
/// # Errors
/// What the system says, of a loop of links too.
pub fn target(path: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let mut target = path.to_path_buf();
    for _ in 0..LINKS {
        match std::fs::read_link(&target) {
            Ok(next) => target = folder(&target).join(next),
            Err(_) => return Ok(target),
        }
    }
    Ok(target)
}

/// The name of a helper of `target` in its folder: `.NAME.titansEND`.
pub(super) fn beside(target: &Path, end: &str) -> PathBuf {
    let mut name = helper(target);
    name.push(end);
    folder(target).join(name)
}

fn helper(target: &Path) -> OsString {
    let mut name = OsString::from(".");
    match target.file_name() {
        Some(own) if own.len() <= NAME => name.push(own),
        own => {
            let mut crc = flate2::Crc::new();
            crc.update(own.unwrap_or_default().as_encoded_bytes());
            name.push(format!("{:08x}", crc.sum()));
        }
    }
    name.push(".titans");
    name
}

/// Removes what processes that were killed left of writing `target`; nobody else may be writing it.
pub(super) fn remove_strays(target: &Path) {
    let Ok(entries) = std::fs::read_dir(folder(target)) else { return };
    let mut start = helper(target);
    start.push("-");
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(start.as_encoded_bytes()) && name.ends_with(b".tmp") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Gives a file the owner and the mode of the one before, as far as we may. A group that cannot be kept leaves nobody
/// more than everybody had.
#[cfg(unix)]
fn keep(file: &File, before: &Metadata) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let mut mode = before.mode() & 0o777;
    if let Ok(now) = file.metadata() {
        if now.gid() != before.gid() && fchown(file, None, Some(before.gid())).is_err() {
            mode &= !0o070 | (mode & 0o007) << 3;
        }
        if now.uid() != before.uid() {
            let _ = fchown(file, Some(before.uid()), None);
        }
    }
    let _ = file.set_permissions(std::fs::Permissions::from_mode(mode));
}

#[cfg(not(unix))]
fn keep(file: &File, before: &Metadata) {
    let _ = file.set_permissions(before.permissions());
}

/// Flushes a rename. Where the folder lets nobody read it, or its file system knows no such thing, the rename is atomic
/// all the same.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(e) if matches!(e.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
        synced => synced,
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(()) // folders cannot be opened there; the rename itself is still atomic
}

#[cfg(test)]
mod tests;
