//! The C and C++ compilers, the built libraries, and running commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in a workspace")
}

/// A path for a test's own file.
pub fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs a command and returns its output; a failure shows all it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}\n{out}{err}", output.status);
    out
}

/// The command named by an environment variable, or the usual one.
fn compiler(variable: &str, usual: &str, language: &str) -> Command {
    let name = std::env::var_os(variable).unwrap_or_else(|| OsString::from(usual));
    let version = Command::new(&name).arg("--version").output();
    assert!(
        version.is_ok_and(|o| o.status.success()),
        "no {language} compiler: {name:?} does not run. These tests compile {language} programs against libtitans: \
         install one (Debian: apt install build-essential) or name it in the variable {variable}"
    );
    Command::new(name)
}

/// A language standard, e.g. `c99`.
#[derive(Clone, Copy, Debug)]
pub struct Standard(pub &'static str);

impl Standard {
    /// The compiler with this standard, every warning an error, and our headers.
    pub fn compiler(self) -> Command {
        let cpp = self.0.starts_with("c++");
        self.by(if cpp { compiler("CXX", "c++", "C++") } else { compiler("CC", "cc", "C") })
    }

    /// The same of this compiler.
    pub fn by(self, mut command: Command) -> Command {
        command.arg(format!("-std={}", self.0)).args(["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]);
        if self.0.starts_with("c++") {
            command.args(["-fno-exceptions", "-fno-rtti"]);
        }
        command.arg("-I").arg(root().join("include"));
        command
    }
}

/// Is a program installed here? Where it is not, the test says what it skips; with TITANS_REQUIRE_TOOLS set it fails.
pub fn is_here(name: &str) -> bool {
    let here = Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    if !here {
        let package = name.strip_suffix("++").unwrap_or(name); // clang++ is in clang
        assert!(std::env::var_os("TITANS_REQUIRE_TOOLS").is_none(), "{name} is missing: apt install {package}");
        println!("skipped: {name} is missing (apt install {package})");
    }
    here
}

/// The same for programs by which tests take long, valgrind and a second compiler: `.ci/run long` sets
/// TITANS_LONG_TESTS, and without it the test says what it leaves to that.
pub fn is_here_in_long_runs(name: &str) -> bool {
    let long = std::env::var_os("TITANS_LONG_TESTS").is_some();
    if !long {
        println!("skipped: {name} is left to `.ci/run long`, as it takes long");
    }
    long && is_here(name)
}

/// The folder with libtitans.a and the shared library that belong to this test.
pub fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let exe = std::env::current_exe().expect("the test has a path");
        let deps = exe.parent().expect("the test lies in a folder");
        let profile = deps.parent().expect("target/<profile>/deps");
        let complete = |folder: &&Path| folder.join("libtitans.a").exists() && folder.join(shared_name()).exists();
        if let Some(folder) = [deps, profile].iter().find(|f| complete(f)) {
            return folder.to_path_buf();
        }
        let name = profile.file_name().and_then(|n| n.to_str()).expect("a profile's name");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "titans-ffi", "--profile", if name == "debug" { "dev" } else { name }]);
        run(build.arg("--target-dir").arg(profile.parent().expect("target")).current_dir(root()));
        assert!(complete(&profile), "cargo built no libtitans in {}", profile.display());
        profile.to_path_buf()
    })
}

/// File name of the shared library.
pub fn shared_name() -> &'static str {
    if cfg!(target_os = "macos") { "libtitans.dylib" } else { "libtitans.so" }
}

/// A folder with the shared library under the names that linkers and loaders look for.
pub fn shared_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = temporary("shared");
        std::fs::create_dir_all(&folder).expect("a folder for the shared library");
        for name in [shared_name(), "libtitans.so.1"] {
            std::fs::copy(libraries().join(shared_name()), folder.join(name)).expect("copying the shared library");
        }
        folder
    })
}

/// The system's libraries that a program with the static library needs. What it does not call is left out of it: dozens
/// of programs of 46 MB each would be most of `target`.
pub fn system_libraries() -> &'static [&'static str] {
    if cfg!(target_os = "linux") {
        &["-Wl,--gc-sections", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"]
    } else {
        &["-lm"]
    }
}

/// The command `titans` of these sources and this profile.
#[cfg(feature = "host")]
pub fn titans() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let exe = std::env::current_exe().expect("the test has a path");
        let profile = exe.parent().and_then(Path::parent).expect("target/<profile>/deps");
        let name = profile.file_name().and_then(|n| n.to_str()).expect("a profile's name");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut build = Command::new(cargo);
        // As `cargo test --workspace` builds it for the command's own tests: then there is nothing left to do.
        build.args(["test", "--no-run", "--workspace", "--test", "cli"]);
        build.args(["--profile", if name == "debug" { "dev" } else { name }]);
        run(build.arg("--target-dir").arg(profile.parent().expect("target")).current_dir(root()));
        profile.join("titans")
    })
}
