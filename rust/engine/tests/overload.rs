//! A program that does not look: what the shard refuses meanwhile, and what goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Identity, LONG, engine};
use tquic_core::config::TransportConfig;
use tquic_core::events::ConnectionError;
use tquic_engine::bridge::{Bridge, BridgeConnection, BridgeEvent, EventKind, Gate, Refusal};
use tquic_engine::{ConnectRequest, Engine, ListenRequest};
use tquic_wire::{Direction, StreamId, TransportErrorCode};

/// A server whose gate is shut, from its second look on, whenever more than one event waits: any
/// delay is too long.
struct Server {
    engine: Engine,
    bridge: Bridge,
    gate: Arc<Gate>,
    request: ConnectRequest,
}

impl Server {
    fn new() -> Self {
        let (engine, bridge, identity) = (engine(1), Bridge::new().unwrap(), Identity::new());
        let gate = bridge.gate(Duration::ZERO);
        let refusal = Refusal { gate: gate.clone(), answer: Bytes::from_static(b"busy"), code: 7 };
        let transport = TransportConfig::default();
        let acceptor = bridge.acceptor(&transport, Some(refusal));
        let accept = identity.accept(transport);
        let listen = ListenRequest::new("127.0.0.1:0".parse().unwrap(), accept);
        let listen = ListenRequest { gate: Some(gate.clone()), ..listen };
        let listening = engine.listen(&listen, acceptor).unwrap();
        let request = identity.request(listening.addresses[0], None);
        Self { engine, bridge, gate, request }
    }
}

/// Takes events one after another until `wanted` picks one.
fn wait<T>(bridge: &Bridge, wanted: impl Fn(&EventKind) -> Option<T>) -> T {
    let start = Instant::now();
    let mut seen = Vec::new();
    while start.elapsed() < LONG {
        bridge.wait(Some(Duration::from_millis(100)));
        for BridgeEvent { kind, .. } in bridge.poll_events(1) {
            if let Some(found) = wanted(&kind) {
                return found;
            }
            seen.push(kind);
        }
    }
    panic!("not among {seen:?}");
}

fn connected(event: &EventKind) -> Option<()> {
    matches!(event, EventKind::Connected(_)).then_some(())
}

fn ask(connection: &BridgeConnection) -> StreamId {
    let id = connection.open(Direction::Bidirectional).unwrap();
    connection.write_last(id, Bytes::from_static(b"request")).unwrap();
    id
}

#[test]
fn what_is_new_is_refused_while_too_much_waits_and_then_no_more() {
    let Server { engine: far, bridge, gate, request } = Server::new();
    let (near, client) = (engine(1), Bridge::new().unwrap());
    let connection = client.connect(&near, request.clone()).unwrap();
    wait(&client, connected);
    wait(&bridge, connected);

    // The program does not look: one request comes to wait, and is more than one event.
    let first = ask(&connection);
    let start = Instant::now();
    while !gate.is_shut() {
        assert!(start.elapsed() < LONG);
        std::thread::yield_now();
    }
    let second = ask(&connection);
    let (answer, fin) = wait(&client, |event| match event {
        EventKind::Data { stream, data, fin } if *stream == second => Some((data.clone(), *fin)),
        _ => None,
    });
    assert_eq!((&answer[..], fin), (&b"busy"[..], true));
    let stranger = client.connect(&near, request.clone()).unwrap();
    let error = wait(&client, |event| match event {
        EventKind::Closed(error) => Some(error.clone()),
        _ => None,
    });
    let ConnectionError::Peer(error) = error else { panic!("{error:?}") };
    assert_eq!(error.code, TransportErrorCode::CONNECTION_REFUSED);
    drop(stranger);
    let stats = far.stats().unwrap();
    assert_eq!((stats[0].refused_streams, stats[0].endpoint.refused), (1, 1));

    // It looks again: the first request is whole, the second one is told and nothing of it.
    wait(&bridge, |event| match event {
        EventKind::StreamOpened { stream } if *stream == first => Some(()),
        _ => None,
    });
    let first_data = wait(&bridge, |event| match event {
        EventKind::Data { stream, data, fin } => Some((*stream, data.clone(), *fin)),
        _ => None,
    });
    assert_eq!(first_data, (first, Bytes::from_static(b"request"), true));
    let refused = wait(&bridge, |event| match event {
        EventKind::Refused { stream } => Some(*stream),
        _ => None,
    });
    assert_eq!(refused, second);
    // And there is room for others.
    while !bridge.poll_events(1000).is_empty() {}
    let third = ask(&connection);
    let opened = wait(&bridge, |event| match event {
        EventKind::StreamOpened { stream } => Some(*stream),
        EventKind::Data { stream, .. } | EventKind::Finished { stream } => {
            panic!("{stream:?} was refused")
        }
        _ => None,
    });
    assert_eq!(opened, third);
    while !bridge.poll_events(1000).is_empty() {}
    let another = client.connect(&near, request).unwrap();
    wait(&client, connected);
    wait(&bridge, connected);
    drop((connection, another));
}
