//! Many connections, several shards, listeners that come and go, panics, the end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{Identity, LONG, Server, engine, listen, log};
use tquic_core::config::TransportConfig;
use tquic_core::events::{ConnectionError, Event};
use tquic_core::stream::StreamEvent;
use tquic_core::time::Instant;
use tquic_engine::perf::{self, Bulk, ClientOptions, Requests, Scenario, ServerCounters};
use tquic_engine::{
    Acceptor, Application, ByAlpn, ConnectRequest, ConnectionKey, Context, Engine, EngineConfig,
    EngineError, ListenRequest, LocalAddress, SharedPort,
};
use tquic_net::udp::SocketOptions;
use tquic_wire::Direction;

fn requests(server: &Server, connections: usize) -> ClientOptions {
    requests_for(server.identity.request(server.address(), None), connections)
}

fn requests_for(request: ConnectRequest, connections: usize) -> ClientOptions {
    ClientOptions {
        request,
        tickets: None,
        connections,
        scenario: Scenario::Requests(Requests {
            total: Some(20),
            inflight: 4,
            response: 10_000,
            duration: None,
        }),
    }
}

#[test]
fn many_connections_share_a_shard_and_its_socket() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let report = perf::run(&client, &requests(&server, 60)).unwrap();
    assert!(report.verified);
    assert_eq!(report.bytes, 60 * 20 * 10_000);
    let totals = server.counters.totals();
    assert_eq!((totals.connections, totals.requests), (60, 1200));
    assert_eq!(server.engine.stats().unwrap()[0].endpoint.accepted, 60);
}

#[test]
fn connection_ids_lead_to_the_shard() {
    let (server, client) = (Server::new(2, "127.0.0.1:0"), engine(2));
    let report = perf::run(&client, &requests(&server, 40)).unwrap();
    assert!(report.verified);
    let stats = server.engine.stats().unwrap();
    let accepted: Vec<u64> = stats.iter().map(|s| s.endpoint.accepted).collect();
    assert_eq!(accepted.iter().sum::<u64>(), 40);
    assert!(accepted.iter().all(|&n| n > 0), "{accepted:?}");
    // Nothing strayed into the other shard, where it would belong to nobody.
    let strays = |e: &Engine| {
        e.stats().unwrap().iter().map(|s| s.endpoint.dropped + s.endpoint.resets_sent).sum::<u64>()
    };
    assert_eq!(strays(&server.engine), 0);
    assert_eq!(client.stats().unwrap().iter().filter(|s| s.socket.sent_datagrams > 0).count(), 2);
}

#[test]
fn several_engines_at_one_port_have_their_own_connections() {
    let identity = Identity::new();
    let counters = Arc::<ServerCounters>::default();
    let address = "127.0.0.1:0".parse().unwrap();
    let mut port = SharedPort::bind(address, 2, &SocketOptions::default()).unwrap();
    let address = port.address();
    let engines: Vec<Engine> = (0..2)
        .map(|number| {
            let config = EngineConfig { place: (number, 2), ..EngineConfig::default() };
            let engine = Engine::new(config).unwrap();
            let socket = port.take(usize::from(number)).unwrap();
            assert!(port.take(usize::from(number)).is_none());
            let accept = identity.accept(TransportConfig::default());
            let token_key = Some([7; 32]);
            let request = ListenRequest { token_key, ..ListenRequest::new(address, accept) };
            let acceptor = perf::Server::acceptor(counters.clone());
            let listening = engine.listen_at(socket, &request, acceptor).unwrap();
            assert_eq!(listening.addresses, [address]);
            engine
        })
        .collect();
    let client = engine(1);
    let request = identity.request(address, None);
    let options = requests_for(request, 40);
    let report = perf::run(&client, &options).unwrap();
    assert!(report.verified);
    let stats: Vec<_> = engines.iter().map(|engine| engine.stats().unwrap()).collect();
    let accepted: Vec<u64> = stats.iter().map(|s| s[0].endpoint.accepted).collect();
    assert_eq!(accepted.iter().sum::<u64>(), 40);
    assert!(accepted.iter().all(|&n| n > 0), "{accepted:?}");
    assert!(stats.iter().all(|s| s[0].endpoint.dropped + s[0].endpoint.resets_sent == 0));
    for place in [(2, 2), (0, 0)] {
        let config = EngineConfig { place, ..EngineConfig::default() };
        assert!(Engine::new(config).is_err());
    }
}

#[test]
fn an_application_is_chosen_by_the_protocol() {
    let (engine, identity) = (engine(1), Identity::new());
    let counters = Arc::<ServerCounters>::default();
    let (names, seen) = log();
    let serve = perf::Server::acceptor(counters.clone());
    let acceptor: Acceptor = Arc::new(move |accepted| {
        let (serve, accepted, names) = (serve.clone(), accepted.clone(), names.clone());
        Box::new(ByAlpn::new(move |alpn| {
            names(&String::from_utf8_lossy(alpn));
            serve(&accepted)
        }))
    });
    let listening = listen(&engine, &identity, "127.0.0.1:0", acceptor);
    let server = Server { engine, identity, counters, listening };
    let report = perf::run(&common::engine(1), &requests(&server, 3)).unwrap();
    assert!(report.verified);
    let name = String::from_utf8_lossy(perf::ALPN).into_owned();
    assert_eq!(*seen.lock().unwrap(), vec![name; 3]);
}

/// Tells all events, and does nothing.
struct Watcher(Sender<Event>);

impl Application for Watcher {
    fn on_event(&mut self, _: &mut Context<'_>, event: Event) {
        let _ = self.0.send(event);
    }
    fn on_tick(&mut self, _: &mut Context<'_>) {}
    fn on_refused(&mut self, _: ConnectionKey, error: ConnectionError) {
        let _ = self.0.send(Event::Closed(error));
    }
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    for shards in [1, 2] {
        let server = Server::new(shards, "127.0.0.1:0");
        let accept = server.identity.accept(TransportConfig::default());
        let again = ListenRequest::new(server.address(), accept);
        let result = server.engine.listen(&again, Arc::new(|_| unreachable!()));
        assert!(matches!(result, Err(EngineError::Io(_))), "{shards} shards");
    }
}

#[test]
fn listeners_of_one_engine_are_separate() {
    let (server, other) = (Server::new(1, "127.0.0.1:0"), Identity::new());
    let (events, seen) = channel();
    let events = Mutex::new(events);
    let second = listen(
        &server.engine,
        &other,
        "127.0.0.1:0",
        Arc::new(move |_| Box::new(Watcher(events.lock().unwrap().clone()))),
    );
    let client = engine(1);
    assert!(perf::run(&client, &requests(&server, 2)).unwrap().verified);
    let (sender, received) = channel();
    let request = other.request(second.addresses[0], None);
    client.connect(request.clone(), Box::new(Watcher(sender.clone()))).unwrap();
    assert_eq!(received.recv_timeout(LONG).unwrap(), Event::Connected);
    assert_eq!(seen.recv_timeout(LONG).unwrap(), Event::Connected);
    // The second stops; its connection and the first go on.
    server.engine.unlisten(second.id);
    let mut hasty = request;
    let transport = TransportConfig {
        handshake_timeout: Duration::from_millis(300),
        ..TransportConfig::default()
    };
    hasty.transport = Arc::new(transport);
    let (sender, refused) = channel();
    client.connect(hasty, Box::new(Watcher(sender))).unwrap();
    let end = refused.recv_timeout(LONG).unwrap();
    assert_eq!(end, Event::Closed(ConnectionError::HandshakeTimeout));
    assert!(perf::run(&client, &requests(&server, 1)).unwrap().verified);
    assert!(seen.try_recv().is_err(), "the connection of the closed listener lives");
}

#[test]
fn what_cannot_begin_is_refused() {
    let client = engine(1);
    let identity = Identity::new();
    let (sender, received) = channel();
    let mut request = identity.request("127.0.0.1:9".parse().unwrap(), None);
    request.server_name = "not a name".to_owned();
    client.connect(request.clone(), Box::new(Watcher(sender.clone()))).unwrap();
    let refused = received.recv_timeout(LONG).unwrap();
    assert!(matches!(refused, Event::Closed(ConnectionError::Local(_))), "{refused:?}");
    request.paths = vec![LocalAddress { address: "192.0.2.1:0".parse().ok(), interface: None }];
    let result = client.connect(request, Box::new(Watcher(sender)));
    assert!(matches!(result, Err(EngineError::Io(_))));
}

/// Downloads and tells when; asks for a migration by its events.
#[test]
fn a_client_moves_to_another_address_and_keys_change() {
    let (server, client) = (Server::new(1, "0.0.0.0:0"), engine(1));
    let to = std::net::SocketAddr::new("127.0.0.1".parse().unwrap(), server.address().port());
    let (sender, events) = channel();
    let request = server.identity.request(to, None);
    let key = client.connect(request, Box::new(Watcher(sender))).unwrap();
    assert_eq!(events.recv_timeout(LONG).unwrap(), Event::Connected);
    // Confirmation follows the connection: ask until it is there.
    let start = std::time::Instant::now();
    let address = Some("127.0.0.5:0".parse().unwrap());
    let place = LocalAddress { address, interface: None };
    while client.migrate(key, &place).is_err() {
        assert!(start.elapsed() < LONG);
        std::thread::yield_now();
    }
    let moved = loop {
        match events.recv_timeout(LONG).unwrap() {
            Event::Migrated(addresses) => break addresses,
            Event::NewToken(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(moved.local.ip(), address.map(|a: std::net::SocketAddr| a.ip()).unwrap());
    let stats = client.connection_stats(key).unwrap();
    assert_eq!(stats.paths[0].addresses, moved);
    while !client.update_keys(key).unwrap() {
        assert!(start.elapsed() < LONG);
        std::thread::yield_now();
    }
    while client.connection_stats(key).unwrap().connection.key_updates == 0 {
        assert!(start.elapsed() < LONG);
    }
    client.close(key, 7, b"enough").unwrap();
    let end = events.recv_timeout(LONG).unwrap();
    let reason = b"enough".to_vec();
    assert_eq!(end, Event::Closed(ConnectionError::LocalClose { code: 7, reason }));
    assert!(matches!(
        client.connection_stats(ConnectionKey::from_u64(9999)),
        Err(EngineError::Gone)
    ));
}

/// Panics at the first stream, if it is an unlucky one.
struct Clumsy {
    unlucky: bool,
    inner: perf::Server,
}

impl Application for Clumsy {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        assert!(!(self.unlucky && matches!(event, Event::Stream(_))), "clumsy on purpose");
        self.inner.on_event(context, event);
    }
    fn on_tick(&mut self, context: &mut Context<'_>) {
        self.inner.on_tick(context);
    }
}

#[test]
fn a_panic_ends_one_connection() {
    // With RUST_BACKTRACE=1 a busy machine may take longer to tell of it than clients wait.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload_as_str().is_some_and(|text| text.contains("on purpose")) {
            hook(info);
        }
    }));
    let (log, lines) = log();
    let engine_config = EngineConfig { log: Some(log), ..EngineConfig::default() };
    let server = Engine::new(engine_config).unwrap();
    let identity = Identity::new();
    let count = AtomicUsize::new(0);
    let listening = listen(
        &server,
        &identity,
        "127.0.0.1:0",
        Arc::new(move |_| {
            let n = count.fetch_add(1, Ordering::Relaxed);
            assert!(n != 2, "no application on purpose");
            Box::new(Clumsy { unlucky: n == 1, inner: perf::Server::new(Arc::default()) })
        }),
    );
    let client = engine(1);
    let run = || {
        let options = ClientOptions {
            request: identity.request(listening.addresses[0], None),
            tickets: None,
            connections: 1,
            scenario: Scenario::Bulk(Bulk { download: Some(100_000), ..Bulk::default() }),
        };
        perf::run(&client, &options)
    };
    assert!(run().unwrap().verified);
    for _ in 0..2 {
        match run() {
            Err(perf::PerfError::Connection(ConnectionError::Peer(error))) => {
                assert_eq!(error.code, tquic_core::error::TransportErrorCode::INTERNAL_ERROR);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(run().unwrap().verified, "the shard goes on");
    assert_eq!(server.stats().unwrap()[0].panics, 2);
    let lines = lines.lock().unwrap();
    assert!(lines.iter().any(|l| l.contains("clumsy on purpose")), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("no application on purpose")), "{lines:?}");
}

/// Counts its ticks at times it asked for.
struct Alarm {
    ticks: Sender<u64>,
    next: Option<Instant>,
}

impl Application for Alarm {
    fn on_event(&mut self, _: &mut Context<'_>, _: Event) {}
    fn on_tick(&mut self, context: &mut Context<'_>) {
        if !context.connection.is_established() {
            return;
        }
        let next = *self.next.get_or_insert(context.now + Duration::from_millis(20));
        if context.now >= next {
            let _ = self.ticks.send((context.now - next).as_micros() as u64);
            self.next = Some(context.now + Duration::from_millis(20));
        }
        context.wake_at = self.next;
    }
}

#[test]
fn applications_are_woken_when_they_asked() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let (ticks, seen) = channel();
    let request = server.identity.request(server.address(), None);
    client.connect(request, Box::new(Alarm { ticks, next: None })).unwrap();
    for _ in 0..5 {
        seen.recv_timeout(LONG).unwrap();
    }
}

/// Never reads, writes without end.
struct Flood;

impl Application for Flood {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        let streams = context.connection.streams();
        match event {
            Event::Connected => {
                streams.open(Direction::Unidirectional);
            }
            Event::Stream(StreamEvent::Writable { .. }) => {}
            _ => return,
        }
        let id = tquic_wire::StreamId::new(context.connection.side(), Direction::Unidirectional, 0);
        let streams = context.connection.streams();
        while streams.write(id, Bytes::from_static(&[7; 65_536])).is_ok() {}
    }
    fn on_tick(&mut self, _: &mut Context<'_>) {}
}

#[test]
fn shutdown_tells_both_ends_and_ends_threads() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let request = server.identity.request(server.address(), None);
    let (sender, events) = channel();
    client.connect(request.clone(), Box::new(Watcher(sender))).unwrap();
    client.connect(request.clone(), Box::new(Flood)).unwrap();
    assert_eq!(events.recv_timeout(LONG).unwrap(), Event::Connected);
    // Before the handshake is complete at the server, too, its code would stay hidden (RFC 9000
    // section 10.2.3).
    let start = std::time::Instant::now();
    while server.counters.totals().connections < 2 {
        assert!(start.elapsed() < LONG);
        std::thread::yield_now();
    }
    server.engine.shutdown(LONG, 3, b"closing time");
    let end = loop {
        match events.recv_timeout(LONG).unwrap() {
            Event::Closed(error) => break error,
            Event::NewToken(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let reason = b"closing time".to_vec();
    assert_eq!(end, ConnectionError::PeerClose { code: 3, reason });
    assert!(matches!(server.engine.stats(), Err(EngineError::Ended)));
    let (sender, _) = channel();
    let refused = server.engine.connect(request.clone(), Box::new(Watcher(sender)));
    assert!(matches!(refused, Err(EngineError::Ended)));
    // Dropping an engine ends it at once, whatever its connections do.
    drop(client);
}

/// RFC 9000 sections 9.6.1 to 9.6.3.
#[test]
fn a_client_goes_to_the_preferred_address() {
    // A port that is free at both addresses, most likely.
    let probe = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    let std::net::SocketAddr::V4(preferred) = probe.local_addr().unwrap() else { unreachable!() };
    drop(probe);
    let (server, client, identity) = (engine(1), engine(1), Identity::new());
    let mut accept = identity.accept(TransportConfig::default());
    accept.preferred.ipv4 = Some(preferred);
    let mut request = ListenRequest::new("127.0.0.1:0".parse().unwrap(), accept);
    request.more.push(preferred.into());
    let acceptor = perf::Server::acceptor(Arc::default());
    let listening = server.listen(&request, acceptor).unwrap();
    assert_eq!(listening.addresses[1], preferred.into());
    let (sender, events) = channel();
    let request = identity.request(listening.addresses[0], None);
    let key = client.connect(request, Box::new(Watcher(sender))).unwrap();
    loop {
        match events.recv_timeout(LONG).unwrap() {
            Event::Migrated(addresses) => break assert_eq!(addresses.remote, preferred.into()),
            Event::Connected | Event::NewToken(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let stats = client.connection_stats(key).unwrap();
    assert_eq!(stats.paths[0].addresses.remote, preferred.into());
}
