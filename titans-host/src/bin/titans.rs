//! The `titans` command; everything is in [`titans_host::cli`].

fn main() -> std::process::ExitCode {
    titans_host::cli::main()
}
