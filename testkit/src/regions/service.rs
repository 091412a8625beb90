//! What a region is for: something that answers every request.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::SockRef;

use crate::space::Host;

/// What services and anchors listen on.
pub const SERVICE_PORT: u16 = 8080;

/// A server of one page, which dies when it is dropped.
pub struct Service {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Serves on a host.
    pub fn start(host: &Host, port: u16) -> Self {
        let over = Arc::<AtomicBool>::default();
        let ended = Arc::clone(&over);
        let thread = host.run(move || {
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            // So that it sees its end.
            SockRef::from(&listener).set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let Ok((mut stream, _)) = listener.accept() else { continue };
                    thread::spawn(move || {
                        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                        let _ = stream.read(&mut [0; 4096])?;
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    });
                }
            })
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}
