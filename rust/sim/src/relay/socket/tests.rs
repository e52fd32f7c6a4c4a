use super::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn drain(receiver: &mut Receiver, socket: &RelaySocket) -> Vec<Outgoing> {
    let mut got = Vec::new();
    while let Ok(overflow) = receiver.receive(socket, |d| {
        got.push(Outgoing { to: Some(d.from), tos: d.tos, bytes: d.bytes.to_vec() });
    }) {
        assert!(overflow.is_none_or(|dropped| dropped == 0));
    }
    got
}

/// Sends 200 datagrams there and back; `tos` and `size` decide how they form trains.
fn exchange(local: SocketAddr, tos: fn(usize) -> u8, size: fn(usize) -> usize) {
    let server = RelaySocket::open(local, None).unwrap();
    let client = RelaySocket::open(local, Some(server.local_addr().unwrap())).unwrap();
    let sent: Vec<_> = (0..200)
        .map(|k| Outgoing { to: None, tos: tos(k), bytes: vec![k as u8; size(k)] })
        .collect();
    let mut receiver = Receiver::new();
    assert_eq!(client.send(&sent), 0);
    let there = drain(&mut receiver, &server);
    assert_eq!(server.send(&there), 0);
    let back = drain(&mut receiver, &client);
    for (got, from) in [(there, client.local_addr()), (back, server.local_addr())] {
        assert_eq!(got.len(), sent.len());
        let from = from.ok();
        for (got, sent) in got.iter().zip(&sent) {
            assert_eq!((got.tos, &got.bytes, got.to), (sent.tos, &sent.bytes, from));
        }
    }
}

#[test]
fn order_content_and_tos_survive_however_trains_form() {
    for local in
        [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))]
    {
        exchange(local, |_| 0, |_| 1200);
        exchange(local, |k| 0b1011_1000 | (k / 7 % 4) as u8, |_| 1200);
        exchange(local, |k| (k % 4) as u8, |_| 1);
        exchange(local, |_| 1, |k| 1000 + k);
        exchange(local, |_| 2, |k| 1500 - k);
        exchange(local, |_| 3, |k| if k % 10 == 9 { 0 } else { 900 + k / 50 });
    }
}

#[test]
fn a_dead_peer_costs_datagrams_but_no_error() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let gone = RelaySocket::open(any, None).unwrap().local_addr().unwrap();
    let client = RelaySocket::open(any, Some(gone)).unwrap();
    let small = || Outgoing { to: None, tos: 0, bytes: vec![1] };
    for _ in 0..3 {
        assert!(client.send(&[small(), small(), small()]) <= 3);
    }
    // A datagram beyond what UDP can carry is left out, the others are sent.
    let huge = Outgoing { to: None, tos: 0, bytes: vec![0; 70_000] };
    let server = RelaySocket::open(any, None).unwrap();
    let client = RelaySocket::open(any, server.local_addr().ok()).unwrap();
    assert_eq!(client.send(&[small(), huge, small(), small()]), 1);
    assert_eq!(drain(&mut Receiver::new(), &server).len(), 3);
}
