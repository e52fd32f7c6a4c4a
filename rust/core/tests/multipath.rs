//! Several paths at once (draft-ietf-quic-multipath-21): two endpoints in virtual time, the client
//! with several addresses.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod pair;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pair::{Datagram, Pair};
use tquic_core::config::TransportConfig;
use tquic_core::connection::ConnectionStats;
use tquic_core::events::{ConnectionError, Event, PathChange};
use tquic_core::multipath::{OpenPathError, PathError};
use tquic_core::path::FourTuple;
use tquic_core::{Connection, ConnectionHandle};
use tquic_wire::{Direction, StreamId, TransportErrorCode};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn transport(paths: u32) -> TransportConfig {
    TransportConfig { max_paths: Some(paths), ..TransportConfig::default() }
}

fn pair(client: u32, server: u32) -> Pair {
    Pair::with(transport(client), transport(server), |a| a)
}

/// The client's address number `n`; 0 is that of the handshake.
fn address(p: &Pair, n: u16) -> SocketAddr {
    let mut address = p.client_address;
    address.set_port(p.client_address.port() + n);
    address
}

/// Both ends have exchanged what they have to say after the handshake.
fn settle(p: &mut Pair) {
    p.run_until(100 * MS, |_| false);
}

fn open(p: &mut Pair, h: ConnectionHandle, n: u16) -> Result<u32, OpenPathError> {
    let addresses = FourTuple { local: address(p, n), remote: p.server_address };
    let now = p.now;
    p.client_conn(h).open_path(now, addresses)
}

/// Opens a path and waits until both ends have validated it.
fn establish_path(p: &mut Pair, h: ConnectionHandle, n: u16) -> u32 {
    let id = open(p, h, n).unwrap();
    let validated = |events: &[(ConnectionHandle, Event)]| {
        events.iter().any(|(_, e)| {
            matches!(e, Event::Path { id: i, change: PathChange::Validated(_) } if *i == id)
        })
    };
    let ok = p.run_until(5 * SEC, |p| validated(&p.client.events) && validated(&p.server.events));
    assert!(ok, "path {id}: {:?} {:?}", p.client.events, p.server.events);
    id
}

fn content(len: usize) -> Vec<u8> {
    (0..len as u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_be_bytes()).take(len).collect()
}

fn read(c: &mut Connection, id: StreamId, out: &mut Vec<u8>) -> bool {
    while let Ok(Some(chunk)) = c.streams().read(id, 1 << 20) {
        out.extend_from_slice(&chunk.data);
        if chunk.fin {
            return true;
        }
    }
    false
}

/// The client sends `data` on one stream while `watch` looks on; how long it took.
fn upload(
    p: &mut Pair,
    h: ConnectionHandle,
    data: &[u8],
    mut watch: impl FnMut(&mut Pair, usize),
) -> Duration {
    let mut rest = Bytes::copy_from_slice(data);
    let id = p.client_conn(h).streams().open(Direction::Unidirectional).unwrap();
    let (mut got, mut done, start) = (vec![], false, p.now);
    let ok = p.run_until(60 * SEC, |p| {
        watch(p, got.len());
        let streams = p.client_conn(h).streams();
        while !rest.is_empty() {
            let n = rest.len().min(1 << 16);
            match streams.write(id, rest.slice(..n)) {
                Ok(()) => drop(rest.split_to(n)),
                Err(_) => break,
            }
        }
        if rest.is_empty() {
            let _ = streams.finish(id);
        }
        done |= read(p.server_conn(), id, &mut got);
        done
    });
    assert!(ok && done, "stalled at {} of {} bytes", got.len(), data.len());
    assert!(got == data, "other bytes arrived");
    p.now - start
}

/// Counts the client's bytes by the port they leave from, and drops what `drop` says.
fn meddle(
    p: &mut Pair,
    mut drop: impl FnMut(&Datagram) -> bool + 'static,
) -> Arc<Mutex<HashMap<u16, usize>>> {
    let counts = Arc::new(Mutex::new(HashMap::new()));
    let seen = counts.clone();
    p.client.meddler = Some(Box::new(move |d, _| {
        *seen.lock().unwrap().entry(d.from.port()).or_insert(0) += d.data.len();
        !drop(d)
    }));
    counts
}

#[test]
fn both_ends_must_want_it() {
    for (client, server) in [(Some(4), None), (None, Some(4)), (None, None)] {
        let config = |paths| TransportConfig { max_paths: paths, ..TransportConfig::default() };
        let mut p = Pair::with(config(client), config(server), |a| a);
        let h = p.establish();
        settle(&mut p);
        assert!(!p.client_conn(h).is_multipath() && !p.server_conn().is_multipath());
        assert_eq!(open(&mut p, h, 1), Err(OpenPathError::NotNegotiated));
        upload(&mut p, h, &content(100_000), |_, _| {});
    }
}

#[test]
fn a_path_is_opened_validated_and_used() {
    let mut p = pair(4, 4);
    let h = p.establish();
    assert!(p.client_conn(h).is_multipath() && p.server_conn().is_multipath());
    settle(&mut p);
    assert_eq!(establish_path(&mut p, h, 1), 1);
    assert_eq!(establish_path(&mut p, h, 2), 2);
    let counts = meddle(&mut p, |_| false);
    upload(&mut p, h, &content(8_000_000), |_, _| {});
    // Equal paths: each carries a good part.
    let counts = counts.lock().unwrap().clone();
    let total: usize = counts.values().sum();
    for n in 0..3 {
        let port = p.client_address.port() + n;
        assert!(counts[&port] > total / 10, "{counts:?}");
    }
    let ids: Vec<u32> = p.client_conn(h).paths().map(|p| p.id).collect();
    assert_eq!(ids, [0, 1, 2]);
}

#[test]
fn no_more_paths_than_both_ends_allow() {
    let mut p = pair(3, 2);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    assert_eq!(open(&mut p, h, 2), Err(OpenPathError::Limit));
    // What the server hears of it changes nothing.
    settle(&mut p);
    assert!(!p.client_conn(h).is_closed());
    let now = p.now;
    let server = p.server_conn();
    let addresses = server.path(0).unwrap().active().addresses;
    assert_eq!(server.open_path(now, addresses), Err(OpenPathError::NotClient));
}

#[test]
fn path_ids_come_back_as_new_ones() {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    for n in 1..=5 {
        assert_eq!(establish_path(&mut p, h, n), u32::from(n));
        let now = p.now;
        let code = TransportErrorCode::APPLICATION_ABANDON_PATH;
        p.client_conn(h).abandon_path(now, u32::from(n), code).unwrap();
        upload(&mut p, h, &content(50_000), |_, _| {});
        // Longer than three PTO of a path without a sample.
        p.run_until(10 * SEC, |_| false);
        assert_eq!(p.client_conn(h).paths().count(), 1);
        assert_eq!(p.server_conn().paths().count(), 1);
    }
    let abandoned = |e: &Event| {
        let code = TransportErrorCode::APPLICATION_ABANDON_PATH.0;
        let change = PathChange::Abandoned { error_code: code, by_peer: true };
        matches!(e, Event::Path { change: c, .. } if *c == change)
    };
    assert_eq!(p.server.take_events().iter().filter(|e| abandoned(e)).count(), 5);
}

#[test]
fn the_path_of_the_handshake_can_go() {
    let mut p = pair(3, 3);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    let mut abandoned = false;
    upload(&mut p, h, &content(4_000_000), |p, got| {
        if got > 1_000_000 && !std::mem::replace(&mut abandoned, true) {
            let now = p.now;
            p.client_conn(h).abandon_path(now, 0, TransportErrorCode::NO_ERROR).unwrap();
            assert_eq!(
                p.client_conn(h).abandon_path(now, 1, TransportErrorCode::NO_ERROR),
                Err(PathError::Last)
            );
        }
    });
    p.run_until(10 * SEC, |_| false);
    let ids = |c: &Connection| c.paths().map(|p| p.id).collect::<Vec<_>>();
    assert_eq!((ids(p.client_conn(h)), ids(p.server_conn())), (vec![1], vec![1]));
    upload(&mut p, h, &content(1_000_000), |_, _| {});
    establish_path(&mut p, h, 2);
}

/// The longest time without a byte in order when one of two paths is cut off in an upload.
fn stall(victim: u16) -> Duration {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    let port = p.client_address.port() + victim;
    let cut = Arc::new(Mutex::new(false));
    let is_cut = cut.clone();
    meddle(&mut p, move |d| *is_cut.lock().unwrap() && d.from.port() == port);
    let back = cut.clone();
    p.server.meddler = Some(Box::new(move |d, _| !(*back.lock().unwrap() && d.to.port() == port)));
    let (mut at, mut longest, mut before) = (None, Duration::ZERO, 0);
    upload(&mut p, h, &content(6_000_000), |p, got| {
        if got > 2_000_000 {
            *cut.lock().unwrap() = true;
        }
        if got != before {
            longest = longest.max(at.map_or(Duration::ZERO, |at| p.now - at));
            (at, before) = (Some(p.now), got);
        }
    });
    longest
}

#[test]
fn a_path_that_is_cut_off_loses_nothing() {
    for victim in [0, 1] {
        let longest = stall(victim);
        // RTT 20 ms.
        assert!(longest < 100 * MS, "{longest:?} without a byte, path {victim} cut");
    }
}

/// How long a message takes when the path that the messages before it took is cut off, and the client's
/// counters.
fn late_message(client: TransportConfig) -> (Duration, ConnectionStats) {
    let mut p = Pair::with(client, transport(2), |a| a);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    let counts = meddle(&mut p, |_| false);
    for _ in 0..40 {
        upload(&mut p, h, &content(20_000), |_, _| {});
    }
    let used =
        counts.lock().unwrap().iter().max_by_key(|(_, bytes)| **bytes).map(|(port, _)| *port);
    meddle(&mut p, move |d| Some(d.from.port()) == used);
    // Less than the peer leaves unacknowledged.
    let took = upload(&mut p, h, &content(3_000), |_, _| {});
    (took, p.client_conn(h).stats())
}

#[test]
fn what_is_late_is_sent_elsewhere_before_the_probe_timeout() {
    let (usual, _) = late_message(transport(2));
    let hasty = TransportConfig { reinject_after: Some(30 * MS), ..transport(2) };
    let (took, stats) = late_message(hasty);
    println!("{took:?}, {usual:?} without a deadline, {stats:?}");
    assert!(took + 5 * MS < usual, "{took:?}, {usual:?} without a deadline");
    // Within the share, and not for nothing.
    assert!(stats.reinjected_bytes > 2_000 && stats.reinjected_bytes <= stats.bytes_sent / 20);
}

#[test]
fn nothing_is_late_on_paths_that_deliver() {
    let config = TransportConfig { reinject_after: Some(60 * MS), ..transport(2) };
    let mut p = Pair::with(config, transport(2), |a| a);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    upload(&mut p, h, &content(3_000_000), |_, _| {});
    assert_eq!(p.client_conn(h).stats().reinjected_bytes, 0);
}

#[test]
fn a_path_that_comes_back_is_used_again() {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    let (from, to) = (p.now + 100 * MS, p.now + 3 * SEC);
    let port = p.client_address.port() + 1;
    let now = Arc::new(Mutex::new(p.now));
    let clock = now.clone();
    let counts = meddle(&mut p, move |d| {
        let now = *clock.lock().unwrap();
        d.from.port() == port && now > from && now < to
    });
    let mut during = None;
    while p.now < to + 2 * SEC {
        upload(&mut p, h, &content(300_000), |p, _| *now.lock().unwrap() = p.now);
        if p.now > to + SEC {
            during.get_or_insert(counts.lock().unwrap()[&port]);
        }
    }
    let after = counts.lock().unwrap()[&port];
    assert!(after > during.unwrap() + 500_000, "{during:?} bytes, then {after}");
}

/// The server's view of the first path, after the client's system said something about it.
fn told(p: &mut Pair, h: ConnectionHandle, up: bool) -> Vec<Event> {
    let addresses = FourTuple { local: address(p, 0), remote: p.server_address };
    let now = p.now;
    match up {
        true => p.client_conn(h).on_local_up(&addresses),
        false => p.client_conn(h).on_local_down(now, &addresses),
    }
    p.server.events.clear();
    p.run_until(50 * MS, |_| false);
    p.server.take_events()
}

#[test]
fn the_peer_is_told_of_a_path_that_the_system_gives_up() {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    // The only path stays what it is.
    assert_eq!(told(&mut p, h, false), []);
    establish_path(&mut p, h, 1);
    let port = p.client_address.port();
    let advised = |backup| Event::Path { id: 0, change: PathChange::Advised { backup } };
    let cut = meddle(&mut p, move |d| d.from.port() == port);
    assert_eq!(told(&mut p, h, false), [advised(true)]);
    let at = p.now;
    upload(&mut p, h, &content(1_000_000), |_, _| {});
    assert!(cut.lock().unwrap()[&port] < 5000, "only probes");
    assert!(p.client_conn(h).stats().reinjected_bytes < 50_000, "nothing was under way");
    assert!(p.now - at < SEC);
    // It is no backup of the application's.
    assert!(!p.client_conn(h).path(0).unwrap().stats().backup);
    // An acknowledgement of what was sent before proves nothing, one of a probe does.
    meddle(&mut p, |_| false);
    assert_eq!(told(&mut p, h, true), [advised(false)]);
}

#[test]
fn a_path_that_the_system_gives_up_wrongly_is_back_at_once() {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    let advised = |backup| Event::Path { id: 0, change: PathChange::Advised { backup } };
    // The first probe went at the same time and proves nothing; the next comes after its timeout.
    let mut events = told(&mut p, h, false);
    p.run_until(SEC, |_| false);
    events.extend(p.server.take_events());
    assert_eq!(events, [advised(true), advised(false)]);
    // A wish of the application stays.
    let now = p.now;
    p.client_conn(h).set_path_backup(now, 0, true).unwrap();
    settle(&mut p);
    let mut events = told(&mut p, h, false);
    p.run_until(SEC, |_| false);
    events.extend(p.server.take_events());
    assert_eq!(events, []);
}

#[test]
fn who_waits_in_vain_for_several_paths_is_told_so_at_once() {
    // Before the handshake is confirmed, what one end does not want is known at that end...
    let config = |paths| TransportConfig { max_paths: paths, ..TransportConfig::default() };
    let mut p = Pair::with(config(None), config(Some(2)), |a| a);
    let h = p.connect();
    assert_eq!(open(&mut p, h, 1), Err(OpenPathError::NotNegotiated));
    // ... and what the server does not, when its transport parameters are here.
    let mut p = Pair::with(config(Some(2)), config(None), |a| a);
    let h = p.connect();
    assert_eq!(open(&mut p, h, 1), Err(OpenPathError::NotConfirmed));
    let connected = |p: &mut Pair| p.client.events.iter().any(|(_, e)| *e == Event::Connected);
    assert!(p.run_until(SEC, connected));
    assert!(!p.client_conn(h).handshake().is_confirmed());
    assert_eq!(open(&mut p, h, 1), Err(OpenPathError::NotNegotiated));
}

#[test]
fn backup_paths_wait_until_they_are_needed() {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    let id = establish_path(&mut p, h, 1);
    let now = p.now;
    p.client_conn(h).set_path_backup(now, id, true).unwrap();
    settle(&mut p);
    let advised = Event::Path { id, change: PathChange::Advised { backup: true } };
    assert!(p.server.take_events().contains(&advised));
    let counts = meddle(&mut p, |_| false);
    upload(&mut p, h, &content(2_000_000), |_, _| {});
    let port = p.client_address.port() + 1;
    assert!(counts.lock().unwrap().get(&port).is_none_or(|bytes| *bytes < 10_000), "{counts:?}");
    // The regular path dies.
    let first = p.client_address.port();
    let counts = meddle(&mut p, move |d| d.from.port() == first);
    upload(&mut p, h, &content(2_000_000), |_, _| {});
    assert!(counts.lock().unwrap()[&port] > 2_000_000);
}

#[test]
fn keys_are_updated_on_all_paths() {
    let config = TransportConfig { key_update_interval: Some(300), ..transport(3) };
    let mut p = Pair::with(config.clone(), config, |a| a);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    establish_path(&mut p, h, 2);
    // Updates rest for three PTO.
    for _ in 0..10 {
        upload(&mut p, h, &content(2_000_000), |_, _| {});
        p.run_until(300 * MS, |_| false);
    }
    let (client, server) = (p.client_conn(h).stats(), p.server_conn().stats());
    assert!(client.key_updates > 3, "{client:?}");
    assert_eq!((client.undecryptable, server.undecryptable), (0, 0));
}

#[test]
fn a_path_that_cannot_be_validated_is_abandoned() {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    let port = p.client_address.port() + 1;
    meddle(&mut p, move |d| d.from.port() == port);
    let id = open(&mut p, h, 1).unwrap();
    assert!(p.run_until(10 * SEC, |p| {
        p.client.events.iter().any(|(_, e)| {
            matches!(e, Event::Path { id: i, change: PathChange::Abandoned { .. } } if *i == id)
        })
    }));
    upload(&mut p, h, &content(100_000), |_, _| {});
    // The next try has another path ID, and works.
    p.client.meddler = None;
    p.run_until(10 * SEC, |_| false);
    assert_eq!(establish_path(&mut p, h, 2), id + 1);
}

#[test]
fn a_nat_that_rebinds_a_path_changes_no_path_id() {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    let port = p.client_address.port() + 1;
    let other = port + 100;
    p.client.meddler = Some(Box::new(move |d, n| {
        if d.from.port() == port && n > 500 {
            d.from.set_port(other);
        }
        true
    }));
    p.server.meddler = Some(Box::new(move |d, _| {
        if d.to.port() == other {
            d.to.set_port(port);
        }
        true
    }));
    upload(&mut p, h, &content(6_000_000), |_, _| {});
    let path = p.server_conn().paths().find(|p| p.id == 1).unwrap();
    assert_eq!(path.active().addresses.remote.port(), other);
    assert_eq!(p.server_conn().paths().count(), 2);
}

#[test]
fn a_path_that_stays_silent_is_given_up() {
    let config = TransportConfig { max_idle_timeout: 10 * SEC, ..transport(2) };
    let mut p = Pair::with(config.clone(), config, |a| a);
    let h = p.establish();
    settle(&mut p);
    let id = establish_path(&mut p, h, 1);
    let first = p.client_address.port();
    meddle(&mut p, move |d| d.from.port() == first);
    p.server.meddler = Some(Box::new(move |d, _| d.to.port() != first));
    for _ in 0..12 {
        upload(&mut p, h, &content(100_000), |_, _| {});
        p.run_until(SEC, |_| false);
    }
    let ids: Vec<u32> = p.client_conn(h).paths().map(|p| p.id).collect();
    assert_eq!(ids, [id]);
    let change = PathChange::Abandoned {
        error_code: TransportErrorCode::PATH_UNSTABLE_OR_POOR.0,
        by_peer: false,
    };
    assert!(p.client.take_events().contains(&Event::Path { id: 0, change }));
}

/// Whether the server hears of it within a second that the client closes.
fn hears_of_the_end(p: &mut Pair, h: ConnectionHandle) -> bool {
    let now = p.now;
    p.client_conn(h).close(now, 7, b"");
    let closed = |(_, event): &(ConnectionHandle, Event)| {
        matches!(event, Event::Closed(ConnectionError::PeerClose { code: 7, .. }))
    };
    p.run_until(SEC, |p| p.server.events.iter().any(closed))
}

#[test]
fn the_end_is_told_on_the_path_that_is_left() {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    let now = p.now;
    p.client_conn(h).abandon_path(now, 0, TransportErrorCode::NO_ERROR).unwrap();
    // The server has abandoned it as well, and both remember it for a while.
    p.run_until(25 * MS, |_| false);
    assert!(hears_of_the_end(&mut p, h));
}

#[test]
fn the_end_is_told_on_all_paths() {
    let mut p = pair(2, 2);
    let h = p.establish();
    settle(&mut p);
    establish_path(&mut p, h, 1);
    // The first has stopped to work, and nobody knows yet.
    let dead = address(&p, 0);
    p.client.meddler = Some(Box::new(move |d, _| d.from != dead));
    assert!(hears_of_the_end(&mut p, h));
}
