//! The thread sanitizer over block kernels, on the emulator: it finds nothing in ours, and finds planted races. A test
//! runs itself again with the sanitizer's library in `LD_PRELOAD`. It needs GCC and its libtsan (`libgcc-*-dev`).
//!
//! What it sees that other orders of threads need not show: an access to shared or global memory that no barrier of the
//! block or of the warp orders. A shuffle orders nothing. Races between blocks it does not see.

#![cfg(target_os = "linux")]

use crate::cuda_blocks::{KERNELS, run};
use crate::cuda_emulator::{assert_all, reference};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use titans_host::device::cuda::Cuda;
use titans_host::device::cuda::compile::{self, SOURCES};
use titans_host::device::cuda::emulator::{Emulator, Order};
use titans_host::selftest;

/// Set in the second process: which kernel it runs.
const INSIDE: &str = "TITANS_WATCHED";

/// The sanitizer's library; none, with the reason on stdout, where the compiler has none.
fn library() -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let output = Command::new(&compiler).arg("-print-file-name=libtsan.so").output().unwrap();
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if path.is_absolute() && path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("TITANS_REQUIRE_TOOLS").is_none(), "{compiler} has no libtsan.so: apt install g++");
    println!("skipped: {compiler} has no libtsan.so (GCC's thread sanitizer)");
    None
}

/// The test `name` again, watched: whether it passed without a report, and what it printed.
fn watched(name: &str, kernel: &str) -> Option<(bool, String)> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("cuda_races::{name}"), "--nocapture", "--test-threads=1"]);
    // The test's own process is not compiled for the sanitizer, which would not know its locks.
    let options = "exitcode=66 ignore_noninstrumented_modules=1";
    command.env(INSIDE, kernel).env("LD_PRELOAD", library()?).env("TSAN_OPTIONS", options);
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
    let reported = text.contains("WARNING: ThreadSanitizer");
    assert_eq!(output.status.code(), Some(if reported { 66 } else { 0 }), "{text}");
    Some((!reported, text))
}

#[test]
fn planted_races_are_found() {
    if let Ok(kernel) = std::env::var(INSIDE) {
        let machine = Emulator::watched(Order::Ascending, &[KERNELS]).unwrap();
        let name =
            ["backwards", "backwards_unwritten", "backwards_overwritten", "warp_sums", "shuffles", "lane_leaves"]
                .into_iter()
                .find(|name| *name == kernel)
                .unwrap();
        let _ = run(&machine, name, if name == "warp_sums" { 96 } else { 64 }, name != "lane_leaves");
        // What a stopped block did is no race with what comes.
        run(&machine, "backwards", 64, true).unwrap();
        return;
    }
    for (kernel, right) in [
        ("backwards", true),
        ("warp_sums", true),
        ("shuffles", true),
        ("lane_leaves", true),
        ("backwards_unwritten", false),
        ("backwards_overwritten", false),
    ] {
        let Some((silent, text)) = watched("planted_races_are_found", kernel) else { return };
        assert_eq!(silent, right, "{kernel}: {text}");
        let says = text.contains("data race") && text.contains(&format!(" in {kernel}"));
        assert_eq!(says, !right, "{kernel}: {text}");
    }
}

#[test]
fn our_kernels_have_no_races() {
    if std::env::var_os(INSIDE).is_some() {
        let machine = Arc::new(Emulator::watched(Order::Descending, SOURCES).unwrap());
        let cuda = Cuda::with_driver(machine.clone());
        assert_all(&selftest::operations(&cuda, &reference()), 90);
        assert_all(&selftest::memories(&cuda, &reference()), 40);
        assert_all(&selftest::exact_memories(&cuda, &reference(), false), 10);
        let declared = SOURCES.iter().flat_map(|s| compile::declared(s.text)).filter(|k| k.threads.is_some());
        let launched = machine.kernels_run();
        let left: BTreeSet<_> = declared.map(|k| k.name).filter(|name| !launched.contains(name)).collect();
        assert!(left.is_empty(), "block kernels that nothing launched: {left:?}");
        return;
    }
    if crate::left_for_long_runs() {
        return;
    }
    let Some((silent, text)) = watched("our_kernels_have_no_races", "all") else { return };
    assert!(silent, "{text}");
}
