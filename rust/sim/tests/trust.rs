//! Why the simulator's numbers can be believed: it obeys queueing theory and repeats itself.

mod common;

use common::{Dumbbell, Response};
use proptest::prelude::*;
use std::net::SocketAddr;
use tquic_sim::link::{
    Cause, CodelConfig, Corruption, DualPi2Config, Jitter, Limit, Link, LinkConfig, Loss,
    PolicerConfig, QueueConfig, Rate, Reorder, StepConfig,
};
use tquic_sim::packet::{Ecn, Packet};
use tquic_sim::random::{Probability, stream};
use tquic_sim::{Duration, Instant};

fn packet(size: u32) -> Packet {
    let end = |port| SocketAddr::from(([10, 0, 0, 1], port));
    Packet::descriptor(end(1), end(2), size)
}

fn endless(rate: Rate) -> LinkConfig {
    LinkConfig::wire(rate, Duration::ZERO, Limit::Packets(u64::MAX))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Work conservation: the wire is never idle while a packet waits. Each packet leaves at
    /// max(its arrival, the departure before it) + its time on the wire, exactly.
    #[test]
    fn the_wire_never_idles_while_a_packet_waits(
        bps in 1_000u64..5_000_000_000,
        packets in prop::collection::vec((0u64..3_000_000, 1u32..9000), 1..200),
    ) {
        let mut link = Link::new(&endless(Rate::bps(bps)), 1, 0);
        // In units of 1 / bps nanoseconds, so that nothing is rounded before the end.
        let (mut now, mut free, mut departures) = (0u64, 0u128, Vec::new());
        for &(gap, size) in &packets {
            now += gap;
            link.send(Instant::from_nanos(now), packet(size));
            let start = (u128::from(now) * u128::from(bps)).max(free);
            free = start + u128::from(size) * 8 * 1_000_000_000;
            departures.push((free / u128::from(bps)) as u64);
        }
        let got: Vec<_> = std::iter::from_fn(|| link.poll(Instant::MAX)).map(|d| d.at.as_nanos()).collect();
        // An arrival within the nanosecond in which the wire becomes free may start a fraction early.
        prop_assert_eq!(got.len(), departures.len());
        for (got, expected) in got.iter().zip(&departures) {
            prop_assert!(expected - got <= 1, "{} {}", got, expected);
        }
    }

    /// Nothing appears or vanishes: what went in, and copies, came out or was dropped for a cause.
    #[test]
    fn packets_are_conserved(seed in any::<u64>(), queue in 0usize..5, gap in 100u64..3_000) {
        let limit = Limit::Packets(20);
        let rate = Rate::mbps(10);
        let queues = [
            QueueConfig::DropTail(limit),
            QueueConfig::Codel(CodelConfig::new(limit)),
            QueueConfig::DualPi2(DualPi2Config::new(limit)),
            QueueConfig::Policer(PolicerConfig { rate, burst: 5000, limit }),
            QueueConfig::Step(StepConfig { limit, start: Duration::from_millis(1), range: Duration::from_millis(4) }),
        ];
        let config = LinkConfig {
            queue: queues[queue],
            rate: Some(Rate::mbps(10)),
            mtu: Some(1400),
            loss: vec![Loss::Limited { chance: Probability::percent(10), burst: 3 }],
            jitter: Jitter { max: Duration::from_millis(9), may_reorder: true },
            reorder: Reorder { chance: Probability::percent(5), extra: Duration::from_millis(4) },
            duplicate: Probability::percent(5),
            corruption: Some(Corruption { chance: Probability::percent(5), burst: 2, within: 51, spare_version_negotiation: true }),
            ..LinkConfig::default()
        };
        let mut link = Link::new(&config, seed, 0);
        for k in 0..500 {
            let size = 200 + (k * 37 % 1250) as u32;
            let ecn = Ecn::ALL[(k % 4) as usize];
            link.send(Instant::from_nanos(k * gap * 1000), packet(size).with_ecn(ecn));
        }
        let (mut out, mut last) = (0, Instant::ZERO);
        while let Some(delivery) = link.poll(Instant::MAX) {
            prop_assert!(delivery.at >= last);
            last = delivery.at;
            out += 1;
        }
        let stats = link.stats();
        prop_assert_eq!(out, stats.delivered.packets);
        prop_assert_eq!(stats.offered.packets + stats.duplicated, out + stats.dropped_total().packets);
        prop_assert!(stats.dropped(Cause::TooBig).packets > 0);
        prop_assert_eq!(link.backlog(), (0, 0));
        prop_assert_eq!(link.next_time(), None);
    }
}

/// M/D/1: with Poisson arrivals at load r and a fixed time s on the wire, the mean wait is
/// r s / (2 (1 - r)) (Pollaczek-Khinchine).
#[test]
fn mean_wait_is_that_of_an_m_d_1_queue() {
    for load in [0.3, 0.7, 0.9] {
        // 1000 bytes at 8 Mbit/s take 1 ms.
        let mut link = Link::new(&endless(Rate::mbps(8)), 1, 0);
        let mut rng = stream(42, "arrivals", 0);
        let mut now = 0.0;
        for _ in 0..300_000 {
            let uniform = (rng.u64() >> 11) as f64 / (1u64 << 53) as f64;
            now += -(1.0 - uniform).ln() * 1_000_000.0 / load;
            link.send(Instant::from_nanos(now as u64), packet(1000));
        }
        while link.poll(Instant::MAX).is_some() {}
        let wait = link.stats().sojourn.mean().as_secs_f64() * 1000.0;
        let expected = load / (2.0 * (1.0 - load));
        assert!((wait / expected - 1.0).abs() < 0.04, "load {load}: {wait} ms, not {expected} ms");
    }
}

/// A second of full packets at 10 Gbit/s carries 10 Gbit, to the packet.
#[test]
fn rate_is_exact_over_a_second() {
    let mut link = Link::new(&endless(Rate::mbps(10_000)), 1, 0);
    let packets = 10_000_000_000 / 8 / 1472 + 10;
    (0..packets).for_each(|_| link.send(Instant::ZERO, packet(1472)));
    let second = Instant::from_nanos(1_000_000_000);
    let count = std::iter::from_fn(|| link.poll(second)).count() as u64;
    assert_eq!(count, packets - 10);
}

#[test]
fn same_seed_same_trace() {
    let run = |seed| {
        let dual = QueueConfig::DualPi2(DualPi2Config::new(Limit::Packets(200)));
        let flows = [(Ecn::Ect1, Response::Scalable), (Ecn::NotEct, Response::Halving)];
        let mut dumbbell =
            Dumbbell::new(seed, Rate::mbps(30), Duration::from_millis(30), dual, &flows);
        dumbbell.run(1, 10);
        assert!(dumbbell.stats().delivered.packets > 10_000);
        dumbbell.simulation.network.trace_hash()
    };
    for seed in 1..4 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}
