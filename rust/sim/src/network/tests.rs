use super::*;
use crate::link::{Limit, Loss, Rate};
use crate::random::Probability;
use tquic_core::time::Duration;

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

fn ms(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn arrivals(network: &mut Network) -> Vec<(u64, SocketAddr, SocketAddr)> {
    core::iter::from_fn(|| network.pop_delivered(Instant::MAX))
        .map(|d| (d.at.as_nanos() / 1_000_000, d.packet.from, d.packet.to))
        .collect()
}

#[test]
fn two_routes_share_a_bottleneck() {
    let mut network = Network::new(1);
    let (a, b, server) = (address(1, 1), address(2, 1), address(9, 443));
    // 1000 bytes take 1 ms on the access links and 10 ms on the shared one.
    let access = LinkConfig::wire(Rate::mbps(8), Duration::ZERO, Limit::Packets(9));
    let shared = LinkConfig::wire(Rate::bps(800_000), Duration::from_millis(5), Limit::Packets(9));
    let (from_a, from_b) = (network.add_link(&access), network.add_link(&access));
    let bottleneck = network.add_link(&shared);
    network.route(a, server, &[from_a, bottleneck]);
    network.route(b, server, &[from_b, bottleneck]);
    network.send(Instant::ZERO, Packet::descriptor(a, server, 1000));
    network.send(Instant::ZERO, Packet::descriptor(b, server, 1000));
    network.send(Instant::ZERO, Packet::descriptor(server, a, 1000));
    assert_eq!(network.next_event_time(), Some(ms(1)));
    assert_eq!(arrivals(&mut network), [(16, a, server), (26, b, server)]);
    assert_eq!(network.undeliverable().no_route, 1);
    assert_eq!(network.stats(bottleneck).unwrap().sojourn.max(), Duration::from_millis(10));
}

#[test]
fn rebinding_changes_the_name_outside_and_expires_the_old() {
    let mut network = Network::new(1);
    let (client, server) = (address(1, 1000), address(9, 443));
    let delay = LinkConfig { delay: Duration::from_millis(10), ..LinkConfig::default() };
    let (there, back) = (network.add_link(&delay), network.add_link(&delay));
    network.route(client, server, &[there]);
    network.route(server, client, &[back]);
    let (first, second) = (address(7, 2000), address(7, 2001));
    network.at(ms(0), Edit::Rebind { inside: client, outside: first });
    network.at(ms(50), Edit::Rebind { inside: client, outside: second });
    for (time, packet) in [
        (0, Packet::descriptor(client, server, 9)),
        (20, Packet::descriptor(server, first, 9)),
        // Under way when the binding expires.
        (45, Packet::descriptor(server, first, 9)),
        (60, Packet::descriptor(client, server, 9)),
        (80, Packet::descriptor(server, second, 9)),
    ] {
        network.send(ms(time), packet);
    }
    let expected =
        [(10, first, server), (30, server, client), (70, second, server), (90, server, client)];
    assert_eq!(arrivals(&mut network), expected);
    assert_eq!(network.undeliverable().expired_binding, 1);
}

#[test]
fn routes_change_at_their_time() {
    let mut network = Network::new(1);
    let (a, b) = (address(1, 1), address(2, 2));
    let slow =
        network.add_link(&LinkConfig { delay: Duration::from_millis(9), ..LinkConfig::default() });
    network.route_hosts(a.ip(), b.ip(), &[]);
    network.at(ms(5), Edit::Route { from: a, to: b, links: vec![slow] });
    network.at(ms(8), Edit::Unroute { from: a, to: b });
    for time in [0, 5, 8] {
        network.send_later(ms(time), Packet::descriptor(a, b, 1));
    }
    assert_eq!(arrivals(&mut network).iter().map(|a| a.0).collect::<Vec<_>>(), [0, 8, 14]);
}

#[test]
fn a_further_link_does_not_shift_chance() {
    let lossy = LinkConfig {
        loss: vec![Loss::Random(Probability::percent(20))],
        ..LinkConfig::wire(Rate::mbps(10), Duration::from_millis(1), Limit::Packets(50))
    };
    let (a, b) = (address(1, 1), address(2, 2));
    let run = |seed: u64, further: bool| {
        let mut network = Network::new(seed);
        let link = network.add_link(&lossy);
        network.route(a, b, &[link]);
        if further {
            let other = network.add_link(&lossy);
            network.route(b, a, &[other]);
        }
        for time in 0..400 {
            network.send(ms(time), Packet::descriptor(a, b, 900).with_tag(time));
            if further {
                network.send(ms(time), Packet::descriptor(b, a, 900));
            }
        }
        let mut tags = Vec::new();
        while let Some(delivery) = network.pop_delivered(Instant::MAX) {
            if delivery.packet.to == b {
                tags.push(delivery.packet.tag);
            }
        }
        (tags, network.trace_hash())
    };
    assert_eq!(run(4, false), run(4, false));
    assert_eq!(run(4, false).0, run(4, true).0);
    assert_ne!(run(4, false), run(5, false));
}
