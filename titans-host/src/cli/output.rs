//! Standard output and standard error that may be closed or full, and files that appear whole or not at all.

use super::Failure;
use crate::error::{Error, plain, tidy};
use crate::task::TaskName;
use crate::train::atomic;
use serde::Serialize;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use titans_kernel::Choice;

/// Writes `text` and a line end to standard output.
pub fn print(text: impl Display) -> Result<(), Failure> {
    stdout_result(writeln!(std::io::stdout().lock(), "{text}"))
}

/// Writes `bytes` to standard output as they are, at once: streamed text.
pub fn stream(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    stdout_result(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Writes `value` as indented JSON to standard output.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::failed(format!("writing JSON: {e}")))?;
    print(text)
}

/// One line of a table, its fields quoted where they must be.
pub fn csv_line(fields: impl IntoIterator<Item = String>) -> Result<String, Failure> {
    let mut line = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    line.write_record(fields).map_err(|e| Failure::failed(format!("writing a row: {e}")))?;
    let line = line.into_inner().map_err(|e| Failure::failed(format!("writing a row: {e}")))?;
    Ok(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned())
}

/// A number with the digits that 32 bits hold, or with more where those are too few: it is too large for them, or so
/// far from 0 that they would round away what matters on a scale.
pub fn digits(x: f64, scale: f64) -> String {
    let short = x as f32;
    match (f64::from(short) - x).abs() <= scale / 65_536.0 {
        true => short.to_string(),
        false if short.is_finite() => x.to_string(),
        false => format!("{x:e}"),
    }
}

/// A number with four places, or by its power of ten where these would show 0 of what is none, or are beside the point.
pub fn places(x: f64) -> String {
    let size = x.abs();
    if size > 0.0 && !(0.000_05..1e7).contains(&size) { format!("{x:.3e}") } else { format!("{x:.4}") }
}

/// Writes a line to standard error; where nobody listens there is nobody to tell.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "titans: {}", tidy(text));
}

/// Names as a sentence lists them: `a, b or c`.
pub fn listed(names: &[&str], word: &str) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} {word} {last}", rest.join(", ")),
    }
}

/// Names of tasks, listed alike.
pub fn tasks(of: &[TaskName], word: &str) -> String {
    listed(&of.iter().map(|task| task.name()).collect::<Vec<_>>(), word)
}

/// Tells what is worth a word about files that were read.
pub fn tell<'a>(notes: impl IntoIterator<Item = &'a String>) {
    notes.into_iter().for_each(|note| complain(&plain(note)));
}

/// Writes text to standard error as it is.
pub fn complain_plainly(text: &str) {
    let _ = write!(std::io::stderr().lock(), "{text}");
}

/// Refuses files of which one would be written over another: what is read, and everything that is written, each with
/// its name.
///
/// # Errors
/// [`Error::Usage`] with both names.
pub fn expect_distinct(files: &[(&str, &Path)]) -> Result<(), Error> {
    for (i, (name, path)) in files.iter().enumerate() {
        let Some(here) = place(path) else { continue };
        if let Some((other, _)) = files[..i].iter().find(|(_, other)| place(other).as_ref() == Some(&here)) {
            return Err(Error::usage(format!(
                "{other} and {name} are the same file, {}: expected another one to write",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Refuses a file whose folder is not there, before anything is computed for it.
///
/// # Errors
/// [`Error::File`] with the option and the path.
pub fn expect_folder(name: &str, path: &Path) -> Result<(), Error> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(Error::file(path, format!("{name}: expected a folder that is there, found none: {}", folder.display())))
        }
        _ => Ok(()),
    }
}

/// Where a file is or will be; nothing for devices and pipes, which many may write.
fn place(path: &Path) -> Option<PathBuf> {
    let target = atomic::target(path).ok()?;
    match std::fs::metadata(&target) {
        Ok(meta) if !meta.is_file() => None,
        Ok(_) => Some(target),
        Err(_) => {
            let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
            Some(std::fs::canonicalize(folder.unwrap_or(Path::new("."))).ok()?.join(target.file_name()?))
        }
    }
}

fn stdout_result(result: std::io::Result<()>) -> Result<(), Failure> {
    result.map_err(|e| match e.kind() {
        ErrorKind::BrokenPipe => Failure::closed(),
        _ => Failure::failed(format!("writing to standard output: {e}")),
    })
}

/// Writes all of `bytes`; as [`write_with`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_with(path, |out| out.write_all(bytes).map_err(|e| Error::io(path, "writing the output", e)))
}

/// Writes a file so that `path` holds either its old content or all that `content` writes: through a temporary file in
/// the same folder and a rename. A device or a pipe (`/dev/stdout`) is written directly.
pub fn write_with<R>(path: &Path, content: impl FnOnce(&mut dyn Write) -> Result<R, Error>) -> Result<R, Error> {
    const DOING: &str = "writing the output";
    // Not by the end of its links: those of an open pipe (`/dev/stdout`) name nothing.
    let meta = std::fs::metadata(path).ok();
    if meta.as_ref().is_some_and(std::fs::Metadata::is_dir) {
        return Err(Error::file(path, "is a folder; name a file to write"));
    }
    if meta.is_some_and(|meta| !meta.is_file()) {
        let fail = |e| Error::io(path, DOING, e);
        let mut device = BufWriter::new(OpenOptions::new().write(true).open(path).map_err(fail)?);
        let answer = content(&mut device)?;
        return device.flush().map_err(fail).map(|()| answer);
    }
    let mut answer = None;
    let written = atomic::write(path, DOING, |out| {
        let result = content(out);
        let go_on = if result.is_ok() { Ok(()) } else { Err(std::io::Error::other("the content failed")) };
        answer = Some(result);
        go_on
    });
    match answer {
        Some(Err(error)) => Err(error),
        Some(Ok(answer)) => written.map(|()| answer),
        None => Err(written.err().unwrap_or_else(|| Error::file(path, "nothing was written"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{expect_distinct, places, write_whole};

    #[test]
    fn four_places_are_for_numbers_that_they_show() {
        let all = [0.0, -1.5, 0.000_049_9, 123_456.789, -2.5e7, f64::NAN].map(places);
        assert_eq!(all, ["0.0000", "-1.5000", "4.990e-5", "123456.7890", "-2.500e7", "NaN"]);
    }

    #[test]
    fn files_that_are_one_are_refused_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, again] = ["a", "b", "./a"].map(|name| folder.path().join(name));
        expect_distinct(&[("IN", &a), ("OUT", &b)]).unwrap();
        let error = expect_distinct(&[("IN", &a), ("OUT", &b), ("--table", &again)]).unwrap_err().to_string();
        assert!(error.contains("IN and --table"), "{error}");
        std::fs::write(&a, "x").unwrap();
        assert!(expect_distinct(&[("IN", &a), ("OUT", &again)]).is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("a", &b).unwrap();
            assert!(expect_distinct(&[("IN", &a), ("OUT", &b)]).is_err());
            expect_distinct(&[("IN", "/dev/null".as_ref()), ("OUT", "/dev/null".as_ref())]).unwrap();
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_found_before_anything_is_computed() {
        let folder = tempfile::tempdir().unwrap();
        super::expect_folder("--picture", &folder.path().join("out.svg")).unwrap();
        super::expect_folder("--picture", "out.svg".as_ref()).unwrap();
        let error = super::expect_folder("--picture", &folder.path().join("none/out.svg")).unwrap_err().to_string();
        assert!(error.contains("--picture") && error.contains("none/out.svg"), "{error}");
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert!(write_whole(folder.path(), b"x").unwrap_err().to_string().contains("is a folder"));
        assert!(write_whole(&path.join("below-a-file"), b"x").is_err());
        assert!(write_whole(std::path::Path::new("/dev/null"), b"x").is_ok() || cfg!(not(unix)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
