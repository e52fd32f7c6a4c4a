//! Session tickets that are written down and used by another process.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Authority, NAME, NOW, Pair, check_direction, client, server};
use tquic_crypto::session::{Exported, Tickets};
use tquic_crypto::{ClientConfig, ServerConfig, Suite, TicketStore};

/// The tickets of a first connection, taken out of its store.
fn first(ca: &Authority, server: &ServerConfig, suite: Suite) -> Vec<Exported> {
    let store = TicketStore::saving(16);
    let builder = client(ca).early_data(true).suites(&[suite]);
    let client = builder.tickets(Some(store.clone())).build().unwrap();
    assert!(!Pair::connected(&client, server).client.session.resumed());
    let tickets = store.export(false);
    assert!(store.is_empty());
    tickets
}

/// A configuration of another process, with these tickets.
fn second(
    builder: tquic_crypto::session::ClientConfigBuilder,
    tickets: &[Exported],
) -> ClientConfig {
    let store = TicketStore::saving(16);
    assert!(tickets.iter().all(|ticket| store.import(&ticket.bytes)));
    builder.tickets(Some(store)).build().unwrap()
}

#[test]
fn a_session_is_resumed_by_another_process() {
    let ca = Authority::new("CA");
    for suite in Suite::ALL {
        for tickets in [Tickets::Stateless, Tickets::Stateful(10)] {
            let server = server(&ca).tickets(tickets).build().unwrap();
            let tickets = first(&ca, &server, suite);
            assert_eq!(tickets.len(), 2);
            assert_eq!(tickets[0].server, NAME);
            let client = second(client(&ca).suites(&[suite]), &tickets);
            for resumed in [true, true] {
                let pair = Pair::connected(&client, &server);
                assert_eq!(pair.client.session.resumed(), resumed, "{suite:?}");
                assert_eq!(pair.client.session.suite(), Some(suite));
                assert_eq!(pair.client.session.peer_certificates().count(), 1);
            }
        }
    }
}

#[test]
fn tickets_of_a_resumed_session_can_be_written_down_too() {
    let ca = Authority::new("CA");
    let server = server(&ca).build().unwrap();
    let mut tickets = first(&ca, &server, Suite::Aes128Gcm);
    for _ in 0..3 {
        let store = TicketStore::saving(16);
        assert!(store.import(&tickets.pop().unwrap().bytes));
        let client = client(&ca).tickets(Some(store.clone())).build().unwrap();
        assert!(Pair::connected(&client, &server).client.session.resumed());
        tickets = store.export(false);
        assert_eq!(tickets.len(), 2);
    }
}

#[test]
fn what_was_put_in_stays_for_the_connection_that_needs_it() {
    let ca = Authority::new("CA");
    let server = server(&ca).build().unwrap();
    let tickets = first(&ca, &server, Suite::Aes128Gcm);
    let store = TicketStore::saving(16);
    assert!(store.import(&tickets[0].bytes));
    // Another connection of the process wants to begin.
    assert!(store.export(false).is_empty());
    let client = client(&ca).tickets(Some(store.clone())).build().unwrap();
    assert!(Pair::connected(&client, &server).client.session.resumed());
    assert!(store.import(&tickets[1].bytes));
    assert_eq!(store.export(true).len(), 3);
    assert!(store.is_empty());
}

#[test]
fn early_data() {
    let ca = Authority::new("CA");
    let server = server(&ca).early_data(true).build().unwrap();
    let tickets = first(&ca, &server, Suite::Aes256Gcm);
    let suites = [Suite::Aes256Gcm];
    let client = second(client(&ca).early_data(true).suites(&suites), &tickets);
    let mut pair = Pair::new(&client, &server);
    assert_eq!(pair.client.session.remembered_parameters(), Some(&b"server parameters"[..]));
    let ours = pair.client.session.zero_rtt_keys().unwrap();
    for (_, bytes) in pair.client.flight() {
        pair.server.session.read(&bytes).unwrap();
    }
    check_direction(&ours, &pair.server.session.zero_rtt_keys().unwrap());
    pair.run().unwrap();
    assert_eq!(pair.client.session.early_data_accepted(), Some(true));
}

#[test]
fn tickets_come_in_pieces() {
    let ca = Authority::new("CA");
    let server = server(&ca).build().unwrap();
    let store = TicketStore::saving(16);
    let client = client(&ca).tickets(Some(store.clone())).build().unwrap();
    Pair::new(&client, &server).run_in_pieces(7).unwrap();
    assert_eq!(store.len(), 2);
}

/// A ticket is worth no more than the certificate that came with it.
#[test]
fn trust_is_checked_again() {
    let (ca, other) = (Authority::new("CA"), Authority::new("other"));
    let server = server(&ca).build().unwrap();
    let tickets = first(&ca, &server, Suite::Aes128Gcm);
    let refused = |client: &ClientConfig| {
        let mut pair = Pair::new(client, &server);
        pair.run().unwrap_err().client().alert
    };
    assert_eq!(refused(&second(client(&other), &tickets)), 48, "another CA");
    assert_eq!(refused(&second(client(&ca).pins(&[[0; 32]]), &tickets)), 46, "another key");
    let year = 365 * 86_400;
    let later = client(&ca).clock(Arc::new(move || NOW + year));
    assert_eq!(refused(&second(later, &tickets)), 45, "the certificate has expired");
    // Nothing was used up where nothing was trusted, and nothing resumed.
    let insecure = second(client(&ca).insecure_no_verification(), &tickets);
    assert!(Pair::connected(&insecure, &server).client.session.resumed());
}

#[test]
fn what_does_not_fit_is_left_alone() {
    let ca = Authority::new("CA");
    let server_config = server(&ca).build().unwrap();
    let tickets = first(&ca, &server_config, Suite::Aes128Gcm);
    let resumed =
        |client: &ClientConfig| Pair::connected(client, &server_config).client.session.resumed();
    assert!(!resumed(&second(client(&ca).suites(&[Suite::Aes256Gcm]), &tickets)));
    let identity = ca.client("client.example");
    let known =
        client(&ca).certificate(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap();
    assert!(!resumed(&second(known, &tickets)), "as somebody else");
    let time = Arc::new(AtomicU64::new(tickets[0].expires));
    let clock = time.clone();
    let late = client(&ca).clock(Arc::new(move || clock.load(Ordering::Relaxed)));
    assert!(!resumed(&second(late, &tickets)), "too old");
    assert!(resumed(&second(client(&ca), &tickets)));
    assert!(!TicketStore::new(1).import(&tickets[0].bytes), "a store in memory only");
    assert!(!TicketStore::saving(1).import(b"nonsense"));
}
