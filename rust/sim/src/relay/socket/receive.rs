//! Receiving.

use super::{CONTROL, EMPTY_CONTROL, EMPTY_HEADER, EMPTY_PIECE, RelaySocket};
use core::{mem, ptr};
use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// Most trains per system call.
const BATCH: usize = 64;

/// Room for the largest UDP datagram or train, plus a little so that the starts of the buffers do
/// not all fall on the same cache lines.
const BUFFER: usize = 65_536 + 192;

/// A datagram as it was received.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) tos: u8,
    pub(crate) bytes: &'a [u8],
}

/// What control messages say about a train.
#[derive(Default)]
struct Labels {
    tos: u8,
    /// The size of each datagram but the last.
    segment: Option<usize>,
    /// Datagrams that the socket had no room for so far.
    dropped: Option<u32>,
}

/// Buffers to receive a batch into.
pub(crate) struct Receiver {
    memory: Vec<u8>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self { memory: vec![0; BUFFER * BATCH] }
    }

    /// Receives what is there, up to a batch, and hands each datagram to `take`. Returns how many
    /// datagrams the socket has had no room for so far, if the kernel said so.
    pub(crate) fn receive(
        &mut self,
        socket: &RelaySocket,
        mut take: impl FnMut(Received<'_>),
    ) -> io::Result<Option<u32>> {
        let mut names: [SockAddrStorage; BATCH] =
            core::array::from_fn(|_| SockAddrStorage::zeroed());
        let mut controls = [EMPTY_CONTROL; BATCH];
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
            header.msg_controllen = CONTROL as _;
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
            let labels = unsafe { read_control(&header.msg_hdr) };
            overflow = labels.dropped.or(overflow);
            let (Some(from), Some(train)) =
                (name.as_socket(), buffer.get(..header.msg_len as usize))
            else {
                continue;
            };
            let tos = labels.tos;
            if train.is_empty() {
                take(Received { from, tos, bytes: train });
            }
            let segment = labels.segment.unwrap_or(train.len()).max(1);
            train.chunks(segment).for_each(|bytes| take(Received { from, tos, bytes }));
        }
        Ok(overflow)
    }
}

/// Reads the control messages of a train.
///
/// # Safety
/// The header must be one that `recvmmsg` filled in, and its control buffer must still be alive.
unsafe fn read_control(header: &libc::msghdr) -> Labels {
    let mut labels = Labels::default();
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay within the control buffer of a filled header, and
    // each kind of message read here carries at least as many bytes as are read.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_TOS) => labels.tos = data.read(),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    labels.tos = data.cast::<libc::c_int>().read_unaligned() as u8;
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = data.cast::<libc::c_int>().read_unaligned();
                    labels.segment = usize::try_from(size).ok();
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    labels.dropped = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    labels
}
