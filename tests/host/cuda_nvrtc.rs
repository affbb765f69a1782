//! Every kernel compiles with the real compiler, for two architectures. It needs NVRTC, not a GPU:
//! `pip install nvidia-cuda-nvrtc==13.0.88`, and its folder in `TITANS_NVRTC_DIR` or `LD_LIBRARY_PATH`.

use titans_host::device::cuda::compile::{self, SOURCES};

const ARCHITECTURES: [&str; 2] = ["sm_80", "sm_90"];

/// False, with the reason on stdout, where there is no NVRTC.
fn available() -> bool {
    if !compile::available() {
        println!("skipped: libnvrtc.so.13 was not found; set TITANS_NVRTC_DIR or LD_LIBRARY_PATH");
    }
    compile::available()
}

#[test]
fn every_file_compiles_alone_and_all_together() {
    if !available() {
        return;
    }
    for architecture in ARCHITECTURES {
        for source in SOURCES {
            let code = compile::cubin(source.name, &compile::unit(&[*source]), architecture).unwrap();
            assert!(code.starts_with(b"\x7fELF"), "{}: {} bytes that are no machine code", source.name, code.len());
        }
        let all = compile::cubin("kernels", &compile::unit(SOURCES), architecture).unwrap();
        // Every kernel is a symbol of the machine code.
        for name in SOURCES.iter().flat_map(|s| compile::kernel_names(s.text)) {
            let symbol = format!(".text.{name}\0");
            assert!(all.windows(symbol.len()).any(|w| w == symbol.as_bytes()), "{name} is missing for {architecture}");
        }
    }
}

#[test]
fn what_cannot_be_compiled_is_an_error_with_the_compilers_words() {
    if !available() {
        let error = compile::cubin("x.cu", "", "sm_90").unwrap_err().to_string();
        assert!(error.contains("libnvrtc.so.13"), "{error}");
        return;
    }
    let error = compile::cubin("bad.cu", "__global__ void f() { nonsense; }", "sm_90").unwrap_err().to_string();
    assert!(error.contains("bad.cu") && error.contains("\"nonsense\" is undefined"), "{error}");
    let error = compile::cubin("x.cu", "", "sm_1").unwrap_err().to_string();
    assert!(error.contains("sm_1") && error.contains("gpu-architecture"), "{error}");
    let error = compile::cubin("x.cu", "a\0b", "sm_90").unwrap_err().to_string();
    assert!(error.contains("nul byte"), "{error}");
}

#[test]
fn the_list_of_kernels_is_what_the_files_define() {
    let names: Vec<_> = SOURCES.iter().flat_map(|s| compile::kernel_names(s.text)).collect();
    let defined: usize = SOURCES.iter().map(|s| s.text.matches("KERNEL ").count()).sum();
    assert_eq!(names.len(), defined);
    assert!(names.contains(&"adamw") && names.contains(&"residual_top_vjp"), "{names:?}");
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "two kernels of one name");
}
