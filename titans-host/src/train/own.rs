//! One owner at a time of what is written again and again: a state file, a run folder.
//!
//! The lock is one of the system's (`flock`), on a small file beside what is owned, so that it ends with its process
//! however that ends. The file says who holds it and is removed at the end; one that a killed process left is taken
//! over.

use super::atomic;
use crate::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a lock's file begins with.
const MARK: &str = "titans, process ";
/// How often a lock is sought again that went away, or has no name in it yet.
const TRIES: usize = 100;

/// The right to write, until it is dropped.
#[derive(Debug)]
pub struct Owner {
    path: PathBuf,
    file: Option<File>,
    unlocked: Option<String>,
}

impl Owner {
    /// Owns a file, there yet or not; a link stands for its target.
    ///
    /// # Errors
    /// [`Error::Held`] naming who owns it; [`Error::Io`] when its folder cannot be written.
    pub fn of_file(path: &Path) -> Result<Self> {
        let target = atomic::target(path).map_err(|e| Error::io(path, "following its links", e))?;
        let owner = Self::take(path, &atomic::beside(&target, ".lock"))?;
        atomic::remove_strays(&target);
        Ok(owner)
    }

    /// Owns a folder that exists, in which it writes these files.
    ///
    /// # Errors
    /// As [`Owner::of_file`].
    pub fn of_folder(folder: &Path, files: &[&str]) -> Result<Self> {
        let owner = Self::take(folder, &folder.join(".titans.lock"))?;
        files.iter().for_each(|name| atomic::remove_strays(&folder.join(name)));
        Ok(owner)
    }

    /// Why nothing keeps another process away, where the file system knows no locks.
    pub fn unlocked(&self) -> Option<&str> {
        self.unlocked.as_deref()
    }

    fn take(what: &Path, lock: &Path) -> Result<Self> {
        let fail = |e| match lock.exists() {
            true => Error::io(lock, "opening the lock", e),
            false => Error::io(what, "making a lock beside it", e),
        };
        for _ in 0..TRIES {
            let (mut file, mine) = open(lock).map_err(fail)?;
            match file.try_lock() {
                Ok(()) if !same(&file, lock) => continue, // its owner removed it meanwhile
                Ok(()) if !mine => std::fs::remove_file(lock).map_err(fail)?, // of another user, who is gone
                Ok(()) => {
                    sign(&mut file, lock)?;
                    return Ok(Self { path: lock.into(), file: Some(file), unlocked: None });
                }
                Err(TryLockError::WouldBlock) => match holder(&mut file) {
                    Some(by) => return Err(Error::Held { path: what.into(), by }),
                    None => std::thread::sleep(Duration::from_millis(10)),
                },
                Err(TryLockError::Error(e)) => {
                    // What another process has signed stays: it may hold it all the same.
                    let by = holder(&mut file);
                    drop(file);
                    if by.is_none() {
                        let _ = std::fs::remove_file(lock);
                    }
                    let also = by.map_or(String::new(), |by| format!("; {by} may be writing it now"));
                    let unlocked = format!(
                        "{}: its file system knows no locks ({e}): nothing keeps a second process from writing it{also}",
                        what.display()
                    );
                    return Ok(Self { path: lock.into(), file: None, unlocked: Some(unlocked) });
                }
            }
        }
        Err(Error::Held { path: what.into(), by: "a process that does not say its name".into() })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Removed while it is held: who opened it meanwhile finds it gone, and looks again.
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens a lock's file, or makes it; whether it can be written. Neither a link nor anything else than a file is one.
fn open(lock: &Path) -> io::Result<(File, bool)> {
    let (file, mine) = match itself(OpenOptions::new().read(true).write(true).create(true).truncate(false)).open(lock) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied && lock.exists() => {
            (itself(OpenOptions::new().read(true)).open(lock)?, false)
        }
        opened => (opened?, true),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file; remove it"));
    }
    Ok((file, mine))
}

/// Follows no link, and waits for nobody at the other end of a pipe.
#[cfg(unix)]
fn itself(options: &mut OpenOptions) -> &mut OpenOptions {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
}

#[cfg(not(unix))]
fn itself(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Writes down who owns it. A file with something else in it is none of ours, and stays.
fn sign(file: &mut File, lock: &Path) -> Result<()> {
    let fail = |e| Error::io(lock, "writing the lock", e);
    let mut before = String::new();
    let foreign = Read::by_ref(file).take(256).read_to_string(&mut before).is_err()
        || !(before.is_empty() || before.starts_with(MARK));
    if foreign {
        return Err(Error::file(lock, "is in the place of a lock, and no lock of this program; remove it"));
    }
    let name = format!("{MARK}{} on {}\n", std::process::id(), host());
    let signed = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(name.as_bytes()))
        .and_then(|()| readable(file));
    signed.map_err(|e| {
        let _ = std::fs::remove_file(lock);
        fail(e)
    })
}

/// Whatever the umask: who is refused is to know by whom.
#[cfg(unix)]
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &File) -> io::Result<()> {
    Ok(())
}

/// Who holds a lock, once its file says so.
fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    Read::by_ref(file).take(256).read_to_string(&mut text).ok()?;
    let (name, _) = text.split_once('\n')?;
    name.starts_with(MARK).then(|| name.to_owned())
}

/// Whether a file is the one that `path` names.
#[cfg(unix)]
fn same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => place(open) == place(named),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "this machine".into())
}

#[cfg(test)]
mod tests {
    use super::{MARK, Owner};
    use std::path::Path;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn there_is_one_owner_who_is_named_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = Owner::of_file(&path).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let lock = std::fs::metadata(folder.path().join(".state.titans.lock")).unwrap();
            assert_eq!(lock.permissions().mode() & 0o777, 0o644, "others may read who it is");
        }
        assert_eq!(first.unlocked(), None);
        let error = Owner::of_file(&path).unwrap_err().to_string();
        assert!(error.contains("state") && error.contains(&format!("{MARK}{}", std::process::id())), "{error}");
        Owner::of_file(&folder.path().join("other")).unwrap();
        let whole = Owner::of_folder(folder.path(), &[]).unwrap();
        assert!(Owner::of_folder(folder.path(), &[]).is_err());
        drop((first, whole));
        assert_eq!(names(folder.path()), [""; 0]);
        // What a killed process left is taken over: its lock, and the file that it did not finish.
        std::fs::write(folder.path().join(".state.titans.lock"), format!("{MARK}1 on mars\n")).unwrap();
        std::fs::write(folder.path().join(".state.titans-x1.tmp"), "half").unwrap();
        std::fs::write(folder.path().join(".other.titans-x1.tmp"), "somebody's").unwrap();
        drop(Owner::of_file(&path).unwrap());
        assert_eq!(names(folder.path()), [".other.titans-x1.tmp"]);
        drop(Owner::of_folder(folder.path(), &["other"]).unwrap());
        assert_eq!(names(folder.path()), [""; 0]);
        let foreign = folder.path().join(".state.titans.lock");
        std::fs::write(&foreign, "letters").unwrap();
        assert!(Owner::of_file(&path).unwrap_err().to_string().contains("no lock of this program"));
        assert_eq!(std::fs::read(&foreign).unwrap(), b"letters");
    }

    #[test]
    #[cfg(unix)]
    fn what_lies_in_a_lock_s_place_and_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (lock, victim) = (folder.path().join(".state.titans.lock"), folder.path().join("victim"));
        std::fs::write(&victim, "").unwrap();
        std::os::unix::fs::symlink("victim", &lock).unwrap();
        assert!(Owner::of_file(&folder.path().join("state")).is_err());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "", "a link is not followed");
        std::fs::remove_file(&lock).unwrap();
        if !std::process::Command::new("mkfifo").arg(&lock).status().is_ok_and(|made| made.success()) {
            println!("no mkfifo here: pipes are not tried");
            return;
        }
        let error = Owner::of_file(&folder.path().join("state")).unwrap_err().to_string();
        assert!(error.contains(".state.titans.lock") && error.contains("no file"), "{error}");
    }

    #[test]
    fn of_many_at_once_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(owner) = Owner::of_file(&path) else { continue };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(owner);
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    #[cfg(unix)]
    fn links_share_their_target_s_owner() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("state"), folder.path().join("link"));
        std::os::unix::fs::symlink("state", &link).unwrap();
        let _owner = Owner::of_file(&link).unwrap();
        assert!(Owner::of_file(&path).unwrap_err().to_string().contains("state"));
        assert!(Owner::of_file(&folder.path().join("no/state")).unwrap_err().to_string().contains("no/state"));
    }
}
