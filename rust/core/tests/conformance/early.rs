//! Rules broken in 0-RTT packets, and by servers that take back what they promised for 0-RTT.

use std::sync::Arc;

use tquic_core::handshake::ZeroRtt;
use tquic_crypto::Level;
use tquic_wire::{ConnectionId, Frame, Side, TransportErrorCode as Code, TransportParameters};

use crate::rogue::arena::Arena;
use crate::rogue::{bytes, client_tls, server_tls};
use crate::violations;

/// An arena whose client holds a ticket for early data, and nothing else is left of the connection
/// that gave it.
fn with_ticket(under: Side) -> Arena {
    let tls = Arc::new(server_tls().early_data(true).build().unwrap());
    let mut a = Arena::with(under, crate::rogue::arena::quiet(), |mut accept| {
        accept.tls = tls.clone();
        accept
    });
    a.script.server_tls = tls;
    a.script.client_tls = Arc::new(client_tls().early_data(true).build().unwrap());
    a.handshake();
    a.rogue = None;
    a.handle = None;
    a.script.scid = ConnectionId::new(b"rogue-02").unwrap();
    a.script.first_dcid = ConnectionId::new(b"original2").unwrap();
    a
}

/// A server that has read a ClientHello with early data gets this payload in a 0-RTT packet.
fn early(a: &mut Arena, payload: &[u8]) {
    *a = with_ticket(Side::Server);
    a.begin();
    assert!(a.rogue().can_send(Level::ZeroRtt), "no early data");
    a.flush(&[Level::Initial]);
    assert_eq!(a.connection().handshake().zero_rtt(), ZeroRtt::Accepted);
    a.send_at(Level::ZeroRtt, payload);
}

/// A client that sent early data meets a server that accepts it with these parameters.
fn lowered(a: &mut Arena, change: fn(&mut TransportParameters)) {
    *a = with_ticket(Side::Client);
    a.script.parameters = Box::new(change);
    a.try_handshake();
}

violations! {
    /// RFC 9000 section 12.5 and RFC 9001 section 8.3.
    h3spec_34_crypto_in_0rtt [Server] Fresh |a| {
        early(a, &bytes(&[Frame::Crypto { offset: 0, data: b"x" }]));
    } => Code::PROTOCOL_VIOLATION, 0x06;

    ack_in_0rtt [Server] Fresh |a| early(a, &[0x02, 0, 0, 0, 0])
        => Code::PROTOCOL_VIOLATION, 0x02;

    handshake_done_in_0rtt [Server] Fresh |a| early(a, &[0x1e])
        => Code::PROTOCOL_VIOLATION, 0x1e;

    new_token_in_0rtt [Server] Fresh |a| early(a, &bytes(&[Frame::NewToken { token: b"x" }]))
        => Code::PROTOCOL_VIOLATION, 0x07;

    path_response_in_0rtt [Server] Fresh |a| early(a, &bytes(&[Frame::PathResponse([1; 8])]))
        => Code::PROTOCOL_VIOLATION, 0x1b;

    /// RFC 9000 section 12.5.
    retire_connection_id_in_0rtt [Server] Fresh |a| {
        early(a, &bytes(&[Frame::RetireConnectionId { path: None, sequence: 0 }]));
    } => Code::PROTOCOL_VIOLATION, 0x19;

    unknown_frame_type_in_0rtt [Server] Fresh |a| early(a, &[0x20])
        => Code::FRAME_ENCODING_ERROR, 0x20;

    no_frames_in_0rtt [Server] Fresh |a| early(a, &[]) => Code::PROTOCOL_VIOLATION, 0;

    /// RFC 9000 section 7.4.1, for each parameter that may not be lowered.
    lowered_active_connection_id_limit [Client] Fresh |a| {
        lowered(a, |p| p.active_connection_id_limit -= 1);
    } => Code::PROTOCOL_VIOLATION, 0x06;

    /// RFC 9000 section 7.4.1.
    lowered_initial_max_data [Client] Fresh |a| lowered(a, |p| p.initial_max_data -= 1)
        => Code::PROTOCOL_VIOLATION, 0x06;

    lowered_stream_data_bidi_local [Client] Fresh |a| {
        lowered(a, |p| p.initial_max_stream_data_bidi_local -= 1);
    } => Code::PROTOCOL_VIOLATION, 0x06;

    lowered_stream_data_bidi_remote [Client] Fresh |a| {
        lowered(a, |p| p.initial_max_stream_data_bidi_remote -= 1);
    } => Code::PROTOCOL_VIOLATION, 0x06;

    lowered_stream_data_uni [Client] Fresh |a| {
        lowered(a, |p| p.initial_max_stream_data_uni -= 1);
    } => Code::PROTOCOL_VIOLATION, 0x06;

    lowered_streams_bidi [Client] Fresh |a| lowered(a, |p| p.initial_max_streams_bidi -= 1)
        => Code::PROTOCOL_VIOLATION, 0x06;

    lowered_streams_uni [Client] Fresh |a| lowered(a, |p| p.initial_max_streams_uni -= 1)
        => Code::PROTOCOL_VIOLATION, 0x06;

    /// RFC 9221 section 3.
    lowered_max_datagram_frame_size [Client] Fresh |a| {
        lowered(a, |p| p.max_datagram_frame_size -= 1);
    } => Code::PROTOCOL_VIOLATION, 0x06;
}

/// RFC 9000 section 17.2.3.
#[test]
fn early_data_is_taken_when_the_rules_are_kept() {
    let mut a = Arena::new(Side::Server);
    early(&mut a, &[0x0b, 0, 1, 7]);
    assert_eq!(a.closed(), None);
    a.try_handshake();
    assert_eq!(a.closed(), None);
    let chunk = a.connection().streams().read(tquic_wire::StreamId(0), 10).unwrap().unwrap();
    assert_eq!((chunk.data.as_ref(), chunk.fin), (&[7][..], true));

    let mut a = with_ticket(Side::Client);
    a.try_handshake();
    assert_eq!(a.closed(), None);
    assert_eq!(a.connection().handshake().zero_rtt(), ZeroRtt::Accepted);
}
