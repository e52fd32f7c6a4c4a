//! How long bytes take: exact, without drift.

use core::fmt;
use tquic_core::time::Instant;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Bits per second, at least one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// `bits` per second; zero is taken as one (an outage says "nothing" better).
    pub const fn bps(bits: u64) -> Self {
        Self(if bits == 0 { 1 } else { bits })
    }

    /// `megabits` (10^6 bits) per second.
    pub const fn mbps(megabits: u64) -> Self {
        Self::bps(megabits.saturating_mul(1_000_000))
    }

    /// Bits per second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bit/s", self.0)
    }
}

/// Puts packets on the wire one after another. While it stays busy, the fractions of a nanosecond
/// that packets take are carried over, so that a million packets take as long as their sum.
#[derive(Clone, Debug, Default)]
pub struct Serializer {
    /// When the last packet was finished, rounded down.
    finished: Instant,
    /// What rounding left, in units of 1 / `rate` nanoseconds.
    remainder: u128,
    rate: Option<Rate>,
}

impl Serializer {
    /// When `bytes` are on the wire that start at `start`. Without a rate they take no time.
    pub fn transmit(&mut self, start: Instant, bytes: u64, rate: Option<Rate>) -> Instant {
        let Some(bits_per_second) = rate else {
            return start;
        };
        // After idling there is nothing to carry; after a change of rate it has another unit.
        if start != self.finished || rate != self.rate {
            self.remainder = 0;
        }
        let rate_bps = u128::from(bits_per_second.as_bps());
        let work = u128::from(bytes) * 8 * NANOS_PER_SECOND + self.remainder;
        let nanos = u64::try_from(work / rate_bps).unwrap_or(u64::MAX);
        self.remainder = work % rate_bps;
        self.rate = rate;
        self.finished = Instant::from_nanos(start.as_nanos().saturating_add(nanos));
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_packets_take_exactly_their_sum() {
        // 1201 bytes at 7 Mbit/s take 1372571.428... ns each.
        let (mut wire, mut now) = (Serializer::default(), Instant::ZERO);
        for _ in 0..1_000_000 {
            now = wire.transmit(now, 1201, Some(Rate::mbps(7)));
        }
        assert_eq!(now.as_nanos(), 1_000_000 * 1201 * 8 * 1000 / 7);
    }

    #[test]
    fn idling_and_unlimited_rate_carry_nothing() {
        let mut wire = Serializer::default();
        let start = Instant::from_nanos(10);
        assert_eq!(wire.transmit(start, 9000, None), start);
        let once = wire.transmit(start, 1, Some(Rate::bps(3_000_000_000))) - start;
        let later = Instant::from_nanos(1000);
        assert_eq!(wire.transmit(later, 1, Some(Rate::bps(3_000_000_000))) - later, once);
    }
}
