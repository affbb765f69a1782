//! `ffi/install.sh`: what lies where, and that compilers, pkg-config and CMake find it. It installs the libraries that
//! cargo built for these tests; `.ci/install` builds its own, and looks at their sizes.

use crate::tools::{is_here, libraries, root, run, shared_name, temporary};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use titans::TITANS_ABI_VERSION;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The script, in a fresh prefix.
fn script(prefix: &Path) -> Command {
    drop(std::fs::remove_dir_all(prefix)); // of an earlier run, if there was one
    let mut command = Command::new(root().join("ffi/install.sh"));
    command.arg("--prefix").arg(prefix).arg("--libraries").arg(libraries()).env_remove("DESTDIR");
    command
}

/// An installation that several tests look at.
fn installed(name: &str, options: &[&str]) -> PathBuf {
    let prefix = temporary(&format!("installed-{name}"));
    run(script(&prefix).args(options));
    prefix
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn everything_lies_where_it_is_looked_for() {
    let prefix = installed("whole", &[]);
    let lib = prefix.join("lib");
    for file in ["include/titans.h", "include/titans.hpp", "include/titans/core.hpp", "lib/libtitans.a"] {
        assert!(prefix.join(file).is_file(), "no {file}");
    }
    for file in ["pkgconfig/titans.pc", "cmake/titans/titans-config.cmake", "cmake/titans/titans-config-version.cmake"]
    {
        let text = std::fs::read_to_string(lib.join(file)).expect(file);
        assert!(!text.contains('@') && !text.contains(prefix.to_str().unwrap()), "{file} is not relocatable:\n{text}");
        assert!(file.ends_with("config.cmake") || text.contains(VERSION), "{file}:\n{text}");
    }
    let real = format!("{}.{TITANS_ABI_VERSION}.{VERSION}", shared_name());
    let link = |name: &str| std::fs::read_link(lib.join(name)).expect(name);
    assert_eq!(link(&format!("libtitans.so.{TITANS_ABI_VERSION}")), Path::new(&real));
    assert_eq!(link("libtitans.so"), PathBuf::from(format!("libtitans.so.{TITANS_ABI_VERSION}")));
    let dynamic = run(Command::new("readelf").arg("-dW").arg(lib.join(real)));
    assert!(dynamic.contains(&format!("[libtitans.so.{TITANS_ABI_VERSION}]")), "{dynamic}");
}

#[test]
fn destdir_goes_before_every_path_and_into_no_file() {
    let (stage, prefix) = (temporary("stage"), "/opt/titans-test");
    drop(std::fs::remove_dir_all(&stage));
    run(script(Path::new(prefix)).args(["--libdir", "lib/some", "--static-only"]).env("DESTDIR", &stage));
    let inside = stage.join("opt/titans-test");
    assert!(inside.join("lib/some/libtitans.a").is_file() && !Path::new(prefix).exists());
    assert!(!inside.join("lib/some").join(shared_name()).exists(), "--static-only");
    let pc = std::fs::read_to_string(inside.join("lib/some/pkgconfig/titans.pc")).unwrap();
    assert!(pc.contains("${pcfiledir}/../../..") && !pc.contains("stage"), "{pc}");
}

#[test]
fn wrong_calls_say_what_to_do() {
    let call = |options: &[&str]| {
        let output = Command::new(root().join("ffi/install.sh")).args(options).output().unwrap();
        assert!(!output.status.success(), "{options:?}");
        said(&output)
    };
    assert!(call(&[]).contains("--prefix"));
    assert!(call(&["--prefix"]).contains("needs a value"));
    assert!(call(&["--prefix", "/tmp/x", "--sideways"]).contains("--help"));
    assert!(call(&["--prefix", "/tmp/x", "--libraries", "/nowhere"]).contains("no libtitans.a in /nowhere"));
    assert!(call(&["--prefix", "/tmp/x", "--target", "thumbv6m-none-eabi"]).contains("--features ''"));
    let help = Command::new(root().join("ffi/install.sh")).arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success() && text.contains("--static-only") && text.contains("DESTDIR"), "{text}");
}

/// Functions of the library among a file's names.
fn names(arguments: &[&str], file: &Path) -> Vec<String> {
    let out = run(Command::new("nm").args(arguments).arg(file));
    out.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_plugin_that_holds_the_library_exports_its_own_function_alone() {
    let prefix = installed("plugin", &["--static-only"]);
    let plugin = temporary("plugin.so");
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    cc.args(["-std=c11", "-shared", "-fPIC", "-I"])
        .arg(prefix.join("include"))
        .arg(root().join("tests/install/plugin.c"));
    run(cc.arg(prefix.join("lib/libtitans.a")).args(crate::tools::system_libraries()).arg("-o").arg(&plugin));
    assert_eq!(names(&["-D", "--defined-only"], &plugin), ["plugin_version"]);
    // In the archive nothing but the interface has a name for linkers.
    let global = names(&["-g", "--defined-only"], &prefix.join("lib/libtitans.a"));
    assert!(global.len() > 40 && global.iter().all(|name| name.starts_with("titans_")), "{global:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn pkg_config_finds_both_libraries() {
    if !is_here("pkg-config") {
        return;
    }
    let (shared, archive) = (&["--cflags", "--libs"][..], &["--static", "--cflags", "--libs"][..]);
    for (name, options, how, language, whole) in [
        ("pc-shared", &[][..], shared, ("CC", "cc", "-std=c11", "c"), false),
        ("pc-static", &["--static-only"], archive, ("CC", "cc", "-std=c11", "c"), false),
        // Nothing dynamic at all, the compiler's own libraries too.
        ("pc-whole-c", &["--static-only"], archive, ("CC", "cc", "-std=c11", "c"), true),
        ("pc-whole-cpp", &["--static-only"], archive, ("CXX", "c++", "-std=c++17", "cpp"), true),
    ] {
        let prefix = installed(name, options);
        let ask = |arguments: &[&str]| {
            let mut command = Command::new("pkg-config");
            run(command.args(arguments).arg("titans").env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")))
        };
        assert_eq!(ask(&["--modversion"]).trim(), VERSION);
        let flags = ask(how);
        let program = temporary(&format!("{name}-program"));
        let (variable, usual, standard, ending) = language;
        let mut cc = Command::new(std::env::var_os(variable).unwrap_or(usual.into()));
        cc.args(whole.then_some("-static")).arg(standard);
        cc.arg(root().join(format!("tests/install/consumer/main.{ending}"))).args(flags.split_whitespace());
        run(cc.arg(format!("-Wl,-rpath,{}", prefix.join("lib").display())).arg("-o").arg(&program));
        assert_eq!(run(&mut Command::new(&program)), format!("libtitans {VERSION}\n"));
        let needed = run(Command::new("readelf").arg("-dW").arg(&program));
        assert_eq!(needed.contains("libtitans.so"), options.is_empty(), "{needed}");
        assert_eq!(needed.contains("(NEEDED)"), !whole, "{needed}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn cmake_finds_both_libraries() {
    if !is_here("cmake") {
        return;
    }
    let prefix = installed("cmake", &[]);
    let build = temporary("cmake-build");
    drop(std::fs::remove_dir_all(&build));
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(root().join("tests/install/consumer")).arg("-B").arg(&build);
    run(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())));
    run(Command::new("cmake").arg("--build").arg(&build));
    for program in ["c_titans", "c_static", "cpp_titans", "cpp_static"] {
        assert_eq!(run(&mut Command::new(build.join(program))), format!("libtitans {VERSION}\n"), "{program}");
        let needed = run(Command::new("readelf").arg("-dW").arg(build.join(program)));
        assert_eq!(needed.contains("libtitans.so"), program.ends_with("titans"), "{program}:\n{needed}");
    }
    let text = std::fs::read_to_string(root().join("tests/install/consumer/CMakeLists.txt")).unwrap();
    let wrong = temporary("cmake-wrong");
    std::fs::create_dir_all(&wrong).unwrap();
    std::fs::write(wrong.join("CMakeLists.txt"), text.replace("find_package(titans 0.1", "find_package(titans 9.0"))
        .unwrap();
    let mut refused = Command::new("cmake");
    refused
        .arg("-S")
        .arg(&wrong)
        .arg("-B")
        .arg(wrong.join("build"))
        .arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()));
    let output = refused.output().unwrap();
    assert!(!output.status.success() && said(&output).contains(VERSION), "{}", said(&output));
}
