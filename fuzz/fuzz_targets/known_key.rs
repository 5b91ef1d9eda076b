#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keybound_fuzz::known_key::run(data));
