//! `sendmmsg` and `recvmmsg`: the only place where message headers with raw pointers exist, and
//! only for the length of one call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use arrayvec::ArrayVec;

use super::cmsg::{Control, Name};
use crate::udp::{Buffer, MAX_SEGMENTS, MAX_SLOTS, SLOT_SIZE};

/// Messages that one [`sendmmsg`] takes: a train sent one by one.
pub const MAX_MESSAGES: usize = MAX_SEGMENTS;

/// A message to send.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub name: &'a Name,
    pub control: &'a Control,
    pub data: &'a [u8],
    /// Where `data` lies, if it may be lent.
    pub buffer: Option<&'a Buffer>,
}

impl Message<'_> {
    /// What `sendmsg` reads. The pointers are good while `self` and `part` are borrowed.
    fn header(&self, part: &mut libc::iovec) -> libc::mmsghdr {
        let mut header = empty_header();
        header.msg_hdr.msg_name = self.name.bytes.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = self.name.len as _;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        if self.control.len > 0 {
            header.msg_hdr.msg_control = self.control.bytes.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_controllen = self.control.len as _;
        }
        header
    }

    fn part(&self) -> libc::iovec {
        libc::iovec { iov_base: self.data.as_ptr().cast_mut().cast(), iov_len: self.data.len() }
    }
}

/// Where the kernel leaves the envelope of a received message; the bytes go elsewhere.
#[derive(Clone, Copy)]
pub struct Envelope {
    pub name: Name,
    pub control: Control,
    pub len: usize,
    /// Whether something did not fit.
    pub truncated: bool,
}

impl Envelope {
    pub const EMPTY: Self =
        Self { name: Name::EMPTY, control: Control::EMPTY, len: 0, truncated: false };
}

/// Sends `messages` (the first [`MAX_MESSAGES`] of them) and says how many left; an error is that
/// of the first message.
pub fn sendmmsg(socket: BorrowedFd<'_>, messages: &[Message<'_>]) -> io::Result<usize> {
    let messages = &messages[..messages.len().min(MAX_MESSAGES)];
    // Extended, here and below: what `collect` gives is moved as a whole, room and all.
    let mut parts: ArrayVec<libc::iovec, MAX_MESSAGES> = ArrayVec::new();
    parts.extend(messages.iter().map(Message::part));
    let mut headers: ArrayVec<libc::mmsghdr, MAX_MESSAGES> = ArrayVec::new();
    headers.extend(messages.iter().zip(&mut parts).map(|(message, part)| message.header(part)));
    // SAFETY: `headers` holds as many headers as the call is told. Each points to a name, a
    // control buffer and data that `messages` borrows beyond this call, with lengths not above
    // theirs (`Name` and `Control` never count more than they hold), and to an element of `parts`,
    // which lives until the end of this function and does not move. The kernel only reads through
    // these pointers, so casting away `const` gives nothing away.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as _,
            libc::MSG_DONTWAIT as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sends `message` without a copy where the kernel can (`MSG_ZEROCOPY`): it may read the data until
/// the error queue says that it has done, so they must not be written before.
pub fn sendmsg_zerocopy(socket: BorrowedFd<'_>, message: &Message<'_>) -> io::Result<()> {
    let mut part = message.part();
    let header = message.header(&mut part).msg_hdr;
    let flags = libc::MSG_DONTWAIT | libc::MSG_ZEROCOPY;
    // SAFETY: the header points to a name, a control buffer and, through `part`, data, all of which
    // outlive this call, with lengths not above theirs. The kernel only reads through these pointers.
    // Data it reads later, too, but by the pages they lie in, of which it holds references of its own.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives up to `envelopes.len()` messages (at most [`MAX_SLOTS`]), message `i` into the `i`th
/// [`SLOT_SIZE`] bytes of `buffer`, and says how many came.
#[allow(clippy::unnecessary_cast, reason = "these lengths have other types in other C libraries")]
pub fn recvmmsg(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    envelopes: &mut [Envelope],
) -> io::Result<usize> {
    let mut parts: ArrayVec<libc::iovec, MAX_SLOTS> = ArrayVec::new();
    let slots = buffer.chunks_exact_mut(SLOT_SIZE).take(MAX_SLOTS);
    parts.extend(
        slots.map(|slot| libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() }),
    );
    let mut headers: ArrayVec<libc::mmsghdr, MAX_SLOTS> = ArrayVec::new();
    for (envelope, part) in envelopes.iter_mut().zip(&mut parts) {
        let mut header = empty_header();
        header.msg_hdr.msg_name = envelope.name.bytes.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = Name::CAPACITY as _;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = envelope.control.bytes.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = Control::CAPACITY as _;
        headers.push(header);
    }
    // SAFETY: `headers` holds as many headers as the call is told. Each points to the name and
    // control bytes of its own envelope and, through its own element of `parts`, to its own slot of
    // `buffer`, all with their true lengths; `buffer` and `envelopes` are borrowed mutably for the
    // whole call, `parts` lives until the end of this function and does not move. Any bytes that
    // the kernel writes are valid `u8`. A null timeout means none.
    let got = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as _,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    for (header, envelope) in headers.iter().zip(envelopes).take(got) {
        envelope.len = (header.msg_len as usize).min(SLOT_SIZE);
        envelope.name.len = (header.msg_hdr.msg_namelen as usize).min(Name::CAPACITY);
        envelope.control.len = (header.msg_hdr.msg_controllen as usize).min(Control::CAPACITY);
        envelope.truncated = header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    }
    Ok(got)
}

/// Takes the oldest message of the socket's error queue: the beginning of the datagram it is about
/// goes to `data`, and where that was sent to the envelope's name.
#[allow(clippy::unnecessary_cast, reason = "these lengths have other types in other C libraries")]
pub fn recv_error(socket: BorrowedFd<'_>, data: &mut [u8]) -> io::Result<Envelope> {
    let mut envelope = Envelope::EMPTY;
    let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    let mut header = empty_header().msg_hdr;
    header.msg_name = envelope.name.bytes.as_mut_ptr().cast();
    header.msg_namelen = Name::CAPACITY as _;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = envelope.control.bytes.as_mut_ptr().cast();
    header.msg_controllen = Control::CAPACITY as _;
    // SAFETY: the header points to the name and control bytes of `envelope` and, through `part`, to
    // `data`, all with their true lengths; all of them outlive the call and are borrowed by nobody
    // else. Any bytes that the kernel writes are valid `u8`.
    let got = unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
    };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    envelope.len = got.min(data.len());
    envelope.name.len = (header.msg_namelen as usize).min(Name::CAPACITY);
    envelope.control.len = (header.msg_controllen as usize).min(Control::CAPACITY);
    envelope.truncated = header.msg_flags & libc::MSG_TRUNC != 0;
    Ok(envelope)
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: a structure of integers and raw pointers, for which all zeros is a valid value. Its
    // padding fields differ between C libraries, so it cannot be written out.
    unsafe { std::mem::zeroed() }
}
