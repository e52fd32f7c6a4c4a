//! Records for whoever is in the netlink multicast group: messages of generic netlink in
//! NETLINK_USERSOCK, as programs that read the group `qlog` of the family `tquic` expect them.
//!
//! Anybody may send there, and who wants to receive needs CAP_NET_ADMIN. The kernel tells a sender
//! nothing of receivers that are behind: messages have consecutive numbers, by which those see that
//! some are missing.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{SocketAddrNetlink, USERSOCK};
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType};

use super::SEPARATOR;
use super::log::{Log, Mark, lock};
use super::name::Severity;
use super::writer::Outcome;
use tquic_core::trace::Mask;

/// The multicast group among the 32 of NETLINK_USERSOCK.
pub const GROUP: u32 = 20;
/// The type of messages: what the preload library calls the family `tquic`. Above the kernel's own.
pub const FAMILY: u16 = 0x7471;
/// `TQUIC_CMD_QLOG_EVENT`.
const COMMAND: u8 = 20;
const VERSION: u8 = 1;

/// `event_type` of the header of a log.
const HEADER: u32 = 0x100;
/// `event_type` of what is no event of a connection, such as the count of those that were dropped.
const OTHER: u32 = 0x101;

/// Bytes of a datagram with several messages: what every reader has room for.
const DATAGRAM: usize = 8 << 10;
/// The longest text in an attribute: its length has 16 bits.
const TEXT: usize = 60_000;

/// The group, once somebody sends there.
#[derive(Default)]
pub(super) struct Group {
    socket: Option<OwnedFd>,
    port: u32,
    sequence: u32,
}

impl Group {
    pub fn deliver(&mut self, log: &Log) -> Outcome {
        let (pieces, marks, closed) = log.take();
        let text = pieces.concat();
        let begins = std::mem::replace(&mut lock(&log.buffer).introduced, 1) == 0;
        let mut datagram = Datagram { bytes: Vec::with_capacity(DATAGRAM), events: 0 };
        if begins {
            self.add(&mut datagram, log, &log.header, HEADER, &Mark::NONE);
        }
        let mut rest = text.as_slice();
        for mark in marks {
            let (record, after) = rest.split_at_checked(mark.len as usize).unwrap_or((rest, &[]));
            let kind = if mark.kind < 64 { u32::from(mark.kind) } else { OTHER };
            self.add(&mut datagram, log, record, kind, &mark);
            rest = after;
        }
        self.send(&mut datagram, log);
        if closed.is_some() { Outcome::Over } else { Outcome::Open }
    }

    fn add(&mut self, datagram: &mut Datagram, log: &Log, record: &[u8], kind: u32, mark: &Mark) {
        let record = record.strip_prefix(&[SEPARATOR]).unwrap_or(record);
        let record = record.trim_ascii_end();
        if record.len() > TEXT {
            return log.drop_events(1);
        }
        if datagram.bytes.len() + record.len() + 128 > DATAGRAM {
            self.send(datagram, log);
        }
        self.sequence = self.sequence.wrapping_add(1);
        let start = datagram.begin(self.sequence, self.port);
        datagram.attribute(1, &kind.to_ne_bytes());
        datagram.attribute(2, &log.began.saturating_add(mark.time).to_ne_bytes());
        datagram.attribute(3, log.id.as_slice());
        datagram.attribute(4, &mark.path.to_ne_bytes());
        datagram.text(6, record);
        datagram.attribute(7, &severity(mark.kind).to_ne_bytes());
        datagram.attribute(8, &category(mark.kind).to_ne_bytes());
        datagram.attribute(9, &log.dropped().to_ne_bytes());
        datagram.attribute(10, &(if log.is_client { 1_u32 } else { 2 }).to_ne_bytes());
        datagram.end(start);
    }

    fn send(&mut self, datagram: &mut Datagram, log: &Log) {
        if datagram.bytes.is_empty() {
            return;
        }
        let sent = self.socket().and_then(|socket| {
            let group = SocketAddrNetlink::new(0, 1 << (GROUP - 1));
            net::sendto(socket, &datagram.bytes, SendFlags::DONTWAIT, &group)
        });
        match sent {
            // There is no port 0 that this is for besides the group, which has it.
            Ok(_) | Err(Errno::CONNREFUSED) => {}
            Err(_) => log.drop_events(datagram.events),
        }
        datagram.bytes.clear();
        datagram.events = 0;
    }

    fn socket(&mut self) -> Result<&OwnedFd, Errno> {
        if self.socket.is_none() {
            let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
            let made = net::socket_with(family, SocketType::RAW, flags, Some(USERSOCK))?;
            net::bind(&made, &SocketAddrNetlink::new(0, 0))?;
            let own = SocketAddrNetlink::try_from(net::getsockname(&made)?);
            self.port = own.map_or(0, |own| own.pid());
            self.socket = Some(made);
        }
        self.socket.as_ref().ok_or(Errno::BADF)
    }
}

impl Mark {
    /// Of the header.
    const NONE: Self = Self { len: 0, kind: 64, path: 0, time: 0 };
}

/// Messages on their way: each a `struct nlmsghdr`, a `struct genlmsghdr` and attributes, everything
/// from a multiple of 4 bytes on.
struct Datagram {
    bytes: Vec<u8>,
    events: u64,
}

impl Datagram {
    fn begin(&mut self, sequence: u32, port: u32) -> usize {
        let start = self.bytes.len();
        self.events += 1;
        // Its length follows when it is known.
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&FAMILY.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&port.to_ne_bytes());
        self.bytes.extend_from_slice(&[COMMAND, VERSION, 0, 0]);
        start
    }

    fn end(&mut self, start: usize) {
        let length = ((self.bytes.len() - start) as u32).to_ne_bytes();
        if let Some(field) = self.bytes.get_mut(start..start + 4) {
            field.copy_from_slice(&length);
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.head(kind, value.len());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// A text as C programs want it, with a zero behind.
    fn text(&mut self, kind: u16, value: &[u8]) {
        self.head(kind, value.len() + 1);
        self.bytes.extend_from_slice(value);
        self.bytes.push(0);
        self.pad();
    }

    fn head(&mut self, kind: u16, length: usize) {
        // At most `TEXT` and a little.
        self.bytes.extend_from_slice(&((length + 4) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn severity(kind: u8) -> u32 {
    let mask = Mask(1_u64.checked_shl(kind.into()).unwrap_or_default());
    let levels = [Severity::Core, Severity::Base];
    let level = levels.into_iter().find(|level| level.mask().intersects(mask));
    level.unwrap_or(Severity::Extra) as u32
}

/// 0 connectivity, 1 transport, 2 recovery, 3 security, 4 none of these.
fn category(kind: u8) -> u32 {
    match kind {
        0..10 => 0,
        10..30 => 1,
        30..40 => 2,
        40..64 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_netlink_has_them() {
        let mut datagram = Datagram { bytes: Vec::new(), events: 0 };
        let start = datagram.begin(7, 9);
        datagram.attribute(3, &[0xaa; 5]);
        datagram.text(6, b"{}");
        datagram.end(start);
        let bytes = &datagram.bytes;
        assert_eq!(bytes.len(), 16 + 4 + (4 + 8) + (4 + 4));
        assert_eq!(bytes[..4], 40_u32.to_ne_bytes());
        assert_eq!(bytes[4..6], FAMILY.to_ne_bytes());
        assert_eq!(
            (&bytes[8..12], &bytes[12..16]),
            (&7_u32.to_ne_bytes()[..], &9_u32.to_ne_bytes()[..])
        );
        assert_eq!(bytes[16..20], [20, 1, 0, 0]);
        assert_eq!(bytes[20..22], 9_u16.to_ne_bytes());
        assert_eq!(bytes[32..34], 7_u16.to_ne_bytes());
        assert_eq!(&bytes[36..40], b"{}\0\0");
    }

    #[test]
    fn kinds_have_severities_and_categories() {
        let kind = |mask: Mask| mask.0.trailing_zeros() as u8;
        assert_eq!((severity(kind(Mask::PACKET_LOST)), category(kind(Mask::PACKET_LOST))), (0, 2));
        assert_eq!((severity(kind(Mask::KEY_UPDATED)), category(kind(Mask::KEY_UPDATED))), (1, 3));
        assert_eq!((severity(kind(Mask::MTU_UPDATED)), category(kind(Mask::MTU_UPDATED))), (2, 0));
        assert_eq!((severity(64), category(64)), (2, 4));
    }
}
