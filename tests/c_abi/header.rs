//! The headers alone, the layout of the structures on both sides, and the symbols and name of the shared library.

use crate::support::*;
use crate::tools::{Standard, is_here, root, run, shared_folder, shared_name, temporary};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::mem::offset_of;
use std::process::Command;
use titans::*;

/// Compiles `text` alone; nothing is linked.
fn compiles(name: &str, text: &str, standard: Standard) {
    let compiler = standard.compiler();
    write_and_compile(compiler, name, text, standard);
}

fn compiles_by(compiler: Command, name: &str, text: &str, standard: Standard) {
    write_and_compile(standard.by(compiler), name, text, standard);
}

fn write_and_compile(mut compiler: Command, name: &str, text: &str, standard: Standard) {
    let source =
        temporary(&format!("{name}-{}", standard.0)).with_extension(if standard.0.contains('+') { "cpp" } else { "c" });
    std::fs::write(&source, text).expect("a source file");
    run(compiler.args(["-c", "-o"]).arg(source.with_extension("o")).arg(&source));
}

#[test]
fn the_headers_stand_alone_in_every_standard_and_by_every_compiler() {
    let alone = "#include \"titans.h\"\n#include \"titans.h\"\nint x;\n";
    let firmware = format!("#define TITANS_FREESTANDING\n{alone}");
    let cpp = alone.replace("titans.h", "titans.hpp");
    for standard in ["c99", "c11", "c++11", "c++17", "c++20", "c++2b"] {
        compiles("alone", alone, Standard(standard));
        compiles("firmware", &firmware, Standard(standard));
        let wraps = standard.contains("++") && standard != "c++11";
        if wraps {
            compiles("alone_hpp", &cpp, Standard(standard));
            compiles("firmware_hpp", &format!("#define TITANS_FREESTANDING\n{cpp}"), Standard(standard));
        }
        let clang = if standard.contains('+') { "clang++" } else { "clang" };
        if is_here(clang) {
            for (name, text) in [("clang", alone), ("clang_hpp", &cpp)] {
                if name == "clang" || wraps {
                    compiles_by(Command::new(clang), name, text, Standard(standard));
                }
            }
        }
    }
}

macro_rules! fields {
    ($out:ident, $type:ident: $($field:ident),+) => {
        let _ = writeln!($out, "_Static_assert(sizeof({}) == {}, \"size\");", stringify!($type), size_of::<$type>());
        $(
            let (name, field, offset) = (stringify!($type), stringify!($field), offset_of!($type, $field));
            let _ = writeln!($out, "_Static_assert(offsetof({name}, {field}) == {offset}, \"{field}\");");
        )+
    };
}

macro_rules! values {
    ($out:ident: $($name:ident),+ $(,)?) => {
        $(let _ = writeln!($out, "_Static_assert({} == {}, \"value\");", stringify!($name), $name as i64);)+
    };
}

#[test]
fn structures_and_constants_are_the_same_on_both_sides() {
    use {titans_activation::*, titans_loss::*, titans_network::*, titans_read_order::*};
    use {titans_block_kind::*, titans_input::*, titans_mode::*, titans_output::*};
    let mut c = String::from("#include \"titans.h\"\nint x;\n");
    fields!(c, titans_memory_config: struct_size, flags, layers, widths, activation, network, loss, read, chunk, clip);
    fields!(c, titans_memory_config: compute_chunk);
    fields!(c, titans_error_info: struct_size, code, arg, reserved, expected, found, message);
    fields!(c, titans_tokens: struct_size, flags, n, k, k_len, v, v_len, q, q_len);
    fields!(c, titans_tokens: alpha, alpha_len, theta, theta_len, eta, eta_len, mask, mask_len);
    fields!(c, titans_model: opaque);
    fields!(c, titans_model_info: struct_size, input, input_size, output, outputs, width, blocks, memories, parameters);
    fields!(c, titans_model_info: checksum, reserved);
    fields!(c, titans_block_info: struct_size, kind, memories, first_memory, head_width, layers, chunk, window);
    fields!(c, titans_stream_config: struct_size, flags, rows, undo, mode, reserved);
    fields!(c, titans_stream_info: struct_size, mode, position, clipped, refused, bytes, rows, undo, torn, checksum);
    #[cfg(feature = "host")]
    {
        fields!(c, titans_host_options: struct_size, flags, threads, reserved, checkpoint, tokenizer, log, user);
        fields!(c, titans_text_config: struct_size, flags, mode, reserved, seed, temperature, top_p, progress, user);
        fields!(c, titans_text_read: struct_size, reserved, tokens, bytes, predicted, predicted_bytes, nats);
    }
    values!(c: TITANS_ABI_VERSION, TITANS_MAX_LAYERS, TITANS_MAX_WIDTHS, TITANS_MESSAGE_BYTES);
    values!(c: TITANS_ACTIVATION_SILU, TITANS_ACTIVATION_GELU, TITANS_ACTIVATION_GELU_TANH, TITANS_ACTIVATION_RELU);
    values!(c: TITANS_ACTIVATION_IDENTITY, TITANS_NETWORK_PLAIN, TITANS_NETWORK_RESIDUAL, TITANS_LOSS_SUM);
    values!(c: TITANS_LOSS_HALF, TITANS_LOSS_MEAN, TITANS_READ_AFTER, TITANS_READ_BEFORE, TITANS_READ_CHUNK_START);
    values!(c: TITANS_INPUT_TOKENS, TITANS_INPUT_ROWS, TITANS_OUTPUT_LOGITS, TITANS_OUTPUT_NUMBERS, TITANS_BLOCK_LMM);
    values!(c: TITANS_BLOCK_MAC, TITANS_BLOCK_MAG, TITANS_BLOCK_MAL, TITANS_BLOCK_ATTENTION, TITANS_MODE_ON);
    values!(c: TITANS_MODE_FROZEN, TITANS_MODE_ABSENT);
    values!(c: TITANS_OK, TITANS_ERROR_NULL, TITANS_ERROR_CONFIG, TITANS_ERROR_SAVED_CORRUPT, TITANS_ERROR_INTERNAL);
    compiles("layout", &c, Standard("c11"));
}

/// The status codes a document lists as `| NAME | number |`, and the functions it lists as `` `name` ``.
pub fn documented() -> (BTreeSet<(String, i32)>, BTreeSet<String>) {
    let text = std::fs::read_to_string(root().join("docs/ABI.md")).expect("docs/ABI.md");
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim);
        let (_, name, number) = (cells.next()?, cells.next()?, cells.next()?);
        let name = name.trim_matches('`');
        name.starts_with("TITANS_").then(|| Some((name.to_owned(), number.parse().ok()?)))?
    };
    let codes = text.lines().filter_map(row).collect();
    let listed = text.lines().filter_map(|l| l.strip_prefix("- `")?.strip_suffix('`'));
    (codes, listed.map(str::to_owned).collect())
}

#[test]
fn the_documented_codes_are_those_of_the_library() {
    let known: BTreeSet<(String, i32)> = (-200..=200)
        .filter_map(|code| {
            // SAFETY: static strings, as documented.
            let name = unsafe { std::ffi::CStr::from_ptr(titans_status_name(code)) }.to_str().ok()?;
            (name != "TITANS_UNKNOWN").then(|| (name.to_owned(), code))
        })
        .collect();
    assert_eq!(documented().0, known);
}

#[cfg(target_os = "linux")]
#[test]
fn the_shared_library_exports_the_documented_functions_and_its_name_carries_the_abi() {
    let library = shared_folder().join(shared_name());
    let symbols = run(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(&library));
    let exported: BTreeSet<String> = symbols.lines().filter_map(|l| Some(l.split_once(' ')?.0.to_owned())).collect();
    assert_eq!(exported, documented().1);
    let dynamic = run(Command::new("readelf").arg("-d").arg(&library));
    let soname = format!("[libtitans.so.{TITANS_ABI_VERSION}]");
    assert!(dynamic.contains(&soname), "no soname {soname} in\n{dynamic}");
}

#[test]
fn every_function_has_its_place_in_the_cpp_headers() {
    let parts = ["core", "memory", "model", "text"]
        .map(|part| std::fs::read_to_string(root().join(format!("include/titans/{part}.hpp"))).expect("a header"));
    let text = parts.concat();
    let lacking: Vec<_> = documented().1.into_iter().filter(|name| !text.contains(&format!("{name}("))).collect();
    assert!(lacking.is_empty(), "titans.hpp does not call {lacking:?}");
}

#[test]
fn the_headers_make_pages_without_a_warning() {
    if !is_here("doxygen") {
        return;
    }
    let (pages, file) = (temporary("doxygen"), temporary("Doxyfile"));
    let own = std::fs::read_to_string(root().join("docs/Doxyfile")).expect("docs/Doxyfile");
    std::fs::write(&file, format!("{own}OUTPUT_DIRECTORY = {}\n", pages.display())).expect("a configuration");
    std::fs::create_dir_all(&pages).expect("a folder for the pages");
    run(Command::new("doxygen").arg(&file).current_dir(root()));
    let page =
        std::fs::read_to_string(pages.join("html/classtitans_1_1Stream.html")).expect("a page of titans::Stream");
    assert!(page.contains("before its first token"), "the comments are in the pages");
}
