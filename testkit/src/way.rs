//! A way to a server that can be cut, and that can be long.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

/// While it is cut, nothing gets through, and neither end gets an error.
pub struct Way {
    /// Where it begins.
    pub addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cut: AtomicBool,
    /// How long it takes, in milliseconds.
    delay: AtomicU64,
}

impl Way {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let way = Arc::clone(&state);
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(server) else { continue };
                for (from, to) in [(from.try_clone(), to.try_clone()), (to.try_clone(), from.try_clone())] {
                    let (from, to, way) = (from.unwrap(), to.unwrap(), Arc::clone(&way));
                    let (sender, chunks) = channel();
                    let state = Arc::clone(&way);
                    thread::spawn(move || take(from, &sender, &state));
                    thread::spawn(move || deliver(&chunks, to, &way));
                }
            }
        });
        Self { addr, state }
    }

    pub fn cut(&self, cut: bool) {
        self.state.cut.store(cut, Ordering::Relaxed);
    }

    /// What enters it from now on takes so long, in either direction.
    pub fn delay(&self, delay: Duration) {
        self.state.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

/// What has entered, and when it leaves.
type Chunk = (Instant, Vec<u8>);

fn take(mut from: TcpStream, sender: &Sender<Chunk>, state: &State) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let leaves = Instant::now() + Duration::from_millis(state.delay.load(Ordering::Relaxed));
        if sender.send((leaves, buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(chunks: &Receiver<Chunk>, mut to: TcpStream, state: &State) {
    for (leaves, bytes) in chunks {
        thread::sleep(leaves.saturating_duration_since(Instant::now()));
        while state.cut.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
}
