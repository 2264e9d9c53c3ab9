#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| krakpot_fuzz::private(data));
