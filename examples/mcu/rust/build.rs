//! Where the board has its memory, and the linker script of its start-up code.

use std::{env, fs, path::PathBuf};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = env::var("TARGET").expect("cargo sets TARGET");
    // QEMU's mps2-an386, an500 and, with other addresses, an505; RISC-V: its machine `virt`.
    let (flash, ram) = match target.as_str() {
        "thumbv8m.main-none-eabihf" => (0x1000_0000u32, 0x3800_0000u32),
        "riscv32imc-unknown-none-elf" => (0x8000_0000, 0x8010_0000),
        _ => (0, 0x2000_0000),
    };
    let mut script =
        format!("MEMORY {{ FLASH : ORIGIN = {flash}, LENGTH = 1M  RAM : ORIGIN = {ram}, LENGTH = 256K }}\n");
    if target.starts_with("riscv") {
        for (region, memory) in
            [("TEXT", "FLASH"), ("RODATA", "FLASH"), ("DATA", "RAM"), ("BSS", "RAM"), ("HEAP", "RAM"), ("STACK", "RAM")]
        {
            script += &format!("REGION_ALIAS(\"REGION_{region}\", {memory});\n");
        }
    }
    fs::write(out.join("memory.x"), script).expect("memory.x");
    println!("cargo:rustc-link-search={}", out.display());
    if target.starts_with("riscv") {
        println!("cargo:rustc-link-arg-bins=-Tmemory.x"); // cortex-m-rt's script includes it by itself
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
    println!("cargo:rerun-if-changed=build.rs");
}
