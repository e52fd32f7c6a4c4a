//! What ICMP says about a client's packets: when it is believed.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod pair;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pair::Pair;
use tquic_core::events::{ConnectionError, Event};

/// A pair whose client sends into the void, and its first datagram.
fn unanswered() -> (Pair, Vec<u8>) {
    let mut pair = Pair::new();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let keep = sent.clone();
    pair.client.meddler = Some(Box::new(move |datagram, _| {
        keep.lock().unwrap().push(datagram.data.clone());
        false
    }));
    pair.connect();
    pair.run_until(Duration::from_millis(1), |_| false);
    let first = sent.lock().unwrap().first().cloned().unwrap();
    (pair, first)
}

fn refused(pair: &mut Pair) -> bool {
    pair.run_until(Duration::from_millis(1), |_| false);
    let events = pair.client.take_events();
    events.iter().any(|event| matches!(event, Event::Closed(ConnectionError::Refused(_))))
}

#[test]
fn the_second_message_ends_a_handshake_that_nobody_answers() {
    let (mut pair, datagram) = unanswered();
    let (now, server) = (pair.now, pair.server_address);
    pair.client.endpoint.on_port_unreachable(now, server, &datagram[..64]);
    assert!(!refused(&mut pair));
    pair.client.endpoint.on_port_unreachable(now, server, &datagram[..64]);
    assert!(refused(&mut pair));
    assert!(pair.client.endpoint.is_empty());
}

/// RFC 9000 section 14.2.1.
#[test]
fn what_quotes_nothing_of_ours_is_not_believed() {
    let (mut pair, datagram) = unanswered();
    let (now, server) = (pair.now, pair.server_address);
    let mut foreign = datagram.clone();
    // The source connection ID stands behind the destination's 8 bytes.
    foreign[15] ^= 1;
    let elsewhere = "192.0.2.9:443".parse().unwrap();
    for _ in 0..5 {
        pair.client.endpoint.on_port_unreachable(now, server, &foreign[..64]);
        pair.client.endpoint.on_port_unreachable(now, elsewhere, &datagram[..64]);
        for len in 0..22 {
            pair.client.endpoint.on_port_unreachable(now, server, &datagram[..len]);
        }
        pair.client.endpoint.on_port_unreachable(now, server, &[0x40; 64]);
    }
    assert!(!refused(&mut pair));
}

#[test]
fn once_the_server_has_answered_nothing_is_believed() {
    let mut pair = Pair::new();
    let first = Arc::new(Mutex::new(Vec::new()));
    let keep = first.clone();
    pair.client.meddler = Some(Box::new(move |datagram, _| {
        let mut first = keep.lock().unwrap();
        if first.is_empty() {
            first.clone_from(&datagram.data);
        }
        true
    }));
    let handle = pair.connect();
    let heard = |p: &mut Pair| p.client_conn(handle).stats().datagrams_received > 0;
    assert!(pair.run_until(Duration::from_secs(1), heard));
    let (now, server) = (pair.now, pair.server_address);
    let quote = first.lock().unwrap().clone();
    for _ in 0..5 {
        pair.client.endpoint.on_port_unreachable(now, server, &quote);
    }
    assert!(!refused(&mut pair));
    assert!(!pair.client_conn(handle).is_closed());
}
