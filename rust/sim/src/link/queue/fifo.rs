//! A bounded first-in first-out queue that knows how long each packet has waited.

use crate::packet::Packet;
use std::collections::VecDeque;
use tquic_core::time::{Duration, Instant};

/// How much a queue holds, not counting the packet on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many packets.
    Packets(u64),
    /// So many payload bytes.
    Bytes(u64),
}

/// Packets in order of arrival.
#[derive(Clone, Debug)]
pub(crate) struct Fifo {
    limit: Limit,
    packets: VecDeque<(Instant, Box<Packet>)>,
    bytes: u64,
}

impl Fifo {
    pub(crate) const fn new(limit: Limit) -> Self {
        Self { limit, packets: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn has_room(&self, packet: &Packet) -> bool {
        match self.limit {
            Limit::Packets(most) => (self.packets.len() as u64) < most,
            Limit::Bytes(most) => self.bytes + u64::from(packet.size) <= most,
        }
    }

    pub(crate) fn push(&mut self, now: Instant, packet: Box<Packet>) {
        self.bytes += u64::from(packet.size);
        self.packets.push_back((now, packet));
    }

    /// Takes the first packet, with the time it has waited.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Duration, Box<Packet>)> {
        let (arrived, packet) = self.packets.pop_front()?;
        self.bytes -= u64::from(packet.size);
        Some((now - arrived, packet))
    }

    /// How long the first packet has waited; zero if there is none.
    pub(crate) fn head_wait(&self, now: Instant) -> Duration {
        self.packets.front().map_or(Duration::ZERO, |&(arrived, _)| now - arrived)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}
