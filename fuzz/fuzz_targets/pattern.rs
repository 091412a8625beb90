#![no_main]

use regex::bytes::RegexBuilder;
use regionwatch::probe::hostile::fuzz_pattern;

// The first two bytes are the length of the expression and that of a piece of the text.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(([length, piece], rest)) = bytes.split_first_chunk() else { return };
    let (source, text) = rest.split_at(usize::from(*length).min(rest.len()));
    let Ok(source) = std::str::from_utf8(source) else { return };
    let Some((matches, unicode)) = fuzz_pattern(source, text, usize::from(*piece)) else { return };
    if let Ok(reference) = RegexBuilder::new(source).unicode(unicode).build() {
        assert_eq!(matches, reference.is_match(text), "{source:?} in {text:?}");
    }
});
