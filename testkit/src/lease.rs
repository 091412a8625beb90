//! A file that no other process can open, as if its file system did not answer.
#![allow(unsafe_code, reason = "leases are calls of libc")]

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
    path::Path,
};

/// `F_SETSIG` of fcntl(2), which libc does not have for every C library.
const F_SETSIG: libc::c_int = 10;

/// A lease on a file: another process that opens it waits until this is dropped, or for `/proc/sys/fs/lease-break-time`, which is 45 s.
pub struct Lease(#[allow(dead_code, reason = "the lease lasts as long as its descriptor")] File);

impl Lease {
    /// Takes the lease of a file that is open nowhere else.
    pub fn take(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        // The kernel asks for the lease by a signal, which must be one that ends no process.
        for (command, argument) in [(F_SETSIG, libc::SIGURG), (libc::F_SETLEASE, libc::F_WRLCK)] {
            // SAFETY: the descriptor is open, and both commands take an integer.
            let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
            assert_eq!(result, 0, "{}: {}", path.display(), io::Error::last_os_error());
        }
        Self(file)
    }
}
