//! Regular files. Where a file system does not answer, the thread that reads is left behind after a deadline.

use std::{
    cell::RefCell,
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// How long a configuration may be read, with every file that it names.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// What a regular file holds.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) bytes: Arc<[u8]>,
    /// Whether every user of the machine can read it.
    pub(crate) is_exposed: bool,
}

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It is something else, such as `a named pipe`, which could block or never end.
    Not(&'static str),
    /// It has more bytes than the limit.
    TooLarge,
    Io(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Content, Unreadable> {
    reading(path, || read_regular(path, limit))
}

/// Runs what reads this file. It is the one that did not answer if the deadline passes meanwhile.
pub(crate) fn reading<T>(path: &Path, read: impl FnOnce() -> T) -> T {
    set_current(Some(path.to_owned()));
    let result = read();
    set_current(None);
    result
}

fn read_regular(path: &Path, limit: u64) -> Result<Content, Unreadable> {
    // Some devices act when they are opened.
    regular(fs::metadata(path)?.file_type())?;
    let file = open(path)?;
    // What the name stood for may have been replaced meanwhile.
    let metadata = file.metadata()?;
    regular(metadata.file_type())?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Unreadable::TooLarge);
    }
    Ok(Content { bytes: bytes.into(), is_exposed: metadata.mode() & 0o004 != 0 })
}

/// Opens a file without waiting for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        // Another process has a lease on a regular file. The kernel ends the lease while this waits.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => File::open(path),
        opened => opened,
    }
}

fn regular(kind: FileType) -> Result<(), Unreadable> {
    if kind.is_file() {
        return Ok(());
    }
    Err(Unreadable::Not(match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

type Current = Arc<Mutex<Option<PathBuf>>>;

thread_local! {
    /// The file that this thread reads now.
    static CURRENT: RefCell<Current> = RefCell::default();
}

fn set_current(path: Option<PathBuf>) {
    CURRENT.with_borrow(|current| *current.lock().unwrap_or_else(PoisonError::into_inner) = path);
}

/// A thread that reads files. It ends when its files have been read, and cannot be made to end before.
#[derive(Debug)]
pub(crate) struct Reader {
    current: Current,
    thread: thread::JoinHandle<()>,
}

impl Reader {
    /// Runs this on a thread of its own.
    ///
    /// # Errors
    /// There can be no further thread.
    pub(crate) fn start(work: impl FnOnce() + Send + 'static) -> Result<Self, String> {
        let current = Current::default();
        let shared = Arc::clone(&current);
        let work = move || {
            CURRENT.set(shared);
            work();
        };
        let thread = thread::Builder::new().name("reader".to_owned()).spawn(work);
        let thread = thread.map_err(|error| {
            format!(
                "the configuration cannot be read: no thread can be started ({error}); allow this process more threads"
            )
        })?;
        Ok(Self { current, thread })
    }

    /// Whether its thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// The file that it reads now.
    pub(crate) fn file(&self) -> String {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map_or_else(|| "configuration".to_owned(), |path| path.display().to_string())
    }

    /// What is wrong at the deadline.
    pub(crate) fn late(&self) -> String {
        let seconds = DEADLINE.as_secs();
        format!("{}: was not read within {seconds} s; check that its file system answers: ls -l FILE", self.file())
    }
}

/// What this returns, if that is before the deadline.
pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (result, received) = mpsc::channel();
    let reader = Reader::start(move || {
        let _ = result.send(work());
    })?;
    received.recv_timeout(DEADLINE).map_err(|_| reader.late())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, os::unix::net::UnixListener, process::Command};

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nothing_else_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, socket, file] = ["pipe", "socket", "file"].map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _socket = UnixListener::bind(&socket).unwrap();
        fs::write(&file, "text").unwrap();
        for (path, kind) in [
            (pipe.as_path(), "a named pipe"),
            (&socket, "a socket"),
            (folder.path(), "a directory"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let path = path.to_owned();
            let refused = in_time(move || read(&path, 9)).unwrap();
            assert!(matches!(refused, Err(Unreadable::Not(not)) if not == kind), "{kind}");
        }
        assert_eq!(&*read(&file, 4).unwrap().bytes, b"text");
        assert!(matches!(read(&file, 3), Err(Unreadable::TooLarge)));
        assert!(matches!(read(&folder.path().join("none"), 3), Err(Unreadable::Io(_))));
        for (mode, is_exposed) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&file, 4).unwrap().is_exposed, is_exposed, "{mode:o}");
        }
    }
}
