//! Response bodies.
//!
//! A long body exists one chunk at a time: the next chunk is written when the client has taken the last one, and the
//! runtime gets a turn in between. So a scrape holds some 64 KiB, however long the page is.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{api::ProbesJson, conn_state::InFlight};
use crate::metrics::Page;

/// Compressed output is collected up to this length, so that a write is worth its system call.
const MIN_WRITE: usize = 16 << 10;

/// The room of a new chunk: a piece of the metrics page is a little more than 24 KiB.
const CHUNK: usize = 32 << 10;

/// 2^15 bytes, the largest. A smaller window costs CPU time: the encoder's hash table moves with each window.
const WINDOW_BITS: u8 = 15;

/// What a body is made from.
pub(super) enum Content {
    /// Text that exists already.
    Text(Bytes),
    /// The metrics, written while they are sent.
    Metrics(Page),
    /// Probe histories, written while they are sent.
    Probes(ProbesJson),
}

impl Content {
    /// The next chunk, and whether more follows.
    fn next(&mut self) -> (Bytes, bool) {
        if let Self::Text(text) = self {
            return (text.split_to(text.len().min(2 * CHUNK)), !text.is_empty());
        }
        let mut chunk = Vec::with_capacity(CHUNK);
        let more = match self {
            Self::Text(_) => false,
            Self::Metrics(page) => page.next(&mut chunk),
            Self::Probes(probes) => probes.next(&mut chunk),
        };
        (chunk.into(), more)
    }
}

/// The body of a response.
pub(super) struct Body {
    content: Content,
    gzip: Option<Gzip>,
    ended: bool,
    /// Whether the runtime gets a turn before the next chunk.
    yielding: bool,
    /// Count the body against limits while it is sent.
    permits: Vec<OwnedSemaphorePermit>,
    /// Notes in the state of the connection that the response is complete or aborted.
    _in_flight: Option<InFlight>,
}

impl Body {
    pub(super) fn new(content: Content) -> Self {
        let ended = matches!(&content, Content::Text(text) if text.is_empty());
        Self { content, gzip: None, ended, yielding: false, permits: Vec::new(), _in_flight: None }
    }

    /// The same body, compressed; `permit` allows an encoder.
    pub(super) fn gzip(self, permit: OwnedSemaphorePermit) -> Self {
        // Level 1: the text is so regular that higher levels cost time and save little.
        let encoder = Compress::new_gzip(Compression::fast(), WINDOW_BITS);
        Self { gzip: Some(Gzip { encoder, out: Vec::new(), _permit: permit }), ..self }
    }

    /// The same body, which holds a permit while it is sent.
    pub(super) fn with_permit(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.permits.push(permit);
        self
    }

    /// The same body, which drops `in_flight` at its end.
    pub(super) fn with(self, in_flight: InFlight) -> Self {
        Self { _in_flight: Some(in_flight), ..self }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if !mem::take(&mut self.yielding) {
            let (chunk, more) = self.content.next();
            self.ended = !more;
            let chunk = match &mut self.gzip {
                None => chunk,
                Some(gzip) => gzip.compress(&chunk, !more)?,
            };
            self.yielding = !chunk.is_empty();
            if !chunk.is_empty() || self.ended {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) if self.gzip.is_none() => SizeHint::with_exact(text.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

struct Gzip {
    encoder: Compress,
    out: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl Gzip {
    /// Compresses a chunk; returns the output so far if there is enough of it to be sent.
    fn compress(&mut self, mut chunk: &[u8], last: bool) -> io::Result<Bytes> {
        let flush = if last { FlushCompress::Finish } else { FlushCompress::None };
        loop {
            self.out.reserve(MIN_WRITE);
            let before = self.encoder.total_in();
            let status = self.encoder.compress_vec(chunk, &mut self.out, flush).map_err(io::Error::other)?;
            chunk = &chunk[(self.encoder.total_in() - before) as usize..];
            if status == Status::StreamEnd || (!last && chunk.is_empty()) {
                break;
            }
        }
        let send = last || self.out.len() >= MIN_WRITE;
        Ok(if send { mem::take(&mut self.out).into() } else { Bytes::new() })
    }
}
