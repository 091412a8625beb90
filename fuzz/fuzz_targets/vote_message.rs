#![no_main]

use regionwatch::decision::votes::hostile::fuzz_vote;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A line is the signature, and the rest is the body.
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (signature, body) = bytes.split_at(end);
    fuzz_vote(body, signature);
});
