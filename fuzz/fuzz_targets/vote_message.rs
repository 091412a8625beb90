#![no_main]

use regionwatch::decision::votes::VoteMessage;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(vote_message) = VoteMessage::decode(bytes) {
        // Numbers are written longer than they may have been read.
        if let Ok(encoded) = vote_message.encode() {
            assert_eq!(VoteMessage::decode(&encoded), Ok(vote_message));
        }
    }
});
