//! A way to a server that can be cut.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// While it is cut, nothing gets through, and neither end gets an error.
pub struct Way {
    /// Where it begins.
    pub addr: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Way {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, cut) = (listener.local_addr().unwrap(), Arc::<AtomicBool>::default());
        let is_cut = Arc::clone(&cut);
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(server) else { continue };
                for (from, to) in [(from.try_clone(), to.try_clone()), (to.try_clone(), from.try_clone())] {
                    let (from, to, is_cut) = (from.unwrap(), to.unwrap(), Arc::clone(&is_cut));
                    thread::spawn(move || carry(from, to, &is_cut));
                }
            }
        });
        Self { addr, cut }
    }

    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        while is_cut.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
