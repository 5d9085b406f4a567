//! Who listens, and the connections of a port, and which of them are idle, from the kernel.
//!
//! By NETLINK_SOCK_DIAG and not by /proc/net/tcp, which takes seconds to read on a busy host. It
//! asks both families: IPv4 clients of a `[::]` listener are in the IPv6 list.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// Both ends silent for so long, in milliseconds, counts as idle.
const QUIET_MS: u32 = 1000;
/// Within it the kernel's clock can't tell what came last.
const TICK_MS: u32 = 3000;

/// The connections of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Connections {
    /// All that are established, half open or half closed.
    pub(crate) all: u64,
    /// Those with a request under way, as far as can be told.
    pub(crate) busy: u64,
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const INET_DIAG_INFO: u16 = 2;
const TCP: u8 = 6;
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;
/// Established, both kinds of half open, and half closed by the client.
const CONNECTED: u32 = 1 << 1 | 1 << 3 | 1 << 8 | 1 << 12;
const LISTENING: u32 = 1 << 10;
/// Asked for, it stands for all of them.
const ANY_PORT: u16 = 0;
/// Bytes of `nlmsghdr` and of `inet_diag_msg`.
const HEADER: usize = 16;
const MESSAGE: usize = 72;
/// The kernel sends as much at once as the last receive had room for, and a page before the first.
const BUFFER: usize = 16 * 1024;

/// Counts the connections of a local port, but for those from `except` (our own probes).
///
/// # Errors
/// Where the kernel can't be asked.
pub(crate) fn connections(port: u16, except: [u8; 4]) -> io::Result<Connections> {
    let mut total = Connections::default();
    ask(port, (CONNECTED, 1 << (INET_DIAG_INFO - 1)), |message| {
        if !peer_is(message, except) {
            total.all += 1;
            total.busy += u64::from(is_busy(message));
        }
    })?;
    Ok(total)
}

/// Returns the inodes of the sockets that listen, by port: what `/proc/<pid>/fd` shows. All at once, for the kernel walks through
/// all of them to find those of one port.
///
/// # Errors
/// Where the kernel can't be asked.
pub(crate) fn listening() -> io::Result<BTreeMap<u16, Vec<u32>>> {
    let mut inodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    ask(ANY_PORT, (LISTENING, 0), |message| {
        let port = u16::from_be(u16_at(message, 4));
        inodes.entry(port).or_default().push(u32_at(message, 68));
    })?;
    Ok(inodes)
}

/// Gives each socket of a local port in one of these states to `each`, with these attributes (a bit for each).
fn ask(port: u16, (states, attributes): (u32, u8), mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let request = request((family as u8, port), (states, attributes));
        send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
        receive(&socket, &mut each)?;
    }
    Ok(())
}

/// `nlmsghdr`, then `inet_diag_req_v2` with the port in the socket's id.
fn request((family, port): (u8, u16), (states, attributes): (u32, u8)) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER + 56);
    request.extend_from_slice(&72u32.to_ne_bytes());
    request.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(&[family, TCP, attributes, 0]);
    request.extend_from_slice(&states.to_ne_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    request.resize(HEADER + 56, 0);
    request
}

fn receive(socket: &OwnedFd, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
    // Not on the heap: of what it gives back and asks for again, the kernel makes each page anew.
    let mut buffer = [0; BUFFER];
    loop {
        let bytes = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..bytes];
        while rest.len() >= HEADER {
            let length = u32_at(rest, 0) as usize;
            if length < HEADER || length > rest.len() {
                return Err(io::Error::other("the kernel's answer is cut"));
            }
            match u16_at(rest, 4) {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = u32_at(&rest[..length], HEADER).cast_signed();
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ if length >= HEADER + MESSAGE => each(&rest[HEADER..length]),
                _ => {}
            }
            // Messages start at multiples of four.
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// The peer's address is at 24, 16 bytes; IPv4 may be mapped.
fn peer_is(message: &[u8], address: [u8; 4]) -> bool {
    let peer = &message[24..40];
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let family = i32::from(message[0]);
    if family == AddressFamily::Inet as i32 {
        peer[..4] == address
    } else {
        peer[..12] == mapped && peer[12..] == address
    }
}

/// Whether a request may be under way. Without the last rules, requests of 1.5 s were cut.
fn is_busy(message: &[u8]) -> bool {
    let state = message[1];
    let (received_queue, send_queue) = (u32_at(message, 56), u32_at(message, 60));
    let Some(info) = tcp_info(message) else {
        return true;
    };
    if !matches!(state, ESTABLISHED | CLOSE_WAIT) || info.len() < 208 {
        return true;
    }
    let (unacked, sent_age, received_age) = (u32_at(info, 24), u32_at(info, 44), u32_at(info, 52));
    let (bytes_received, bytes_sent) = (u64_at(info, 128), u64_at(info, 200));
    received_queue > 0
        || send_queue > 0
        || unacked > 0
        || (bytes_received > 0 && bytes_sent == 0)
        || received_age < sent_age
        || (received_age == sent_age && received_age < TICK_MS)
        || received_age.min(sent_age) < QUIET_MS
}

/// Attributes follow the message: length and type in 16 bits each, then the data.
fn tcp_info(message: &[u8]) -> Option<&[u8]> {
    let mut rest = message.get(MESSAGE..)?;
    while rest.len() >= 4 {
        let (length, kind) = (usize::from(u16_at(rest, 0)), u16_at(rest, 2));
        if length < 4 || length > rest.len() {
            return None;
        }
        if kind == INET_DIAG_INFO {
            return Some(&rest[4..length]);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_ne_bytes)
}
