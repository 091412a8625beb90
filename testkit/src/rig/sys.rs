//! The system calls that the rig needs and std does not offer; the only unsafe code besides the tap's ring.
#![allow(unsafe_code, reason = "namespaces, TUN devices, real-time scheduling and clocks have no safe interface")]

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether SIGINT or SIGTERM came since [`catch_signals`].
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Makes Ctrl-C set a flag instead of ending the process, so that destructors run.
pub fn catch_signals() {
    extern "C" fn handler(_: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let handler: extern "C" fn(libc::c_int) = handler;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether the effective user is root.
pub fn is_root() -> bool {
    // SAFETY: has no precondition.
    unsafe { libc::geteuid() == 0 }
}

fn clock(id: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time`, which outlives it.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The clock of the kernel's packet stamps, in ns since 1970.
pub fn realtime_ns() -> i64 {
    clock(libc::CLOCK_REALTIME)
}

/// A clock that never steps, in ns.
pub fn monotonic_ns() -> i64 {
    clock(libc::CLOCK_MONOTONIC)
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Moves the calling thread into a new network namespace and returns a handle that keeps it alive.
pub fn unshare_net() -> io::Result<File> {
    // SAFETY: affects the calling thread only; no pointer is passed.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    File::open("/proc/thread-self/ns/net")
}

/// Moves the calling thread into a network namespace.
pub fn enter_net(namespace: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `namespace` is borrowed.
    checked(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Makes a TUN device in the calling thread's network namespace; it vanishes with the file.
pub fn open_tun(name: &str) -> io::Result<File> {
    // SAFETY: the path is a NUL-terminated literal.
    let fd =
        checked(unsafe { libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    // SAFETY: `fd` was just opened and belongs to nobody else.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    // SAFETY: `ifreq` is plain data for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`.
    checked(unsafe { libc::ioctl(fd, libc::TUNSETIFF, &raw mut request) })?;
    Ok(file)
}

/// Schedules the calling thread before every ordinary one.
pub fn become_real_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 50 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread; `parameters` is only read.
    checked(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) }).map(drop)
}

/// Waits until one of the descriptors can be read, at the most `timeout_ns`.
pub fn wait_readable(fds: &[RawFd], timeout_ns: i64) {
    let mut fds: Vec<_> = fds.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 }).collect();
    let timeout = libc::timespec { tv_sec: timeout_ns / 1_000_000_000, tv_nsec: timeout_ns % 1_000_000_000 };
    let count = fds.len() as libc::nfds_t;
    // SAFETY: `count` valid `pollfd`, one valid `timespec`, no signal mask. A failure is as good as a wake-up.
    unsafe { libc::ppoll(fds.as_mut_ptr(), count, &raw const timeout, std::ptr::null()) };
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: no pointer is passed; the caller owns the child, so the id is not that of another process.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// How many files a child may open: as many as container engines allow at the least.
const FILES: libc::rlim_t = 65_536;

/// Makes the command start in a network namespace and in cgroups, and die with the calling thread.
pub fn place(command: &mut Command, namespace: Option<&File>, cgroup_procs: Vec<CString>) {
    let net = namespace.map(AsRawFd::as_raw_fd);
    let enter = move || {
        for path in &cgroup_procs {
            // SAFETY: open, write and close are async-signal-safe, and the path ends with NUL.
            unsafe {
                let fd = checked(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
                let written = libc::write(fd, c"0".as_ptr().cast(), 1);
                libc::close(fd);
                if written != 1 {
                    return Err(io::Error::last_os_error());
                }
            }
        }
        if let Some(net) = net {
            // SAFETY: the descriptor is open in the parent while it spawns, so it is open here before exec.
            checked(unsafe { libc::setns(net, libc::CLONE_NEWNET) })?;
        }
        let files = libc::rlimit { rlim_cur: FILES, rlim_max: FILES };
        // SAFETY: `files` is only read. Where the limit cannot be raised the old one stays.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files) };
        // SAFETY: no pointer is passed.
        checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
    };
    // SAFETY: the closure allocates nothing and calls async-signal-safe functions only.
    unsafe { command.pre_exec(enter) };
}
