//! Where NVIDIA's libraries are looked for: one search, whose result `titans devices` prints.

use super::symbols::Symbols;
use libloading::Library;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Major versions that are known to work, the newest first.
pub(super) const MAJORS: [i32; 2] = [13, 12];

/// A library that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryFound {
    /// What it is called, e.g. `cuBLAS`.
    pub name: &'static str,
    /// Major and minor version, as the library says it.
    pub version: (i32, i32),
    /// The file, or the name by which the system's loader found it.
    pub place: String,
}

impl std::fmt::Display for LibraryFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}.{} ({})", self.name, self.version.0, self.version.1, self.place)
    }
}

/// What is looked for.
pub(super) struct Wanted<T> {
    /// For people.
    pub name: &'static str,
    /// The file's name between `lib` and `.so`.
    pub stem: &'static str,
    /// Files beside it that it needs, by the beginning of their names: they are loaded before it.
    pub needs: &'static str,
    /// What `pip install` is given, but for the version: `nvidia-cublas`.
    pub package: &'static str,
    /// Major and minor version of a loaded library.
    pub version: fn(&T) -> Option<(i32, i32)>,
}

impl<T: Symbols> Wanted<T> {
    /// The first library of a version that works with a driver whose own major version is `most`.
    ///
    /// # Errors
    /// What is missing and what to install, and why each one that was found was not taken.
    pub fn find(&self, most: i32) -> Result<(T, LibraryFound), String> {
        let mut refused = Vec::new();
        for candidate in self.candidates(most) {
            match self.open(&candidate, most) {
                Ok(found) => return Ok(found),
                Err(None) => {}
                Err(Some(reason)) => refused.push(format!("{}: {reason}", candidate.display())),
            }
        }
        let majors = MAJORS.into_iter().filter(|&major| major <= most).map(|major| major.to_string());
        let majors = majors.collect::<Vec<_>>().join(" or ");
        let places = match own_folder() {
            Some(folder) => format!("in TITANS_CUDA_DIR ({}), and nowhere else while that is set", folder.display()),
            None => {
                "by the system's loader, in the toolkit's folders, in those of the active Python environment".to_owned()
            }
        };
        let mut text = format!(
            "{} {majors} (lib{}.so) was not found {places}; install the CUDA toolkit {majors}, or `pip install {}`",
            self.name,
            self.stem,
            self.package_for(most)
        );
        for reason in refused {
            text.push_str("; ");
            text.push_str(&reason);
        }
        Err(text)
    }

    /// The package by its name of today (from 13 on it has no suffix).
    fn package_for(&self, most: i32) -> String {
        if most >= 13 { self.package.to_owned() } else { format!("{}-cu12", self.package) }
    }

    /// Files, and names for the loader, in the order in which they are tried.
    fn candidates(&self, most: i32) -> Vec<PathBuf> {
        let stem = self.stem;
        let names: Vec<String> = MAJORS
            .into_iter()
            .filter(|&major| major <= most)
            .map(|major| format!("lib{stem}.so.{major}"))
            .chain([format!("lib{stem}.so")])
            .collect();
        let within = |folder: PathBuf| names.iter().map(move |name| folder.join(name)).filter(|file| file.exists());
        if let Some(folder) = own_folder() {
            return below(&folder).into_iter().flat_map(within).collect();
        }
        let by_loader = names.iter().map(PathBuf::from);
        let elsewhere = toolkits().into_iter().flat_map(|folder| below(&folder)).chain(python());
        by_loader.chain(elsewhere.flat_map(within)).collect()
    }

    /// Opens one candidate. `None`: there is no such library.
    fn open(&self, file: &Path, most: i32) -> Result<(T, LibraryFound), Option<String>> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            self.open_needs(folder);
        }
        // SAFETY: runs the initialisers of a library by its public name, from where the system or the user keeps it.
        let library = match unsafe { Library::new(file) } {
            Ok(library) => library,
            // A file that is there and is no library is worth a word; a name that the loader does not know is not.
            Err(error) => return Err(folder.map(|_| error.to_string())),
        };
        let symbols = T::load(library).map_err(|symbol| Some(format!("it has no function {symbol}")))?;
        let version = (self.version)(&symbols).ok_or_else(|| Some("it does not say its version".to_owned()))?;
        if !MAJORS.contains(&version.0) || version.0 > most {
            let (major, minor) = version;
            return Err(Some(format!(
                "it is of version {major}.{minor}; expected {} at the most",
                most.min(MAJORS[0])
            )));
        }
        Ok((symbols, LibraryFound { name: self.name, version, place: file.display().to_string() }))
    }

    /// What a library needs from its own folder is loaded first: a folder of Python's is not known to the loader.
    fn open_needs(&self, folder: &Path) {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let is_needed = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with(self.needs));
        let mut needed: Vec<_> = files.map(|file| file.file_name()).filter(is_needed).collect();
        needed.sort();
        for name in needed {
            // SAFETY: as above; it is never unloaded.
            if let Ok(library) = unsafe { Library::new(folder.join(name)) } {
                std::mem::forget(library);
            }
        }
    }
}

/// Where the user says that the libraries are: then they are looked for there alone.
fn own_folder() -> Option<PathBuf> {
    std::env::var_os("TITANS_CUDA_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// A folder of libraries itself, or the root of a toolkit.
fn below(root: &Path) -> Vec<PathBuf> {
    let inside = ["", "lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"];
    inside.into_iter().map(|inside| root.join(inside)).filter(|folder| folder.is_dir()).collect()
}

/// Roots of toolkits: by environment, and where installers put them, the newest first.
fn toolkits() -> Vec<PathBuf> {
    let named = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let versioned = |major: i32| folders(Path::new("/usr/local"), &format!("cuda-{major}"));
    let usual = ["/usr/local/cuda", "/opt/cuda"].into_iter().map(PathBuf::from);
    named.chain(usual).chain(MAJORS.into_iter().flat_map(versioned)).collect()
}

/// `nvidia/*/lib` of the active Python environment, and of the user's own packages.
fn python() -> Vec<PathBuf> {
    let roots = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let own = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local"));
    roots
        .chain(own)
        .flat_map(|root| folders(&root.join("lib"), "python3"))
        .flat_map(|version| folders(&version.join("site-packages/nvidia"), ""))
        .map(|package| package.join("lib"))
        .filter(|folder| folder.is_dir())
        .collect()
}

/// Folders in `parent` whose names begin so, in falling order of their names.
fn folders(parent: &Path, beginning: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let is_ours =
        |entry: &std::fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.starts_with(beginning));
    let mut found: Vec<_> = entries.filter(is_ours).map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}
