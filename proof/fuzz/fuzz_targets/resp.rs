//! The fuzz target `resp`, as libFuzzer runs it.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kv_engine_fuzz::resp::run(data));
