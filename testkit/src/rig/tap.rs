//! Taps the prober's device: when, by the kernel's clock, a packet left it and when the answer came in.
//!
//! An AF_PACKET ring (`TPACKET_V2`) stamps each packet in the kernel, in the context of whoever sends or receives,
//! and so needs no one to wake up in time. It is used instead of `SO_TIMESTAMPNS` because that would switch on the
//! kernel's stamping for the whole host and hide a program under test that forgot to do so.
#![allow(unsafe_code, reason = "a packet ring is shared memory")]

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{
    Result,
    net::{DEVICE, Namespace},
    packet::{self, PREFIX, Packet},
};

const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 64;
const FRAME: usize = 256;
const FRAMES: usize = BLOCK * BLOCKS / FRAME;

/// A packet and when it passed, ns of CLOCK_REALTIME.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// When it left or arrived.
    pub at: i64,
    /// The packet.
    pub packet: Packet,
}

/// A running tap; ends when dropped.
pub struct Tap {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    seen: Receiver<Seen>,
    dropped: Arc<AtomicU32>,
}

impl Tap {
    /// Taps the namespace's end of the line.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let mut ring = namespace.run(|| Ok(Ring::open()?))?;
        let stop = Arc::new(AtomicBool::new(false));
        let dropped = Arc::new(AtomicU32::new(0));
        let (log, seen) = channel();
        let thread = std::thread::Builder::new().name("tap".to_owned()).spawn({
            let (stop, dropped) = (Arc::clone(&stop), Arc::clone(&dropped));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    ring.drain(&log);
                    dropped.fetch_add(ring.dropped(), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread), seen, dropped })
    }

    /// What has passed since the last call, oldest first.
    ///
    /// # Errors
    /// Where the ring overflowed, since the truth would have holes.
    pub fn take(&self) -> Result<Vec<Seen>> {
        std::thread::sleep(Duration::from_millis(100));
        match self.dropped.swap(0, Ordering::Relaxed) {
            0 => Ok(self.seen.try_iter().collect()),
            n => Err(format!("the tap lost {n} packets").into()),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    next: usize,
}

// SAFETY: the mapping belongs to this value alone, from whichever thread it is used.
unsafe impl Send for Ring {}

impl Ring {
    fn open() -> io::Result<Self> {
        // SAFETY: protocol 0 receives nothing until bound; the descriptor is new and owned.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let fd = socket.as_raw_fd();
        set(fd, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V2 as libc::c_int))?;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK as u32,
            tp_block_nr: BLOCKS as u32,
            tp_frame_size: FRAME as u32,
            tp_frame_nr: FRAMES as u32,
        };
        set(fd, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new shared mapping of the size that was asked for above.
        let memory = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), BLOCK * BLOCKS, protection, libc::MAP_SHARED, fd, 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let ring = Self { socket, memory: NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?, next: 0 };
        ring.bind()?;
        Ok(ring)
    }

    fn bind(&self) -> io::Result<()> {
        let name = std::ffi::CString::new(DEVICE)?;
        // SAFETY: zero is a valid `sockaddr_ll`; the name ends with NUL; the length is that of the address.
        let result = unsafe {
            let mut address: libc::sockaddr_ll = mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
            let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), length)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes all frames that the kernel has filled.
    fn drain(&mut self, log: &Sender<Seen>) {
        loop {
            // SAFETY: `next` < FRAMES, so the frame lies in the mapping; frames are aligned to 256 bytes.
            let frame = unsafe { self.memory.add(self.next * FRAME) };
            // SAFETY: a frame begins with its status, which kernel and user hand over by release and acquire.
            let status = unsafe { AtomicU32::from_ptr(frame.as_ptr().cast()) };
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return;
            }
            // SAFETY: the frame is ours until its status is reset; header, address and packet lie within it.
            let (header, address, bytes) = unsafe {
                let header: libc::tpacket2_hdr = frame.cast().read();
                let address: libc::sockaddr_ll = frame.add(size_of::<libc::tpacket2_hdr>()).cast().read();
                let offset = usize::from(header.tp_net).min(FRAME);
                let length = (header.tp_snaplen as usize).min(FRAME - offset).min(PREFIX);
                (header, address, std::slice::from_raw_parts(frame.add(offset).as_ptr(), length))
            };
            let at = i64::from(header.tp_sec) * 1_000_000_000 + i64::from(header.tp_nsec);
            if let Some(packet) = packet::parse(bytes, address.sll_pkttype == libc::PACKET_OUTGOING) {
                let _ = log.send(Seen { at, packet });
            }
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % FRAMES;
        }
    }

    /// Packets lost for want of room since the last call.
    fn dropped(&self) -> u32 {
        let mut counts = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&counts) as libc::socklen_t;
        let option = libc::PACKET_STATISTICS;
        // SAFETY: the kernel writes at most `length` bytes to `counts`.
        unsafe {
            let to = (&raw mut counts).cast();
            libc::getsockopt(self.socket.as_raw_fd(), libc::SOL_PACKET, option, to, &raw mut length);
        }
        counts.tp_drops
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: unmaps what `open` mapped; nothing points into it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), BLOCK * BLOCKS) };
    }
}

fn set<T>(fd: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `value`.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, std::ptr::from_ref(value).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
