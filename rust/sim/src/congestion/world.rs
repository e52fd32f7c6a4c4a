//! The network and the hosts of a scenario.
//!
//! ```text
//! sender -> [network card, jitter] -> bottleneck: queue, rate, half of the shortest RTT -> receiver
//!    ^                                                                                |
//!    +------------- the rest of the flow's RTT, [aggregation] <-----------------------+
//! ```

use super::cross::CrossTraffic;
use super::receiver::Receiver;
use super::scenario::{Flow, Scenario, Stalls};
use super::sender::{Sender, SenderConfig};
use super::whole::{self, Whole};
use crate::link::{Jitter, LinkConfig, QueueConfig};
use crate::network::{LinkId, Network};
use crate::packet::Packet;
use crate::random::stream;
use crate::simulation::{Host, HostConfig, HostId, Outbox, Simulation};
use core::ops::Range;
use std::net::SocketAddr;
use tquic_core::cc::Congestion;
use tquic_core::recovery::{Recovery, RecoveryStats};
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant, nanos};

/// What stands for the flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Recovery and ACK rules alone, packets without content: fast.
    Recovery,
    /// Whole connections. What the scenario says of ACKs is up to the engine then.
    Connection,
}

/// The state of a flow at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FlowState {
    /// The congestion window in bytes.
    pub window: u64,
    /// Bytes in flight.
    pub in_flight: u64,
    /// The pacing rate in bytes per second; 0 for none.
    pub pacing_rate: u64,
    /// The smoothed RTT.
    pub rtt: Duration,
    /// Losses and what followed from them.
    pub stats: RecoveryStats,
}

impl FlowState {
    /// The state of a path.
    pub fn of(recovery: &Recovery) -> Self {
        Self {
            window: recovery.cwnd(),
            in_flight: recovery.bytes_in_flight(),
            pacing_rate: recovery.pacing_rate().unwrap_or(0),
            rtt: recovery.rtt().smoothed(),
            stats: recovery.stats(),
        }
    }
}

/// A host of a scenario.
pub enum Peer {
    /// Sends the flow.
    Sender(Box<Sender>),
    /// Receives it.
    Receiver(Box<Receiver>),
    /// Does either as a connection.
    Whole(Box<Whole>),
    /// Sends whatever happens.
    Cross(Box<CrossTraffic>),
    /// Receives that.
    Sink,
}

impl Host for Peer {
    fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        match self {
            Self::Sender(sender) => sender.receive(now, packets),
            Self::Receiver(receiver) => receiver.receive(now, packets),
            Self::Whole(whole) => whole.receive(now, packets),
            Self::Cross(_) | Self::Sink => packets.clear(),
        }
    }

    fn timeout(&mut self, now: Instant) {
        match self {
            Self::Sender(sender) => sender.timeout(now),
            Self::Whole(whole) => whole.timeout(now),
            Self::Receiver(_) | Self::Cross(_) | Self::Sink => {}
        }
    }

    fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        match self {
            Self::Sender(sender) => sender.transmit(now, out),
            Self::Receiver(receiver) => receiver.transmit(now, out),
            Self::Whole(whole) => whole.transmit(now, out),
            Self::Cross(cross) => cross.transmit(now, out),
            Self::Sink => {}
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Sender(sender) => sender.next_timeout(),
            Self::Receiver(receiver) => receiver.next_timeout(),
            Self::Whole(whole) => whole.next_timeout(),
            Self::Cross(cross) => cross.next_timeout(),
            Self::Sink => None,
        }
    }
}

/// A flow of the world.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its two hosts.
    pub sender: HostId,
    /// The other one.
    pub receiver: HostId,
    /// When it starts.
    pub start: Instant,
    /// Whether its controller is the one under test.
    pub subject: bool,
}

/// See the module.
pub struct World {
    /// Network and hosts.
    pub simulation: Simulation<Peer>,
    /// The link that all share.
    pub bottleneck: LinkId,
    /// The flows in the scenario's order.
    pub flows: Vec<Member>,
    /// Bytes of a packet.
    packet: u64,
}

/// How far chance moves a flow's round-trip time: one part in so many.
const RTT_SPREAD: u64 = 100;
impl World {
    /// The world of `scenario` with `subject` as the controller under test.
    pub fn new(tier: Tier, scenario: &Scenario, subject: Congestion, seed: u64) -> Self {
        let mut network = Network::new(seed);
        let all = || scenario.flows.iter().flat_map(|flow| std::iter::repeat_n(flow, flow.count));
        let rtt = |flow: &Flow| flow.rtt.unwrap_or(scenario.rtt).0;
        let shortest = all().map(rtt).min().unwrap_or(scenario.rtt.0) / 2;
        let bottleneck = network.add_link(&LinkConfig { delay: shortest, ..scenario.bottleneck() });
        let mut world = Self {
            simulation: Simulation::new(network, seed),
            bottleneck,
            flows: Vec::new(),
            packet: u64::from(scenario.packet),
        };
        for (index, flow) in all().enumerate() {
            let sender = SenderConfig {
                ends: (address(1, index), address(2, index)),
                congestion: flow.congestion().unwrap_or(subject),
                packet: scenario.packet,
                start: Instant::ZERO + flow.start.0,
                ecn: flow.ecn,
                peer_max_ack_delay: scenario.host.ack_delay.0,
            };
            let subject = flow.congestion().is_none();
            let times = (rtt(flow), shortest);
            let chance = stream(seed, "flow", index as u64);
            world.add_flow((tier, scenario), times, (sender, subject), chance);
        }
        for (index, cross) in scenario.cross.iter().enumerate() {
            let ends = (address(3, index), address(4, index));
            let interval = f64::from(scenario.packet) * 8.0 / cross.rate.0.as_bps() as f64;
            let host = Peer::Cross(Box::new(CrossTraffic::new(
                ends,
                scenario.packet,
                Duration::from_secs_f64(interval),
                (cross.on.0, cross.off.0),
                stream(seed, "cross", index as u64),
            )));
            world.simulation.network.route(ends.0, ends.1, &[bottleneck]);
            world.simulation.add(host, HostConfig::default(), &[ends.0]);
            world.simulation.add(Peer::Sink, HostConfig::default(), &[ends.1]);
        }
        world
    }

    fn add_flow(
        &mut self,
        (tier, scenario): (Tier, &Scenario),
        (rtt, there): (Duration, Duration),
        (mut sender, subject): (SenderConfig, bool),
        mut chance: Rng,
    ) {
        let spread = chance.below(nanos(rtt) / RTT_SPREAD);
        sender.start += Duration::from_nanos(chance.below(nanos(rtt)));
        let network = &mut self.simulation.network;
        let mut way = vec![self.bottleneck];
        let max = scenario.host.jitter.0;
        if scenario.host.nic.is_some() || !max.is_zero() {
            let card = LinkConfig {
                rate: scenario.host.nic.map(|nic| nic.0),
                queue: ample(),
                jitter: Jitter { max, may_reorder: false },
                ..LinkConfig::default()
            };
            way.insert(0, network.add_link(&card));
        }
        let back = network.add_link(&LinkConfig {
            delay: rtt - there + Duration::from_nanos(spread),
            aggregation: scenario.aggregation(),
            ..LinkConfig::default()
        });
        let (ends, start) = (sender.ends, sender.start);
        let pauses = scenario.host.stalls.map(|stalls| spans(stalls, scenario.time.0, &mut chance));
        network.route(ends.0, ends.1, &way);
        network.route(ends.1, ends.0, &[back]);
        let (sender, receiver) = match tier {
            Tier::Recovery => {
                let (every, delay) = (scenario.host.ack_every, sender.peer_max_ack_delay);
                let receiver = Receiver::new((ends.1, ends.0), every, delay);
                let sender = Peer::Sender(Box::new(Sender::new(sender, chance)));
                (sender, Peer::Receiver(Box::new(receiver)))
            }
            Tier::Connection => {
                let transport = whole::transport(sender.congestion, sender.packet, sender.ecn);
                let seed = chance.u64();
                let client = Whole::client(ends, transport.clone(), start, seed);
                let server = Whole::server(transport, seed);
                (Peer::Whole(Box::new(client)), Peer::Whole(Box::new(server)))
            }
        };
        let host = HostConfig { timer_lateness: scenario.host.lateness.0, ..HostConfig::default() };
        let sender = self.simulation.add(sender, host, &[ends.0]);
        pauses.into_iter().flatten().for_each(|span| self.simulation.pause(sender, span));
        let receiver = self.simulation.add(receiver, HostConfig::default(), &[ends.1]);
        self.flows.push(Member { sender, receiver, start, subject });
    }

    /// How a flow stands.
    pub fn state(&self, flow: &Member) -> FlowState {
        match self.simulation.host(flow.sender) {
            Peer::Sender(sender) => FlowState::of(sender.recovery()),
            Peer::Whole(whole) => whole.state(),
            _ => FlowState::default(),
        }
    }

    /// Bytes of a flow that arrived and were of use.
    pub fn goodput(&self, flow: &Member) -> u64 {
        let received = match self.simulation.host(flow.receiver) {
            Peer::Receiver(receiver) => receiver.received(),
            Peer::Whole(whole) => whole.received(),
            _ => 0,
        };
        // The content of packets that were declared lost and arrived travelled twice.
        received.saturating_sub(self.state(flow).stats.spurious_losses * self.packet)
    }
}

/// When a host stands still in a run that lasts `time`.
fn spans(stalls: Stalls, time: Duration, chance: &mut Rng) -> Vec<Range<Instant>> {
    let mut draw = |most: Duration| Duration::from_nanos(chance.below(nanos(most).max(1)));
    let mut at = Instant::ZERO;
    let next = || {
        let start = at + draw(stalls.every.0 * 2);
        at = start + draw(stalls.most.0);
        Some(start..at)
    };
    std::iter::from_fn(next).take_while(|span| span.start < Instant::ZERO + time).collect()
}

/// A queue before a network card: the host's own memory.
fn ample() -> QueueConfig {
    QueueConfig::DropTail(crate::link::Limit::Packets(1 << 20))
}

/// Address of host `index` in `network`.
fn address(network: u8, index: usize) -> SocketAddr {
    let [.., high, low] = (index as u32).to_be_bytes();
    SocketAddr::from(([10, network, high, low], 443))
}
