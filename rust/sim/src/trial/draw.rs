//! Draws plans: what all scenarios have in common.

use super::plan::{ConnectionPlan, Ending, NetworkPlan, Plan, Start, TlsPlan, Transfer};
use super::scenarios::{self as all, ALL};
use crate::random::stream;
use crate::simulation::HostConfig;
use tquic_core::cc::Congestion;
use tquic_core::config::{RetryPolicy, TransportConfig};
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, nanos};
use tquic_wire::{Direction, Side, Version};

/// Bytes that leave in one piece where the system can cut trains.
const MAX_TRAIN: usize = 65_536;

/// Chance, in the shapes that plans need.
pub struct Dice(Rng);

impl Dice {
    /// Whether something with this chance in a hundred happens.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.0.below(100) < chance
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high.saturating_sub(low) + 1)
    }

    /// A number from `low` to `high` whose logarithm is uniform: small ones are as likely as large
    /// ones.
    pub fn log(&mut self, low: u64, high: u64) -> u64 {
        let (from, to) = (low.max(1).ilog2(), high.max(1).ilog2());
        let magnitude = self.between(u64::from(from), u64::from(to)) as u32;
        let base = 1_u64 << magnitude;
        self.between(base, base.saturating_mul(2).saturating_sub(1)).clamp(low, high)
    }

    /// A time from `low` to `high`, small ones as likely as large ones.
    pub fn time(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_nanos(self.log(nanos(low), nanos(high)))
    }

    /// A time from zero to `high`.
    pub fn moment(&mut self, high: Duration) -> Duration {
        Duration::from_nanos(self.between(0, nanos(high)))
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.below(of.len() as u64) as usize]
    }

    /// Either end.
    pub fn side(&mut self) -> Side {
        self.pick(&[Side::Client, Side::Server])
    }
}

/// Names of all scenarios with what they do.
pub fn scenarios() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALL.iter().map(|s| (s.name, s.about))
}

/// The plan of scenario `name` for `seed`; without a name the seed chooses it too. `None` if there
/// is no such scenario.
pub fn draw(name: Option<&str>, seed: u64) -> Option<Plan> {
    let mut dice = Dice(stream(seed, "plan", 0));
    let scenario = match name {
        Some(name) => ALL.iter().find(|s| s.name == name)?,
        None => {
            let mut which = Dice(stream(seed, "scenario", 0));
            &ALL[which.between(0, ALL.len() as u64 - 1) as usize]
        }
    };
    let mut plan = base(scenario.name, seed, &mut dice);
    (scenario.draw)(&mut plan, &mut dice);
    finish(&mut plan);
    Some(plan)
}

/// A plan with one connection and no faults, but with settings of all kinds.
fn base(scenario: &'static str, seed: u64, dice: &mut Dice) -> Plan {
    let mut plan = Plan {
        scenario,
        seed,
        network: NetworkPlan::default(),
        client: TransportConfig::default(),
        server: TransportConfig::default(),
        tls: TlsPlan {
            large_certificate: dice.percent(10),
            post_quantum: dice.percent(8),
            hello_retry: dice.percent(4),
            suite: dice.pick(&[0, 0, 0, 1, 2]),
            ..TlsPlan::default()
        },
        retry: if dice.percent(15) { RetryPolicy::Always } else { RetryPolicy::WhenBusy },
        retry_above: 256,
        preferred: false,
        host: HostConfig {
            timer_lateness: dice.pick(&[
                Duration::ZERO,
                Duration::from_micros(100),
                Duration::from_millis(2),
            ]),
            honours_release: false,
        },
        connections: Vec::new(),
        pauses: Vec::new(),
        train: MAX_TRAIN,
        restart: None,
        may_die: false,
        limit: Duration::ZERO,
    };
    for config in [&mut plan.client, &mut plan.server] {
        settings(config, dice);
    }
    all::link(&mut plan, dice);
    let connection = connection(dice);
    plan.connections.push(connection);
    plan
}

fn settings(config: &mut TransportConfig, dice: &mut Dice) {
    // Longer than any silence that a timeout backing off causes on the links drawn.
    config.max_idle_timeout = Duration::from_secs(dice.pick(&[90, 90, 120, 180]));
    config.handshake_timeout = Duration::from_secs(120);
    config.recovery.congestion = dice.pick(&Congestion::NAMED);
    config.recovery.pacing = !dice.percent(10);
    config.ack_frequency = !dice.percent(30);
    config.max_ack_delay = Duration::from_millis(dice.pick(&[25, 25, 25, 0, 5, 100]));
    config.max_udp_payload = dice.pick(&[1472, 1472, 1472, 1200, 1350, 4000]);
    config.mtu_discovery = !dice.percent(10);
    config.ecn = !dice.percent(20);
    config.grease = !dice.percent(20);
    config.active_connection_id_limit = dice.pick(&[8, 8, 2, 3, 64]);
    config.versions = dice
        .pick(&[
            &[Version::V1, Version::V2] as &[Version],
            &[Version::V1, Version::V2],
            &[Version::V1],
            &[Version::V2, Version::V1],
        ])
        .to_vec();
    if dice.percent(25) {
        small_windows(config, dice);
    }
}

/// Windows that data has to wait for.
pub fn small_windows(config: &mut TransportConfig, dice: &mut Dice) {
    let streams = &mut config.streams;
    streams.stream_window = dice.log(1 << 10, 1 << 18);
    streams.connection_window = dice.log(1 << 10, 1 << 18);
    streams.max_stream_window = streams.stream_window.max(dice.log(1 << 10, 1 << 20));
    streams.max_connection_window = streams.connection_window.max(dice.log(1 << 10, 1 << 20));
    streams.send_buffer = dice.log(1 << 9, 1 << 18);
}

/// A connection with one stream, closed by either end.
pub fn connection(dice: &mut Dice) -> ConnectionPlan {
    ConnectionPlan {
        start: Start::At(Duration::ZERO),
        use_token: false,
        transfers: vec![transfer(dice, 60_000)],
        acts: Vec::new(),
        ending: Ending::Close(dice.side()),
        read_rate: None,
    }
}

/// A stream of up to so many bytes each way.
pub fn transfer(dice: &mut Dice, most: u64) -> Transfer {
    let mut len = || if dice.percent(10) { dice.between(0, 1) } else { dice.log(1, most.max(2)) };
    let (request, response) = (len(), len());
    Transfer {
        opener: if dice.percent(75) { Side::Client } else { Side::Server },
        direction: if dice.percent(75) {
            Direction::Bidirectional
        } else {
            Direction::Unidirectional
        },
        request,
        response,
        delay: Duration::ZERO,
        chunk: dice.log(1, 65_536) as usize,
        cut: None,
    }
}

/// What follows from the rest: how long it may take.
fn finish(plan: &mut Plan) {
    let transfers = plan.connections.iter().flat_map(|c| &c.transfers);
    let (mut bytes, mut packets) = (0, 0);
    let mut reading = Duration::ZERO;
    for t in transfers {
        let total = t.request + t.response;
        bytes += total + 100;
        packets += total / 1000 + 4;
    }
    for c in &plan.connections {
        // A handshake with certificates, Retry, version negotiation.
        bytes += 20_000;
        packets += 40;
        for act in &c.acts {
            if let super::plan::What::Datagrams { count, size } = act.what {
                bytes += u64::from(count) * (size as u64 + 40);
                packets += u64::from(count);
            }
        }
        if let Some(rate) = c.read_rate {
            let total: u64 = c.transfers.iter().map(|t| t.request + t.response).sum();
            reading += Duration::from_millis(10) * (total / rate.max(1) as u64 + 10) as u32;
        }
        let latest = c.acts.iter().map(|a| a.at).chain(c.transfers.iter().map(|t| t.delay)).max();
        reading += latest.unwrap_or_default();
        match (c.start, c.ending) {
            (Start::At(time) | Start::AfterPrevious(time), Ending::Abort { at, .. }) => {
                reading += time + at;
            }
            (Start::At(time) | Start::AfterPrevious(time), _) => reading += time,
        }
        // The end may be an idle timeout of either end, and the other end may learn it the same way.
        reading += plan.client.max_idle_timeout + plan.server.max_idle_timeout;
    }
    // A window opens in steps, each of which may cost a round trip.
    let windows = [&plan.client.streams, &plan.server.streams];
    let narrow =
        windows.iter().map(|s| s.stream_window.min(s.connection_window).min(s.send_buffer)).min();
    packets += bytes / narrow.unwrap_or(1).max(1) * 8;
    // Each outage can cost as much again, because timeouts back off.
    let second = plan.network.second.iter().flat_map(|(there, back)| [there, back]);
    let outages: Duration = [&plan.network.to_server, &plan.network.to_client]
        .into_iter()
        .chain(second)
        .flat_map(|link| &link.schedule.outages)
        .map(|span| (span.end - span.start) * 4)
        .sum();
    let pauses: Duration = plan.pauses.iter().map(|(_, span)| (span.end - span.start) * 4).sum();
    plan.limit = Duration::from_secs(60)
        + pauses
        + plan.network.patience(bytes, packets, &plan.host)
        + reading
        + outages
        + plan.restart.unwrap_or_default();
}
