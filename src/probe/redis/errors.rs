//! What the errors of Redis mean.

use crate::{
    model::{Failure, RedisFault},
    probe::database::Problem,
};

/// Which error it is, by the words that it begins with.
pub(super) fn fault(text: &[u8]) -> RedisFault {
    let words = text.strip_prefix(b"ERR ").unwrap_or(text);
    let begins = |fault: &RedisFault| {
        let rest = words.strip_prefix(fault.as_str().as_bytes());
        rest.is_some_and(|rest| matches!(rest, [] | [b' ' | b':', ..]))
    };
    RedisFault::ALL.into_iter().find(begins).unwrap_or(RedisFault::Other)
}

/// What an error of the server is counted as.
pub(super) const fn failure(fault: RedisFault) -> Failure {
    match fault {
        RedisFault::NoAuth
        | RedisFault::WrongPass
        | RedisFault::NoPerm
        | RedisFault::Denied
        | RedisFault::InvalidPassword
        | RedisFault::NoPassword => Failure::Auth,
        RedisFault::Protocol => Failure::Protocol,
        RedisFault::MaxClients
        | RedisFault::Loading
        | RedisFault::ReadOnly
        | RedisFault::MasterDown
        | RedisFault::Busy
        | RedisFault::OutOfMemory
        | RedisFault::Misconfigured
        | RedisFault::NoReplicas
        | RedisFault::Moved
        | RedisFault::ClusterDown
        | RedisFault::WrongType
        | RedisFault::UnknownCommand
        | RedisFault::Other => Failure::Status,
    }
}

/// What an error is counted as that is the reply to a login.
pub(super) const fn login_failure(fault: RedisFault) -> Failure {
    match fault {
        // Such as a user, which a server before Redis 6 does not have.
        RedisFault::Other => Failure::Auth,
        _ => failure(fault),
    }
}

/// What keeps the tokens from being used. The first write creates a key that is missing.
pub(super) fn problem(fault: RedisFault) -> Option<Problem> {
    (fault == RedisFault::NoPerm).then_some(Problem::NoRight)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Redis 7 says them.
    #[test]
    fn an_error_is_counted_by_the_words_that_it_begins_with() {
        for (text, expected, counted) in [
            ("NOAUTH Authentication required.", RedisFault::NoAuth, Failure::Auth),
            ("WRONGPASS invalid username-password pair or user is disabled.", RedisFault::WrongPass, Failure::Auth),
            ("NOPERM this user has no permissions to run the 'xadd' command", RedisFault::NoPerm, Failure::Auth),
            ("DENIED Redis is running in protected mode", RedisFault::Denied, Failure::Auth),
            ("ERR invalid password", RedisFault::InvalidPassword, Failure::Auth),
            ("ERR max number of clients reached", RedisFault::MaxClients, Failure::Status),
            ("LOADING Redis is loading the dataset in memory", RedisFault::Loading, Failure::Status),
            ("READONLY You can't write against a read only replica.", RedisFault::ReadOnly, Failure::Status),
            ("OOM command not allowed when used memory > 'maxmemory'.", RedisFault::OutOfMemory, Failure::Status),
            ("ERR unknown command 'XADD', with args beginning with: 'a'", RedisFault::UnknownCommand, Failure::Status),
            ("ERR Protocol error: invalid bulk length", RedisFault::Protocol, Failure::Protocol),
            ("BUSYGROUP Consumer Group name already exists", RedisFault::Other, Failure::Status),
            ("ERR", RedisFault::Other, Failure::Status),
            ("", RedisFault::Other, Failure::Status),
        ] {
            let fault = fault(text.as_bytes());
            assert_eq!((fault, failure(fault)), (expected, counted), "{text}");
        }
        assert_eq!(login_failure(RedisFault::Other), Failure::Auth);
        assert_eq!(login_failure(RedisFault::MaxClients), Failure::Status);
    }
}
