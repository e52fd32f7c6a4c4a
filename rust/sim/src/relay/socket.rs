//! UDP sockets that move many datagrams per system call, with their TOS or Traffic Class byte.

use core::mem;
use core::ptr;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Most datagrams per system call.
pub(super) const BATCH: usize = 64;

/// Room for the largest UDP datagram, plus a little so that the starts of the buffers do not all
/// fall on the same cache lines.
const BUFFER: usize = 65_536 + 192;

/// Room for a TOS byte and a drop counter as control messages, with their headers.
const CONTROL: usize = 64;

/// What kernel buffers we ask for, in bytes; the kernel grants what it allows.
const KERNEL_BUFFER: usize = 4 << 20;

/// A socket of the relay.
#[derive(Debug)]
pub(super) struct RelaySocket {
    socket: UdpSocket,
    ipv6: bool,
}

/// A datagram as it was received.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) from: SocketAddr,
    pub(super) tos: u8,
    pub(super) bytes: &'a [u8],
}

/// A datagram to be sent; without an address it goes to the connected peer.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) to: Option<SocketAddr>,
    pub(super) tos: u8,
    pub(super) bytes: Vec<u8>,
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
        report_overflow(&socket)?;
        socket.bind(&local.into())?;
        if let Some(peer) = peer {
            socket.connect(&peer.into())?;
        }
        Ok(Self { socket: socket.into(), ipv6: local.is_ipv6() })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends `datagrams` in order and returns how many could not be sent.
    pub(super) fn send(&self, datagrams: &[Outgoing]) -> u64 {
        let mut failed = 0;
        for batch in datagrams.chunks(BATCH) {
            let mut rest = batch;
            let mut refused = false;
            while !rest.is_empty() {
                match self.send_batch(rest) {
                    Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                    // The answer to an earlier datagram: this one was not tried yet.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !refused => {
                        refused = true;
                        continue;
                    }
                    Err(_) => {
                        failed += 1;
                        rest = rest.get(1..).unwrap_or_default();
                    }
                }
                refused = false;
            }
        }
        failed
    }

    fn send_batch(&self, datagrams: &[Outgoing]) -> io::Result<usize> {
        let count = datagrams.len().min(BATCH);
        let names: [Option<SockAddr>; BATCH] =
            core::array::from_fn(|k| datagrams.get(k).and_then(|d| d.to).map(SockAddr::from));
        let mut pieces = [EMPTY_PIECE; BATCH];
        let mut controls = [Control([0; CONTROL]); BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        for (k, datagram) in datagrams.iter().take(count).enumerate() {
            pieces[k].iov_base = datagram.bytes.as_ptr().cast_mut().cast();
            pieces[k].iov_len = datagram.bytes.len();
            let header = &mut headers[k].msg_hdr;
            if let Some(name) = &names[k] {
                header.msg_name = name.as_ptr().cast_mut().cast();
                header.msg_namelen = name.len();
            }
            header.msg_iov = &raw mut pieces[k];
            header.msg_iovlen = 1;
            if datagram.tos != 0 {
                header.msg_control = controls[k].0.as_mut_ptr().cast();
                header.msg_controllen = CONTROL;
                let used = write_tos(header, self.ipv6, datagram.tos);
                header.msg_controllen = used;
            }
        }
        // SAFETY: the first `count` headers point to names, pieces, controls and datagrams that
        // outlive the call, with their true lengths; the kernel only reads them, but for `msg_len`.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl AsFd for RelaySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks the kernel to say with each datagram how many it had no room for.
fn report_overflow(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option value is a live c_int and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RXQ_OVFL,
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

const EMPTY_PIECE: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

// SAFETY: all zeroes is a valid mmsghdr: null pointers with zero lengths.
const EMPTY_HEADER: libc::mmsghdr = unsafe { mem::zeroed() };

/// Writes the TOS or Traffic Class byte as a control message and returns the bytes used.
fn write_tos(header: &mut libc::msghdr, ipv6: bool, tos: u8) -> usize {
    let (level, kind) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
    } else {
        (libc::IPPROTO_IP, libc::IP_TOS)
    };
    let size = mem::size_of::<libc::c_int>() as libc::c_uint;
    // SAFETY: the caller set `msg_control` to an aligned buffer of CONTROL bytes, which is more than
    // one header and a c_int need, so the first header and its data lie inside it.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(size) as usize;
        libc::CMSG_DATA(message).cast::<libc::c_int>().write_unaligned(libc::c_int::from(tos));
        libc::CMSG_SPACE(size) as usize
    }
}

/// Buffers to receive a batch into.
pub(super) struct Receiver {
    memory: Vec<u8>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { memory: vec![0; BUFFER * BATCH] }
    }

    /// Receives what is there, up to a batch, and hands each datagram to `take`. Returns how many
    /// there were and, if the kernel said so, how many the socket has had no room for so far.
    pub(super) fn receive(
        &mut self,
        socket: &RelaySocket,
        mut take: impl FnMut(Received<'_>),
    ) -> io::Result<(usize, Option<u32>)> {
        let mut names: [SockAddrStorage; BATCH] =
            core::array::from_fn(|_| SockAddrStorage::zeroed());
        let mut controls = [Control([0; CONTROL]); BATCH];
        let mut pieces = [EMPTY_PIECE; BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        for (k, buffer) in self.memory.chunks_exact_mut(BUFFER).enumerate() {
            pieces[k] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let header = &mut headers[k].msg_hdr;
            header.msg_name = (&raw mut names[k]).cast();
            header.msg_namelen = mem::size_of::<SockAddrStorage>() as libc::socklen_t;
            header.msg_iov = &raw mut pieces[k];
            header.msg_iovlen = 1;
            header.msg_control = controls[k].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL;
        }
        // SAFETY: all BATCH headers point to distinct names, pieces, controls and buffers that outlive
        // the call, with their true lengths. No timeout is given.
        let count = unsafe {
            libc::recvmmsg(
                socket.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let mut overflow = None;
        let buffers = self.memory.chunks_exact(BUFFER);
        for ((header, name), buffer) in headers.iter().zip(names).zip(buffers).take(count) {
            // SAFETY: the kernel wrote an address of this length into the storage.
            let name = unsafe { SockAddr::new(name, header.msg_hdr.msg_namelen) };
            // SAFETY: the kernel filled in the header, whose control buffer is alive.
            let (tos, dropped) = unsafe { read_control(&header.msg_hdr) };
            overflow = dropped.or(overflow);
            let bytes = buffer.get(..header.msg_len as usize);
            if let (Some(from), Some(bytes)) = (name.as_socket(), bytes) {
                take(Received { from, tos, bytes });
            }
        }
        Ok((count, overflow))
    }
}

/// Reads the TOS byte and the drop counter.
///
/// # Safety
/// The header must be one that `recvmmsg` filled in, and its control buffer must still be alive.
unsafe fn read_control(header: &libc::msghdr) -> (u8, Option<u32>) {
    let (mut tos, mut dropped) = (0, None);
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay within the control buffer of a filled header, and
    // each kind of message read here carries at least as many bytes as are read.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_TOS) => tos = data.read(),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    tos = data.cast::<libc::c_int>().read_unaligned() as u8;
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    dropped = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    (tos, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn exchange(local: SocketAddr) {
        let server = RelaySocket::open(local, None).unwrap();
        let client = RelaySocket::open(local, Some(server.local_addr().unwrap())).unwrap();
        let datagrams: Vec<_> = (0..100u8)
            .map(|k| Outgoing { to: None, tos: k % 4, bytes: vec![k; 1000 + usize::from(k)] })
            .collect();
        assert_eq!(client.send(&datagrams), 0);
        let mut receiver = Receiver::new();
        let mut got = Vec::new();
        while let Ok((count, overflow)) = receiver.receive(&server, |d| {
            got.push(Outgoing { to: Some(d.from), tos: d.tos, bytes: d.bytes.to_vec() });
        }) {
            assert!(count > 0 && overflow.is_none_or(|dropped| dropped == 0));
        }
        let back = client.local_addr().unwrap();
        for (sent, got) in datagrams.iter().zip(&got) {
            assert_eq!((got.tos, &got.bytes, got.to), (sent.tos, &sent.bytes, Some(back)));
        }
        assert_eq!(got.len(), 100);
        assert_eq!(server.send(&got), 0);
        assert_eq!(
            receiver.receive(&client, |d| assert_eq!(d.tos, d.bytes[0] % 4)).unwrap().0,
            BATCH
        );
    }

    #[test]
    fn batches_keep_order_content_and_tos() {
        exchange(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        exchange(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
    }

    #[test]
    fn a_dead_peer_costs_datagrams_but_no_error() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let gone = RelaySocket::open(any, None).unwrap().local_addr().unwrap();
        let client = RelaySocket::open(any, Some(gone)).unwrap();
        let datagrams: Vec<_> =
            (0..10).map(|_| Outgoing { to: None, tos: 0, bytes: vec![0; 10] }).collect();
        assert!(client.send(&datagrams) <= 10);
        // A datagram beyond what UDP can carry is left out, the others are sent.
        let huge = Outgoing { to: None, tos: 0, bytes: vec![0; 70_000] };
        let server = RelaySocket::open(any, None).unwrap();
        let client = RelaySocket::open(any, server.local_addr().ok()).unwrap();
        let small = || Outgoing { to: None, tos: 0, bytes: vec![1] };
        assert_eq!(client.send(&[small(), huge, small()]), 1);
        assert_eq!(Receiver::new().receive(&server, |_| ()).unwrap().0, 2);
    }
}
