//! The test vectors of RFC 9001 and RFC 9369, appendix A.

mod v1;
mod v2;

pub(crate) use v1::CLIENT_PAYLOAD as V1_CLIENT_PAYLOAD;

use tquic_wire::{ConnectionId, Side, Version};

use crate::initial::initial_secrets;
use crate::test_util::hex;
use crate::{DirectionKeys, Suite, TAG_LEN, TrafficSecret, UpdateSecrets, initial_keys, retry};

fn odcid() -> ConnectionId {
    ConnectionId::new(&hex("8394c8f03e515708")).unwrap()
}

/// A long-header packet before protection, and what protects it.
struct Sample<'a> {
    header: &'a str,
    pn: u64,
    pn_len: usize,
    payload: Vec<u8>,
    protected: &'a str,
}

/// Seals the sample as a sender does, checks the bytes, and opens it as a receiver does.
fn check(sample: &Sample<'_>, local: &DirectionKeys, remote: &DirectionKeys, flags: u8) {
    let header = hex(sample.header);
    let pn_offset = header.len() - sample.pn_len;
    let mut packet = header.clone();
    let (front, tail) = sample.payload.split_at(sample.payload.len() / 3);
    packet.extend_from_slice(front);
    packet.resize(header.len() + sample.payload.len() + TAG_LEN, 0);
    local.packet.seal(0, sample.pn, &mut packet, header.len(), tail);

    let at = pn_offset + 4;
    let mask = local.header.mask(packet[at..at + 16].try_into().unwrap());
    packet[0] ^= mask[0] & flags;
    for i in 0..sample.pn_len {
        packet[pn_offset + i] ^= mask[1 + i];
    }
    assert_eq!(packet, hex(sample.protected));

    let mask = remote.header.mask(packet[at..at + 16].try_into().unwrap());
    packet[0] ^= mask[0] & flags;
    for i in 0..sample.pn_len {
        packet[pn_offset + i] ^= mask[1 + i];
    }
    assert_eq!(packet[..header.len()], header);
    let opened = remote.packet.open(0, sample.pn, &mut packet, header.len());
    assert_eq!(opened.as_deref(), Some(&*sample.payload));
}

fn check_initials(version: Version, client: &Sample<'_>, server: &Sample<'_>) {
    let ours = initial_keys(version, &odcid(), Side::Client);
    let theirs = initial_keys(version, &odcid(), Side::Server);
    check(client, &ours.local, &theirs.remote, 0x0f);
    check(server, &theirs.local, &ours.remote, 0x0f);
}

fn padded(payload: &str) -> Vec<u8> {
    let mut payload = hex(payload);
    payload.resize(1162, 0);
    payload
}

/// RFC 9001 section 5.1.
#[test]
fn v1_initial() {
    let (client, server) = initial_secrets(Version::V1, &odcid());
    let expected = "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea";
    assert_eq!(client.bytes(), hex(expected));
    let expected = "3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b";
    assert_eq!(server.bytes(), hex(expected));
    let client = Sample {
        header: "c300000001088394c8f03e5157080000449e00000002",
        pn: 2,
        pn_len: 4,
        payload: padded(v1::CLIENT_PAYLOAD),
        protected: v1::CLIENT_PACKET,
    };
    let server = Sample {
        header: "c1000000010008f067a5502a4262b50040750001",
        pn: 1,
        pn_len: 2,
        payload: hex(v1::SERVER_PAYLOAD),
        protected: v1::SERVER_PACKET,
    };
    check_initials(Version::V1, &client, &server);
}

#[test]
fn v2_initial() {
    let (client, server) = initial_secrets(Version::V2, &odcid());
    let expected = "14ec9d6eb9fd7af83bf5a668bc17a7e283766aade7ecd0891f70f9ff7f4bf47b";
    assert_eq!(client.bytes(), hex(expected));
    let expected = "0263db1782731bf4588e7e4d93b7463907cb8cd8200b5da55a8bd488eafc37c1";
    assert_eq!(server.bytes(), hex(expected));
    let client = Sample {
        header: "d36b3343cf088394c8f03e5157080000449e00000002",
        pn: 2,
        pn_len: 4,
        payload: padded(v2::CLIENT_PAYLOAD),
        protected: v2::CLIENT_PACKET,
    };
    let server = Sample {
        header: "d16b3343cf0008f067a5502a4262b50040750001",
        pn: 1,
        pn_len: 2,
        payload: hex(v2::SERVER_PAYLOAD),
        protected: v2::SERVER_PACKET,
    };
    check_initials(Version::V2, &client, &server);
}

#[test]
fn retry_tags() {
    for (version, packet) in [(Version::V1, v1::RETRY), (Version::V2, v2::RETRY)] {
        let packet = hex(packet);
        let (body, tag) = packet.split_at(packet.len() - TAG_LEN);
        assert_eq!(retry::integrity_tag(version, &odcid(), body), tag);
        assert!(retry::verify(version, &odcid(), &packet));
        for at in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[at] ^= 0x10;
            assert!(!retry::verify(version, &odcid(), &damaged));
        }
        assert!(!retry::verify(version, &ConnectionId::default(), &packet));
        let other = if version == Version::V1 { Version::V2 } else { Version::V1 };
        assert!(!retry::verify(other, &odcid(), &packet));
        assert!(!retry::verify(version, &odcid(), &packet[..15]));
    }
}

fn chacha20(version: Version, protected: &str, next: &str) {
    let bytes = hex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b");
    let secret = || TrafficSecret::new(Suite::Chacha20Poly1305, &bytes).unwrap();
    assert_eq!(secret().next(version).bytes(), hex(next));
    let keys = DirectionKeys::derive(version, &secret());
    let sample =
        Sample { header: "4200bff4", pn: 654_360_564, pn_len: 3, payload: vec![1], protected };
    check(&sample, &keys, &keys, 0x1f);

    // The generation made by a key update is that of the `ku` secret.
    let next = TrafficSecret::new(Suite::Chacha20Poly1305, &hex(next)).unwrap();
    let mut updates = UpdateSecrets::new(version, secret(), secret());
    let (local, remote) = (updates.next_local(), updates.next_remote());
    let mut packet = vec![5; 60];
    local.seal(0, 9, &mut packet, 20, &[]);
    let mut same = vec![5; 60];
    next.packet_key(version).seal(0, 9, &mut same, 20, &[]);
    assert_eq!(packet, same);
    assert_eq!(remote.open(0, 9, &mut packet, 20).as_deref(), Some(&[5; 24][..]));
}

#[test]
fn v1_chacha20_short_header() {
    chacha20(
        Version::V1,
        "4cfe4189655e5cd55c41f69080575d7999c25a5bfb",
        "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9",
    );
}

#[test]
fn v2_chacha20_short_header() {
    chacha20(
        Version::V2,
        "5558b1c60ae7b6b932bc27d786f4bc2bb20f2162ba",
        "c69374c49e3d2a9466fa689e49d476db5d0dfbc87d32ceeaa6343fd0ae4c7d88",
    );
}
