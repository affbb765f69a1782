//! Which checkpoint of a run is meant: its best one, its latest one, or a file.

use super::checkpoint::{BEST, LATEST};
use crate::{Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A checkpoint of a run, as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with the lowest validation loss, [`BEST`].
    Best,
    /// The one that training goes on from, [`LATEST`].
    Latest,
    /// A file, in the run's folder if there is one of that name, else from the current folder.
    File(PathBuf),
}

impl From<OsString> for Which {
    /// `best`, `latest`, or the name of a file (`./best` for one of that name).
    fn from(text: OsString) -> Self {
        match text.to_str() {
            Some("best") => Self::Best,
            Some("latest") => Self::Latest,
            _ => Self::File(text.into()),
        }
    }
}

/// Where the checkpoint lies that a run and a choice name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What it is; a file where the run itself was named by one.
    pub which: Which,
    /// Nobody chose, and no validation has either: it is the latest one, in the place of the best.
    pub for_want_of_best: bool,
}

/// The checkpoint that `run` stands for: of a folder the one that is `asked` for, else its best one, else its latest
/// one while no validation has chosen a best; of anything else that file.
///
/// # Errors
/// [`Error::Usage`] when one is asked for of a run that is a file; [`Error::File`] when the run, or that checkpoint of
/// it, is not there.
pub fn find(run: &Path, asked: Option<&Which>) -> Result<Found> {
    if !run.is_dir() {
        return match asked {
            None => Ok(Found { path: run.into(), which: Which::File(run.into()), for_want_of_best: false }),
            Some(_) => Err(no_folder(run)),
        };
    }
    let (best, latest) = (run.join(BEST), run.join(LATEST));
    let found = |path, which| Ok(Found { path, which, for_want_of_best: false });
    match asked {
        None | Some(Which::Best) if best.exists() => found(best, Which::Best),
        None if latest.exists() => Ok(Found { path: latest, which: Which::Latest, for_want_of_best: true }),
        None => Err(Error::file(
            run,
            format!(
                "is no run: expected {BEST} or {LATEST} in it, found neither; name a folder of `titans train`, or a file"
            ),
        )),
        Some(Which::Best) => Err(Error::file(
            best,
            "expected the run's best checkpoint, found none: no validation has chosen one yet; `latest` is the last one saved",
        )),
        Some(Which::Latest) if latest.exists() => found(latest, Which::Latest),
        Some(Which::Latest) => {
            Err(Error::file(latest, "expected the run's latest checkpoint, found none; check the path"))
        }
        Some(Which::File(name)) => {
            let places = [run.join(name), name.clone()];
            match places.into_iter().find(|place| place.exists() && !place.is_dir()) {
                Some(path) => found(path, Which::File(name.clone())),
                None => Err(Error::file(
                    name,
                    format!(
                        "expected `best`, `latest` or a checkpoint's file, found none of that name in {} nor from the current \
                         folder; check the name",
                        run.display()
                    ),
                )),
            }
        }
    }
}

/// A checkpoint of a run is asked for, and the run is no folder.
fn no_folder(run: &Path) -> Error {
    if !run.exists() {
        return Error::file(run, "expected a run folder, found nothing; check the path");
    }
    Error::usage(format!(
        "--checkpoint chooses among those of a run folder, and {} is a file: leave --checkpoint out, or name the folder",
        run.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::{BEST, LATEST, Which, find};
    use std::path::Path;

    fn which(name: &str) -> Which {
        Which::from(std::ffi::OsString::from(name))
    }

    #[test]
    fn a_run_is_its_best_checkpoint_and_its_latest_while_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let path = |asked: Option<&str>| find(run, asked.map(which).as_ref()).map(|found| found.path);
        let error = path(None).unwrap_err().to_string();
        assert!(error.contains(BEST) && error.contains(LATEST) && error.contains("neither"), "{error}");
        std::fs::write(run.join(LATEST), "1").unwrap();
        let found = find(run, None).unwrap();
        assert!(found.path == run.join(LATEST) && found.for_want_of_best, "{found:?}");
        let error = path(Some("best")).unwrap_err().to_string();
        assert!(error.contains(BEST) && error.contains("`latest`"), "one that is asked for is no other: {error}");
        std::fs::write(run.join(BEST), "2").unwrap();
        let found = find(run, None).unwrap();
        assert!(found.path == run.join(BEST) && !found.for_want_of_best, "{found:?}");
        assert_eq!(path(Some("best")).unwrap(), run.join(BEST));
        assert_eq!(path(Some("latest")).unwrap(), run.join(LATEST));
        std::fs::remove_file(run.join(LATEST)).unwrap();
        assert!(path(Some("latest")).unwrap_err().to_string().contains(LATEST));
    }

    #[test]
    fn a_file_is_sought_in_the_run_first() {
        let folder = tempfile::tempdir().unwrap();
        let (run, other) = (folder.path().join("run"), folder.path().join("other"));
        std::fs::create_dir_all(run.join("kept")).unwrap();
        std::fs::write(&other, "1").unwrap();
        let path = |name: &Path| find(&run, Some(&Which::File(name.into()))).map(|found| found.path);
        assert_eq!(path(&other).unwrap(), other);
        std::fs::write(run.join("at3"), "3").unwrap();
        assert_eq!(path(Path::new("at3")).unwrap(), run.join("at3"));
        for name in ["at4", "kept", ""] {
            let error = path(Path::new(name)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("check the name"), "{error}");
        }
        // `Cargo.toml` lies where tests run.
        assert_eq!(path(Path::new("Cargo.toml")).unwrap(), Path::new("Cargo.toml"));
        std::fs::write(run.join("Cargo.toml"), "").unwrap();
        assert_eq!(path(Path::new("Cargo.toml")).unwrap(), run.join("Cargo.toml"));
    }

    #[test]
    fn a_file_has_no_other_checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        assert_eq!(find(&file, None).unwrap().path, file, "reading it says what is wrong");
        assert!(find(&file, Some(&Which::Best)).unwrap_err().to_string().contains("check the path"));
        std::fs::write(&file, "1").unwrap();
        assert_eq!(find(&file, None).unwrap().path, file);
        for name in ["best", "latest", "x"] {
            let error = find(&file, Some(&which(name))).unwrap_err().to_string();
            assert!(error.contains("--checkpoint") && error.contains("is a file"), "{error}");
        }
    }
}
