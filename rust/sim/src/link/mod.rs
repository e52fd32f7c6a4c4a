//! One direction of a link: stages that a packet passes in order.
//!
//! ```text
//! schedule -> MTU -> loss -> queue -> wire (rate) -> corruption -> delay, jitter, reordering
//!          -> duplication -> aggregation -> delivery
//! ```
//!
//! A link does nothing by itself. It is told the time when a packet is sent into it and when someone
//! asks what came out; whatever happened in between, it computes at the exact times at which it
//! happened. So the same link plays in virtual time and, asked late now and then, in real time.

mod aggregate;
mod histogram;
mod impair;
mod loss;
mod queue;
mod rate;
mod schedule;
mod stats;
#[cfg(test)]
mod tests;

pub use aggregate::Aggregation;
pub use histogram::Histogram;
pub use impair::{Corruption, Jitter, Reorder};
pub use loss::Loss;
pub use queue::{CodelConfig, DualPi2Config, Limit, PolicerConfig, QueueConfig, StepConfig};
pub use rate::{Rate, Serializer};
pub use schedule::{OnOff, Schedule};
pub use stats::{Cause, Count, Stats};

use crate::event::EventQueue;
use crate::packet::{Delivery, Packet};
use crate::random::{Probability, stream};
use aggregate::Aggregator;
use impair::Impairments;
use loss::LossModel;
use queue::Queue;
use std::collections::VecDeque;
use tquic_core::time::{Duration, Instant};

/// Everything a link does. The default is a wire without limits.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// Outages and changes of rate by time.
    pub schedule: Schedule,
    /// Larger UDP payloads are dropped without a word.
    pub mtu: Option<u32>,
    /// Losses, whatever the queue does.
    pub loss: Vec<Loss>,
    /// What waits for the wire. Without a rate nothing waits.
    pub queue: QueueConfig,
    /// Bits per second; `None` is unlimited.
    pub rate: Option<Rate>,
    /// Bytes that each packet needs on the wire beyond its payload: 28 for UDP over IPv4.
    pub overhead: u32,
    /// Propagation, one way.
    pub delay: Duration,
    /// Random extra delay.
    pub jitter: Jitter,
    /// Packets held back.
    pub reorder: Reorder,
    /// The chance that a packet arrives twice.
    pub duplicate: Probability,
    /// Replaced bytes.
    pub corruption: Option<Corruption>,
    /// Arrival in clumps.
    pub aggregation: Option<Aggregation>,
    /// Most payload bytes between wire and delivery: a bound on memory, not a part of the model.
    pub flight_limit: u64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            mtu: None,
            loss: Vec::new(),
            queue: QueueConfig::default(),
            rate: None,
            overhead: 0,
            delay: Duration::ZERO,
            jitter: Jitter::default(),
            reorder: Reorder::default(),
            duplicate: Probability::NEVER,
            corruption: None,
            aggregation: None,
            flight_limit: 256 << 20,
        }
    }
}

impl LinkConfig {
    /// A wire of this rate and one-way delay before a plain queue.
    pub fn wire(rate: Rate, delay: Duration, limit: Limit) -> Self {
        Self { rate: Some(rate), delay, queue: QueueConfig::DropTail(limit), ..Self::default() }
    }
}

/// A link at work.
#[derive(Clone, Debug)]
pub struct Link {
    schedule: Schedule,
    mtu: u32,
    loss: LossModel,
    queue: Queue,
    rate: Option<Rate>,
    overhead: u32,
    serializer: Serializer,
    /// The packet on the wire and when it will be through.
    wire: Option<(Instant, Box<Packet>)>,
    impairments: Impairments,
    flight: EventQueue<Box<Packet>>,
    flight_bytes: u64,
    flight_limit: u64,
    aggregator: Option<Aggregator>,
    ready: VecDeque<Delivery>,
    stats: Stats,
}

impl Link {
    /// A link with its own random streams, which depend on `seed` and `id` only.
    pub fn new(config: &LinkConfig, seed: u64, id: u64) -> Self {
        Self {
            schedule: config.schedule.clone(),
            mtu: config.mtu.unwrap_or(u32::MAX),
            loss: LossModel::new(&config.loss, stream(seed, "loss", id)),
            queue: Queue::new(config.queue, stream(seed, "queue", id)),
            rate: config.rate,
            overhead: config.overhead,
            serializer: Serializer::default(),
            wire: None,
            impairments: Impairments::new(config, seed, id),
            flight: EventQueue::new(),
            flight_bytes: 0,
            flight_limit: config.flight_limit,
            aggregator: config.aggregation.map(Aggregator::new),
            ready: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Sends `packet` into the link. Times must not run backwards over calls.
    pub fn send(&mut self, now: Instant, packet: impl Into<Box<Packet>>) {
        let packet = packet.into();
        self.advance(now);
        self.stats.offer(&packet);
        // The loss model counts what reaches it, as a list of packet numbers expects.
        let cause = if self.schedule.is_down(now) {
            Some(Cause::Outage)
        } else if packet.size > self.mtu {
            Some(Cause::TooBig)
        } else if self.loss.drops_next() {
            Some(Cause::Loss)
        } else {
            None
        };
        if let Some(cause) = cause {
            return self.stats.drop(now, &packet, cause);
        }
        self.queue.enqueue(now, packet, &mut self.stats);
        self.fill_wire(now);
    }

    /// When [`Link::poll`] may have something next; `None` if the link is empty.
    pub fn next_time(&self) -> Option<Instant> {
        let wire = self.wire.as_ref().map(|&(finish, _)| finish);
        let clump = self.aggregator.as_ref().and_then(Aggregator::deadline);
        let ready = self.ready.front().map(|delivery| delivery.at);
        [wire, clump, ready, self.flight.next_time()].into_iter().flatten().min()
    }

    /// The next packet that came out at `now` or before.
    pub fn poll(&mut self, now: Instant) -> Option<Delivery> {
        self.advance(now);
        while self.ready.is_empty() {
            self.arrive(now)?;
        }
        let delivery = self.ready.pop_front()?;
        self.stats.deliver(delivery.at, &delivery.packet);
        Some(delivery)
    }

    /// What happened so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Packets and payload bytes in the queue, the one on the wire not counted.
    pub fn backlog(&mut self) -> (usize, u64) {
        self.queue.backlog()
    }

    /// Lets the wire do its work up to `now`.
    fn advance(&mut self, now: Instant) {
        while let Some((finish, packet)) = self.wire.take_if(|(finish, _)| *finish <= now) {
            self.leave_wire(finish, packet);
            self.fill_wire(finish);
        }
    }

    /// Puts waiting packets on the wire, if it is free.
    fn fill_wire(&mut self, now: Instant) {
        while self.wire.is_none() {
            let Some(packet) = self.queue.dequeue(now, &mut self.stats) else {
                return;
            };
            let rate = self.schedule.rate(now, self.rate);
            let bytes = u64::from(packet.size) + u64::from(self.overhead);
            let finish = self.serializer.transmit(now, bytes, rate);
            if finish > now {
                self.wire = Some((finish, packet));
            } else {
                self.leave_wire(finish, packet);
            }
        }
    }

    fn leave_wire(&mut self, now: Instant, mut packet: Box<Packet>) {
        self.impairments.corrupt(now, &mut packet, &mut self.stats);
        let arrival = self.impairments.arrival(now, &mut self.stats);
        if self.impairments.duplicates() {
            self.stats.duplicate(now, &packet);
            self.fly(now, arrival, packet.clone());
        }
        self.fly(now, arrival, packet);
    }

    fn fly(&mut self, now: Instant, arrival: Instant, packet: Box<Packet>) {
        // What has arrived no longer counts, whether or not someone has asked for it.
        while self.arrive(now).is_some() {}
        let bytes = self.flight_bytes + u64::from(packet.size);
        if bytes > self.flight_limit {
            return self.stats.drop(now, &packet, Cause::FlightFull);
        }
        self.flight_bytes = bytes;
        self.flight.push(arrival, packet);
    }

    /// Handles the next arrival or the end of a clump, whichever is first; `None` if neither is due.
    fn arrive(&mut self, now: Instant) -> Option<()> {
        if let Some(aggregator) = &mut self.aggregator
            && let Some(deadline) = aggregator.deadline()
            && deadline <= now
            && self.flight.next_time().is_none_or(|arrival| deadline <= arrival)
        {
            aggregator.release(deadline, &mut self.ready);
            return Some(());
        }
        let (at, packet) = self.flight.pop_due(now)?;
        self.flight_bytes -= u64::from(packet.size);
        match &mut self.aggregator {
            Some(aggregator) => aggregator.push(at, packet, &mut self.ready),
            None => self.ready.push_back(Delivery { at, packet }),
        }
        Some(())
    }
}
