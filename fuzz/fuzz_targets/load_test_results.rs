#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regionwatch::bench::hostile::fuzz_results(bytes));
