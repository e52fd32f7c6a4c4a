//! The family `tquic` of generic netlink, for programs that read qlog from its group `qlog`.
//!
//! There is no such family in the kernel: events travel in a group of NETLINK_USERSOCK. What a program
//! asks for by name is answered here, through the kernel, so that its socket becomes readable as always;
//! and when it joins the group, its descriptor becomes a socket that is in the real one. Both need
//! CAP_NET_ADMIN, as receiving from such groups does anyway.

use std::ffi::{c_int, c_void};
use std::mem::{size_of, zeroed};
use std::sync::atomic::{AtomicU64, Ordering};

use libc::{msghdr, sockaddr_nl, socklen_t, ssize_t};
use tquic_socket::{NETLINK_FAMILY, NETLINK_GROUP};

use crate::real;

/// The name, with its end.
const FAMILY_NAME: &[u8] = b"tquic\0";
const GROUP_NAME: &[u8] = b"qlog\0";
/// What the group is called to programs: above all groups of the kernel.
const GROUP_ID: c_int = 0x0074_7171;

// linux/genetlink.h
const CTRL_GETFAMILY: u8 = 3;
const CTRL_NEWFAMILY: u8 = 1;
const ATTR_ID: u16 = 1;
const ATTR_NAME: u16 = 2;
const ATTR_VERSION: u16 = 3;
const ATTR_HEADER_SIZE: u16 = 4;
const ATTR_MAX: u16 = 5;
const ATTR_GROUPS: u16 = 7;
const GROUP_ATTR_NAME: u16 = 1;
const GROUP_ATTR_ID: u16 = 2;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// Descriptors that may be netlink sockets, a bit for each; never cleared, as in `table`.
const BITS: usize = 1 << 16;
static MAYBE: [AtomicU64; BITS / 64] = [const { AtomicU64::new(0) }; BITS / 64];

fn place(fd: c_int) -> Option<(&'static AtomicU64, u64)> {
    let at = usize::try_from(fd).ok()?;
    Some((MAYBE.get(at / 64)?, 1 << (at % 64)))
}

/// The program has made a socket of generic netlink.
pub fn note(fd: c_int) {
    if let Some((word, bit)) = place(fd) {
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// The protocol, if it is a netlink socket that was noted.
fn protocol(fd: c_int) -> Option<c_int> {
    let (word, bit) = place(fd)?;
    if word.load(Ordering::Relaxed) & bit == 0 {
        return None;
    }
    (number(fd, libc::SO_DOMAIN)? == libc::AF_NETLINK).then(|| number(fd, libc::SO_PROTOCOL))?
}

fn number(fd: c_int, option: c_int) -> Option<c_int> {
    let (mut value, mut length): (c_int, _) = (0, size_of::<c_int>() as socklen_t);
    // SAFETY: room for an int, as the length says.
    let done = unsafe {
        let value = (&raw mut value).cast::<c_void>();
        real::getsockopt(fd, libc::SOL_SOCKET, option, value, &raw mut length)
    };
    (done == 0).then_some(value)
}

/// The answer of `sendmsg`, if the message asks for our family.
///
/// # Safety
/// The message is the caller's, for `sendmsg`.
pub unsafe fn answer(fd: c_int, message: &msghdr) -> Option<ssize_t> {
    if protocol(fd)? != libc::NETLINK_GENERIC || message.msg_iovlen as usize != 1 {
        return None;
    }
    // SAFETY: the caller's one part.
    let question = unsafe {
        let part = &*message.msg_iov;
        std::slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len)
    };
    if !asks_for_us(question) {
        return None;
    }
    let mut own: sockaddr_nl = address(0);
    let mut length = size_of::<sockaddr_nl>() as socklen_t;
    // SAFETY: room for an address, as the length says; descriptors of our own are closed here.
    unsafe {
        if real::getsockname(fd, (&raw mut own).cast(), &raw mut length) < 0 {
            return Some(-1);
        }
        if own.nl_pid == 0 {
            // The kernel gives a port with the first message, and this one it does not see.
            let any = address(0);
            real::bind(fd, (&raw const any).cast(), length);
            real::getsockname(fd, (&raw mut own).cast(), &raw mut length);
        }
        let from = real::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_GENERIC,
        );
        if from < 0 {
            return Some(-1);
        }
        let to = address(own.nl_pid);
        let mut sent = 0;
        for part in answers(question, own.nl_pid) {
            let (data, to) = ((&raw const part[0]).cast(), (&raw const to).cast());
            sent = real::sendto(from, data, part.len(), 0, to, length);
            if sent < 0 {
                break;
            }
        }
        let error = *libc::__errno_location();
        libc::close(from);
        *libc::__errno_location() = error;
        Some(if sent < 0 { -1 } else { question.len() as ssize_t })
    }
}

fn address(port: u32) -> sockaddr_nl {
    // SAFETY: all zero is a good address.
    let mut address: sockaddr_nl = unsafe { zeroed() };
    address.nl_family = libc::AF_NETLINK as _;
    address.nl_pid = port;
    address
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Whether this is CTRL_CMD_GETFAMILY with our name or number.
fn asks_for_us(question: &[u8]) -> bool {
    let is_control = half(question, 4) == Some(libc::GENL_ID_CTRL as u16);
    if !is_control || question.get(HEADER) != Some(&CTRL_GETFAMILY) {
        return false;
    }
    let mut rest = question.get(HEADER + 4..).unwrap_or_default();
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let length = usize::from(length);
        let ours = match kind {
            ATTR_NAME => rest.get(4..length).is_some_and(|v| v == FAMILY_NAME),
            ATTR_ID => half(rest, 4) == Some(NETLINK_FAMILY),
            _ => false,
        };
        if ours {
            return true;
        }
        let Some(next) = rest.get(length.max(4).next_multiple_of(4)..) else { break };
        rest = next;
    }
    false
}

/// The family, as the kernel would describe it, and the acknowledgement, if one is wanted.
fn answers(question: &[u8], port: u32) -> Vec<Vec<u8>> {
    let sequence = question.get(8..12).unwrap_or(&[0; 4]);
    let mut group = attribute(GROUP_ATTR_NAME, GROUP_NAME);
    group.extend(attribute(GROUP_ATTR_ID, &GROUP_ID.to_ne_bytes()));
    let family = [
        vec![CTRL_NEWFAMILY, 2, 0, 0],
        attribute(ATTR_NAME, FAMILY_NAME),
        attribute(ATTR_ID, &NETLINK_FAMILY.to_ne_bytes()),
        attribute(ATTR_VERSION, &1_u32.to_ne_bytes()),
        attribute(ATTR_HEADER_SIZE, &0_u32.to_ne_bytes()),
        attribute(ATTR_MAX, &10_u32.to_ne_bytes()),
        attribute(ATTR_GROUPS, &attribute(1, &group)),
    ];
    let mut all = vec![message(libc::GENL_ID_CTRL as u16, sequence, port, &family.concat())];
    if half(question, 6).unwrap_or(0) & libc::NLM_F_ACK as u16 != 0 {
        let mut good = 0_i32.to_ne_bytes().to_vec();
        good.extend_from_slice(question.get(..HEADER).unwrap_or_default());
        all.push(message(libc::NLMSG_ERROR as u16, sequence, port, &good));
    }
    all
}

fn message(kind: u16, sequence: &[u8], port: u32, content: &[u8]) -> Vec<u8> {
    let mut out = ((HEADER + content.len()) as u32).to_ne_bytes().to_vec();
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(sequence);
    out.extend_from_slice(&port.to_ne_bytes());
    out.extend_from_slice(content);
    out
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The answer of `setsockopt`, if the program joins or leaves our group.
pub fn membership(fd: c_int, level: c_int, name: c_int, value: &[u8]) -> Option<c_int> {
    let moves = matches!(name, libc::NETLINK_ADD_MEMBERSHIP | libc::NETLINK_DROP_MEMBERSHIP);
    if level != libc::SOL_NETLINK || !moves || value != GROUP_ID.to_ne_bytes() {
        return None;
    }
    let protocol = protocol(fd)?;
    let group = NETLINK_GROUP as c_int;
    let change = |fd| {
        let (group, length) = ((&raw const group).cast(), size_of::<c_int>() as socklen_t);
        // SAFETY: an int, as the length says.
        unsafe { real::setsockopt(fd, level, name, group, length) }
    };
    if protocol == libc::NETLINK_USERSOCK || name == libc::NETLINK_DROP_MEMBERSHIP {
        return Some(change(fd));
    }
    // SAFETY: a descriptor of our own, which takes the place of the program's and is closed.
    unsafe {
        let flags = real::fcntl(fd, libc::F_GETFL, 0) & libc::O_NONBLOCK;
        let cloexec = real::fcntl(fd, libc::F_GETFD, 0) & libc::FD_CLOEXEC;
        let kind = libc::SOCK_RAW | if flags == 0 { 0 } else { libc::SOCK_NONBLOCK };
        let made = real::socket(libc::AF_NETLINK, kind, libc::NETLINK_USERSOCK);
        if made < 0 {
            return Some(-1);
        }
        // One without a port of its own gets nothing.
        let (port, length) = (address(0), size_of::<sockaddr_nl>() as socklen_t);
        let mut done = real::bind(made, (&raw const port).cast(), length);
        if done == 0 {
            done = change(made);
        }
        if done == 0 {
            let cloexec = if cloexec == 0 { 0 } else { libc::O_CLOEXEC };
            done = real::dup3(made, fd, cloexec).min(0);
        }
        let error = *libc::__errno_location();
        libc::close(made);
        *libc::__errno_location() = error;
        Some(done)
    }
}
