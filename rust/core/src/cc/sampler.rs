//! Delivery-rate estimation (draft-cheng-iccrg-delivery-rate-estimation-02), also the owner of the
//! round-trip count that HyStart++ and window validation go by.
//!
//! Per acknowledged packet it adds a number; the rate is computed once per ACK frame from the
//! newest packet that the frame acknowledged.

use crate::cc::math::scale;
use crate::time::{Duration, Instant, nanos};

/// What a packet remembers of the moment it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliverySnapshot {
    /// Bytes delivered so far.
    pub delivered: u64,
    /// When `delivered` last grew.
    pub delivered_time: Instant,
    /// Send time of the packet that was newest when `delivered` last grew.
    pub first_sent_time: Instant,
    /// Bytes lost so far.
    pub lost: u64,
    /// Bytes in flight, this packet included.
    pub tx_in_flight: u64,
    /// Whether the application was leaving the window unused.
    pub app_limited: bool,
}

/// The delivery-rate sample of one ACK frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateSample {
    /// Bytes per second; `None` if the interval was too short to tell.
    pub delivery_rate: Option<u64>,
    /// Bytes delivered over the interval.
    pub delivered: u64,
    /// Bytes lost over the interval.
    pub lost: u64,
    /// Bytes in flight when the newest packet was sent.
    pub tx_in_flight: u64,
    /// Whether the sample was taken while the application left the window unused, so that the
    /// rate is a lower bound.
    pub app_limited: bool,
    /// Total bytes delivered when the newest packet was sent.
    pub prior_delivered: u64,
    /// Whether this ACK frame began a new round trip.
    pub round_start: bool,
}

/// The connection-wide state of the estimator.
#[derive(Clone, Debug, Default)]
pub struct Sampler {
    delivered: u64,
    delivered_time: Instant,
    first_sent_time: Instant,
    lost: u64,
    /// The sample stays app-limited until this many bytes are delivered; 0 for not limited.
    app_limited: u64,
    next_round_delivered: u64,
    round: u64,
}

impl Sampler {
    /// Records the state for a packet that is being sent at `now`; `in_flight` includes it.
    pub fn on_sent(&mut self, now: Instant, size: u64, in_flight: u64) -> DeliverySnapshot {
        // Nothing else is in flight: the clocks of sending and delivery start anew, or the pause
        // would count as time the network took.
        if in_flight <= size {
            self.first_sent_time = now;
            self.delivered_time = now;
        }
        DeliverySnapshot {
            delivered: self.delivered,
            delivered_time: self.delivered_time,
            first_sent_time: self.first_sent_time,
            lost: self.lost,
            tx_in_flight: in_flight,
            app_limited: self.app_limited != 0,
        }
    }

    /// `bytes` arrived at the peer.
    pub fn on_delivered(&mut self, bytes: u64) {
        self.delivered += bytes;
    }

    /// `bytes` were declared lost.
    pub fn on_lost(&mut self, bytes: u64) {
        self.lost += bytes;
    }

    /// Ends an ACK frame whose newest acknowledged packet was sent at `time_sent`. `min_rtt` guards
    /// against intervals shorter than the path can produce.
    pub fn on_ack(
        &mut self,
        now: Instant,
        newest: &DeliverySnapshot,
        time_sent: Instant,
        min_rtt: Duration,
    ) -> RateSample {
        self.delivered_time = now;
        if self.app_limited != 0 && self.delivered > self.app_limited {
            self.app_limited = 0;
        }
        let round_start = newest.delivered >= self.next_round_delivered;
        if round_start {
            self.next_round_delivered = self.delivered;
            self.round += 1;
        }
        let send_elapsed = time_sent - newest.first_sent_time;
        let ack_elapsed = now - newest.delivered_time;
        self.first_sent_time = time_sent;
        // The slower of the two: ACK compression shortens one, sending in bursts the other.
        let interval = send_elapsed.max(ack_elapsed);
        let delivered = self.delivered - newest.delivered;
        let usable = interval >= min_rtt && !interval.is_zero();
        RateSample {
            delivery_rate: usable.then(|| scale(delivered, 1_000_000_000, nanos(interval))),
            delivered,
            lost: self.lost - newest.lost,
            tx_in_flight: newest.tx_in_flight,
            app_limited: newest.app_limited,
            prior_delivered: newest.delivered,
            round_start,
        }
    }

    /// The path was replaced: nothing that was measured holds.
    pub fn restart(&mut self) {
        self.app_limited = 0;
        self.next_round_delivered = self.delivered;
    }

    /// The application has nothing more to send although the window has room. Until what is in
    /// flight now is delivered, samples say little about the network.
    pub fn set_app_limited(&mut self, in_flight: u64) {
        self.app_limited = (self.delivered + in_flight).max(1);
    }

    /// Whether samples are app-limited now.
    pub fn is_app_limited(&self) -> bool {
        self.app_limited != 0
    }

    /// Round trips counted so far.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Bytes delivered so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Bytes lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn steady_flow_gives_its_rate() {
        let mut s = Sampler::default();
        // One packet of 1000 bytes per ms, RTT 10 ms.
        let mut sent = std::collections::VecDeque::new();
        for t in 0..100 {
            if t >= 10 {
                let (sent_at, snap) = sent.pop_front().unwrap();
                s.on_delivered(1000);
                let rate = s.on_ack(at(t), &snap, sent_at, 10 * MS);
                if t >= 30 {
                    assert_eq!(rate.delivery_rate, Some(1_000_000));
                    assert!(!rate.app_limited);
                }
            }
            let in_flight = 1000 * (sent.len() as u64 + 1);
            sent.push_back((at(t), s.on_sent(at(t), 1000, in_flight)));
        }
        assert_eq!(s.round(), 90 / 10);
    }

    #[test]
    fn ack_compression_does_not_inflate_the_rate() {
        let mut s = Sampler::default();
        let snaps: Vec<_> =
            (0..10).map(|t| (at(t), s.on_sent(at(t), 1000, 1000 * (t + 1)))).collect();
        // Sent over 9 ms, all acknowledged in one instant after 20 ms.
        let mut last = RateSample::default();
        for (sent_at, snap) in &snaps {
            s.on_delivered(1000);
            last = s.on_ack(at(20), snap, *sent_at, 10 * MS);
        }
        assert_eq!(last.delivery_rate, Some(500_000));
    }

    #[test]
    fn interval_below_min_rtt_gives_no_rate() {
        let mut s = Sampler::default();
        let snap = s.on_sent(at(0), 1000, 1000);
        s.on_delivered(1000);
        assert_eq!(s.on_ack(at(5), &snap, at(0), 10 * MS).delivery_rate, None);
    }

    #[test]
    fn app_limited_until_what_was_in_flight_is_delivered() {
        let mut s = Sampler::default();
        let a = s.on_sent(at(0), 1000, 1000);
        s.set_app_limited(1000);
        let b = s.on_sent(at(1), 1000, 2000);
        assert!(!a.app_limited && b.app_limited);
        s.on_delivered(1000);
        s.on_ack(at(10), &a, at(0), MS);
        assert!(s.is_app_limited(), "exactly what was in flight is not past the marker");
        s.on_delivered(1000);
        assert!(s.on_ack(at(11), &b, at(1), MS).app_limited);
        assert!(!s.is_app_limited());
    }

    #[test]
    fn idle_time_is_not_network_time() {
        let mut s = Sampler::default();
        let a = s.on_sent(at(0), 1000, 1000);
        s.on_delivered(1000);
        s.on_ack(at(10), &a, at(0), MS);
        let b = s.on_sent(at(5000), 1000, 1000);
        s.on_delivered(1000);
        let rate = s.on_ack(at(5010), &b, at(5000), MS);
        assert_eq!(rate.delivery_rate, Some(100_000));
        assert!(rate.round_start);
    }
}
