//! HTTP over the Unix socket of a container engine. Whatever answers is bounded: its head, its body, and its time.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

/// The most bytes of the head of an answer, and its most fields.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 128;

/// How long a connection to a local socket may take.
const CONNECTING: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// The socket cannot be connected to.
    #[error("{0}")]
    Connect(io::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The answer is larger than allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// What arrived is no answer, or ends too early.
    #[error("the answer is broken: {0}")]
    Broken(#[from] hyper::Error),
    /// The request cannot be written, as with a bad path.
    #[error("the request is invalid: {0}")]
    Request(#[from] http::Error),
    /// What takes the answer wants no more of it.
    #[error("{0}")]
    Refused(String),
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: &'a str,
    /// The type and the bytes of a body.
    pub(super) body: Option<(&'static str, Bytes)>,
    /// Until when the answer must be there.
    pub(super) limit: Duration,
    /// The most bytes of its body.
    pub(super) most: usize,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Takes the bytes of an answer as they come.
pub(super) type Sink<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), String> + Send);

/// A socket that is connected to once for each request.
#[derive(Debug, Clone)]
pub(super) struct Socket(PathBuf);

/// The task that moves a connection's bytes; ends with it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Socket {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Answer, SocketError> {
        let (limit, most) = (call.limit, call.most);
        let exchange = async {
            let (_driver, response) = self.open(call).await?;
            let (head, body) = response.into_parts();
            let body = collect(body, most).await?;
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        timeout_at(Instant::now() + limit, exchange).await.map_err(|_| SocketError::Timeout(limit))?
    }

    /// Sends a request whose answer is taken as it comes. An answer that is not a success is returned as a whole.
    pub(super) async fn stream(&self, call: Call<'_>, sink: Sink<'_>) -> Result<Option<Answer>, SocketError> {
        let limit = call.limit;
        let most = call.most;
        let exchange = async {
            let (_driver, response) = self.open(call).await?;
            let (head, mut body) = response.into_parts();
            if !head.status.is_success() {
                let body = collect(body, MAX_HEAD).await?;
                return Ok(Some(Answer { status: head.status, headers: head.headers, body }));
            }
            let mut taken = 0_usize;
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                taken = taken.saturating_add(data.len());
                if taken > most {
                    return Err(SocketError::TooLarge(most));
                }
                sink(&data).map_err(SocketError::Refused)?;
            }
            Ok(None)
        };
        timeout_at(Instant::now() + limit, exchange).await.map_err(|_| SocketError::Timeout(limit))?
    }

    async fn open(&self, call: Call<'_>) -> Result<(Driver, http::Response<Incoming>), SocketError> {
        let connecting = timeout_at(Instant::now() + CONNECTING, UnixStream::connect(&self.0)).await;
        let stream = connecting.map_err(|_| SocketError::Timeout(CONNECTING))?.map_err(SocketError::Connect)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await?;
        let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
        // The name is part of every request (RFC 9112, 3.2), and no engine looks at it.
        let request = Request::builder().method(call.method).uri(call.path).header(header::HOST, "engine");
        let request = match call.body {
            Some((kind, body)) => request.header(header::CONTENT_TYPE, kind).body(Full::new(body)),
            None => request.body(Full::new(Bytes::new())),
        };
        let response = sender.send_request(request?).await?;
        Ok((driver, response))
    }
}

async fn collect(mut body: Incoming, most: usize) -> Result<Vec<u8>, SocketError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(SocketError::TooLarge(most));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    /// A socket that answers every request with these bytes, and then says nothing more.
    fn engine_that_says(answer: Vec<u8>) -> (tempfile::TempDir, Socket) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.read(&mut [0; 1]).await;
                });
            }
        });
        (folder, Socket::new(path))
    }

    async fn ask(socket: &Socket, limit: Duration) -> Result<Answer, SocketError> {
        socket.send(Call { method: Method::GET, path: "/_ping", body: None, limit, most: 100 }).await
    }

    #[tokio::test]
    async fn an_answer_is_bounded_in_size_and_time() {
        let long = Duration::from_secs(60);
        let (_folder, socket) = engine_that_says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK".to_vec());
        assert_eq!(ask(&socket, long).await.unwrap().body, b"OK");
        let (_folder, socket) = engine_that_says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nO".to_vec());
        assert!(matches!(ask(&socket, Duration::from_millis(50)).await, Err(SocketError::Timeout(_))));
        let endless = [&b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"[..], &[b'x'; 5000]].concat();
        let (_folder, socket) = engine_that_says(endless);
        assert!(matches!(ask(&socket, long).await, Err(SocketError::TooLarge(100))));
        let head = [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'x'; 2 * MAX_HEAD]].concat();
        let (_folder, socket) = engine_that_says(head);
        assert!(matches!(ask(&socket, long).await, Err(SocketError::Broken(_))));
        let (_folder, socket) = engine_that_says(b"SSH-2.0-OpenSSH\r\n".to_vec());
        assert!(matches!(ask(&socket, long).await, Err(SocketError::Broken(_))));
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_an_error_at_once() {
        let socket = Socket::new("/nowhere/docker.sock".into());
        assert!(matches!(ask(&socket, Duration::from_secs(60)).await, Err(SocketError::Connect(_))));
    }
}
