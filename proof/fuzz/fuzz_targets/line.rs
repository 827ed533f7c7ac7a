//! The fuzz target `line`, as libFuzzer runs it.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kv_engine_fuzz::line::run(data));
