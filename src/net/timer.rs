//! A timer of the kernel's.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

use tokio::io::{Interest, unix::AsyncFd};

/// A timer (timerfd_create(2)) that wakes the process one time, within about 50 µs of its time. tokio's own has a
/// resolution of 1 ms, and wakes the process up to three times for each use: when it is set, when it moves to a
/// finer wheel, and when it is due. A process that does little else feels that.
#[derive(Debug)]
pub struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// No descriptor; a sandbox that forbids it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes two integers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, valid, and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: an OwnedFd always returns the same descriptor, and is never taken out or replaced.
        Ok(Self(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?))
    }

    /// Ends after this time, however often it is called before.
    ///
    /// # Errors
    /// What `timerfd_settime` or the runtime says.
    pub async fn after(&self, duration: Duration) -> io::Result<()> {
        // Zero would switch the timer off.
        let duration = duration.max(Duration::from_nanos(1));
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: duration.subsec_nanos().into(),
        };
        let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = libc::itimerspec { it_interval: once, it_value: value };
        // SAFETY: the pointer is to a local, which the kernel reads; the old value is not asked for.
        let set = unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const setting, std::ptr::null_mut()) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        loop {
            let mut guard = self.0.readable().await?;
            let mut expirations = [0; 8];
            // SAFETY: the pointer and length describe `expirations`. A timer that was set again after it was due has
            // readiness left over, which this tells apart.
            let read = unsafe { libc::read(self.0.as_raw_fd(), expirations.as_mut_ptr().cast(), expirations.len()) };
            guard.clear_ready();
            if read > 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_timer_is_never_early_and_can_be_reset() {
        let timer = Timer::new().unwrap();
        for millis in [0, 1, 7] {
            let duration = Duration::from_millis(millis);
            let started = Instant::now();
            timer.after(duration).await.unwrap();
            assert!(started.elapsed() >= duration);
        }
        // Set, left to become due, and set again.
        let mut forgotten = Box::pin(timer.after(Duration::from_millis(1)));
        let polled = forgotten.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        drop(forgotten);
        std::thread::sleep(Duration::from_millis(5));
        let started = Instant::now();
        timer.after(Duration::from_millis(20)).await.unwrap();
        assert!(started.elapsed() >= Duration::from_millis(20));
    }
}
