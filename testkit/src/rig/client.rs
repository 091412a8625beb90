//! A small HTTP/1.1 client that keeps its connection: for scrapes, and to ask blackbox for probes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::{Result, net::Namespace};

/// The largest body that is taken.
const LIMIT: u64 = 256 << 20;

/// A connection to a server inside a namespace.
pub struct Client<'a> {
    net: &'a Namespace,
    server: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// An answer.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body as it was sent, compressed or not.
    pub body: Vec<u8>,
}

impl<'a> Client<'a> {
    /// A client that connects with its first request.
    pub fn new(net: &'a Namespace, server: SocketAddr) -> Self {
        Self { net, server, connection: None }
    }

    /// Asks for a path; header lines end with CR LF each.
    pub fn get(&mut self, path: &str, headers: &str) -> Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(self.net.connect(self.server)?),
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.server);
        connection.get_mut().write_all(request.as_bytes())?;
        let (response, keep) = read_response(&mut connection)?;
        if keep {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    /// Asks for a path and expects text with status 200.
    pub fn text(&mut self, path: &str) -> Result<String> {
        let response = self.get(path, "")?;
        match response.status {
            200 => Ok(String::from_utf8(response.body)?),
            status => {
                let body = String::from_utf8_lossy(&response.body).into_owned();
                Err(format!("GET {path}: status {status}: {}", body.trim()).into())
            }
        }
    }
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err("the server closed the connection".into());
    }
    Ok(line.trim_end().to_owned())
}

/// Reads an answer; the second value says whether the connection can be used again.
fn read_response(from: &mut impl BufRead) -> Result<(Response, bool)> {
    let status = line(from)?.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    let (mut length, mut chunked, mut keep) = (None, false, true);
    loop {
        let header = line(from)?.to_ascii_lowercase();
        match header.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => length = Some(value.parse::<u64>()?),
            Some(("transfer-encoding", "chunked")) => chunked = true,
            Some(("connection", "close")) => keep = false,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let size = line(from)?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or(""), 16)?;
            from.take(size.min(LIMIT)).read_to_end(&mut body)?;
            line(from)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = length {
        from.take(length.min(LIMIT)).read_to_end(&mut body)?;
        keep &= body.len() as u64 == length;
    } else {
        from.take(LIMIT).read_to_end(&mut body)?;
        keep = false;
    }
    Ok((Response { status, body }, keep))
}
