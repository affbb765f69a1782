//! libtitans as its callers meet it: every function called through its C signature from Rust, and C and C++ programs
//! compiled, linked with the static and the shared library, and run.

#[path = "c_abi/feeding.rs"]
mod feeding;
#[path = "c_abi/header.rs"]
mod header;
#[path = "c_abi/lifecycle.rs"]
mod lifecycle;
#[path = "c_abi/programs.rs"]
mod programs;
#[path = "c_abi/saved.rs"]
mod saved;
#[path = "c_abi/stack.rs"]
mod stack;
#[path = "c_abi/streams/mod.rs"]
mod streams;
#[path = "c_abi/support.rs"]
mod support;
#[path = "c_abi/tools.rs"]
mod tools;
