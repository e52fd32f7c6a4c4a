//! Socket addresses and control messages in the kernel's layout, as plain bytes: no pointers, so
//! nothing unsafe here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use libc::c_int;

use crate::udp::Ecn;

/// Bytes of `struct sockaddr_in6`, the larger of the two.
const NAME_SIZE: usize = 28;
const FAMILY_V4: u16 = libc::AF_INET as u16;
const FAMILY_V6: u16 = libc::AF_INET6 as u16;

/// A socket address as the kernel reads and writes it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Name {
    pub bytes: [u8; NAME_SIZE],
    /// How many of `bytes` count.
    pub len: usize,
}

impl Name {
    /// Room for an address.
    pub const EMPTY: Self = Self { bytes: [0; NAME_SIZE], len: 0 };
    /// Bytes that fit.
    pub const CAPACITY: usize = NAME_SIZE;

    /// `addr` for a socket of the family `v6`, which wants IPv4 addresses mapped.
    pub fn new(addr: SocketAddr, v6: bool) -> Self {
        match addr {
            SocketAddr::V4(a) if v6 => {
                Self::v6(&SocketAddrV6::new(a.ip().to_ipv6_mapped(), a.port(), 0, 0))
            }
            SocketAddr::V4(a) => {
                let mut bytes = [0; NAME_SIZE];
                bytes[..2].copy_from_slice(&FAMILY_V4.to_ne_bytes());
                bytes[2..4].copy_from_slice(&a.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&a.ip().octets());
                Self { bytes, len: 16 }
            }
            SocketAddr::V6(a) => Self::v6(&a),
        }
    }

    fn v6(a: &SocketAddrV6) -> Self {
        let mut bytes = [0; NAME_SIZE];
        bytes[..2].copy_from_slice(&FAMILY_V6.to_ne_bytes());
        bytes[2..4].copy_from_slice(&a.port().to_be_bytes());
        bytes[4..8].copy_from_slice(&a.flowinfo().to_be_bytes());
        bytes[8..24].copy_from_slice(&a.ip().octets());
        bytes[24..28].copy_from_slice(&a.scope_id().to_ne_bytes());
        Self { bytes, len: NAME_SIZE }
    }

    /// The address; mapped IPv4 comes back as IPv4. `None` if it is no internet address.
    pub fn addr(&self) -> Option<SocketAddr> {
        let b = self.bytes.get(..self.len)?;
        let family = u16::from_ne_bytes(field(b, 0)?);
        let port = u16::from_be_bytes(field(b, 2)?);
        if family == FAMILY_V4 {
            let ip = Ipv4Addr::from(field::<4>(b, 4)?);
            return Some(SocketAddr::new(IpAddr::V4(ip), port));
        }
        let ip = Ipv6Addr::from(field::<16>(b, 8)?);
        let scope = u32::from_ne_bytes(field(b, 24)?);
        match ip.to_ipv4_mapped() {
            _ if family != FAMILY_V6 => None,
            Some(v4) => Some(SocketAddr::new(IpAddr::V4(v4), port)),
            // The flow label is the sender's business and no part of whom to answer.
            None => Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))),
        }
    }
}

/// `N` bytes of `bytes` from `at`.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The kernel aligns control messages to its `size_t`.
const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`: length, level, type.
const HEADER: usize = WORD + 8;
/// The longest set we send or receive is packet information (40), traffic class (24) and segment
/// size (24).
const CONTROL_SIZE: usize = 128;

/// Ancillary data of one message.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Control {
    pub bytes: [u8; CONTROL_SIZE],
    /// How many of `bytes` count.
    pub len: usize,
}

/// What the control messages of a received datagram or train say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub local_ip: Option<IpAddr>,
    pub interface: u32,
    pub ecn: Option<Ecn>,
    pub stride: Option<usize>,
    pub error: Option<Report>,
}

/// `struct sock_extended_err`: what a message of the error queue is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub errno: u32,
    /// Who says it.
    pub origin: u8,
    pub code: u8,
    pub info: u32,
    pub data: u32,
}

impl Report {
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            errno: field(bytes, 0).map(u32::from_ne_bytes)?,
            origin: *bytes.get(4)?,
            code: *bytes.get(6)?,
            info: field(bytes, 8).map(u32::from_ne_bytes)?,
            data: field(bytes, 12).map(u32::from_ne_bytes)?,
        })
    }
}

impl Control {
    /// No control message.
    pub const EMPTY: Self = Self { bytes: [0; CONTROL_SIZE], len: 0 };
    /// Bytes that fit.
    pub const CAPACITY: usize = CONTROL_SIZE;

    /// Has the kernel cut the data into datagrams of `size` bytes.
    pub fn segment_size(&mut self, size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }

    /// What [`Self::segment_size`] said: it is the first to say something.
    #[cfg(feature = "faults")]
    pub fn segment(&self) -> Option<u16> {
        match split_message(self.bytes.get(..self.len)?)? {
            (libc::SOL_UDP, libc::UDP_SEGMENT, data, _) => field(data, 0).map(u16::from_ne_bytes),
            _ => None,
        }
    }

    /// Marks the datagrams that go to an address of family `v4` (mapped ones are IPv4).
    pub fn ecn(&mut self, ecn: Ecn, v4: bool) {
        let value = c_int::from(ecn as u8).to_ne_bytes();
        if v4 {
            self.push(libc::SOL_IP, libc::IP_TOS, &value);
        } else {
            self.push(libc::SOL_IPV6, libc::IPV6_TCLASS, &value);
        }
    }

    /// Chooses the source address.
    pub fn source(&mut self, ip: IpAddr) {
        match ip.to_canonical() {
            // struct in_pktinfo: interface index, source address, destination (not read).
            IpAddr::V4(ip) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                self.push(libc::SOL_IP, libc::IP_PKTINFO, &info);
            }
            // struct in6_pktinfo: source address, interface index.
            IpAddr::V6(ip) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                self.push(libc::SOL_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    /// Appends a message; one that does not fit is left out, which the size of the buffer excludes.
    fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let room = (HEADER + data.len()).next_multiple_of(WORD);
        let Some(to) = self.bytes.get_mut(self.len..self.len + room) else {
            debug_assert!(false, "control buffer too small");
            return;
        };
        to[..WORD].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        to[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        to[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        to[HEADER..HEADER + data.len()].copy_from_slice(data);
        self.len += room;
    }

    /// Reads every message the kernel wrote.
    pub fn parse(&self) -> Received {
        let mut received = Received::default();
        let mut rest = self.bytes.get(..self.len).unwrap_or_default();
        while let Some((level, kind, data, next)) = split_message(rest) {
            received.take(level, kind, data);
            rest = next;
        }
        received
    }
}

/// The first control message in `bytes`, and what follows it.
fn split_message(bytes: &[u8]) -> Option<(c_int, c_int, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(field(bytes, 0)?);
    let level = c_int::from_ne_bytes(field(bytes, WORD)?);
    let kind = c_int::from_ne_bytes(field(bytes, WORD + 4)?);
    let data = bytes.get(HEADER..len)?;
    // The last message may come without its padding.
    let next = bytes.get(len.next_multiple_of(WORD)..).unwrap_or_default();
    Some((level, kind, data, next))
}

impl Received {
    fn take(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                self.stride = field(data, 0)
                    .and_then(|size| usize::try_from(c_int::from_ne_bytes(size)).ok())
                    .filter(|&size| size > 0);
            }
            // One byte over IPv4, an int over IPv6; of the int, only the low byte is defined.
            (libc::SOL_IP, libc::IP_TOS) => {
                self.ecn = data.first().and_then(|&tos| Ecn::from_bits(tos));
            }
            (libc::SOL_IPV6, libc::IPV6_TCLASS) => {
                self.ecn = field(data, 0)
                    .and_then(|class| Ecn::from_bits((c_int::from_ne_bytes(class) & 0xff) as u8));
            }
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                self.error = Report::read(data);
            }
            (libc::SOL_IP, libc::IP_PKTINFO) => {
                self.interface = field(data, 0).map_or(0, u32::from_ne_bytes);
                self.local_ip = field::<4>(data, 4).map(|ip| IpAddr::V4(ip.into()));
            }
            (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
                self.interface = field(data, 16).map_or(0, u32::from_ne_bytes);
                self.local_ip = field::<16>(data, 0).map(|ip| IpAddr::V6(ip.into()).to_canonical());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_survive_and_mapped_ones_become_ipv4() {
        for text in ["127.0.0.2:4433", "[2001:db8::1]:9", "[fe80::1%7]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::new(addr, true).addr(), Some(addr), "{text}");
        }
        let v4: SocketAddr = "192.0.2.1:80".parse().unwrap();
        assert_eq!(Name::new(v4, true).len, 28);
        assert_eq!(Name::new(v4, false).len, 16);
        assert_eq!(Name::new(v4, false).addr(), Some(v4));
        assert_eq!(Name::EMPTY.addr(), None);
    }

    #[test]
    fn what_is_written_is_read() {
        for (ip, v4) in [("192.0.2.7", true), ("2001:db8::7", false), ("::ffff:192.0.2.7", true)] {
            let ip: IpAddr = ip.parse().unwrap();
            for ecn in [Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
                let mut control = Control::EMPTY;
                control.ecn(ecn, v4);
                control.source(ip);
                control.push(libc::SOL_UDP, libc::UDP_GRO, &1472i32.to_ne_bytes());
                control.push(libc::SOL_SOCKET, 77, b"not for us");
                let expected = Received {
                    local_ip: Some(ip.to_canonical()),
                    interface: 0,
                    ecn: Some(ecn),
                    stride: Some(1472),
                    error: None,
                };
                assert_eq!(control.parse(), expected);
            }
        }
    }

    #[test]
    fn the_longest_set_fits() {
        let mut control = Control::EMPTY;
        control.segment_size(1472);
        control.ecn(Ecn::Ce, false);
        control.source(IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert!(control.len <= Control::CAPACITY - HEADER);
    }

    proptest! {
        /// The kernel is trusted, but a misread layout must show as nonsense, not as a panic.
        #[test]
        fn any_bytes_are_read_without_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), CONTROL_SIZE),
            first in 0usize..200,
            len in 0usize..200,
        ) {
            bytes[..WORD].copy_from_slice(&first.to_ne_bytes());
            let control = Control { bytes: bytes.clone().try_into().unwrap(), len };
            control.parse();
            let name = Name { bytes: bytes[..NAME_SIZE].try_into().unwrap(), len };
            name.addr();
        }
    }
}
