//! When a packet came, by the kernel: on a busy machine a server reads it long after.
#![allow(unsafe_code, reason = "ioctl(2) for the kernel's timestamp of a packet, for which std has no call")]

use std::{os::fd::AsRawFd, time::Duration};

use regionwatch::net::Timestamp;

/// The kernel's timestamp of the packet that was read last (socket(7), SIOCGSTAMPNS), since 1970. The first call makes the kernel
/// take timestamps.
pub(crate) fn arrival(socket: &impl AsRawFd) -> Option<Duration> {
    const SIOCGSTAMPNS: libc::c_ulong = 0x8907;
    let mut stamp = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the descriptor is open, and the kernel writes one timespec to where the pointer shows.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS as _, &raw mut stamp) };
    (result == 0).then(|| Duration::new(stamp.tv_sec as u64, stamp.tv_nsec as u32))
}

/// The time by the same clock.
pub(crate) fn now() -> Duration {
    Duration::from_nanos(Timestamp::now().unix_nanos())
}
