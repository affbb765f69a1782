//! The programs of `tests/c`, compiled by C99, C11 and C++17, linked both ways, run, and run again under the address
//! and undefined-behaviour sanitizers.

use crate::tools::{Standard, libraries, root, run, shared_folder, system_libraries, temporary};
use std::process::Command;

/// How a program finds libtitans.
#[derive(Clone, Copy, Debug)]
enum Link {
    Static,
    Shared,
}

/// Compiles `source` with `extra` flags, links and runs it.
fn build_and_run(source: &str, standard: Standard, link: Link, extra: &[&str]) {
    let program = temporary(&format!("{source}-{}-{link:?}-{}", standard.0, extra.len()).replace('+', "p"));
    let mut compile = standard.compiler();
    compile.args(extra).arg(root().join("tests/c").join(source));
    match link {
        Link::Static => compile.arg(libraries().join("libtitans.a")).args(system_libraries()),
        Link::Shared => {
            let folder = shared_folder().display().to_string();
            compile.arg(format!("-L{folder}")).arg(format!("-Wl,-rpath,{folder}")).args(["-ltitans", "-lm"])
        }
    };
    run(compile.arg("-o").arg(&program));
    let mut command = Command::new(&program);
    command.env("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1").env("UBSAN_OPTIONS", "print_stacktrace=1");
    assert_eq!(run(&mut command), format!("{source}: all held\n"));
}

const SANITIZERS: [&str; 3] = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

#[test]
fn the_c_program_runs_with_both_libraries_as_c99_and_c11() {
    build_and_run("memory.c", Standard("c99"), Link::Static, &[]);
    build_and_run("memory.c", Standard("c11"), Link::Shared, &[]);
}

#[test]
fn the_cpp_program_runs_with_both_libraries_and_without_exceptions() {
    build_and_run("memory.cpp", Standard("c++17"), Link::Static, &[]);
    build_and_run("memory.cpp", Standard("c++17"), Link::Shared, &[]);
}

#[test]
fn the_programs_run_under_the_sanitizers() {
    build_and_run("memory.c", Standard("c11"), Link::Static, &SANITIZERS);
    build_and_run("memory.cpp", Standard("c++17"), Link::Static, &SANITIZERS);
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
