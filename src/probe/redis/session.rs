//! A connection to a server: the login, and one command after another.

use std::{fmt, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};
use tracing::debug;

use super::{
    commands, errors,
    resp::{self, Reply},
};
use crate::{
    model::{Failure, FailureDetail, RedisFault},
    net::{Attempt, Connection, Elapsed, StreamTimestamps},
    probe::database::{Both, DatabaseSession, Found, Problem, StatusAnswer, broken},
};

/// The bytes that a server may send in reply to a login, or to commands that are sent together.
const ALLOWANCE: usize = 64 << 10;

/// The bytes that are read at a time.
const ROOM: usize = 4 << 10;

/// Commands to a server, and its replies.
struct Wire<T> {
    io: T,
    /// The replies to the last commands.
    buffer: Vec<u8>,
    /// How many they are.
    commands: usize,
    /// The last error that the server has reported.
    fault: Option<RedisFault>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    const fn new(io: T) -> Self {
        Self { io, buffer: Vec::new(), commands: 0, fault: None }
    }

    /// Sends so many commands at once, and waits for the reply to each.
    async fn ask(&mut self, (bytes, commands): (Vec<u8>, usize)) -> Result<(), Failure> {
        self.buffer.clear();
        (self.commands, self.fault) = (commands, None);
        self.io.write_all(&bytes).await.map_err(|error| broken(&error))?;
        self.io.flush().await.map_err(|error| broken(&error))?;
        while resp::replies(&self.buffer, commands)?.is_none() {
            if let Err(failure) = self.receive().await {
                // A server that has too many connections says so, and closes.
                let fault = resp::first_error(&self.buffer).map(errors::fault);
                return Err(fault.map_or(failure, |fault| self.refused(fault)));
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        self.buffer.reserve(ROOM);
        match self.io.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Failure::Refused),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(&error)),
        }
    }

    /// The replies to what was asked last.
    fn replies(&self) -> Result<Vec<Reply<'_>>, Failure> {
        resp::replies(&self.buffer, self.commands)?.ok_or(Failure::Protocol)
    }

    /// Logs in.
    async fn login(&mut self, command: Vec<u8>) -> Result<(), Failure> {
        self.ask((command, 1)).await?;
        let fault = match self.replies()?.as_slice() {
            [Reply::Status(b"OK")] => return Ok(()),
            [Reply::Error(text)] => errors::fault(text),
            _ => return Err(Failure::Protocol),
        };
        self.refused(fault);
        Err(errors::login_failure(fault))
    }

    /// Runs commands, each a line, of which none may fail.
    async fn run(&mut self, lines: &str) -> Result<(), Failure> {
        self.ask(resp::commands(lines)).await?;
        let error = |reply: &Reply<'_>| match reply {
            Reply::Error(text) => Some(errors::fault(text)),
            _ => None,
        };
        let fault = self.replies()?.iter().find_map(error);
        fault.map_or(Ok(()), |fault| Err(self.refused(fault)))
    }

    /// Whether the user may run what one with the least rights may not.
    async fn is_superuser(&mut self) -> Result<bool, Failure> {
        self.ask(resp::commands(commands::ADMINISTRATION)).await?;
        Ok(matches!(self.replies()?.as_slice(), [Reply::Integer(_)]))
    }

    /// What an error of the server is counted as.
    fn refused(&mut self, fault: RedisFault) -> Failure {
        self.fault = Some(fault);
        debug!("Redis says error {fault}");
        errors::failure(fault)
    }
}

/// A connection on which one command after another runs.
pub(crate) struct Session {
    wire: Wire<Box<dyn Both>>,
    timestamps: Arc<StreamTimestamps>,
    /// Whether the user has too many rights; unknown until that was tried.
    superuser: Option<bool>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// A connection on which nothing was said yet.
    pub(super) fn new(connection: Connection) -> Self {
        let timestamps = connection.enable_timestamps();
        let wire = Wire::new(Box::new(connection.io) as Box<dyn Both>);
        Self { wire, timestamps, superuser: None }
    }

    fn begin(&self) {
        self.timestamps.begin();
        self.timestamps.allow(ALLOWANCE);
    }

    /// From the departure of the last commands to the arrival of the end of the replies. Tells the attempt which error the
    /// server has reported, if it was one.
    fn elapsed(&self, result: Result<(), Failure>, attempt: &Attempt) -> Result<Elapsed, Failure> {
        if let (Err(_), Some(fault)) = (&result, self.wire.fault) {
            attempt.set_detail(FailureDetail::Redis(fault));
        }
        result?;
        let readings = self.timestamps.read();
        Elapsed::between(readings.last_sent, readings.last_received).ok_or(Failure::Local)
    }

    /// Logs in: `AUTH`, and a user with its password or a password alone.
    pub(super) async fn login(&mut self, words: &[&[u8]], attempt: &Attempt) -> Result<Elapsed, Failure> {
        self.begin();
        let result = self.wire.login(resp::command(words)).await;
        self.elapsed(result, attempt)
    }

    async fn run(&mut self, lines: &str, attempt: &Attempt) -> Result<Elapsed, Failure> {
        self.begin();
        let result = self.wire.run(lines).await;
        self.elapsed(result, attempt)
    }
}

impl DatabaseSession for Session {
    async fn read(&mut self, statement: &str, attempt: &Attempt) -> Result<Elapsed, Failure> {
        self.run(statement, attempt).await
    }

    async fn status(&mut self, statement: &str, attempt: &Attempt) -> Result<StatusAnswer, Failure> {
        let began = Instant::now();
        let elapsed = self.run(statement, attempt).await?;
        let ended = Instant::now();
        let found = commands::found(&self.wire.replies()?).ok_or(Failure::Protocol)?;
        let superuser = match self.superuser {
            Some(known) => known,
            None => {
                self.begin();
                self.wire.is_superuser().await?
            }
        };
        self.superuser = Some(superuser);
        Ok(StatusAnswer { began, ended, elapsed, found: Found { superuser, ..found } })
    }

    async fn write(&mut self, statement: &str, attempt: &Attempt) -> Result<Elapsed, Failure> {
        self.run(statement, attempt).await
    }

    fn problem(&self) -> Option<Problem> {
        errors::problem(self.wire.fault?)
    }

    /// A server of Redis takes an end without a word, and logs none.
    async fn end(self) {}
}

/// What the fuzz target calls: a login, a status and a write, with a server that says these bytes, up to a NUL at a time.
pub fn fuzz_redis_session(bytes: &[u8]) {
    let mut said = bytes.splitn(4, |byte| *byte == 0);
    let mut next = || said.next().unwrap_or_default();
    let said = next().chain(next()).chain(next()).chain(next());
    let talk = async {
        let mut wire = Wire::new(tokio::io::join(said, tokio::io::sink()));
        wire.login(resp::command(&[b"AUTH", b"a", b"secret"])).await?;
        wire.run(&commands::status("a")).await?;
        let _ = commands::found(&wire.replies()?);
        wire.is_superuser().await?;
        wire.run(&commands::write("a", 1, 1)).await
    };
    let mut talk = std::pin::pin!(talk);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // Nothing waits: it only lets others have their turn, a bounded number of times.
    let ended = (0..1000).any(|_| talk.as_mut().poll(&mut context).is_ready());
    assert!(ended, "it waits for what has come");
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"+OK\r\n";
    const MASTER: &[u8] = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n*0\r\n";

    /// What becomes of a login and a status with a server that says so, and the error that it has reported.
    async fn talk(login: &[u8], status: &[u8]) -> (Result<(), Failure>, Option<RedisFault>) {
        let mut wire = Wire::new(tokio::io::join(login.chain(status), tokio::io::sink()));
        let result = match wire.login(resp::command(&[b"AUTH", b"secret"])).await {
            Ok(()) => wire.run(&commands::status("a")).await,
            failed => failed,
        };
        (result, wire.fault)
    }

    #[tokio::test]
    async fn replies_come_in_pieces_and_their_end_ends_the_wait() {
        assert_eq!(talk(OK, MASTER).await, (Ok(()), None));
        for cut in 0..MASTER.len() {
            let (first, second) = MASTER.split_at(cut);
            let mut wire = Wire::new(tokio::io::join(first.chain(second), tokio::io::sink()));
            assert_eq!(wire.run("ROLE\nPING").await, Ok(()), "{cut}");
            assert_eq!(talk(OK, first).await, (Err(Failure::Refused), None), "{cut}");
        }
    }

    #[tokio::test]
    async fn a_server_that_goes_on_without_end_is_a_protocol_error() {
        let protocol = (Err(Failure::Protocol), None);
        assert_eq!(talk(&OK.repeat(2), MASTER).await, protocol);
        assert_eq!(talk(OK, &[MASTER, OK].concat()).await, protocol);
        assert_eq!(talk(&[b"+"[..].to_vec(), b"x".repeat(100_000)].concat(), MASTER).await, protocol);
        assert_eq!(talk(OK, &[b"*1000\r\n".to_vec(), b":1\r\n".repeat(2000)].concat()).await, protocol);
        assert_eq!(talk(b"HTTP/1.1 400 Bad Request\r\n", MASTER).await, protocol);
        // What is no reply to a login.
        for other in [&b"+QUEUED\r\n"[..], b":1\r\n", b"$-1\r\n", b"*0\r\n"] {
            assert_eq!(talk(other, MASTER).await, protocol, "{other:?}");
        }
    }

    #[tokio::test]
    async fn an_error_counts_whether_the_connection_ends_after_it_or_not() {
        type Case<'a> = (&'a [u8], &'a [u8], Failure, RedisFault);
        let cases: [Case<'_>; 6] = [
            (b"-WRONGPASS no\r\n", MASTER, Failure::Auth, RedisFault::WrongPass),
            (b"-ERR wrong number of arguments for 'auth' command\r\n", MASTER, Failure::Auth, RedisFault::Other),
            (b"-ERR max number of clients reached\r\n", MASTER, Failure::Status, RedisFault::MaxClients),
            (OK, b"-NOPERM no\r\n", Failure::Auth, RedisFault::NoPerm),
            (OK, b"*0\r\n-LOADING wait\r\n", Failure::Status, RedisFault::Loading),
            (OK, b"-LOADING wait\r\n-NOPERM no\r\n", Failure::Status, RedisFault::Loading),
        ];
        for (login, status, failure, fault) in cases {
            assert_eq!(talk(login, status).await, (Err(failure), Some(fault)), "{}", login.escape_ascii());
        }
    }

    #[tokio::test]
    async fn a_user_that_may_ask_what_it_does_not_need_is_a_superuser() {
        let cases: [(&[u8], bool); 3] =
            [(b":1700000000\r\n", true), (b"-NOPERM no\r\n", false), (b"-ERR unknown\r\n", false)];
        for (said, expected) in cases {
            let mut wire = Wire::new(tokio::io::join(said, tokio::io::sink()));
            assert_eq!((wire.is_superuser().await, wire.fault), (Ok(expected), None));
        }
    }
}
