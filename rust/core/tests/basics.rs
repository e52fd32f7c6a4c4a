//! Two endpoints, one link: handshakes, transfers, and what happens when the link misbehaves.

mod pair;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use pair::{Pair, client_tls, content, read, upload};
use tquic_core::config::{RetryPolicy, TransportConfig};
use tquic_core::events::{ConnectionError, Event};
use tquic_core::stream::StreamEvent;
use tquic_wire::{Direction, StreamId, Version};

const SEC: Duration = Duration::from_secs(1);

/// RFC 9001 section 4.1.2.
#[test]
fn handshake_completes_and_both_ends_agree() {
    let mut p = Pair::new();
    let h = p.establish();
    assert_eq!(p.client_conn(h).handshake().alpn(), Some(&b"test"[..]));
    assert!(p.server_conn().handshake().is_confirmed());
    assert!(p.client.take_events().contains(&Event::Connected));
    assert!(p.server.take_events().contains(&Event::Connected));
    assert!(p.client_conn(h).version() == Version::V1);
}

#[test]
fn bytes_arrive_exactly() {
    let mut p = Pair::new();
    let h = p.establish();
    let data = content(3_000_000);
    let got = upload(&mut p, h, &data, 30 * SEC).expect("stalled");
    assert_eq!(got.len(), data.len());
    assert!(got == data);
}

#[test]
fn lost_duplicated_and_corrupted_datagrams_change_nothing() {
    let mut p = Pair::new();
    p.client.meddler = Some(Box::new(|_, n| n % 11 != 3));
    p.server.meddler = Some(Box::new(|d, n| {
        if n % 13 == 5 {
            let at = d.data.len() / 2;
            d.data[at] ^= 0x40;
        }
        n % 17 != 4
    }));
    let h = p.establish();
    let data = content(500_000);
    let got = upload(&mut p, h, &data, 120 * SEC).expect("stalled");
    assert!(got == data);
}

/// RFC 9000 sections 8.1.2 and 8.1.3.
#[test]
fn retry_proves_the_address_and_a_token_saves_it_next_time() {
    let mut p = Pair::with(TransportConfig::default(), TransportConfig::default(), |mut a| {
        a.retry = RetryPolicy::Always;
        a
    });
    p.establish();
    // A ClientHello with a post-quantum share takes two datagrams, each answered without state.
    assert_eq!(p.server.endpoint.stats().retries, 2);
    assert_eq!(p.server.endpoint.stats().accepted, 1);
    let token =
        p.run_until(SEC, |p| p.client.events.iter().any(|(_, e)| matches!(e, Event::NewToken(_))));
    assert!(token, "no NEW_TOKEN");
}

#[test]
fn pings_are_answered_even_if_lost() {
    let mut p = Pair::new();
    let h = p.establish();
    assert!(p.run_until(SEC, |p| p.client_conn(h).handshake().is_confirmed()));
    p.client.take_events();
    p.client_conn(h).ping();
    p.client_conn(h).ping();
    let answered = |p: &mut Pair, n| {
        p.run_until(10 * SEC, |p| {
            p.client
                .events
                .iter()
                .any(|(_, e)| matches!(e, Event::PingAcked { pings, .. } if *pings == n))
        })
    };
    assert!(answered(&mut p, 2));
    p.client.meddler = Some(Box::new(|_, n| n > 0));
    p.client_conn(h).ping();
    assert!(answered(&mut p, 3));
    let pings = p.client.take_events().into_iter().filter(|e| matches!(e, Event::PingAcked { .. }));
    assert_eq!(pings.count(), 2, "one frame served the first two");
}

/// The peer acknowledges single packets late, unless it is asked (IMMEDIATE_ACK).
#[test]
fn pings_and_hurries_are_acknowledged_at_once() {
    let mut p = Pair::new();
    let h = p.establish();
    p.run_until(SEC, |_| false);
    let round_trip = 2 * p.delay;
    p.client.take_events();
    p.client_conn(h).ping();
    assert!(p.run_until(SEC, |p| !p.client.events.is_empty()));
    let Some(Event::PingAcked { pings: 1, rtt }) = p.client.take_events().pop() else {
        panic!("no answer");
    };
    assert!(rtt >= round_trip && rtt < round_trip + Duration::from_millis(5), "{rtt:?}");

    for hurry in [true, false] {
        let begun = p.now;
        let id = p.client_conn(h).streams().open(Direction::Bidirectional).unwrap();
        p.client_conn(h).streams().write(id, Bytes::from_static(b"x")).unwrap();
        if hurry {
            p.client_conn(h).hurry();
        }
        assert!(p.run_until(SEC, |p| p.client_conn(h).streams().buffered(id) == 0));
        let took = p.now - begun;
        assert_eq!(took < round_trip + Duration::from_millis(5), hurry, "{took:?}");
    }
}

/// RFC 9000 section 5.1.
#[test]
fn connection_ids_change_on_demand() {
    let mut p = Pair::new();
    let h = p.establish();
    assert!(p.run_until(SEC, |p| p.client_conn(h).handshake().is_confirmed()));
    let active = |p: &mut Pair| {
        let path = p.client_conn(h).path(0).unwrap();
        path.remote_cids.cid(path.active().remote_cid).unwrap()
    };
    let mut seen = vec![active(&mut p)];
    for _ in 0..20 {
        p.run_until(SEC, |p| p.client_conn(h).path(0).unwrap().remote_cids.unused() > 0);
        assert!(p.client_conn(h).change_connection_id());
        let now = active(&mut p);
        assert!(!seen.contains(&now), "retired connection IDs are not used again");
        seen.push(now);
        let data = content(10_000);
        assert_eq!(upload(&mut p, h, &data, 10 * SEC), Some(data));
    }
}

#[test]
fn versions_are_negotiated_compatibly() {
    let wants_v2 =
        TransportConfig { versions: vec![Version::V2, Version::V1], ..TransportConfig::default() };
    let mut p = Pair::with(TransportConfig::default(), wants_v2.clone(), |a| a);
    let h = p.establish();
    assert_eq!(p.client_conn(h).version(), Version::V2);
    assert_eq!(p.server_conn().version(), Version::V2);
    assert!(upload(&mut p, h, &content(100_000), 10 * SEC).is_some());

    let only_v1 = TransportConfig { versions: vec![Version::V1], ..TransportConfig::default() };
    let mut p = Pair::with(wants_v2, only_v1, |a| a);
    let h = p.establish();
    assert_eq!(p.client_conn(h).version(), Version::V1);
    // One for each datagram of the client's first flight.
    assert_eq!(p.server.endpoint.stats().version_negotiations, 2);
}

/// The ClientHello takes two datagrams; the server acknowledges the first in the client's version.
#[test]
fn versions_are_negotiated_after_an_early_acknowledgement() {
    let wants_v2 =
        TransportConfig { versions: vec![Version::V2, Version::V1], ..TransportConfig::default() };
    let mut p = Pair::with(TransportConfig::default(), wants_v2, |a| a);
    p.client.meddler = Some(Box::new(|d, n| {
        d.arrives += Duration::from_millis(if n == 2 { 15 } else { 0 });
        true
    }));
    let h = p.establish();
    assert_eq!(p.client_conn(h).version(), Version::V2);
    assert_eq!(p.server_conn().version(), Version::V2);
}

#[test]
fn no_common_version_is_said_so() {
    let v1 = TransportConfig { versions: vec![Version::V1], ..TransportConfig::default() };
    let v2 = TransportConfig { versions: vec![Version::V2], ..TransportConfig::default() };
    let mut p = Pair::with(v1, v2, |a| a);
    p.connect();
    p.run_until(SEC, |p| !p.client.events.is_empty());
    assert!(matches!(
        p.client.take_events().as_slice(),
        [Event::Closed(ConnectionError::VersionMismatch { .. })]
    ));
}

#[test]
fn closing_tells_the_peer_why_and_leaves_nothing_behind() {
    let mut p = Pair::new();
    let h = p.establish();
    let now = p.now;
    p.client_conn(h).close(now, 7, b"enough");
    p.run_until(SEC, |p| p.server.endpoint.is_empty() && p.client.endpoint.is_empty());
    let closed = Event::Closed(ConnectionError::PeerClose { code: 7, reason: b"enough".to_vec() });
    assert!(p.server.take_events().contains(&closed));
    assert!(p.server.endpoint.is_empty() && p.client.endpoint.is_empty());
    assert_eq!(p.server.endpoint.half_open(), 0);
}

#[test]
fn silence_ends_in_an_idle_timeout_on_both_sides() {
    let mut p = Pair::new();
    p.establish();
    p.take_all();
    let ok =
        p.run_until(40 * SEC, |p| p.client.endpoint.is_empty() && p.server.endpoint.is_empty());
    assert!(ok);
    for events in [p.client.take_events(), p.server.take_events()] {
        assert!(events.contains(&Event::Closed(ConnectionError::IdleTimeout)), "{events:?}");
    }
}

#[test]
fn resumption_carries_data_in_the_first_flight() {
    let mut p = Pair::with(TransportConfig::default(), TransportConfig::default(), |mut a| {
        a.tls = std::sync::Arc::new(pair::server_tls().early_data(true).build().unwrap());
        a
    });
    p.client_tls = std::sync::Arc::new(pair::client_tls().early_data(true).build().unwrap());
    let h = p.establish();
    p.run_until(SEC, |_| false);
    let now = p.now;
    p.client_conn(h).close(now, 0, b"");
    p.run_until(SEC, |_| false);
    p.take_all();

    let h = p.connect();
    let id = p.client_conn(h).streams().open(Direction::Bidirectional).expect("0-RTT limits");
    p.client_conn(h).streams().write(id, Bytes::from_static(b"early")).unwrap();
    p.client_conn(h).streams().finish(id).unwrap();
    let began = p.now;
    let mut got = vec![];
    let ok = p.run_until(5 * SEC, |p| p.accepted.len() == 2 && read(p.server_conn(), id, &mut got));
    assert!(ok && got == b"early");
    assert_eq!(p.now - began, p.delay, "early data arrives with the first flight");
    p.run_until(SEC, |_| false);
    assert_eq!(p.client_conn(h).handshake().zero_rtt(), tquic_core::handshake::ZeroRtt::Accepted);
}

/// RFC 9001 sections 5.3 and 6.4.
#[test]
fn keys_update_from_either_side_while_data_flows() {
    let frequent = TransportConfig { key_update_interval: Some(200), ..TransportConfig::default() };
    let mut p = Pair::with(frequent, TransportConfig::default(), |a| a);
    let h = p.establish();
    let data = content(1_000_000);
    for _ in 0..4 {
        assert!(upload(&mut p, h, &data, 60 * SEC).expect("stalled") == data);
        // RFC 9001 section 6.5 wants three PTO between updates.
        p.run_until(SEC, |_| false);
    }
    let updates = p.client_conn(h).stats().key_updates;
    assert!(updates >= 3, "{updates} updates");
    assert_eq!(p.server_conn().stats().key_updates, updates);
}

#[test]
fn the_mtu_is_found_and_ecn_is_validated() {
    let mut p = Pair::new();
    let h = p.establish();
    upload(&mut p, h, &content(200_000), 10 * SEC).expect("stalled");
    let stats = p.client_conn(h).path(0).unwrap().stats();
    assert_eq!(stats.mtu, 1472);
    assert!(stats.ecn_capable);
}

#[test]
fn a_client_migrates_and_a_nat_rebinds() {
    let mut p = Pair::new();
    let h = p.establish();
    assert!(upload(&mut p, h, &content(100_000), 10 * SEC).is_some());
    let (now, other) = (p.now, "192.0.2.77:60000".parse().unwrap());
    p.client_conn(h).migrate(now, other).unwrap();
    p.take_all();
    assert!(p.run_until(5 * SEC, |p| {
        p.client.events.iter().any(|(_, e)| matches!(e, Event::Migrated(t) if t.local == other))
    }));
    assert!(upload(&mut p, h, &content(100_000), 10 * SEC).is_some());
    assert_eq!(p.server_conn().path(0).unwrap().active().addresses.remote, other);

    // From now on a NAT writes another source port on the client's datagrams.
    p.client.meddler = Some(Box::new(|d, _| {
        d.from.set_port(61111);
        true
    }));
    p.server.meddler = Some(Box::new(move |d, _| {
        d.to = other;
        true
    }));
    let data = content(300_000);
    assert!(upload(&mut p, h, &data, 20 * SEC).expect("stalled") == data);
    assert_eq!(p.server_conn().path(0).unwrap().active().addresses.remote.port(), 61111);
}

#[test]
fn many_streams_share_a_connection() {
    let mut p = Pair::new();
    let h = p.establish();
    let mut open = 0;
    let mut finished = 0;
    let mut parts: HashMap<StreamId, Vec<u8>> = HashMap::new();
    let ok = p.run_until(60 * SEC, |p| {
        let streams = p.client_conn(h).streams();
        while open < 1000 {
            let Some(id) = streams.open(Direction::Bidirectional) else { break };
            streams.write(id, Bytes::from(content(1000))).unwrap();
            streams.finish(id).unwrap();
            open += 1;
        }
        for (s, e) in std::mem::take(&mut p.server.events) {
            let Event::Stream(StreamEvent::Readable { id }) = e else { continue };
            let c = p.server.endpoint.connection(s).unwrap();
            let got = parts.entry(id).or_default();
            if read(c, id, got) {
                assert!(*got == content(1000));
                c.streams().finish(id).unwrap();
                finished += 1;
            }
        }
        finished == 1000
    });
    assert!(ok, "opened {open}, finished {finished}");
}

impl Pair {
    fn take_all(&mut self) {
        self.client.events.clear();
        self.server.events.clear();
    }
}

#[test]
fn an_idle_connection_is_small() {
    // Keys of the 1-RTT level are half of it. What only a handshake needs lies elsewhere.
    let size = size_of::<tquic_core::Connection>();
    assert!(size <= 10 * 1024, "{size} bytes");
    for tickets in [None, Some(tquic_crypto::TicketStore::new(4))] {
        let mut p = Pair::new();
        p.client_tls = std::sync::Arc::new(client_tls().tickets(tickets).build().unwrap());
        let h = p.establish();
        // The server's tickets come, and go where they belong.
        assert!(!p.run_until(Duration::from_secs(5), |p| p.client_conn(h).is_closed()));
        let agreed = p.client_conn(h).handshake().agreed().unwrap();
        assert_eq!(agreed.alpn.as_deref(), Some(&b"test"[..]));
        assert_eq!(agreed.certificates.len(), 1);
    }
}

/// A client that closes as soon as it is connected: the server gets to know both, in one datagram.
#[test]
fn a_close_at_once_completes_the_handshake_first() {
    let mut p = Pair::new();
    let h = p.connect();
    let mut closed = false;
    let both = p.run_until(SEC, |p| {
        let connected = p.client.events.iter().any(|(_, e)| matches!(e, Event::Connected));
        if connected && !closed {
            let now = p.now;
            p.client_conn(h).close(now, 7, b"that was all");
            closed = true;
        }
        p.server.events.iter().any(|(_, e)| {
            matches!(e, Event::Closed(ConnectionError::PeerClose { code: 7, reason }) if &reason[..] == b"that was all")
        })
    });
    assert!(both, "{:?}", p.server.events);
    assert!(p.server.events.iter().any(|(_, e)| matches!(e, Event::Connected)));
}

/// With a client's certificate, tickets are longer than a packet: the client, which keeps none, drops
/// its TLS session in the middle of one.
#[test]
fn the_tls_session_may_go_in_the_middle_of_a_ticket() {
    let mut names: Vec<String> = (0..60).map(|n| format!("client-{n}.example.org")).collect();
    names.insert(0, "localhost".to_owned());
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let mut p = Pair::with(TransportConfig::default(), TransportConfig::default(), |mut a| {
        let auth = tquic_crypto::session::ClientAuth::Required;
        let tls = pair::server_tls().client_auth(auth, cert.as_bytes()).unwrap();
        a.tls = std::sync::Arc::new(tls.build().unwrap());
        a
    });
    let tls = client_tls().tickets(None).certificate(cert.as_bytes(), key.as_bytes()).unwrap();
    p.client_tls = std::sync::Arc::new(tls.build().unwrap());
    let h = p.establish();
    p.run_until(Duration::from_secs(5), |_| false);
    assert!(!p.client_conn(h).is_closed() && !p.server_conn().is_closed(), "{:?}", p.client.events);
}

/// Each alarm wakes a sleeping server. There were three for each connection that had ended.
#[test]
fn connections_that_ended_are_forgotten_with_one_alarm() {
    let mut p = Pair::new();
    let handles: Vec<_> = (0..8).map(|_| p.connect()).collect();
    assert!(p.run_until(SEC, |p| {
        handles.iter().all(|h| p.client_conn(*h).handshake().is_confirmed())
    }));
    for handle in handles {
        p.now += Duration::from_micros(700);
        let now = p.now;
        p.client_conn(handle).close(now, 0, b"");
        p.step(now);
    }
    p.run_until(2 * p.delay, |_| false);
    let mut alarms = 0;
    while !(p.client.endpoint.is_empty() && p.server.endpoint.is_empty()) {
        assert!(p.step(p.now + 10 * SEC), "nothing ends them");
        alarms += 1;
    }
    assert!(alarms <= 4, "{alarms} alarms");
    assert_eq!((p.client.endpoint.timeout(), p.server.endpoint.timeout()), (None, None));
}
