//! A file on its way to a name.

use super::{folder, helper};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempPath};

/// A file in the folder of its target. Where the system can make one without a name it has none until it is whole, so
/// that nothing stays behind even of a process that is killed; else it is removed when it is dropped.
pub(super) struct Temporary {
    file: File,
    named: Option<TempPath>,
    target: PathBuf,
}

impl Temporary {
    /// An empty file beside `target`: private where it will be given another's mode, else of a new file's mode.
    pub(super) fn beside(target: &Path, private: bool) -> io::Result<Self> {
        let mode = if private { 0o600 } else { 0o666 };
        let target = target.to_path_buf();
        if let Some(file) = unnamed(folder(&target), mode) {
            return Ok(Self { file, named: None, target });
        }
        let (file, path) = named(&target, |path| create(path, mode))?;
        Ok(Self { file, named: Some(path), target })
    }

    /// One without a name where that is possible (0), with one (1), or without one and a name that is as good as none
    /// (2).
    #[cfg(test)]
    pub(super) fn of_kind(kind: u8, target: &Path) -> io::Result<Self> {
        let mut temporary = Self::beside(target, false)?;
        if kind > 0 {
            let (file, path) = named(target, |path| create(path, 0o600))?;
            temporary.file = file;
            temporary.named = if kind == 1 { Some(path) } else { path.close().map(|()| None)? };
        }
        Ok(temporary)
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Flushes it and gives it the name, in the place of whatever had it.
    pub(super) fn persist(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        let path = match self.named {
            Some(path) => path,
            None => match named(&self.target, |path| link(&self.file, path)) {
                Ok((_, path)) => path,
                // Some file systems make files without names and cannot name them, or there is no /proc.
                Err(_) => copy(&mut self.file, &self.target)?,
            },
        };
        path.persist(target).map_err(|e| e.error)
    }
}

/// The same file once more, with a name and the same mode.
fn copy(file: &mut File, target: &Path) -> io::Result<TempPath> {
    let (mut copy, path) = named(target, |path| create(path, 0o600))?;
    file.rewind()?;
    io::copy(file, &mut copy)?;
    copy.set_permissions(file.metadata()?.permissions())?;
    copy.sync_all()?;
    Ok(path)
}

/// A name for a file that `make` puts there; with the system's own reason where it cannot.
fn named<T>(target: &Path, mut make: impl FnMut(&Path) -> io::Result<T>) -> io::Result<(T, TempPath)> {
    let mut start = helper(target);
    start.push("-");
    let mut reason = None;
    let made = Builder::new()
        .prefix(&start)
        .suffix(".tmp")
        .make_in(folder(target), |path| make(path).inspect_err(|e| reason = e.raw_os_error()));
    let made = made.map_err(|e| reason.map_or_else(|| e.kind().into(), io::Error::from_raw_os_error))?;
    Ok(made.into_parts())
}

#[cfg(unix)]
fn create(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path, _: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// A file of a folder without a name, where there are such files.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path, mode: u32) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::from_raw_mode(mode)).map(File::from).ok()
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path, _: u32) -> Option<File> {
    None
}

#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    use std::os::fd::AsRawFd;
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(Into::into)
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
