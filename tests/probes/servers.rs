//! Peers: hostile ones of the test, and the real nginx and knotd.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

pub(crate) use testkit::programs::{knot, nginx, write_zone};

/// Serves each connection on a thread of its own, for the life of the test process.
pub(crate) fn tcp(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// Reads a request's head, then says these bytes and hangs up.
pub(crate) fn says(answer: &'static [u8]) -> SocketAddr {
    tcp(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(answer);
    })
}

pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads a request's head, says the first part, and then the second again and again, until the client leaves.
pub(crate) fn repeats(first: &'static [u8], again: &'static [u8], pause: Duration) -> SocketAddr {
    tcp(move |mut stream| {
        read_head(&mut stream);
        let mut result = stream.write_all(first);
        while result.is_ok() {
            thread::sleep(pause);
            result = stream.write_all(again);
        }
    })
}

/// Answers each datagram with those that the function makes of it.
pub(crate) fn udp(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            for answer in answers(&buffer[..len]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    addr
}

/// One port of both protocols. The kernel gives out one that is free for one of them, and a connection of another test may
/// have the other.
pub(crate) fn udp_and_tcp() -> (UdpSocket, TcpListener) {
    let pair = || {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
        Some((udp, tcp))
    };
    (0..100).find_map(|_| pair()).expect("no port is free for both")
}

/// A port that nothing listens on.
pub(crate) fn closed() -> SocketAddr {
    testkit::process::free()
}
