#![no_main]

use std::{sync::Arc, time::Duration};

use regionwatch::{
    alert::hostile::{fuzz_push, push_series},
    metrics::PushSeries,
    net::hostile::{Peer, Script},
};
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static WORLD: (Runtime, Peer, Arc<PushSeries>) = {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let peer = runtime.block_on(Peer::bind());
        (runtime, peer, push_series())
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let script = Script::endless(bytes);
    WORLD.with(|(runtime, peer, series)| {
        let exchange = async { tokio::time::timeout(Duration::from_secs(20), fuzz_push(peer, &script, series)).await };
        runtime.block_on(exchange).unwrap();
    });
});
