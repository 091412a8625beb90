//! The messages of PostgreSQL's protocol, version 3, as far as a login and a simple query need them.

use crate::model::Failure;

/// The longest message that is read: an error with its context, or a row of a query that should have few.
const LONGEST: usize = 32 << 10;

/// Bytes before the body: the kind, and the length, which counts itself.
const HEADER: usize = 5;

/// Version 3.0 of the protocol.
const VERSION: u32 = 3 << 16;

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// What to authenticate with, or that this is done.
    Authentication(Authentication<'a>),
    /// That it awaits the next query; the byte says whether a transaction is open.
    Ready(u8),
    /// An error or the end of the connection, by its SQLSTATE.
    Error(Option<[u8; 5]>),
    /// A row of a result.
    Row(&'a [u8]),
    /// What brings the answer on without being asked for: settings, notices, descriptions and ends of results.
    Other,
}

/// How a server wants us to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authentication<'a> {
    Done,
    Cleartext,
    Md5([u8; 4]),
    /// The names of mechanisms, each with a NUL after it, and a NUL.
    Sasl(&'a [u8]),
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
    /// Kerberos and others that we do not have.
    Other,
}

/// The message at the start of what a server said, and how long it is; nothing if its end is not there yet.
///
/// # Errors
/// It is too long, or no such message.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>, Failure> {
    let Some(([kind, length @ ..], rest)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let length = length.checked_sub(4).filter(|length| *length <= LONGEST).ok_or(Failure::Protocol)?;
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let message = match kind {
        b'R' => Message::Authentication(authentication(body).ok_or(Failure::Protocol)?),
        b'Z' => match body {
            [status] => Message::Ready(*status),
            _ => return Err(Failure::Protocol),
        },
        b'E' => Message::Error(sqlstate(body)),
        b'D' => Message::Row(body),
        // Settings, key to cancel, version, notice, notification, description of rows, end of a statement, empty statement.
        b'S' | b'K' | b'v' | b'N' | b'A' | b'T' | b'C' | b'I' => Message::Other,
        _ => return Err(Failure::Protocol),
    };
    Ok(Some((message, HEADER + length)))
}

fn authentication(body: &[u8]) -> Option<Authentication<'_>> {
    let (code, rest) = body.split_first_chunk()?;
    Some(match u32::from_be_bytes(*code) {
        0 => Authentication::Done,
        3 => Authentication::Cleartext,
        5 => Authentication::Md5(rest.try_into().ok()?),
        10 => Authentication::Sasl(rest),
        11 => Authentication::SaslContinue(rest),
        12 => Authentication::SaslFinal(rest),
        _ => Authentication::Other,
    })
}

/// The code of an error: fields, each a letter and a text with a NUL after it.
fn sqlstate(body: &[u8]) -> Option<[u8; 5]> {
    let code = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C"))?;
    code.try_into().ok()
}

/// The columns of a row; nothing if it is none.
pub(super) fn columns(row: &[u8]) -> Option<Vec<Option<&str>>> {
    let (count, mut rest) = row.split_first_chunk()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk()?;
        rest = after;
        columns.push(match i32::from_be_bytes(*length) {
            -1 => None,
            length => {
                let (column, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = after;
                Some(std::str::from_utf8(column).ok()?)
            }
        });
    }
    Some(columns)
}

/// What an error of the server is counted as.
pub(super) fn failure(code: Option<[u8; 5]>) -> Failure {
    match code.as_ref() {
        Some([b'2', b'8', ..]) => Failure::Auth,
        // `statement_timeout` was over.
        Some(b"57014") => Failure::Timeout,
        Some([b'0', b'8', ..]) | None => Failure::Protocol,
        // Too many connections, recovery, shutdown, no such database or table, no right.
        Some(_) => Failure::Status,
    }
}

/// The code, for a log line.
pub(super) fn code_text(code: Option<[u8; 5]>) -> String {
    let code = code.unwrap_or(*b"-----");
    code.iter().map(|byte| if byte.is_ascii_alphanumeric() { char::from(*byte) } else { '?' }).collect()
}

/// The first message: who we are.
pub(super) fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = VERSION.to_be_bytes().to_vec();
    for (name, value) in
        [("user", user), ("database", database), ("application_name", "regionwatch"), ("client_encoding", "UTF8")]
    {
        for text in [name, value] {
            body.extend(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    framed(None, &body)
}

/// A password, or whatever else stands for one.
pub(super) fn password(bytes: &[u8]) -> Vec<u8> {
    framed(Some(b'p'), &[bytes, &[0]].concat())
}

/// The mechanism that we choose, with its first message.
pub(super) fn sasl_initial(mechanism: &str, first: &[u8]) -> Vec<u8> {
    let length = u32::try_from(first.len()).unwrap_or(0).to_be_bytes();
    framed(Some(b'p'), &[mechanism.as_bytes(), &[0], &length, first].concat())
}

/// A later message of the mechanism.
pub(super) fn sasl(bytes: &[u8]) -> Vec<u8> {
    framed(Some(b'p'), bytes)
}

/// Statements, by the simple protocol.
pub(super) fn query(sql: &str) -> Vec<u8> {
    framed(Some(b'Q'), &[sql.as_bytes(), &[0]].concat())
}

/// The end of a connection, without which the server logs that it was lost.
pub(super) fn terminate() -> Vec<u8> {
    framed(Some(b'X'), &[])
}

fn framed(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(0).to_be_bytes();
    kind.into_iter().chain(length).chain(body.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_once_its_end_is_there() {
        let ready = [b'Z', 0, 0, 0, 5, b'I', b'Z'];
        for cut in 0..6 {
            assert_eq!(parse(&ready[..cut]), Ok(None));
        }
        assert_eq!(parse(&ready), Ok(Some((Message::Ready(b'I'), 6))));
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_kept_for_them() {
        for length in [0_u32, 3, 4 + 1 + LONGEST as u32, u32::MAX, 1 << 31] {
            let message = [&[b'D'][..], &length.to_be_bytes()].concat();
            assert_eq!(parse(&message), Err(Failure::Protocol), "{length}");
        }
    }

    #[test]
    fn an_error_is_counted_by_its_code() {
        let code = |fields: &[u8]| match parse(&framed(Some(b'E'), fields)) {
            Ok(Some((Message::Error(code), _))) => code,
            other => panic!("{other:?}"),
        };
        for (given, expected) in [
            ("28P01", Failure::Auth),
            ("28000", Failure::Auth),
            ("57014", Failure::Timeout),
            ("57P03", Failure::Status),
            ("53300", Failure::Status),
            ("25006", Failure::Status),
            ("08P01", Failure::Protocol),
            ("x", Failure::Protocol),
        ] {
            let fields = format!("SFATAL\0VFATAL\0C{given}\0Mno\0\0");
            assert_eq!(failure(code(fields.as_bytes())), expected, "{given}");
        }
        assert_eq!(code(b"\0"), None);
        assert_eq!(code_text(Some(*b"28\n01")), "28?01");
    }
}
