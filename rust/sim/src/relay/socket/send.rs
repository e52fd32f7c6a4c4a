//! Sending.

use super::{CONTROL, Control, EMPTY_CONTROL, EMPTY_HEADER, EMPTY_PIECE, RelaySocket};
use core::mem;
use socket2::SockAddr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// Most trains per system call.
const TRAINS: usize = 32;

/// Most datagrams in a train: what the kernel takes (`UDP_MAX_SEGMENTS` was 64 for long).
const SEGMENTS: usize = 64;

/// Most bytes in a train: the largest UDP payload over IPv4.
const TRAIN_BYTES: usize = 65_507;

/// A datagram to be sent; without an address it goes to the connected peer.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: Option<SocketAddr>,
    pub(crate) tos: u8,
    pub(crate) bytes: Vec<u8>,
}

/// How many of the first datagrams may travel as one train.
fn train_length(datagrams: &[Outgoing], most: usize) -> usize {
    let Some((first, rest)) = datagrams.split_first() else {
        return 0;
    };
    let (size, mut total, mut count) = (first.bytes.len(), first.bytes.len(), 1);
    for next in rest.iter().take(most.saturating_sub(1)) {
        total += next.bytes.len();
        let alike = next.to == first.to && next.tos == first.tos;
        let fits = next.bytes.len() <= size && total <= TRAIN_BYTES;
        // An empty datagram would add nothing to a train: it cannot be told apart.
        if !alike || !fits || next.bytes.is_empty() {
            break;
        }
        count += 1;
        // A shorter one ends the train.
        if next.bytes.len() < size {
            break;
        }
    }
    count
}

impl RelaySocket {
    /// Sends `datagrams` in order and returns how many could not be sent.
    pub(crate) fn send(&self, datagrams: &[Outgoing]) -> u64 {
        let (mut failed, mut refused, mut most) = (0, false, SEGMENTS);
        let mut rest = datagrams;
        while !rest.is_empty() {
            match self.send_trains(rest, most) {
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    (refused, most) = (false, SEGMENTS);
                }
                // The answer to an earlier datagram: this one was not tried yet.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !refused => {
                    refused = true;
                }
                // Not every path takes trains, and one bad datagram shall not cost the others.
                Err(_) if most > 1 => most = 1,
                Err(_) => {
                    failed += 1;
                    rest = rest.get(1..).unwrap_or_default();
                    (refused, most) = (false, SEGMENTS);
                }
            }
        }
        failed
    }

    /// Sends some of the first datagrams, in trains of at most `most`, and returns how many.
    fn send_trains(&self, datagrams: &[Outgoing], most: usize) -> io::Result<usize> {
        let mut pieces = [EMPTY_PIECE; TRAINS * SEGMENTS];
        for (piece, datagram) in pieces.iter_mut().zip(datagrams) {
            piece.iov_base = datagram.bytes.as_ptr().cast_mut().cast();
            piece.iov_len = datagram.bytes.len();
        }
        let mut names: [Option<SockAddr>; TRAINS] = [const { None }; TRAINS];
        let mut controls = [EMPTY_CONTROL; TRAINS];
        let mut headers = [EMPTY_HEADER; TRAINS];
        let (mut lengths, mut trains, mut start) = ([0; TRAINS], 0, 0);
        // A single train when trains are off: what follows a bad datagram may travel in trains again.
        let wanted = if most == 1 { 1 } else { TRAINS };
        while trains < wanted && start < datagrams.len() {
            let length = train_length(&datagrams[start..], most);
            let (first, header) = (&datagrams[start], &mut headers[trains].msg_hdr);
            names[trains] = first.to.map(SockAddr::from);
            if let Some(name) = &names[trains] {
                header.msg_name = name.as_ptr().cast_mut().cast();
                header.msg_namelen = name.len();
            }
            header.msg_iov = &raw mut pieces[start];
            header.msg_iovlen = length as _;
            let segment = (length > 1).then_some(first.bytes.len() as u16);
            self.write_control(header, &mut controls[trains], first.tos, segment);
            lengths[trains] = length;
            start += length;
            trains += 1;
        }
        // SAFETY: the first `trains` headers point to names, pieces, controls and datagrams that
        // outlive the call, with their true lengths; each train's pieces lie within the array, as
        // TRAINS trains have at most TRAINS * SEGMENTS. The kernel only reads them, but for `msg_len`.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                trains as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        Ok(lengths.iter().take(sent).sum())
    }

    /// Adds the TOS or Traffic Class byte and the size of a train's segments, where needed.
    fn write_control(
        &self,
        header: &mut libc::msghdr,
        control: &mut Control,
        tos: u8,
        segment: Option<u16>,
    ) {
        let mut used = 0;
        if tos != 0 {
            let (level, kind) = if self.ipv6 {
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
            } else {
                (libc::IPPROTO_IP, libc::IP_TOS)
            };
            used += put(control, used, level, kind, &libc::c_int::from(tos).to_ne_bytes());
        }
        if let Some(size) = segment {
            used += put(control, used, libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
        }
        if used > 0 {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = used as _;
        }
    }
}

/// Writes a control message at `offset` of the buffer and returns the bytes used, as `CMSG_SPACE`.
fn put(control: &mut Control, offset: usize, level: i32, kind: i32, data: &[u8]) -> usize {
    let size = data.len() as libc::c_uint;
    // SAFETY: these only compute.
    let (space, length) = unsafe { (libc::CMSG_SPACE(size), libc::CMSG_LEN(size)) };
    let data_at = offset + length as usize - data.len();
    debug_assert!(offset + space as usize <= CONTROL, "two small messages fit");
    // SAFETY: a cmsghdr of all zeroes is valid; not every platform lets us name all its fields.
    let mut message: libc::cmsghdr = unsafe { mem::zeroed() };
    message.cmsg_len = length as _;
    message.cmsg_level = level;
    message.cmsg_type = kind;
    let Some(place) = control.0.get_mut(offset..offset + mem::size_of::<libc::cmsghdr>()) else {
        return 0;
    };
    // SAFETY: the place is as large as a cmsghdr and lies in the buffer.
    unsafe { place.as_mut_ptr().cast::<libc::cmsghdr>().write_unaligned(message) };
    if let Some(place) = control.0.get_mut(data_at..data_at + data.len()) {
        place.copy_from_slice(data);
    }
    space as usize
}
