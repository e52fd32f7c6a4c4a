//! Session tickets and early data.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::{Authority, NAME, NOW, Pair, check_direction, client, server};
use tquic_crypto::session::{ClientAuth, Tickets};
use tquic_crypto::{ClientConfig, ServerConfig, Suite, TicketStore};
use tquic_wire::Version;

/// A client and a server that both do early data.
fn early(ca: &Authority) -> (ClientConfig, ServerConfig) {
    let client = client(ca).early_data(true).build().unwrap();
    (client, server(ca).early_data(true).build().unwrap())
}

#[test]
fn stateless_and_stateful() {
    let ca = Authority::new("CA");
    for tickets in [Tickets::Stateless, Tickets::Stateful(10)] {
        let store = TicketStore::default();
        let client = client(&ca).tickets(Some(store.clone())).build().unwrap();
        let server = server(&ca).tickets(tickets).build().unwrap();
        Pair::connected(&client, &server);
        assert_eq!(store.len(), 2);
        let pair = Pair::connected(&client, &server);
        assert!(pair.client.session.resumed() && pair.server.session.resumed());
        assert_eq!(pair.client.session.peer_certificates().count(), 1);
        assert_eq!(pair.client.session.early_data_accepted(), None);
        // One was used, two came.
        assert_eq!(store.len(), 3);
        store.clear();
        assert!(!Pair::connected(&client, &server).client.session.resumed());
    }
}

#[test]
fn off() {
    let ca = Authority::new("CA");
    let store = TicketStore::default();
    let client_with = client(&ca).tickets(Some(store.clone())).build().unwrap();
    let none = server(&ca).tickets(Tickets::Off).build().unwrap();
    Pair::connected(&client_with, &none);
    assert!(store.is_empty());

    let client_without = client(&ca).tickets(None).build().unwrap();
    let server = server(&ca).build().unwrap();
    Pair::connected(&client_without, &server);
    assert!(!Pair::connected(&client_without, &server).client.session.resumed());
}

#[test]
fn the_store_is_bounded() {
    let ca = Authority::new("CA");
    let server = server(&ca).build().unwrap();
    let store = TicketStore::new(1);
    let fill = client(&ca).tickets(Some(store.clone())).build().unwrap();
    let mut pairs: Vec<Pair> = (0..10).map(|_| Pair::new(&fill, &server)).collect();
    pairs.iter_mut().for_each(|pair| pair.run().unwrap());
    assert_eq!(store.len(), 8);
    let none = TicketStore::new(0);
    let nothing = client(&ca).tickets(Some(none.clone())).build().unwrap();
    Pair::connected(&nothing, &server);
    assert!(none.is_empty());
}

#[test]
fn early_data_accepted() {
    let ca = Authority::new("CA");
    for suite in Suite::ALL {
        let client = client(&ca).early_data(true).suites(&[suite]).build().unwrap();
        let server = server(&ca).early_data(true).build().unwrap();
        let mut first = Pair::connected(&client, &server);
        assert!(first.client.session.zero_rtt_keys().is_none());
        assert!(first.server.session.zero_rtt_keys().is_none());

        let mut pair = Pair::new(&client, &server);
        let remembered = pair.client.session.remembered_parameters();
        assert_eq!(remembered, Some(&b"server parameters"[..]));
        assert_eq!(pair.client.session.peer_parameters(), None, "not the remembered ones");
        assert_eq!(pair.client.session.early_data_accepted(), None);
        assert_eq!(pair.client.session.suite(), Some(suite));
        let ours = pair.client.session.zero_rtt_keys().unwrap();
        assert!(pair.client.session.zero_rtt_keys().is_none(), "given once");
        assert!(pair.server.session.zero_rtt_keys().is_none(), "not before the ClientHello");
        let hello = pair.client.flight().remove(0).1;
        pair.server.session.read(&hello).unwrap();
        assert_eq!(pair.server.session.early_data_accepted(), Some(true));
        check_direction(&ours, &pair.server.session.zero_rtt_keys().unwrap());
        assert!(pair.server.session.zero_rtt_keys().is_none(), "given once");
        pair.run().unwrap();
        pair.check_packets();
        assert_eq!(pair.client.session.early_data_accepted(), Some(true));
        assert!(pair.client.session.resumed());
        assert_eq!(pair.client.session.peer_parameters(), Some(&b"server parameters"[..]));
    }
}

/// A captured first flight is worth nothing the second time.
/// RFC 9001 section 9.2.
#[test]
fn early_data_replayed() {
    let ca = Authority::new("CA");
    let (client, server) = early(&ca);
    Pair::connected(&client, &server);
    let mut pair = Pair::new(&client, &server);
    let hello = pair.client.flight().remove(0).1;
    pair.server.session.read(&hello).unwrap();
    assert_eq!(pair.server.session.early_data_accepted(), Some(true));
    let mut replay = Pair::new(&client, &server).server;
    replay.session.read(&hello).unwrap();
    assert_eq!(replay.session.early_data_accepted(), Some(false));
    assert!(replay.session.zero_rtt_keys().is_none());
}

/// The ticket says early data, the server's store has forgotten it: a full handshake.
#[test]
fn early_data_rejected() {
    let ca = Authority::new("CA");
    let client = client(&ca).early_data(true).build().unwrap();
    let forgetful = server(&ca).early_data(true).tickets(Tickets::Stateful(1)).build().unwrap();
    Pair::connected(&client, &forgetful);
    let other_client = common::client(&ca).build().unwrap();
    for _ in 0..4 {
        Pair::connected(&other_client, &forgetful);
    }
    let mut pair = Pair::new(&client, &forgetful);
    assert!(pair.client.session.zero_rtt_keys().is_some());
    pair.run().unwrap();
    pair.check_packets();
    assert_eq!(pair.client.session.early_data_accepted(), Some(false));
    assert_eq!(pair.server.session.early_data_accepted(), Some(false));
    assert!(pair.server.session.zero_rtt_keys().is_none());
}

/// RFC 9001 section 5.6.
#[test]
fn early_data_is_off_by_default() {
    let ca = Authority::new("CA");
    let (eager, accepting) = early(&ca);
    let (plain_client, plain_server) = (client(&ca).build().unwrap(), server(&ca).build().unwrap());
    for (client, server) in [(&eager, &plain_server), (&plain_client, &accepting)] {
        Pair::connected(client, server);
        let mut pair = Pair::new(client, server);
        assert!(pair.client.session.zero_rtt_keys().is_none());
        pair.run().unwrap();
        assert!(pair.client.session.resumed());
        assert_eq!(pair.client.session.early_data_accepted(), None);
    }
    let error = server(&ca).early_data(true).tickets(Tickets::Stateless).build().unwrap_err();
    assert!(error.to_string().contains("stateful"));
}

/// RFC 9369 section 5: tickets belong to one version.
#[test]
fn tickets_of_another_version() {
    let ca = Authority::new("CA");
    for tickets in [Tickets::Stateless, Tickets::Stateful(10)] {
        let client = client(&ca).build().unwrap();
        let server = server(&ca).tickets(tickets).build().unwrap();
        Pair::connected(&client, &server);
        let run = |version| {
            let mut pair = Pair::of_version(&client, &server, version);
            pair.run().unwrap();
            pair.client.session.resumed()
        };
        assert!(!run(Version::V2), "the client does not offer a ticket of version 1");
        assert!(run(Version::V2));
        assert!(run(Version::V1));

        // A server checks for itself: a client that offers a ticket of version 1 in version 2.
        let mut pair = Pair::of_version(&client, &server, Version::V1);
        let theirs =
            tquic_crypto::Session::server(&server, Version::V2, b"parameters".to_vec()).unwrap();
        pair.server = common::End::new(theirs);
        pair.run().unwrap();
        assert!(!pair.client.session.resumed());
    }
}

/// After compatible version negotiation, tickets belong to the negotiated version, and 0-RTT keys
/// to the original one (RFC 9369 sections 4.1 and 5).
#[test]
fn tickets_and_a_late_version() {
    let ca = Authority::new("CA");
    let (client, server) = early(&ca);
    let negotiate = |mut pair: Pair| {
        let ours = pair.client.session.zero_rtt_keys();
        pair.server.session.set_version(Version::V2);
        let hello = pair.client.flight().remove(0).1;
        pair.server.session.read(&hello).unwrap();
        let theirs = pair.server.session.zero_rtt_keys();
        match (&ours, &theirs) {
            (Some(ours), Some(theirs)) => check_direction(ours, theirs),
            (None, None) => {}
            _ => panic!("only one side has 0-RTT keys"),
        }
        pair.client.session.set_version(Version::V2);
        pair.run().unwrap();
        ours.is_some()
    };
    assert!(!negotiate(Pair::new(&client, &server)));
    // The tickets are of version 2: a connection that starts with version 1 finds none.
    assert!(!negotiate(Pair::new(&client, &server)));
    // Tickets of version 1, used in a connection that changes to version 2.
    let mut plain = Pair::new(&client, &server);
    plain.run().unwrap();
    assert!(negotiate(Pair::new(&client, &server)));
    // And those of version 2 in version 2.
    let mut pair = Pair::of_version(&client, &server, Version::V2);
    let ours = pair.client.session.zero_rtt_keys().unwrap();
    let hello = pair.client.flight().remove(0).1;
    pair.server.session.read(&hello).unwrap();
    check_direction(&ours, &pair.server.session.zero_rtt_keys().unwrap());
}

#[test]
fn tickets_expire() {
    let ca = Authority::new("CA");
    let now = Arc::new(AtomicU64::new(NOW));
    let clock = {
        let now = now.clone();
        Arc::new(move || now.load(Ordering::Relaxed))
    };
    let client = client(&ca).clock(clock.clone()).build().unwrap();
    let server = server(&ca).clock(clock).build().unwrap();
    Pair::connected(&client, &server);
    now.fetch_add(8 * 86_400, Ordering::Relaxed);
    assert!(!Pair::connected(&client, &server).client.session.resumed());
}

#[test]
fn client_certificates_live_on() {
    let ca = Authority::new("CA");
    let identity = ca.client("client.example");
    let client = client(&ca)
        .certificate(identity.chain.as_bytes(), identity.key.as_bytes())
        .unwrap()
        .build()
        .unwrap();
    let server =
        server(&ca).client_auth(ClientAuth::Required, ca.pem().as_bytes()).unwrap().build();
    let server = server.unwrap();
    Pair::connected(&client, &server);
    let pair = Pair::connected(&client, &server);
    assert!(pair.server.session.resumed());
    assert_eq!(pair.server.session.peer_certificates().count(), 1);
    assert_eq!(pair.server.session.server_name(), Some(NAME));
}

#[test]
fn the_early_secret_is_logged() {
    let ca = Authority::new("CA");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    let client = client(&ca)
        .early_data(true)
        .key_log(Some(Arc::new(move |line: &str| log.lock().unwrap().push(line.to_owned()))))
        .build()
        .unwrap();
    let server = server(&ca).early_data(true).build().unwrap();
    Pair::connected(&client, &server);
    let early = |lines: &[String]| {
        lines.iter().filter(|line| line.starts_with("CLIENT_EARLY_TRAFFIC_SECRET ")).count()
    };
    assert_eq!(early(&lines.lock().unwrap()), 0);
    Pair::connected(&client, &server);
    assert_eq!(early(&lines.lock().unwrap()), 1);
}
