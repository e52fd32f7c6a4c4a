//! What window-based controllers share: the window, recovery periods, and whether the window was
//! used, without which it must not grow.

use crate::cc::math::scale;
use crate::cc::prr::Prr;
use crate::cc::windowed::Signal;
use crate::cc::{AckEvent, ControllerConfig, Inheritance, Phase};
use crate::recovery::Rtt;
use crate::time::{Duration, Instant, nanos};

/// kMinimumWindow of RFC 9002 section 7.2, in datagrams.
const MINIMUM_DATAGRAMS: u64 = 2;
/// Below this RTT a window is drained faster than timers can pace it.
const UNPACED_RTT: Duration = Duration::from_millis(1);

/// How the window was used in one round trip.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    /// The most bytes in flight after sending.
    most: u64,
    /// The window had no room for another packet. Judged when sending: by the time of the
    /// acknowledgments the window may have grown above what filled it.
    full: bool,
}

/// The congestion window and its bounds, in bytes.
#[derive(Clone, Debug)]
pub struct Window {
    cwnd: u64,
    /// `u64::MAX` while unlimited.
    ssthresh: u64,
    mss: u64,
    configured: Option<u64>,
    recovery_start: Option<Instant>,
    /// When persistent congestion last took the window.
    collapsed: Option<Instant>,
    /// Present during a recovery period.
    prr: Option<Prr>,
    use_now: Use,
    use_before: Use,
    /// Window and threshold before the last cut, if it can be undone.
    saved: Option<(u64, u64)>,
}

impl Window {
    pub fn new(config: &ControllerConfig) -> Self {
        let mss = config.max_datagram.max(1);
        Self {
            cwnd: initial_window(config.initial_window, mss),
            ssthresh: u64::MAX,
            mss,
            configured: config.initial_window,
            recovery_start: None,
            collapsed: None,
            prr: None,
            use_now: Use::default(),
            use_before: Use::default(),
            saved: None,
        }
    }

    /// Goes on with another controller's window. One that knew no threshold yet stays in slow
    /// start, any other continues from where it was.
    pub fn inherit(&mut self, past: &Inheritance<'_>) {
        self.cwnd = past.window.max(self.minimum());
        self.ssthresh = past.ssthresh.map_or(u64::MAX, |ssthresh| ssthresh.max(self.minimum()));
        self.recovery_start = past.recovery_start;
    }

    pub fn cwnd(&self) -> u64 {
        self.cwnd
    }

    pub fn mss(&self) -> u64 {
        self.mss
    }

    pub fn minimum(&self) -> u64 {
        MINIMUM_DATAGRAMS * self.mss
    }

    pub fn ssthresh(&self) -> Option<u64> {
        (self.ssthresh != u64::MAX).then_some(self.ssthresh)
    }

    pub fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Whether no congestion was ever seen, so that this is the first slow start.
    pub fn is_first_slow_start(&self) -> bool {
        self.ssthresh == u64::MAX
    }

    pub fn phase(&self) -> Phase {
        match (&self.prr, self.in_slow_start()) {
            (Some(_), _) => Phase::Recovery,
            (None, true) => Phase::SlowStart,
            (None, false) => Phase::CongestionAvoidance,
        }
    }

    pub fn recovery_start(&self) -> Option<Instant> {
        self.recovery_start
    }

    pub fn available(&self, in_flight: u64) -> u64 {
        match &self.prr {
            // With nothing in flight no ACK will come to raise the quota, and no timer runs: one
            // packet must go, whatever the proportion says.
            Some(prr) if in_flight == 0 => prr.quota().max(self.mss),
            Some(prr) => prr.quota(),
            None => self.cwnd.saturating_sub(in_flight),
        }
    }

    pub fn on_sent(&mut self, bytes: u64, in_flight: u64) {
        self.use_now.most = self.use_now.most.max(in_flight);
        self.use_now.full |= in_flight.saturating_add(self.mss) > self.cwnd;
        if let Some(prr) = &mut self.prr {
            prr.on_sent(bytes);
        }
    }

    /// The part of an ACK that every window-based controller handles alike. Returns the bytes that
    /// may grow the window.
    pub fn on_ack(&mut self, ack: &AckEvent<'_>) -> u64 {
        let was_used = self.is_used();
        self.on_ack_if(was_used, ack)
    }

    /// The same for a controller that knows itself whether its window was used.
    pub fn on_ack_if(&mut self, was_used: bool, ack: &AckEvent<'_>) -> u64 {
        if ack.rate.round_start {
            self.use_before = self.use_now;
            self.use_now = Use { most: ack.in_flight, full: false };
        }
        if let Some(prr) = &mut self.prr {
            if ack.acked_after_recovery == 0 {
                prr.on_ack(ack.acked_bytes, ack.in_flight, ack.lost_bytes == 0, self.mss);
                return 0;
            }
            // RFC 9002 section 7.3.2: a packet sent during recovery was acknowledged.
            self.prr = None;
        }
        if self.collapsed == Some(ack.now) {
            // The frame that established persistent congestion earns no growth.
            return 0;
        }
        // RFC 9002 section 7.8: a window that is not used says nothing about the network.
        if was_used { ack.acked_after_recovery } else { 0 }
    }

    /// Whether sending was limited by the window over the last two round trips. The bytes in
    /// flight at an ACK would not do: with pacing they swing far below the window.
    fn is_used(&self) -> bool {
        if self.in_slow_start() {
            // The window of the next round is twice this round's flight.
            self.cwnd < self.use_now.most.max(self.use_before.most).saturating_mul(2)
        } else {
            self.use_now.full || self.use_before.full
        }
    }

    /// Whether a congestion signal about a packet sent at `time_sent` belongs to the recovery
    /// period that the window was already cut for (RFC 9002 section 7.3.2).
    pub fn is_covered(&self, time_sent: Instant) -> bool {
        self.recovery_start.max(self.collapsed).is_some_and(|start| time_sent <= start)
    }

    /// Starts a recovery period with `target` as the window at its end.
    pub fn cut(&mut self, signal: &Signal, target: u64) {
        self.saved = signal.is_loss.then_some((self.cwnd, self.ssthresh));
        self.cwnd = target.max(self.minimum());
        self.ssthresh = self.cwnd;
        self.recovery_start = Some(signal.now);
        self.prr = Some(Prr::new(signal.in_flight, self.ssthresh, self.mss));
    }

    /// Shrinks the window a little, without a recovery period: an answer to L4S marks. What undo
    /// would restore shrinks along, for marks are never taken back.
    pub fn shrink(&mut self, factor: f64) {
        let shrunk = |bytes: u64| (bytes as f64 * factor) as u64;
        self.cwnd = shrunk(self.cwnd).max(self.minimum());
        self.ssthresh = self.cwnd;
        self.saved = self.saved.map(|(cwnd, _)| (shrunk(cwnd), shrunk(cwnd)));
    }

    /// Takes growth back that was given too early, down to the floor.
    pub fn take_back(&mut self, bytes: u64) {
        self.cwnd = self.cwnd.saturating_sub(bytes).max(self.minimum());
    }

    /// The current recovery period was confirmed by a signal that cannot be spurious.
    pub fn forbid_undo(&mut self) {
        self.saved = None;
    }

    pub fn grow(&mut self, bytes: u64) {
        self.cwnd = self.cwnd.saturating_add(bytes);
    }

    /// Slow start up to the threshold, a byte per byte. What is left of `acked` is for congestion
    /// avoidance.
    pub fn slow_start(&mut self, acked: u64) -> u64 {
        let room = self.ssthresh.saturating_sub(self.cwnd);
        let grown = acked.min(room);
        self.grow(grown);
        acked - grown
    }

    /// Leaves slow start without congestion.
    pub fn leave_slow_start(&mut self, window: u64) {
        self.cwnd = window.max(self.minimum());
        self.ssthresh = self.cwnd;
    }

    /// RFC 9002 section 7.6.2. The recovery period is forgotten, or acknowledgments of older packets
    /// would not restart growth; further losses of what was sent before say nothing new.
    pub fn collapse(&mut self, now: Instant) {
        self.cwnd = self.minimum();
        self.recovery_start = None;
        self.collapsed = Some(now);
        self.prr = None;
        self.saved = None;
    }

    /// Takes the last cut back; false if there is none to take back. Growth since then is kept.
    pub fn undo(&mut self) -> bool {
        let Some((cwnd, ssthresh)) = self.saved.take() else { return false };
        self.cwnd = self.cwnd.max(cwnd);
        self.ssthresh = self.ssthresh.max(ssthresh);
        self.recovery_start = None;
        self.prr = None;
        true
    }

    pub fn pacing_rate(&self, rtt: &Rtt) -> Option<u64> {
        // The path's time, not that of queues: with many connections in one process most of the
        // smoothed RTT is their waiting for the CPU, which pacing packet by packet makes longer.
        if !rtt.has_sample() || rtt.min() < UNPACED_RTT {
            return None;
        }
        // RFC 9002 section 7.7: more than the window per RTT, so that the window stays the limit.
        let window = if self.in_slow_start() { self.cwnd * 2 } else { self.cwnd / 4 * 5 };
        Some(scale(window, 1_000_000_000, nanos(rtt.smoothed())))
    }

    /// RFC 9002 section 7.2: the initial window follows the datagram size until it has served.
    pub fn set_max_datagram(&mut self, bytes: u64) {
        let before = initial_window(self.configured, self.mss);
        self.mss = bytes.max(1);
        let initial = initial_window(self.configured, self.mss);
        if self.is_first_slow_start() && (self.cwnd == before || self.cwnd < initial) {
            self.cwnd = initial;
        }
        self.cwnd = self.cwnd.max(self.minimum());
    }
}

/// RFC 9002 section 7.2: ten datagrams, within the larger of 14,720 bytes and two datagrams.
pub fn initial_window(configured: Option<u64>, mss: u64) -> u64 {
    let minimum = MINIMUM_DATAGRAMS * mss;
    configured.unwrap_or_else(|| (10 * mss).min(minimum.max(14_720))).max(minimum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_with_nothing_in_flight_lets_one_packet_go() {
        let config =
            ControllerConfig { initial_window: None, max_datagram: 1472, paced: false, seed: 0 };
        let mut w = Window::new(&config);
        let now = Instant::from_nanos(5);
        let lost = Signal { now, time_sent: Instant::ZERO, in_flight: 14_720, is_loss: true };
        w.cut(&lost, 10_000);
        // The fast retransmit takes the quota to less than a packet, and then all else is lost.
        w.on_sent(1200, 14_720);
        assert_eq!(w.available(1200), 272);
        assert_eq!(w.available(0), 1472);
    }
}
