//! The few lines or bytes of a protocol by which a connection without TLS becomes one with it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{
    model::{Failure, FailureDetail, Phase, labels},
    net::{Attempt, failure},
};

labels! {
    /// A protocol in which a client asks for TLS.
    pub enum StartTls {
        /// RFC 3207.
        Smtp = "smtp",
        /// RFC 9051 6.2.1.
        Imap = "imap",
        /// RFC 2595 4.
        Pop3 = "pop3",
        /// RFC 4511 4.14.
        Ldap = "ldap",
        /// `SSLRequest` of PostgreSQL.
        Postgres = "postgres",
        /// `SSLRequest` of MySQL and MariaDB.
        Mysql = "mysql",
    }
}

/// The longest line, and the most lines of an answer.
const MAX_LINE: usize = 2048;
const MAX_LINES: usize = 100;

/// The longest message that is no line.
const MAX_MESSAGE: usize = 1024;

/// Why a server does not go on to TLS.
enum Refusal {
    /// It says that it has none.
    NoTls,
    /// The server refuses to serve this client.
    Unserved,
    /// What it says breaks its protocol.
    Broken,
    /// The connection failed.
    Failed(Failure),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Broken,
            _ => Self::Failed(failure(&error)),
        }
    }
}

type Told<T> = Result<T, Refusal>;

/// Asks the server for TLS; afterwards its handshake can begin.
///
/// # Errors
/// `tls` if the server does not offer TLS, `status` if it refuses the client, `protocol` if it speaks another protocol.
pub(super) async fn ask(
    protocol: StartTls,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    attempt: &Attempt,
) -> Result<(), Failure> {
    attempt.enter(Phase::Tls);
    let mut dialogue = Dialogue { stream, received: Vec::new() };
    let told = match protocol {
        StartTls::Smtp => dialogue.smtp().await,
        StartTls::Imap => dialogue.imap().await,
        StartTls::Pop3 => dialogue.pop3().await,
        StartTls::Ldap => dialogue.ldap().await,
        StartTls::Postgres => dialogue.postgres().await,
        StartTls::Mysql => dialogue.mysql().await,
    };
    // What comes before the handshake, and is read as if it came within it, was never protected (CVE-2011-0411).
    let told = match told {
        Ok(()) if !dialogue.received.is_empty() => Err(Refusal::Broken),
        told => told,
    };
    told.map_err(|refusal| match refusal {
        Refusal::NoTls => {
            attempt.set_detail(FailureDetail::StartTlsRefused);
            Failure::Tls
        }
        Refusal::Unserved => Failure::Status,
        Refusal::Broken => Failure::Protocol,
        Refusal::Failed(failure) => failure,
    })
}

struct Dialogue<'a, S> {
    stream: &'a mut S,
    /// What was read and is not used yet.
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<'_, S> {
    async fn send(&mut self, bytes: &[u8]) -> Told<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn more(&mut self) -> Told<()> {
        let mut buffer = [0; 1024];
        match self.stream.read(&mut buffer).await? {
            0 => Err(Refusal::Broken),
            count => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }

    async fn bytes(&mut self, count: usize) -> Told<Vec<u8>> {
        while self.received.len() < count {
            self.more().await?;
        }
        let rest = self.received.split_off(count);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    /// The next line, in capitals and without its end.
    async fn line(&mut self) -> Told<String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line = self.bytes(end + 1).await?;
                return Ok(String::from_utf8_lossy(&line).trim_end().to_ascii_uppercase());
            }
            if self.received.len() > MAX_LINE {
                return Err(Refusal::Broken);
            }
            self.more().await?;
        }
    }

    /// The lines of a reply (RFC 5321 4.2), without the code, and the first digit of this.
    async fn smtp_reply(&mut self) -> Told<(u8, Vec<String>)> {
        let mut lines = Vec::new();
        while lines.len() < MAX_LINES {
            let line = self.line().await?;
            let (code, text) = line.split_at_checked(3).ok_or(Refusal::Broken)?;
            if !code.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Refusal::Broken);
            }
            let goes_on = text.starts_with('-');
            lines.push(text.get(1..).unwrap_or_default().to_owned());
            if !goes_on {
                return Ok((code.as_bytes()[0], lines));
            }
        }
        Err(Refusal::Broken)
    }

    async fn smtp(&mut self) -> Told<()> {
        if self.smtp_reply().await?.0 != b'2' {
            return Err(Refusal::Unserved);
        }
        // An address stands for a name that we do not have (RFC 5321 4.1.3).
        self.send(b"EHLO [127.0.0.1]\r\n").await?;
        let (class, extensions) = self.smtp_reply().await?;
        if class != b'2' {
            return Err(Refusal::Unserved);
        }
        if !extensions.iter().any(|extension| extension == "STARTTLS") {
            return Err(Refusal::NoTls);
        }
        self.send(b"STARTTLS\r\n").await?;
        if self.smtp_reply().await?.0 == b'2' { Ok(()) } else { Err(Refusal::NoTls) }
    }

    async fn imap(&mut self) -> Told<()> {
        match &*self.line().await? {
            greeting if greeting.starts_with("* OK") => {}
            greeting if greeting.starts_with("* PREAUTH") => return Err(Refusal::NoTls),
            greeting if greeting.starts_with("* BYE") => return Err(Refusal::Unserved),
            _ => return Err(Refusal::Broken),
        }
        self.send(b"a STARTTLS\r\n").await?;
        for _ in 0..MAX_LINES {
            match &*self.line().await? {
                line if line.starts_with("A OK") => return Ok(()),
                line if line.starts_with("A ") => return Err(Refusal::NoTls),
                line if line.starts_with("* ") => {}
                _ => break,
            }
        }
        Err(Refusal::Broken)
    }

    async fn pop3(&mut self) -> Told<()> {
        self.pop3_line(Refusal::Unserved).await?;
        self.send(b"STLS\r\n").await?;
        self.pop3_line(Refusal::NoTls).await
    }

    async fn pop3_line(&mut self, refused: Refusal) -> Told<()> {
        match &*self.line().await? {
            line if line.starts_with("+OK") => Ok(()),
            line if line.starts_with("-ERR") => Err(refused),
            _ => Err(Refusal::Broken),
        }
    }

    /// The extended request 1.3.6.1.4.1.1466.20037, and the result code of its response.
    async fn ldap(&mut self) -> Told<()> {
        let name = b"1.3.6.1.4.1.1466.20037";
        let length = name.len() as u8;
        let head = [0x30, length + 7, 2, 1, 1, 0x77, length + 2, 0x80, length];
        self.send(&[&head[..], name].concat()).await?;
        let mut message = self.element(0x30).await?;
        let id = inner(&mut message, 2).ok_or(Refusal::Broken)?;
        let mut response = inner(&mut message, 0x78).ok_or(Refusal::Broken)?;
        let code = inner(&mut response, 0x0a).ok_or(Refusal::Broken)?;
        match &code[..] {
            _ if id != [1] => Err(Refusal::Broken),
            [0] => Ok(()),
            [_] => Err(Refusal::NoTls),
            _ => Err(Refusal::Broken),
        }
    }

    /// What an element of BER with this tag holds.
    async fn element(&mut self, tag: u8) -> Told<Vec<u8>> {
        let head = self.bytes(2).await?;
        if head[0] != tag {
            return Err(Refusal::Broken);
        }
        let length = match head[1] {
            short @ 0..=0x7f => usize::from(short),
            long @ 0x81..=0x84 => {
                let bytes = self.bytes(usize::from(long & 0x7f)).await?;
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
            _ => return Err(Refusal::Broken),
        };
        if length > MAX_MESSAGE {
            return Err(Refusal::Broken);
        }
        self.bytes(length).await
    }

    async fn postgres(&mut self) -> Told<()> {
        self.send(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]).await?;
        match self.bytes(1).await?[0] {
            b'S' => Ok(()),
            b'N' => Err(Refusal::NoTls),
            _ => Err(Refusal::Broken),
        }
    }

    async fn mysql(&mut self) -> Told<()> {
        // A flag of the server that it has TLS, and with it ours: the protocol of version 4.1, TLS, and its passwords.
        const TLS: u16 = 0x0800;
        const OURS: u32 = 0x8a00;
        let head = self.bytes(4).await?;
        let length = usize::from(head[0]) | usize::from(head[1]) << 8;
        if head[2..] != [0, 0] || length > MAX_MESSAGE {
            return Err(Refusal::Broken);
        }
        let greeting = self.bytes(length).await?;
        let (version, rest) = greeting.split_first().ok_or(Refusal::Broken)?;
        match version {
            10 => {}
            0xff => return Err(Refusal::Unserved),
            _ => return Err(Refusal::Broken),
        }
        // The name of the version, a thread, half of a salt and a zero stand before the flags.
        let end = rest.iter().position(|byte| *byte == 0).ok_or(Refusal::Broken)?;
        let flags = rest.get(end + 14..end + 16).ok_or(Refusal::Broken)?;
        if u16::from_le_bytes([flags[0], flags[1]]) & TLS == 0 {
            return Err(Refusal::NoTls);
        }
        let mut request = vec![32, 0, 0, 1];
        request.extend(OURS.to_le_bytes());
        request.extend((1_u32 << 24).to_le_bytes());
        // utf8mb4_general_ci, and what is reserved.
        request.push(45);
        request.extend([0; 23]);
        self.send(&request).await
    }
}

/// Takes an element of BER with this tag from the front, and returns what it holds.
fn inner(bytes: &mut Vec<u8>, tag: u8) -> Option<Vec<u8>> {
    let (found, length) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match length {
        short @ 0..=0x7f => (2, usize::from(short)),
        long @ 0x81..=0x84 => {
            let start = 2 + usize::from(long & 0x7f);
            (start, bytes.get(2..start)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
        _ => return None,
    };
    let content = bytes.get(start..start.checked_add(length)?)?.to_vec();
    bytes.drain(..start + length);
    (found == tag).then_some(content)
}
