//! The bodies of answers: short texts, and long ones that are written while they are sent.
//!
//! A long body exists one chunk at a time: the next chunk is made when the client has taken the last one, and
//! the runtime gets a turn in between. Chunks live in buffers that are used again.

use std::{
    io::{self, Write as _},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{api::Histories, conn_state::InFlight};
use crate::metrics::Page;

/// What a chunk should at least have before it is worth a write of its own; compressed chunks are collected up
/// to it.
const WORTH_SENDING: usize = 16 << 10;

/// How much of a text that is already there is sent at once.
const PIECE: usize = 64 << 10;

/// Buffers kept for use again, and the largest one worth keeping: together at most 4 MiB.
const SPARE_BUFFERS: usize = 16;
const LARGEST_SPARE: usize = 256 << 10;

/// The body of an answer.
pub(super) struct Body {
    content: Content,
    /// Tells the connection when the answer is complete or given up.
    _answering: Option<InFlight>,
}

enum Content {
    Text(Bytes),
    Stream(Box<Stream>),
}

impl Body {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self { content: Content::Text(text.into()), _answering: None }
    }

    pub(super) fn stream(stream: Stream) -> Self {
        Self { content: Content::Stream(Box::new(stream)), _answering: None }
    }

    /// The same body, which ends what is given when it ends.
    pub(super) fn with(self, in_flight: InFlight) -> Self {
        Self { _answering: Some(in_flight), ..self }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = match &mut self.content {
            Content::Text(text) if text.is_empty() => None,
            Content::Text(text) => Some(Ok(mem::take(text))),
            Content::Stream(stream) => std::task::ready!(stream.poll_chunk(cx)),
        };
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Text(text) if text.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// What a long body is made from.
pub(super) enum Source {
    Page(Page),
    Histories(Histories),
    /// What is already there.
    Text(Bytes),
}

impl Source {
    /// Appends about 64 KiB and says whether more follows.
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Page(page) => page.next(out),
            Self::Histories(histories) => histories.next(out),
            Self::Text(text) => {
                out.extend_from_slice(&text.split_to(text.len().min(PIECE)));
                !text.is_empty()
            }
        }
    }
}

/// A long body in the making.
pub(super) struct Stream {
    source: Source,
    gzip: Option<Gzip>,
    buffers: Arc<Buffers>,
    /// Whether the runtime is owed a turn before the next chunk is made.
    rest: bool,
    ended: bool,
    /// Counts the body against a limit for as long as it lives.
    _permit: Option<OwnedSemaphorePermit>,
}

struct Gzip {
    encoder: GzEncoder<Vec<u8>>,
    plain: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    pub(super) fn new(source: Source, buffers: &Arc<Buffers>, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { source, gzip: None, buffers: Arc::clone(buffers), rest: false, ended: false, _permit: permit }
    }

    /// The same body in gzip. Level 1: the text is so regular that higher levels cost time and save little.
    pub(super) fn gzip(mut self, permit: OwnedSemaphorePermit) -> Self {
        let encoder = GzEncoder::new(self.buffers.take(), Compression::fast());
        self.gzip = Some(Gzip { encoder, plain: self.buffers.take(), _permit: permit });
        self
    }

    fn poll_chunk(&mut self, cx: &Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if mem::take(&mut self.rest) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = match self.chunk() {
            Ok(chunk) => chunk,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        match chunk {
            Some(chunk) => {
                self.rest = true;
                Poll::Ready(Some(Ok(self.buffers.bytes(chunk))))
            }
            None if self.ended => Poll::Ready(None),
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Does one chunk's work; `None` where there is nothing worth sending yet.
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(gzip) = &mut self.gzip else {
            let mut chunk = self.buffers.take();
            self.ended = !self.source.next(&mut chunk);
            return Ok((!chunk.is_empty()).then_some(chunk));
        };
        gzip.plain.clear();
        self.ended = !self.source.next(&mut gzip.plain);
        gzip.encoder.write_all(&gzip.plain)?;
        if self.ended {
            gzip.encoder.try_finish()?;
        }
        let ready = gzip.encoder.get_ref().len();
        Ok((ready >= WORTH_SENDING || self.ended).then(|| mem::replace(gzip.encoder.get_mut(), self.buffers.take())))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(gzip) = &mut self.gzip {
            self.buffers.put(mem::take(&mut gzip.plain));
            self.buffers.put(mem::take(gzip.encoder.get_mut()));
        }
    }
}

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_BUFFERS && (1..=LARGEST_SPARE).contains(&buffer.capacity()) {
            spare.push(buffer);
        }
    }

    /// The buffer as bytes that come back here when they have been sent.
    fn bytes(self: &Arc<Self>, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, home: Arc::clone(self) })
    }
}

struct Lent {
    buffer: Vec<u8>,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.put(mem::take(&mut self.buffer));
    }
}
