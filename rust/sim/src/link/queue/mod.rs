//! What waits for the wire, and who is told to slow down.

mod codel;
mod dualpi2;
mod fifo;
mod policer;
mod step;

pub use codel::CodelConfig;
pub use dualpi2::DualPi2Config;
pub use fifo::Limit;
pub use policer::PolicerConfig;
pub use step::StepConfig;

use super::stats::{Cause, Stats};
use crate::packet::Packet;
use codel::Codel;
use dualpi2::DualPi2;
use fifo::Fifo;
use policer::TokenBucket;
use step::Step;
use tquic_core::rng::Rng;
use tquic_core::time::Instant;

/// The queue of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QueueConfig {
    /// Drops what does not fit.
    DropTail(Limit),
    /// CoDel (RFC 8289).
    Codel(CodelConfig),
    /// Marks by time in the queue.
    Step(StepConfig),
    /// Two coupled queues (RFC 9332).
    DualPi2(DualPi2Config),
    /// A token bucket before a plain queue.
    Policer(PolicerConfig),
}

impl Default for QueueConfig {
    /// 1000 packets, as a network card has.
    fn default() -> Self {
        Self::DropTail(Limit::Packets(1000))
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Queue {
    DropTail(Fifo),
    Codel(Codel),
    Step(Box<Step>),
    DualPi2(Box<DualPi2>),
    Policer(TokenBucket, Fifo),
}

impl Queue {
    pub(crate) fn new(config: QueueConfig, rng: Rng) -> Self {
        match config {
            QueueConfig::DropTail(limit) => Self::DropTail(Fifo::new(limit)),
            QueueConfig::Codel(codel) => Self::Codel(Codel::new(codel)),
            QueueConfig::Step(step) => Self::Step(Box::new(Step::new(step, rng))),
            QueueConfig::DualPi2(dual) => Self::DualPi2(Box::new(DualPi2::new(dual, rng))),
            QueueConfig::Policer(policer) => {
                Self::Policer(TokenBucket::new(&policer), Fifo::new(policer.limit))
            }
        }
    }

    pub(crate) fn enqueue(&mut self, now: Instant, packet: Box<Packet>, stats: &mut Stats) {
        let fifo = match self {
            Self::DualPi2(dual) => return dual.enqueue(now, packet, stats),
            Self::DropTail(fifo) => fifo,
            Self::Codel(codel) => codel.fifo(),
            Self::Step(step) => step.fifo(),
            Self::Policer(bucket, fifo) => {
                if !bucket.take(now, packet.size) {
                    return stats.drop(now, &packet, Cause::Policed);
                }
                fifo
            }
        };
        if fifo.has_room(&packet) {
            fifo.push(now, packet);
        } else {
            stats.drop(now, &packet, Cause::QueueFull);
        }
    }

    /// The next packet for the wire.
    pub(crate) fn dequeue(&mut self, now: Instant, stats: &mut Stats) -> Option<Box<Packet>> {
        match self {
            Self::DropTail(fifo) | Self::Policer(_, fifo) => {
                let (waited, packet) = fifo.pop(now)?;
                stats.waited(waited);
                Some(packet)
            }
            Self::Codel(codel) => codel.dequeue(now, stats),
            Self::Step(step) => step.dequeue(now, stats),
            Self::DualPi2(dual) => dual.dequeue(now, stats),
        }
    }

    /// Packets and payload bytes that wait.
    pub(crate) fn backlog(&mut self) -> (usize, u64) {
        let fifo = match self {
            Self::DualPi2(dual) => return (dual.len(), dual.bytes()),
            Self::DropTail(fifo) | Self::Policer(_, fifo) => fifo,
            Self::Codel(codel) => codel.fifo(),
            Self::Step(step) => step.fifo(),
        };
        (fifo.len(), fifo.bytes())
    }
}
