//! Connections to Unix sockets. The call that connects looks the path up, and its file system may not answer: so it is made on
//! another thread.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{sync::Semaphore, task::spawn_blocking, time::Instant};

use super::{
    attempt::Attempt,
    clock::Elapsed,
    stream::{Connected, Stream},
};
use crate::model::{Failure, FailureDetail, StampSource};

/// Lets one call at a time look a path up.
type Turn = Arc<Semaphore>;

/// The paths that are being looked up. A path that hangs takes one thread, however many probes and reloads there are.
static TURNS: Mutex<BTreeMap<Arc<Path>, Weak<Semaphore>>> = Mutex::new(BTreeMap::new());

fn turn_of(path: &Arc<Path>) -> Turn {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(turn) = turns.get(path).and_then(Weak::upgrade) {
        return turn;
    }
    turns.retain(|_, turn| turn.strong_count() > 0);
    let turn = Arc::new(Semaphore::new(1));
    turns.insert(Arc::clone(path), Arc::downgrade(&turn));
    turn
}

/// Connects to a Unix socket, which has no timestamps of the kernel.
///
/// # Errors
/// `refused` if no process listens there, `local` also if the path cannot be looked up before the deadline.
pub(super) async fn connect_unix(path: &Arc<Path>, attempt: &Attempt) -> Result<(Stream, Connected), Failure> {
    let (socket, elapsed) = off_thread(path, attempt, connect).await?;
    // The calls that read and write are those of a TCP connection.
    let io = tokio::net::TcpStream::from_std(socket.into()).map_err(|_| Failure::Local)?;
    Ok((Stream::unix(io), Connected { elapsed, syn_retransmits: 0 }))
}

fn connect(path: &Path) -> io::Result<(Socket, Elapsed)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let address = SockAddr::unix(path)?;
    let started = Instant::now();
    socket.connect(&address)?;
    Ok((socket, Elapsed { duration: started.elapsed(), source: StampSource::Userland }))
}

/// Waits until no other call hangs at the path, and then for this one.
async fn off_thread<T: Send + 'static>(
    path: &Arc<Path>,
    attempt: &Attempt,
    connect: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    attempt.set_timeout_reason(Failure::Local);
    attempt.set_detail(FailureDetail::SocketPathHangs);
    let turn = turn_of(path).acquire_owned().await.map_err(|_| Failure::Local)?;
    let path = Arc::clone(path);
    let connected = spawn_blocking(move || {
        let connected = connect(&path);
        drop(turn);
        connected
    });
    let connected = connected.await.map_err(|_| Failure::Local)?;
    attempt.clear_timeout_reason();
    attempt.clear_detail();
    connected.map_err(|error| match error.kind() {
        // A full queue is announced at once.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock => Failure::Refused,
        _ => Failure::Local,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use tokio::time::timeout_at;

    use super::*;
    use crate::model::Outcome;

    #[tokio::test]
    async fn a_path_that_hangs_is_local_at_the_deadline_and_takes_one_thread_until_it_answers() {
        let (release, hang) = mpsc::channel::<()>();
        let (hang, begun) = (Arc::new(Mutex::new(hang)), Arc::<AtomicUsize>::default());
        let lookup = || {
            let (hang, begun) = (Arc::clone(&hang), Arc::clone(&begun));
            move |_: &Path| {
                begun.fetch_add(1, Ordering::Relaxed);
                let _ = hang.lock().unwrap().recv();
                io::Result::Ok(())
            }
        };
        let path: Arc<Path> = Path::new("/hung/app.sock").into();
        for _ in 0..3 {
            let attempt = Attempt::new(Instant::now() + Duration::from_millis(20));
            let found = timeout_at(attempt.deadline(), off_thread(&path, &attempt, lookup())).await;
            assert!(found.is_err());
            let failure: Outcome = Err(attempt.timeout_reason());
            assert_eq!(failure, Err(Failure::Local));
            assert_eq!(attempt.context(&failure).detail, Some(FailureDetail::SocketPathHangs));
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        // Other paths are looked up meanwhile.
        let (attempt, other) = (Attempt::new(Instant::now()), Path::new("/fine/app.sock").into());
        assert_eq!(off_thread(&other, &attempt, |_| Ok(7)).await, Ok(7));
        drop(release);
        assert_eq!(off_thread(&path, &attempt, lookup()).await, Ok(()));
        assert_eq!(attempt.timeout_reason(), Failure::Timeout);
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }
}
