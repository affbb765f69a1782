//! Gives the shared library its soname: the number is the ABI version, so programs never load another ABI.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/version.rs");
    let version = include_str!("src/version.rs");
    let number = version.split("TITANS_ABI_VERSION: u32 = ").nth(1).and_then(|rest| rest.split(';').next());
    let abi: u32 = number.and_then(|n| n.parse().ok()).expect("src/version.rs: TITANS_ABI_VERSION: u32 = NUMBER;");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libtitans.so.{abi}");
    }
}
