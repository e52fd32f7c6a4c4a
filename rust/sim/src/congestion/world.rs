//! The network and the hosts of a scenario.
//!
//! ```text
//! sender -> [network card] -> bottleneck: queue, rate, half of the shortest RTT -> receiver
//!    ^                                                                                |
//!    +------------- the rest of the flow's RTT, [aggregation] <-----------------------+
//! ```

use super::cross::CrossTraffic;
use super::receiver::Receiver;
use super::scenario::{Flow, Scenario};
use super::sender::{Sender, SenderConfig};
use crate::link::{Jitter, LinkConfig, QueueConfig};
use crate::network::{LinkId, Network};
use crate::packet::Packet;
use crate::random::stream;
use crate::simulation::{Host, HostConfig, HostId, Outbox, Simulation};
use std::net::SocketAddr;
use tquic_core::cc::Congestion;
use tquic_core::time::{Duration, Instant, nanos};

/// A host of a scenario.
pub enum Peer {
    /// Sends the flow.
    Sender(Box<Sender>),
    /// Receives it.
    Receiver(Box<Receiver>),
    /// Sends whatever happens.
    Cross(CrossTraffic),
    /// Receives that.
    Sink,
}

impl Host for Peer {
    fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        match self {
            Self::Sender(sender) => sender.receive(now, packets),
            Self::Receiver(receiver) => receiver.receive(now, packets),
            Self::Cross(_) | Self::Sink => packets.clear(),
        }
    }

    fn timeout(&mut self, now: Instant) {
        if let Self::Sender(sender) = self {
            sender.timeout(now);
        }
    }

    fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        match self {
            Self::Sender(sender) => sender.transmit(now, out),
            Self::Receiver(receiver) => receiver.transmit(now, out),
            Self::Cross(cross) => cross.transmit(now, out),
            Self::Sink => {}
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Sender(sender) => sender.next_timeout(),
            Self::Receiver(receiver) => receiver.next_timeout(),
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
}

/// How far chance moves a flow's round-trip time: one part in so many.
const RTT_SPREAD: u64 = 100;
/// The most that chance adds to the time of an ACK.
const MAX_JITTER: Duration = Duration::from_millis(1);

/// Chance in the time that an ACK takes: up to the time of a packet on the bottleneck. Without any,
/// flows fall into step with the queue and one of them finds the free place again and again, which
/// no real hosts do (Floyd and Jacobson, On Traffic Phase Effects in Packet-Switched Gateways, 1992).
fn jitter(scenario: &Scenario) -> Jitter {
    let packet = f64::from(scenario.packet) * 8.0 / scenario.rate.0.as_bps() as f64;
    Jitter { max: Duration::from_secs_f64(packet).min(MAX_JITTER), may_reorder: false }
}

impl World {
    /// The world of `scenario` with `subject` as the controller under test.
    pub fn new(scenario: &Scenario, subject: Congestion, seed: u64) -> Self {
        let mut network = Network::new(seed);
        let all = || scenario.flows.iter().flat_map(|flow| std::iter::repeat_n(flow, flow.count));
        let rtt = |flow: &Flow| flow.rtt.unwrap_or(scenario.rtt).0;
        let shortest = all().map(rtt).min().unwrap_or(scenario.rtt.0) / 2;
        let bottleneck = network.add_link(&LinkConfig { delay: shortest, ..scenario.bottleneck() });
        let mut world =
            Self { simulation: Simulation::new(network, seed), bottleneck, flows: Vec::new() };
        for (index, flow) in all().enumerate() {
            world.add_flow(scenario, (index, flow), subject, (rtt(flow), shortest, seed));
        }
        for (index, cross) in scenario.cross.iter().enumerate() {
            let ends = (address(3, index), address(4, index));
            let interval = f64::from(scenario.packet) * 8.0 / cross.rate.0.as_bps() as f64;
            let host = Peer::Cross(CrossTraffic::new(
                ends,
                scenario.packet,
                Duration::from_secs_f64(interval),
                (cross.on.0, cross.off.0),
                stream(seed, "cross", index as u64),
            ));
            world.simulation.network.route(ends.0, ends.1, &[bottleneck]);
            world.simulation.add(host, HostConfig::default(), &[ends.0]);
            world.simulation.add(Peer::Sink, HostConfig::default(), &[ends.1]);
        }
        world
    }

    fn add_flow(
        &mut self,
        scenario: &Scenario,
        (index, flow): (usize, &Flow),
        subject: Congestion,
        (rtt, there, seed): (Duration, Duration, u64),
    ) {
        let mut chance = stream(seed, "flow", index as u64);
        let spread = chance.below(nanos(rtt) / RTT_SPREAD);
        let start = Instant::ZERO + flow.start.0 + Duration::from_nanos(chance.below(nanos(rtt)));
        let network = &mut self.simulation.network;
        let mut way = vec![self.bottleneck];
        if let Some(nic) = scenario.host.nic {
            let card = LinkConfig { rate: Some(nic.0), queue: ample(), ..LinkConfig::default() };
            way.insert(0, network.add_link(&card));
        }
        let back = network.add_link(&LinkConfig {
            delay: rtt - there + Duration::from_nanos(spread),
            jitter: jitter(scenario),
            aggregation: scenario.aggregation(),
            ..LinkConfig::default()
        });
        let ends = (address(1, index), address(2, index));
        network.route(ends.0, ends.1, &way);
        network.route(ends.1, ends.0, &[back]);
        let ack_delay = scenario.host.ack_delay.0;
        let named = flow.controller.as_deref().and_then(|name| Congestion::from_name(name).ok());
        let sender = Sender::new(
            SenderConfig {
                ends,
                congestion: named.unwrap_or(subject),
                packet: scenario.packet,
                start,
                ecn: flow.ecn,
                peer_max_ack_delay: ack_delay,
            },
            chance,
        );
        let receiver = Receiver::new((ends.1, ends.0), scenario.host.ack_every, ack_delay);
        let host = HostConfig { timer_lateness: scenario.host.lateness.0, ..HostConfig::default() };
        let sender = self.simulation.add(Peer::Sender(Box::new(sender)), host, &[ends.0]);
        let receiver = Peer::Receiver(Box::new(receiver));
        let receiver = self.simulation.add(receiver, HostConfig::default(), &[ends.1]);
        let subject = named.is_none();
        self.flows.push(Member { sender, receiver, start, subject });
    }

    /// The sender of a flow.
    pub fn sender(&self, flow: &Member) -> Option<&Sender> {
        match self.simulation.host(flow.sender) {
            Peer::Sender(sender) => Some(sender),
            _ => None,
        }
    }

    /// Bytes of a flow that arrived and were of use.
    pub fn goodput(&self, flow: &Member) -> u64 {
        let received = match self.simulation.host(flow.receiver) {
            Peer::Receiver(receiver) => receiver.received(),
            _ => 0,
        };
        received.saturating_sub(self.sender(flow).map_or(0, Sender::sent_in_vain))
    }
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
