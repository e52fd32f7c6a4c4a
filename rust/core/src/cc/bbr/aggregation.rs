//! How much more is acknowledged at times than the bandwidth explains (draft-ietf-ccwg-bbr-06,
//! "BBR.extra_acked"): receivers and links that hold data or acknowledgments back would otherwise
//! drain a window of a few bandwidth-delay products.

use super::params::EXTRA_ACKED_ROUNDS;
use crate::cc::filter::WindowedMax;
use crate::cc::math::scale;
use crate::time::{Instant, nanos};

/// The estimator.
#[derive(Clone, Copy, Debug)]
pub struct Aggregation {
    /// BBR.extra_acked_interval_start.
    since: Instant,
    /// BBR.extra_acked_delivered.
    delivered: u64,
    filter: WindowedMax,
}

impl Aggregation {
    pub fn new(now: Instant) -> Self {
        Self { since: now, delivered: 0, filter: WindowedMax::default() }
    }

    /// BBR.extra_acked in bytes.
    pub fn extra(&self) -> u64 {
        self.filter.value()
    }

    /// Sending restarts from idle: the pause was not the network's.
    pub fn restart(&mut self, now: Instant) {
        self.since = now;
    }

    /// `acked` bytes were acknowledged in round trip number `round`. A sample is at most the window,
    /// `cwnd`.
    pub fn update(
        &mut self,
        now: Instant,
        acked: u64,
        bw: u64,
        cwnd: u64,
        (round, full): (u64, bool),
    ) {
        let mut expected = scale(bw, nanos(now - self.since), 1_000_000_000);
        if self.delivered <= expected {
            self.delivered = 0;
            self.since = now;
            expected = 0;
        }
        self.delivered = self.delivered.saturating_add(acked);
        let extra = self.delivered.saturating_sub(expected).min(cwnd);
        // In Startup, remember one round trip.
        let window = if full { EXTRA_ACKED_ROUNDS } else { 1 };
        self.filter.update(round, extra, window);
    }
}
