//! Bugs that the simulator found, each by a name that says what was wrong.

#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod pair;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pair::Pair;
use tquic_core::ConnectionHandle;
use tquic_core::config::{AcceptConfig, RetryPolicy, TransportConfig};
use tquic_core::events::{ConnectionError, Event};
use tquic_core::stream::StreamEvent;
use tquic_crypto::{ClientConfig, ServerConfig};
use tquic_wire::header::{self, Long};
use tquic_wire::{Direction, PacketType, StreamId, TransportErrorCode, Version};

const SEC: Duration = Duration::from_secs(1);

fn client_writes(p: &mut Pair, h: ConnectionHandle, len: usize) -> StreamId {
    let streams = p.client_conn(h).streams();
    let id = streams.open(Direction::Unidirectional).unwrap();
    streams.write(id, Bytes::from(vec![7; len])).unwrap();
    streams.finish(id).unwrap();
    id
}

fn server_writes(p: &mut Pair, len: usize) -> StreamId {
    let streams = p.server_conn().streams();
    let id = streams.open(Direction::Unidirectional).unwrap();
    streams.write(id, Bytes::from(vec![7; len])).unwrap();
    streams.finish(id).unwrap();
    id
}

fn is_acked(events: &[(ConnectionHandle, Event)], id: StreamId) -> bool {
    events.iter().any(|(_, e)| *e == Event::Stream(StreamEvent::Finished { id }))
}

#[test]
fn a_max_ack_delay_of_zero_can_be_asked_for() {
    let none = TransportConfig { max_ack_delay: Duration::ZERO, ..TransportConfig::default() };
    let mut p = Pair::with(none.clone(), none, |a| a);
    let h = p.establish();
    let id = client_writes(&mut p, h, 300_000);
    assert!(p.run_until(10 * SEC, |p| is_acked(&p.client.events, id)), "{:?}", p.client.events);
}

#[test]
fn a_server_that_closes_and_may_send_no_more_tells_as_soon_as_it_may() {
    let mut p = Pair::new();
    p.connect();
    assert!(p.run_until(SEC, |p| !p.accepted.is_empty()));
    // More than three times what the client has sent.
    server_writes(&mut p, 100_000);
    let now = p.now;
    p.step(now);
    p.server_conn().close(now, 7, b"");
    let told = p.run_until(10 * SEC, |p| p.client.events.iter().any(|(_, e)| is_end(e)));
    assert!(told, "{:?}", p.client.events);
    // RFC 9000 section 10.2.3: in the handshake the application's code is not told.
    let closed = p.client.take_events().into_iter().find(is_end);
    assert!(
        matches!(&closed, Some(Event::Closed(ConnectionError::Peer(e)))
            if e.code == TransportErrorCode::APPLICATION_ERROR),
        "{closed:?}"
    );
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Closed(_))
}

#[test]
fn a_server_that_may_send_again_begins_with_what_was_lost() {
    let mut p = Pair::new();
    let h = p.connect();
    // All that three times what the client has sent allows.
    p.server.meddler = Some(Box::new(|_, n| n > 6));
    assert!(p.run_until(SEC, |p| !p.accepted.is_empty()));
    server_writes(&mut p, 100_000);
    // The client asks again after a second, and one of its two probes is lost.
    p.client.meddler = Some(Box::new(|_, n| n != 4));
    let done = p.run_until(SEC + SEC / 10, |p| p.client_conn(h).handshake().is_confirmed());
    assert!(done, "{:?} sent {}", p.now, p.server.sent);
}

#[test]
fn a_sender_that_may_not_send_does_not_wake_up_for_it() {
    let mut p = Pair::new();
    let h = p.establish();
    // The client appears elsewhere and hears nothing more: the server may challenge it three times
    // the few bytes it sends there.
    p.client.meddler = Some(Box::new(|d, _| {
        d.from.set_port(61111);
        true
    }));
    p.server.meddler = Some(Box::new(|_, _| false));
    server_writes(&mut p, 100_000);
    p.client_conn(h).ping();
    // Pair panics when time stands still.
    p.run_until(20 * SEC, |_| false);
}

#[test]
fn the_datagram_from_a_new_address_counts_for_what_may_be_sent_there() {
    let mut p = Pair::new();
    let h = p.establish();
    p.run_until(SEC, |_| false);
    p.client.meddler = Some(Box::new(|d, _| {
        d.from.set_port(61111);
        true
    }));
    p.server.meddler = Some(Box::new(|d, _| {
        // To the old address nothing gets through.
        let reached = d.to.port() == 61111;
        d.to.set_port(50000);
        reached
    }));
    p.client_conn(h).ping();
    let began = p.now;
    let delay = p.delay;
    assert!(p.run_until(SEC, |p| {
        p.server.events.iter().any(|(_, e)| matches!(e, Event::Migrated(_)))
    }));
    // There, challenged, answered, challenged in full size, answered.
    assert!(p.now - began <= delay * 6, "{:?}", p.now - began);
}

/// A certificate that fills several datagrams.
fn large_identity() -> (String, String) {
    let names: Vec<String> = (0..200).map(|i| format!("name-{i}-of-many.example.test")).collect();
    let names = [vec!["localhost".to_owned()], names].concat();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn application_data_in_flight_does_not_hold_up_the_handshake() {
    // The server fills its window with data that the client cannot read before the rest of the
    // handshake, parts of which are lost.
    let (certificate, key) = large_identity();
    let server = ServerConfig::builder()
        .certificate(certificate.as_bytes(), key.as_bytes())
        .and_then(|b| b.alpn(&["test"]).build())
        .unwrap();
    let client =
        ClientConfig::builder().roots(certificate.as_bytes()).unwrap().alpn(&["test"]).build();
    let (server, client) = (Arc::new(server), Arc::new(client.unwrap()));
    for pattern in 0..200_u64 {
        let patient = TransportConfig { handshake_timeout: 60 * SEC, ..TransportConfig::default() };
        let mut p = Pair::with(patient.clone(), patient, |mut a| {
            a.tls = server.clone();
            a
        });
        p.client_tls = client.clone();
        let h = p.connect();
        let lost = pattern.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let mut long = 0;
        p.server.meddler = Some(Box::new(move |d, _| {
            let handshake = d.data.first().is_some_and(|first| header::is_long(*first));
            long += u32::from(handshake);
            !handshake || long > 24 || lost >> long & 1 == 0
        }));
        let mut id = None;
        let done = p.run_until(29 * SEC, |p| {
            let ready = !p.accepted.is_empty() && p.server_conn().handshake().suite().is_some();
            if id.is_none() && ready {
                id = Some(server_writes(p, 200_000));
            }
            id.is_some_and(|id| is_acked(&p.server.events, id))
        });
        assert!(done, "pattern {pattern}: {:?}", p.client_conn(h).path(0).unwrap().stats());
    }
}

#[test]
fn handshake_packets_in_flight_do_not_hold_up_the_server_hello() {
    for lost in 1..24 {
        let mut p = Pair::new();
        let h = p.connect();
        p.server.meddler = Some(Box::new(move |d, n| {
            n > lost
                || !matches!(
                    header::parse_long(&d.data),
                    Ok(Long::Protected(h)) if h.ty == PacketType::Initial && h.packet_len > 90
                )
        }));
        let done = p.run_until(100 * SEC, |p| {
            p.client.endpoint.peek(h).is_some_and(|c| c.handshake().is_confirmed())
        });
        assert!(done, "{lost} lost");
    }
}

#[test]
fn the_version_may_change_after_an_acknowledgement_in_the_original_one() {
    let config = |versions: &[Version]| TransportConfig {
        versions: versions.to_vec(),
        ..TransportConfig::default()
    };
    let client = config(&[Version::V2, Version::V1]);
    let mut p = Pair::with(client, config(&[Version::V1, Version::V2]), |a| a);
    // The ClientHello takes two datagrams. The second is late, so that the server acknowledges the
    // first before it knows what else the client speaks.
    p.client.meddler = Some(Box::new(|d, n| {
        if n == 2 {
            d.arrives += Duration::from_millis(5);
        }
        true
    }));
    let h = p.establish();
    assert_eq!(p.client_conn(h).version(), Version::V1);
    assert_eq!(p.server_conn().version(), Version::V1);
}

#[test]
fn an_answer_that_ends_a_move_may_come_from_elsewhere() {
    let mut p = Pair::new();
    let h = p.establish();
    p.run_until(SEC, |_| false);
    // One datagram comes from another port, the answer to the challenge it causes from the old one.
    let mut moved = false;
    p.client.meddler = Some(Box::new(move |d, _| {
        if !core::mem::replace(&mut moved, true) {
            d.from.set_port(61111);
        }
        true
    }));
    p.server.meddler = Some(Box::new(|d, _| {
        d.to.set_port(50000);
        true
    }));
    p.client_conn(h).ping();
    p.run_until(SEC, |_| false);
    let id = client_writes(&mut p, h, 100_000);
    assert!(p.run_until(10 * SEC, |p| is_acked(&p.client.events, id)));
    assert_eq!(p.server_conn().path(0).unwrap().active().addresses.remote.port(), 50000);
}

#[test]
fn closed_is_the_last_event() {
    let mut p = Pair::new();
    let h = p.establish();
    p.run_until(SEC, |_| false);
    p.client.events.clear();
    p.server.events.clear();
    client_writes(&mut p, h, 10_000);
    // Both leave in the same flight, so that they are read together.
    let now = p.now;
    p.run_until(Duration::ZERO, |_| false);
    p.client_conn(h).close(now, 0, b"");
    p.run_until(5 * SEC, |_| false);
    let events = p.server.take_events();
    let end = events.iter().position(|e| matches!(e, Event::Closed(_)));
    assert_eq!(end, Some(events.len() - 1), "{events:?}");
}

#[test]
fn a_peer_that_is_still_heard_is_asked_for_its_address_again() {
    let mut p = Pair::new();
    let h = p.establish();
    // It moves twice. Longer than validations last, every challenge is lost; it speaks all the while.
    p.server.meddler = Some(Box::new(|_, _| false));
    for half_seconds in 0..12 {
        let port = if half_seconds < 2 { 61111 } else { 61112 };
        p.client.meddler = Some(Box::new(move |d, _| {
            d.from.set_port(port);
            true
        }));
        client_writes(&mut p, h, 10);
        p.run_until(SEC / 2, |_| false);
    }
    p.server.meddler = Some(Box::new(|d, _| {
        d.to.set_port(50000);
        true
    }));
    let id = client_writes(&mut p, h, 10);
    assert!(p.run_until(10 * SEC, |p| is_acked(&p.client.events, id)), "{:?}", p.server.events);
    let moved = |(_, e): &(ConnectionHandle, Event)| match e {
        Event::Migrated(a) => a.remote.port() == 61112,
        _ => false,
    };
    assert!(p.run_until(10 * SEC, |p| p.server.events.iter().any(moved)), "{:?}", p.server.events);
}

#[test]
fn a_late_probe_with_a_retry_token_begins_nothing() {
    let config = TransportConfig::default();
    let mut p =
        Pair::with(config.clone(), config, |a| AcceptConfig { retry: RetryPolicy::Always, ..a });
    let firsts = Rc::new(RefCell::new(Vec::new()));
    let seen = firsts.clone();
    p.client.meddler = Some(Box::new(move |d, _| {
        if d.data.first().is_some_and(|first| first & 0xf0 == 0xc0) {
            seen.borrow_mut().push(d.clone());
        }
        true
    }));
    p.establish();
    p.run_until(SEC, |_| false);
    assert_eq!(p.accepted.len(), 1);
    // The server has forgotten the connection ID of these by now.
    let late = firsts.borrow().clone();
    assert!(late.len() >= 2);
    p.client.meddler = None;
    for datagram in late {
        p.inject(datagram);
        p.run_until(SEC, |_| false);
    }
    assert_eq!(p.accepted.len(), 1);
    assert_eq!(p.server.endpoint.len(), 1);
}
