//! What two networks carry together, in virtual time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, too")]

use tquic_sim::Duration;
use tquic_sim::link::{Limit, LinkConfig, QueueConfig, Rate};
use tquic_sim::trial::plan::{Act, ConnectionPlan, Ending, Plan, Start, Transfer, What};
use tquic_sim::trial::{draw, run};
use tquic_wire::{Direction, Side};

const MS: Duration = Duration::from_millis(1);
const BYTES: u64 = 25_000_000;

/// A network of `rate` Mbit/s with a round trip of `rtt` milliseconds and a queue of one such.
fn network(rate: u64, rtt: u32) -> (LinkConfig, LinkConfig) {
    let packets = (rate * u64::from(rtt) * 1000 / 8 / 1500).max(20);
    let link = LinkConfig {
        rate: Some(Rate::bps(rate * 1_000_000)),
        delay: MS * rtt / 2,
        overhead: 28,
        queue: QueueConfig::DropTail(Limit::Packets(packets)),
        ..LinkConfig::default()
    };
    (link.clone(), link)
}

/// Mbit/s at which a large stream goes `upwards` or downwards, over the first network or both.
fn goodput(first: (u64, u32), second: Option<(u64, u32)>, upwards: bool) -> f64 {
    let mut plan: Plan = draw(Some("transfer"), 1).unwrap();
    (plan.client, plan.server) = Default::default();
    for config in [&mut plan.client, &mut plan.server] {
        config.max_paths = Some(2);
    }
    (plan.tls, plan.host) = Default::default();
    (plan.network.to_server, plan.network.to_client) = network(first.0, first.1);
    plan.network.second = second.map(|(rate, rtt)| network(rate, rtt));
    let (request, response) = if upwards { (BYTES, 1) } else { (1, BYTES) };
    let open = Act { side: Side::Client, at: MS, what: What::OpenPath(1) };
    plan.connections = vec![ConnectionPlan {
        start: Start::At(Duration::ZERO),
        use_token: false,
        transfers: vec![Transfer {
            opener: Side::Client,
            direction: Direction::Bidirectional,
            request,
            response,
            delay: MS * 500,
            chunk: 1 << 18,
            cut: None,
        }],
        acts: second.map(|_| open).into_iter().collect(),
        ending: Ending::Close(Side::Client),
        read_rate: None,
    }];
    plan.limit = Duration::from_secs(600);
    let report = run(plan).unwrap_or_else(|failure| panic!("{failure}"));
    let seconds = (report.served - tquic_sim::Instant::ZERO).as_secs_f64() - 0.5;
    BYTES as f64 * 8.0 / 1e6 / seconds
}

#[test]
fn two_networks_carry_what_both_can() {
    for (name, first, second, least) in [
        ("equal", (50, 20), (50, 20), 0.95),
        ("4:1 rate", (80, 20), (20, 20), 0.9),
        ("3:1 round trip", (50, 20), (50, 60), 0.9),
        ("4:1 rate, 1:3 round trip", (80, 60), (20, 20), 0.9),
        ("4:1 rate, 3:1 round trip", (80, 20), (20, 60), 0.9),
        ("10:1 both", (100, 10), (10, 100), 0.0),
    ] {
        for upwards in [false, true] {
            let alone = [first, second].map(|network| goodput(network, None, upwards));
            let both = goodput(first, Some(second), upwards);
            let share = both / (alone[0] + alone[1]);
            println!("{name}, up {upwards}: {alone:.1?} alone, {both:.1} together, {share:.3}");
            assert!(share >= least, "{name}: {share:.3} of the sum");
            assert!(both >= 0.97 * alone[0].max(alone[1]), "{name}: {both:.1}, {alone:.1?} alone");
        }
    }
}
