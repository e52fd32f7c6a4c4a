//! Sets of connections: staged, driven by plans, observed in batches.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{LONG, Server, engine};
use tquic_engine::many::{
    Cause, ConnectMany, ConnectionSet, Counts, KIND_AT, Kind, Pacing, Plan, RECORD_SIZE, Run,
    Sources,
};
use tquic_engine::{Engine, Response, Template};

const ALL: u8 = Kind::Connected.bit() | Kind::Closed.bit() | Kind::Response.bit();

fn options(server: &Server, count: u32) -> ConnectMany {
    ConnectMany {
        request: server.identity.request(server.address(), None),
        count,
        sources: Sources::default(),
        handshakes: 8,
        rate: None,
        events: ALL,
        capacity: 10_000,
        clock_offset: 0,
        http: false,
        variants: Vec::new(),
    }
}

fn open(client: &Engine, options: &ConnectMany) -> ConnectionSet {
    let set = ConnectionSet::connect(client, options).unwrap();
    assert!(set.wait_connected(Some(LONG)), "{:?}", set.counts());
    let count = options.count as usize;
    assert_eq!(set.counts(), Counts { open: count, ..Counts::default() }, "{:?}", set.reasons());
    set
}

/// A perf request for `bytes` bytes.
fn plan(bytes: u64, count: u64) -> Plan {
    Plan {
        templates: vec![Template { head: Bytes::from(bytes.to_be_bytes().to_vec()), pattern: 0 }],
        count: Some(count),
        duration: None,
        pacing: Pacing::Closed,
        in_flight: 2,
        response: Response::Verify,
        expected: Some(bytes),
        patience: None,
        latencies: 1000,
    }
}

fn finish(run: &Run) {
    assert!(run.wait(Some(LONG)), "{:?}", run.stats());
}

/// The kinds of all records that come until a set is quiet.
fn kinds(set: &ConnectionSet) -> Vec<u8> {
    let bytes = set.poll(usize::MAX);
    assert_eq!(bytes.len() % RECORD_SIZE, 0);
    bytes.chunks(RECORD_SIZE).map(|record| record[KIND_AT]).collect()
}

#[test]
fn a_closed_loop_answers_every_request_once() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(2));
    let set = open(&client, &options(&server, 21));
    assert_eq!(set.handshakes().len(), 21);
    assert_eq!(kinds(&set), [Kind::Connected as u8; 21]);
    let run = set.requests(plan(5000, 300), None).unwrap();
    finish(&run);
    let stats = run.stats();
    assert_eq!((stats.connections, stats.requests, stats.responses), (21, 300, 300));
    assert_eq!((stats.failed, stats.mismatches, stats.bytes_received), (0, 0, 300 * 5000));
    assert_eq!((run.latencies().len(), run.service().len()), (300, 300));
    assert_eq!(run.log().as_ref().written().len(), 300);
    let told = kinds(&set);
    assert_eq!(told.iter().filter(|k| **k == Kind::Response as u8).count(), 300);
    assert_eq!(told.last(), Some(&(Kind::Finished as u8)));
    assert!(!set.wait(Some(Duration::ZERO)), "everything was taken");
    assert_eq!(server.counters.totals().requests, 300);
}

#[test]
fn an_open_loop_counts_from_the_intended_time() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let set = open(&client, &options(&server, 3));
    // A rate that nobody keeps up with, one request at a time: almost all of them are late.
    let pacing = Pacing::Open { rate: 1e8, ramp: Duration::ZERO, poisson: false, seed: 0 };
    let run = set.requests(Plan { pacing, in_flight: 1, ..plan(10, 600) }, None).unwrap();
    finish(&run);
    assert_eq!((run.stats().responses, run.latencies().len()), (600, 600));
    assert!(run.latencies().quantile(0.5) > 10 * run.service().quantile(0.1).max(1));
    // At random times, but as many; the last is about when the rate says.
    let pacing = Pacing::Open { rate: 2000.0, ramp: Duration::ZERO, poisson: true, seed: 1 };
    let run =
        set.requests(Plan { pacing, in_flight: 100, ..plan(10, 400) }, Some(&[0, 2])).unwrap();
    finish(&run);
    let stats = run.stats();
    assert_eq!((stats.connections, stats.responses), (2, 400));
    let seconds = (stats.ended - stats.started) as f64 / 1e9;
    assert!(seconds > 0.12, "{seconds}");
}

#[test]
fn what_has_no_room_until_the_end_has_failed() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let set = open(&client, &options(&server, 2));
    // A million requests, of which a few can leave in this time.
    let pacing = Pacing::Open { rate: 1e7, ramp: Duration::ZERO, poisson: false, seed: 0 };
    let duration = Some(Duration::from_millis(100));
    let timed = Plan { pacing, duration, count: None, in_flight: 1, ..plan(10, 0) };
    let run = set.requests(timed, None).unwrap();
    finish(&run);
    let stats = run.stats();
    assert_eq!(stats.responses, stats.requests);
    assert_eq!(stats.requests + stats.failed, 1_000_000, "{stats:?}");
    assert_eq!(stats.causes[Cause::NotSent as usize], stats.failed);
}

#[test]
fn what_nobody_is_left_to_send_has_failed() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let set = open(&client, &options(&server, 2));
    let slowly = Pacing::Open { rate: 1.0, ramp: Duration::ZERO, poisson: false, seed: 0 };
    let timed = set.requests(Plan { pacing: slowly, ..plan(10, 500) }, None).unwrap();
    let endless = plan(tquic_engine::perf::UNLIMITED, 50);
    let closed = set.requests(endless, None).unwrap();
    while closed.stats().requests == 0 {
        std::thread::yield_now();
    }
    server.engine.shutdown(Duration::ZERO, 9, b"bye");
    for (run, wanted) in [(timed, 500), (closed, 50)] {
        finish(&run);
        let stats = run.stats();
        assert_eq!(stats.responses + stats.failed, wanted, "{stats:?}");
        assert!(stats.causes[Cause::NotSent as usize] >= wanted - stats.requests);
    }
}

#[test]
fn runs_end_when_time_or_patience_does() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let set = open(&client, &options(&server, 2));
    let timed =
        Plan { count: None, duration: Some(Duration::from_secs(1)), latencies: 10, ..plan(0, 0) };
    let run = set.requests(timed.clone(), None).unwrap();
    finish(&run);
    assert!(run.stats().responses > 10);
    assert_eq!(run.log().as_ref().written().len(), 10, "the log has a bound, the counts have all");
    let run = set.requests(Plan { duration: None, ..timed }, None).unwrap();
    assert!(!run.wait(Some(Duration::from_millis(20))));
    set.stop(&run).unwrap();
    finish(&run);
    assert_eq!(run.stats().requests, run.stats().responses);
}

#[test]
fn what_ends_early_is_told_as_failed() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let set = open(&client, &options(&server, 4));
    // Wrong length.
    let run = set.requests(Plan { expected: Some(11), ..plan(10, 7) }, None).unwrap();
    finish(&run);
    assert_eq!((run.stats().failed, run.stats().responses), (7, 0));
    // An answer without end, and no server any more.
    let run = set.requests(plan(tquic_engine::perf::UNLIMITED, 8), None).unwrap();
    while run.stats().requests < 8 {
        std::thread::yield_now();
    }
    server.engine.shutdown(Duration::ZERO, 9, b"bye");
    finish(&run);
    assert_eq!((run.stats().requests, run.stats().failed), (8, 8));
    assert!(set.wait_connected(Some(LONG)));
    assert!(set.requests(plan(1, 1), None).is_err(), "none is open");
    let (sentence, n) = &set.reasons()[0];
    assert!(sentence.contains("bye") && *n == 4, "{:?}", set.reasons());
}

#[test]
fn a_run_ends_with_its_engine() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let set = open(&client, &options(&server, 4));
    let run = set.requests(plan(tquic_engine::perf::UNLIMITED, 8), None).unwrap();
    client.shutdown(Duration::ZERO, 0, b"");
    finish(&run);
    assert_eq!(set.counts().closed, 4);
    assert!(set.requests(plan(1, 1), None).is_err());
    // A set that begins in an engine that has ended says so.
    assert!(ConnectionSet::connect(&client, &options(&server, 1)).is_err());
}

#[test]
fn handshakes_are_bounded_in_number_and_rate() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let slow = ConnectMany { rate: Some(100.0), handshakes: 2, ..options(&server, 21) };
    let begun = std::time::Instant::now();
    let set = open(&client, &slow);
    assert!(begun.elapsed() >= Duration::from_millis(200), "21 connections at 100 per second");
    set.close(5, b"done", Some(&[3])).unwrap();
    while set.counts().closed < 1 {
        set.wait(Some(LONG));
        kinds(&set);
    }
    assert_eq!(set.counts().open, 20);
    // Closed while most have not begun: those never will.
    let set = ConnectionSet::connect(&client, &ConnectMany { rate: Some(1.0), ..slow }).unwrap();
    set.close(0, b"", None).unwrap();
    assert!(set.wait_connected(Some(LONG)));
    while set.counts().closed < 21 {
        assert!(set.wait(Some(LONG)));
        kinds(&set);
    }
}

#[test]
fn a_server_that_is_not_there_fails_the_handshakes() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let mut options = options(&server, 3);
    let transport = tquic_core::config::TransportConfig {
        handshake_timeout: Duration::from_millis(100),
        ..Default::default()
    };
    options.request.transport = transport.into();
    options.request.remote = "127.0.0.1:9".parse().unwrap();
    let set = ConnectionSet::connect(&client, &options).unwrap();
    assert!(set.wait_connected(Some(LONG)));
    assert_eq!(set.counts(), Counts { closed: 3, failed: 3, ..Counts::default() });
}

#[cfg(target_os = "linux")]
#[test]
fn connections_share_sockets_by_source() {
    let (server, client) = (Server::new(1, "127.0.0.1:0"), engine(1));
    let addresses = ["127.0.0.1", "127.0.0.2"].map(|a| a.parse().unwrap()).into();
    let many = ConnectMany { sources: Sources { addresses, sockets: 3 }, ..options(&server, 24) };
    let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let set = open(&client, &many);
    let after = std::fs::read_dir("/proc/self/fd").unwrap().count();
    // Other tests of this program open descriptors, too, but not 24 for each set.
    assert!(after <= before + 6 + 1 + 40, "{before} {after}");
    let run = set.requests(plan(100, 48), None).unwrap();
    finish(&run);
    assert_eq!(run.stats().responses, 48);
}
