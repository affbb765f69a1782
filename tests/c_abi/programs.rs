//! The programs of `tests/c`, compiled by every standard and compiler, linked both ways, run, and run again under the
//! address and undefined-behaviour sanitizers and valgrind.

use crate::streams::blocks::tiny;
use crate::streams::support::weights;
use crate::tools::{Standard, is_here_in_long_runs, libraries, root, run, shared_folder, system_libraries, temporary};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use titans_host::model::{Kind, ModelConfig};

/// How a program finds libtitans.
#[derive(Clone, Copy, Debug)]
enum Link {
    Static,
    Shared,
}

/// Compiles `source` with `extra` flags, links and runs it.
fn build_and_run(source: &str, standard: Standard, link: Link, extra: &[&str]) {
    let program = temporary(&format!("{source}-{}-{link:?}-{}", standard.0, extra.len()).replace('+', "p"));
    build(source, standard.compiler(), link, extra, &program);
    held(source, &mut Command::new(&program));
}

fn build(source: &str, mut compile: Command, link: Link, extra: &[&str], program: &Path) {
    compile.args(extra).arg(root().join("tests/c").join(source));
    match link {
        Link::Static => compile.arg(libraries().join("libtitans.a")).args(system_libraries()),
        Link::Shared => {
            let folder = shared_folder().display().to_string();
            compile.arg(format!("-L{folder}")).arg(format!("-Wl,-rpath,{folder}")).args(["-ltitans", "-lm"])
        }
    };
    run(compile.arg("-o").arg(program));
}

/// The blob of a small model, for the programs that want one.
fn blob() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = temporary("programs.titans");
        std::fs::write(&path, weights(&tiny(Kind::Mag)).bytes()).unwrap();
        path
    })
}

/// The blob of a small model of bytes, one for each program that runs: it writes beside it.
fn bytes(program: &Command) -> PathBuf {
    let name = format!("{:?}", program.get_args().last().unwrap_or(program.get_program()));
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let path = temporary(&format!("{name}.titans"));
    let config =
        ModelConfig { width: 8, blocks: 1, heads: 2, head_width: 4, feed_forward: 8, ..ModelConfig::default() };
    std::fs::write(&path, weights(&config).bytes()).unwrap();
    path
}

/// Runs it; it must say that all held.
fn held(source: &str, command: &mut Command) {
    if source.starts_with("stream") {
        command.arg(blob());
    }
    if source.starts_with("text") {
        command.arg(bytes(command));
    }
    command.env("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1").env("UBSAN_OPTIONS", "print_stacktrace=1");
    assert_eq!(run(command), format!("{source}: all held\n"));
}

const SANITIZERS: [&str; 3] = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

#[test]
fn the_c_program_runs_with_both_libraries_as_c99_and_c11() {
    build_and_run("memory.c", Standard("c99"), Link::Static, &[]);
    build_and_run("memory.c", Standard("c11"), Link::Shared, &[]);
    build_and_run("stream.c", Standard("c99"), Link::Static, &[]);
    build_and_run("stream.c", Standard("c11"), Link::Shared, &[]);
}

#[test]
fn the_cpp_program_runs_with_both_libraries_and_without_exceptions() {
    build_and_run("memory.cpp", Standard("c++17"), Link::Static, &[]);
    build_and_run("memory.cpp", Standard("c++17"), Link::Shared, &[]);
    build_and_run("stream.cpp", Standard("c++17"), Link::Static, &[]);
    build_and_run("stream.cpp", Standard("c++20"), Link::Shared, &[]);
    build_and_run("text.cpp", Standard("c++17"), Link::Shared, &[]);
}

#[test]
fn the_programs_run_under_the_sanitizers() {
    build_and_run("memory.c", Standard("c11"), Link::Static, &SANITIZERS);
    build_and_run("memory.cpp", Standard("c++17"), Link::Static, &SANITIZERS);
    build_and_run("stream.c", Standard("c11"), Link::Static, &SANITIZERS);
    build_and_run("stream.cpp", Standard("c++17"), Link::Static, &SANITIZERS);
    build_and_run("text.cpp", Standard("c++17"), Link::Static, &SANITIZERS);
}

/// The examples of the pages, as they stand there.
#[test]
fn the_examples_of_the_pages_print_what_these_say() {
    for (page, language, standard) in [("docs/ABI.md", "c", "c11"), ("README.md", "cpp", "c++17")] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let example = text.split_once(&format!("\n```{language}\n")).and_then(|(_, rest)| rest.split_once("\n```\n"));
        let source = temporary(&format!("shortest.{language}"));
        std::fs::write(&source, example.expect("an example").0.to_owned() + "\n").unwrap();
        let program = temporary(&format!("shortest-{language}"));
        // A path that is absolute stays what it is.
        build(&source.display().to_string(), Standard(standard).compiler(), Link::Static, &[], &program);
        assert_eq!(run(&mut Command::new(&program)), "0.3 -0.5 0.1 0.9\n", "{page}");
    }
}

#[test]
fn the_sanitizers_are_on() {
    let source = temporary("overflow.c");
    std::fs::write(&source, "int main(int c, char **v) { char b[4]; (void)v; b[c + 3] = 1; return b[c + 3]; }")
        .unwrap();
    let program = temporary("overflow");
    run(Standard("c11").compiler().args(SANITIZERS).arg(&source).arg("-o").arg(&program));
    let output = Command::new(&program).output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let found = errors.contains("AddressSanitizer") || errors.contains("out of bounds");
    assert!(!output.status.success() && found, "a planted overflow went unnoticed: {errors}");
}

/// Where the other compiler is installed, it takes the headers and programs too.
#[test]
fn clang_compiles_the_programs_too() {
    for (compiler, source, standard) in [
        ("clang", "stream.c", "c99"),
        ("clang", "memory.c", "c11"),
        ("clang++", "stream.cpp", "c++17"),
        ("clang++", "memory.cpp", "c++20"),
        ("clang++", "stream.cpp", "c++2b"),
        ("clang++", "text.cpp", "c++17"),
    ] {
        if !is_here_in_long_runs(compiler) {
            continue;
        }
        let program = temporary(&format!("{source}-{compiler}-{standard}").replace('+', "p"));
        build(source, Standard(standard).by(Command::new(compiler)), Link::Static, &[], &program);
        held(source, &mut Command::new(&program));
    }
}

#[test]
fn the_programs_run_under_valgrind() {
    if !is_here_in_long_runs("valgrind") {
        return;
    }
    for source in ["memory.c", "memory.cpp", "stream.c", "stream.cpp", "text.cpp"] {
        let program = temporary(&format!("{source}-valgrind"));
        let standard = Standard(if source.ends_with(".c") { "c11" } else { "c++17" });
        build(source, standard.compiler(), Link::Static, &["-g", "-O1"], &program);
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
        held(source, command.arg(&program));
    }
}
