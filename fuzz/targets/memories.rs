#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| titans_fuzz::memories::run(bytes));
