//! Regular expressions of probes, matched while the bytes arrive: each byte is looked at once, however a peer cuts what it
//! sends into pieces.

use std::sync::{Arc, Mutex, PoisonError};

use regex_automata::{
    Anchored,
    hybrid::{
        LazyStateID,
        dfa::{Cache, DFA},
    },
    nfa::thompson,
    util::{start, syntax},
};

use crate::yaml::Parsed;

/// A regular expression with its source, so that it can be compared and printed.
#[derive(Clone)]
pub struct Pattern(Arc<Compiled>);

struct Compiled {
    source: Box<str>,
    dfa: DFA,
    /// The states that earlier matches have built, for the next match.
    cache: Mutex<Option<Box<Cache>>>,
}

impl Pattern {
    /// The most memory that a compiled expression may take: `(a{1000}){1000}` is refused.
    const MAX_SIZE: usize = 1 << 20;
    /// The most memory for states that are built while matching; they are thrown away and built again if a text needs
    /// more.
    const MAX_STATES: usize = 256 << 10;

    /// Compiles the expression.
    ///
    /// # Errors
    /// The syntax error of the expression, or that it is too large.
    pub fn new(source: &str) -> Result<Self, String> {
        // `.` is a character where it can be. `\d`, `\w`, `\s` and `\b` mean ASCII, and make it a byte.
        let compiled = Self::compile(source, true).or_else(|_| Self::compile(source, false))?;
        Ok(Self(Arc::new(Compiled { source: source.into(), dfa: compiled, cache: Mutex::default() })))
    }

    fn compile(source: &str, unicode: bool) -> Result<DFA, String> {
        let config = DFA::config().cache_capacity(Self::MAX_STATES).skip_cache_capacity_check(true);
        DFA::builder()
            .syntax(syntax::Config::new().unicode(unicode).utf8(false))
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(Self::MAX_SIZE)))
            .configure(config)
            .build(source)
            .map_err(|error| {
                let mut cause: &dyn std::error::Error = &error;
                while let Some(inner) = cause.source() {
                    if inner.downcast_ref::<thompson::BuildError>().is_some_and(|error| error.size_limit().is_some()) {
                        return format!("it is larger than {} KiB when compiled", Self::MAX_SIZE >> 10);
                    }
                    cause = inner;
                }
                cause.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            })
    }

    /// Whether the text has a match.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let mut matcher = self.matcher();
        matcher.feed(text);
        matcher.is_match()
    }

    /// A match of a text that comes in pieces.
    pub fn matcher(&self) -> Matcher<'_> {
        let kept = self.0.cache.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut cache = kept.unwrap_or_else(|| Box::new(self.0.dfa.create_cache()));
        let at_start = start::Config::new().anchored(Anchored::No);
        let state = self.0.dfa.start_state(&mut cache, &at_start).ok();
        Matcher { pattern: self, cache: Some(cache), state }
    }

    /// The expression.
    pub fn source(&self) -> &str {
        &self.0.source
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pattern").field(&self.source()).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

/// How far a text has been matched.
pub struct Matcher<'a> {
    pattern: &'a Pattern,
    /// Gone only while this is being dropped.
    cache: Option<Box<Cache>>,
    /// None once matching is impossible, which nothing in our configuration of the automaton causes.
    state: Option<LazyStateID>,
}

impl Matcher<'_> {
    /// Takes the next bytes of the text.
    pub fn feed(&mut self, bytes: &[u8]) {
        let (Some(cache), Some(mut state)) = (&mut self.cache, self.state) else { return };
        let dfa = &self.pattern.0.dfa;
        for &byte in bytes {
            // A match is reported a byte late, and is final: the rest of the text cannot take it back.
            if state.is_match() || state.is_dead() {
                break;
            }
            match dfa.next_state(cache, state, byte) {
                Ok(next) => state = next,
                Err(_) => {
                    self.state = None;
                    return;
                }
            }
        }
        self.state = Some(state);
    }

    /// Whether the text has a match before its last byte, however it goes on.
    pub fn has_matched(&self) -> bool {
        self.state.is_some_and(|state| state.is_match())
    }

    /// Whether the text has a match if it ends here.
    pub fn is_match(&mut self) -> bool {
        let (Some(cache), Some(state)) = (&mut self.cache, self.state) else { return false };
        state.is_match() || self.pattern.0.dfa.next_eoi_state(cache, state).is_ok_and(|at_end| at_end.is_match())
    }
}

impl Drop for Matcher<'_> {
    fn drop(&mut self) {
        *self.pattern.0.cache.lock().unwrap_or_else(PoisonError::into_inner) = self.cache.take();
    }
}

/// Reads a regular expression.
pub(super) fn parse(text: &str) -> Parsed<Pattern> {
    const MAX: usize = 4096;
    if text.len() > MAX {
        return Err(format!("is longer than {MAX} bytes; write a shorter regular expression"));
    }
    Pattern::new(text).map_err(|error| {
        format!("is not a regular expression ({error}); write one such as ok|ready, with \\( for a parenthesis")
    })
}

/// What the fuzz target calls: whether a text that comes in pieces of this size has a match of the expression, and whether
/// the expression is one of characters. `None` if it is no expression.
pub fn fuzz_pattern(source: &str, text: &[u8], piece: usize) -> Option<(bool, bool)> {
    let pattern = parse(source).ok()?;
    let mut matcher = pattern.matcher();
    text.chunks(piece.max(1)).for_each(|piece| matcher.feed(piece));
    let matches = matcher.is_match();
    drop(matcher);
    // What an earlier text has left behind changes nothing.
    assert_eq!(pattern.is_match(text), matches);
    Some((matches, Pattern::compile(source, true).is_ok()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn anchors_classes_and_characters_beyond_ascii_match() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().is_match(text.as_bytes());
        for (pattern, text) in [
            ("", ""),
            ("ok|ready", "is ready"),
            ("^220 .* ESMTP\\r\\n$", "220 mail ESMTP\r\n"),
            ("\\bup\\b", "is up."),
            ("(?i)HEALTHY", "healthy"),
            ("\\d{3}", "a404b"),
            ("gr\u{fc}n", "ist gr\u{fc}n"),
            ("[\u{fc}\u{e4}]+", "\u{e4}"),
            ("a.c", "a\u{fc}c"),
            ("(?s)a.c", "a\nc"),
        ] {
            assert!(matches(pattern, text), "{pattern:?} in {text:?}");
        }
        for (pattern, text) in
            [("^ok$", "not ok"), ("\\bup\\b", "upper"), ("a.c", "a\nc"), ("[^a]", "aaa"), ("a$", "ab")]
        {
            assert!(!matches(pattern, text), "{pattern:?} in {text:?}");
        }
    }

    #[test]
    fn an_invalid_or_huge_expression_is_refused_in_one_line() {
        for source in ["a(b", "[z-a]", "(a{1000}){1000}", "*"] {
            let error = Pattern::new(source).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{source:?}: {error:?}");
        }
    }

    #[test]
    fn a_text_that_needs_more_states_than_fit_is_still_matched() {
        let pattern = Pattern::new("(a|b)*a(a|b){14}c").unwrap();
        let mut text: Vec<u8> =
            (0..200_000_u32).map(|n| if n.wrapping_mul(2_654_435_761) >> 31 == 0 { b'a' } else { b'b' }).collect();
        assert!(!pattern.is_match(&text));
        text.extend(b"aabababababababac");
        assert!(pattern.is_match(&text));
    }

    proptest! {
        #[test]
        fn a_text_in_pieces_matches_as_one_text(
            pattern in "[ab^$.|*]{1,6}", text in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..40), cut in 0..40_usize,
        ) {
            let Ok(pattern) = Pattern::new(&pattern) else { return Ok(()) };
            let (first, rest) = text.split_at(cut.min(text.len()));
            let mut matcher = pattern.matcher();
            matcher.feed(first);
            let at_cut = matcher.is_match();
            matcher.feed(rest);
            let in_pieces = matcher.is_match();
            drop(matcher);
            prop_assert_eq!(at_cut, pattern.is_match(first));
            prop_assert_eq!(in_pieces, pattern.is_match(&text));
        }
    }
}
