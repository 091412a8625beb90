//! Patterns over a body as it arrives. What it was compressed with is undone before.

use std::io::{self, Write};

use flate2::write::{GzDecoder, ZlibDecoder};
use http::{header::CONTENT_ENCODING, response::Parts};

use super::spec::HttpSpec;
use crate::probe::pattern::{Matcher, Pattern};

/// The most members of a body (RFC 1952 2.2). An empty one is 20 bytes, and each needs a decoder of its own.
const MAX_MEMBERS: usize = 100;

/// Whether a body is the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyMatch {
    /// It is.
    Expected,
    /// It is not.
    Unexpected,
    /// It is compressed with something else than gzip and deflate.
    UnknownCoding,
    /// It is not what its coding says.
    Broken,
}

/// Matches the patterns of a probe with a body.
pub(super) struct BodyMatcher<'a>(Coding<'a>);

enum Coding<'a> {
    /// None, or no byte has arrived.
    None(Patterns<'a>),
    /// RFC 1952, and the number of the member that is read.
    Gzip(Box<GzDecoder<Patterns<'a>>>, usize),
    /// RFC 1950, which HTTP calls deflate.
    Deflate(Box<ZlibDecoder<Patterns<'a>>>),
    Unknown,
    Broken,
}

impl<'a> BodyMatcher<'a> {
    pub(super) fn new(spec: &'a HttpSpec) -> Self {
        let matcher = |pattern: &'a Option<Pattern>| pattern.as_ref().map(Pattern::matcher);
        let (expected, rejected) = (matcher(&spec.expect_body), matcher(&spec.reject_body));
        // One byte more tells a pattern that its match does not need the end of the body.
        Self(Coding::None(Patterns { expected, rejected, left: spec.body_limit.saturating_add(1), has_begun: false }))
    }

    /// Takes the next bytes of the response with this head.
    pub(super) fn feed(&mut self, head: &Parts, bytes: &[u8]) {
        self.begin(head);
        let (result, is_full) = match &mut self.0 {
            Coding::None(patterns) => {
                patterns.feed(bytes);
                return;
            }
            Coding::Gzip(..) => return self.feed_members(bytes),
            Coding::Deflate(decoder) => (decoder.write_all(bytes), decoder.get_ref().left == 0),
            Coding::Unknown | Coding::Broken => return,
        };
        if result.is_err() && !is_full {
            self.0 = Coding::Broken;
        }
    }

    fn feed_members(&mut self, mut bytes: &[u8]) {
        while let (Coding::Gzip(decoder, _), false) = (&mut self.0, bytes.is_empty()) {
            match decoder.write(bytes) {
                Ok(0) => self.begin_member(),
                Ok(count) => bytes = &bytes[count..],
                Err(_) if decoder.get_ref().left == 0 => return,
                Err(_) => self.0 = Coding::Broken,
            }
        }
    }

    /// Begins the next member where one has ended as it should, and there are not too many.
    fn begin_member(&mut self) {
        if let Coding::Gzip(decoder, number) = std::mem::replace(&mut self.0, Coding::Broken)
            && number < MAX_MEMBERS
            && let Ok(patterns) = decoder.finish()
        {
            self.0 = Coding::Gzip(Box::new(GzDecoder::new(patterns)), number + 1);
        }
    }

    /// Chooses the coding when the first byte arrives.
    fn begin(&mut self, head: &Parts) {
        match &mut self.0 {
            Coding::None(patterns) if patterns.is_needed() && !patterns.has_begun => patterns.has_begun = true,
            _ => return,
        }
        let coding = head.headers.get(CONTENT_ENCODING).map_or(Ok(""), |value| value.to_str());
        let coding = coding.unwrap_or("unknown").trim().to_ascii_lowercase();
        self.0 = match (std::mem::replace(&mut self.0, Coding::Unknown), &*coding) {
            (Coding::None(patterns), "gzip" | "x-gzip") => Coding::Gzip(Box::new(GzDecoder::new(patterns)), 1),
            (Coding::None(patterns), "deflate") => Coding::Deflate(Box::new(ZlibDecoder::new(patterns))),
            (plain, "" | "identity") => plain,
            _ => Coding::Unknown,
        };
    }

    /// What the body is worth, of which the end was not read if it is truncated.
    pub(super) fn finish(mut self, is_truncated: bool) -> BodyMatch {
        let result = match &mut self.0 {
            Coding::Gzip(decoder, _) if !is_truncated => decoder.try_finish(),
            Coding::Deflate(decoder) if !is_truncated => decoder.try_finish(),
            _ => Ok(()),
        };
        let patterns = match &mut self.0 {
            Coding::None(patterns) => patterns,
            Coding::Gzip(decoder, _) => decoder.get_mut(),
            Coding::Deflate(decoder) => decoder.get_mut(),
            Coding::Unknown => return BodyMatch::UnknownCoding,
            Coding::Broken => return BodyMatch::Broken,
        };
        if result.is_err() && patterns.left > 0 {
            return BodyMatch::Broken;
        }
        match patterns.are_met(is_truncated) {
            true => BodyMatch::Expected,
            false => BodyMatch::Unexpected,
        }
    }
}

/// The patterns, and how much of the body they may see.
struct Patterns<'a> {
    expected: Option<Matcher<'a>>,
    rejected: Option<Matcher<'a>>,
    left: usize,
    has_begun: bool,
}

impl Patterns<'_> {
    const fn is_needed(&self) -> bool {
        self.expected.is_some() || self.rejected.is_some()
    }

    fn feed(&mut self, bytes: &[u8]) {
        [&mut self.expected, &mut self.rejected].into_iter().flatten().for_each(|matcher| matcher.feed(bytes));
    }

    fn are_met(&mut self, is_truncated: bool) -> bool {
        let is_truncated = is_truncated || self.left == 0;
        let matches = |matcher: &mut Matcher<'_>| match is_truncated {
            true => matcher.has_matched(),
            false => matcher.is_match(),
        };
        self.expected.as_mut().is_none_or(matches) && !self.rejected.as_mut().is_some_and(matches)
    }
}

/// What a decoder writes to. It fails once the limit is reached, so that a small body cannot become a huge one.
impl Write for Patterns<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.left);
        if count == 0 && !bytes.is_empty() {
            return Err(io::Error::other("the limit of the body"));
        }
        self.feed(&bytes[..count]);
        self.left -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use http::Response;

    use super::*;
    use crate::{model::HttpUrl, yaml::addresses};

    fn spec(expected: Option<&str>, rejected: Option<&str>, body_limit: usize) -> HttpSpec {
        let url: HttpUrl = addresses::url("http://a.example/").unwrap();
        let pattern = |source: &str| Pattern::new(source).unwrap();
        let get = HttpSpec::get(url);
        HttpSpec { expect_body: expected.map(pattern), reject_body: rejected.map(pattern), body_limit, ..get }
    }

    fn matched(spec: &HttpSpec, coding: &str, body: &[u8], piece: usize) -> BodyMatch {
        let head = Response::builder().header(CONTENT_ENCODING, coding).body(()).unwrap().into_parts().0;
        let mut matcher = BodyMatcher::new(spec);
        body.chunks(piece).for_each(|bytes| matcher.feed(&head, bytes));
        matcher.finish(false)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_compressed_body_is_matched_in_pieces_of_any_size() {
        let body = gzip(b"all is ready");
        for piece in [1, 7, 1000] {
            let with = |expected, rejected| matched(&spec(expected, rejected, 100), "gzip", &body, piece);
            assert_eq!(with(Some("ready$"), None), BodyMatch::Expected);
            assert_eq!(with(Some("down"), None), BodyMatch::Unexpected);
            assert_eq!(with(None, Some("ready")), BodyMatch::Unexpected);
        }
        // Members follow each other (RFC 1952 2.2).
        let two = [gzip(b"all is "), gzip(b"ready")].concat();
        assert_eq!(matched(&spec(Some("is ready"), None, 100), "X-Gzip", &two, 5), BodyMatch::Expected);
        assert_eq!(matched(&spec(Some("ready"), None, 100), "identity", b"ready", 5), BodyMatch::Expected);
    }

    #[test]
    fn a_body_of_more_members_than_are_allowed_is_broken() {
        let of = |text: &[u8], count: usize| gzip(text).repeat(count);
        let with = |body: Vec<u8>| matched(&spec(Some("ready"), None, 1 << 20), "gzip", &body, 16 << 10);
        assert_eq!(with(of(b"ready", MAX_MEMBERS)), BodyMatch::Expected);
        assert_eq!(with(of(b"ready", MAX_MEMBERS + 1)), BodyMatch::Broken);
        let empty = gzip(b"");
        assert_eq!(with(empty.repeat((1 << 20) / empty.len())), BodyMatch::Broken);
    }

    #[test]
    fn a_body_of_another_coding_or_that_breaks_its_own_is_told_apart() {
        let spec = spec(Some("ready"), None, 100);
        assert_eq!(matched(&spec, "br", b"ready", 9), BodyMatch::UnknownCoding);
        assert_eq!(matched(&spec, "gzip", b"ready", 9), BodyMatch::Broken);
        let body = gzip(b"all is ready");
        assert_eq!(matched(&spec, "gzip", &body[..body.len() - 9], 9), BodyMatch::Broken);
        assert_eq!(matched(&self::spec(None, None, 100), "br", b"x", 9), BodyMatch::Expected, "nothing is asked");
    }

    #[test]
    fn a_small_body_that_becomes_a_huge_one_is_left_at_the_limit() {
        let bomb = gzip(&[vec![b'a'; 50 << 20], b"end".to_vec()].concat());
        assert!(bomb.len() < 100 << 10);
        let with = |expected| matched(&spec(Some(expected), None, 1 << 20), "gzip", &bomb, 16 << 10);
        assert_eq!(with("aaa"), BodyMatch::Expected);
        assert_eq!(with("end"), BodyMatch::Unexpected);
        assert_eq!(with("a$"), BodyMatch::Unexpected, "the end is not known");
    }
}
