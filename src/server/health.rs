//! The client side of `/-/healthy`, for health checks by the binary itself.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use tokio::time::Instant;

/// The most that is read of an answer.
const LONGEST_ANSWER: usize = 4 << 10;

/// Asks the regionwatch that listens at `addr` whether it is healthy, within `timeout` as a whole. An
/// unspecified address (`0.0.0.0`, `::`) is asked on the loopback. Blocks the thread.
///
/// # Errors
/// A sentence that says what was asked and what went wrong.
pub fn probe_health(addr: SocketAddr, timeout: Duration) -> Result<(), String> {
    let addr = SocketAddr::new(reachable(addr.ip()), addr.port());
    let head = head(addr, timeout).map_err(|error| format!("http://{addr}/-/healthy: {error}"))?;
    let status = head.lines().next().unwrap_or_default().trim_end();
    match status.split(' ').collect::<Vec<_>>()[..] {
        [version, "200", ..] if version.starts_with("HTTP/1.") => Ok(()),
        _ => Err(format!("http://{addr}/-/healthy: answered {status:?}")),
    }
}

fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// The first bytes of the answer, at least its first line.
fn head(addr: SocketAddr, timeout: Duration) -> Result<String, String> {
    let deadline = Instant::now() + timeout;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(format!("no answer within {timeout:?}")),
        left => Ok(left),
    };
    let said = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => format!("no answer within {timeout:?}"),
        _ => error.to_string(),
    };
    let mut stream = TcpStream::connect_timeout(&addr, left()?).map_err(said)?;
    stream.set_write_timeout(Some(left()?)).map_err(said)?;
    let request = format!("GET /-/healthy HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(said)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while answer.len() < LONGEST_ANSWER && !answer.contains(&b'\n') {
        stream.set_read_timeout(Some(left()?)).map_err(said)?;
        match stream.read(&mut buffer).map_err(said)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
