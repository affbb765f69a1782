//! Compiled kernels on disk, so that a process need not compile what another one did: a file for each source, target
//! and compiler. A file says what it was made of and is compared with that; whatever is wrong with it, it is made
//! again.

use super::compile::Target;
use crc32fast::hash;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Of every file, with the version of its layout.
const MAGIC: &[u8; 8] = b"TTNCUDA1";

/// What code is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made<'a> {
    pub source: &'a str,
    pub target: Target,
    /// The compiler's version.
    pub compiler: (i32, i32),
}

impl Made<'_> {
    /// All of it, to be compared.
    fn key(&self) -> String {
        let (major, minor) = self.compiler;
        format!("{} NVRTC {major}.{minor} titans {}\n{}", self.target, env!("CARGO_PKG_VERSION"), self.source)
    }

    fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-{:08x}.kernels", self.target, hash(self.key().as_bytes())))
    }

    /// The code that is kept in a folder; none where there is none, or where the file is not what it should be.
    pub fn kept(&self, folder: &Path) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.file(folder)).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        if hash(rest) != u32::from_le_bytes(*sum) {
            return None;
        }
        let (len, rest) = rest.split_first_chunk::<8>()?;
        let (key, code) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        (key == self.key().as_bytes()).then(|| code.to_vec())
    }

    /// Keeps code. A folder that cannot be written is no error: the code is made again the next time. The file has no
    /// name until it is whole, so that another process never sees a part of it.
    pub fn keep(&self, folder: &Path, code: &[u8]) -> std::io::Result<()> {
        let key = self.key();
        let body = [&(key.len() as u64).to_le_bytes()[..], key.as_bytes(), code].concat();
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&[MAGIC, &hash(&body).to_le_bytes()[..], &body].concat())?;
        file.persist(self.file(folder))?;
        Ok(())
    }
}

/// `titans/kernels` in the user's folder for caches (`XDG_CACHE_HOME`, or `.cache` at home); none where neither is
/// known.
pub(super) fn folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("titans").join("kernels"))
}

#[cfg(test)]
mod tests {
    use super::Made;
    use crate::device::cuda::compile::Target;

    const MADE: Made<'_> = Made { source: "KERNEL f()", target: Target::Code(90), compiler: (13, 0) };

    #[test]
    fn what_is_kept_is_found_by_what_it_was_made_of_alone() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("a/b");
        assert_eq!(MADE.kept(&here), None);
        MADE.keep(&here, b"code").unwrap();
        MADE.keep(&here, b"code").unwrap();
        assert_eq!(MADE.kept(&here).as_deref(), Some(&b"code"[..]));
        for other in [
            Made { source: "KERNEL g()", ..MADE },
            Made { target: Target::Code(80), ..MADE },
            Made { target: Target::Intermediate(90), ..MADE },
            Made { compiler: (12, 9), ..MADE },
        ] {
            assert_eq!(other.kept(&here), None);
        }
        assert_eq!(std::fs::read_dir(&here).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        MADE.keep(folder.path(), b"code").unwrap();
        let file = MADE.file(folder.path());
        let whole = std::fs::read(&file).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&file, &whole[..len]).unwrap();
            assert_eq!(MADE.kept(folder.path()), None, "{len} bytes");
        }
        for i in 0..whole.len() {
            let mut other = whole.clone();
            other[i] ^= 1;
            std::fs::write(&file, &other).unwrap();
            assert_eq!(MADE.kept(folder.path()), None, "byte {i}");
        }
        MADE.keep(folder.path(), b"code").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error_of_keeping_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(MADE.keep(&file, b"code").is_err());
        assert_eq!(MADE.kept(&file), None);
    }
}
