//! What is asked of a server of a replicated database, what it replies, and what an administrator has to run.

use super::resp::{self, Reply};
use crate::probe::database::{Found, NoTokens};

/// The keys of the tokens: a stream for each vantage.
pub(super) const KEYS: &str = "regionwatch:token:*";

/// How many tokens a stream keeps. A write that was late may have put an older token after a newer one, and an instance with
/// the same name may have put its own between them: the newest is among so many.
const KEPT: u32 = 8;

/// Commands that change nothing, and take as long as no other client can make them take.
const READING: [&str; 9] = ["PING", "GET", "EXISTS", "STRLEN", "TTL", "TYPE", "HGET", "LLEN", "XLEN"];

/// What a user with the least rights must not run, and what does nothing: when the data was saved last.
pub(super) const ADMINISTRATION: &str = "LASTSAVE";

fn key(vantage: &str) -> String {
    format!("regionwatch:token:{vantage}")
}

/// Whether a line is one command that only reads.
pub(super) fn only_reads(line: &str) -> bool {
    let name = line.split_ascii_whitespace().next().unwrap_or_default();
    READING.iter().any(|reading| reading.eq_ignore_ascii_case(name)) && !line.contains(char::is_control)
}

/// Reads the role, and then the tokens.
pub(super) fn status(vantage: &str) -> String {
    format!("ROLE\nXREVRANGE {} + - COUNT {KEPT}", key(vantage))
}

/// Writes a token. What is older than the last few goes at the same moment.
pub(super) fn write(vantage: &str, incarnation: u64, sequence: u64) -> String {
    format!("XADD {} MAXLEN {KEPT} * {incarnation} {sequence}", key(vantage))
}

/// What the replies to [`status`] say; nothing if they are none. A replica says how far it has received as an offset of the
/// primary's, and does not say how long ago that was.
pub(super) fn found(replies: &[Reply<'_>]) -> Option<Found> {
    let [Reply::List(role), Reply::List(entries)] = replies else { return None };
    let found = Found {
        writable: false,
        no_tokens: None,
        tokens: entries.iter().filter_map(token).collect(),
        received: None,
        receiver: false,
        paused: false,
        engine_lag: None,
        superuser: false,
    };
    match role.as_slice() {
        [Reply::Text(role), ..] if *role == b"master" => Some(Found { writable: true, ..found }),
        [Reply::Text(role), _host, _port, Reply::Text(state), Reply::Integer(offset)] if *role == b"slave" => {
            Some(Found {
                no_tokens: Some(NoTokens::Replicates),
                received: u64::try_from(*offset).ok(),
                // While it reads a copy of all data, nothing of what is written meanwhile is there.
                receiver: *state == b"connected",
                ..found
            })
        }
        // A sentinel has no data.
        _ => None,
    }
}

/// An entry of a stream, if it is a token: its name, and a list of an incarnation and a sequence.
fn token(entry: &Reply<'_>) -> Option<(u64, u64)> {
    let Reply::List(entry) = entry else { return None };
    let [_, Reply::List(fields)] = entry.as_slice() else { return None };
    let [Reply::Text(incarnation), Reply::Text(sequence)] = fields.as_slice() else { return None };
    Some((resp::parsed(incarnation)?, resp::parsed(sequence)?))
}

/// What an administrator has to run at every server: a user with no other right. It cannot log in before it has a password.
pub fn redis_setup(user: &str) -> String {
    format!("ACL SETUSER {user} ~{KEYS} +ping +role +xadd +xrevrange\n")
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const MASTER: &str =
        "*3\r\n$6\r\nmaster\r\n:3129659\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$4\r\n9001\r\n$7\r\n3129242\r\n";

    fn replica(state: &str, offset: i64) -> String {
        format!("*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:9000\r\n${}\r\n{state}\r\n:{offset}\r\n", state.len())
    }

    fn tokens(tokens: &[(&str, &str)]) -> String {
        let entry = |(incarnation, sequence): &(&str, &str)| {
            let [first, second] = [incarnation, sequence].map(|text| format!("${}\r\n{text}\r\n", text.len()));
            format!("*2\r\n$3\r\n1-0\r\n*2\r\n{first}{second}")
        };
        format!("*{}\r\n{}", tokens.len(), tokens.iter().map(entry).collect::<String>())
    }

    fn read(role: &str, tokens: &str) -> Option<Found> {
        let bytes = format!("{role}{tokens}");
        found(&resp::replies(bytes.as_bytes(), 2).unwrap().unwrap())
    }

    #[test]
    fn the_newest_token_of_a_process_counts_wherever_it_lies() {
        let now = Instant::now();
        let token = |list: &[(&str, &str)], incarnation| {
            read(MASTER, &tokens(list)).unwrap().reading(incarnation, now, now).token
        };
        let late = [("7", "40"), ("8", "999"), ("7", "41"), ("7", "39"), ("x", "42"), ("7", "-1")];
        assert_eq!((token(&late, 7), token(&late, 8), token(&late, 9)), (Some(41), Some(999), None));
        assert_eq!(token(&[], 7), None);
    }

    #[test]
    fn a_replica_takes_no_tokens_and_says_whether_it_has_a_connection_and_how_far_it_has_received() {
        let master = read(MASTER, &tokens(&[])).unwrap();
        assert_eq!((master.writable, master.no_tokens), (true, None));
        for (state, receiver) in [("connected", true), ("connect", false), ("connecting", false), ("sync", false)] {
            let found = read(&replica(state, 14), &tokens(&[])).unwrap();
            let expected = (false, Some(NoTokens::Replicates), receiver, Some(14));
            assert_eq!((found.writable, found.no_tokens, found.receiver, found.received), expected, "{state}");
        }
        assert_eq!(read(&replica("connect", -1), &tokens(&[])).unwrap().received, None);
    }

    #[test]
    fn replies_to_something_else_say_nothing() {
        let sentinel = "*2\r\n$8\r\nsentinel\r\n*0\r\n";
        for role in [sentinel, "*0\r\n", "*1\r\n$5\r\nslave\r\n", "+master\r\n", "$-1\r\n"] {
            assert_eq!(read(role, &tokens(&[])), None, "{role}");
        }
        for tokens in ["$-1\r\n", ":1\r\n"] {
            assert_eq!(read(MASTER, tokens), None, "{tokens}");
        }
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn a_query_is_one_command_that_only_reads() {
        for query in ["PING", "get a", "GET a b", "TTL a"] {
            assert!(only_reads(query), "{query}");
        }
        for query in ["", "SET a b", "FLUSHALL", "PING\nFLUSHALL", "PING\r\nFLUSHALL", "GETDEL a", "EVAL x 0", "KEYS *"]
        {
            assert!(!only_reads(query), "{query}");
        }
    }
}
