#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regionwatch::net::hostile::fuzz_expiry(bytes));
