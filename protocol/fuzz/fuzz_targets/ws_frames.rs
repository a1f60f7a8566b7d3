#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocol::ws::fuzz::fuzz(data));
