//! What the fuzz targets call: the clients of [`net`](super), with all their limits, against a peer that says whatever the
//! fuzzer wants.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, Request};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Instant,
};

pub use super::tls::fuzz_expiry;
use super::{
    api_client::ApiClient,
    attempt::Attempt,
    connection::Measured,
    http_client::{BodyUse, HttpClient, HttpVersion},
    options::SocketOptions,
    resolver::Resolver,
    tls::{TlsContext, TlsSpec},
};
use crate::model::{Host, HttpUrl};

/// The most bytes of a body that the client reads.
const MAX_BODY: usize = 16 << 10;

/// The most bytes that the peer sends.
const MAX_SENT: usize = 4 << 20;

/// What the kernel holds for the peer.
const SEND_BUFFER: usize = 64 << 10;

/// The most bytes that a client may let a peer send on one connection: what it allows for heads and the largest body, and
/// what fits into the buffers of both sockets.
const MAX_TAKEN: usize = 3 << 20;

/// What a peer sends as soon as a client connects, whatever the request.
#[derive(Debug, Clone)]
pub struct Script {
    once: Vec<u8>,
    /// Sent again and again afterwards, unless it is empty.
    again: Vec<u8>,
}

impl Script {
    /// A peer that sends this, and closes the connection.
    pub fn once(bytes: &[u8]) -> Self {
        Self { once: bytes.to_vec(), again: Vec::new() }
    }

    /// A peer that sends what follows the first two bytes, and the last of it without end. These two are the length of what
    /// is repeated.
    pub fn endless(bytes: &[u8]) -> Self {
        let Some((length, bytes)) = bytes.split_first_chunk() else { return Self::once(bytes) };
        let length = usize::from(u16::from_le_bytes(*length)).min(bytes.len());
        let (once, again) = bytes.split_at(bytes.len() - length);
        Self { once: once.to_vec(), again: again.to_vec() }
    }

    /// The bytes, in pieces.
    fn pieces(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let copies = (16_usize << 10).div_ceil(self.again.len().max(1));
        let again = if self.again.is_empty() { Vec::new() } else { self.again.repeat(copies) };
        let count = if again.is_empty() { 0 } else { MAX_SENT / again.len() };
        std::iter::once(self.once.clone()).chain(std::iter::repeat_n(again, count))
    }

    /// Says it on a connection until the client has enough. Returns how many bytes it took.
    async fn serve(&self, mut connection: TcpStream) -> usize {
        let _ = SockRef::from(&connection).set_send_buffer_size(SEND_BUFFER);
        let (mut requests, mut answers) = connection.split();
        let talk = async {
            let mut taken = 0;
            for piece in self.pieces() {
                let Ok(()) = answers.write_all(&piece).await else { break };
                taken += piece.len();
            }
            let _ = answers.shutdown().await;
            taken
        };
        let listen = async {
            let mut buffer = [0; 4 << 10];
            while requests.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        };
        tokio::join!(talk, listen).0
    }
}

/// A peer that follows a script on each connection.
#[derive(Debug)]
pub struct Peer {
    listener: TcpListener,
}

impl Peer {
    /// A peer on a port of its own.
    ///
    /// # Panics
    /// Outside a tokio runtime, and without a port.
    pub async fn bind() -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", 0)).await.expect("a port") }
    }

    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    fn url(&self) -> HttpUrl {
        let addr = self.addr();
        HttpUrl { https: false, host: Host::Addr(addr.ip()), port: addr.port(), path: "/".into() }
    }

    /// What `client` returns while this peer serves everyone who connects.
    ///
    /// # Panics
    /// If the client took more bytes on one connection than it may.
    pub async fn during<T>(&self, script: &Script, client: impl Future<Output = T>) -> T {
        let (taken_tx, mut taken) = mpsc::unbounded_channel();
        let script = Arc::new(script.clone());
        let serve = async {
            loop {
                let Ok((connection, _)) = self.listener.accept().await else { continue };
                let (script, taken_tx) = (Arc::clone(&script), taken_tx.clone());
                tokio::spawn(async move {
                    let _ = taken_tx.send(script.serve(connection).await);
                });
            }
        };
        let result = tokio::select! {
            result = client => result,
            never = serve => match never {},
        };
        drop((script, taken_tx));
        // The client has let go of all its connections, so that each ends.
        while let Some(taken) = taken.recv().await {
            assert!(taken < MAX_TAKEN, "the client took {taken} bytes");
        }
        result
    }
}

/// One request of a probe over HTTP to a peer that follows the script.
pub async fn fuzz_response(peer: &Peer, script: &Script, http2: bool) {
    let url = peer.url();
    let version = if http2 { HttpVersion::Http2 } else { HttpVersion::Http1 };
    let (tls, context) = (TlsSpec::default(), TlsContext::default());
    let Ok(client) = HttpClient::new(&url, version, SocketOptions::default(), &tls, &context) else { return };
    let request = Request::builder().uri(client.uri()).body(Default::default());
    let Ok(request) = request else { return };
    let attempt = Attempt::new(Instant::now() + Duration::from_secs(60));
    let mut measured = Measured::default();
    let exchange = async {
        let response = client.send(peer.addr(), request, BodyUse::kept(MAX_BODY), &mut measured, &attempt).await;
        drop(client);
        response
    };
    if let Ok(response) = peer.during(script, exchange).await {
        assert!(response.body.is_none_or(|body| body.len() <= MAX_BODY));
    }
}

/// A client of a peer, such as the one of an Alertmanager.
///
/// # Panics
/// Outside a tokio runtime.
pub fn api_client(peer: &Peer) -> ApiClient {
    let (tls, context) = (TlsSpec::default(), TlsContext::default());
    ApiClient::new(&Resolver::new(None), &peer.url(), HeaderMap::new(), &tls, &context).expect("a plain URL")
}
