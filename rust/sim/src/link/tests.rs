use super::*;
use crate::packet::Ecn;
use std::net::{Ipv4Addr, SocketAddr};

fn packet(id: u64, size: u32) -> Packet {
    let end = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Packet { id, ..Packet::descriptor(end(1), end(2), size) }
}

fn ms(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn drain(link: &mut Link) -> Vec<(u64, u64)> {
    core::iter::from_fn(|| link.poll(Instant::MAX))
        .map(|delivery| (delivery.packet.id, delivery.at.as_nanos()))
        .collect()
}

#[test]
fn rate_queue_and_delay_add_up_to_the_nanosecond() {
    // 1250 bytes at 10 Mbit/s take 1 ms.
    let config = LinkConfig::wire(Rate::mbps(10), Duration::from_millis(15), Limit::Packets(2));
    let mut link = Link::new(&config, 1, 0);
    (0..5).for_each(|id| link.send(Instant::ZERO, packet(id, 1250)));
    assert_eq!(link.backlog(), (2, 2500));
    assert_eq!(link.next_time(), Some(ms(1)));
    // One on the wire, two waiting, two dropped.
    assert_eq!(drain(&mut link), [(0, 16_000_000), (1, 17_000_000), (2, 18_000_000)]);
    assert_eq!(link.stats().dropped(Cause::QueueFull).packets, 2);
    assert_eq!(link.stats().sojourn.max(), Duration::from_millis(2));
    assert_eq!(link.next_time(), None);
}

#[test]
fn asking_late_changes_nothing() {
    let config = LinkConfig {
        jitter: Jitter { max: Duration::from_millis(3), may_reorder: true },
        loss: vec![Loss::Random(Probability::percent(10))],
        duplicate: Probability::percent(5),
        aggregation: Some(Aggregation { bytes: 5000, time: Duration::from_millis(4) }),
        ..LinkConfig::wire(Rate::mbps(8), Duration::from_millis(7), Limit::Bytes(8000))
    };
    let run = |poll_every: u64| {
        let mut link = Link::new(&config, 9, 0);
        let mut out = Vec::new();
        for step in 0..3000 {
            link.send(Instant::from_nanos(step * 900_001), packet(step, 1000));
            if step % poll_every == 0 {
                let now = Instant::from_nanos(step * 900_001);
                out.extend(core::iter::from_fn(|| link.poll(now)).map(|d| (d.at, d.packet.id)));
            }
        }
        out.extend(drain(&mut link).into_iter().map(|(id, at)| (Instant::from_nanos(at), id)));
        out
    };
    let prompt = run(1);
    assert!(prompt.len() > 2500);
    assert_eq!(prompt, run(97));
}

#[test]
fn outage_mtu_and_loss_have_their_own_counters() {
    let config = LinkConfig {
        schedule: Schedule { outages: vec![ms(10)..ms(20)], ..Schedule::default() },
        mtu: Some(1400),
        loss: vec![Loss::First(1)],
        ..LinkConfig::default()
    };
    let mut link = Link::new(&config, 1, 0);
    for (time, size) in [(0, 100), (1, 1401), (2, 1400), (10, 100), (20, 100)] {
        link.send(ms(time), packet(time, size));
    }
    assert_eq!(drain(&mut link), [(2, 2_000_000), (20, 20_000_000)]);
    for cause in [Cause::Loss, Cause::TooBig, Cause::Outage] {
        assert_eq!(link.stats().dropped(cause).packets, 1, "{cause:?}");
    }
    assert_eq!(link.stats().dropped_total(), Count { packets: 3, bytes: 1601 });
}

#[test]
fn rate_changes_by_the_clock() {
    let mut config = LinkConfig::wire(Rate::mbps(8), Duration::ZERO, Limit::Packets(100));
    config.schedule.rates = vec![(ms(3), Some(Rate::mbps(80)))];
    let mut link = Link::new(&config, 1, 0);
    (0..6).for_each(|id| link.send(Instant::ZERO, packet(id, 1000)));
    let times: Vec<_> = drain(&mut link).into_iter().map(|(_, at)| at / 1000).collect();
    assert_eq!(times, [1000, 2000, 3000, 3100, 3200, 3300]);
}

#[test]
fn ordered_jitter_keeps_order_and_held_packets_are_overtaken() {
    let order = |config: &LinkConfig| {
        let mut link = Link::new(config, 5, 0);
        (0..500).for_each(|id| link.send(ms(id), packet(id, 100)));
        let order: Vec<_> = drain(&mut link).into_iter().map(|(id, _)| id).collect();
        (order, link.stats().reordered)
    };
    let mut config = LinkConfig {
        jitter: Jitter { max: Duration::from_millis(50), may_reorder: false },
        ..LinkConfig::default()
    };
    assert!(order(&config).0.is_sorted());
    config.jitter = Jitter::default();
    config.reorder = Reorder { chance: Probability::percent(10), extra: Duration::from_millis(10) };
    let (held, reordered) = order(&config);
    assert!(!held.is_sorted() && (20..90).contains(&reordered), "{reordered}");
}

#[test]
fn corruption_replaces_one_early_byte_and_spares_version_negotiation() {
    let config = LinkConfig {
        corruption: Some(Corruption {
            chance: Probability::ALWAYS,
            burst: 3,
            within: 51,
            spare_version_negotiation: true,
        }),
        ..LinkConfig::default()
    };
    let mut link = Link::new(&config, 5, 0);
    let ends = packet(0, 0);
    // A Version Negotiation packet, then four Initial packets of version 1.
    let datagrams = [[0x80, 0, 0, 0, 0], [0xc0, 0, 0, 0, 1], [0xc0, 0, 0, 0, 1]]
        .into_iter()
        .chain([[0xc0, 0, 0, 0, 1]; 2])
        .map(|start| [&start[..], &[7; 1195]].concat())
        .collect::<Vec<_>>();
    for bytes in &datagrams {
        let sent = Packet::datagram(ends.from, ends.to, Ecn::NotEct, bytes.clone());
        link.send(Instant::ZERO, sent);
    }
    for (sent, changes) in datagrams.iter().zip([0, 1, 1, 1, 0]) {
        let got = link.poll(Instant::MAX).unwrap().packet;
        let differs = |&i: &usize| got.bytes[i] != sent[i];
        assert_eq!((0..51).filter(differs).count(), changes);
        assert_eq!((51..1200).filter(differs).count(), 0);
        assert_eq!(got.corrupted, changes == 1);
    }
    assert_eq!(link.stats().corrupted, 3);
}

#[test]
fn clumps_are_released_by_size_or_time() {
    let config = LinkConfig {
        aggregation: Some(Aggregation { bytes: 300, time: Duration::from_millis(10) }),
        ..LinkConfig::default()
    };
    let mut link = Link::new(&config, 1, 0);
    (0..5).for_each(|id| link.send(ms(id), packet(id, 100)));
    let times: Vec<_> = drain(&mut link).into_iter().map(|(_, at)| at / 1_000_000).collect();
    assert_eq!(times, [2, 2, 2, 13, 13]);
}

#[test]
fn step_marks_only_who_waited_and_listens() {
    let config = LinkConfig {
        queue: QueueConfig::Step(StepConfig {
            limit: Limit::Packets(100),
            start: Duration::from_millis(1),
            range: Duration::ZERO,
        }),
        ..LinkConfig::wire(Rate::mbps(8), Duration::ZERO, Limit::Packets(0))
    };
    let mut link = Link::new(&config, 1, 0);
    for id in 0..6 {
        let ecn = if id % 2 == 0 { Ecn::Ect1 } else { Ecn::NotEct };
        link.send(Instant::ZERO, packet(id, 1000).with_ecn(ecn));
    }
    let ecn: Vec<_> =
        core::iter::from_fn(|| link.poll(Instant::MAX)).map(|d| d.packet.ecn).collect();
    // Packet k waits k ms.
    use Ecn::{Ce, Ect1, NotEct};
    assert_eq!(ecn, [Ect1, NotEct, Ce, NotEct, Ce, NotEct]);
    assert_eq!(link.stats().marked, 2);
}

#[test]
fn what_is_under_way_is_bounded() {
    let config =
        LinkConfig { delay: Duration::from_secs(1), flight_limit: 2500, ..LinkConfig::default() };
    let mut link = Link::new(&config, 1, 0);
    (0..4).for_each(|id| link.send(Instant::ZERO, packet(id, 1000)));
    assert_eq!(link.stats().dropped(Cause::FlightFull).packets, 2);
    assert_eq!(drain(&mut link).len(), 2);
    link.send(ms(2000), packet(9, 2500));
    assert_eq!(drain(&mut link).len(), 1);
}
