#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgjob_fuzz::targets::attribute(data));
