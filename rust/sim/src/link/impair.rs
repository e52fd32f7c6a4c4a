//! What may happen to a packet behind the wire: delay, jitter, reordering, copies, damage.

use super::loss::LimitedChance;
use super::stats::Stats;
use crate::packet::Packet;
use crate::random::{Probability, stream};
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant, nanos};

/// Random extra delay, uniform between zero and `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jitter {
    /// The most.
    pub max: Duration,
    /// Whether a packet may overtake an earlier one because of it.
    pub may_reorder: bool,
}

/// Packets held back so that later ones overtake them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reorder {
    /// The chance of each packet.
    pub chance: Probability,
    /// For how long.
    pub extra: Duration,
}

/// One byte replaced by another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The chance of each packet.
    pub chance: Probability,
    /// Most corrupted packets in a row.
    pub burst: u32,
    /// Only the first so many bytes are hit; the QUIC network simulator takes 51.
    pub within: u32,
    /// Version Negotiation packets pass unharmed, as in the QUIC network simulator: nothing protects
    /// them, so a client could be made to give up.
    pub spare_version_negotiation: bool,
}

/// The stage behind the wire.
#[derive(Clone, Debug)]
pub(crate) struct Impairments {
    delay: Duration,
    jitter: Jitter,
    reorder: Reorder,
    duplicate: Probability,
    corruption: Option<(Corruption, LimitedChance)>,
    last_arrival: Instant,
    timing: Rng,
    copies: Rng,
    damage: Rng,
}

impl Impairments {
    pub(crate) fn new(config: &super::LinkConfig, seed: u64, link: u64) -> Self {
        Self {
            delay: config.delay,
            jitter: config.jitter,
            reorder: config.reorder,
            duplicate: config.duplicate,
            corruption: config.corruption.map(|c| (c, LimitedChance::new(c.chance, c.burst))),
            last_arrival: Instant::ZERO,
            timing: stream(seed, "timing", link),
            copies: stream(seed, "copies", link),
            damage: stream(seed, "damage", link),
        }
    }

    /// When a packet that left the wire at `now` arrives.
    pub(crate) fn arrival(&mut self, now: Instant, stats: &mut Stats) -> Instant {
        let mut arrival = now + self.delay;
        if !self.jitter.max.is_zero() {
            let draw = self.timing.below(nanos(self.jitter.max).saturating_add(1));
            arrival += Duration::from_nanos(draw);
            if !self.jitter.may_reorder {
                arrival = arrival.max(self.last_arrival);
                self.last_arrival = arrival;
            }
        }
        if self.reorder.chance.happens(&mut self.timing) {
            stats.reordered += 1;
            arrival += self.reorder.extra;
        }
        arrival
    }

    /// Whether a copy of the next packet is made.
    pub(crate) fn duplicates(&mut self) -> bool {
        self.duplicate.happens(&mut self.copies)
    }

    /// Replaces a byte, perhaps.
    pub(crate) fn corrupt(&mut self, now: Instant, packet: &mut Packet, stats: &mut Stats) {
        let Some((corruption, chance)) = &mut self.corruption else {
            return;
        };
        if corruption.spare_version_negotiation && is_version_negotiation(&packet.bytes) {
            *chance = LimitedChance::new(corruption.chance, corruption.burst);
            return;
        }
        if packet.size == 0 || !chance.happens(&mut self.damage) {
            return;
        }
        let position = self.damage.below(u64::from(packet.size.min(corruption.within.max(1))));
        let difference = 1 + self.damage.below(255) as u8;
        if let Some(byte) = packet.bytes.get_mut(position as usize) {
            *byte ^= difference;
        }
        packet.corrupted = true;
        stats.corrupt(now, packet, position);
    }
}

/// RFC 8999 section 6: the long header form and a version of zero.
fn is_version_negotiation(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 0, 0, 0, 0, ..] if first & 0x80 != 0)
}
