//! HTTP/3 over sets of connections, against a server that always says the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Identity, LONG, engine, listen};
use tquic_crypto::session::TicketStore;
use tquic_engine::many::{
    Cause, ConnectMany, ConnectionSet, Pacing, Plan, Run, RunStats, Sources, Variant,
};
use tquic_engine::{Engine, Listening, Response, Template, h3};

/// GET https://localhost/, all from the static table but the authority.
const REQUEST: &[u8] = b"\x01\x10\0\0\xd1\xd7\xc1\x50\x09localhost";
/// 200, "hello".
const RESPONSE: &[u8] = b"\x01\x03\0\0\xd9\0\x05hello";

struct Server {
    _engine: Engine,
    identity: Identity,
    listening: Listening,
}

impl Server {
    fn new(response: &'static [u8]) -> Self {
        let (engine, identity) = (engine(1), Identity::new());
        let acceptor = h3::Responder::acceptor(Bytes::from_static(response));
        let listening = listen(&engine, &identity, "127.0.0.1:0", acceptor);
        Self { _engine: engine, identity, listening }
    }

    fn options(&self, count: u32) -> ConnectMany {
        ConnectMany {
            request: self.identity.request(self.listening.addresses[0], None),
            count,
            sources: Sources::default(),
            handshakes: 8,
            rate: None,
            events: 0,
            capacity: 1000,
            clock_offset: 0,
            http: true,
            variants: Vec::new(),
        }
    }
}

fn plan(count: u64) -> Plan {
    Plan {
        templates: vec![Template { head: Bytes::from_static(REQUEST), pattern: 0 }],
        count: Some(count),
        duration: None,
        pacing: Pacing::Closed,
        in_flight: 3,
        response: Response::Discard,
        expected: None,
        patience: None,
        latencies: 0,
    }
}

fn finish(run: &Run) -> RunStats {
    assert!(run.wait(Some(LONG)), "{:?}", run.stats());
    run.stats()
}

fn load(server: &Server, plan: Plan) -> (RunStats, ConnectionSet) {
    let client = engine(1);
    let set = ConnectionSet::connect(&client, &server.options(4)).unwrap();
    assert!(set.wait_connected(Some(LONG)));
    let stats = finish(&set.requests(plan, None).unwrap());
    (stats, set)
}

fn caused(stats: &RunStats, cause: Cause) -> u64 {
    stats.causes[cause as usize]
}

#[test]
fn status_and_content_count() {
    let (stats, _set) = load(&Server::new(RESPONSE), Plan { expected: Some(5), ..plan(200) });
    assert_eq!((stats.requests, stats.responses, stats.failed), (200, 200, 0));
    assert_eq!((stats.bytes_received, stats.statuses), (1000, vec![(200, 200)]));
}

#[test]
fn errors_of_the_server_are_told_apart() {
    let (stats, _set) = load(&Server::new(b"\x01\x03\0\0\xdb"), plan(20));
    assert_eq!((stats.responses, caused(&stats, Cause::Status)), (0, 20));
    assert_eq!(stats.statuses, [(404, 20)]);
    let (stats, _set) = load(&Server::new(RESPONSE), Plan { expected: Some(6), ..plan(20) });
    assert_eq!(caused(&stats, Cause::Unexpected), 20);
}

#[test]
fn a_server_that_breaks_http3_is_told_so() {
    // DATA before HEADERS.
    let (stats, set) = load(&Server::new(b"\0\x01x"), plan(20));
    assert_eq!(stats.responses, 0);
    // At least one on each connection that had requests; others there may be lost with it.
    let (broken, lost) = (caused(&stats, Cause::Http), caused(&stats, Cause::ConnectionLost));
    assert!(broken > 0 && broken + lost == stats.requests, "{stats:?}");
    let reasons = set.reasons();
    assert!(reasons[0].0.contains("content comes before its response"), "{reasons:?}");
}

#[test]
fn what_takes_too_long_is_given_up() {
    // A frame that never ends: but the stream does, so a request without an end is sent.
    let server = Server::new(RESPONSE);
    let head = Bytes::from_static(
        b"\x01\x10\0\0\xd1\xd7\xc1\x50\x09localhost\0\xc0\0\0\x0f\xff\xff\xff\xff",
    );
    let templates = vec![Template { head, pattern: 1 << 35 }];
    let patience = Some(Duration::from_millis(30));
    let (stats, _set) = load(&server, Plan { templates, patience, ..plan(6) });
    assert_eq!((stats.requests, stats.failed, caused(&stats, Cause::TimedOut)), (6, 6, 6));
}

#[test]
fn connections_that_come_and_go() {
    let (server, client) = (Server::new(RESPONSE), engine(1));
    let tickets = TicketStore::new(1);
    let request = server.identity.request(server.listening.addresses[0], Some(tickets));
    let options = ConnectMany {
        handshakes: 3,
        variants: vec![Variant { share: 0.5, request }],
        ..server.options(40)
    };
    let (set, run) = ConnectionSet::visit(&client, &options, plan(2)).unwrap();
    let stats = finish(&run);
    assert_eq!((stats.requests, stats.responses, stats.failed), (80, 80, 0));
    let handshakes = set.handshakes();
    assert_eq!(handshakes.len(), 40);
    let counts = set.counts();
    // The first of them has no ticket yet, and the next perhaps neither.
    assert!((10..=20).contains(&counts.resumed), "{counts:?}");
    assert_eq!(counts.early, counts.resumed, "{counts:?}");
    // The first request of a connection waits for its handshake, unless it is in 0-RTT.
    assert!(run.latencies().max() >= handshakes.quantile(0.5));
    while set.counts().closed < 40 {
        assert!(set.wait(Some(LONG)));
        set.poll(usize::MAX);
    }
}

#[test]
fn no_connection_comes_when_the_time_is_over() {
    let (server, client) = (Server::new(RESPONSE), engine(1));
    let options = ConnectMany { rate: Some(50.0), ..server.options(1000) };
    let timed = Plan { duration: Some(Duration::from_secs(1)), ..plan(1) };
    let (set, run) = ConnectionSet::visit(&client, &options, timed).unwrap();
    let stats = finish(&run);
    assert!((1..=51).contains(&stats.requests), "{stats:?}");
    assert_eq!(stats.responses, stats.requests);
    assert!(set.wait_connected(Some(LONG)));
}

#[test]
fn a_request_to_nobody_is_reported() {
    let client = engine(1);
    let mut options = Server::new(RESPONSE).options(2);
    let transport = tquic_core::config::TransportConfig {
        handshake_timeout: Duration::from_millis(100),
        ..Default::default()
    };
    options.request.transport = transport.into();
    options.request.remote = "127.0.0.1:9".parse().unwrap();
    let (set, run) = ConnectionSet::visit(&client, &options, plan(1)).unwrap();
    let stats = finish(&run);
    assert_eq!((stats.requests, stats.failed, caused(&stats, Cause::NotSent)), (0, 2, 2));
    assert_eq!(set.counts().failed, 2);
}
