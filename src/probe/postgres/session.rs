//! A connection to a server: the login, and one statement after another.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};
use tracing::debug;

use super::{
    login::{Credentials, Passphrase},
    message::{self, Authentication, Message},
    scram::{self, Exchange},
    sql,
};
use crate::{
    model::{Failure, FailureDetail},
    net::{Attempt, Connection, Elapsed, StreamTimestamps},
    probe::database::{Both, DatabaseSession, Problem, StatusAnswer, broken},
    yaml::Secret,
};

/// The bytes that a server may send in answer to a login or a statement.
const ALLOWANCE: usize = 64 << 10;

/// The messages that they may be.
const MESSAGES: u32 = 1000;

/// The bytes that are read at a time.
const ROOM: usize = 4 << 10;

/// Messages to and from a server.
struct Wire<T> {
    io: T,
    /// What has come and was not read, from `read` on.
    buffer: Vec<u8>,
    read: usize,
    /// How many more messages may come.
    left: u32,
    /// The last error that the server has reported.
    error: Option<[u8; 5]>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    const fn new(io: T) -> Self {
        Self { io, buffer: Vec::new(), read: 0, left: MESSAGES, error: None }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.io.write_all(bytes).await.map_err(|error| broken(&error))?;
        self.io.flush().await.map_err(|error| broken(&error))
    }

    /// The next message. Those that say nothing are left out.
    async fn next(&mut self) -> Result<Message<'_>, Failure> {
        loop {
            let unread = &self.buffer[self.read..];
            match message::parse(unread)? {
                Some((message, length)) => {
                    self.left = self.left.checked_sub(1).ok_or(Failure::Protocol)?;
                    let from = self.read;
                    self.read += length;
                    if message != Message::Other {
                        // Parsed again, because the borrow of what is returned would last through the loop.
                        return message::parse(&self.buffer[from..])?
                            .map(|(message, _)| message)
                            .ok_or(Failure::Protocol);
                    }
                }
                None => self.receive().await?,
            }
        }
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.reserve(ROOM);
        match self.io.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Failure::Refused),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Logs in.
    async fn login(&mut self, credentials: &Credentials<'_>, nonce: &str) -> Result<(), Failure> {
        (self.left, self.error) = (MESSAGES, None);
        self.send(&message::startup(credentials.user, credentials.database)).await?;
        let mut has_answered = false;
        loop {
            let step = match self.next().await? {
                Message::Authentication(step) => step,
                Message::Error(code) if has_answered => return Err(self.denied(code)),
                Message::Error(code) => return Err(self.refused(code)),
                _ => return Err(Failure::Protocol),
            };
            has_answered = true;
            match (step, &credentials.password) {
                (Authentication::Done, _) => break,
                // Kerberos and the like are refused by us, as is a password that we do not have.
                (Authentication::Other, _) | (_, None) => return Err(Failure::Auth),
                (Authentication::Cleartext, Some(password)) if credentials.cleartext => {
                    let answer = message::password(password.cleartext());
                    self.send(&answer).await?;
                }
                (Authentication::Cleartext, Some(_)) => return Err(Failure::Auth),
                (Authentication::Md5(salt), Some(password)) => {
                    let answer = message::password(password.md5(credentials.user, salt).as_bytes());
                    self.send(&answer).await?;
                }
                (Authentication::Sasl(mechanisms), Some(password)) => {
                    if !mechanisms.split(|byte| *byte == 0).any(|name| name == scram::MECHANISM.as_bytes()) {
                        return Err(Failure::Auth);
                    }
                    self.scram(password, Exchange { nonce }).await?;
                }
                (Authentication::SaslContinue(_) | Authentication::SaslFinal(_), Some(_)) => {
                    return Err(Failure::Protocol);
                }
            }
        }
        match self.next().await? {
            Message::Ready(b'I') => Ok(()),
            // Such as too many connections.
            Message::Error(code) => Err(self.refused(code)),
            _ => Err(Failure::Protocol),
        }
    }

    /// Both sides show that they know the password.
    async fn scram(&mut self, password: &Passphrase, exchange: Exchange<'_>) -> Result<(), Failure> {
        self.send(&message::sasl_initial(scram::MECHANISM, exchange.first().as_bytes())).await?;
        let challenge = match self.next().await? {
            Message::Authentication(Authentication::SaslContinue(text)) => exchange.challenge(text),
            Message::Error(code) => return Err(self.refused(code)),
            _ => None,
        };
        let challenge = challenge.ok_or(Failure::Protocol)?;
        let salted = password.salted(&challenge).await;
        let (last, expected) = exchange.proof(&challenge, &salted);
        self.send(&message::sasl(last.as_bytes())).await?;
        match self.next().await? {
            Message::Authentication(Authentication::SaslFinal(text)) if text == expected.as_bytes() => Ok(()),
            // The answer does not come from a server that knows the password.
            Message::Authentication(Authentication::SaslFinal(_)) => Err(Failure::Auth),
            Message::Error(code) => Err(self.denied(code)),
            _ => Err(Failure::Protocol),
        }
    }

    /// Runs statements, and gives each row to the function. Afterwards no transaction may be open.
    async fn run(&mut self, sql: &str, mut on_row: impl FnMut(&[u8])) -> Result<(), Failure> {
        (self.left, self.error) = (MESSAGES, None);
        self.send(&message::query(sql)).await?;
        loop {
            match self.next().await? {
                Message::Ready(b'I') => return Ok(()),
                Message::Row(row) => on_row(row),
                // The connection is not used again: the transaction is still open.
                Message::Error(code) => return Err(self.refused(code)),
                _ => return Err(Failure::Protocol),
            }
        }
    }

    /// What an error of the server is counted as.
    fn refused(&mut self, code: Option<[u8; 5]>) -> Failure {
        self.error = code;
        debug!("PostgreSQL says error {}", message::code_text(code));
        message::failure(code)
    }

    /// The failure of a password. PgBouncer has one code for all errors.
    fn denied(&mut self, code: Option<[u8; 5]>) -> Failure {
        match self.refused(code) {
            Failure::Protocol => Failure::Auth,
            failure => failure,
        }
    }
}

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Write,
}

/// A connection on which one statement after another runs.
pub(crate) struct Session {
    wire: Wire<Box<dyn Both>>,
    timestamps: Arc<StreamTimestamps>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// A connection on which nothing was said yet.
    pub(super) fn new(connection: Connection, timestamps: Arc<StreamTimestamps>) -> Self {
        Self { wire: Wire::new(Box::new(connection.io)), timestamps }
    }

    fn begin(&self) {
        self.timestamps.begin();
        self.timestamps.allow(ALLOWANCE);
    }

    /// Tells the attempt which error the server has reported, if it was one.
    fn explain<T>(&self, result: Result<T, Failure>, attempt: &Attempt) -> Result<T, Failure> {
        if let (Err(_), Some(code)) = (&result, self.wire.error) {
            attempt.set_detail(FailureDetail::SqlState(code));
        }
        result
    }

    /// Logs in. Returns the time from the first byte of it that was sent to the last that was received.
    pub(super) async fn login(&mut self, credentials: &Credentials<'_>, attempt: &Attempt) -> Result<Elapsed, Failure> {
        self.begin();
        let nonce = format!("{:032x}", rand::random::<u128>());
        let result = self.wire.login(credentials, &nonce).await;
        self.explain(result, attempt)?;
        let readings = self.timestamps.read();
        Elapsed::between(readings.first_sent, readings.last_received).ok_or(Failure::Local)
    }

    /// Runs a statement in a transaction of its own, and gives each row to the function. Returns the time from the departure
    /// of it to the arrival of the end of its result. The server gives it up at the deadline, whether we are still there or
    /// not.
    async fn run(
        &mut self,
        mode: Mode,
        statement: &str,
        attempt: &Attempt,
        on_row: impl FnMut(&[u8]) + Send,
    ) -> Result<Elapsed, Failure> {
        self.begin();
        let left =
            attempt.deadline().saturating_duration_since(Instant::now()).max(Duration::from_millis(1)).as_millis();
        let mode = match mode {
            Mode::Read => "READ ONLY",
            // As the server has it: one that is fenced by `default_transaction_read_only` refuses the token.
            Mode::Write => "",
        };
        let limits = format!("SET LOCAL statement_timeout = {left}; SET LOCAL lock_timeout = {left}");
        let result = self.wire.run(&format!("BEGIN {mode}; {limits}; {statement}; COMMIT"), on_row).await;
        self.explain(result, attempt)?;
        let readings = self.timestamps.read();
        Elapsed::between(readings.last_sent, readings.last_received).ok_or(Failure::Local)
    }
}

impl DatabaseSession for Session {
    async fn read(&mut self, statement: &str, attempt: &Attempt) -> Result<Elapsed, Failure> {
        self.run(Mode::Read, statement, attempt, |_| {}).await
    }

    async fn status(&mut self, statement: &str, attempt: &Attempt) -> Result<StatusAnswer, Failure> {
        let mut found = None;
        let began = Instant::now();
        let elapsed = self.run(Mode::Read, statement, attempt, |row| found = sql::found(row)).await?;
        Ok(StatusAnswer { began, ended: Instant::now(), elapsed, found: found.ok_or(Failure::Protocol)? })
    }

    async fn write(&mut self, statement: &str, attempt: &Attempt) -> Result<Elapsed, Failure> {
        self.run(Mode::Write, statement, attempt, |_| {}).await
    }

    fn problem(&self) -> Option<Problem> {
        match self.wire.error.as_ref()? {
            b"42P01" => Some(Problem::NoTable),
            b"42501" => Some(Problem::NoRight),
            _ => None,
        }
    }

    async fn end(mut self) {
        // The result of the probe stands already.
        let _ = self.wire.send(&message::terminate()).await;
    }
}

/// What the fuzz target calls: a login and a statement, with a server that says these bytes.
pub fn fuzz_session(bytes: &[u8]) {
    let password = Passphrase::from(Secret::new(*b"secret"));
    let credentials = Credentials { user: "a", database: "b", password: Some(Arc::new(password)), cleartext: true };
    let mut wire = Wire::new(tokio::io::join(bytes, tokio::io::sink()));
    let talk = async {
        wire.login(&credentials, "n").await?;
        wire.run("SELECT 1", |row| {
            let _ = sql::found(row);
        })
        .await
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

    const OK: &[u8] = &[b'R', 0, 0, 0, 8, 0, 0, 0, 0];
    const READY: &[u8] = &[b'Z', 0, 0, 0, 5, b'I'];
    const NOTICE: &[u8] = &[b'N', 0, 0, 0, 5, 0];

    async fn talk(said: &[u8], cleartext: bool) -> Result<(), Failure> {
        let password = Some(Arc::new(Passphrase::from(Secret::new(*b"secret"))));
        let mut wire = Wire::new(tokio::io::join(said, tokio::io::sink()));
        wire.login(&Credentials { user: "a", database: "b", password, cleartext }, "n").await?;
        wire.run("SELECT 1", |_| {}).await
    }

    #[tokio::test]
    async fn a_server_that_goes_on_without_end_is_a_protocol_error() {
        let said = |again: &[u8]| [OK, &again.repeat(2000), READY, READY].concat();
        assert_eq!(talk(&said(b""), false).await, Ok(()));
        assert_eq!(talk(&said(NOTICE), false).await, Err(Failure::Protocol));
        let rows = [OK, READY, &[b'D', 0, 0, 0, 4].repeat(2000), READY].concat();
        assert_eq!(talk(&rows, false).await, Err(Failure::Protocol));
    }

    #[tokio::test]
    async fn a_password_is_sent_as_it_is_only_where_that_is_allowed() {
        let said = [&[b'R', 0, 0, 0, 8, 0, 0, 0, 3], OK, READY, READY].concat();
        assert_eq!(talk(&said, false).await, Err(Failure::Auth));
        assert_eq!(talk(&said, true).await, Ok(()));
    }

    #[tokio::test]
    async fn a_server_that_does_not_know_the_password_is_refused() {
        let message = |code: u32, text: &str| {
            let length = u32::try_from(8 + text.len()).unwrap().to_be_bytes();
            [&[b'R'][..], &length, &code.to_be_bytes(), text.as_bytes()].concat()
        };
        let ask = message(10, "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        let salt = message(11, "r=nx,s=c2FsdA==,i=4096");
        let wrong = message(12, "v=AAAA");
        assert_eq!(talk(&[&ask, &salt, &wrong, OK, READY, READY].concat(), false).await, Err(Failure::Auth));
        // It cannot leave its part out.
        assert_eq!(talk(&[&ask, &salt, OK, READY, READY].concat(), false).await, Err(Failure::Protocol));
        let other = message(10, "SCRAM-SHA-512\0\0");
        assert_eq!(talk(&other, false).await, Err(Failure::Auth));
    }

    #[tokio::test]
    async fn a_connection_that_ends_is_refused_and_a_transaction_that_stays_open_a_protocol_error() {
        assert_eq!(talk(OK, false).await, Err(Failure::Refused));
        let open = [OK, READY, &[b'Z', 0, 0, 0, 5, b'T']].concat();
        assert_eq!(talk(&open, false).await, Err(Failure::Protocol));
    }
}
