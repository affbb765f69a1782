//! libtitans as its callers meet it: every function called through its C signature from Rust, and C and C++ programs
//! compiled, linked with the static and the shared library, and run.

#[path = "c_abi/allocations.rs"]
mod allocations;
#[cfg(feature = "host")]
#[path = "c_abi/apart.rs"]
mod apart;
#[path = "c_abi/bounds.rs"]
mod bounds;
#[cfg(feature = "host")]
#[path = "c_abi/command.rs"]
mod command;
#[cfg(feature = "host")]
#[path = "c_abi/examples.rs"]
mod examples;
#[path = "c_abi/feeding.rs"]
mod feeding;
#[path = "c_abi/fuzz_corpus.rs"]
mod fuzz_corpus;
#[path = "c_abi/header.rs"]
mod header;
#[path = "c_abi/installed.rs"]
mod installed;
#[path = "c_abi/lifecycle.rs"]
mod lifecycle;
#[path = "c_abi/nothing.rs"]
mod nothing;
#[path = "c_abi/programs.rs"]
mod programs;
#[path = "c_abi/saved.rs"]
mod saved;
#[path = "../fuzz/src/small.rs"]
mod small;
#[path = "c_abi/stack.rs"]
mod stack;
#[path = "c_abi/streams/mod.rs"]
mod streams;
#[path = "c_abi/support.rs"]
mod support;
#[cfg(feature = "host")]
#[path = "c_abi/texts.rs"]
mod texts;
#[path = "c_abi/tools.rs"]
mod tools;
#[cfg(feature = "host")]
#[path = "c_abi/words.rs"]
mod words;
