#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| regionwatch::yaml::hostile::fuzz_tree(text));
