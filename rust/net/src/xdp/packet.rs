//! Ethernet, IP and UDP headers, written and read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::udp::Ecn;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
const PROTOCOL_UDP: u8 = 17;
/// As Linux sends by default.
const HOPS: u8 = 64;

/// Bytes of IP and UDP header before a payload to `ip`.
pub const fn overhead(ip: IpAddr) -> usize {
    UDP + if ip.is_ipv4() { IPV4 } else { IPV6 }
}

/// What the headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// MAC addresses: of whom it is for, of whom it is from.
    pub macs: ([u8; 6], [u8; 6]),
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub ecn: Option<Ecn>,
}

/// Sums 16-bit words of the machine's byte order; the one's complement sum does not mind which
/// (RFC 1071 section 2).
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = 0_u64;
    let mut carries = 0;
    for word in words {
        let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(*word));
        sum = next;
        carries += u64::from(carry);
    }
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let half = |n: u64| (n >> 32) + (n & 0xffff_ffff);
    // Far from overflow: three numbers of 33 bits.
    half(sum) + carries + half(u64::from_ne_bytes(last))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// Sum of the pseudo header (RFC 768, RFC 8200 section 8.1).
fn pseudo(from: IpAddr, to: IpAddr, len: u16) -> u64 {
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => sum(&from.octets()) + sum(&to.octets()),
        (from, to) => sum(&v6(from).octets()) + sum(&v6(to).octets()),
    };
    addresses + u64::from(len.to_be()) + u64::from(u16::from(PROTOCOL_UDP).to_be())
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Writes a whole frame with the given payload and answers its length. `None` if the frame has no
/// room for it, or the addresses are not of one family.
pub fn write(frame: &mut [u8], head: &Head, payload: &[u8]) -> Option<usize> {
    let udp_len = u16::try_from(UDP + payload.len()).ok()?;
    let tos = head.ecn.map_or(0, |ecn| ecn as u8);
    let (ethernet, rest) = frame.split_first_chunk_mut::<ETHERNET>()?;
    ethernet[..6].copy_from_slice(&head.macs.0);
    ethernet[6..12].copy_from_slice(&head.macs.1);
    let (ip_len, rest) = match (head.from.ip(), head.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            ethernet[12..].copy_from_slice(&[0x08, 0x00]);
            let (ip, rest) = rest.split_first_chunk_mut::<IPV4>()?;
            write_ipv4(ip, (from, to), tos, udp_len)?;
            (IPV4, rest)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            ethernet[12..].copy_from_slice(&[0x86, 0xdd]);
            let (ip, rest) = rest.split_first_chunk_mut::<IPV6>()?;
            // RFC 8200 section 3; the flow label is 0.
            ip[..4].copy_from_slice(&[0x60 | tos >> 4, tos << 4, 0, 0]);
            ip[4..6].copy_from_slice(&udp_len.to_be_bytes());
            ip[6..8].copy_from_slice(&[PROTOCOL_UDP, HOPS]);
            ip[8..24].copy_from_slice(&from.octets());
            ip[24..].copy_from_slice(&to.octets());
            (IPV6, rest)
        }
        _ => return None,
    };
    let (udp, rest) = rest.split_first_chunk_mut::<UDP>()?;
    udp[..2].copy_from_slice(&head.from.port().to_be_bytes());
    udp[2..4].copy_from_slice(&head.to.port().to_be_bytes());
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    udp[6..].fill(0);
    let body = rest.get_mut(..payload.len())?;
    body.copy_from_slice(payload);
    let total = pseudo(head.from.ip(), head.to.ip(), udp_len) + sum(udp) + sum(body);
    // 0 would say that there is none (RFC 768).
    let checksum = match !fold(total) {
        0 => 0xffff,
        other => other,
    };
    udp[6..].copy_from_slice(&checksum.to_ne_bytes());
    Some(ETHERNET + ip_len + usize::from(udp_len))
}

/// RFC 791 section 3.1. An identification is for fragments, which there are none of (RFC 6864
/// section 4.1).
fn write_ipv4(
    ip: &mut [u8; IPV4],
    (from, to): (Ipv4Addr, Ipv4Addr),
    tos: u8,
    udp_len: u16,
) -> Option<()> {
    let len = udp_len.checked_add(IPV4 as u16)?;
    ip[..2].copy_from_slice(&[0x45, tos]);
    ip[2..4].copy_from_slice(&len.to_be_bytes());
    // Do not fragment: RFC 9000 section 14.
    ip[4..12].copy_from_slice(&[0, 0, 0x40, 0, HOPS, PROTOCOL_UDP, 0, 0]);
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..].copy_from_slice(&to.octets());
    let checksum = !fold(sum(ip));
    ip[10..12].copy_from_slice(&checksum.to_ne_bytes());
    Some(())
}

/// A datagram that came in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub ecn: Option<Ecn>,
    pub payload: &'a [u8],
}

/// Reads a frame that the XDP program took. `None` if it is damaged: lengths and checksums, which
/// the kernel has not looked at.
pub fn read(frame: &[u8]) -> Option<Datagram<'_>> {
    let (ethernet, packet) = frame.split_first_chunk::<ETHERNET>()?;
    let (from, to, tos, udp) = match ethernet[12..] {
        [0x08, 0x00] => {
            let (ip, _) = packet.split_first_chunk::<IPV4>()?;
            let len = u16::from_be_bytes([ip[2], ip[3]]);
            if ip[0] != 0x45 || ip[9] != PROTOCOL_UDP || fold(sum(ip)) != 0xffff {
                return None;
            }
            let address = |at: usize| Some(IpAddr::from(*ip.get(at..)?.first_chunk::<4>()?));
            // A short frame is padded to 60 bytes: the length counts.
            (address(12)?, address(16)?, ip[1], packet.get(IPV4..usize::from(len))?)
        }
        [0x86, 0xdd] => {
            let (ip, rest) = packet.split_first_chunk::<IPV6>()?;
            let len = u16::from_be_bytes([ip[4], ip[5]]);
            if ip[0] >> 4 != 6 || ip[6] != PROTOCOL_UDP {
                return None;
            }
            let address = |at: usize| Some(IpAddr::from(*ip.get(at..)?.first_chunk::<16>()?));
            (address(8)?, address(24)?, ip[1] >> 4, rest.get(..usize::from(len))?)
        }
        _ => return None,
    };
    let (&[a, b, c, d, e, f, checksum @ ..], _) = udp.split_first_chunk::<UDP>()?;
    let len = u16::from_be_bytes([e, f]);
    let udp = udp.get(..usize::from(len))?;
    let payload = udp.get(UDP..)?;
    if !is_sound(from, to, checksum, udp, len) {
        return None;
    }
    Some(Datagram {
        from: SocketAddr::new(from, u16::from_be_bytes([a, b])),
        to: SocketAddr::new(to, u16::from_be_bytes([c, d])),
        ecn: Ecn::from_bits(tos),
        payload,
    })
}

/// Whether the UDP checksum is right.
fn is_sound(from: IpAddr, to: IpAddr, checksum: [u8; 2], udp: &[u8], len: u16) -> bool {
    if checksum == [0, 0] {
        // RFC 8200 section 8.1: over IPv6 there must be one.
        return from.is_ipv4();
    }
    let pseudo = pseudo(from, to, len);
    // Interfaces without a wire (veth, virtio) hand over what their sender left to the hardware: the
    // field holds the sum of the pseudo header alone, and the data has been in memory all the time.
    fold(pseudo + sum(udp)) == 0xffff || u16::from_ne_bytes(checksum) == fold(pseudo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(v6: bool, ecn: u8) -> Head {
        let (from, to) = match v6 {
            false => ("192.0.2.9:1000", "192.0.2.1:4433"),
            true => ("[2001:db8::9]:1000", "[2001:db8::1]:4433"),
        };
        Head {
            macs: ([1; 6], [2; 6]),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            ecn: Ecn::from_bits(ecn),
        }
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)).to_ne_bytes(), [0xdd, 0xf2]);
    }

    #[test]
    fn a_header_as_the_kernel_writes_it() {
        // Captured from Linux: 10.0.0.1:40000 to 10.0.0.2:9, "hello", not to be fragmented.
        let mut frame = [0; 64];
        let head = Head {
            macs: ([1; 6], [2; 6]),
            from: "10.0.0.1:40000".parse().unwrap(),
            to: "10.0.0.2:9".parse().unwrap(),
            ecn: None,
        };
        assert_eq!(write(&mut frame, &head, b"hello"), Some(47));
        let ip = [0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17, 0x26, 0xca, 10, 0, 0, 1, 10, 0, 0, 2];
        assert_eq!(frame[14..34], ip);
        assert_eq!(frame[34..40], [0x9c, 0x40, 0, 9, 0, 13]);
    }

    #[test]
    fn what_was_left_to_hardware_is_sound() {
        for v6 in [false, true] {
            let mut frame = [0; 200];
            let len = write(&mut frame, &head(v6, 0), &[9; 100]).unwrap();
            let at = if v6 { 14 + 40 } else { 14 + 20 };
            let head = head(v6, 0);
            let partial = fold(pseudo(head.from.ip(), head.to.ip(), 108));
            frame[at + 6..at + 8].copy_from_slice(&partial.to_ne_bytes());
            assert!(read(&frame[..len]).is_some());
            frame[at + 6..at + 8].copy_from_slice(&[0, 0]);
            assert_eq!(read(&frame[..len]).is_some(), !v6);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(
            v6: bool,
            ecn in 0..4_u8,
            payload in proptest::collection::vec(any::<u8>(), 0..1500),
            padding in 0..30_usize,
        ) {
            let (mut frame, head) = ([0; 2048], head(v6, ecn));
            let len = write(&mut frame, &head, &payload).unwrap();
            prop_assert_eq!(len, ETHERNET + overhead(head.to.ip()) + payload.len());
            let expected =
                Datagram { from: head.from, to: head.to, ecn: head.ecn, payload: &payload };
            prop_assert_eq!(read(&frame[..len + padding]), Some(expected));
            prop_assert_eq!(write(&mut frame[..len - 1], &head, &payload), None);
        }

        #[test]
        fn damage_is_found(v6: bool, bit in 0..8_u8, at in 0..150_usize) {
            let mut frame = [0; 200];
            let len = write(&mut frame, &head(v6, 0), &[0x55; 80]).unwrap();
            // The first 14 bytes have no checksum, IPv6's version, class, label and hops neither,
            // and one's complement cannot tell 0 from -0.
            let unchecked = if v6 { 14 + 8 } else { 14 };
            let at = unchecked + at % (len - unchecked);
            frame[at] ^= 1 << bit;
            prop_assert_eq!(read(&frame[..len]), None);
        }

        #[test]
        fn anything_can_be_read(frame in proptest::collection::vec(any::<u8>(), 0..100)) {
            read(&frame);
        }
    }
}
