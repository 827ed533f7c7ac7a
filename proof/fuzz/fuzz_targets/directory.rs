//! The fuzz target `directory`, as libFuzzer runs it.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kv_engine_fuzz::directory::run(data));
