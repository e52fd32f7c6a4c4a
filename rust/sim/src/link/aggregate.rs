//! Packets that arrive in clumps, as from a radio link or a receiver that coalesces interrupts.

use crate::packet::{Delivery, Packet};
use std::collections::VecDeque;
use tquic_core::time::{Duration, Instant};

/// Packets are held until `bytes` are together or the first has waited for `time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregation {
    /// Release when so many payload bytes are held.
    pub bytes: u64,
    /// Release when the first held packet has waited so long.
    pub time: Duration,
}

/// The stage that holds them.
#[derive(Clone, Debug)]
pub(crate) struct Aggregator {
    limits: Aggregation,
    held: VecDeque<Box<Packet>>,
    held_bytes: u64,
    deadline: Option<Instant>,
}

impl Aggregator {
    pub(crate) const fn new(limits: Aggregation) -> Self {
        Self { limits, held: VecDeque::new(), held_bytes: 0, deadline: None }
    }

    /// When the held packets must go.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes a packet that arrives at `now`; releases all if that fills the clump.
    pub(crate) fn push(&mut self, now: Instant, packet: Box<Packet>, out: &mut VecDeque<Delivery>) {
        self.held_bytes += u64::from(packet.size);
        self.held.push_back(packet);
        self.deadline.get_or_insert(now + self.limits.time);
        if self.held_bytes >= self.limits.bytes {
            self.release(now, out);
        }
    }

    /// Releases all that is held.
    pub(crate) fn release(&mut self, now: Instant, out: &mut VecDeque<Delivery>) {
        out.extend(self.held.drain(..).map(|packet| Delivery { at: now, packet }));
        self.held_bytes = 0;
        self.deadline = None;
    }
}
