//! An engine for tests: a socket that answers as a test says.

use std::{path::Path, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// Answers requests such as `GET /_ping` on this socket with a status and a body.
pub(super) fn engine(path: &Path, answer: impl Fn(&str) -> (&'static str, String) + Send + Sync + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let (status, body) = answer(&request(&mut stream).await);
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
                let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await;
            });
        }
    });
}

/// The method and the path of a request that is read to its end.
async fn request(stream: &mut UnixStream) -> String {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).to_ascii_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                break;
            }
        }
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&bytes).split(" HTTP").next().unwrap_or_default().to_owned()
}
