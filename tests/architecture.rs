//! Who may use whom, held to by reading the sources: `docs/ARCHITECTURE.md`, section "Who may use whom".

#[path = "architecture/source.rs"]
mod source;

use std::collections::BTreeMap;

use source::{Source, code, files, names_after, without_tests};

/// A crate's rooms from the ground up: each uses rooms of the floors below it, and itself.
struct House {
    folder: &'static str,
    floors: &'static [&'static [&'static str]],
}

const KERNEL: House = House {
    folder: "titans-kernel/src/",
    floors: &[
        &["part"],
        &["error", "scalar"],
        &["choice", "crc", "header"],
        &["view"],
        &["scratch"],
        &["arithmetic"],
        &["arch"],
        &["ops"],
        &["memory"],
        &["block"],
        &["model"],
    ],
};

const HOST: House = House {
    folder: "titans-host/src/",
    floors: &[
        &["error"],
        &["device"],
        &["tape", "data"],
        &["model"],
        &["array"],
        &["train"],
        &["task"],
        &["selftest"],
        &["cli"],
        &["bin"],
    ],
};

impl House {
    fn floor(&self, room: &str) -> Option<usize> {
        self.floors.iter().position(|floor| floor.contains(&room))
    }

    /// The room a file lies in; none for `lib.rs`.
    fn room<'a>(&self, path: &'a str) -> Option<&'a str> {
        let inside = path.strip_prefix(self.folder)?;
        let room = inside.split('/').next()?.trim_end_matches(".rs");
        (room != "lib").then_some(room)
    }

    /// Every room that a file's code names: by `crate::`, or by as many `super::` as lead to the crate's root.
    fn rooms_used(&self, file: &Source, reexports: &[(String, String)]) -> Vec<String> {
        let inside = file.path.strip_prefix(self.folder).unwrap_or(&file.path);
        let code = without_tests(&code(&file.text));
        let depth = inside.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
        let mut names = names_after(&code, "crate::");
        names.extend(names_after(&code, &"super::".repeat(depth)).into_iter().filter(|n| n != "super"));
        if inside.starts_with("bin/") {
            names.extend(names_after(&code, "titans_host::"));
        }
        let room_of = |name: String| reexports.iter().find(|(n, _)| *n == name).map_or(name, |(_, room)| room.clone());
        names.into_iter().map(room_of).collect()
    }

    fn violations(&self, all: &[Source]) -> Vec<String> {
        let root = all.iter().find(|f| f.path == format!("{}lib.rs", self.folder));
        let reexports = root.map(|f| reexports(&code(&f.text))).unwrap_or_default();
        let mut wrong = vec![];
        for file in all {
            let Some(room) = self.room(&file.path) else { continue };
            let Some(floor) = self.floor(room) else {
                wrong.push(format!(
                    "{}: the room `{room}` has no floor: give it one in tests/architecture.rs",
                    file.path
                ));
                continue;
            };
            for used in self.rooms_used(file, &reexports) {
                match self.floor(&used) {
                    Some(below) if below < floor || used == room => {}
                    Some(_) => wrong.push(format!("{}: `{room}` uses `{used}`, which is not below it", file.path)),
                    None => wrong.push(format!("{}: `{used}` is no room of {}", file.path, self.folder)),
                }
            }
        }
        wrong
    }
}

/// (name, room) of every `pub use room::{names}` in a crate's root.
fn reexports(root: &str) -> Vec<(String, String)> {
    let mut all = vec![];
    for line in root.split(';').filter_map(|item| item.trim().strip_prefix("pub use ")) {
        if let Some((room, names)) = line.split_once("::") {
            let names = names.trim_matches(['{', '}']).split(',').map(|n| n.trim().to_owned());
            all.extend(names.map(|n| (n, room.to_owned())));
        }
    }
    all
}

/// Is this a file of unit tests? They may look at any room.
fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/") || path.ends_with("/check.rs")
}

fn library() -> Vec<Source> {
    let folders = ["titans-kernel/src", "titans-host/src", "ffi/src"];
    folders.iter().flat_map(|f| files(f, &["rs"])).filter(|f| !is_test(&f.path)).collect()
}

fn in_code(file: &Source, words: &[&str]) -> Vec<String> {
    let code = without_tests(&code(&file.text));
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone = |word: &str| {
        code.match_indices(word)
            .any(|(at, _)| !code[..at].ends_with(part_of_word) && !code[at + word.len()..].starts_with(part_of_word))
    };
    words.iter().filter(|w| stands_alone(w)).map(|w| format!("{}: `{w}`", file.path)).collect()
}

/// The devices do not know each other, and nobody between them and the command knows either.
fn devices_named(all: &[Source]) -> Vec<String> {
    let host = all.iter().filter(|f| f.path.starts_with(HOST.folder));
    host.flat_map(|file| match HOST.room(&file.path) {
        _ if ["mod.rs", "plan.rs", "plan/ops.rs"].iter().any(|f| file.path == format!("{}device/{f}", HOST.folder)) => {
            vec![]
        }
        Some("device") if file.path.contains("/cpu/") => in_code(file, &["cuda", "Cuda"]),
        Some("device") if file.path.contains("/cuda/") => in_code(file, &["cpu", "Cpu"]),
        Some("cli" | "selftest" | "bin") | None => vec![],
        Some(_) => in_code(file, &["cpu", "Cpu", "cuda", "Cuda"]),
    })
    .collect()
}

const TALK: [&str; 9] =
    ["println!", "eprintln!", "print!", "eprint!", "dbg!", "stdout()", "stderr()", "process::exit", "process::abort"];

/// Nothing below the command prints or ends the process.
fn talk(all: &[Source]) -> Vec<String> {
    let quiet =
        |f: &&Source| !f.path.starts_with("titans-host/src/cli/") && !f.path.starts_with("titans-host/src/bin/");
    all.iter().filter(quiet).flat_map(|f| in_code(f, &TALK)).collect()
}

/// `unsafe` lives in the kernel's instructions, in the CUDA device and in the C interface, and nowhere else.
fn unsafe_code(all: &[Source]) -> Vec<String> {
    const ROOMS: [&str; 3] = ["titans-kernel/src/arch/", "titans-host/src/device/cuda/", "ffi/src/"];
    let safe = |f: &&Source| !ROOMS.iter().any(|room| f.path.starts_with(room));
    all.iter().filter(safe).flat_map(|f| in_code(f, &["unsafe"])).collect()
}

/// The C interface stands on the kernel alone, but for one room, which nothing of it but the crate's root names.
fn ffi_uses_host(all: &[Source]) -> Vec<String> {
    const ROOM: &str = "ffi/src/host/";
    let below = |f: &&Source| f.path.starts_with("ffi/") && !f.path.starts_with(ROOM);
    let named = |f: &Source| {
        let inside = names_after(&without_tests(&code(&f.text)), "crate::").contains(&"host".to_owned());
        (f.path != "ffi/src/lib.rs" && inside).then(|| format!("{}: `crate::host`", f.path))
    };
    all.iter().filter(below).flat_map(|f| in_code(f, &["titans_host"]).into_iter().chain(named(f))).collect()
}

/// Where a type may have the name of another one of its crate: what clap fills and what a verb prints have the same
/// names in every verb, and the streams of a memory and of a model are the public ones of their rooms.
const SHARED: [(&str, &str); 3] =
    [("titans-host/src/cli/", "Args"), ("titans-host/src/cli/", "Report"), ("titans-kernel/src/model/", "Stream")];

/// The types and traits that a file declares.
fn declared(file: &Source) -> Vec<String> {
    let code = without_tests(&code(&file.text));
    let outermost: String = code.lines().filter(|line| !line.starts_with(' ')).flat_map(|line| [line, "\n"]).collect();
    let named = ["struct ", "enum ", "trait "].iter().flat_map(|word| names_after(&code, word));
    named.chain(names_after(&outermost, "type ")).collect() // associated types are indented
}

/// One name, one type: within a crate a reader need not ask which of two is meant.
fn names_shared(all: &[Source]) -> Vec<String> {
    let mut owners = BTreeMap::new();
    let mut wrong = vec![];
    for file in all {
        let owner = file.path.split('/').next().unwrap_or_default();
        for name in declared(file) {
            if SHARED.iter().any(|&(folder, shared)| name == shared && file.path.starts_with(folder)) {
                continue;
            }
            if let Some(other) = owners.insert((owner, name.clone()), &file.path) {
                wrong.push(format!("{}: `{name}` is a type of {other} too: call one of them what it is", file.path));
            }
        }
    }
    wrong
}

const LONGEST: usize = 400;

fn too_long(all: &[Source]) -> Vec<String> {
    let lines = all.iter().map(|f| (f, f.text.lines().count()));
    lines.filter(|&(_, n)| n > LONGEST).map(|(f, n)| format!("{}: {n} lines, {LONGEST} at most", f.path)).collect()
}

/// Most characters of a line of prose.
const WIDEST: usize = 120;

/// Lines of prose that are longer; tables and code may be.
fn too_wide(pages: &[Source]) -> Vec<String> {
    let mut wrong = vec![];
    for page in pages {
        let mut code = false;
        for (i, line) in page.text.lines().enumerate() {
            code ^= line.trim_start().starts_with("```");
            let prose = !code && !line.starts_with('|') && !line.starts_with("    ");
            if prose && line.chars().count() > WIDEST {
                wrong.push(format!("{}:{}: {} characters, {WIDEST} at most", page.path, i + 1, line.chars().count()));
            }
        }
    }
    wrong
}

/// Lines of comments that are longer; tables may be.
fn wide_comments(sources: &[Source]) -> Vec<String> {
    let mut wrong = vec![];
    for source in sources {
        for (i, line) in source.text.lines().enumerate() {
            let (text, width) = (line.trim_start(), line.chars().count());
            let table = ["//! |", "/// |", "* |"].iter().any(|start| text.starts_with(start));
            let comment = ["//", "/*", "* "].iter().any(|start| text.starts_with(start));
            if comment && !table && width > WIDEST {
                wrong.push(format!("{}:{}: {width} characters, {WIDEST} at most", source.path, i + 1));
            }
        }
    }
    wrong
}

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_use_the_rooms_below_them() {
    let all = library();
    assert!(all.len() > 80, "only {} files found", all.len());
    none(KERNEL.violations(&all));
    none(HOST.violations(&all));
    none(ffi_uses_host(&all));
}

#[test]
fn devices_are_named_by_the_command_alone() {
    none(devices_named(&library()));
}

#[test]
fn nothing_below_the_command_prints_or_exits() {
    none(talk(&library()));
}

#[test]
fn unsafe_code_lives_in_three_rooms() {
    none(unsafe_code(&library()));
}

#[test]
fn no_two_types_of_a_crate_share_a_name() {
    none(names_shared(&library()));
}

#[test]
fn files_stay_short() {
    let folders = ["titans-kernel/src", "titans-host/src", "ffi/src", "tests", "include", "benches"];
    let all: Vec<_> =
        folders.iter().flat_map(|f| files(f, &["rs", "cu", "cuh", "h", "hpp", "c", "cpp", "cc"])).collect();
    none(too_long(&all.into_iter().filter(|f| f.path != "include/titans.h").collect::<Vec<_>>())); // generated
}

#[test]
fn lines_of_prose_stay_short() {
    let mut pages = files("docs", &["md"]);
    assert!(pages.len() > 8, "only {} pages found", pages.len());
    for path in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(source::root().join(path)).expect("a page");
        pages.push(Source { path: path.to_owned(), text });
    }
    none(too_wide(&pages));
    none(wide_comments(&library()));
    none(wide_comments(&[files("include", &["hpp"]), files("examples", &["c", "h", "cpp", "hpp", "rs"])].concat()));
    none(wide_comments(&files("tests", &["c", "h", "cpp", "hpp", "rs"])));
}

#[test]
fn a_planted_line_that_is_too_long_is_found() {
    let found = |line: String| too_wide(&planted("docs/A.md", &line)).len();
    let long = "ä".repeat(WIDEST + 1);
    assert_eq!([found(long.clone()), found("ä".repeat(WIDEST))], [1, 0]);
    assert_eq!(
        [found(format!("| {long} |")), found(format!("    {long}")), found(format!("```sh\n{long}\n```"))],
        [0; 3]
    );
    assert_eq!(found(format!("```\nx\n```\n{long}")), 1);
    let of_code = |line: String| wide_comments(&planted("titans-host/src/a.rs", &line)).len();
    assert_eq!([of_code(format!("    // {long}")), of_code(format!("//! | {long} |"))], [1, 0]);
    assert_eq!([of_code(format!("    /* {long}")), of_code(format!("     * {long}")), of_code(long)], [1, 1, 0]);
}

fn planted(path: &str, text: &str) -> Vec<Source> {
    vec![Source { path: path.to_owned(), text: text.to_owned() }]
}

#[test]
fn planted_violations_of_the_floors_are_found() {
    let host = |path: &str, text: &str| HOST.violations(&planted(path, text)).len();
    assert_eq!(host("titans-host/src/tape/ops.rs", "use crate::device::Device;\nuse super::Var;\n"), 0);
    assert_eq!(host("titans-host/src/tape/ops.rs", "use crate::model::Model;"), 1);
    assert_eq!(host("titans-host/src/tape/ops.rs", "use crate::{error::{Error, Result}, train::run, task};"), 2);
    assert_eq!(host("titans-host/src/tape/ops.rs", "fn f() { crate::cli::main(); }"), 1);
    assert_eq!(host("titans-host/src/tape/ops.rs", "use super::super::model::Model;"), 1);
    assert_eq!(host("titans-host/src/tape/mod.rs", "use super::model::Model;"), 1);
    assert_eq!(host("titans-host/src/data/text.rs", "use crate::tape::Tape;"), 1, "neighbours on a floor");
    assert_eq!(host("titans-host/src/attic/mod.rs", ""), 1, "a room without a floor");
    assert_eq!(host("titans-host/src/tape/ops.rs", "// crate::model\nconst A: &str = \"crate::cli::x\";"), 0);
    assert_eq!(
        host("titans-host/src/tape/ops.rs", "#[cfg(test)]\nmod tests { use crate::model::Model; fn f() {} }"),
        0
    );
    assert_eq!(
        host("titans-host/src/tape/ops.rs", "#[cfg(test)]\nmod t { fn f() {} }\nuse crate::model::Model;"),
        1,
        "code after the unit tests counts"
    );
    let mut kernel = planted("titans-kernel/src/view.rs", "use crate::Arithmetic;");
    kernel.extend(planted("titans-kernel/src/lib.rs", "pub use arithmetic::{Arithmetic, Portable};"));
    assert_eq!(KERNEL.violations(&kernel).len(), 1, "a re-export is its room");
}

#[test]
fn planted_violations_of_the_other_rules_are_found() {
    let file = planted;
    assert_eq!(devices_named(&file("titans-host/src/device/cpu/mod.rs", "use crate::device::cuda::Cuda;")).len(), 2);
    assert_eq!(devices_named(&file("titans-host/src/device/cuda/mod.rs", "use super::cpu::threads;")).len(), 1);
    assert_eq!(devices_named(&file("titans-host/src/model/mod.rs", "fn f(d: &Cpu<f32>) {}")).len(), 1);
    assert_eq!(devices_named(&file("titans-host/src/cli/eval.rs", "fn f(d: &Cpu<f32>) {}")).len(), 0);
    assert_eq!(talk(&file("titans-host/src/train/run.rs", "fn f() { println!(\"loss\"); }")).len(), 1);
    assert_eq!(talk(&file("titans-host/src/train/run.rs", "/// println! is not code\nfn f() {}")).len(), 0);
    assert_eq!(talk(&file("titans-host/src/cli/eval.rs", "fn f() { std::process::exit(1) }")).len(), 0);
    assert_eq!(talk(&file("titans-kernel/src/arithmetic.rs", "fn f() { std::process::exit(1) }")).len(), 1);
    assert_eq!(unsafe_code(&file("titans-kernel/src/arithmetic.rs", "fn f() { unsafe { g() } }")).len(), 1);
    assert_eq!(unsafe_code(&file("titans-kernel/src/lib.rs", "#![forbid(unsafe_code)]")).len(), 0);
    assert_eq!(unsafe_code(&file("ffi/src/lib.rs", "fn f() { unsafe { g() } }")).len(), 0);
    assert_eq!(unsafe_code(&file("titans-kernel/src/arch/tile.rs", "fn f() { unsafe { g() } }")).len(), 0);
    assert_eq!(ffi_uses_host(&file("ffi/src/lib.rs", "use titans_host::model;")).len(), 1);
    assert_eq!(ffi_uses_host(&file("ffi/src/stream/feed.rs", "use titans_host::model;")).len(), 1);
    assert_eq!(ffi_uses_host(&file("ffi/src/stream/feed.rs", "use crate::host::titans_text;")).len(), 1);
    assert_eq!(ffi_uses_host(&file("ffi/src/host/text.rs", "use titans_host::model;\nuse super::call;")).len(), 0);
    assert_eq!(too_long(&file("ffi/src/lib.rs", &"\n".repeat(LONGEST + 1))).len(), 1);
    assert_eq!(too_long(&file("ffi/src/lib.rs", &"\n".repeat(LONGEST))).len(), 0);
}

#[test]
fn planted_types_of_one_name_are_found() {
    let found = |files: [(&str, &str); 2]| names_shared(&files.map(|(path, text)| planted(path, text)).concat()).len();
    let (tile, solve) = ("titans-kernel/src/arch/tile.rs", "titans-kernel/src/arch/solve.rs");
    assert_eq!(found([(tile, "pub(super) struct Strip<T> {}"), (solve, "struct Strip;")]), 1);
    assert_eq!(found([(tile, "pub trait Strip {}"), (solve, "fn f() {\n    enum Strip {}\n}")]), 1);
    assert_eq!(found([(tile, "pub type Strip = [u8; 4];"), (solve, "pub(in crate::arch) type Other = u8;")]), 0);
    assert_eq!(found([(tile, "pub type Strip = [u8; 4];"), (solve, "struct Strip;")]), 1);
    assert_eq!(found([(tile, "struct TileStrip;"), (solve, "struct Strip;")]), 0);
    assert_eq!(found([(tile, "struct Strip;"), ("titans-host/src/tape/op.rs", "struct Strip;")]), 0, "two crates");
    assert_eq!(found([(tile, "struct Strip;"), (solve, "// struct Strip;\nconst A: &str = \"struct Strip\";")]), 0);
    assert_eq!(found([(tile, "struct Strip;"), (solve, "#[cfg(test)]\nmod tests { struct Strip; }")]), 0);
    assert_eq!(found([(tile, "struct Output;"), (solve, "impl Add for A {\n    type Output = A;\n}")]), 0);
    let verbs = ["titans-host/src/cli/eval.rs", "titans-host/src/cli/export.rs"];
    assert_eq!(found(verbs.map(|verb| (verb, "pub struct Args {}\nstruct Report {}"))), 0);
    assert_eq!(found(verbs.map(|verb| (verb, "struct Row {}"))), 1);
}

#[test]
fn strings_characters_and_comments_are_told_from_code() {
    assert_eq!(code("a /* b */ c // d\ne"), "a   c  \ne");
    assert_eq!(code(r##"x("a \" unsafe", r#"b " c"#, '"', '\'', b'"') y"##), "x( ,  ,  ,  , b ) y");
    assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    assert_eq!(names_after("use crate::{a::{b, c}, d}; crate::e::f", "crate::"), ["a", "d", "e"]);
}
