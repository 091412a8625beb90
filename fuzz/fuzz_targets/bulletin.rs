#![no_main]

use regionwatch::decision::votes::Bulletin;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(bulletin) = Bulletin::decode(bytes) {
        // Numbers are written longer than they may have been read.
        if let Ok(encoded) = bulletin.encode() {
            assert_eq!(Bulletin::decode(&encoded), Ok(bulletin));
        }
    }
});
