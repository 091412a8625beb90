//! What a peer says that brings its answer no further, below HTTP and above TLS. Bytes are cheap, messages are not: a peer
//! may send ten thousand interim responses or frames in the bytes of one long head, and each is parsed.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most interim responses, or frames of HTTP/2, before the head of the final response is there, and as many small
/// frames for its body: settings and their acknowledgements, window updates, early hints, a head in pieces.
const STEPS: u32 = 100;

/// The least payload of a frame of HTTP/2 that brings a body on, or of a chunk.
pub(super) const SMALL: usize = 64;

/// The most pieces of a body that are smaller.
pub(super) const SMALL_PIECES: u32 = 1000;

/// How many more messages a peer may send that bring nothing on; shared with who waits for the answer.
#[derive(Debug)]
pub(super) struct Steps {
    left: AtomicU32,
    /// Whether the next head of HTTP/1 is awaited.
    awaits: AtomicBool,
}

impl Default for Steps {
    /// Those of an answer that is awaited.
    fn default() -> Self {
        Self { left: AtomicU32::new(STEPS), awaits: AtomicBool::new(true) }
    }
}

impl Steps {
    /// An answer is awaited.
    pub(super) fn begin(&self) {
        self.left.store(STEPS, Ordering::Relaxed);
        self.awaits.store(true, Ordering::Relaxed);
    }

    /// The head is there, its body follows.
    pub(super) fn follow(&self) {
        self.left.store(STEPS + SMALL_PIECES, Ordering::Relaxed);
    }

    fn spend(&self) -> io::Result<()> {
        let left = self.left.load(Ordering::Relaxed).checked_sub(1);
        let left = left.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no answer in many messages"))?;
        self.left.store(left, Ordering::Relaxed);
        Ok(())
    }
}

/// Finds the messages in what a peer says.
#[derive(Debug)]
enum Reader {
    /// Heads of HTTP/1: bytes of the line that begins the head, those of the line that is being read, and whether the head
    /// is an interim one.
    Heads { place: usize, line: usize, interim: bool },
    /// Frames of HTTP/2: the bytes of a header, how many of them are there, and bytes of the payload that are left.
    Frames { header: [u8; 9], have: usize, payload: usize },
}

/// Where the status of a response stands in its first line, after `HTTP/1.1 `.
const STATUS: usize = 9;

/// The type of a DATA frame (RFC 9113 6.1).
const DATA: u8 = 0;

impl Reader {
    fn read(&mut self, bytes: &[u8], steps: &Steps) -> io::Result<()> {
        match self {
            Self::Heads { place, line, interim } => {
                for byte in bytes {
                    if !steps.awaits.load(Ordering::Relaxed) {
                        break;
                    }
                    if *place == STATUS {
                        *interim = *byte == b'1';
                        // What follows a final head is a body, of any bytes.
                        steps.awaits.store(*interim, Ordering::Relaxed);
                    }
                    *place += 1;
                    match byte {
                        b'\n' if *line == 0 => {
                            if *place > STATUS {
                                steps.spend()?;
                            }
                            *place = 0;
                        }
                        b'\n' => *line = 0,
                        b'\r' => {}
                        _ => *line += 1,
                    }
                }
                // The next head begins where it is awaited, whatever the body is.
                if !steps.awaits.load(Ordering::Relaxed) {
                    (*place, *line) = (0, 0);
                }
            }
            Self::Frames { header, have, payload } => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let skipped = (*payload).min(rest.len());
                    *payload -= skipped;
                    rest = &rest[skipped..];
                    let taken = (header.len() - *have).min(rest.len());
                    header[*have..*have + taken].copy_from_slice(&rest[..taken]);
                    *have += taken;
                    rest = &rest[taken..];
                    if *have == header.len() {
                        *have = 0;
                        *payload = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
                        if header[3] != DATA || *payload < SMALL {
                            steps.spend()?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// The longest payload of a record that can be a renewal of keys in TLS 1.3 (RFC 8446 4.6.3), which costs much more than
/// its bytes: five bytes, their type, and the tag of the cipher.
const RENEWAL: usize = 22;

/// Finds the records in what a peer says over TLS (RFC 8446 5.1).
#[derive(Debug, Default)]
pub(super) struct Records {
    header: [u8; 5],
    have: usize,
    payload: usize,
}

impl Records {
    /// How many records begin in these bytes that may be renewals of keys.
    pub(super) fn renewals(&mut self, bytes: &[u8]) -> usize {
        let (mut rest, mut found) = (bytes, 0);
        while !rest.is_empty() {
            let skipped = self.payload.min(rest.len());
            self.payload -= skipped;
            rest = &rest[skipped..];
            let taken = (self.header.len() - self.have).min(rest.len());
            self.header[self.have..self.have + taken].copy_from_slice(&rest[..taken]);
            self.have += taken;
            rest = &rest[taken..];
            if self.have == self.header.len() {
                self.have = 0;
                self.payload = usize::from(self.header[3]) << 8 | usize::from(self.header[4]);
                found += usize::from(self.payload <= RENEWAL);
            }
        }
        found
    }
}

/// A connection whose reads fail with `InvalidData` once the peer has taken too many [`Steps`].
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: T,
    reader: Reader,
    steps: Arc<Steps>,
}

impl<T> Watched<T> {
    pub(super) fn new(io: T, http2: bool, steps: Arc<Steps>) -> Self {
        let reader = match http2 {
            true => Reader::Frames { header: [0; 9], have: 0, payload: 0 },
            false => Reader::Heads { place: 0, line: 0, interim: false },
        };
        Self { io, reader, steps }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, reader, steps } = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(io).poll_read(cx, buf))?;
        Poll::Ready(reader.read(&buf.filled()[before..], steps))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often this may be said until it is too much, and after which head. In pieces of so many bytes.
    fn often(http2: bool, first: &[u8], again: &[u8], piece: usize, steps: &Steps) -> u32 {
        let mut reader = Watched::new((), http2, Arc::default()).reader;
        reader.read(first, steps).unwrap();
        let all = again.repeat(2000);
        let mut read = 0;
        for piece in all.chunks(piece) {
            if reader.read(piece, steps).is_err() {
                break;
            }
            read += piece.len();
        }
        u32::try_from(read / again.len()).unwrap()
    }

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let len = u32::try_from(payload).unwrap().to_be_bytes();
        [&len[1..], &[kind, 0, 0, 0, 0, 1], &vec![0; payload][..]].concat()
    }

    #[test]
    fn interim_heads_are_counted_in_pieces_of_any_size() {
        let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
        for piece in [1, 7, interim.len()] {
            assert_eq!(often(false, b"", interim, piece, &Steps::default()), STEPS, "{piece}");
        }
    }

    #[test]
    fn records_that_can_renew_keys_are_counted_in_pieces_of_any_size() {
        let record = |len: usize| [&[23, 3, 3, 0, u8::try_from(len).unwrap()], &vec![9; len][..]].concat();
        let all = [record(RENEWAL), record(RENEWAL + 1), record(200), record(0), record(RENEWAL)].concat();
        for piece in 1..all.len() {
            let mut records = Records::default();
            assert_eq!(all.chunks(piece).map(|bytes| records.renewals(bytes)).sum::<usize>(), 3, "{piece}");
        }
    }

    #[test]
    fn a_body_is_no_head_whatever_it_looks_like() {
        let steps = Steps::default();
        let first = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(often(false, first, b"HTTP/1.1 100 Continue\r\n\r\n", 1000, &steps), 2000);
    }

    #[test]
    fn the_body_after_the_next_head_of_a_kept_connection_is_no_head_either() {
        let response = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &b"2026-11-21 a paragraph\n\n".repeat(200)].concat();
        let (mut reader, steps) = (Watched::new((), false, Arc::default()).reader, Steps::default());
        for _ in 0..3 {
            steps.begin();
            reader.read(&response, &steps).unwrap();
            steps.follow();
        }
    }

    #[test]
    fn frames_are_counted_unless_they_carry_a_body() {
        for piece in [1, 10, 4096] {
            for small in [frame(1, 5), frame(8, 4), frame(0xfa, 0), frame(DATA, 1), frame(DATA, SMALL - 1)] {
                assert_eq!(often(true, b"", &small, piece.min(small.len()), &Steps::default()), STEPS);
            }
            assert_eq!(often(true, b"", &frame(DATA, SMALL), piece, &Steps::default()), 2000);
        }
        let steps = Steps::default();
        steps.follow();
        assert_eq!(often(true, b"", &frame(DATA, 1), 10, &steps), STEPS + SMALL_PIECES);
        steps.begin();
        assert_eq!(often(true, b"", &frame(DATA, 1), 10, &steps), STEPS);
    }
}
