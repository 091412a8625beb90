//! The client of `/-/healthy`, for health checks by the binary itself.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// Checks that the regionwatch at `addr` is healthy, within `limit`. An unspecified address (`0.0.0.0`, `::`) is replaced
/// by the loopback address. Blocks the thread.
///
/// # Errors
/// A message with the URL and the reason.
pub fn probe_health(addr: SocketAddr, limit: Duration) -> Result<(), String> {
    let addr = SocketAddr::new(reachable(addr.ip()), addr.port());
    let status = || -> Result<StatusCode, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(async { timeout(limit, status(addr)).await });
        answer.map_err(|_| format!("no answer within {limit:?}"))?
    };
    match status() {
        Ok(StatusCode::OK) => Ok(()),
        Ok(status) => Err(format!("http://{addr}/-/healthy: status {status}")),
        Err(error) => Err(format!("http://{addr}/-/healthy: {error}")),
    }
}

fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

async fn status(addr: SocketAddr) -> Result<StatusCode, Box<dyn Error>> {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/-/healthy").header(HOST, addr.to_string()).body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?.status())
}
