//! The scenarios: which faults and which work come together.

use super::draw::{Dice, connection, small_windows, transfer};
use super::plan::{Act, Change, Cut, EcnFault, Ending, Plan, Start, What};
use crate::link::{
    Aggregation, CodelConfig, Corruption, DualPi2Config, Jitter, Limit, LinkConfig, Loss,
    PolicerConfig, QueueConfig, Rate, Reorder, StepConfig,
};
use crate::random::Probability;
use tquic_core::config::RetryPolicy;
use tquic_core::multipath::Scheduler;
use tquic_core::time::{Duration, Instant};
use tquic_wire::{Direction, Side, Version};

/// A scenario.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub draw: fn(&mut Plan, &mut Dice),
}

/// All of them.
pub const ALL: [Scenario; 18] = [
    Scenario {
        name: "handshake",
        about: "faults on the first datagrams, all kinds of handshakes",
        draw: handshake,
    },
    Scenario { name: "transfer", about: "uploads and downloads over lossy links", draw: transfers },
    Scenario {
        name: "streams",
        about: "many streams, resets and stops, small windows, slow readers",
        draw: streams,
    },
    Scenario { name: "datagrams", about: "unreliable datagrams beside streams", draw: datagrams },
    Scenario { name: "keys", about: "key updates from both ends", draw: keys },
    Scenario {
        name: "migrate",
        about: "the client changes its address, also to another path",
        draw: migrate,
    },
    Scenario {
        name: "multipath",
        about: "paths are opened, cut off, abandoned and advised against at any time",
        draw: multipath,
    },
    Scenario { name: "rebind", about: "a NAT changes the client's port or address", draw: rebind },
    Scenario {
        name: "spoof",
        about: "copies of the client's datagrams from a stranger's address",
        draw: spoof,
    },
    Scenario {
        name: "resume",
        about: "0-RTT and tokens on later connections, accepted or not",
        draw: resume,
    },
    Scenario {
        name: "close",
        about: "either end closes at any time, in the handshake too",
        draw: close,
    },
    Scenario { name: "idle", about: "silence: idle timeouts and keep-alive", draw: idle },
    Scenario { name: "outage", about: "the link is down for seconds", draw: outage },
    Scenario {
        name: "pause",
        about: "either end stands still for a while: its clock jumps",
        draw: pause,
    },
    Scenario { name: "mtu", about: "small and shrinking MTU", draw: mtu },
    Scenario {
        name: "queues",
        about: "AQM, marks, policers, and networks that damage ECN",
        draw: queues,
    },
    Scenario {
        name: "restart",
        about: "the server loses its state: stateless resets",
        draw: restart,
    },
    Scenario { name: "crowd", about: "many connections at once, Retry when busy", draw: crowd },
];

const MS: Duration = Duration::from_millis(1);

/// A link without faults but with limits, both ways.
pub fn link(plan: &mut Plan, dice: &mut Dice) {
    let delay = dice.time(MS / 10, MS * 200);
    for link in [&mut plan.network.to_server, &mut plan.network.to_client] {
        link.delay = delay;
        if dice.percent(85) {
            link.rate = Some(Rate::bps(dice.log(500_000, 1_000_000_000)));
            link.overhead = 28;
            link.queue = QueueConfig::DropTail(Limit::Packets(dice.log(16, 512)));
        }
    }
}

fn both(plan: &mut Plan, mut change: impl FnMut(&mut LinkConfig)) {
    change(&mut plan.network.to_server);
    change(&mut plan.network.to_client);
}

/// Losses that a connection must survive.
fn lossy(plan: &mut Plan, dice: &mut Dice) {
    both(plan, |link| {
        let loss = match dice.between(0, 9) {
            0..=3 => Loss::Random(Probability::ppm(dice.log(1_000, 50_000))),
            4..=5 => Loss::Limited {
                chance: Probability::percent(dice.between(5, 30)),
                burst: dice.between(1, 3) as u32,
            },
            6..=7 => Loss::GilbertElliott {
                worsen: Probability::ppm(dice.log(500, 20_000)),
                recover: Probability::percent(dice.between(20, 50)),
                good: Probability::NEVER,
                bad: Probability::percent(dice.between(30, 90)),
            },
            _ => return,
        };
        link.loss.push(loss);
    });
}

/// What else may happen to packets behind the wire.
fn impaired(plan: &mut Plan, dice: &mut Dice) {
    both(plan, |link| {
        if dice.percent(40) {
            link.jitter =
                Jitter { max: dice.time(MS / 100, MS * 30), may_reorder: dice.percent(30) };
        }
        if dice.percent(30) {
            link.reorder = Reorder {
                chance: Probability::percent(dice.log(1, 20)),
                extra: dice.time(MS / 10, MS * 50),
            };
        }
        if dice.percent(30) {
            link.duplicate = Probability::percent(dice.log(1, 20));
        }
        if dice.percent(25) {
            link.corruption = Some(Corruption {
                chance: Probability::percent(dice.log(1, 15)),
                burst: 3,
                within: dice.pick(&[51, 1500]),
                spare_version_negotiation: true,
            });
        }
        if dice.percent(20) {
            link.aggregation = Some(Aggregation {
                bytes: dice.log(2_000, 64_000),
                time: dice.time(MS / 10, MS * 20),
            });
        }
    });
}

fn more_transfers(plan: &mut Plan, dice: &mut Dice, most: u64, count: u64) {
    let connection = &mut plan.connections[0];
    for _ in 0..count {
        connection.transfers.push(transfer(dice, most));
    }
}

fn handshake(plan: &mut Plan, dice: &mut Dice) {
    plan.connections[0].transfers = vec![transfer(dice, 3_000)];
    plan.tls.large_certificate = dice.percent(30);
    plan.tls.post_quantum = dice.percent(25);
    plan.tls.hello_retry = dice.percent(10);
    plan.retry = dice.pick(&[RetryPolicy::Always, RetryPolicy::WhenBusy, RetryPolicy::Never]);
    for config in [&mut plan.client, &mut plan.server] {
        config.versions = dice
            .pick(&[
                &[Version::V1, Version::V2] as &[Version],
                &[Version::V1],
                &[Version::V2, Version::V1],
                &[Version::V2],
            ])
            .to_vec();
    }
    both(plan, |link| {
        let lost: Vec<u64> = (1..=12).filter(|_| dice.percent(25)).collect();
        link.loss.push(Loss::Listed(lost));
    });
    if dice.percent(30) {
        lossy(plan, dice);
    }
    impaired(plan, dice);
}

fn transfers(plan: &mut Plan, dice: &mut Dice) {
    let more = dice.between(0, 3);
    more_transfers(plan, dice, 200_000, more);
    lossy(plan, dice);
    impaired(plan, dice);
}

fn streams(plan: &mut Plan, dice: &mut Dice) {
    let more = dice.log(2, 150);
    more_transfers(plan, dice, 10_000, more);
    for config in [&mut plan.client, &mut plan.server] {
        if dice.percent(60) {
            small_windows(config, dice);
        }
        config.streams.max_streams_bidi = dice.log(1, 128);
        config.streams.max_streams_uni = dice.log(1, 128);
        config.streams.turn = dice.log(1, 16) as u32;
    }
    let connection = &mut plan.connections[0];
    if dice.percent(40) {
        connection.read_rate = Some(dice.log(500, 100_000) as usize);
    }
    for t in &mut connection.transfers {
        t.delay = dice.moment(MS * 200);
        if dice.percent(30) {
            let response = t.direction == Direction::Bidirectional && dice.percent(50);
            let len = if response { t.response } else { t.request };
            let (by_sender, after) = (dice.percent(50), dice.between(0, len));
            let reliable = if dice.percent(50) { dice.between(0, after) } else { 0 };
            t.cut = Some(Cut { response, by_sender, after, reliable });
        }
    }
    if dice.percent(50) {
        lossy(plan, dice);
    }
    if dice.percent(50) {
        impaired(plan, dice);
    }
}

fn datagrams(plan: &mut Plan, dice: &mut Dice) {
    for config in [&mut plan.client, &mut plan.server] {
        config.datagrams.max_frame_size = dice.pick(&[65_535, 65_535, 1200, 100, 0]);
        config.datagrams.send_queue = dice.log(100, 1 << 20) as usize;
        config.datagrams.receive_queue = dice.log(100, 1 << 20) as usize;
    }
    let acts = dice.between(1, 10);
    for _ in 0..acts {
        let what =
            What::Datagrams { count: dice.log(1, 60) as u32, size: dice.log(8, 1400) as usize };
        let act = Act { side: dice.side(), at: dice.moment(MS * 1000), what };
        plan.connections[0].acts.push(act);
    }
    lossy(plan, dice);
    impaired(plan, dice);
}

fn keys(plan: &mut Plan, dice: &mut Dice) {
    for config in [&mut plan.client, &mut plan.server] {
        if dice.percent(70) {
            config.key_update_interval = Some(dice.log(1, 100));
        }
    }
    let acts = dice.between(0, 8);
    for _ in 0..acts {
        let act = Act { side: dice.side(), at: dice.moment(MS * 3000), what: What::UpdateKeys };
        plan.connections[0].acts.push(act);
    }
    let more = dice.between(1, 5);
    more_transfers(plan, dice, 100_000, more);
    for t in &mut plan.connections[0].transfers {
        t.delay = dice.moment(MS * 2000);
    }
    lossy(plan, dice);
    impaired(plan, dice);
}

fn migrate(plan: &mut Plan, dice: &mut Dice) {
    if dice.percent(60) {
        let mut other = plan.network.clone();
        let delay = dice.time(MS / 10, MS * 200);
        for link in [&mut other.to_server, &mut other.to_client] {
            link.delay = delay;
            link.rate = Some(Rate::bps(dice.log(500_000, 100_000_000)));
        }
        plan.network.second = Some((other.to_server, other.to_client));
    }
    plan.preferred = dice.percent(30);
    let moves = dice.between(1, 4);
    for _ in 0..moves {
        let act = Act {
            side: Side::Client,
            at: dice.moment(MS * 3000),
            what: What::Migrate(dice.between(0, 3) as u16),
        };
        plan.connections[0].acts.push(act);
    }
    spread(plan, dice, 3000);
    if dice.percent(50) {
        lossy(plan, dice);
    }
    if dice.percent(50) {
        impaired(plan, dice);
    }
}

fn multipath(plan: &mut Plan, dice: &mut Dice) {
    for config in [&mut plan.client, &mut plan.server] {
        config.max_paths = Some(dice.between(2, 4) as u32);
        config.scheduler = dice.pick(&Scheduler::ALL).1;
        if dice.percent(30) {
            config.reinject_after = Some(dice.time(MS, MS * 500));
        }
    }
    if dice.percent(80) {
        let mut other = plan.network.clone();
        let delay = dice.time(MS / 10, MS * 200);
        for link in [&mut other.to_server, &mut other.to_client] {
            link.delay = delay;
            link.rate = Some(Rate::bps(dice.log(500_000, 100_000_000)));
        }
        plan.network.second = Some((other.to_server, other.to_client));
    }
    // If both ends abandoned at the same time, nothing might be left; and nobody should abandon all
    // but the one that is cut off.
    let abandoner = dice.side();
    let (abandons, cut) = dice.pick(&[(4, false), (4, false), (0, true), (0, true), (4, true)]);
    plan.may_die = abandons > 0 && cut;
    for (times, kind) in
        [(dice.between(1, 6), 0), (dice.between(0, abandons), 1), (dice.between(0, 6), 2)]
    {
        for _ in 0..times {
            let path = dice.between(0, 3) as u16;
            let (side, what) = match kind {
                0 => (Side::Client, What::OpenPath(path)),
                1 => (abandoner, What::AbandonPath(path)),
                // Whether it is true or not.
                _ if dice.percent(40) => (Side::Client, What::Local(path, dice.percent(40))),
                _ => (dice.side(), What::AdvisePath(path, dice.percent(60))),
            };
            plan.connections[0].acts.push(Act { side, at: dice.moment(MS * 3000), what });
        }
    }
    if dice.percent(30) {
        let what = What::Rebind { index: 0, other_host: dice.percent(40) };
        plan.connections[0].acts.push(Act { side: Side::Client, at: dice.moment(MS * 3000), what });
        // Only the client can tell the NAT that it still wants to hear.
        plan.client.keep_alive = Some(dice.time(MS * 500, MS * 5000));
    }
    if cut {
        cut_one_path(plan, dice);
    }
    spread(plan, dice, 4000);
    if dice.percent(40) {
        lossy(plan, dice);
    }
    if dice.percent(40) {
        impaired(plan, dice);
    }
}

/// One of two networks carries nothing for a while, perhaps one way only.
fn cut_one_path(plan: &mut Plan, dice: &mut Dice) {
    let start = Instant::ZERO + dice.moment(MS * 3000);
    let span = start..start + dice.time(MS * 100, MS * 4000);
    let links = match &mut plan.network.second {
        Some((there, back)) if dice.percent(50) => [there, back],
        _ => [&mut plan.network.to_server, &mut plan.network.to_client],
    };
    let ways = dice.pick(&[[true, true], [true, false], [false, true]]);
    for (link, cut) in links.into_iter().zip(ways) {
        if cut {
            link.schedule.outages.push(span.clone());
        }
    }
}

/// Streams all over the first so many milliseconds.
fn spread(plan: &mut Plan, dice: &mut Dice, millis: u32) {
    let more = dice.between(2, 8);
    more_transfers(plan, dice, 60_000, more);
    for t in &mut plan.connections[0].transfers {
        t.delay = dice.moment(MS * millis);
    }
}

fn rebind(plan: &mut Plan, dice: &mut Dice) {
    let times = dice.between(1, 5);
    for index in 0..times {
        let what = What::Rebind { index: index as u16, other_host: dice.percent(40) };
        let act = Act { side: Side::Client, at: dice.moment(MS * 4000), what };
        plan.connections[0].acts.push(act);
    }
    // Only the client can tell the NAT that it still wants to hear.
    plan.client.keep_alive = Some(dice.time(MS * 500, MS * 5000));
    spread(plan, dice, 4000);
    if dice.percent(40) {
        lossy(plan, dice);
    }
    if dice.percent(40) {
        impaired(plan, dice);
    }
}

fn spoof(plan: &mut Plan, dice: &mut Dice) {
    plan.network.spoof_ppm = dice.log(1_000, 300_000);
    plan.client.keep_alive = Some(dice.time(MS * 500, MS * 5000));
    spread(plan, dice, 4000);
    if dice.percent(40) {
        lossy(plan, dice);
    }
}

fn resume(plan: &mut Plan, dice: &mut Dice) {
    plan.tls.client_early = dice.percent(80);
    plan.tls.server_early = dice.percent(80);
    plan.tls.forgets = dice.percent(25);
    let more = dice.between(1, 3);
    for _ in 0..more {
        let mut next = connection(dice);
        next.start = Start::AfterPrevious(dice.moment(MS * 2000));
        next.use_token = dice.percent(70);
        let extra = dice.between(0, 6);
        for _ in 0..extra {
            next.transfers.push(transfer(dice, 20_000));
        }
        plan.connections.push(next);
    }
    if dice.percent(50) {
        both(plan, |link| {
            link.loss.push(Loss::Listed((1..=40).filter(|_| dice.percent(15)).collect()));
        });
    }
    if dice.percent(50) {
        lossy(plan, dice);
    }
    impaired(plan, dice);
}

fn close(plan: &mut Plan, dice: &mut Dice) {
    let round = plan.network.to_server.delay + plan.network.to_client.delay;
    let rounds = dice.between(0, 6) as u32;
    let at = round * rounds + dice.moment(round);
    plan.connections[0].ending =
        Ending::Abort { by: dice.side(), at, code: dice.between(0, 1 << 40) };
    let more = dice.between(0, 5);
    more_transfers(plan, dice, 60_000, more);
    if dice.percent(60) {
        lossy(plan, dice);
    }
    if dice.percent(60) {
        impaired(plan, dice);
    }
}

fn idle(plan: &mut Plan, dice: &mut Dice) {
    let seconds = Duration::from_secs;
    plan.client.max_idle_timeout = seconds(dice.pick(&[0, 5, 10, 30]));
    plan.server.max_idle_timeout = seconds(dice.pick(&[5, 10, 30]));
    let spoken = [plan.client.max_idle_timeout, plan.server.max_idle_timeout];
    let effective = spoken.into_iter().filter(|t| !t.is_zero()).min().unwrap_or_default();
    // Whatever the network does, the idle timeout is not to strike in the middle of things.
    both(plan, |link| link.delay = link.delay.min(MS * 100));
    plan.network.to_server.rate = None;
    plan.network.to_client.rate = None;
    if dice.percent(50) {
        plan.connections[0].ending = Ending::Idle;
    } else {
        // Streams far apart, and something that bridges the silence.
        let keeper = dice.side();
        let config = if keeper == Side::Client { &mut plan.client } else { &mut plan.server };
        config.keep_alive = Some(effective / dice.between(2, 6) as u32);
        let more = dice.between(1, 3);
        more_transfers(plan, dice, 10_000, more);
        for t in &mut plan.connections[0].transfers {
            t.delay = dice.moment(effective * 3);
        }
    }
}

fn outage(plan: &mut Plan, dice: &mut Dice) {
    let spans = dice.between(1, 3);
    let both_ways = dice.percent(60);
    let mut from = Instant::ZERO;
    for _ in 0..spans {
        let start = from + dice.moment(MS * 2000);
        let end = start + dice.time(MS * 100, MS * 4000);
        from = end;
        plan.network.to_server.schedule.outages.push(start..end);
        if both_ways {
            plan.network.to_client.schedule.outages.push(start..end);
        }
    }
    spread(plan, dice, 4000);
    if dice.percent(40) {
        lossy(plan, dice);
    }
}

fn pause(plan: &mut Plan, dice: &mut Dice) {
    for side in [Side::Client, Side::Server] {
        let mut from = Duration::ZERO;
        for _ in 0..dice.between(0, 2) {
            let start = from + dice.moment(MS * 2000);
            let end = start + dice.time(MS, MS * 20_000);
            from = end;
            plan.pauses.push((side, start..end));
        }
    }
    spread(plan, dice, 4000);
    if dice.percent(40) {
        lossy(plan, dice);
        outlast_probes(plan);
    }
}

/// An end cannot tell a pause from a long path: a round trip that a pause made long is what probe
/// timeouts back off from (RFC 9002 sections 5.3 and 6.2.1), the first of them three times that.
/// The idle timeout must be longer than all that get lost in a row, which only has an end if the
/// link loses so many packets in a row and no more.
fn outlast_probes(plan: &mut Plan) {
    const IN_A_ROW: u32 = 4;
    let longest = plan.pauses.iter().map(|(_, span)| span.end - span.start).max();
    let backing_off = longest.unwrap_or_default() * (3 << (2 * IN_A_ROW));
    for config in [&mut plan.client, &mut plan.server] {
        config.max_idle_timeout += backing_off;
        config.handshake_timeout += backing_off;
    }
    both(plan, |link| {
        for loss in &mut link.loss {
            if matches!(loss, Loss::Random(_) | Loss::GilbertElliott { .. }) {
                let chance = Probability::ppm((loss.average() * 1e6) as u64);
                *loss = Loss::Limited { chance, burst: IN_A_ROW };
            }
        }
    });
}

fn mtu(plan: &mut Plan, dice: &mut Dice) {
    for config in [&mut plan.client, &mut plan.server] {
        config.max_udp_payload = dice.pick(&[1472, 1472, 4000, 9000, 65_507]);
        config.mtu_discovery = true;
    }
    both(plan, |link| link.mtu = Some(dice.between(1200, 2000) as u32));
    if dice.percent(60) {
        let smaller = dice.between(1200, 1500) as u32;
        plan.network.edits.push((dice.moment(MS * 3000), Change::Mtu(smaller)));
    }
    spread(plan, dice, 3000);
    more_transfers(plan, dice, 300_000, 1);
    if dice.percent(30) {
        lossy(plan, dice);
    }
}

fn queues(plan: &mut Plan, dice: &mut Dice) {
    both(plan, |link| {
        let limit = Limit::Packets(dice.log(20, 500));
        let rate = Rate::bps(dice.log(1_000_000, 200_000_000));
        link.rate = Some(rate);
        link.queue = match dice.between(0, 4) {
            0 => QueueConfig::Codel(CodelConfig::new(limit)),
            1 => QueueConfig::DualPi2(DualPi2Config::new(limit)),
            2 => QueueConfig::Step(StepConfig {
                limit,
                start: dice.time(MS, MS * 20),
                range: dice.time(MS / 100, MS * 20),
            }),
            3 => QueueConfig::Policer(PolicerConfig {
                rate: Rate::bps(rate.as_bps() / 2),
                burst: dice.log(15_000, 200_000),
                limit,
            }),
            _ => QueueConfig::DropTail(limit),
        };
    });
    for config in [&mut plan.client, &mut plan.server] {
        config.ecn = true;
    }
    for fault in &mut plan.network.ecn {
        *fault = dice.pick(&[
            EcnFault::None,
            EcnFault::None,
            EcnFault::None,
            EcnFault::Bleach,
            EcnFault::AllCe,
            EcnFault::Remark,
        ]);
    }
    let more = dice.between(1, 3);
    more_transfers(plan, dice, 300_000, more);
    if dice.percent(30) {
        lossy(plan, dice);
    }
    if dice.percent(30) {
        impaired(plan, dice);
    }
}

fn restart(plan: &mut Plan, dice: &mut Dice) {
    plan.restart = Some(dice.moment(MS * 3000));
    spread(plan, dice, 4000);
    if dice.percent(30) {
        lossy(plan, dice);
    }
}

fn crowd(plan: &mut Plan, dice: &mut Dice) {
    plan.retry = dice.pick(&[RetryPolicy::WhenBusy, RetryPolicy::Always]);
    plan.retry_above = dice.between(0, 4) as usize;
    let others = dice.between(2, 8);
    for _ in 0..others {
        let mut next = connection(dice);
        next.start = Start::At(dice.moment(MS * 500));
        plan.connections.push(next);
    }
    plan.connections.sort_by_key(|c| match c.start {
        Start::At(time) | Start::AfterPrevious(time) => time,
    });
    if dice.percent(50) {
        lossy(plan, dice);
    }
    if dice.percent(40) {
        impaired(plan, dice);
    }
}
