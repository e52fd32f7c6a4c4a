//! UDP sockets that move many datagrams per system call, with their TOS or Traffic Class byte.
//!
//! The kernel may hand over and take trains: datagrams of one size, the last perhaps shorter, in one
//! piece (`UDP_GRO` and `UDP_SEGMENT`). On loopback a train costs little more than a datagram.

mod receive;
mod send;
#[cfg(test)]
mod tests;

pub(super) use receive::Receiver;
pub(super) use send::Outgoing;

use core::{mem, ptr};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Room for a TOS byte, a drop counter and a segment size as control messages, with their headers.
const CONTROL: usize = 96;

/// What kernel buffers we ask for, in bytes; the kernel grants what it allows.
const KERNEL_BUFFER: usize = 4 << 20;

/// A socket of the relay.
#[derive(Debug)]
pub(super) struct RelaySocket {
    socket: UdpSocket,
    ipv6: bool,
}

impl RelaySocket {
    /// A socket bound to `local` and, if given, connected to `peer`.
    pub(super) fn open(local: SocketAddr, peer: Option<SocketAddr>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(KERNEL_BUFFER)?;
        socket.set_send_buffer_size(KERNEL_BUFFER)?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_recv_tclass_v6(true)?;
        } else {
            socket.set_recv_tos_v4(true)?;
        }
        // Say with each datagram how many there was no room for, and hand over whole trains.
        switch_on(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL)?;
        switch_on(&socket, libc::SOL_UDP, libc::UDP_GRO)?;
        socket.bind(&local.into())?;
        if let Some(peer) = peer {
            socket.connect(&peer.into())?;
        }
        Ok(Self { socket: socket.into(), ipv6: local.is_ipv6() })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl AsFd for RelaySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn switch_on(socket: &Socket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option value is a live c_int and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A control buffer aligned as its headers demand.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

const EMPTY_CONTROL: Control = Control([0; CONTROL]);

const EMPTY_PIECE: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

// SAFETY: all zeroes is a valid mmsghdr: null pointers with zero lengths.
const EMPTY_HEADER: libc::mmsghdr = unsafe { mem::zeroed() };
