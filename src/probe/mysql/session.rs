//! A connection to a server: the login, and one statement after another.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};
use tracing::debug;

use super::{
    errors,
    packet::{self, Answer, Greeting, HEADER, Part, Step},
    scramble::{self, Method, Salt},
    sql::{self, Mode, ReplicaStatus},
};
use crate::{
    model::{Failure, FailureDetail},
    net::{Attempt, Connection, Elapsed, StreamTimestamps},
    probe::database::{Both, DatabaseSession, Problem, StatusAnswer, broken},
    yaml::Secret,
};

/// The bytes that a server may send in answer to a login or a statement.
const ALLOWANCE: usize = 64 << 10;

/// The packets that they may be.
const PACKETS: u32 = 1000;

/// The steps of a login.
const STEPS: u32 = 8;

/// The bytes that are read at a time.
const ROOM: usize = 4 << 10;

/// The longest greeting.
const GREETING: usize = 1 << 10;

/// Who logs in, and with what.
#[derive(Debug)]
pub(super) struct Credentials<'a> {
    pub(super) user: &'a str,
    pub(super) database: Option<&'a str>,
    pub(super) password: Option<Arc<Secret>>,
    /// Whether the connection has TLS, and whether it verifies the server. Only then the password is sent as it is.
    pub(super) tls: bool,
    pub(super) verified: bool,
}

impl Credentials<'_> {
    /// What the first packet has, or the answer to a change of the method. No password is an empty answer.
    fn answer(&self, method: Method, salt: Option<&Salt>) -> Result<Vec<u8>, Denied> {
        let password = self.password.as_ref().map(|password| password.as_bytes());
        match (method, password) {
            (Method::Other, _) => Err(Denied::Method),
            (Method::Cleartext, _) => self.cleartext(),
            (Method::Native | Method::CachingSha2, None) => Ok(Vec::new()),
            (Method::Native, Some(password)) => Ok(scramble::native(password, salt.ok_or(Denied::Broken)?)),
            (Method::CachingSha2, Some(password)) => Ok(scramble::caching_sha2(password, salt.ok_or(Denied::Broken)?)),
        }
    }

    /// The password as it is.
    fn cleartext(&self) -> Result<Vec<u8>, Denied> {
        match (&self.password, self.verified) {
            (None, _) => Ok(vec![0]),
            (Some(password), true) => Ok([password.as_bytes(), &[0]].concat()),
            (Some(_), false) => Err(Denied::Cleartext),
        }
    }
}

/// Why we do not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denied {
    /// We do not have the method.
    Method,
    /// The password would be sent as it is, to a server that TLS does not verify.
    Cleartext,
    /// There is nothing to answer to.
    Broken,
}

/// Reads what a server says before anything is said to it, and not a byte more: what follows may be a handshake of TLS.
/// Returns its number, and the greeting or the number of an error.
pub(super) async fn greeting(io: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Result<Greeting, u16>), Failure> {
    let mut header = [0; HEADER];
    io.read_exact(&mut header).await.map_err(|error| broken(&error))?;
    let [a, b, c, sequence] = header;
    let mut room = [0; GREETING];
    let payload = room.get_mut(..packet::length([a, b, c])?).ok_or(Failure::Protocol)?;
    io.read_exact(payload).await.map_err(|error| broken(&error))?;
    let greeting = match packet::error(payload) {
        Some(code) => Err(code),
        None => Ok(packet::greeting(payload).ok_or(Failure::Protocol)?),
    };
    Ok((sequence.wrapping_add(1), greeting))
}

/// Packets to and from a server.
struct Wire<T> {
    io: T,
    /// What has come and was not read, from `read` on.
    buffer: Vec<u8>,
    read: usize,
    /// How many more packets may come.
    left: u32,
    /// The number of the next packet, of either side.
    sequence: u8,
    /// The last error that the server has reported.
    error: Option<u16>,
    detail: Option<FailureDetail>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    const fn new(io: T, sequence: u8) -> Self {
        Self { io, buffer: Vec::new(), read: 0, left: PACKETS, sequence, error: None, detail: None }
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let bytes = packet::framed(self.sequence, payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.io.write_all(&bytes).await.map_err(|error| broken(&error))?;
        self.io.flush().await.map_err(|error| broken(&error))
    }

    /// The payload of the next packet.
    async fn next(&mut self) -> Result<&[u8], Failure> {
        loop {
            if let Some((sequence, length)) = packet::frame(&self.buffer[self.read..])? {
                self.left = self.left.checked_sub(1).ok_or(Failure::Protocol)?;
                if sequence != self.sequence {
                    return Err(Failure::Protocol);
                }
                self.sequence = sequence.wrapping_add(1);
                let start = self.read + HEADER;
                self.read = start + length;
                return Ok(&self.buffer[start..self.read]);
            }
            self.receive().await?;
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

    /// Logs in, after the greeting.
    async fn login(&mut self, greeting: &Greeting, credentials: &Credentials<'_>) -> Result<(), Failure> {
        let mut method = greeting.method;
        let answer = credentials.answer(method, Some(&greeting.salt)).map_err(|denied| self.denied(denied))?;
        let login = packet::login(greeting, credentials.tls, credentials.user, &answer, credentials.database);
        self.send(&login).await?;
        for _ in 0..STEPS {
            let answer = match packet::step(self.next().await?).ok_or(Failure::Protocol)? {
                Step::Done => return Ok(()),
                Step::Error(code) => return Err(self.refused(code)),
                Step::Switch(other, salt) => {
                    method = other;
                    credentials.answer(method, salt.as_ref())
                }
                // The server remembers the password, and says next that this is done.
                Step::More(3) if method == Method::CachingSha2 => continue,
                // It does not, such as after its start, and needs the password itself.
                Step::More(4) if method == Method::CachingSha2 => credentials.cleartext(),
                Step::More(_) => return Err(Failure::Protocol),
            };
            let answer = answer.map_err(|denied| self.denied(denied))?;
            self.send(&answer).await?;
        }
        Err(Failure::Protocol)
    }

    /// Runs a statement, and gives each part of its result to the function. Afterwards no transaction may be open.
    async fn run(&mut self, sql: &str, mut on_part: impl FnMut(Part<'_>)) -> Result<(), Failure> {
        (self.left, self.sequence, self.error, self.detail) = (PACKETS, 0, None, None);
        self.send(&packet::query(sql)).await?;
        let columns = match packet::answer(self.next().await?).ok_or(Failure::Protocol)? {
            Answer::Done(settled) => return if settled { Ok(()) } else { Err(Failure::Protocol) },
            Answer::Error(code) => return Err(self.refused(code)),
            Answer::Columns(columns) => columns,
        };
        for _ in 0..columns {
            on_part(Part::Column(packet::column(self.next().await?).ok_or(Failure::Protocol)?));
        }
        packet::end(self.next().await?).ok_or(Failure::Protocol)?;
        loop {
            let payload = self.next().await?;
            if let Some(code) = packet::error(payload) {
                return Err(self.refused(code));
            }
            match packet::end(payload) {
                Some(true) => return Ok(()),
                Some(false) => return Err(Failure::Protocol),
                None => on_part(Part::Row(payload)),
            }
        }
    }

    /// What an error of the server is counted as.
    fn refused(&mut self, code: u16) -> Failure {
        (self.error, self.detail) = (Some(code), Some(FailureDetail::MysqlError(code)));
        debug!("MySQL says error {code}");
        errors::failure(code)
    }

    fn denied(&mut self, denied: Denied) -> Failure {
        self.detail = match denied {
            Denied::Method => Some(FailureDetail::UnknownLoginMethod),
            Denied::Cleartext => Some(FailureDetail::PasswordNeedsTls),
            Denied::Broken => return Failure::Protocol,
        };
        Failure::Auth
    }
}

/// A connection on which one statement after another runs.
pub(crate) struct Session {
    wire: Wire<Box<dyn Both>>,
    timestamps: Arc<StreamTimestamps>,
    /// What it was set up for.
    mode: Option<Mode>,
    /// Whether the user may see the state of the replication; unknown until it was asked for.
    sees_replication: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// A connection on which the greeting was read, and the number of the next packet.
    pub(super) fn new(connection: Connection, timestamps: Arc<StreamTimestamps>, sequence: u8) -> Self {
        let wire = Wire::new(Box::new(connection.io) as Box<dyn Both>, sequence);
        Self { wire, timestamps, mode: None, sees_replication: true }
    }

    fn begin(&self) {
        self.timestamps.begin();
        self.timestamps.allow(ALLOWANCE);
    }

    /// Tells the attempt what the server has said, or why it got no password.
    fn explain<T>(&self, result: Result<T, Failure>, attempt: &Attempt) -> Result<T, Failure> {
        if let (Err(_), Some(detail)) = (&result, self.wire.detail) {
            attempt.set_detail(detail);
        }
        result
    }

    /// Logs in. Returns the time from the first byte of it that was sent to the last that was received.
    pub(super) async fn login(
        &mut self,
        greeting: &Greeting,
        credentials: &Credentials<'_>,
        attempt: &Attempt,
    ) -> Result<Elapsed, Failure> {
        self.begin();
        let result = self.wire.login(greeting, credentials).await;
        self.explain(result, attempt)?;
        let readings = self.timestamps.read();
        Elapsed::between(readings.first_sent, readings.last_received).ok_or(Failure::Local)
    }

    /// Sets the connection up, once. The server ends statements, and waiting for locks, after what is left of the first
    /// attempt, whether we are still there or not.
    async fn set_up(&mut self, mode: Mode, attempt: &Attempt) -> Result<(), Failure> {
        if self.mode == Some(mode) {
            return Ok(());
        }
        let left = attempt.deadline().saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.run(&sql::set_up(mode, left), attempt, |_| {}).await?;
        self.mode = Some(mode);
        Ok(())
    }

    /// Runs a statement, which is a transaction of its own. Returns the time from its departure to the arrival of the end of
    /// its result.
    async fn run(
        &mut self,
        statement: &str,
        attempt: &Attempt,
        on_part: impl FnMut(Part<'_>) + Send,
    ) -> Result<Elapsed, Failure> {
        self.begin();
        let result = self.wire.run(statement, on_part).await;
        self.explain(result, attempt)?;
        let readings = self.timestamps.read();
        Elapsed::between(readings.last_sent, readings.last_received).ok_or(Failure::Local)
    }

    /// The state of the replication; nothing if the user may not see it.
    async fn replication(&mut self, attempt: &Attempt) -> Result<Option<ReplicaStatus>, Failure> {
        if !self.sees_replication {
            return Ok(None);
        }
        let mut status = ReplicaStatus::default();
        self.begin();
        match self.wire.run(sql::REPLICATION, |part| status.take(part)).await {
            Ok(()) => Ok(Some(status)),
            // The connection goes on: the statement was refused as a whole.
            Err(_) if self.wire.error.is_some_and(errors::is_missing_right) => {
                self.sees_replication = false;
                Ok(None)
            }
            failed => self.explain(failed.map(|()| None), attempt),
        }
    }
}

impl DatabaseSession for Session {
    async fn read(&mut self, statement: &str, attempt: &Attempt) -> Result<Elapsed, Failure> {
        self.set_up(Mode::Read, attempt).await?;
        self.run(statement, attempt, |_| {}).await
    }

    async fn status(&mut self, statement: &str, attempt: &Attempt) -> Result<StatusAnswer, Failure> {
        self.set_up(Mode::Write, attempt).await?;
        let mut row = None;
        let began = Instant::now();
        let on_part = |part: Part<'_>| {
            if let Part::Row(values) = part {
                row = sql::status_row(values);
            }
        };
        let elapsed = self.run(statement, attempt, on_part).await?;
        let ended = Instant::now();
        let row = row.ok_or(Failure::Protocol)?;
        let replication = self.replication(attempt).await?;
        Ok(StatusAnswer { began, ended, elapsed, found: row.found(replication.as_ref()) })
    }

    async fn write(&mut self, statement: &str, attempt: &Attempt) -> Result<Elapsed, Failure> {
        self.set_up(Mode::Write, attempt).await?;
        self.run(statement, attempt, |_| {}).await
    }

    fn problem(&self) -> Option<Problem> {
        errors::problem(self.wire.error?)
    }

    async fn end(mut self) {
        self.wire.sequence = 0;
        // The result of the probe stands already.
        let _ = self.wire.send(packet::QUIT).await;
    }
}

/// What the fuzz target calls: a login and statements, with a server that says these bytes.
pub fn fuzz_mysql_session(bytes: &[u8]) {
    let password = Some(Arc::new(Secret::new(*b"secret")));
    let credentials = Credentials { user: "a", database: Some("b"), password, tls: false, verified: true };
    let talk = async {
        let mut rest = bytes;
        let (sequence, Ok(greeting)) = greeting(&mut rest).await? else { return Err(Failure::Status) };
        let mut wire = Wire::new(tokio::io::join(rest, tokio::io::sink()), sequence);
        wire.login(&greeting, &credentials).await?;
        let mut found = None;
        let on_part = |part: Part<'_>| {
            if let Part::Row(values) = part {
                found = sql::status_row(values);
            }
        };
        wire.run("SELECT 1", on_part).await?;
        let mut status = ReplicaStatus::default();
        wire.run(sql::REPLICATION, |part| status.take(part)).await?;
        let _ = found.map(|row| row.found(Some(&status)));
        Ok(())
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
    use crate::probe::mysql::packet::tests::greeted;

    const DONE: &[u8] = b"\0\0\0\x02\0\0\0";
    const END: &[u8] = b"\xfe\0\0\x02\0";
    const COLUMN: &[u8] = b"\x03def\0\0\0\x011\x011\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";

    /// Packets with these numbers.
    fn said(packets: &[(u8, &[u8])]) -> Vec<u8> {
        packets.iter().flat_map(|(sequence, payload)| packet::framed(*sequence, payload)).collect()
    }

    /// What becomes of a login and a statement, and what we have sent after the greeting.
    async fn talk(packets: &[(u8, &[u8])], verified: bool) -> (Result<(), Failure>, Option<FailureDetail>, Vec<u8>) {
        let (bytes, mut sent) = (said(packets), Vec::new());
        let password = Some(Arc::new(Secret::new(*b"secret")));
        let credentials = Credentials { user: "a", database: None, password, tls: false, verified };
        let mut rest = &bytes[..];
        let (sequence, greeting) = match greeting(&mut rest).await {
            Ok((sequence, Ok(greeting))) => (sequence, greeting),
            Ok((_, Err(code))) => return (Err(errors::failure(code)), None, sent),
            Err(failure) => return (Err(failure), None, sent),
        };
        let mut wire = Wire::new(tokio::io::join(rest, &mut sent), sequence);
        let result = match wire.login(&greeting, &credentials).await {
            Ok(()) => wire.run("SELECT 1", |_| {}).await,
            failed => failed,
        };
        let detail = wire.detail;
        (result, detail, sent)
    }

    async fn outcome(packets: &[(u8, &[u8])]) -> Result<(), Failure> {
        talk(packets, false).await.0
    }

    fn contains(sent: &[u8], word: &[u8]) -> bool {
        sent.windows(word.len()).any(|window| window == word)
    }

    #[tokio::test]
    async fn a_result_is_read_to_its_end() {
        type Packets<'a> = &'a [(u8, &'static [u8])];
        let greeting = greeted("mysql_native_password", false);
        let start: [(u8, &[u8]); 2] = [(0, &greeting), (2, DONE)];
        let answer = |packets: Packets<'_>| [&start[..], packets].concat();
        let whole = [(1, &b"\x01"[..]), (2, COLUMN), (3, END), (4, b"\x011"), (5, END)];
        assert_eq!(outcome(&answer(&whole)).await, Ok(()));
        for cut in 0..whole.len() {
            assert_eq!(outcome(&answer(&whole[..cut])).await, Err(Failure::Refused), "{cut}");
        }
        assert_eq!(outcome(&answer(&[(1, DONE)])).await, Ok(()));
        // A transaction that stays open, a file of ours, a number that is left out, an error in place of a row.
        let cases: [(Packets<'_>, Failure); 5] = [
            (&[(1, b"\0\0\0\x03\0\0\0")], Failure::Protocol),
            (&[(1, b"\xfb/etc/passwd")], Failure::Protocol),
            (&[(2, DONE)], Failure::Protocol),
            (&[(1, b"\x01"), (2, COLUMN), (3, END), (4, b"\xff\xb1\x07#70100time")], Failure::Timeout),
            (&[(1, b"\x02"), (2, COLUMN), (3, END)], Failure::Protocol),
        ];
        for (packets, expected) in cases {
            assert_eq!(outcome(&answer(packets)).await, Err(expected), "{packets:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_goes_on_without_end_is_a_protocol_error() {
        let greeting = greeted("mysql_native_password", false);
        let mut packets: Vec<(u8, &[u8])> = vec![(0, &greeting), (2, DONE), (1, b"\x01"), (2, COLUMN), (3, END)];
        packets.extend((4..=255).chain((0..=255).cycle()).take(2000).map(|sequence| (sequence, &b"\x011"[..])));
        assert_eq!(outcome(&packets).await, Err(Failure::Protocol));
        // Changes of the method without end.
        let mut packets: Vec<(u8, &[u8])> = vec![(0, &greeting)];
        packets.extend((1..100).map(|n| (2 * n, &b"\xfemysql_native_password\0abcdefghijklmnopqrst\0"[..])));
        assert_eq!(outcome(&packets).await, Err(Failure::Protocol));
    }

    #[tokio::test]
    async fn a_password_is_sent_as_it_is_only_to_a_server_that_tls_verifies() {
        let greeting = greeted("caching_sha2_password", true);
        let clear = b"\xfemysql_clear_password\0";
        let sha256 = b"\xfesha256_password\0abcdefghijklmnopqrst\0";
        for asked in [&b"\x01\x04"[..], clear, sha256] {
            let packets: [(u8, &[u8]); 4] = [(0, &greeting), (2, asked), (4, DONE), (1, DONE)];
            let (result, detail, sent) = talk(&packets, false).await;
            assert_eq!((result, detail), (Err(Failure::Auth), Some(FailureDetail::PasswordNeedsTls)), "{asked:?}");
            assert!(!contains(&sent, b"secret"), "{asked:?}");
            let (result, _, sent) = talk(&packets, true).await;
            assert!(result.is_ok() && contains(&sent, b"secret\0"), "{asked:?}");
        }
        // The server remembers it.
        let packets: [(u8, &[u8]); 4] = [(0, &greeting), (2, b"\x01\x03"), (3, DONE), (1, DONE)];
        let (result, _, sent) = talk(&packets, false).await;
        assert!(result.is_ok() && !contains(&sent, b"secret"));
    }

    #[tokio::test]
    async fn a_login_has_the_method_that_the_server_asks_for_or_is_refused() {
        let greeting = greeted("mysql_native_password", false);
        let switch = b"\xfecaching_sha2_password\0ABCDEFGHIJKLMNOPQRST\0";
        let packets: [(u8, &[u8]); 4] = [(0, &greeting), (2, switch), (4, DONE), (1, DONE)];
        let (result, _, sent) = talk(&packets, false).await;
        assert!(result.is_ok());
        assert!(contains(&sent, &scramble::native(b"secret", b"abcdefghijklmnopqrst")));
        assert!(contains(&sent, &scramble::caching_sha2(b"secret", b"ABCDEFGHIJKLMNOPQRST")));
        for other in [&b"\xfeclient_ed25519\0abcdefghijklmnopqrstabcdefghijkl\0"[..], b"\xfedialog\0", b"\xfe"] {
            let (result, detail, _) = talk(&[(0, &greeting), (2, other)], true).await;
            assert_eq!((result, detail), (Err(Failure::Auth), Some(FailureDetail::UnknownLoginMethod)), "{other:?}");
        }
        let denied = talk(&[(0, &greeting), (2, b"\xff\x15\x04#28000no")], false).await;
        assert_eq!((denied.0, denied.1), (Err(Failure::Auth), Some(FailureDetail::MysqlError(1045))));
        // Nothing to answer to, and words of another method.
        for other in [&b"\xfemysql_native_password\0short\0"[..], b"\x01\x04", b"\x01\x03", b"\0"] {
            assert_eq!(outcome(&[(0, &greeting), (2, other)]).await, Err(Failure::Protocol), "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_greeting_is_an_error_or_one_that_has_what_we_need() {
        let greeting = |payload: &'static [u8]| async move { outcome(&[(0, payload)]).await };
        assert_eq!(greeting(b"\xff\x10\x04Too many connections").await, Err(Failure::Status));
        assert_eq!(greeting(b"\xff\x6a\x04#HY000Host is not allowed").await, Err(Failure::Auth));
        assert_eq!(greeting(b"\x0a3.23\0\x07\0\0\0abcdefgh\0\0\0").await, Err(Failure::Protocol));
        assert_eq!(greeting(&[b'x'; 1025]).await, Err(Failure::Protocol));
        let mut http = &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..];
        assert_eq!(super::greeting(&mut http).await.err(), Some(Failure::Protocol));
    }
}
