//! A token bucket that drops what exceeds a rate, before a plain queue.

use super::fifo::Limit;
use crate::link::rate::Rate;
use tquic_core::time::{Instant, nanos};

/// Parameters of a policer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicerConfig {
    /// What is let through in the long run, in payload bits.
    pub rate: Rate,
    /// What is let through at once after a pause, in payload bytes.
    pub burst: u64,
    /// How much the queue behind the policer holds.
    pub limit: Limit,
}

/// The bucket, in units of 1 / (8 * 10^9) byte so that it fills without rounding.
#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    rate: u128,
    capacity: u128,
    tokens: u128,
    filled: Instant,
}

const UNITS_PER_BYTE: u128 = 8_000_000_000;

impl TokenBucket {
    pub(crate) fn new(config: &PolicerConfig) -> Self {
        let capacity = u128::from(config.burst) * UNITS_PER_BYTE;
        let rate = u128::from(config.rate.as_bps());
        Self { rate, capacity, tokens: capacity, filled: Instant::ZERO }
    }

    /// Takes tokens for `bytes` if there are enough.
    pub(crate) fn take(&mut self, now: Instant, bytes: u32) -> bool {
        let elapsed = u128::from(nanos(now - self.filled));
        self.tokens = self.capacity.min(self.tokens + elapsed * self.rate);
        self.filled = now;
        let Some(left) = self.tokens.checked_sub(u128::from(bytes) * UNITS_PER_BYTE) else {
            return false;
        };
        self.tokens = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tquic_core::time::Duration;

    #[test]
    fn passes_its_burst_and_its_rate_to_the_byte() {
        let config = PolicerConfig { rate: Rate::mbps(8), burst: 5000, limit: Limit::Packets(1) };
        let mut bucket = TokenBucket::new(&config);
        let passed = |bucket: &mut TokenBucket, from: u64, to: u64| {
            (from..to)
                .filter(|&t| bucket.take(Instant::ZERO + Duration::from_micros(t), 1000))
                .count()
        };
        // 1000 bytes per millisecond, after 5 packets at once.
        assert_eq!(passed(&mut bucket, 0, 1), 1);
        assert_eq!(passed(&mut bucket, 1, 999), 4);
        assert_eq!(passed(&mut bucket, 999, 100_001), 100);
    }
}
