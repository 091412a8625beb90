#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = regionwatch::probe::hostile::fuzz_health(bytes);
});
