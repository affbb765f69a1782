//! Writing a file so that a reader finds the old content or the new, never a part.

use crate::{Error, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes `path` through a temporary file beside it: written, flushed to the disk, renamed over the old file, and the
/// rename flushed too. On any error the old file is as it was and the temporary one is gone.
///
/// # Errors
/// [`Error::Io`] naming `path` and `doing` (a full disk, an unwritable or missing folder, …).
pub fn write(path: &Path, doing: &'static str, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    write_inner(path, content).map_err(|e| Error::io(path, doing, e))
}

fn write_inner(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let temporary = tempfile::Builder::new().prefix(".titans-").suffix(".tmp").tempfile_in(folder);
    // Without the temporary file's name, which says nothing to anybody.
    let mut temporary = temporary.map_err(|e| io::Error::from(e.kind()))?;
    readable(temporary.as_file())?;
    let mut buffered = io::BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
    content(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|e| e.error)?;
    sync_folder(folder)
}

/// Temporary files are private; what they become is an ordinary file.
#[cfg(unix)]
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(()) // folders cannot be opened there; the rename itself is still atomic
}

#[cfg(test)]
mod tests {
    use super::write;
    use std::io;

    #[test]
    fn a_full_disk_half_way_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, "writing", |out| out.write_all(b"old")).unwrap();
        let error = write(&path, "writing the checkpoint", |out| {
            out.write_all(&vec![1; 3 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(error.to_string().contains("file: writing the checkpoint"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&path, "writing", |out| out.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_folder_that_is_not_there_or_not_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing").join("file");
        assert!(write(&missing, "writing", |_| Ok(())).unwrap_err().to_string().contains("missing"));
        let plain = folder.path().join("plain");
        std::fs::write(&plain, b"kept").unwrap();
        assert!(write(&plain.join("file"), "writing", |_| Ok(())).is_err());
        assert_eq!(std::fs::read(&plain).unwrap(), b"kept");
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(write(&taken, "writing", |out| out.write_all(b"x")).is_err(), "a folder has that name");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }
}
