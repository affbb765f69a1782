//! The programs of `examples/cpp`: built by the compilers that are here, run on small models that these tests train,
//! and run again under the sanitizers and, by `.ci/run long`, under valgrind.

use crate::tools::{Standard, is_here_in_long_runs, libraries, root, run, system_libraries, temporary, titans};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds an example with `extra` flags.
fn built(name: &str, compiler: Option<&str>, standard: &str, extra: &[&str]) -> PathBuf {
    let program = temporary(&format!("example-{name}-{}-{standard}-{}", compiler.unwrap_or("cc"), extra.len()));
    let mut compile = match compiler {
        Some(compiler) => {
            let mut command = Command::new(compiler);
            let warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"];
            command.arg(format!("-std={standard}")).args(warnings).arg("-I").arg(root().join("include"));
            command
        }
        None => Standard("c++17").compiler(),
    };
    compile
        .args(["-O1", "-g", "-fexceptions"])
        .args(extra)
        .arg(root().join("examples/cpp").join(name).with_extension("cpp"));
    run(compile.arg(libraries().join("libtitans.a")).args(system_libraries()).arg("-o").arg(&program));
    program
}

/// A number behind a word of a text.
fn number(text: &str, after: &str) -> f64 {
    let rest = &text[text.find(after).unwrap_or_else(|| panic!("no `{after}` in: {text}")) + after.len()..];
    let end = rest.trim_start().find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(rest.len());
    rest.trim_start()[..end].trim_end_matches('.').parse().unwrap_or_else(|e| panic!("{after}: {e} in: {text}"))
}

fn sensor() -> PathBuf {
    root().join("examples/cpp/data/sensor.csv")
}

/// Logs of many machines, each with words of its own that come again in every line: what is worth remembering is what
/// this log says.
fn logs(mut seed: u64, count: usize, lines: usize) -> String {
    let syllables =
        ["ba", "do", "ke", "li", "mu", "na", "po", "re", "si", "tu", "va", "zo", "hel", "kar", "mon", "tis"];
    let mut draw = |n: usize| {
        // A linear congruential generator's upper bits.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    let mut text = String::new();
    for _ in 0..count {
        let mut word = || (0..2 + draw(3)).map(|_| syllables[draw(16)]).collect::<String>();
        let words = [word(), word(), word(), word(), word()];
        let [a, b, c, d, e] = &words;
        for line in 0..lines {
            text += &format!("{a} {line}: {b} {} of the {c} {d} at {} {e}\n", draw(9), 10 + draw(90));
        }
    }
    text
}

/// A run folder of text, trained for some steps on such logs.
fn text() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let (out, data) = (temporary("example-text"), temporary("logs.txt"));
        std::fs::write(&data, logs(1, 400, 8)).unwrap();
        let _ = std::fs::remove_dir_all(&out);
        let mut train = Command::new(titans());
        train.args(["train", "--task", "text", "--quiet", "--threads", "1", "--steps", "300", "--context", "128"]);
        train.args(["--blocks", "1", "--width", "32", "--heads", "2", "--head-width", "16", "--feed-forward", "64"]);
        run(train.arg("--data").arg(&data).arg("--out").arg(&out));
        out
    })
}

/// A run folder of numbers, trained on the temperatures of the sensor's first half.
fn numbers() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let (out, data) = (temporary("example-series"), temporary("first.csv"));
        let _ = std::fs::remove_dir_all(&out);
        let all = std::fs::read_to_string(sensor()).unwrap();
        let values: Vec<&str> = all.lines().filter_map(|line| line.split(',').nth(1)).take(1101).collect();
        std::fs::write(&data, values.join("\n") + "\n").unwrap();
        let mut train = Command::new(titans());
        train.args(["train", "--task", "series", "--quiet", "--threads", "1", "--steps", "200", "--context", "64"]);
        train.args(["--blocks", "1", "--width", "16", "--heads", "2", "--head-width", "8", "--feed-forward", "32"]);
        run(train.arg("--data").arg(&data).arg("--out").arg(&out));
        out
    })
}

/// Runs an example by each of the ways to run a program; under valgrind, which takes fifty times as long, with `few`,
/// of which only that it ends well is looked at.
fn each_way(name: &str, arguments: &[&OsStr], few: &[&OsStr], check: impl Fn(&str)) {
    check(&run(Command::new(built(name, None, "c++17", &[])).args(arguments)));
    let sanitized = built(name, None, "c++17", &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    let mut command = Command::new(sanitized);
    command.env("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1");
    check(&run(command.args(arguments)));
    if is_here_in_long_runs("clang++") {
        check(&run(Command::new(built(name, Some("clang++"), "c++20", &[])).args(arguments)));
    }
    if is_here_in_long_runs("valgrind") {
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
        // Under valgrind there is no AVX-512, and AVX2 gives the same bits.
        run(command.arg(built(name, None, "c++17", &[])).args(few));
    }
}

/// The first lines of a file, as one of its own.
fn first_lines(file: &Path, count: usize) -> PathBuf {
    let few = temporary(&format!("first-{count}-of-{}", file.file_name().unwrap().display()));
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(&few, text.split_inclusive('\n').take(count).collect::<String>()).unwrap();
    few
}

#[test]
fn associate_recalls_what_it_was_told() {
    each_way("associate", &[], &[], |said| assert!(number(said, "pairs:") < 1.0, "{said}"));
    let lines = std::fs::read_to_string(root().join("examples/cpp/associate.cpp")).unwrap().lines().count();
    assert!(lines <= 42, "thirty lines of code, and what includes and reports: found {lines}");
}

#[test]
fn anomaly_finds_the_faults_of_the_sensor() {
    let file = sensor();
    let few = first_lines(&file, 200);
    let arguments = |file| [file, "temperature".as_ref(), "--labels".as_ref(), "fault".as_ref()];
    each_way("anomaly", &arguments(file.as_os_str()), &arguments(few.as_os_str()), |said| {
        let (all, found) = (number(said, "\nof"), number(said, "surprise finds"));
        assert!(all == 12.0 && found >= 9.0 && found > number(said, "the distance from the mean"), "{said}");
    });
}

#[test]
fn document_costs_less_where_the_memory_learns_from_it() {
    let log = temporary("example-log.txt");
    std::fs::write(&log, logs(2, 1, 200)).unwrap();
    let few = first_lines(&log, 20);
    let arguments = |log| [text().as_os_str(), log, "40".as_ref()];
    each_way("document", &arguments(log.as_os_str()), &arguments(few.as_os_str()), |said| {
        let (still, learning, after) = (number(said, "half:"), number(said, "learning,"), number(said, "reads,"));
        assert!(still > learning + 0.05 && still > after + 0.05 && learning.min(after) > 1.0, "{said}");
        assert!(after < learning + 0.01, "the first half does no harm: {said}");
        assert!(said.contains("\nbefore: ") && said.contains("\nafter: "), "{said}");
    });
    // What fails is told once.
    let mut none = Command::new(built("document", None, "c++17", &[]));
    let output = none.args(["no-such-model".as_ref(), log.as_os_str()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.matches("no-such-model").count() == 1, "{said}");
}

#[test]
fn sessions_on_threads_are_those_of_one_after_another() {
    let arguments = |threads: &'static str| [text().as_os_str(), threads.as_ref()];
    let check = |said: &str| assert!(said.ends_with("the numbers of one after another\n"), "{said}");
    each_way("sessions", &arguments("4"), &arguments("2"), check);
    if is_here_in_long_runs("valgrind") {
        let mut command = Command::new("valgrind");
        let suppressions = root().join("tests/c_abi/helgrind.supp");
        command.args(["--tool=helgrind", "--quiet", "--error-exitcode=9"]);
        command.arg(format!("--suppressions={}", suppressions.display()));
        check(&run(command.arg(built("sessions", None, "c++17", &[])).args(arguments("2"))));
    }
}

#[test]
fn forecast_errs_less_while_it_learns() {
    let file = sensor();
    let few = first_lines(&file, 400);
    let arguments = |file| [numbers().as_os_str(), file, "temperature".as_ref()];
    each_way("forecast", &arguments(file.as_os_str()), &arguments(few.as_os_str()), |said| {
        let (with, without) = (number(said, "half:"), number(said, "writes,"));
        assert!(with > 0.0 && with < without, "{said}");
    });
}

/// A checker that sees nothing would be content with everything.
#[test]
fn helgrind_still_sees_races_of_a_program() {
    if !is_here_in_long_runs("valgrind") {
        return;
    }
    let (source, program) = (temporary("race.cpp"), temporary("race"));
    let text =
        "#include <thread>\nint x;\nint main() { std::thread a([] { x = 1; }); x = 2; a.join(); return x == 0; }\n";
    std::fs::write(&source, text).unwrap();
    run(Standard("c++17").compiler().args(["-g", "-O0"]).arg(&source).arg("-o").arg(&program));
    let mut command = Command::new("valgrind");
    command.args(["--tool=helgrind", "--quiet", "--error-exitcode=9"]);
    command.arg(format!("--suppressions={}", root().join("tests/c_abi/helgrind.supp").display()));
    let output = command.arg(&program).output().unwrap();
    assert_eq!(output.status.code(), Some(9), "a planted race went unnoticed");
}
