//! What every kernel takes of a multiprocessor, on six architectures, against the table in `benches/kernels.toml`:
//! registers, shared memory, local memory, and the blocks that a multiprocessor holds at once. `.ci/kernels --write`
//! records it anew.
//!
//! It needs NVRTC, as `cuda_nvrtc` does; without it only the recorded table is looked at.

mod image;
mod occupancy;

use crate::cuda_nvrtc::{TARGETS, available, compiled};
use image::{Taken, kernels};
use occupancy::{Limits, threads};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use titans_host::device::cuda::compile::{self, SOURCES, Target};

/// Kernels that may have local memory, in bytes a thread, and why. All others have none.
const LOCAL: [(&str, u32); 2] = [
    // The working array of `cos` and `sin` of doubles for angles beyond 2^31, which no position reaches.
    ("rotary", 40),
    ("segment_rotary", 40),
];

/// A kernel: threads of a block, and for each architecture registers of a thread, bytes of shared memory of a block,
/// bytes of local memory of a thread, blocks of a multiprocessor.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Row {
    threads: u32,
    #[serde(flatten)]
    of: BTreeMap<String, [u32; 4]>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Table {
    /// The compiler's version.
    nvrtc: String,
    kernels: BTreeMap<String, Row>,
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../benches/kernels.toml")
}

fn recorded() -> Table {
    let text = std::fs::read_to_string(file()).unwrap();
    toml::from_str(&text).unwrap_or_else(|e| panic!("benches/kernels.toml: {e}; record it with .ci/kernels --write"))
}

/// The table of what the compiler makes here.
fn found() -> Table {
    let (major, minor) = compile::found().unwrap().version;
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (target, (image, _)) in TARGETS.into_iter().zip(compiled()) {
        let limits = Limits::of(target);
        for (kernel, taken) in kernels(image, limits.reserved_in_section()) {
            let row = rows.entry(kernel).or_insert_with(|| Row { threads: threads(&taken), of: BTreeMap::new() });
            assert_eq!(row.threads, threads(&taken), "the threads of a block are the source's, not the target's");
            let cells = [taken.registers, taken.shared, taken.local, limits.blocks(&taken)];
            row.of.insert(target.to_string(), cells);
        }
    }
    Table { nvrtc: format!("{major}.{minor}"), kernels: rows }
}

fn written(table: &Table) -> String {
    let mut text = String::from(
        "# What every CUDA kernel takes of a multiprocessor: threads of a block, and for each architecture registers of a thread, bytes\n\
         # of shared memory of a block, bytes of local memory of a thread, blocks that a multiprocessor holds (docs/CUDA.md).\n\
         # Written by .ci/kernels --write.\n",
    );
    writeln!(text, "nvrtc = \"{}\"\n\n[kernels]", table.nvrtc).unwrap();
    for (kernel, row) in &table.kernels {
        let cells = TARGETS.map(|target| format!("{target} = {:?}", row.of[&target.to_string()]));
        writeln!(text, "{kernel} = {{ threads = {}, {} }}", row.threads, cells.join(", ")).unwrap();
    }
    text
}

/// Every difference, by kernel and architecture.
fn differences(recorded: &Table, found: &Table) -> Vec<String> {
    let names: BTreeSet<_> = recorded.kernels.keys().chain(found.kernels.keys()).collect();
    let mut out = vec![];
    for name in names {
        match (recorded.kernels.get(name), found.kernels.get(name)) {
            (Some(before), Some(now)) if before.threads != now.threads => {
                out.push(format!("{name}: blocks of {} threads, recorded are {}", now.threads, before.threads));
            }
            (Some(before), Some(now)) => {
                let targets: BTreeSet<_> = before.of.keys().chain(now.of.keys()).collect();
                for target in targets.into_iter().filter(|&target| before.of.get(target) != now.of.get(target)) {
                    let [before, now] = [before, now].map(|row| row.of.get(target));
                    out.push(format!(
                        "{name}, {target}: [registers, shared, local, blocks] {now:?}, recorded {before:?}"
                    ));
                }
            }
            (before, _) => {
                out.push(format!("{name}: {}", if before.is_some() { "no longer there" } else { "not recorded" }))
            }
        }
    }
    out
}

/// Kernels with more local memory than they may have, and kernels of which not one block fits.
fn beyond_budgets(table: &Table) -> Vec<String> {
    let mut out = vec![];
    for (name, row) in &table.kernels {
        let allowed = LOCAL.iter().find(|(kernel, _)| kernel == name).map_or(0, |(_, bytes)| *bytes);
        for (target, [_, _, local, blocks]) in &row.of {
            if *local > allowed {
                out.push(format!("{name}, {target}: {local} bytes of local memory, the budget is {allowed}"));
            }
            if *blocks == 0 {
                out.push(format!("{name}, {target}: no block fits"));
            }
        }
    }
    out
}

#[test]
fn kernels_take_what_is_recorded() {
    if !available() {
        return;
    }
    let found = found();
    assert_eq!(beyond_budgets(&found), Vec::<String>::new());
    if std::env::var_os("TITANS_WRITE_RECORDS").is_some() {
        std::fs::write(file(), written(&found)).unwrap();
    }
    let recorded = recorded();
    if recorded.nvrtc != found.nvrtc {
        println!("skipped: the table is of NVRTC {}, this is {}: .ci/kernels --write", recorded.nvrtc, found.nvrtc);
        return;
    }
    let off = differences(&recorded, &found);
    assert!(off.is_empty(), "{}\nwhat is meant is recorded by .ci/kernels --write", off.join("\n"));
    assert_eq!(recorded, found);
}

/// The numbers of the compiler's log are those of its code, and the stack of the code is no spilled register.
#[test]
fn the_code_says_what_the_compiler_says() {
    if !available() {
        return;
    }
    for (target, (image, log)) in TARGETS.into_iter().zip(compiled()) {
        let read = kernels(image, Limits::of(target).reserved_in_section());
        let said = said(log);
        assert_eq!(said.len(), read.len(), "{target}");
        for (name, (mut taken, spilled)) in said {
            // The log says nothing of blocks.
            taken.threads = read[&name].threads;
            assert_eq!((taken, spilled), (read[&name], 0), "{name}, {target}");
        }
    }
}

/// What ptxas says of every kernel, and how many bytes it spilled.
fn said(log: &str) -> BTreeMap<String, (Taken, u32)> {
    let number = |text: &str, unit: &str| -> u32 {
        let words = text.split(unit).next().filter(|before| before.len() < text.len());
        words.map_or(0, |before| before.split_whitespace().last().unwrap().parse().unwrap())
    };
    let mut out = BTreeMap::new();
    for part in log.split("Compiling entry function '").skip(1) {
        let line = |word| part.lines().find(|line| line.contains(word)).unwrap_or_default();
        let (frame, used) = (line("bytes stack frame"), line("Used "));
        let local = number(used, " bytes cumulative stack size").max(number(frame, " bytes stack frame"));
        let taken =
            Taken { registers: number(used, " registers"), shared: number(used, " bytes smem"), local, threads: None };
        let spilled = number(frame, " bytes spill stores") + number(frame, " bytes spill loads");
        out.insert(part.split('\'').next().unwrap().to_owned(), (taken, spilled));
    }
    out
}

/// Looked at without a compiler: every kernel of the sources has a row, whose blocks follow from its other numbers.
#[test]
fn the_recorded_table_holds_together() {
    let table = recorded();
    let declared: BTreeMap<_, _> =
        SOURCES.iter().flat_map(|s| compile::declared(s.text)).map(|k| (k.name, k)).collect();
    assert!(table.kernels.keys().map(String::as_str).eq(declared.keys().copied()), "record it: .ci/kernels --write");
    for (name, row) in &table.kernels {
        let targets: Vec<_> = row.of.keys().cloned().collect();
        let mut all = TARGETS.map(|target| target.to_string());
        all.sort();
        assert_eq!(targets, all, "{name}");
        for target in TARGETS {
            let [registers, shared, local, blocks] = row.of[&target.to_string()];
            let taken = Taken { registers, shared, local, threads: Some(row.threads) };
            assert_eq!(Limits::of(target).blocks(&taken), blocks, "{name}, {target}");
        }
    }
    assert_eq!(beyond_budgets(&table), Vec::<String>::new());
    assert_eq!(toml::from_str::<Table>(&written(&table)).unwrap(), table);
}

#[test]
fn wrong_rows_are_found() {
    let right = recorded();
    let mut wrong = right.clone();
    let row = wrong.kernels.get_mut("adamw").unwrap();
    row.of.get_mut("sm_80").unwrap()[0] += 1;
    let off = differences(&wrong, &right);
    assert!(off.len() == 1 && off[0].starts_with("adamw, sm_80: "), "{off:?}");

    wrong = right.clone();
    wrong.kernels.get_mut("norm_forward").unwrap().threads = 128;
    assert_eq!(differences(&wrong, &right), ["norm_forward: blocks of 256 threads, recorded are 128"]);

    wrong = right.clone();
    let row = wrong.kernels.remove("fill").unwrap();
    assert_eq!(differences(&wrong, &right), ["fill: not recorded"]);
    assert_eq!(differences(&right, &wrong), ["fill: no longer there"]);

    let spilling = row.of.keys().map(|target| (target.clone(), [255, 0, 8, 1])).collect();
    wrong.kernels.insert("fill".to_owned(), Row { of: spilling, ..row });
    assert_eq!(beyond_budgets(&wrong).len(), TARGETS.len());
    assert!(beyond_budgets(&wrong)[0].contains("8 bytes of local memory, the budget is 0"));
}

/// A kernel made to spill: the code and the compiler's log both say so.
#[test]
fn a_planted_spill_is_found() {
    if !available() {
        return;
    }
    // 200 sums that are all alive at once, in 32 registers.
    let source = "extern \"C\" __global__ void __launch_bounds__(1024, 2) greedy(long long n, const float* x, float* y) {\n\
        float sums[200];\n\
        #pragma unroll\n\
        for (int i = 0; i < 200; ++i) sums[i] = x[i * n + threadIdx.x];\n\
        for (long long k = 1; k < n; ++k)\n\
        #pragma unroll\n\
            for (int i = 0; i < 200; ++i) sums[i] = sums[i] * sums[(i + 1) % 200] + x[k];\n\
        #pragma unroll\n\
        for (int i = 0; i < 200; ++i) y[i * n + threadIdx.x] = sums[i];\n\
        }";
    let (image, log) = compile::reported("greedy", source, Target::Code(80)).unwrap();
    let (read, (mut taken, spilled)) = (kernels(&image, 0)["greedy"], said(&log)["greedy"]);
    taken.threads = Some(1024);
    assert_eq!(read, taken);
    assert!(read.local > 0 && spilled > 0 && read.registers <= 32, "{read:?}, {spilled} bytes spilled");
}
