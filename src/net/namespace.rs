//! Network namespaces whose only way out is a device that this process reads and writes: the network of the demo.
#![allow(unsafe_code)]

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    ptr, thread,
};

/// The device through which a namespace reaches the others.
const DEVICE: &str = "wan";

/// `CAP_SYS_ADMIN` creates a network namespace, and `CAP_NET_ADMIN` configures it (linux/capability.h).
const CAPABILITIES: u64 = 1 << 21 | 1 << 12;

/// The device that makes devices.
const TUN: &str = "/dev/net/tun";

/// A network namespace. It ends with this value and the sockets that were opened in it.
#[derive(Debug)]
pub struct Namespace {
    net: File,
    device: File,
}

impl Namespace {
    /// Lets this process create network namespaces: without privileges, in a user namespace of its own. The files that
    /// it may access stay the same. It enters that one only if a child process has created a network namespace there:
    /// inside, it may do less with what is outside.
    ///
    /// # Errors
    /// It is not permitted, there is no `/dev/net/tun` that this user may open, or the process has more than one thread.
    pub fn permit() -> io::Result<()> {
        let status = fs::read_to_string("/proc/self/status")?;
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
        if effective & CAPABILITIES == CAPABILITIES {
            return Ok(());
        }
        in_child(|| {
            enter_user_namespace()?;
            Self::new(Ipv4Addr::new(10, 0, 0, 1), &[]).map(drop)
        })?;
        enter_user_namespace()
    }

    /// A namespace with this address in a network of 24 bits, and `local` on its loopback device.
    ///
    /// # Errors
    /// It is not permitted, or there is no `/dev/net/tun` that this user may open.
    pub fn new(address: Ipv4Addr, local: &[Ipv4Addr]) -> io::Result<Self> {
        let create = || Self::unshare(address, local);
        // A thread that has entered a namespace does not come back.
        thread::scope(|scope| scope.spawn(create).join())
            .unwrap_or_else(|_| Err(io::Error::other("the thread that creates a namespace has panicked")))
    }

    fn unshare(address: Ipv4Addr, local: &[Ipv4Addr]) -> io::Result<Self> {
        // SAFETY: takes an integer. It moves this thread alone, which ends soon.
        checked(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map_err(|error| named("network namespace", &error))?;
        let net = File::open("/proc/thread-self/ns/net")?;
        let device = File::options().read(true).write(true).open(TUN).map_err(|error| named(TUN, &error))?;
        let mut request = request(DEVICE);
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        control(&device, libc::TUNSETIFF as libc::Ioctl, &mut request)?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        set_address(&socket, DEVICE, libc::SIOCSIFADDR, address)?;
        set_address(&socket, DEVICE, libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 255, 255, 0))?;
        set_up(&socket, DEVICE)?;
        set_up(&socket, "lo")?;
        for (n, address) in local.iter().enumerate() {
            set_address(&socket, &format!("lo:{n}"), libc::SIOCSIFADDR, *address)?;
        }
        Ok(Self { net, device })
    }

    /// Moves the calling thread and the threads that it starts into the namespace. What it opened before stays outside.
    ///
    /// # Errors
    /// What `setns` says.
    pub fn enter(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open as long as `self`.
        checked(unsafe { libc::setns(self.net.as_raw_fd(), libc::CLONE_NEWNET) })
    }

    /// The other end of its device: each read returns a packet that leaves the namespace, and each write sends one into it.
    ///
    /// # Errors
    /// No descriptor.
    pub fn device(&self) -> io::Result<File> {
        self.device.try_clone()
    }
}

/// Moves this process into a user namespace of its own, in which it has every capability.
fn enter_user_namespace() -> io::Result<()> {
    // SAFETY: they have no precondition.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: takes an integer. The calling thread is the only one, or the call fails.
    checked(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map_err(|error| named("user namespace", &error))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// What a child process sends if all went well.
const DONE: &str = "done";

/// Does something in a child process, which ends with it. An error comes back as its text.
fn in_child(act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    // SAFETY: takes nothing. The child has a copy of this thread alone, and of no lock that another one holds but the
    // allocator's, which fork(3) takes care of.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let text = act().map_or_else(|error| error.to_string(), |()| DONE.to_owned());
            // Without a parent, none needs an answer.
            let _ = writer.write_all(text.as_bytes());
            // SAFETY: takes an integer. Nothing that is to be done at the end of the parent is done here.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop(writer);
            let mut text = String::new();
            let read = reader.read_to_string(&mut text);
            // SAFETY: the status is not asked for, so the pointer may be null.
            unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
            match read.map(|_| &*text)? {
                DONE => Ok(()),
                "" => Err(io::Error::other("the process that tries it has ended")),
                error => Err(io::Error::other(error.to_owned())),
            }
        }
    }
}

/// A request about a device (netdevice(7)).
fn request(device: &str) -> libc::ifreq {
    // SAFETY: it is made of integers, and of a pointer that may be null.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    for (to, byte) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(device.bytes()) {
        *to = byte as libc::c_char;
    }
    request
}

fn set_address(socket: &UdpSocket, device: &str, what: libc::c_ulong, address: Ipv4Addr) -> io::Result<()> {
    let mut request = request(device);
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: both are plain data of the same size; the kernel reads it as an address of the family.
    request.ifr_ifru.ifru_addr = unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) };
    control(socket, what as libc::Ioctl, &mut request)
}

fn set_up(socket: &UdpSocket, device: &str) -> io::Result<()> {
    let mut request = request(device);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    control(socket, libc::SIOCSIFFLAGS as libc::Ioctl, &mut request)
}

fn control(file: &impl AsRawFd, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: each `what` of this file takes a pointer to an `ifreq`, which lives through the call.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), what, &raw mut *request) })
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
