//! A window-based sender with additive increase, and a receiver that acknowledges every packet:
//! just enough congestion control to see whether queues do what they should.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use tquic_sim::link::{LinkConfig, QueueConfig, Rate, Stats};
use tquic_sim::network::{LinkId, Network};
use tquic_sim::packet::{Ecn, Packet};
use tquic_sim::simulation::{Host, HostConfig, HostId, Outbox, Outcome, Simulation};
use tquic_sim::{Duration, Instant};

/// Payload of a data packet.
pub const DATA: u32 = 1250;

/// How a sender responds to congestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Halves the window once per round trip, on a loss or a mark.
    Halving,
    /// Halves on a loss, and reduces in proportion to the share of marks.
    Scalable,
}

/// Either side of a flow.
pub enum Peer {
    Sender(Box<Sender>),
    Receiver(Receiver),
}

pub struct Sender {
    ends: (SocketAddr, SocketAddr),
    ecn: Ecn,
    response: Response,
    window: f64,
    threshold: f64,
    next: u64,
    highest: u64,
    in_flight: BTreeMap<u64, Instant>,
    /// Congestion signals for packets before this one are part of an earlier event.
    recovery: u64,
    round_end: u64,
    acked: u64,
    marked: u64,
    mark_share: f64,
    last_ack: Instant,
    pub lost: u64,
}

const SILENCE: Duration = Duration::from_secs(1);

impl Sender {
    fn on_ack(&mut self, now: Instant, sequence: u64, ce: bool) {
        self.last_ack = now;
        if self.in_flight.remove(&sequence).is_none() {
            return;
        }
        self.highest = self.highest.max(sequence);
        self.window += if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
        self.acked += 1;
        self.marked += u64::from(ce);
        if ce && self.response == Response::Halving {
            self.reduce(sequence, 0.5);
        }
        if ce && self.window < self.threshold {
            self.threshold = self.window;
        }
        let lost: Vec<_> =
            self.in_flight.range(..self.highest.saturating_sub(2)).map(|(&s, _)| s).collect();
        for sequence in lost {
            self.in_flight.remove(&sequence);
            self.lost += 1;
            self.reduce(sequence, 0.5);
        }
        if sequence >= self.round_end {
            self.end_round(sequence);
        }
    }

    fn end_round(&mut self, sequence: u64) {
        self.mark_share += (self.marked as f64 / self.acked as f64 - self.mark_share) / 16.0;
        if self.marked > 0 && self.response == Response::Scalable {
            self.reduce(sequence, 1.0 - self.mark_share / 2.0);
        }
        (self.acked, self.marked, self.round_end) = (0, 0, self.next);
    }

    fn reduce(&mut self, sequence: u64, factor: f64) {
        if sequence >= self.recovery {
            self.window = (self.window * factor).max(2.0);
            self.threshold = self.window;
            self.recovery = self.next;
        }
    }
}

#[derive(Default)]
pub struct Receiver {
    answers: Vec<Packet>,
    pub received: u64,
}

impl Host for Peer {
    fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        for packet in packets.drain(..) {
            match self {
                Self::Sender(sender) => sender.on_ack(now, packet.tag >> 1, packet.tag & 1 == 1),
                Self::Receiver(receiver) => {
                    receiver.received += u64::from(packet.size);
                    let ce = u64::from(packet.ecn == Ecn::Ce);
                    let answer = Packet::descriptor(packet.to, packet.from, 40);
                    receiver.answers.push(answer.with_tag(packet.tag << 1 | ce));
                }
            }
        }
    }

    fn timeout(&mut self, now: Instant) {
        if let Self::Sender(sender) = self {
            sender.in_flight.clear();
            sender.window = 2.0;
            sender.last_ack = now;
        }
    }

    fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        match self {
            Self::Sender(sender) => {
                while (sender.in_flight.len() as f64) < sender.window.floor() {
                    let packet = Packet::descriptor(sender.ends.0, sender.ends.1, DATA);
                    out.send(packet.with_ecn(sender.ecn).with_tag(sender.next));
                    sender.in_flight.insert(sender.next, now);
                    sender.next += 1;
                }
            }
            Self::Receiver(receiver) => {
                receiver.answers.drain(..).for_each(|answer| out.send(answer));
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Sender(sender) => Some(sender.last_ack + SILENCE),
            Self::Receiver(_) => None,
        }
    }
}

/// Flows over one bottleneck.
pub struct Dumbbell {
    pub simulation: Simulation<Peer>,
    pub bottleneck: LinkId,
    receivers: Vec<HostId>,
    rate: Rate,
    before: Vec<u64>,
    since: Instant,
}

impl Dumbbell {
    /// Flows with the given ECN field and response over a bottleneck of `rate` and `queue`, with a
    /// round trip of `rtt` when the queue is empty.
    pub fn new(
        seed: u64,
        rate: Rate,
        rtt: Duration,
        queue: QueueConfig,
        flows: &[(Ecn, Response)],
    ) -> Self {
        let mut network = Network::new(seed);
        let bottleneck = network.add_link(&LinkConfig {
            queue,
            rate: Some(rate),
            delay: rtt / 2,
            ..LinkConfig::default()
        });
        let back = network.add_link(&LinkConfig { delay: rtt / 2, ..LinkConfig::default() });
        let mut simulation = Simulation::new(network, seed);
        let mut receivers = Vec::new();
        for (index, &(ecn, response)) in flows.iter().enumerate() {
            let end = |net| SocketAddr::from(([10, net, 0, index as u8], 443));
            let ends = (end(1), end(2));
            simulation.network.route(ends.0, ends.1, &[bottleneck]);
            simulation.network.route(ends.1, ends.0, &[back]);
            let sender = Sender {
                ends,
                ecn,
                response,
                window: 10.0,
                threshold: f64::INFINITY,
                next: 0,
                highest: 0,
                in_flight: BTreeMap::new(),
                recovery: 0,
                round_end: 0,
                acked: 0,
                marked: 0,
                mark_share: 1.0,
                last_ack: Instant::ZERO,
                lost: 0,
            };
            simulation.add(Peer::Sender(Box::new(sender)), HostConfig::default(), &[ends.0]);
            let receiver = Peer::Receiver(Receiver::default());
            receivers.push(simulation.add(receiver, HostConfig::default(), &[ends.1]));
        }
        let before = vec![0; receivers.len()];
        Self { simulation, bottleneck, receivers, rate, before, since: Instant::ZERO }
    }

    fn received(&self) -> Vec<u64> {
        let received = |&id: &HostId| match self.simulation.host(id) {
            Peer::Receiver(receiver) => receiver.received,
            Peer::Sender(_) => 0,
        };
        self.receivers.iter().map(received).collect()
    }

    /// Runs for `seconds`; what is measured afterwards starts after `warm_up`.
    pub fn run(&mut self, warm_up: u64, seconds: u64) {
        let end = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(self.simulation.run(end(warm_up)), Outcome::TimeOver);
        (self.before, self.since) = (self.received(), self.simulation.now());
        assert_eq!(self.simulation.run(end(seconds)), Outcome::TimeOver);
    }

    pub fn stats(&self) -> &Stats {
        self.simulation.network.stats(self.bottleneck).expect("a link of this network")
    }

    /// Bytes that each flow received after the warm-up.
    pub fn bytes(&self) -> Vec<u64> {
        self.received().iter().zip(&self.before).map(|(now, before)| now - before).collect()
    }

    /// The share of the bottleneck that was used after the warm-up.
    pub fn utilization(&self) -> f64 {
        let time = (self.simulation.now() - self.since).as_secs_f64();
        self.bytes().iter().sum::<u64>() as f64 * 8.0 / time / self.rate.as_bps() as f64
    }
}
