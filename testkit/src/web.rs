//! A web server for probes, on threads that end with the test.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

/// Answers every request with `ok`.
pub fn web(listener: TcpListener) {
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A handshake alone is a probe as well.
            thread::spawn(move || {
                if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
                }
            });
        }
    });
}
