//! Every kernel compiles with the real compiler, for six architectures. It needs NVRTC, not a GPU:
//! `pip install nvidia-cuda-nvrtc==13.0.88` in the active environment, or its folder in `TITANS_CUDA_DIR`.

use std::sync::LazyLock;
use titans_host::device::cuda::compile::{self, Kernel, SOURCES, Target};

/// Turing, Ampere, Ada, Hopper, and both kinds of Blackwell.
pub const TARGETS: [Target; 6] =
    [Target::Code(75), Target::Code(80), Target::Code(89), Target::Code(90), Target::Code(100), Target::Code(120)];

/// All kernels for each of [`TARGETS`], compiled once, and the compiler's words about them.
pub fn compiled() -> &'static [(Vec<u8>, String)] {
    static COMPILED: LazyLock<Vec<(Vec<u8>, String)>> =
        LazyLock::new(|| TARGETS.map(|to| compile::reported("kernels", &compile::unit(SOURCES), to).unwrap()).into());
    &COMPILED
}

/// False, with the reason on stdout, where there is no NVRTC.
pub fn available() -> bool {
    match compile::found() {
        Ok(found) => println!("{found}"),
        Err(error) => println!("skipped: {error}"),
    }
    compile::found().is_ok()
}

#[test]
fn every_file_compiles_alone_and_all_together() {
    if !available() {
        return;
    }
    for (target, (all, _)) in TARGETS.into_iter().zip(compiled()) {
        for source in SOURCES {
            let code = compile::code(source.name, &compile::unit(&[*source]), target).unwrap();
            assert!(code.starts_with(b"\x7fELF"), "{}: {} bytes that are no machine code", source.name, code.len());
        }
        // Every kernel is a symbol of the machine code.
        for name in SOURCES.iter().flat_map(|s| compile::declared(s.text)).map(|kernel| kernel.name) {
            let symbol = format!(".text.{name}\0");
            assert!(all.windows(symbol.len()).any(|w| w == symbol.as_bytes()), "{name} is missing for {target}");
        }
    }
}

#[test]
fn what_cannot_be_compiled_is_an_error_with_the_compilers_words() {
    if !available() {
        let error = compile::code("x.cu", "", Target::Code(90)).unwrap_err().to_string();
        assert!(error.contains("libnvrtc.so"), "{error}");
        return;
    }
    let error = compile::code("bad.cu", "__global__ void f() { nonsense; }", Target::Code(90)).unwrap_err().to_string();
    assert!(error.contains("bad.cu") && error.contains("\"nonsense\" is undefined"), "{error}");
    let error = compile::code("x.cu", "", Target::Code(1)).unwrap_err().to_string();
    assert!(error.contains("sm_1") && error.contains("gpu-architecture"), "{error}");
    let error = compile::code("x.cu", "a\0b", Target::Code(90)).unwrap_err().to_string();
    assert!(error.contains("nul byte"), "{error}");
}

#[test]
fn devices_newer_than_the_compiler_get_its_newest_intermediate_code() {
    if !available() {
        return;
    }
    assert_eq!(compile::target((9, 0)).unwrap(), Target::Code(90));
    let Target::Intermediate(newest) = compile::target((99, 0)).unwrap() else { panic!("no intermediate code") };
    let code = compile::code("kernels", &compile::unit(SOURCES), Target::Intermediate(newest)).unwrap();
    let text = String::from_utf8_lossy(&code);
    assert!(text.contains(&format!(".target sm_{newest}")) && text.ends_with('\0'), "{newest}");
    let error = compile::target((3, 5)).unwrap_err().to_string();
    assert!(error.contains("compute capability 3.5 is older"), "{error}");
}

#[test]
fn the_list_of_kernels_is_what_the_files_define() {
    let kernels: Vec<_> = SOURCES.iter().flat_map(|s| compile::declared(s.text)).collect();
    let defined: usize =
        SOURCES.iter().map(|s| s.text.matches("KERNEL ").count() + s.text.matches("BLOCK_KERNEL(").count()).sum();
    assert_eq!(kernels.len(), defined);
    assert!(kernels.contains(&Kernel { name: "adamw", threads: None }), "{kernels:?}");
    assert!(kernels.contains(&Kernel { name: "residual_top_vjp", threads: Some("BLOCK") }), "{kernels:?}");
    let names: Vec<_> = kernels.iter().map(|kernel| kernel.name).collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "two kernels of one name");
}
