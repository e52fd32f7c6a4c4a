use super::*;
use crate::cid::ConnectionId;
use crate::error::DecodeError;
use crate::pn;
use crate::testing::hex;
use crate::writer::Writer;
use proptest::prelude::*;

fn cid(bytes: &[u8]) -> ConnectionId {
    ConnectionId::new(bytes).unwrap()
}

/// Writes a header of a packet that ends `payload` bytes after its packet number.
fn long_bytes(fields: &LongFields<'_>, payload: usize) -> Vec<u8> {
    let mut buf = vec![0xee; 3 + fields.size() + payload];
    let mut w = Writer::new(&mut buf);
    w.skip(3);
    let handle = write_long(&mut w, fields);
    assert_eq!(w.position(), 3 + fields.size());
    w.skip(payload);
    let mut packet = buf.split_off(3);
    let packet_len = packet.len();
    patch_length(&mut packet, handle, packet_len);
    assert_eq!(handle.pn_offset, handle.length_offset + 2);
    packet
}

/// RFC 9001 sections A.2 and A.3, RFC 9369 sections A.2 and A.3: unprotected Initial headers.
#[test]
fn sample_initial_headers() {
    let client = cid(&hex("8394c8f03e515708"));
    let server = cid(&hex("f067a5502a4262b5"));
    for (header, version, dcid, scid, pn, pn_len, length) in [
        ("c300000001088394c8f03e5157080000449e00000002", 1, client, cid(&[]), 2, 4, 1182),
        ("c1000000010008f067a5502a4262b50040750001", 1, cid(&[]), server, 1, 2, 117),
        ("d36b3343cf088394c8f03e5157080000449e00000002", 2, client, cid(&[]), 2, 4, 1182),
        ("d16b3343cf0008f067a5502a4262b50040750001", 2, cid(&[]), server, 1, 2, 117),
    ] {
        let header = hex(header);
        let version = if version == 1 { Version::V1 } else { Version::V2 };
        let ty = PacketType::Initial;
        let fields = LongFields { ty, version, dcid: &dcid, scid: &scid, token: &[], pn, pn_len };
        let packet = long_bytes(&fields, length - pn_len);
        assert_eq!(&packet[..header.len()], header);
        let pn_offset = header.len() - pn_len;
        let packet_len = pn_offset + length;
        let expected = LongHeader { version, ty, dcid, scid, token: &[], pn_offset, packet_len };
        assert_eq!(parse_long(&packet), Ok(Long::Protected(expected)));
        assert_eq!(super::pn_len(packet[0]), pn_len);
    }
}

/// RFC 9001 section A.3: a whole protected packet.
#[test]
fn sample_protected_packet() {
    let packet = hex("cf000000010008f067a5502a4262b500 4075c0d95a482cd0991cd25b0aac406a
         5816b6394100f37a1c69797554780bb3 8cc5a99f5ede4cf73c3ec2493a1839b3
         dbcba3f6ea46c5b7684df3548e7ddeb9 c3bf9c73cc3f3bded74b562bfb19fb84
         022f8ef4cdd93795d77d06edbb7aaf2f 58891850abbdca3d20398c276456cbc4
         2158407dd074ee");
    let Ok(Long::Protected(header)) = parse_long(&packet) else { panic!("not a packet") };
    assert_eq!((header.ty, header.pn_offset), (PacketType::Initial, 18));
    assert_eq!(header.packet_len, packet.len());
    assert_eq!(parse_long(&packet[..packet.len() - 1]), Err(DecodeError::UnexpectedEnd));
}

/// RFC 9001 section A.4 and RFC 9369 section A.4.
/// RFC 9000 section 17.2.5.
#[test]
fn sample_retry() {
    let scid = cid(&hex("f067a5502a4262b5"));
    for (packet, version) in [
        ("ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba", Version::V1),
        ("cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6", Version::V2),
    ] {
        let packet = hex(packet);
        let (without_tag, &integrity_tag) = packet.split_last_chunk().unwrap();
        let dcid = ConnectionId::EMPTY;
        let token = b"token";
        assert_eq!(
            parse_long(&packet),
            Ok(Long::Retry { version, dcid, scid, token, integrity_tag, without_tag })
        );
        let mut buf = [0; 64];
        let mut w = Writer::new(&mut buf);
        write_retry(&mut w, 0xff, version, &dcid, &scid, token);
        assert_eq!(w.written(), without_tag);
        let pseudo = retry_pseudo_packet(&cid(&[1, 2, 3]), without_tag);
        assert_eq!(pseudo, [&[3, 1, 2, 3][..], without_tag].concat());
    }
}

#[test]
fn retry_without_token() {
    let packet = hex("ff000000010008f067a5502a4262b504a265ba2eff4d829058fb3f0f2496ba");
    assert_eq!(parse_long(&packet), Err(DecodeError::InvalidValue("empty Retry token")));
    assert_eq!(parse_long(&packet[..20]), Err(DecodeError::UnexpectedEnd));
}

/// RFC 9001 section A.5.
#[test]
fn sample_short_header() {
    let mut buf = [0; 8];
    let mut w = Writer::new(&mut buf);
    let pn_offset = write_short(&mut w, false, false, &ConnectionId::EMPTY, 654_360_564, 3);
    assert_eq!((w.written(), pn_offset), (&hex("4200bff4")[..], 1));
    assert_eq!(w.position(), short_size(0, 3));
}

#[test]
fn short_header_bits() {
    let dcid = cid(&[5; 8]);
    let mut buf = [0; 16];
    let mut w = Writer::new(&mut buf);
    let pn_offset = write_short(&mut w, true, true, &dcid, 0x0102, 2);
    assert_eq!((w.position(), pn_offset), (short_size(8, 2), 9));
    let first = buf[0];
    assert_eq!(first, FIXED_BIT | SPIN_BIT | KEY_PHASE | 1);
    assert!(!is_long(first) && fixed_bit(first) && first & SHORT_RESERVED == 0);
    assert_eq!(short_dcid(&buf, 8), Some(dcid.as_slice()));
    assert_eq!(short_dcid(&buf[..8], 8), None);
    assert_eq!(short_dcid(&[], 0), None);
    assert_eq!(buf[pn_offset..][..2], [1, 2]);
}

#[test]
fn type_bits_of_both_versions() {
    use PacketType::{Handshake, Initial, Retry, ZeroRtt};
    for (version, types) in [
        (Version::V1, [Initial, ZeroRtt, Handshake, Retry]),
        (Version::V2, [Retry, Initial, ZeroRtt, Handshake]),
    ] {
        for (bits, ty) in (0..).zip(types) {
            assert_eq!(type_bits(version, ty), bits);
            assert_eq!(long_type(version, 0xcf & !0x30 | bits << 4), ty);
        }
    }
}

/// RFC 9000 section 17.2.1.
#[test]
fn version_negotiation() {
    let (dcid, scid) = ([1; 255], [2; 21]);
    let versions = [Version::V2, Version::reserved(7), Version::V1];
    let mut buf = [0; 400];
    let mut w = Writer::new(&mut buf);
    write_version_negotiation(&mut w, 0, &dcid, &scid, &versions);
    let packet = w.written();
    assert_eq!(packet[0], 0xc0);
    let Ok(Long::VersionNegotiation { dcid: d, scid: s, versions: v }) = parse_long(packet) else {
        panic!("not Version Negotiation")
    };
    assert_eq!((d, s, v.len()), (&dcid[..], &scid[..], 3));
    assert!(v.eq(versions));
    for cut in [1, 2, 3, 12] {
        assert!(matches!(
            parse_long(&packet[..packet.len() - cut]),
            Err(DecodeError::InvalidValue(_))
        ));
    }
    assert_eq!(parse_long(&packet[..280]), Err(DecodeError::UnexpectedEnd));
    for (unused, first) in [(0x7f, 0xff), (0xff, 0xff), (0x15, 0xd5)] {
        write_version_negotiation(&mut Writer::new(&mut buf), unused, &dcid, &scid, &versions);
        assert_eq!(buf[0], first, "what is unused may be anything, the fixed bit is set");
    }
}

#[test]
fn unknown_versions_show_their_invariants() {
    let mut packet = vec![0x80, 0x1a, 0x2a, 0x3a, 0x4a, 255];
    packet.extend_from_slice(&[3; 255]);
    packet.extend_from_slice(&[2, 8, 9, 1, 1, 1]);
    let expected =
        Long::UnknownVersion { version: Version(0x1a2a_3a4a), dcid: &[3; 255], scid: &[8, 9] };
    assert_eq!(parse_long(&packet), Ok(expected));
    // RFC 9000 section 17.2: version 1 packets with longer connection IDs are dropped.
    packet[1..5].copy_from_slice(&Version::V1.0.to_be_bytes());
    assert!(matches!(parse_long(&packet), Err(DecodeError::InvalidValue(_))));
}

/// RFC 9000 sections 17.2 and 17.3.
#[test]
fn first_bytes() {
    for first in 0..=u8::MAX {
        assert_eq!(is_long(first), first >= 128);
        assert_eq!(fixed_bit(first), first / 64 % 2 == 1);
        assert_eq!(super::pn_len(first), usize::from(first % 4) + 1);
    }
}

#[test]
fn short_headers_are_not_long() {
    assert_eq!(parse_long(&[0x40; 40]), Err(DecodeError::InvalidValue("not a long header")));
}

proptest! {
    #[test]
    fn long_round_trip(
        ty in prop::sample::select(
            &[PacketType::Initial, PacketType::ZeroRtt, PacketType::Handshake][..]),
        version in prop::sample::select(&Version::SUPPORTED[..]),
        dcid in prop::collection::vec(any::<u8>(), 0..=20),
        scid in prop::collection::vec(any::<u8>(), 0..=20),
        token in prop::collection::vec(any::<u8>(), 0..100),
        pn in 0..=crate::MAX_VARINT,
        pn_len in 1..=pn::MAX_LEN,
        payload in 0..2000_usize,
    ) {
        let (dcid, scid) = (cid(&dcid), cid(&scid));
        let fields =
            LongFields { ty, version, dcid: &dcid, scid: &scid, token: &token, pn, pn_len };
        let mut packet = long_bytes(&fields, payload);
        let packet_len = packet.len();
        packet.extend_from_slice(b"another packet");
        let Ok(Long::Protected(header)) = parse_long(&packet) else { panic!("not a packet") };
        let expected: &[u8] = if ty == PacketType::Initial { &token } else { &[] };
        prop_assert_eq!((header.version, header.ty, header.token), (version, ty, expected));
        prop_assert_eq!((header.dcid, header.scid), (dcid, scid));
        prop_assert_eq!(header.packet_len, packet_len);
        prop_assert_eq!(super::pn_len(packet[0]), pn_len);
        prop_assert_eq!(packet[0] & LONG_RESERVED, 0);
        let number = &packet[header.pn_offset..][..pn_len];
        prop_assert_eq!(number, &(pn as u32).to_be_bytes()[4 - pn_len..]);
    }

    /// Whatever comes, offsets stay inside the datagram.
    #[test]
    fn arbitrary_datagrams(
        mut datagram in prop::collection::vec(any::<u8>(), 0..300),
        version in prop::sample::select(
            &[0, 1, Version::V2.0, 0x1a2a_3a4a][..]),
        small_cids: bool,
        cut: prop::sample::Index,
    ) {
        if let Some(head) = datagram.first_chunk_mut::<6>() {
            head[0] |= LONG_FORM;
            head[1..5].copy_from_slice(&version.to_be_bytes());
            if small_cids {
                head[5] %= 21;
            }
        }
        for datagram in [&datagram[..], &datagram[..cut.index(datagram.len() + 1)]] {
            match parse_long(datagram) {
                Ok(Long::Protected(header)) => {
                    prop_assert!(header.pn_offset <= header.packet_len);
                    prop_assert!(header.packet_len <= datagram.len());
                }
                Ok(Long::Retry { token, without_tag, .. }) => {
                    prop_assert!(without_tag.ends_with(token));
                    prop_assert_eq!(without_tag.len() + RETRY_TAG_LEN, datagram.len());
                }
                Ok(Long::VersionNegotiation { versions, .. }) => {
                    prop_assert_eq!(versions.len(), versions.count());
                }
                Ok(Long::UnknownVersion { version, .. }) => {
                    prop_assert!(!version.is_supported());
                }
                Err(_) => {}
            }
        }
    }
}
