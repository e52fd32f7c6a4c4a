//! `socket` to `setsockopt`.

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use libc::{sockaddr, socklen_t};
use tquic_socket::{Errno, Failure, Service, Shutdown, Socket, abi};

use crate::table::{self, Found};
use crate::wait::{self, Until, answer, fail, wait_for};
use crate::{address, netlink, real};

/// Does `quic` for a QUIC socket, `other` for anything else.
pub fn either<T>(
    fd: c_int,
    quic: impl FnOnce(&Arc<Socket>, BorrowedFd<'_>) -> T,
    failed: impl FnOnce(&Failure) -> T,
    other: impl FnOnce() -> T,
) -> T {
    match table::find(fd) {
        Found::Other => other(),
        // SAFETY: the program's descriptor, which it keeps open during its call.
        Found::Quic(socket) => quic(&socket, unsafe { BorrowedFd::borrow_raw(fd) }),
        Found::Parents => {
            let why = "a QUIC socket works only in the process that made it, not in its children";
            failed(&Failure::new(Errno::NOT_SUPPORTED, why))
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let flags = kind & (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    let internet = matches!(domain, libc::AF_INET | libc::AF_INET6);
    if !internet || kind & !flags != libc::SOCK_DGRAM || !abi::is_quic(protocol) {
        // SAFETY: the caller's arguments.
        let fd = unsafe { real::socket(domain, kind, protocol) };
        if (domain, protocol) == (libc::AF_NETLINK, libc::NETLINK_GENERIC) {
            netlink::note(fd);
        }
        return fd;
    }
    let made = table::service().map_err(Failure::from).and_then(|service: Arc<Service>| {
        let made = Socket::open(&service, domain == libc::AF_INET6)?;
        let (nonblocking, cloexec) = (flags & libc::SOCK_NONBLOCK, flags & libc::SOCK_CLOEXEC);
        Ok(table::adopt(made, nonblocking != 0, cloexec != 0)?)
    });
    made.unwrap_or_else(|failure| fail(&failure))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    either(
        fd,
        // SAFETY: the caller's address.
        |socket, _| answer(unsafe { address::read(address, length) }.and_then(|a| socket.bind(a))),
        fail,
        // SAFETY: the caller's arguments.
        || unsafe { real::bind(fd, address, length) },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    let most = usize::try_from(backlog).unwrap_or(usize::MAX);
    either(
        fd,
        |socket, near| answer(socket.listen(near, most)),
        fail,
        // SAFETY: the caller's arguments.
        || unsafe { real::listen(fd, backlog) },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: the caller's arguments.
    unsafe { accept4(fd, address, length, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    let quic = |socket: &Arc<Socket>, near: BorrowedFd<'_>| {
        let (made, remote) = wait_for(fd, Until::Readable, true, || socket.accept(near))?;
        // SAFETY: the caller's room.
        unsafe { address::write(remote, address, length) };
        let (nonblocking, cloexec) = (flags & libc::SOCK_NONBLOCK, flags & libc::SOCK_CLOEXEC);
        Ok(table::adopt(made, nonblocking != 0, cloexec != 0)?)
    };
    either(
        fd,
        |socket, near| quic(socket, near).unwrap_or_else(|failure| fail(&failure)),
        fail,
        // SAFETY: the caller's arguments.
        || unsafe { real::accept4(fd, address, length, flags) },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    let quic = |socket: &Arc<Socket>, near: BorrowedFd<'_>| {
        // SAFETY: the caller's address.
        socket.connect(near, unsafe { address::read(address, length) }?)?;
        wait_for(fd, Until::Writable, true, || socket.progress())
    };
    either(
        fd,
        |socket, near| answer(quic(socket, near)),
        fail,
        // SAFETY: the caller's arguments.
        || unsafe { real::connect(fd, address, length) },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn shutdown(fd: c_int, how: c_int) -> c_int {
    let quic = |socket: &Arc<Socket>, near: BorrowedFd<'_>| match how {
        libc::SHUT_RD => socket.shutdown(near, Shutdown::Read),
        libc::SHUT_WR => socket.shutdown(near, Shutdown::Write),
        libc::SHUT_RDWR => socket.shutdown(near, Shutdown::Both),
        _ => Err(Failure::new(Errno::INVALID, "SHUT_RD, SHUT_WR or SHUT_RDWR")),
    };
    either(
        fd,
        |socket, near| answer(quic(socket, near)),
        fail,
        // SAFETY: the caller's arguments.
        || unsafe { real::shutdown(fd, how) },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockname(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    either(
        fd,
        |socket, _| {
            // SAFETY: the caller's room.
            unsafe { address::write(socket.name(), address, length) };
            0
        },
        fail,
        // SAFETY: the caller's arguments.
        || unsafe { real::getsockname(fd, address, length) },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn getpeername(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    either(
        fd,
        |socket, _| {
            // SAFETY: the caller's room.
            let write = |peer| unsafe { address::write(peer, address, length) };
            answer(socket.peer_name().map(write))
        },
        fail,
        // SAFETY: the caller's arguments.
        || unsafe { real::getpeername(fd, address, length) },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    let quic = |socket: &Arc<Socket>| {
        // SAFETY: the caller's value, of this length.
        let value = unsafe { bytes(value, length as usize) };
        match level {
            abi::SOL_TQUIC => {
                let patience = match wait::is_blocking(fd) {
                    true => wait::timeout(fd, Until::Writable),
                    false => Some(std::time::Duration::ZERO),
                };
                answer(socket.set_option(name, value, patience))
            }
            // The descriptor's buffers are not the socket's.
            libc::SOL_SOCKET if matches!(name, libc::SO_SNDBUF | libc::SO_RCVBUF) => 0,
            // Timeouts lie with the descriptor.
            // SAFETY: the caller's arguments.
            libc::SOL_SOCKET => unsafe {
                real::setsockopt(fd, level, name, value.as_ptr().cast(), length)
            },
            _ => fail(&Failure::new(Errno::NO_PROTOCOL_OPTION, "no option of QUIC sockets")),
        }
    };
    either(
        fd,
        |socket, _| quic(socket),
        fail,
        || {
            let netlink = (level == libc::SOL_NETLINK).then(|| {
                // SAFETY: the caller's value, of this length.
                netlink::membership(fd, level, name, unsafe { bytes(value, length as usize) })
            });
            // SAFETY: the caller's arguments.
            let real = || unsafe { real::setsockopt(fd, level, name, value, length) };
            netlink.flatten().unwrap_or_else(real)
        },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    let quic = |socket: &Arc<Socket>| {
        if value.is_null() || length.is_null() {
            return fail(&Failure::new(Errno::INVALID, "there is no room for the value"));
        }
        let found = match level {
            abi::SOL_TQUIC => {
                // SAFETY: the caller's room.
                let given = unsafe { bytes(value, *length as usize) };
                socket.option(name, given)
            }
            libc::SOL_SOCKET => match of_socket(socket, name) {
                Some(number) => Ok(number.to_ne_bytes().to_vec()),
                // SAFETY: the caller's arguments.
                None => return unsafe { real::getsockopt(fd, level, name, value, length) },
            },
            _ => Err(Failure::new(Errno::NO_PROTOCOL_OPTION, "no option of QUIC sockets")),
        };
        // SAFETY: no more is written than there is room for.
        let write = |found: Vec<u8>| unsafe {
            let size = found.len().min(*length as usize);
            std::ptr::copy_nonoverlapping(found.as_ptr(), value.cast(), size);
            *length = size as socklen_t;
        };
        answer(found.map(write))
    };
    either(
        fd,
        |socket, _| quic(socket),
        fail,
        // SAFETY: the caller's arguments.
        || unsafe { real::getsockopt(fd, level, name, value, length) },
    )
}

/// What a socket of the kernel would say of itself.
fn of_socket(socket: &Socket, name: c_int) -> Option<c_int> {
    Some(match name {
        libc::SO_ERROR => socket.error(),
        libc::SO_TYPE => libc::SOCK_DGRAM,
        libc::SO_DOMAIN if socket.is_ipv6() => libc::AF_INET6,
        libc::SO_DOMAIN => libc::AF_INET,
        libc::SO_PROTOCOL => abi::IPPROTO_QUIC,
        libc::SO_ACCEPTCONN => socket.is_listening().into(),
        _ => return None,
    })
}

/// # Safety
/// There are `length` bytes, or the pointer is null.
unsafe fn bytes<'a>(value: *const c_void, length: usize) -> &'a [u8] {
    match value.is_null() || length == 0 {
        true => &[],
        // SAFETY: as the caller says.
        false => unsafe { std::slice::from_raw_parts(value.cast(), length) },
    }
}
