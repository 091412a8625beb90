//! The servers of a simulated region: DNS and web, which answer late where the network does not.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{sync::oneshot, time::sleep};

use super::world;

/// Servers that run until this is dropped.
pub(super) struct Servers {
    /// The port of the web server.
    pub(super) web: u16,
    /// The port of the DNS server.
    pub(super) dns: u16,
    _until: oneshot::Sender<()>,
}

/// Serves one region on a thread of its own; port 0 is any. If `late`, the answers take as long as the region of the
/// caller is far away.
pub(super) fn start(region: &str, address: Ipv4Addr, (web, dns): (u16, u16), late: bool) -> io::Result<Servers> {
    let web = TcpListener::bind((address, web))?;
    let dns = UdpSocket::bind((address, dns))?;
    let delay = move |asker: SocketAddr| {
        if late { world::round_trip(asker.ip(), IpAddr::V4(address)) } else { Duration::ZERO }
    };
    let (until, ended) = oneshot::channel();
    let servers = Servers { web: web.local_addr()?.port(), dns: dns.local_addr()?.port(), _until: until };
    web.set_nonblocking(true)?;
    dns.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(region.to_owned()).spawn(move || {
        runtime.block_on(async {
            let dns = tokio::net::UdpSocket::from_std(dns).map(|socket| answer_dns(socket, delay));
            let web = tokio::net::TcpListener::from_std(web).map(|listener| answer_http(listener, delay));
            if let (Ok(dns), Ok(web)) = (dns, web) {
                tokio::select! {
                    _ = ended => {}
                    () = dns => {}
                    () = web => {}
                }
            }
        });
    })?;
    Ok(servers)
}

async fn answer_http(listener: tokio::net::TcpListener, delay: impl Fn(SocketAddr) -> Duration) {
    loop {
        let Ok((stream, asker)) = listener.accept().await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let delay = delay(asker);
        let answer = move |_: Request<hyper::body::Incoming>| async move {
            sleep(delay).await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok\n"))))
        };
        tokio::spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer_dns(socket: tokio::net::UdpSocket, delay: impl Fn(SocketAddr) -> Duration) {
    let socket = Arc::new(socket);
    let mut buffer = [0; 512];
    loop {
        let Ok((len, asker)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(answer) = dns_answer(&buffer[..len]) else { continue };
        let (socket, delay) = (Arc::clone(&socket), delay(asker));
        tokio::spawn(async move {
            sleep(delay).await;
            let _ = socket.send_to(&answer, asker).await;
        });
    }
}

/// Answers any question with 192.0.2.1: the question again, as a response, and one record that points to its
/// name (RFC 1035 4.1).
fn dns_answer(question: &[u8]) -> Option<Vec<u8>> {
    let labels = question.get(12..)?;
    // The name ends at its first zero byte; type and class follow.
    let end = 12 + labels.iter().position(|byte| *byte == 0)? + 5;
    let mut answer = question.get(..end)?.to_vec();
    // Response, recursion available, no error; one question, one answer, nothing else.
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_query_gets_no_answer() {
        for len in 0..17 {
            assert_eq!(dns_answer(&vec![1; len]), None);
        }
    }
}
