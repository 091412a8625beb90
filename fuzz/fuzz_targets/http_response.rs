#![no_main]

use std::time::Duration;

use regionwatch::net::hostile::fuzz_response;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for http2 in [false, true] {
            // A peer that has hung up leaves nothing to wait for.
            tokio::time::timeout(Duration::from_secs(1), fuzz_response(bytes, http2)).await.unwrap();
        }
    });
});
