use super::temporary::Temporary;
use super::{target, write};
use std::io::{self, Write};
use std::path::Path;

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

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}

#[test]
#[cfg(unix)]
fn a_file_s_mode_is_kept_and_a_new_one_is_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("file"), folder.path().join("other"));
    write(&path, "writing", |out| out.write_all(b"one")).unwrap();
    std::fs::write(&other, b"one").unwrap();
    assert_eq!(mode(&path), mode(&other), "by the umask");
    for private in [0o600, 0o640, 0o666, 0o444] {
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(private)).unwrap();
        write(&path, "writing", |out| out.write_all(b"two")).unwrap();
        assert_eq!(mode(&path), private);
    }
}

#[test]
#[cfg(unix)]
fn links_are_followed_also_where_nothing_is_yet() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::create_dir(here.join("store")).unwrap();
    symlink("store/b", here.join("a")).unwrap();
    symlink("a", here.join("second")).unwrap();
    for text in ["one", "two"] {
        write(&here.join("second"), "writing", |out| out.write_all(text.as_bytes())).unwrap();
        assert_eq!(std::fs::read_link(here.join("a")).unwrap(), Path::new("store/b"));
        let file = std::fs::symlink_metadata(here.join("store/b")).unwrap();
        assert!(file.is_file() && std::fs::read(here.join("store/b")).unwrap() == text.as_bytes());
    }
    assert_eq!(std::fs::read_dir(here.join("store")).unwrap().count(), 1);
    symlink("no/where", here.join("broken")).unwrap();
    assert!(write(&here.join("broken"), "writing", |_| Ok(())).unwrap_err().to_string().contains("broken"));
    symlink("x", here.join("y")).unwrap();
    symlink("y", here.join("x")).unwrap();
    let error = write(&here.join("x"), "writing", |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("symbolic links"), "{error}");
    assert_eq!(target(&here.join("new")).unwrap(), here.join("new"));
}

/// Whatever the file system offers: files without a name at first, with one from the beginning, and copies of the
/// former.
#[test]
fn every_kind_of_temporary_file_ends_under_its_name_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n".repeat(240));
    for kind in 0..3 {
        let text = format!("kind {kind}");
        let mut temporary = Temporary::of_kind(kind, &path).unwrap();
        temporary.file().write_all(text.as_bytes()).unwrap();
        assert!(!path.exists() || std::fs::read(&path).unwrap() != text.as_bytes());
        temporary.persist(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), text.as_bytes());
        drop(Temporary::of_kind(kind, &path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "kind {kind}");
    }
    let missing = folder.path().join("no").join("file");
    let error = Temporary::beside(&missing, true).err().unwrap();
    assert!(error.raw_os_error().is_some(), "the system's own reason: {error}");
}
