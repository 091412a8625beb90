//! Commands and replies of Redis (RESP2), as far as a login and a few commands need them.

use std::str::FromStr;

use crate::model::Failure;

/// The longest line: a type with a number, a status or an error.
const LINE: usize = 4 << 10;

/// The longest text.
const TEXT: usize = 32 << 10;

/// How many parts the replies to commands that are sent together may have.
const PARTS: u32 = 1000;

/// How deep lists may lie in each other, with what is in them. The replies to `ROLE` and `XREVRANGE` need all of it.
const DEPTH: u32 = 4;

/// What a server says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Text(&'a [u8]),
    List(Vec<Self>),
    /// Neither a text nor a list.
    Nil,
}

/// The replies that the bytes consist of, one to each command; nothing while the end of one is not there.
///
/// # Errors
/// They are no replies, are longer than is read, or more than was asked for.
pub(super) fn replies(bytes: &[u8], commands: usize) -> Result<Option<Vec<Reply<'_>>>, Failure> {
    let mut reader = Reader::new(bytes);
    let mut replies = Vec::new();
    for _ in 0..commands {
        match reader.reply(DEPTH)? {
            Some(reply) => replies.push(reply),
            None => return Ok(None),
        }
    }
    if reader.rest.is_empty() { Ok(Some(replies)) } else { Err(Failure::Protocol) }
}

/// The error that the bytes begin with, if they begin with one.
pub(super) fn first_error(bytes: &[u8]) -> Option<&[u8]> {
    match Reader::new(bytes).reply(DEPTH) {
        Ok(Some(Reply::Error(text))) => Some(text),
        _ => None,
    }
}

/// A number or the like, as a text.
pub(super) fn parsed<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many more parts may come.
    parts: u32,
}

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, parts: PARTS }
    }

    /// The next reply; nothing if its end is not there yet.
    fn reply(&mut self, depth: u32) -> Result<Option<Reply<'a>>, Failure> {
        let depth = depth.checked_sub(1).ok_or(Failure::Protocol)?;
        self.parts = self.parts.checked_sub(1).ok_or(Failure::Protocol)?;
        let Some((kind, line)) = self.line()? else { return Ok(None) };
        Ok(Some(match kind {
            b'+' => Reply::Status(line),
            b'-' => Reply::Error(line),
            b':' => Reply::Integer(parsed(line).ok_or(Failure::Protocol)?),
            b'$' => match length(line, TEXT)? {
                Some(length) => match self.text(length)? {
                    Some(text) => Reply::Text(text),
                    None => return Ok(None),
                },
                None => Reply::Nil,
            },
            _ => match length(line, PARTS as usize)? {
                Some(count) => {
                    let mut list = Vec::new();
                    for _ in 0..count {
                        match self.reply(depth)? {
                            Some(part) => list.push(part),
                            None => return Ok(None),
                        }
                    }
                    Reply::List(list)
                }
                None => Reply::Nil,
            },
        }))
    }

    /// The type that a line begins with, and the rest of it without its end.
    fn line(&mut self) -> Result<Option<(u8, &'a [u8])>, Failure> {
        match self.rest {
            [] => return Ok(None),
            [b'+' | b'-' | b':' | b'$' | b'*', ..] => {}
            // Known without its end, which may never come.
            _ => return Err(Failure::Protocol),
        }
        match self.rest.iter().take(LINE).position(|byte| *byte == b'\n') {
            Some(end) => {
                let (line, rest) = self.rest.split_at(end + 1);
                self.rest = rest;
                match line {
                    [kind, line @ .., b'\r', b'\n'] => Ok(Some((*kind, line))),
                    _ => Err(Failure::Protocol),
                }
            }
            None if self.rest.len() < LINE => Ok(None),
            None => Err(Failure::Protocol),
        }
    }

    /// A text of this length, and its end.
    fn text(&mut self, length: usize) -> Result<Option<&'a [u8]>, Failure> {
        let Some((text, rest)) = self.rest.split_at_checked(length) else { return Ok(None) };
        match rest {
            [b'\r', b'\n', rest @ ..] => {
                self.rest = rest;
                Ok(Some(text))
            }
            [] | [b'\r'] => Ok(None),
            _ => Err(Failure::Protocol),
        }
    }
}

/// The length of a text or a list; nothing where there is none.
fn length(line: &[u8], most: usize) -> Result<Option<usize>, Failure> {
    match parsed(line) {
        Some(-1_i64) => Ok(None),
        length => {
            let length = length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= most);
            length.map(Some).ok_or(Failure::Protocol)
        }
    }
}

/// A command as it is sent: a list of texts, of which the first is its name.
pub(super) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend(*word);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Commands as they are sent, of which each is a line of words, and how many they are.
pub(super) fn commands(lines: &str) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for line in lines.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().map(str::as_bytes).collect();
        bytes.extend(command(&words));
    }
    (bytes, lines.lines().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_once_the_end_of_the_last_is_there() {
        let bytes = b"+OK\r\n-ERR no\r\n:-7\r\n$4\r\na\r\nb\r\n$-1\r\n*-1\r\n*2\r\n$0\r\n\r\n*1\r\n:1\r\n";
        for cut in 0..bytes.len() {
            assert_eq!(replies(&bytes[..cut], 7), Ok(None), "{cut}");
        }
        let expected = vec![
            Reply::Status(b"OK"),
            Reply::Error(b"ERR no"),
            Reply::Integer(-7),
            Reply::Text(b"a\r\nb"),
            Reply::Nil,
            Reply::Nil,
            Reply::List(vec![Reply::Text(b""), Reply::List(vec![Reply::Integer(1)])]),
        ];
        assert_eq!(replies(bytes, 7), Ok(Some(expected)));
        assert_eq!(replies(bytes, 6), Err(Failure::Protocol), "more than was asked for");
        assert_eq!(first_error(b"-ERR no\r\n+OK\r\n"), Some(&b"ERR no"[..]));
        assert_eq!((first_error(b"-ERR n"), first_error(b"+OK\r\n"), first_error(b"")), (None, None, None));
    }

    #[test]
    fn lengths_that_lie_and_lines_without_end_are_refused_before_anything_is_kept_for_them() {
        for length in ["-2", "32769", "9223372036854775807", "18446744073709551616", "", "1x", "0x1"] {
            assert_eq!(replies(format!("${length}\r\n").as_bytes(), 1), Err(Failure::Protocol), "{length}");
        }
        for count in ["-2", "1001", "9223372036854775807", "x"] {
            assert_eq!(replies(format!("*{count}\r\n").as_bytes(), 1), Err(Failure::Protocol), "{count}");
        }
        let line = |length: usize| [&b"+"[..], &b"x".repeat(length)].concat();
        assert_eq!(replies(&line(LINE - 2), 1), Ok(None));
        assert_eq!(replies(&line(LINE), 1), Err(Failure::Protocol));
        assert_eq!(replies(b"$1\r\nab\r\n", 1), Err(Failure::Protocol));
        assert_eq!(replies(b"+OK\n", 1), Err(Failure::Protocol));
        for other in ["HTTP/1.1 400 Bad Request", "\x15\x03\x03", "%1\r\n", "_\r\n", "\r\n"] {
            assert_eq!(replies(other.as_bytes(), 1), Err(Failure::Protocol), "{other}");
        }
    }

    #[test]
    fn lists_have_few_parts_and_do_not_lie_deep() {
        assert_eq!(replies(b"*1\r\n*1\r\n*1\r\n:1\r\n", 1).map(|replies| replies.is_some()), Ok(true));
        assert_eq!(replies(&b"*1\r\n".repeat(5), 1), Err(Failure::Protocol));
        // A list that names fewer parts than are read, in which each has as many again.
        let wide = [&b"*999\r\n"[..], &b"*999\r\n".repeat(2), &b":1\r\n".repeat(2000)].concat();
        assert_eq!(replies(&wide, 1), Err(Failure::Protocol));
    }

    #[test]
    fn a_command_says_how_long_each_of_its_words_is() {
        assert_eq!(command(&[b"AUTH", b"a b\r\n"]), b"*2\r\n$4\r\nAUTH\r\n$5\r\na b\r\n\r\n");
        assert_eq!(commands("ROLE\nGET  a"), (b"*1\r\n$4\r\nROLE\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec(), 2));
    }
}
