#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocol::sockjs::fuzz::fuzz(data));
