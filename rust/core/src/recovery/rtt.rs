//! The RTT estimator (RFC 9002 section 5).

use crate::time::{Duration, Instant, nanos};

/// kGranularity of RFC 9002 section 6.1.2.
pub const GRANULARITY: Duration = Duration::from_millis(1);

/// Estimates of one path's round-trip time.
#[derive(Clone, Debug)]
pub struct Rtt {
    latest: u64,
    smoothed: u64,
    var: u64,
    min: u64,
    first_sample: Option<Instant>,
}

impl Rtt {
    /// An estimate before any sample (RFC 9002 section 5.3).
    pub fn new(initial: Duration) -> Self {
        let initial = nanos(initial).max(1);
        Self {
            latest: initial,
            smoothed: initial,
            var: initial / 2,
            min: initial,
            first_sample: None,
        }
    }

    /// Takes a sample. `ack_delay` is what the peer says it held the acknowledgment back, limited
    /// to its max_ack_delay once the handshake is confirmed; zero for Initial packets.
    pub fn update(&mut self, now: Instant, sample: Duration, ack_delay: Duration) {
        let sample = nanos(sample).max(1);
        self.latest = sample;
        if self.first_sample.is_none() {
            self.first_sample = Some(now);
            (self.min, self.smoothed, self.var) = (sample, sample, sample / 2);
            return;
        }
        // Section 5.2: the minimum uses the sample as it is, or a peer could steer it.
        self.min = self.min.min(sample);
        let delay = nanos(ack_delay);
        // Section 5.3: the delay is not taken off where that would undercut the minimum.
        let adjusted = match sample.checked_sub(delay) {
            Some(adjusted) if adjusted >= self.min => adjusted,
            _ => sample,
        };
        self.var = self.var - self.var / 4 + self.smoothed.abs_diff(adjusted) / 4;
        self.smoothed = self.smoothed - self.smoothed / 8 + adjusted / 8;
    }

    /// RFC 9002 section 5.2: the path may have changed.
    pub fn on_persistent_congestion(&mut self) {
        self.min = self.latest;
    }

    /// The newest sample, or the initial value.
    pub fn latest(&self) -> Duration {
        Duration::from_nanos(self.latest)
    }

    /// smoothed_rtt.
    pub fn smoothed(&self) -> Duration {
        Duration::from_nanos(self.smoothed)
    }

    /// rttvar.
    pub fn var(&self) -> Duration {
        Duration::from_nanos(self.var)
    }

    /// min_rtt.
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.min)
    }

    /// When the first sample was taken.
    pub fn first_sample(&self) -> Option<Instant> {
        self.first_sample
    }

    /// Whether there was a sample.
    pub fn has_sample(&self) -> bool {
        self.first_sample.is_some()
    }

    /// The probe timeout (RFC 9002 section 6.2.1). The peer's `max_ack_delay` is zero for Initial
    /// and Handshake packets.
    pub fn pto(&self, max_ack_delay: Duration) -> Duration {
        self.smoothed() + (self.var() * 4).max(GRANULARITY) + max_ack_delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Instant = Instant::from_nanos(5);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn handshake_starts_with_a_pto_of_one_second() {
        assert_eq!(Rtt::new(ms(333)).pto(ms(0)), ms(999));
    }

    #[test]
    fn first_sample_replaces_the_initial_value() {
        let mut rtt = Rtt::new(ms(333));
        rtt.update(T, ms(100), ms(90));
        assert_eq!((rtt.smoothed(), rtt.var(), rtt.min()), (ms(100), ms(50), ms(100)));
    }

    /// RFC 9002 section 5.3.
    #[test]
    fn ack_delay_is_taken_off_only_above_the_minimum() {
        let mut rtt = Rtt::new(ms(333));
        rtt.update(T, ms(80), ms(0));
        rtt.update(T, ms(100), ms(15));
        // 7/8 * 80 + 1/8 * 85; 3/4 * 40 + 1/4 * 5
        assert_eq!(rtt.smoothed(), Duration::from_micros(80_625));
        assert_eq!(rtt.var(), Duration::from_micros(31_250));
        let mut rtt = Rtt::new(ms(333));
        rtt.update(T, ms(80), ms(0));
        rtt.update(T, ms(88), ms(15));
        assert_eq!(rtt.smoothed(), ms(81), "88 - 15 would undercut 80");
    }

    /// RFC 9002 section 5.2.
    #[test]
    fn minimum_ignores_ack_delay_and_restarts_after_persistent_congestion() {
        let mut rtt = Rtt::new(ms(333));
        rtt.update(T, ms(80), ms(0));
        rtt.update(T, ms(100), ms(50));
        assert_eq!(rtt.min(), ms(80));
        rtt.on_persistent_congestion();
        assert_eq!(rtt.min(), ms(100));
    }

    #[test]
    fn pto_keeps_the_granularity() {
        let mut rtt = Rtt::new(ms(333));
        for _ in 0..200 {
            rtt.update(T, Duration::from_micros(50), ms(0));
        }
        assert!(rtt.pto(ms(0)) >= GRANULARITY);
    }
}
