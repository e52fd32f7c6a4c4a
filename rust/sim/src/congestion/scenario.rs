//! Scenarios as data: a path, flows, and what is expected of whom.

use super::units::{BitRate, Size, Span};
use crate::link::{
    Aggregation, CodelConfig, DualPi2Config, Limit, LinkConfig, Loss, PolicerConfig, QueueConfig,
    Reorder, Schedule, StepConfig,
};
use crate::random::Probability;
use serde::Deserialize;
use tquic_core::cc::Congestion;
use tquic_core::time::Instant;

/// The files, in the order of the report.
macro_rules! files {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../scenarios/congestion/", $name, ".toml")))),*]
    };
}
const FILES: [(&str, &str); 13] = files![
    "01-one-flow",
    "02-shallow",
    "03-random-loss",
    "04-equal-flows",
    "05-late-joiner",
    "06-rtt-fairness",
    "07-against-cubic",
    "08-l4s",
    "09-change",
    "10-reordering",
    "11-duels",
    "12-hosts",
    "13-other-queues"
];

/// Scenarios that belong together, one file.
#[derive(Clone, Debug)]
pub struct Family {
    /// What the family is about, for headings.
    pub title: String,
    /// What it shows, in a few sentences.
    pub text: String,
    /// Its scenarios in order.
    pub scenarios: Vec<Scenario>,
}

/// One path, its flows and what is expected.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// A name without spaces, unique over all families.
    pub name: String,
    /// What it is, for a person.
    pub about: String,
    /// The bottleneck's rate.
    pub rate: BitRate,
    /// Round-trip time of flows that name none, without queues.
    pub rtt: Span,
    /// Bytes of a packet.
    #[serde(default = "packet")]
    pub packet: u16,
    /// What the bottleneck's queue holds.
    pub buffer: Size,
    /// Its discipline.
    #[serde(default)]
    pub queue: Queue,
    /// Packets lost at random, as a fraction.
    #[serde(default)]
    pub loss: f64,
    /// The last of every so many packets is lost.
    #[serde(default)]
    pub loss_every: Option<u64>,
    /// Packets held back behind the bottleneck, so that later ones overtake them.
    #[serde(default)]
    pub reorder: Option<HeldBack>,
    /// Changes of the bottleneck's rate.
    #[serde(default)]
    pub rates: Vec<RateChange>,
    /// Who sends.
    pub flows: Vec<Flow>,
    /// Traffic that no controller governs.
    #[serde(default)]
    pub cross: Vec<Cross>,
    /// What the hosts are like.
    #[serde(default)]
    pub host: Host,
    /// How long it runs.
    pub time: Span,
    /// What happens before is not measured.
    pub warm_up: Span,
    /// Whether its course is drawn.
    #[serde(default)]
    pub plot: bool,
    /// Whether it is for those only of whom something is expected, even where all are played: they
    /// never fill its link, and who does sends more packets there than in all the rest.
    #[serde(default)]
    pub expected_only: bool,
    /// What is expected.
    pub expect: Vec<Expectation>,
}

/// The discipline of the bottleneck's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Queue {
    /// Drops what does not fit.
    #[default]
    DropTail,
    /// CoDel (RFC 8289).
    Codel,
    /// Marks ECN-capable packets by the time they waited; without `range` it is a step.
    Step {
        /// Where marking starts.
        start: Span,
        /// How far it is from never to always.
        #[serde(default)]
        range: Span,
    },
    /// Two coupled queues (RFC 9332).
    DualPi2,
    /// A token bucket before a queue that holds the buffer.
    Policer {
        /// What the bucket lets through in the long run.
        rate: BitRate,
        /// What it lets through at once.
        burst: Size,
    },
}

/// Reordering.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldBack {
    /// The fraction of packets.
    pub share: f64,
    /// For how long.
    pub by: Span,
}

/// From a time on, another rate.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateChange {
    /// When.
    pub at: Span,
    /// Which.
    pub rate: BitRate,
}

/// One sender or several alike.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Its controller; that of the run if none is named.
    #[serde(default)]
    pub controller: Option<String>,
    /// How many of them.
    #[serde(default = "one")]
    pub count: usize,
    /// When it starts. Chance adds up to a round-trip time.
    #[serde(default)]
    pub start: Span,
    /// Its own round-trip time.
    #[serde(default)]
    pub rtt: Option<Span>,
    /// Whether its packets may be marked. Default: yes.
    #[serde(default = "yes")]
    pub ecn: bool,
}

/// Packets of full size at random intervals (a Poisson process), while it is on.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cross {
    /// The mean rate.
    pub rate: BitRate,
    /// How long it sends, then pauses, and so on; always if there is no pause.
    #[serde(default)]
    pub on: Span,
    /// How long it pauses.
    #[serde(default)]
    pub off: Span,
}

/// What the hosts do to packets. The default harms nothing: an ACK per packet, timers on time.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Host {
    /// The receiver acknowledges every so many packets.
    pub ack_every: u64,
    /// And after this time at the latest.
    pub ack_delay: Span,
    /// Timers are late by chance, up to so much.
    pub lateness: Span,
    /// The sender stands still at times, as a process that waits for its turn.
    pub stalls: Option<Stalls>,
    /// Each packet takes up to so much longer to the bottleneck, by chance; none overtakes another.
    /// Without any, flows fall into step with a full queue and one of them finds the free place
    /// again and again, which real hosts do not (Floyd and Jacobson, On Traffic Phase Effects in
    /// Packet-Switched Gateways, 1992).
    pub jitter: Span,
    /// The rate of the sender's network card, before the bottleneck. Without it a burst reaches the
    /// bottleneck at once.
    pub nic: Option<BitRate>,
    /// ACKs arrive in clumps of so many bytes, or when the first has waited so long.
    pub clumps: Option<Clumps>,
}

/// A sender that stands still: what arrives waits, timers fire at the end.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stalls {
    /// The mean time from one to the next; uniformly by chance, up to twice that.
    pub every: Span,
    /// How long it stands still, uniformly by chance, up to so much.
    pub most: Span,
}

/// Aggregation of ACKs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clumps {
    /// Bytes of ACKs; each counts as 40.
    pub size: Size,
    /// The longest wait.
    pub wait: Span,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            ack_every: 1,
            ack_delay: Span(tquic_core::time::Duration::from_millis(25)),
            lateness: Span::default(),
            stalls: None,
            jitter: Span::default(),
            nic: None,
            clumps: None,
        }
    }
}

/// What is measured, over the time after the warm-up if nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Goodput of all flows over what the bottleneck could carry.
    Utilization,
    /// Mean time in the bottleneck's queue, in milliseconds.
    QueueMs,
    /// Its 99th percentile.
    QueueP99Ms,
    /// Mean time in the queue over the time a BDP takes.
    QueueBdp,
    /// Its 99th percentile.
    QueueP99Bdp,
    /// Mean time in the queue over the time a packet takes.
    QueuePackets,
    /// Packets that the bottleneck dropped over those that it was offered.
    Loss,
    /// Throughput of the flows under test times the round-trip time, in packets.
    WindowPackets,
    /// Jain's index over the flows' goodput.
    Jain,
    /// Goodput of the first flow under test over that of all.
    Share,
    /// Seconds from the last flow's start to the first three seconds over which it has between 35
    /// and 65 % of the goodput.
    ConvergenceS,
    /// Seconds from the last change of rate until the first flow paces at the new rate as the median of
    /// a second, give or take what probing does.
    AdaptS,
    /// The first flow's pacing rate over the bottleneck's rate, the median over all that is measured.
    PacingRatio,
}

impl Flow {
    /// The controller that it names.
    pub fn congestion(&self) -> Option<Congestion> {
        Congestion::from_name(self.controller.as_deref()?).ok()
    }
}

impl Quantity {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 13] = [
        Self::Utilization,
        Self::QueueMs,
        Self::QueueP99Ms,
        Self::QueueBdp,
        Self::QueueP99Bdp,
        Self::QueuePackets,
        Self::Loss,
        Self::WindowPackets,
        Self::Jain,
        Self::Share,
        Self::ConvergenceS,
        Self::AdaptS,
        Self::PacingRatio,
    ];

    /// Its name in data and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utilization => "utilization",
            Self::QueueMs => "queue-ms",
            Self::QueueP99Ms => "queue-p99-ms",
            Self::QueueBdp => "queue-bdp",
            Self::QueueP99Bdp => "queue-p99-bdp",
            Self::QueuePackets => "queue-packets",
            Self::Loss => "loss",
            Self::WindowPackets => "window-packets",
            Self::Jain => "jain",
            Self::Share => "share",
            Self::ConvergenceS => "convergence-s",
            Self::AdaptS => "adapt-s",
            Self::PacingRatio => "pacing-ratio",
        }
    }

    /// What it is, for a person.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Utilization => "utilisation",
            Self::QueueMs => "mean queue, ms",
            Self::QueueP99Ms => "p99 of the queue, ms",
            Self::QueueBdp => "mean queue, BDP",
            Self::QueueP99Bdp => "p99 of the queue, BDP",
            Self::QueuePackets => "mean queue, packets",
            Self::Loss => "loss",
            Self::WindowPackets => "window, packets",
            Self::Jain => "Jain's index",
            Self::Share => "share",
            Self::ConvergenceS => "convergence, s",
            Self::AdaptS => "adaptation, s",
            Self::PacingRatio => "pacing over link rate",
        }
    }
}

/// A band.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Of which controllers.
    pub of: Vec<String>,
    /// What.
    pub what: Quantity,
    /// At least.
    #[serde(default)]
    pub min: Option<f64>,
    /// At most.
    #[serde(default)]
    pub max: Option<f64>,
    /// Whether every seed must lie in it; else their mean.
    #[serde(default)]
    pub each: bool,
    /// What is known to miss the band and not repaired yet: shown, but no error of a run.
    #[serde(default)]
    pub open: Option<String>,
    /// Where the band comes from.
    pub source: String,
}

const fn packet() -> u16 {
    1250
}

const fn one() -> usize {
    1
}

const fn yes() -> bool {
    true
}

/// All families of this crate's data.
///
/// # Panics
/// If a file is wrong; a test reads them all.
pub fn families() -> Vec<Family> {
    let read =
        |&(file, text): &(&str, &str)| parse(text).unwrap_or_else(|error| unreadable(file, &error));
    FILES.iter().map(read).collect()
}

#[expect(clippy::panic, reason = "the files are compiled in, and a test reads them")]
fn unreadable(file: &str, error: &str) -> ! {
    panic!("{file}: {error}")
}

/// Reads a family. `[common]` has the values of keys that a scenario does not name.
pub fn parse(text: &str) -> Result<Family, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        title: String,
        text: String,
        #[serde(default)]
        common: toml::Table,
        scenario: Vec<toml::Table>,
    }
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let complete = |mut table: toml::Table| {
        for (key, value) in &file.common {
            table.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let name = table.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
        let scenario: Scenario = table.try_into().map_err(|error| format!("{name}: {error}"))?;
        scenario.check().map_err(|error| format!("{name}: {error}"))?;
        Ok(scenario)
    };
    let scenarios: Result<_, String> = file.scenario.into_iter().map(complete).collect();
    Ok(Family { title: file.title, text: file.text, scenarios: scenarios? })
}

impl Expectation {
    /// Whether a value lies in the band.
    pub fn admits(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

impl Scenario {
    /// Bytes of the path's bandwidth-delay product.
    pub fn bdp(&self) -> f64 {
        super::units::product(self.rate.0, self.rtt.0)
    }

    /// Whether something is expected of a controller.
    pub fn expects(&self, name: &str) -> bool {
        self.expect.iter().any(|expectation| expectation.of.iter().any(|of| of == name))
    }

    /// The bottleneck, without the way behind it.
    pub fn bottleneck(&self) -> LinkConfig {
        let limit = Limit::Bytes(self.buffer.bytes(self.bdp(), self.packet));
        let queue = match self.queue {
            Queue::DropTail => QueueConfig::DropTail(limit),
            Queue::Codel => QueueConfig::Codel(CodelConfig::new(limit)),
            Queue::Step { start, range } => {
                QueueConfig::Step(StepConfig { limit, start: start.0, range: range.0 })
            }
            Queue::DualPi2 => QueueConfig::DualPi2(DualPi2Config::new(limit)),
            Queue::Policer { rate, burst } => QueueConfig::Policer(PolicerConfig {
                rate: rate.0,
                burst: burst.bytes(self.bdp(), self.packet),
                limit,
            }),
        };
        let rates = self.rates.iter().map(|c| (Instant::ZERO + c.at.0, Some(c.rate.0))).collect();
        let loss = Probability::fraction(self.loss);
        let random = (!loss.is_never()).then_some(Loss::Random(loss));
        LinkConfig {
            queue,
            rate: Some(self.rate.0),
            loss: random.into_iter().chain(self.loss_every.map(Loss::Every)).collect(),
            reorder: self.reorder.map_or_else(Reorder::default, |held| Reorder {
                chance: Probability::fraction(held.share),
                extra: held.by.0,
            }),
            schedule: Schedule { rates, ..Schedule::default() },
            ..LinkConfig::default()
        }
    }

    /// The aggregation of ACKs, if there is one.
    pub fn aggregation(&self) -> Option<Aggregation> {
        let clumps = self.host.clumps?;
        let bytes = clumps.size.bytes(self.bdp(), self.packet);
        Some(Aggregation { bytes, time: clumps.wait.0 })
    }

    fn check(&self) -> Result<(), String> {
        if self.flows.is_empty() || self.flows.iter().any(|flow| flow.count == 0) {
            return Err("needs flows".to_owned());
        }
        if self.warm_up >= self.time {
            return Err("is over before anything is measured".to_owned());
        }
        if self.host.ack_every == 0 {
            return Err("acknowledges every 0 packets".to_owned());
        }
        if self.host.stalls.is_some_and(|stalls| stalls.every.0.is_zero()) {
            return Err("has hosts that never move".to_owned());
        }
        let named = self.flows.iter().filter_map(|flow| flow.controller.as_ref());
        let known = |name: &String| Congestion::from_name(name).is_ok();
        let of = self.expect.iter().flat_map(|expectation| &expectation.of);
        if let Some(unknown) = named.chain(of).find(|name| !known(name)) {
            return Err(format!("`{unknown}` is no controller"));
        }
        if self.expect.iter().any(|e| e.min.is_none() && e.max.is_none() || e.of.is_empty()) {
            return Err("has an expectation without a band or without a controller".to_owned());
        }
        Ok(())
    }
}
