use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use super::*;
use crate::error::{DecodeError, TransportErrorCode};
use crate::testing::hex;
use crate::types::Side;
use crate::varint::{self, MAX_VARINT};
use crate::version::Version;
use proptest::prelude::*;

fn cid(bytes: &[u8]) -> ConnectionId {
    ConnectionId::new(bytes).unwrap()
}

fn encoded(params: &TransportParameters, side: Side) -> Vec<u8> {
    let mut out = Vec::new();
    params.encode(side, &mut out);
    out
}

fn parameter(id: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::append(&mut out, id);
    varint::append(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

fn integer(id: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint::append(&mut out, value);
    parameter(id, &out)
}

fn decode(sender: Side, parts: &[Vec<u8>]) -> Result<TransportParameters, ParamError> {
    TransportParameters::decode(sender, &parts.concat())
}

fn fails(sender: Side, id: u64, parts: &[Vec<u8>]) {
    let error = decode(sender, parts).unwrap_err();
    assert_eq!(error.id, Some(id), "{error}");
    assert_eq!(error.code(), TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
    assert!(error.to_string().contains(name(id)), "{error}");
}

/// RFC 9001 section A.2: the parameters inside the sample ClientHello.
#[test]
fn sample_client_hello() {
    let bytes = hex("0408ffffffffffffffff 05048000ffff 07048000ffff 080110 01048000753009 0110
         0f088394c8f03e515708 06048000ffff");
    let expected = TransportParameters {
        max_idle_timeout: 30_000,
        initial_max_data: MAX_VARINT,
        initial_max_stream_data_bidi_local: 65_535,
        initial_max_stream_data_bidi_remote: 65_535,
        initial_max_stream_data_uni: 65_535,
        initial_max_streams_bidi: 16,
        initial_max_streams_uni: 16,
        initial_source_connection_id: Some(cid(&hex("8394c8f03e515708"))),
        ..TransportParameters::default()
    };
    assert_eq!(TransportParameters::decode(Side::Client, &bytes), Ok(expected.clone()));
    assert_eq!(encoded(&expected, Side::Client).len(), bytes.len());
}

#[test]
fn defaults_are_not_sent() {
    let params = TransportParameters::default();
    assert_eq!(encoded(&params, Side::Server), []);
    assert_eq!(TransportParameters::decode(Side::Server, &[]), Ok(params));
}

#[test]
fn limits() {
    for (id, bad, good) in [
        (id::MAX_UDP_PAYLOAD_SIZE, 1199, 1200),
        (id::ACK_DELAY_EXPONENT, 21, 20),
        (id::MAX_ACK_DELAY, 1 << 14, (1 << 14) - 1),
        (id::ACTIVE_CONNECTION_ID_LIMIT, 1, 2),
        (id::INITIAL_MAX_STREAMS_BIDI, (1 << 60) + 1, 1 << 60),
        (id::INITIAL_MAX_STREAMS_UNI, (1 << 60) + 1, 1 << 60),
        (id::INITIAL_MAX_PATH_ID, 1 << 32, (1 << 32) - 1),
        (id::MIN_ACK_DELAY, 25_001, 25_000),
    ] {
        fails(Side::Client, id, &[integer(id, bad)]);
        assert!(decode(Side::Client, &[integer(id, good)]).is_ok(), "{}", name(id));
    }
}

#[test]
fn min_ack_delay_against_a_max_ack_delay_that_follows() {
    let min = integer(id::MIN_ACK_DELAY, 1001);
    fails(Side::Server, id::MIN_ACK_DELAY, &[min.clone(), integer(id::MAX_ACK_DELAY, 1)]);
    assert!(decode(Side::Server, &[min, integer(id::MAX_ACK_DELAY, 2)]).is_ok());
}

#[test]
fn duplicates() {
    for id in (0..0x12).chain([0x20, 0x3e, 0x2ab2, 0xff04_de1b]) {
        assert_ne!(name(id), "unknown");
        let params = every_parameter();
        let mut out = encoded(&params, Side::Server);
        // A second one: its value is not even looked at.
        out.extend_from_slice(&parameter(id, &[]));
        let error = TransportParameters::decode(Side::Server, &out).unwrap_err();
        let repeated = DecodeError::InvalidValue("sent more than once");
        assert_eq!(error, ParamError { id: Some(id), error: repeated });
    }
}

/// RFC 9000 section 7.4.2.
#[test]
fn unknown_parameters_are_ignored() {
    for id in [0x12, 0x1f, 0x21, 61, 62 + 1, 64, id::reserved(0), id::reserved(9), MAX_VARINT] {
        let unknown = parameter(id, &[1, 2, 3]);
        let params = decode(Side::Client, &[unknown.clone(), unknown]);
        assert_eq!(params, Ok(TransportParameters::default()), "{id:#x}");
    }
}

#[test]
fn server_only() {
    let params = every_parameter();
    for (id, value) in [
        (id::ORIGINAL_DESTINATION_CONNECTION_ID, vec![1; 8]),
        (id::STATELESS_RESET_TOKEN, vec![1; 16]),
        (id::RETRY_SOURCE_CONNECTION_ID, vec![1; 8]),
        (id::PREFERRED_ADDRESS, vec![1; 42]),
    ] {
        let part = [parameter(id, &value)];
        fails(Side::Client, id, &part);
        assert!(decode(Side::Server, &part).is_ok());
    }
    let from_client =
        TransportParameters::decode(Side::Client, &encoded(&params, Side::Client)).unwrap();
    assert_eq!(from_client.stateless_reset_token, None);
    assert_eq!(from_client.version_information, params.version_information);
}

#[test]
fn wrong_lengths() {
    for (id, value) in [
        (id::ORIGINAL_DESTINATION_CONNECTION_ID, vec![1; 21]),
        (id::INITIAL_SOURCE_CONNECTION_ID, vec![1; 21]),
        (id::STATELESS_RESET_TOKEN, vec![1; 15]),
        (id::STATELESS_RESET_TOKEN, vec![1; 17]),
        (id::DISABLE_ACTIVE_MIGRATION, vec![0]),
        (id::GREASE_QUIC_BIT, vec![0]),
        (id::RESET_STREAM_AT, vec![0]),
        (id::MAX_IDLE_TIMEOUT, vec![]),
        (id::MAX_IDLE_TIMEOUT, vec![1, 0]),
        (id::INITIAL_MAX_DATA, vec![0x80, 0]),
        (id::PREFERRED_ADDRESS, vec![1; 43]),
        (id::PREFERRED_ADDRESS, vec![1; 41]),
        (id::VERSION_INFORMATION, vec![]),
        (id::VERSION_INFORMATION, vec![0, 0, 0, 1, 0, 0, 0]),
    ] {
        fails(Side::Server, id, &[parameter(id, &value)]);
    }
    let error = TransportParameters::decode(Side::Client, &[1, 4, 0]).unwrap_err();
    assert_eq!(error, ParamError { id: None, error: DecodeError::UnexpectedEnd });
}

#[test]
fn preferred_address_without_connection_id() {
    let mut value = vec![1; 24];
    value.push(0);
    value.extend_from_slice(&[2; 16]);
    fails(Side::Server, id::PREFERRED_ADDRESS, &[parameter(id::PREFERRED_ADDRESS, &value)]);
}

#[test]
fn versions() {
    let id = id::VERSION_INFORMATION;
    let part = |versions: &[u32]| {
        let value: Vec<_> = versions.iter().flat_map(|version| version.to_be_bytes()).collect();
        [parameter(id, &value)]
    };
    fails(Side::Server, id, &part(&[0]));
    fails(Side::Server, id, &part(&[1, 1, 0]));
    fails(Side::Client, id, &part(&[1, 2, 3]));
    fails(Side::Client, id, &part(&[1; 130]));
    assert!(decode(Side::Client, &part(&[1; 129])).is_ok());
    assert!(decode(Side::Client, &part(&[1, 2, 1])).is_ok());
    let params = decode(Side::Server, &part(&[1])).unwrap();
    let expected = VersionInformation { chosen: Version::V1, available: Vec::new() };
    assert_eq!(params.version_information, Some(expected));
}

fn every_parameter() -> TransportParameters {
    TransportParameters {
        original_destination_connection_id: Some(cid(&[1; 8])),
        max_idle_timeout: 1,
        stateless_reset_token: Some(ResetToken::new([2; 16])),
        max_udp_payload_size: 1500,
        initial_max_data: 3,
        initial_max_stream_data_bidi_local: 4,
        initial_max_stream_data_bidi_remote: 5,
        initial_max_stream_data_uni: 6,
        initial_max_streams_bidi: 7,
        initial_max_streams_uni: 8,
        ack_delay_exponent: 9,
        max_ack_delay: 10,
        disable_active_migration: true,
        preferred_address: Some(PreferredAddress {
            ipv4: Some(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 443)),
            ipv6: None,
            cid: cid(&[3; 4]),
            reset_token: ResetToken::new([4; 16]),
        }),
        active_connection_id_limit: 11,
        initial_source_connection_id: Some(cid(&[])),
        retry_source_connection_id: Some(cid(&[5; 20])),
        version_information: Some(VersionInformation {
            chosen: Version::V2,
            available: vec![Version::V2, Version::reserved(1), Version::V1],
        }),
        max_datagram_frame_size: 65_535,
        reset_stream_at: true,
        grease_quic_bit: true,
        min_ack_delay: Some(10_000),
        initial_max_path_id: Some(0),
        grease: Some((id::reserved(77), vec![6; 9])),
    }
}

#[test]
fn every_parameter_survives() {
    let params = every_parameter();
    let decoded = TransportParameters::decode(Side::Server, &encoded(&params, Side::Server));
    assert_eq!(decoded, Ok(TransportParameters { grease: None, ..params }));
}

fn connection_id() -> impl Strategy<Value = ConnectionId> {
    prop::collection::vec(any::<u8>(), 0..=20).prop_map(|bytes| cid(&bytes))
}

fn preferred_address() -> impl Strategy<Value = PreferredAddress> {
    let cid = prop::collection::vec(any::<u8>(), 1..=20).prop_map(|bytes| cid(&bytes));
    (any::<Option<(u32, u16)>>(), any::<Option<(u128, u16)>>(), cid, any::<[u8; 16]>()).prop_map(
        |(ipv4, ipv6, cid, token)| PreferredAddress {
            // Port 0 at no address stands for none.
            ipv4: ipv4.map(|(ip, port)| SocketAddrV4::new(Ipv4Addr::from(ip), port | 1)),
            ipv6: ipv6.map(|(ip, port)| SocketAddrV6::new(Ipv6Addr::from(ip), port | 1, 0, 0)),
            cid,
            reset_token: ResetToken::new(token),
        },
    )
}

prop_compose! {
    fn parameters()(
        v in prop::collection::vec((0..=MAX_VARINT, 0..62_u32).prop_map(|(v, s)| v >> s), 8),
        cids in [
            prop::option::of(connection_id()),
            prop::option::of(connection_id()),
            prop::option::of(connection_id()),
        ],
        token: Option<[u8; 16]>,
        preferred_address in prop::option::of(preferred_address()),
        versions in prop::option::of(prop::collection::vec(1..=u32::MAX, 1..9)),
        flags: [bool; 3],
        exponent in 0..=20_u64,
        max_ack_delay in 0..1_u64 << 14,
        min_ack_delay: Option<prop::sample::Index>,
        initial_max_path_id: Option<u32>,
    ) -> TransportParameters {
        TransportParameters {
            original_destination_connection_id: cids[0],
            max_idle_timeout: v[0],
            stateless_reset_token: token.map(ResetToken::new),
            max_udp_payload_size: v[1].max(1200),
            initial_max_data: v[2],
            initial_max_stream_data_bidi_local: v[3],
            initial_max_stream_data_bidi_remote: v[4],
            initial_max_stream_data_uni: v[5],
            initial_max_streams_bidi: v[6] >> 2,
            initial_max_streams_uni: v[7] >> 2,
            ack_delay_exponent: exponent,
            max_ack_delay,
            disable_active_migration: flags[0],
            preferred_address,
            active_connection_id_limit: v[1].max(2),
            initial_source_connection_id: cids[1],
            retry_source_connection_id: cids[2],
            version_information: versions.map(|versions| VersionInformation {
                chosen: Version(versions[0]),
                available: versions.into_iter().map(Version).collect(),
            }),
            max_datagram_frame_size: v[0],
            grease_quic_bit: flags[1],
            reset_stream_at: flags[2],
            min_ack_delay:
                min_ack_delay.map(|index| index.index(max_ack_delay as usize * 1000 + 1) as u64),
            initial_max_path_id: initial_max_path_id.map(u64::from),
            grease: None,
        }
    }
}

proptest! {
    #[test]
    fn round_trip(params in parameters()) {
        let out = encoded(&params, Side::Server);
        prop_assert_eq!(TransportParameters::decode(Side::Server, &out), Ok(params.clone()));
        let out = encoded(&params, Side::Client);
        let from_client = TransportParameters::decode(Side::Client, &out);
        let expected = TransportParameters {
            original_destination_connection_id: None,
            stateless_reset_token: None,
            preferred_address: None,
            retry_source_connection_id: None,
            ..params
        };
        prop_assert_eq!(from_client, Ok(expected));
    }

    /// Nothing panics, and what decodes can be written and decoded again.
    #[test]
    fn arbitrary_bytes(bytes: Vec<u8>) {
        for side in [Side::Client, Side::Server] {
            if let Ok(params) = TransportParameters::decode(side, &bytes) {
                let again = TransportParameters::decode(side, &encoded(&params, side));
                prop_assert_eq!(again, Ok(params));
            }
        }
    }

    /// The same with identifiers that we know.
    #[test]
    fn arbitrary_values(
        parts in prop::collection::vec(
            (0..0x22_u64, prop::collection::vec(any::<u8>(), 0..50)), 0..8),
    ) {
        let bytes: Vec<_> = parts.iter().flat_map(|(id, value)| parameter(*id, value)).collect();
        for side in [Side::Client, Side::Server] {
            if let Ok(params) = TransportParameters::decode(side, &bytes) {
                let again = TransportParameters::decode(side, &encoded(&params, side));
                prop_assert_eq!(again, Ok(params));
            }
        }
    }
}
