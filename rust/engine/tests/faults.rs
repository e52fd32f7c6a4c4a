//! System calls that fail under transfers: every byte arrives all the same, the counters tell of
//! it, and no thread runs in circles.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Identity, LONG, Server, listen, log};
use tquic_core::config::TransportConfig;
use tquic_engine::perf::{self, Bulk, ClientOptions, PerfError, Report, Scenario, ServerCounters};
use tquic_engine::{Engine, EngineConfig, ShardStats};
use tquic_net::udp::faults::{Call, Fault, Faults};
use tquic_net::udp::{self, SocketOptions};

const MB: u64 = 1_000_000;
const EACH_WAY: u64 = 8 * MB;

// Error numbers, as Linux has them on every architecture that matters here.
const EPERM: i32 = 1;
const EIO: i32 = 5;
const EBADF: i32 = 9;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EINVAL: i32 = 22;
const EMFILE: i32 = 24;
const EMSGSIZE: i32 = 90;
const ENETDOWN: i32 = 100;
const ENETUNREACH: i32 = 101;
const ENOBUFS: i32 = 105;

/// Sockets with these faults.
fn sockets(faults: Faults) -> SocketOptions {
    SocketOptions { faults: Some(faults), ..SocketOptions::default() }
}

/// An engine with these sockets, and what it logged.
fn engine(socket: SocketOptions) -> (Engine, Arc<Mutex<Vec<String>>>) {
    let (log, lines) = log();
    let config = EngineConfig { socket, log: Some(log), ..EngineConfig::default() };
    (Engine::new(config).unwrap(), lines)
}

/// A perf server with these sockets.
fn server(socket: SocketOptions) -> (Server, Arc<Mutex<Vec<String>>>) {
    let ((engine, lines), identity) = (engine(socket), Identity::new());
    let counters = Arc::<ServerCounters>::default();
    let acceptor = perf::Server::acceptor(counters.clone());
    let listening = listen(&engine, &identity, "127.0.0.1:0", acceptor);
    (Server { engine, identity, counters, listening }, lines)
}

fn options(server: &Server, each_way: u64) -> ClientOptions {
    let bulk =
        Bulk { download: Some(each_way), upload: Some(each_way), streams: 3, duration: None };
    let request = server.identity.request(server.address(), None);
    ClientOptions { request, tickets: None, connections: 1, scenario: Scenario::Bulk(bulk) }
}

fn stats(engine: &Engine) -> ShardStats {
    engine.stats().unwrap()[0].clone()
}

/// Moves bytes both ways between two engines with the same kind of faults. What both ends
/// counted: the client's, the server's.
fn transfer(make: impl Fn() -> Faults) -> (Report, [ShardStats; 2]) {
    transfer_of(EACH_WAY, || sockets(make()))
}

fn transfer_of(each_way: u64, make: impl Fn() -> SocketOptions) -> (Report, [ShardStats; 2]) {
    let ((client, said), (server, heard)) = (engine(make()), server(make()));
    let report = perf::run(&client, &options(&server, each_way)).unwrap();
    assert!(report.verified, "{report:?}");
    assert_eq!(report.bytes, 2 * each_way);
    let totals = server.counters.totals();
    assert_eq!((totals.received, totals.mismatches), (each_way, 0));
    assert_eq!(said.lock().unwrap().len() + heard.lock().unwrap().len(), 0);
    (report, [stats(&client), stats(&server.engine)])
}

/// Every `n`th call of the kind that `wanted` names does this.
fn every(n: u64, wanted: fn(Call) -> bool, fault: Fault) -> Faults {
    let calls = AtomicU64::new(0);
    Faults::new(move |call| {
        (wanted(call) && calls.fetch_add(1, Relaxed) % n == n - 1).then_some(fault)
    })
}

/// The eighth call that sends, and two behind it: more would keep the window small for long.
fn early(code: i32) -> Faults {
    let calls = AtomicU64::new(0);
    Faults::new(move |call| {
        let hit = sending(call) && [8, 13, 19].contains(&calls.fetch_add(1, Relaxed));
        hit.then_some(Fault::Error(code))
    })
}

fn sending(call: Call) -> bool {
    matches!(call, Call::Send { .. })
}

fn receiving(call: Call) -> bool {
    call == Call::Receive
}

#[test]
fn a_queue_that_is_full_now_and_then_loses_nothing() {
    for code in [EAGAIN, ENOBUFS] {
        let (_, ends) = transfer(|| every(2, sending, Fault::Error(code)));
        for end in ends {
            assert_eq!((end.unsent_trains, end.socket.soft_errors), (0, 0), "error {code}");
        }
    }
}

#[test]
fn trains_that_the_kernel_refuses_are_losses_and_counted() {
    for code in [EPERM, ENOMEM, ENETDOWN, ENETUNREACH] {
        let (report, ends) = transfer(|| early(code));
        let [near, far] = ends.map(|end| (end.unsent_trains, end.socket.soft_errors));
        // Clients report errors: an ICMP message may be behind this one, so they try again at once.
        let forgiven = code == ENETUNREACH;
        assert_eq!(near.0 == 0, forgiven, "error {code}: {near:?}");
        assert!(near.1 > 0 && far.0 > 0 && far.1 == far.0, "error {code}: {far:?}");
        assert_eq!(report.lost_packets == 0, forgiven, "error {code}");
    }
}

#[test]
fn a_kernel_that_takes_one_message_at_a_time() {
    let (_, ends) = transfer(|| every(1, sending, Fault::Short(1)));
    for end in ends {
        assert_eq!((end.unsent_trains, end.socket.soft_errors), (0, 0));
        assert!(end.socket.gso_fallbacks == 0 && end.datagrams_per_send() > 1.0);
    }
}

/// A device that computes no checksums any more, say because the route leads elsewhere now.
#[test]
fn segmentation_refused_in_the_middle_of_a_transfer() {
    for code in [EIO, EINVAL] {
        let make = || {
            let calls = AtomicU64::new(0);
            Faults::new(move |call| match call {
                Call::Send { train: true, .. } if calls.fetch_add(1, Relaxed) >= 5 => {
                    Some(Fault::Error(code))
                }
                _ => None,
            })
        };
        let (_, ends) = transfer(make);
        for end in ends {
            assert_eq!((end.socket.gso_fallbacks, end.unsent_trains), (1, 0), "error {code}");
        }
    }
}

/// Both ends lend their trains to the kernel, which refuses now and then. No memory is no reason to
/// stop; what failed without a word about its number is, and for good.
#[test]
fn loans_that_the_kernel_refuses_are_copies() {
    let lends = |call| matches!(call, Call::Lend(_));
    for (fault, most) in [
        (None, u64::MAX),
        (Some((3, Fault::Error(ENOBUFS))), u64::MAX),
        (Some((1, Fault::Error(ENOBUFS))), 0),
        (Some((5, Fault::Error(EPERM))), 4),
        (Some((2, Fault::Error(EAGAIN))), u64::MAX),
    ] {
        let make = || {
            let faults = fault.map(|(n, what)| every(n, lends, what));
            SocketOptions { faults, zerocopy: true, ..SocketOptions::default() }
        };
        let (_, ends) = transfer_of(EACH_WAY, make);
        for end in ends {
            let udp::Stats { zerocopy_sends: lent, zerocopy_copied: copied, .. } = end.socket;
            assert!(lent <= most && copied <= lent, "{fault:?}: {:?}", end.socket);
            assert!(most == 0 || lent > 0, "{fault:?}: {:?}", end.socket);
            let refused = fault.is_some_and(|(_, what)| what != Fault::Error(EAGAIN));
            assert_eq!(end.socket.zerocopy_fallbacks > 0, refused, "{fault:?}");
            assert_eq!((end.unsent_trains, end.socket.soft_errors), (0, 0), "{fault:?}");
        }
    }
}

/// The interface's MTU shrinks under a connection that has found a larger one, and uses it.
#[test]
fn datagrams_that_are_suddenly_too_large() {
    let make = || {
        let trains = AtomicU64::new(0);
        Faults::new(move |call| match call {
            Call::Send { datagram, train, .. } if datagram > 1300 => {
                let before = trains.fetch_add(u64::from(train), Relaxed);
                (before >= 3).then_some(Fault::Error(EMSGSIZE))
            }
            _ => None,
        })
    };
    // Both ways at full speed: the search must not wait until there is nothing else to send.
    let (report, ends) = transfer_of(10 * EACH_WAY, || sockets(make()));
    assert!((1200..=1300).contains(&report.paths[0].mtu), "{report:?}");
    for end in ends {
        // Clients report errors: an ICMP message may be behind this one, so they try again at once,
        // some times.
        assert!(end.unsent_trains > 0 && end.socket.soft_errors > 0, "{end:?}");
    }
}

#[test]
fn wake_ups_for_nothing() {
    let (report, ends) = transfer(|| every(2, receiving, Fault::Error(EAGAIN)));
    assert_eq!(report.lost_packets, 0);
    assert!(ends.iter().all(|end| end.socket.soft_errors == 0));
}

/// For half a second from the tenth such call on.
fn bout(wanted: fn(Call) -> bool, code: i32) -> Faults {
    let (calls, begun) = (AtomicU64::new(0), Mutex::new(None));
    Faults::new(move |call| {
        if !wanted(call) || calls.fetch_add(1, Relaxed) < 10 {
            return None;
        }
        let begun = *begun.lock().unwrap().get_or_insert_with(Instant::now);
        (begun.elapsed() < BOUT).then_some(Fault::Error(code))
    })
}

const BOUT: Duration = Duration::from_millis(500);

/// Turns of a shard that a bout may cost: some for each millisecond, at which full or broken sockets
/// are tried again.
const TURNS: u64 = 5 * BOUT.as_millis() as u64;

/// What a transfer costs in turns when nothing fails; it depends on the machine.
fn turns_without_faults() -> u64 {
    let (_, ends) = transfer(|| Faults::new(|_| None));
    ends.iter().map(|end| end.turns).max().unwrap()
}

#[test]
fn a_queue_that_stays_full_is_waited_for() {
    let usual = turns_without_faults();
    let (report, ends) = transfer(|| bout(sending, ENOBUFS));
    assert!(report.seconds >= BOUT.as_secs_f64());
    for end in ends {
        assert_eq!(end.unsent_trains, 0);
        assert!(end.turns < 3 * usual + TURNS, "{} turns, usually {usual}", end.turns);
    }
}

#[test]
fn a_socket_that_cannot_receive_for_a_while() {
    let usual = turns_without_faults();
    for code in [ENOMEM, EIO] {
        let (faults, quiet) = (bout(receiving, code), Faults::new(|_| None));
        let ((client, said), (server, _)) = (engine(sockets(faults)), server(sockets(quiet)));
        let report = perf::run(&client, &options(&server, EACH_WAY)).unwrap();
        assert!(report.verified && report.seconds >= BOUT.as_secs_f64());
        let end = stats(&client);
        assert!(end.socket.soft_errors > 0, "error {code}");
        assert!(end.turns < 3 * usual + TURNS, "{} turns, usually {usual}", end.turns);
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("receiving failed: "), "{said:?}");
    }
}

/// Nothing ever leaves: the handshake ends in its time, and nobody works meanwhile.
#[test]
fn a_socket_that_sends_nothing() {
    let (server, _) = server(SocketOptions::default());
    for code in [EMSGSIZE, EPERM, EBADF, ENOBUFS, EAGAIN] {
        let (client, said) = engine(sockets(every(1, sending, Fault::Error(code))));
        let mut options = options(&server, EACH_WAY);
        let timeout = Duration::from_millis(1500);
        let transport =
            TransportConfig { handshake_timeout: timeout, ..TransportConfig::default() };
        options.request.transport = Arc::new(transport);
        let begun = Instant::now();
        let error = perf::run(&client, &options).unwrap_err();
        assert!(matches!(error, PerfError::Connection(_)), "error {code}: {error}");
        assert!(begun.elapsed() < LONG, "error {code}");
        let end = stats(&client);
        // The poller says that there is room, so only a timer helps.
        let bound = if matches!(code, ENOBUFS | EAGAIN) { 3 * 1500 } else { 100 };
        assert!(end.turns < bound, "error {code}: {} turns", end.turns);
        assert!(said.lock().unwrap().len() < 20, "error {code}: {:?}", said.lock().unwrap());
        assert_eq!(end.socket.sent_datagrams, 0);
    }
}

#[test]
fn no_descriptor_for_another_socket() {
    let (server, _) = server(SocketOptions::default());
    let none = Arc::new(AtomicBool::new(true));
    let is_none = none.clone();
    let (client, _) = engine(sockets(Faults::new(move |call| {
        (call == Call::Open && is_none.load(Relaxed)).then_some(Fault::Error(EMFILE))
    })));
    let error = perf::run(&client, &options(&server, EACH_WAY)).unwrap_err();
    assert!(error.to_string().contains("Too many open files"), "{error}");
    none.store(false, Relaxed);
    assert!(perf::run(&client, &options(&server, EACH_WAY)).unwrap().verified);
}
