//! Sending and receiving.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;
use libc::{cmsghdr, iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use tquic_socket::{Errno, Failure, Outgoing, Received, Socket, abi};

use crate::sockets::either;
use crate::wait::{Until, answer_size, fail, wait_for};
use crate::{address, netlink, real};

/// A buffer that the program has lent by MSG_ZEROCOPY.
struct Lent(*const u8, usize);

// SAFETY: only read, and by contract nobody writes to it until the notification.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the program keeps it until the notification, which comes when this is dropped.
        unsafe { std::slice::from_raw_parts(self.0, self.1) }
    }
}

fn or_fail(failure: &Failure) -> ssize_t {
    fail(failure) as ssize_t
}

// ---- Sending ----

/// # Safety
/// The message is one of the caller's.
unsafe fn outgoing(socket: &Socket, message: &msghdr, flags: c_int) -> Result<Outgoing, Failure> {
    let mut outgoing = Outgoing {
        fin: flags & abi::MSG_FIN != 0,
        // Without the option nothing would tell when the buffer is free.
        zerocopy: flags & libc::MSG_ZEROCOPY != 0 && socket.lends(),
        ..Outgoing::default()
    };
    // SAFETY: the macros of the C library walk through the caller's control buffer.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            ancillary(&mut outgoing, header)?;
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    // SAFETY: the caller's parts.
    outgoing.data = unsafe { gather(message, outgoing.zerocopy) };
    Ok(outgoing)
}

/// # Safety
/// The header lies in the caller's control buffer.
unsafe fn ancillary(outgoing: &mut Outgoing, header: *const cmsghdr) -> Result<(), Failure> {
    // SAFETY: a header with as many bytes behind it as it says; reads need no alignment.
    let (head, data) = unsafe {
        let head = header.read_unaligned();
        let length = head.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
        (head, std::slice::from_raw_parts(libc::CMSG_DATA(header), length))
    };
    if head.cmsg_level != abi::SOL_TQUIC {
        return Err(Failure::new(Errno::INVALID, "ancillary data of another level"));
    }
    let number = || {
        let short = || Failure::new(Errno::INVALID, "ancillary data of 4 or 8 bytes");
        abi::integer(data).ok_or_else(short)
    };
    match head.cmsg_type {
        abi::TQUIC_STREAM_ID => outgoing.stream = Some(number()?),
        abi::TQUIC_STREAM_PRIORITY => outgoing.priority = Some(number()?.min(7) as u8),
        abi::TQUIC_STREAM_RESET => outgoing.reset = Some(number()?),
        abi::TQUIC_STREAM_FIN => outgoing.fin = true,
        abi::TQUIC_DATAGRAM => outgoing.datagram = true,
        _ => return Err(Failure::new(Errno::INVALID, "ancillary data of an unknown type")),
    }
    Ok(())
}

/// # Safety
/// The parts are the caller's.
unsafe fn gather(message: &msghdr, lent: bool) -> Bytes {
    // SAFETY: so many parts, each of so many bytes.
    unsafe {
        let parts = slice(message.msg_iov, message.msg_iovlen as usize);
        if let [part] = parts
            && lent
            && part.iov_len > 0
        {
            return Bytes::from_owner(Lent(part.iov_base.cast(), part.iov_len));
        }
        let mut all = Vec::with_capacity(parts.iter().map(|part| part.iov_len).sum());
        for part in parts {
            all.extend_from_slice(slice(part.iov_base.cast::<u8>(), part.iov_len));
        }
        all.into()
    }
}

/// # Safety
/// There are so many.
unsafe fn slice<'a, T>(pointer: *const T, length: usize) -> &'a [T] {
    match pointer.is_null() || length == 0 {
        true => &[],
        // SAFETY: as the caller says.
        false => unsafe { std::slice::from_raw_parts(pointer, length) },
    }
}

/// Sends all of it, unless it is not to block.
fn send_all(
    fd: c_int,
    socket: &Socket,
    near: BorrowedFd<'_>,
    mut message: Outgoing,
    flags: c_int,
) -> Result<usize, Failure> {
    let (size, blocks) = (message.data.len(), flags & libc::MSG_DONTWAIT == 0);
    let mut sent = 0;
    loop {
        let part = wait_for(fd, Until::Writable, blocks, || socket.send(near, message.clone()));
        match part {
            Ok(part) => sent += part,
            // What has gone has gone.
            Err(_) if sent > 0 => return Ok(sent),
            Err(failure) => return Err(failure),
        }
        // A loan has one number for each call.
        if sent >= size || message.reset.is_some() || message.zerocopy {
            return Ok(sent);
        }
        message.data = message.data.slice(sent + message.data.len() - size..);
        message.priority = None;
    }
}

unsafe fn send_message(
    fd: c_int,
    message: &msghdr,
    flags: c_int,
    other: impl FnOnce() -> ssize_t,
) -> ssize_t {
    let quic = |socket: &Arc<Socket>, near: BorrowedFd<'_>| {
        // SAFETY: the caller's message.
        let outgoing = unsafe { outgoing(socket, message, flags) };
        answer_size(outgoing.and_then(|outgoing| send_all(fd, socket, near, outgoing, flags)))
    };
    // SAFETY: the caller's message.
    let other = || unsafe { netlink::answer(fd, message) }.unwrap_or_else(other);
    either(fd, quic, or_fail, other)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's message.
    unsafe { send_message(fd, &*message, flags, || real::sendmsg(fd, message, flags)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendto(
    fd: c_int,
    data: *const c_void,
    size: size_t,
    flags: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> ssize_t {
    let mut part = iovec { iov_base: data.cast_mut(), iov_len: size };
    let message = plain(&mut part, 1);
    // SAFETY: the caller's arguments. A connected socket has one peer only.
    unsafe {
        send_message(fd, &message, flags, || real::sendto(fd, data, size, flags, address, length))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(
    fd: c_int,
    data: *const c_void,
    size: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the caller's arguments.
    unsafe { sendto(fd, data, size, flags, std::ptr::null(), 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, size: size_t) -> ssize_t {
    let mut part = iovec { iov_base: data.cast_mut(), iov_len: size };
    let message = plain(&mut part, 1);
    // SAFETY: the caller's arguments.
    unsafe { send_message(fd, &message, 0, || real::write(fd, data, size)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let message = plain(parts.cast_mut(), count);
    // SAFETY: the caller's arguments.
    unsafe { send_message(fd, &message, 0, || real::writev(fd, parts, count)) }
}

/// A message with data and nothing else.
fn plain(parts: *mut iovec, count: c_int) -> msghdr {
    // SAFETY: all zero is a message without anything.
    let mut message: msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = parts;
    message.msg_iovlen = usize::try_from(count).unwrap_or(0) as _;
    message
}

// ---- Receiving ----

/// `SO_EE_ORIGIN_ZEROCOPY` of linux/errqueue.h.
const ORIGIN_ZEROCOPY: u8 = 5;

/// Puts ancillary data into a control buffer.
struct Control<'a> {
    message: &'a mut msghdr,
    room: usize,
    used: usize,
}

impl<'a> Control<'a> {
    fn new(message: &'a mut msghdr) -> Self {
        let room = if message.msg_control.is_null() { 0 } else { message.msg_controllen as usize };
        Self { message, room, used: 0 }
    }

    fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        // SAFETY: both only calculate.
        let (length, space) = unsafe {
            let size = data.len() as u32;
            (libc::CMSG_LEN(size) as usize, libc::CMSG_SPACE(size) as usize)
        };
        if self.used + length > self.room {
            self.message.msg_flags |= libc::MSG_CTRUNC;
            return;
        }
        // SAFETY: there is room for the header and the data; writes need no alignment.
        unsafe {
            let header = self.message.msg_control.cast::<u8>().add(self.used).cast::<cmsghdr>();
            let mut head: cmsghdr = MaybeUninit::zeroed().assume_init();
            head.cmsg_len = length as _;
            head.cmsg_level = level;
            head.cmsg_type = kind;
            header.write_unaligned(head);
            std::ptr::copy_nonoverlapping(data.as_ptr(), libc::CMSG_DATA(header), data.len());
        }
        self.used = (self.used + space).min(self.room);
    }

    fn finish(self) {
        self.message.msg_controllen = self.used as _;
    }
}

/// # Safety
/// The message is the caller's, with room as it says.
unsafe fn deliver(received: &Received, message: &mut msghdr) -> usize {
    message.msg_flags = 0;
    // SAFETY: the caller's parts; no more is written than each has room for.
    unsafe {
        let parts = slice(message.msg_iov, message.msg_iovlen as usize);
        let mut parts = parts.iter().map(|part| (part.iov_base.cast::<u8>(), part.iov_len));
        let (mut to, mut room) = (std::ptr::null_mut::<u8>(), 0);
        for mut piece in received.data.iter().map(Bytes::as_ref) {
            while !piece.is_empty() {
                if room == 0 {
                    let Some(next) = parts.next() else { break };
                    (to, room) = next;
                    continue;
                }
                let size = room.min(piece.len());
                std::ptr::copy_nonoverlapping(piece.as_ptr(), to, size);
                to = to.add(size);
                room -= size;
                piece = &piece[size..];
            }
        }
    }
    let mut control = Control::new(message);
    if let Some(info) = received.info {
        control.push(abi::SOL_TQUIC, abi::TQUIC_STREAM_INFO, &info.to_bytes());
    }
    if let Some(code) = received.reset {
        control.push(abi::SOL_TQUIC, abi::TQUIC_STREAM_RESET, &code.to_ne_bytes());
    }
    control.finish();
    if received.truncated > 0 {
        message.msg_flags |= libc::MSG_TRUNC;
    }
    received.len()
}

/// The notification that `first` to `last` of the calls with MSG_ZEROCOPY are done with their
/// buffers, as the kernel writes it.
fn notification(socket: &Socket, message: &mut msghdr) -> Result<usize, Failure> {
    let (first, last) = socket.recv_error()?;
    let error = libc::sock_extended_err {
        ee_errno: 0,
        ee_origin: ORIGIN_ZEROCOPY,
        ee_type: 0,
        ee_code: 0,
        ee_pad: 0,
        ee_info: first,
        ee_data: last,
    };
    let (level, kind) = match socket.is_ipv6() {
        true => (libc::SOL_IPV6, libc::IPV6_RECVERR),
        false => (libc::SOL_IP, libc::IP_RECVERR),
    };
    message.msg_flags = libc::MSG_ERRQUEUE;
    let mut control = Control::new(message);
    let size = size_of_val(&error);
    // SAFETY: the bytes of a struct without padding.
    control.push(level, kind, unsafe { slice((&raw const error).cast::<u8>(), size) });
    control.finish();
    Ok(0)
}

unsafe fn receive(
    fd: c_int,
    message: &mut msghdr,
    flags: c_int,
    other: impl FnOnce() -> ssize_t,
) -> ssize_t {
    let quic = |socket: &Arc<Socket>, near: BorrowedFd<'_>| {
        if flags & libc::MSG_ERRQUEUE != 0 {
            return answer_size(notification(socket, message));
        }
        // SAFETY: the caller's parts.
        let parts = unsafe { slice(message.msg_iov, message.msg_iovlen as usize) };
        let room = parts.iter().map(|part| part.iov_len).sum();
        let (blocks, peek) = (flags & libc::MSG_DONTWAIT == 0, flags & libc::MSG_PEEK != 0);
        let received = wait_for(fd, Until::Readable, blocks, || socket.recv(near, room, peek));
        if let Ok(peer) = socket.peer_name() {
            // SAFETY: the caller's room.
            unsafe {
                address::write(peer, message.msg_name.cast(), &mut message.msg_namelen);
            }
        }
        // SAFETY: the caller's message.
        answer_size(received.map(|received| unsafe { deliver(&received, message) }))
    };
    either(fd, quic, or_fail, other)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's message.
    unsafe { receive(fd, &mut *message, flags, || real::recvmsg(fd, message, flags)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvfrom(
    fd: c_int,
    data: *mut c_void,
    size: size_t,
    flags: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> ssize_t {
    let mut part = iovec { iov_base: data, iov_len: size };
    let mut message = plain(&mut part, 1);
    message.msg_name = address.cast();
    // SAFETY: the caller's arguments.
    unsafe {
        message.msg_namelen = if length.is_null() { 0 } else { *length };
        let received = receive(fd, &mut message, flags, || {
            real::recvfrom(fd, data, size, flags, address, length)
        });
        if message.msg_namelen > 0 && !length.is_null() && !address.is_null() && received >= 0 {
            *length = message.msg_namelen;
        }
        received
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(fd: c_int, data: *mut c_void, size: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller's arguments.
    unsafe { recvfrom(fd, data, size, flags, std::ptr::null_mut(), std::ptr::null_mut()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, data: *mut c_void, size: size_t) -> ssize_t {
    let mut part = iovec { iov_base: data, iov_len: size };
    let mut message = plain(&mut part, 1);
    // SAFETY: the caller's arguments.
    unsafe { receive(fd, &mut message, 0, || real::read(fd, data, size)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let mut message = plain(parts.cast_mut(), count);
    // SAFETY: the caller's arguments.
    unsafe { receive(fd, &mut message, 0, || real::readv(fd, parts, count)) }
}

// What compilers make of the calls above where `_FORTIFY_SOURCE` has them check sizes, which they have
// done where these say nothing of it.

/// Ends a program that is about to write past its buffer, as the C library does.
fn check(size: size_t, room: size_t) {
    if size > room {
        eprintln!("*** buffer overflow detected ***: terminated");
        std::process::abort();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn __recv_chk(
    fd: c_int,
    data: *mut c_void,
    size: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    check(size, room);
    // SAFETY: the caller's arguments.
    unsafe { recv(fd, data, size, flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn __recvfrom_chk(
    fd: c_int,
    data: *mut c_void,
    size: size_t,
    room: size_t,
    flags: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> ssize_t {
    check(size, room);
    // SAFETY: the caller's arguments.
    unsafe { recvfrom(fd, data, size, flags, address, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn __read_chk(
    fd: c_int,
    data: *mut c_void,
    size: size_t,
    room: size_t,
) -> ssize_t {
    check(size, room);
    // SAFETY: the caller's arguments.
    unsafe { read(fd, data, size) }
}
