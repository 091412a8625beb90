#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regionwatch::signing::hostile::fuzz_signatures(bytes));
