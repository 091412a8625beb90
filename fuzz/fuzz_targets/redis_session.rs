#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regionwatch::probe::hostile::fuzz_redis_session(bytes));
