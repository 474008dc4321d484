#![no_main]

#[path = "../src/target/mod.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::rtcp::run(bytes));
