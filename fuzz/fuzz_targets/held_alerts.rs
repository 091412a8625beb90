#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regionwatch::alert::hostile::fuzz_held(bytes));
