//! The packets of MySQL's protocol, as far as a login and a statement as a text need them.

use super::scramble::{Method, Salt};
use crate::model::Failure;

/// The longest packet that is read: a row of a query that should have few.
const LONGEST: usize = 32 << 10;

/// Bytes before the payload: its length, and a number that counts the packets of an exchange.
pub(super) const HEADER: usize = 4;

/// The most columns of a result.
const COLUMNS: u64 = 512;

/// What both sides can do (`CLIENT_...` of mysql_com.h). Not among them: several statements at once, files of the client,
/// compression, and results without an end marker.
const LONG_PASSWORD: u32 = 1;
const LONG_FLAG: u32 = 1 << 2;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const TLS: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;

/// utf8mb4_general_ci.
const CHARSET: u8 = 45;

/// A transaction is open, or more results follow (`SERVER_STATUS_IN_TRANS`, `SERVER_MORE_RESULTS_EXISTS`).
const UNSETTLED: u16 = 1 | 1 << 3;

/// The number and the length of the packet at the start of what a server said; nothing if its end is not there yet.
///
/// # Errors
/// It is too long.
pub(super) fn frame(bytes: &[u8]) -> Result<Option<(u8, usize)>, Failure> {
    let Some(([a, b, c, sequence], rest)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    let length = length([*a, *b, *c])?;
    Ok((rest.len() >= length).then_some((*sequence, length)))
}

/// The length in a header.
///
/// # Errors
/// It is too great.
pub(super) fn length([a, b, c]: [u8; 3]) -> Result<usize, Failure> {
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    if length <= LONGEST { Ok(length) } else { Err(Failure::Protocol) }
}

/// A packet of this number.
pub(super) fn framed(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let bytes: &'a [u8] = rest;
    let (head, tail) = bytes.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

fn take_u8(rest: &mut &[u8]) -> Option<u8> {
    take(rest, 1).map(|bytes| bytes[0])
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// A text up to a NUL, or to the end: some servers leave the last NUL out.
fn take_text<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let bytes: &'a [u8] = rest;
    let end = bytes.iter().position(|byte| *byte == 0);
    *rest = end.map_or(&[], |end| &bytes[end + 1..]);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// An integer of 1 to 9 bytes; nothing where it is none, such as NULL.
fn take_integer(rest: &mut &[u8]) -> Option<u64> {
    let count = match take_u8(rest)? {
        small @ 0..=0xfa => return Some(small.into()),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        0xfb | 0xff => return None,
    };
    let mut bytes = [0; 8];
    bytes[..count].copy_from_slice(take(rest, count)?);
    Some(u64::from_le_bytes(bytes))
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = usize::try_from(take_integer(rest)?).ok()?;
    take(rest, count)
}

/// What a server says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting {
    capabilities: u32,
    pub(super) salt: Salt,
    /// The method that a login begins with.
    pub(super) method: Method,
}

impl Greeting {
    /// Whether the server has TLS.
    pub(super) const fn has_tls(&self) -> bool {
        self.capabilities & TLS != 0
    }
}

/// The number of the error, if it is one.
pub(super) fn error(payload: &[u8]) -> Option<u16> {
    let mut rest = payload.strip_prefix(&[0xff])?;
    // An error without a number is some unknown one.
    Some(take_u16(&mut rest).unwrap_or(0))
}

/// Reads the greeting; nothing if it is none, or that of a server from before 4.1.
pub(super) fn greeting(payload: &[u8]) -> Option<Greeting> {
    let mut rest = payload.strip_prefix(&[10])?;
    let rest = &mut rest;
    take_text(rest);
    // The number of the thread.
    take(rest, 4)?;
    let first = take(rest, 8)?;
    take(rest, 1)?;
    let low = take_u16(rest)?;
    // Character set and state.
    take(rest, 3)?;
    let high = take_u16(rest)?;
    let length = usize::from(take_u8(rest)?);
    take(rest, 10)?;
    let second = take(rest, 12)?;
    // It has a NUL at the end, and is longer where the server says so.
    take(rest, length.saturating_sub(8).max(13) - 12)?;
    let capabilities = u32::from(low) | u32::from(high) << 16;
    if capabilities & (PROTOCOL_41 | SECURE_CONNECTION) != PROTOCOL_41 | SECURE_CONNECTION {
        return None;
    }
    // Whatever else it is, the server asks for it once it knows the user.
    let begins_with_sha2 = capabilities & PLUGIN_AUTH != 0 && Method::named(take_text(rest)) == Method::CachingSha2;
    let method = if begins_with_sha2 { Method::CachingSha2 } else { Method::Native };
    Some(Greeting { capabilities, salt: salt(&[first, second].concat())?, method })
}

fn salt(bytes: &[u8]) -> Option<Salt> {
    bytes.first_chunk().copied()
}

/// What we can do of what the server can.
fn head(greeting: &Greeting, tls: bool, has_database: bool) -> Vec<u8> {
    let mut ours = LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION;
    ours |= greeting.capabilities & PLUGIN_AUTH;
    if tls {
        ours |= TLS;
    }
    if has_database {
        ours |= CONNECT_WITH_DB;
    }
    let longest = u32::try_from(LONGEST).unwrap_or(u32::MAX).to_le_bytes();
    [&ours.to_le_bytes()[..], &longest, &[CHARSET], &[0; 23]].concat()
}

/// Asks for TLS, with a packet that is the start of a login.
pub(super) fn tls_request(greeting: &Greeting, has_database: bool) -> Vec<u8> {
    head(greeting, true, has_database)
}

/// The login: who we are, and what stands for the password, of at most 250 bytes.
pub(super) fn login(greeting: &Greeting, tls: bool, user: &str, answer: &[u8], database: Option<&str>) -> Vec<u8> {
    let mut payload = head(greeting, tls, database.is_some());
    payload.extend(user.as_bytes());
    payload.extend([0, u8::try_from(answer.len()).unwrap_or(0)]);
    payload.extend(answer);
    let method = (greeting.capabilities & PLUGIN_AUTH != 0).then(|| greeting.method.name());
    for text in database.into_iter().chain(method) {
        payload.extend(text.as_bytes());
        payload.push(0);
    }
    payload
}

/// A statement as a text (`COM_QUERY`).
pub(super) fn query(sql: &str) -> Vec<u8> {
    [&[3], sql.as_bytes()].concat()
}

/// The end of a connection (`COM_QUIT`), without which the server logs that it was lost.
pub(super) const QUIT: &[u8] = &[1];

/// What a server says in a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    Error(u16),
    /// Another method than the one that we began with.
    Switch(Method, Option<Salt>),
    /// A word of the method.
    More(u8),
}

/// Reads an answer to a login; nothing if it is none.
pub(super) fn step(payload: &[u8]) -> Option<Step> {
    if let Some(code) = error(payload) {
        return Some(Step::Error(code));
    }
    let (kind, mut rest) = payload.split_first()?;
    match kind {
        0 => done(payload).map(|_| Step::Done),
        1 => match rest {
            [word] => Some(Step::More(*word)),
            _ => None,
        },
        // The passwords of before 4.1.
        0xfe if rest.is_empty() => Some(Step::Switch(Method::Other, None)),
        0xfe => {
            let method = Method::named(take_text(&mut rest));
            Some(Step::Switch(method, salt(rest)))
        }
        _ => None,
    }
}

/// The state after a statement without a result; nothing if it is none.
fn done(payload: &[u8]) -> Option<u16> {
    let mut rest = payload.strip_prefix(&[0])?;
    // Rows that were changed, and the last number that was given.
    take_integer(&mut rest)?;
    take_integer(&mut rest)?;
    take_u16(&mut rest)
}

/// What a server says first about a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has no result. Whether the transaction has ended.
    Done(bool),
    Error(u16),
    /// So many columns follow.
    Columns(u64),
}

/// Reads the first answer to a statement; nothing if it is none. A server that asks for a file of ours breaks the protocol,
/// because we said that we have none.
pub(super) fn answer(payload: &[u8]) -> Option<Answer> {
    if let Some(code) = error(payload) {
        return Some(Answer::Error(code));
    }
    if payload.first() == Some(&0) {
        return done(payload).map(|state| Answer::Done(state & UNSETTLED == 0));
    }
    let mut rest = payload;
    let columns = take_integer(&mut rest).filter(|columns| (1..=COLUMNS).contains(columns))?;
    rest.is_empty().then_some(Answer::Columns(columns))
}

/// Whether the transaction has ended, if it is the end of the columns or of the rows.
pub(super) fn end(payload: &[u8]) -> Option<bool> {
    let mut rest = payload.strip_prefix(&[0xfe]).filter(|_| payload.len() < 9)?;
    // Warnings.
    take(&mut rest, 2)?;
    take_u16(&mut rest).map(|state| state & UNSETTLED == 0)
}

/// What a result consists of, in this order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// The name of a column.
    Column(&'a [u8]),
    Row(&'a [u8]),
}

/// The name of a column; nothing if it is none.
pub(super) fn column(payload: &[u8]) -> Option<&[u8]> {
    let mut rest = payload;
    // Catalogue, schema, and the table under both of its names.
    for _ in 0..4 {
        take_string(&mut rest)?;
    }
    take_string(&mut rest)
}

/// The values of a row; nothing if it is none.
pub(super) fn values(row: &[u8]) -> Option<Vec<Option<&str>>> {
    let (mut rest, mut values) = (row, Vec::new());
    while let Some(first) = rest.first() {
        values.push(if *first == 0xfb {
            take(&mut rest, 1)?;
            None
        } else {
            Some(std::str::from_utf8(take_string(&mut rest)?).ok()?)
        });
    }
    Some(values)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A greeting as MariaDB 10.11 sends it, with this method.
    pub(in crate::probe::mysql) fn greeted(method: &str, tls: bool) -> Vec<u8> {
        let low: u16 = if tls { 0xfffe } else { 0xf7fe };
        let mut payload = b"\x0a5.5.5-10.11.6-MariaDB\0\x07\0\0\0abcdefgh\0".to_vec();
        payload.extend(low.to_le_bytes());
        payload.extend(b"\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0");
        payload.extend(method.as_bytes());
        payload.push(0);
        payload
    }

    #[test]
    fn a_packet_is_read_once_its_end_is_there() {
        let bytes = [2, 0, 0, 7, 1, 2, 9];
        for cut in 0..6 {
            assert_eq!(frame(&bytes[..cut]), Ok(None));
        }
        assert_eq!(frame(&bytes), Ok(Some((7, 2))));
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_kept_for_them() {
        assert_eq!(frame(&[0, 0x80, 0, 0]), Ok(None));
        assert_eq!(frame(&[1, 0x80, 0, 0]), Err(Failure::Protocol));
        assert_eq!(frame(&[0xff, 0xff, 0xff, 0]), Err(Failure::Protocol));
        for lie in
            [&b"\xfc\xff\xff"[..], b"\xfd\xff\xff\xff", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff", b"\x05ab", b"\xff"]
        {
            assert_eq!(values(lie), None, "{lie:?}");
            assert_eq!(column(&[b"\x01d\x01s\x01t\x01t", lie].concat()), None, "{lie:?}");
        }
        assert_eq!(answer(b"\xfd\xff\xff\xff"), None);
    }

    #[test]
    fn a_greeting_has_the_salt_and_the_method() {
        let payload = greeted("caching_sha2_password", true);
        let read = greeting(&payload).unwrap();
        assert_eq!((&read.salt, read.method), (b"abcdefghijklmnopqrst", Method::CachingSha2));
        assert!(read.has_tls() && !greeting(&greeted("x", false)).unwrap().has_tls());
        for cut in 0..payload.len() - 22 {
            assert_eq!(greeting(&payload[..cut]), None, "{cut}");
        }
        // Before 4.1.
        assert_eq!(greeting(b"\x0a3.23\0\x07\0\0\0abcdefgh\0\0\0"), None);
        assert_eq!(greeting(b"\xff\x10\x04Too many connections"), None);
        assert_eq!(error(b"\xff\x10\x04Too many connections"), Some(1040));
    }

    #[test]
    fn a_login_names_the_method_that_its_answer_is_of() {
        let read = greeting(&greeted("client_ed25519", true)).unwrap();
        let payload = login(&read, true, "alice", b"xyz", Some("shop"));
        assert_eq!(&payload[32..], b"alice\0\x03xyzshop\0mysql_native_password\0");
        assert_eq!(payload[..32], tls_request(&read, true));
        assert_eq!(u32::from_le_bytes(*payload.first_chunk().unwrap()) & (1 << 7 | 1 << 16), 0, "no files, no lists");
    }

    #[test]
    fn each_step_of_a_login_is_told_from_the_others() {
        let switch = b"\xfemysql_native_password\0abcdefghijklmnopqrst\0";
        assert_eq!(step(switch), Some(Step::Switch(Method::Native, Some(*b"abcdefghijklmnopqrst"))));
        assert_eq!(step(b"\xfedialog\0Password: "), Some(Step::Switch(Method::Other, None)));
        assert_eq!(step(b"\xfe"), Some(Step::Switch(Method::Other, None)));
        assert_eq!(step(b"\x01\x04"), Some(Step::More(4)));
        assert_eq!(step(b"\0\0\0\x02\0\0\0"), Some(Step::Done));
        assert_eq!(step(b"\xff\x15\x04#28000no"), Some(Step::Error(1045)));
        for other in [&b""[..], b"\0", b"\0\0\0", b"\x01", b"\x01ab", b"\x02"] {
            assert_eq!(step(other), None, "{other:?}");
        }
    }

    #[test]
    fn an_answer_to_a_statement_is_a_state_an_error_or_columns() {
        assert_eq!(answer(b"\0\x01\0\x02\0\0\0"), Some(Answer::Done(true)));
        assert_eq!(answer(b"\0\x01\0\x03\0\0\0"), Some(Answer::Done(false)));
        assert_eq!(answer(b"\0\x01\0\x0a\0\0\0"), Some(Answer::Done(false)), "more results");
        assert_eq!(answer(b"\x02"), Some(Answer::Columns(2)));
        // A file of ours, no column, more behind the number.
        for other in [&b"\xfb/etc/passwd"[..], b"", b"\x02x", b"\xfc\xff\xff"] {
            assert_eq!(answer(other), None, "{other:?}");
        }
        assert_eq!((end(b"\xfe\0\0\x02\0"), end(b"\xfe\0\0\x03\0"), end(b"\x01a")), (Some(true), Some(false), None));
        assert_eq!(values(b"\x02ab\xfb\0"), Some(vec![Some("ab"), None, Some("")]));
    }
}
