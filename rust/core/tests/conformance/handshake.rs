//! Rules broken during the handshake: transport parameters, TLS, Initial and Handshake packets.

use std::sync::Arc;
use std::time::Duration;

use tquic_crypto::Level;
use tquic_wire::params::VersionInformation;
use tquic_wire::{
    ConnectionId, Frame, Side, TransportErrorCode as Code, TransportParameters, Version,
};

use crate::rogue::arena::{Arena, LEVELS};
use crate::rogue::{Draft, bytes, client_tls, varints};
use crate::{ANY, violations};

const UNEXPECTED_MESSAGE: Code = Code::crypto(10);
const MISSING_EXTENSION: Code = Code::crypto(109);
const NO_APPLICATION_PROTOCOL: Code = Code::crypto(120);

/// The extensions that carry the transport parameters in RFC 9001, in its drafts, and ALPN.
const PARAMETERS: u16 = 0x39;
const DRAFT_PARAMETERS: u16 = 0xffa5;
const ALPN: u16 = 16;

/// A handshake with these parameters of the rogue's.
fn parameters(a: &mut Arena, change: fn(&mut TransportParameters)) {
    a.script.parameters = Box::new(change);
    a.try_handshake();
}

/// A handshake in which one encoded parameter is added.
fn and_parameter(a: &mut Arena, id: u64, value: &'static [u8]) {
    a.script.encoded = Box::new(move |out| {
        out.extend_from_slice(&varints(&[id, value.len() as u64]));
        out.extend_from_slice(value);
    });
    a.try_handshake();
}

/// Where the list of extensions begins in a ClientHello or EncryptedExtensions message.
fn extensions_at(message: &[u8]) -> usize {
    if message[0] == 8 {
        return 4;
    }
    assert_eq!(message[0], 1);
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(message[at]);
    at += 2 + usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    at + 1 + usize::from(message[at])
}

fn u16_at(message: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([message[at], message[at + 1]])
}

/// Takes an extension out of the first message in `message`, or gives it another number.
fn change_extension(message: &mut Vec<u8>, ty: u16, other: Option<u16>) {
    let list = extensions_at(message);
    let mut at = list + 2;
    while u16_at(message, at) != ty {
        at += 4 + usize::from(u16_at(message, at + 2));
    }
    if let Some(other) = other {
        message[at..at + 2].copy_from_slice(&other.to_be_bytes());
        return;
    }
    let len = 4 + u16_at(message, at + 2);
    message.drain(at..at + usize::from(len));
    let rest = u16_at(message, list) - len;
    message[list..list + 2].copy_from_slice(&rest.to_be_bytes());
    let whole = u16_at(message, 2) - len;
    message[2..4].copy_from_slice(&whole.to_be_bytes());
}

/// A handshake in which an extension of the ClientHello or the EncryptedExtensions is changed.
fn extension(a: &mut Arena, ty: u16, other: Option<u16>) {
    let level = if a.under.is_client() { Level::Handshake } else { Level::Initial };
    a.script.tls_bytes = Box::new(move |at, message| {
        if at == level && matches!(message.first(), Some(1 | 8)) {
            change_extension(message, ty, other);
        }
    });
    a.try_handshake();
}

fn tls_message(a: &mut Arena, level: Level, data: &[u8]) {
    let offset = a.rogue().crypto_offset(level);
    a.send_at(level, &bytes(&[Frame::Crypto { offset, data }]));
}

violations! {
    /// RFC 9000 section 7.3.
    h3spec_03_no_initial_source_connection_id [Server, Client] Fresh |a| {
        parameters(a, |p| p.initial_source_connection_id = None);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 18.2.
    h3spec_04_original_destination_connection_id_from_a_client [Server] Fresh |a| {
        and_parameter(a, 0x00, b"original");
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 18.2.
    h3spec_05_preferred_address_from_a_client [Server] Fresh |a| {
        and_parameter(a, 0x0d, &[8; 4 + 2 + 16 + 2 + 1 + 8 + 16]);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 18.2.
    h3spec_06_retry_source_connection_id_from_a_client [Server] Fresh |a| {
        and_parameter(a, 0x10, b"original");
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 18.2.
    h3spec_07_stateless_reset_token_from_a_client [Server] Fresh |a| {
        and_parameter(a, 0x02, &[7; 16]);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 sections 7.4 and 18.2.
    h3spec_08_max_udp_payload_size_1090 [Server, Client] Fresh |a| {
        parameters(a, |p| p.max_udp_payload_size = 1090);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 18.2.
    h3spec_09_ack_delay_exponent_30 [Server, Client] Fresh |a| {
        parameters(a, |p| p.ack_delay_exponent = 30);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 18.2.
    h3spec_10_max_ack_delay_2_15 [Server, Client] Fresh |a| {
        parameters(a, |p| p.max_ack_delay = 1 << 15);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 17.2.
    h3spec_13_reserved_bits_of_handshake_packets [Server, Client] Handshaking |a| {
        a.send_draft(Draft { first_bits: 0x0c, ..Draft::new(Level::Handshake, vec![1]) });
    } => Code::PROTOCOL_VIOLATION, 0;

    reserved_bits_of_initial_packets [Server, Client] Handshaking |a| {
        a.send_draft(Draft { first_bits: 0x0c, ..Draft::new(Level::Initial, vec![1]) });
    } => Code::PROTOCOL_VIOLATION, 0;

    /// RFC 9000 sections 12.5 and 17.2.4.
    h3spec_14_path_challenge_in_a_handshake_packet [Server, Client] Handshaking |a| {
        a.send_at(Level::Handshake, &bytes(&[Frame::PathChallenge([7; 8])]));
    } => Code::PROTOCOL_VIOLATION, 0x1a;

    /// RFC 9001 section 6.
    h3spec_28_tls_key_update_in_the_handshake [Server, Client] Handshaking |a| {
        tls_message(a, Level::Handshake, &[24, 0, 0, 1, 0]);
    } => UNEXPECTED_MESSAGE, ANY;

    /// RFC 9001 section 8.1.
    h3spec_30_unknown_application_protocol [Server] Fresh |a| {
        let other = client_tls().alpn(&["other"]).build().unwrap();
        a.script.client_tls = Arc::new(other);
        a.try_handshake();
    } => NO_APPLICATION_PROTOCOL, ANY;

    /// RFC 9001 section 8.1.
    no_application_protocol_chosen [Client] Fresh |a| {
        extension(a, ALPN, None);
    } => NO_APPLICATION_PROTOCOL, ANY;

    /// RFC 9001 section 8.2.
    h3spec_31_no_transport_parameters [Server, Client] Fresh |a| {
        extension(a, PARAMETERS, None);
    } => MISSING_EXTENSION, ANY;

    /// RFC 9001 section 8.2.
    h3spec_32_transport_parameters_of_a_draft [Server] Fresh |a| {
        extension(a, PARAMETERS, Some(DRAFT_PARAMETERS));
    } => MISSING_EXTENSION, ANY;

    /// RFC 9001 section 8.3.
    h3spec_33_end_of_early_data [Server, Client] Handshaking |a| {
        tls_message(a, Level::Handshake, &[5, 0, 0, 0]);
    } => UNEXPECTED_MESSAGE, ANY;

    /// RFC 9000 section 7.3.
    initial_source_connection_id_of_somebody_else [Server, Client] Fresh |a| {
        parameters(a, |p| p.initial_source_connection_id = ConnectionId::new(b"stranger"));
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    no_original_destination_connection_id [Client] Fresh |a| {
        parameters(a, |p| p.original_destination_connection_id = None);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    original_destination_connection_id_of_somebody_else [Client] Fresh |a| {
        parameters(a, |p| p.original_destination_connection_id = ConnectionId::new(b"stranger"));
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 7.3.
    retry_source_connection_id_without_a_retry [Client] Fresh |a| {
        parameters(a, |p| p.retry_source_connection_id = ConnectionId::new(b"stranger"));
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 18.2.
    active_connection_id_limit_1 [Server, Client] Fresh |a| {
        parameters(a, |p| p.active_connection_id_limit = 1);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 4.6.
    initial_max_streams_above_2_60 [Server, Client] Fresh |a| {
        parameters(a, |p| p.initial_max_streams_uni = (1 << 60) + 1);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 7.4.
    parameter_sent_twice [Server, Client] Fresh |a| {
        and_parameter(a, 0x04, &[1]);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    parameter_longer_than_its_value [Server, Client] Fresh |a| {
        and_parameter(a, 0x01, &[1, 1]);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    parameters_cut_short [Server, Client] Fresh |a| {
        a.script.encoded = Box::new(|out| out.extend_from_slice(&[0x01, 20]));
        a.try_handshake();
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    min_ack_delay_above_max_ack_delay [Server, Client] Fresh |a| {
        parameters(a, |p| p.min_ack_delay = Some(p.max_ack_delay * 1000 + 1));
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// draft-ietf-quic-reliable-stream-reset-10 section 3.
    reset_stream_at_with_a_value [Server, Client] Fresh |a| {
        and_parameter(a, 0x1d, &[1]);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    initial_max_path_id_2_32 [Server, Client] Fresh |a| {
        parameters(a, |p| p.initial_max_path_id = Some(1 << 32));
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 18.2.
    preferred_address_without_a_connection_id [Client] Fresh |a| {
        and_parameter(a, 0x0d, &[0; 4 + 2 + 16 + 2 + 1 + 16]);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    preferred_address_beside_an_empty_connection_id [Client] Fresh |a| {
        a.script.scid = ConnectionId::EMPTY;
        and_parameter(a, 0x0d, &[8; 4 + 2 + 16 + 2 + 1 + 8 + 16]);
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    chosen_version_is_not_that_of_the_packets [Server, Client] Fresh |a| {
        parameters(a, |p| {
            let available = vec![Version::V1, Version::V2];
            p.version_information =
                Some(VersionInformation { chosen: Version::V2, available });
        });
    } => Code::VERSION_NEGOTIATION_ERROR, 0x06;

    chosen_version_is_not_available [Server] Fresh |a| {
        parameters(a, |p| {
            let available = vec![Version::V2];
            p.version_information =
                Some(VersionInformation { chosen: Version::V1, available });
        });
    } => Code::TRANSPORT_PARAMETER_ERROR, 0x06;

    /// RFC 9000 section 12.5.
    stream_in_an_initial_packet [Server, Client] Handshaking |a| {
        a.send_at(Level::Initial, &[0x0a, 0, 1, 7]);
    } => Code::PROTOCOL_VIOLATION, 0x0a;

    max_data_in_a_handshake_packet [Server, Client] Handshaking |a| {
        a.send_at(Level::Handshake, &bytes(&[Frame::MaxData(1)]));
    } => Code::PROTOCOL_VIOLATION, 0x10;

    datagram_in_a_handshake_packet [Server, Client] Handshaking |a| {
        a.send_at(Level::Handshake, &bytes(&[Frame::Datagram { data: b"x" }]));
    } => Code::PROTOCOL_VIOLATION, 0x31;

    handshake_done_in_a_handshake_packet [Server, Client] Handshaking |a| {
        a.send_at(Level::Handshake, &bytes(&[Frame::HandshakeDone]));
    } => Code::PROTOCOL_VIOLATION, 0x1e;

    /// RFC 9000 section 12.5.
    application_close_in_an_initial_packet [Server, Client] Handshaking |a| {
        a.send_at(Level::Initial, &[0x1d, 0, 0]);
    } => Code::PROTOCOL_VIOLATION, 0x1d;

    application_close_in_a_handshake_packet [Server, Client] Handshaking |a| {
        a.send_at(Level::Handshake, &[0x1d, 0, 0]);
    } => Code::PROTOCOL_VIOLATION, 0x1d;

    unknown_frame_type_in_a_handshake_packet [Server, Client] Handshaking |a| {
        a.send_at(Level::Handshake, &[0x20]);
    } => Code::FRAME_ENCODING_ERROR, 0x20;

    /// RFC 9000 section 12.4.
    handshake_packet_without_frames [Server, Client] Handshaking |a| {
        a.send_at(Level::Handshake, &[]);
    } => Code::PROTOCOL_VIOLATION, 0;

    first_packet_without_frames [Server] Fresh |a| {
        a.begin();
        a.send_draft(Draft { padded: false, ..Draft::new(Level::Initial, vec![]) });
        assert_eq!(a.closed(), None, "smaller datagrams are not looked at");
        // Padding of the datagram, behind the packet.
        let draft = Draft { padded: false, ..Draft::new(Level::Initial, vec![]) };
        let mut datagram = a.rogue().seal(draft);
        datagram.resize(1200, 0);
        a.deliver(&datagram);
    } => Code::PROTOCOL_VIOLATION, 0;

    /// RFC 9000 section 13.1.
    ack_of_an_initial_packet_never_sent [Server, Client] Handshaking |a| {
        a.send_at(Level::Initial, &varints(&[0x02, 1000, 0, 0, 0]));
    } => Code::PROTOCOL_VIOLATION, 0x02;

    /// RFC 9000 section 7.5.
    initial_crypto_data_far_ahead [Server, Client] Fresh |a| {
        a.begin();
        a.send_at(Level::Initial, &bytes(&[Frame::Crypto { offset: 1_000_000, data: b"x" }]));
    } => Code::CRYPTO_BUFFER_EXCEEDED, 0x06;

    handshake_crypto_data_far_ahead [Server, Client] Handshaking |a| {
        a.send_at(Level::Handshake, &bytes(&[Frame::Crypto { offset: 1_000_000, data: b"x" }]));
    } => Code::CRYPTO_BUFFER_EXCEEDED, 0x06;

    /// RFC 9001 section 4.1.3: a level that is done gets no more data.
    more_initial_crypto_data_when_that_level_is_done [Server, Client] Handshaking |a| {
        tls_message(a, Level::Initial, b"more");
    } => Code::PROTOCOL_VIOLATION, 0x06;

    /// RFC 9001 section 4.1.3: nor may any be left there.
    initial_crypto_data_left_over [Server, Client] Fresh |a| {
        a.begin();
        let end = a.rogue().crypto_data(Level::Initial).len() as u64;
        a.send_at(Level::Initial, &bytes(&[Frame::Crypto { offset: end + 10, data: b"left" }]));
        a.flush(&LEVELS);
    } => Code::PROTOCOL_VIOLATION, 0x06;

    handshake_crypto_data_left_over [Server, Client] Handshaking |a| {
        let end = a.rogue().crypto_data(Level::Handshake).len() as u64;
        a.send_at(Level::Handshake, &bytes(&[Frame::Crypto { offset: end + 10, data: b"left" }]));
        a.flush(&LEVELS);
    } => Code::PROTOCOL_VIOLATION, 0x06;

    /// RFC 9001 section 4.8.
    finished_that_does_not_verify [Server] Fresh |a| {
        a.script.tls_bytes = Box::new(|level, message| {
            if level == Level::Handshake && message.first() == Some(&20) {
                let last = message.len() - 1;
                message[last] ^= 1;
            }
        });
        a.try_handshake();
    } => Code::crypto(51), ANY;
}

/// RFC 9002 section 6.2.4: both datagrams of a probe timeout carry the ClientHello. A server may get
/// either of them first, and some refuse an Initial packet without CRYPTO frames.
#[test]
fn every_probe_of_the_first_flight_carries_data() {
    let mut a = Arena::new(Side::Client);
    a.begin();
    let flight = a.sent.len();
    a.advance(Duration::from_secs(4));
    assert!(a.sent.len() >= flight + 4, "two timeouts: {}", a.sent.len());
    for heard in &a.rogue().heard {
        let carries = heard.frames().iter().any(|f| matches!(f, Frame::Crypto { .. }));
        assert!(carries, "packet {}: {:?}", heard.pn, heard.frames());
    }
}
