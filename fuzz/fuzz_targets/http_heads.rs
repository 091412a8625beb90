#![no_main]

use std::time::Duration;

use regionwatch::net::hostile::{Peer, Script, fuzz_response};
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static WORLD: (Runtime, Peer) = {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let peer = runtime.block_on(Peer::bind());
        (runtime, peer)
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let script = Script::endless(bytes);
    WORLD.with(|(runtime, peer)| {
        for http2 in [false, true] {
            // The client has enough at some point, however the peer goes on.
            let exchange =
                async { tokio::time::timeout(Duration::from_secs(20), fuzz_response(peer, &script, http2)).await };
            runtime.block_on(exchange).unwrap();
        }
    });
});
