#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regionwatch::probe::hostile::fuzz_mysql_session(bytes));
