//! One `recvmsg`, and what its control messages say.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::clock::Timestamp;

/// What one `recvmsg` brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Message {
    /// Bytes written into the buffer.
    pub len: usize,
    /// When the kernel received the packet (or, from the error queue, sent it).
    pub timestamp: Option<Timestamp>,
    /// The hop limit (TTL) that the packet arrived with, where the socket asks for it.
    pub hop_limit: Option<u8>,
    /// From the error queue: what it is about.
    pub(super) error: Option<ExtendedError>,
}

/// `struct sock_extended_err` (linux/errqueue.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExtendedError {
    pub(super) errno: i32,
    pub(super) origin: u8,
    pub(super) info: u32,
    pub(super) data: u32,
}

/// Room for a timestamp (64 bytes), an extended error with its address (64) and a hop limit (24).
const CONTROL_LEN: usize = 256;

/// The control buffer, aligned as `struct cmsghdr` must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

/// Receives one message without blocking; with `MSG_ERRQUEUE` from the error queue.
///
/// # Errors
/// What `recvmsg` says; `WouldBlock` where there is nothing.
pub(super) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: libc::c_int) -> io::Result<Message> {
    let mut control = Control([0; CONTROL_LEN]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: an all-zero msghdr is valid: null pointers with zero lengths.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN as _;
    // SAFETY: the header points to one iovec over `buffer` and to `control`, which both live and are not
    // otherwise used during the call; the descriptor is borrowed for its length.
    let received = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags | libc::MSG_DONTWAIT) };
    let len = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    #[allow(clippy::unnecessary_cast, reason = "the type differs between C libraries")]
    let control_len = (header.msg_controllen as usize).min(CONTROL_LEN);
    let mut message = parse_control(&control.0[..control_len]);
    message.len = len;
    Ok(message)
}

fn int_at(bytes: &[u8], offset: usize) -> Option<i32> {
    bytes.get(offset..offset + 4)?.try_into().ok().map(i32::from_ne_bytes)
}

fn long_at(bytes: &[u8], offset: usize) -> Option<i64> {
    bytes.get(offset..offset + 8)?.try_into().ok().map(i64::from_ne_bytes)
}

/// Reads a sequence of `struct cmsghdr` (cmsg(3)): a length that includes the header, level, type, data, padded
/// to 8 bytes.
fn parse_control(mut bytes: &[u8]) -> Message {
    const HEADER: usize = 16;
    let mut message = Message::default();
    while let (Some(len), Some(level), Some(kind)) = (long_at(bytes, 0), int_at(bytes, 8), int_at(bytes, 12)) {
        let Ok(len) = usize::try_from(len) else { break };
        let Some(data) = bytes.get(HEADER..len) else { break };
        match (level, kind) {
            // struct scm_timestamping: three timespecs, of which the first is the software timestamp.
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
                message.timestamp = long_at(data, 0)
                    .zip(long_at(data, 8))
                    .and_then(|(seconds, nanoseconds)| Timestamp::from_timespec(seconds, nanoseconds));
            }
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                message.hop_limit = int_at(data, 0).and_then(|hops| u8::try_from(hops).ok());
            }
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                message.error = parse_error(data);
            }
            _ => {}
        }
        let Some(rest) = bytes.get(len.next_multiple_of(8)..) else { break };
        bytes = rest;
    }
    message
}

fn parse_error(data: &[u8]) -> Option<ExtendedError> {
    Some(ExtendedError {
        errno: int_at(data, 0)?,
        origin: *data.get(4)?,
        info: int_at(data, 8)?.cast_unsigned(),
        data: int_at(data, 12)?.cast_unsigned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(16 + data.len()).to_ne_bytes());
        bytes.extend_from_slice(&level.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn control_messages_are_parsed_in_any_order() {
        let mut bytes = control(libc::IPPROTO_IP, libc::IP_TTL, &57_i32.to_ne_bytes());
        let timestamp: Vec<u8> = [3_i64, 7, 0, 0, 0, 0].iter().flat_map(|v| v.to_ne_bytes()).collect();
        bytes.extend(control(libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &timestamp));
        let message = parse_control(&bytes);
        assert_eq!(message.hop_limit, Some(57));
        assert_eq!(message.timestamp.map(Timestamp::unix_nanos), Some(3_000_000_007));
    }

    #[test]
    fn a_truncated_or_malformed_control_message_ends_parsing() {
        let whole = control(libc::IPPROTO_IP, libc::IP_TTL, &57_i32.to_ne_bytes());
        for cut in 0..whole.len() - 4 {
            assert_eq!(parse_control(&whole[..cut]).hop_limit, None, "cut at {cut}");
        }
        for len in [0_usize, 1, 15, usize::MAX] {
            let mut lying = whole.clone();
            lying[..8].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(parse_control(&lying), Message::default());
        }
    }
}
