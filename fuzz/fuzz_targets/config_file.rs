#![no_main]

use std::path::Path;

use regionwatch::config::Config;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let read = |text: &str| Config::load(Some((Path::new("fuzz.yaml"), text)), []);
    if let Ok(loaded) = read(text) {
        let printed = loaded.config.to_yaml();
        assert!(read(&printed).is_ok() || printed.contains("<secret>"), "{printed}");
    }
});
