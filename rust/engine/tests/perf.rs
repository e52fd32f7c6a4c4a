//! The perf protocol between two engines over loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::time::Duration;

use common::{Server, engine};
use tquic_crypto::session::TicketStore;
use tquic_engine::perf::{
    self, Bulk, ClientOptions, DatagramLoad, HandshakeKind, Handshakes, PerfError, Report,
    Requests, Scenario,
};

fn options(server: &Server, scenario: Scenario) -> ClientOptions {
    let request = server.identity.request(server.address(), None);
    ClientOptions { request, tickets: None, connections: 1, scenario }
}

fn run(server: &Server, scenario: Scenario) -> Report {
    let report = perf::run(&engine(1), &options(server, scenario)).unwrap();
    assert!(report.verified, "{report:?}");
    assert_eq!(server.counters.totals().mismatches, 0);
    report
}

const MB: u64 = 1_000_000;

#[test]
fn bytes_come_down_and_go_up_over_one_stream_and_many() {
    let server = Server::new(1, "127.0.0.1:0");
    let report = run(&server, Scenario::Bulk(Bulk { download: Some(20 * MB), ..Bulk::default() }));
    assert_eq!(report.bytes, 20 * MB);
    assert!(report.packets_per_receive_call > 2.0, "trains arrive as such: {report:?}");
    assert_eq!((report.paths.len(), report.paths[0].mtu), (1, 1472));
    assert!(report.max_rss_bytes > 0 && report.cpu_seconds > 0.0);

    let report = run(&server, Scenario::Bulk(Bulk { upload: Some(20 * MB), ..Bulk::default() }));
    assert_eq!((report.bytes, server.counters.totals().received), (20 * MB, 20 * MB));
    assert!(report.packets_per_send_call > 2.0, "trains leave as such: {report:?}");

    let both =
        Bulk { download: Some(5 * MB + 7), upload: Some(3 * MB + 1), streams: 300, duration: None };
    let report = run(&server, Scenario::Bulk(both));
    assert_eq!(report.bytes, 8 * MB + 8);
    assert_eq!(server.counters.totals().received, 23 * MB + 1);
}

#[test]
fn ipv6_works_and_its_datagrams_are_smaller() {
    let server = Server::new(1, "[::1]:0");
    let report = run(&server, Scenario::Bulk(Bulk { download: Some(5 * MB), ..Bulk::default() }));
    assert_eq!((report.bytes, report.paths[0].mtu), (5 * MB, 1452));
}

#[test]
fn a_dual_stack_server_answers_from_the_address_it_was_asked_at() {
    let server = Server::new(1, "[::]:0");
    let port = server.address().port();
    for ip in ["127.0.0.1", "127.0.0.77", "::1"] {
        let to = std::net::SocketAddr::new(ip.parse().unwrap(), port);
        let mut options =
            options(&server, Scenario::Bulk(Bulk { download: Some(MB), ..Bulk::default() }));
        options.request.remote = to;
        let report = perf::run(&engine(1), &options).unwrap();
        assert!(report.verified && report.bytes == MB);
        assert_eq!(report.paths[0].remote, to);
    }
}

#[test]
fn a_duration_ends_transfers_in_both_directions() {
    let server = Server::new(1, "127.0.0.1:0");
    let duration = Some(Duration::from_millis(300));
    for (download, upload) in [(None, None), (None, Some(u64::MAX))] {
        let report = run(&server, Scenario::Bulk(Bulk { download, upload, streams: 3, duration }));
        assert!(report.bytes > 0 && report.seconds >= 0.3, "{report:?}");
    }
}

#[test]
fn requests_are_answered_and_timed() {
    let server = Server::new(1, "127.0.0.1:0");
    for (total, inflight, response) in [(50, 1, 32), (3000, 64, 0), (500, 300, 5000)] {
        let requests = Requests { total: Some(total), inflight, response, duration: None };
        let report = run(&server, Scenario::Requests(requests));
        assert_eq!(report.bytes, total * response);
        let latency = report.latency_us.unwrap();
        assert!(0.0 < latency.p50 && latency.p50 <= latency.p99 && latency.p99 <= latency.max);
        assert!(report.rate_per_second > 0.0);
    }
    assert_eq!(server.counters.totals().requests, 3550);
}

#[test]
fn handshakes_of_all_kinds() {
    let server = Server::new(1, "127.0.0.1:0");
    for kind in [
        HandshakeKind::Full,
        HandshakeKind::Resumed,
        HandshakeKind::ZeroRtt,
        HandshakeKind::FirstByte,
    ] {
        let store = TicketStore::new(4);
        let tickets = kind.resumes().then_some(store);
        let scenario = Scenario::Handshakes(Handshakes { count: 20, kind });
        let options = ClientOptions {
            request: server.identity.request(server.address(), tickets.clone()),
            tickets,
            connections: 1,
            scenario,
        };
        let report = perf::run(&engine(1), &options).unwrap();
        assert!(report.verified, "all of the kind that was asked for: {kind:?}");
        assert!(report.rate_per_second > 0.0 && report.latency_us.is_some());
    }
    // Two kinds need a connection for their first ticket. The last ones may still be on their way.
    let start = std::time::Instant::now();
    while server.counters.totals().connections < 62 {
        assert!(start.elapsed() < common::LONG, "{:?}", server.counters.totals());
    }
}

#[test]
fn resumption_without_tickets_is_refused() {
    let server = Server::new(1, "127.0.0.1:0");
    let scenario = Scenario::Handshakes(Handshakes { count: 1, kind: HandshakeKind::Resumed });
    let result = perf::run(&engine(1), &options(&server, scenario));
    assert!(matches!(result, Err(PerfError::Unsupported(_))));
}

#[test]
fn datagrams_arrive() {
    let server = Server::new(1, "127.0.0.1:0");
    let load = DatagramLoad { count: 5000, size: 1000 };
    let report = run(&server, Scenario::Datagrams(load));
    let totals = server.counters.totals();
    // What was acknowledged has arrived; others may have been lost on a busy machine.
    assert!(totals.datagrams >= report.bytes / 1000);
    assert_eq!(totals.datagram_bytes, totals.datagrams * 1000);
    assert!(report.bytes >= 4000 * 1000, "{report:?}");
    assert!(report.packets_per_send_call > 16.0, "equal datagrams leave as trains: {report:?}");
}

#[test]
fn a_wrong_name_is_an_error() {
    let server = Server::new(1, "127.0.0.1:0");
    let mut options = options(&server, Scenario::Bulk(Bulk::default()));
    options.request.server_name = "example.org".to_owned();
    match perf::run(&engine(1), &options) {
        Err(PerfError::Connection(error)) => {
            assert!(error.to_string().contains("certificate"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
