//! Flow control: how much the peer may send, how much we may (RFC 9000 section 4).

use crate::delivery::Latest;
use crate::time::{Duration, Instant, nanos};

/// Below this round-trip time a window is tuned as if the path had it: on loopback the pauses of
/// applications and schedulers, not the path, decide how much has to be under way.
const MIN_TUNING_RTT: Duration = Duration::from_millis(1);

/// The window that we grant, for one stream or for the connection. It doubles, up to a cap, when
/// the application reads a whole window in less than two round trips.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecvWindow {
    /// The limit as told to the peer.
    limit: Latest,
    /// What the application has read or will never read.
    consumed: u64,
    window: u64,
    cap: u64,
    /// When the limit was last raised, and what was consumed then.
    epoch: Option<(Instant, u64)>,
}

impl RecvWindow {
    /// `window` is what the transport parameters grant; tuning stops at `cap`.
    pub(crate) fn new(window: u64, cap: u64) -> Self {
        Self {
            limit: Latest::known(window),
            consumed: 0,
            window,
            cap: cap.max(window),
            epoch: None,
        }
    }

    /// The limit: no byte at or beyond it may come.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.value()
    }

    /// The present window in bytes.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// Makes the window at least `window`, but never larger than its cap.
    pub(crate) fn widen(&mut self, window: u64) {
        self.window = self.window.max(window.min(self.cap));
    }

    /// Returns credit for `len` bytes.
    pub(crate) fn consume(&mut self, len: u64) {
        self.consumed += len;
    }

    /// Whether a frame should be written: the last one was lost, or a quarter of the window can be
    /// granted anew. Less would make too many frames (RFC 9000 section 4.2), and waiting longer
    /// would let a fast sender run dry.
    pub(crate) fn is_due(&self) -> bool {
        self.limit.is_pending() || self.gain() >= (self.window / 4).max(1)
    }

    fn gain(&self) -> u64 {
        (self.consumed + self.window).saturating_sub(self.limit())
    }

    /// Tunes the window and raises the limit, which is the answer.
    pub(crate) fn refresh(&mut self, now: Instant, rtt: Duration) -> u64 {
        if self.gain() >= (self.window / 4).max(1) {
            if let Some((since, before)) = self.epoch {
                let used = u128::from(self.consumed - before);
                let span = u128::from(nanos(now.saturating_since(since)));
                let two_rtt = 2 * u128::from(nanos(rtt.max(MIN_TUNING_RTT)));
                // At this pace the whole window lasts `span * window / used`.
                if span * u128::from(self.window) < used * two_rtt {
                    self.widen(self.window.saturating_mul(2));
                }
            }
            self.epoch = Some((now, self.consumed));
        }
        self.limit.raise(self.consumed + self.window);
        self.limit()
    }

    pub(crate) fn on_sent(&mut self) {
        self.limit.on_sent();
    }

    pub(crate) fn on_lost(&mut self) {
        self.limit.on_lost();
    }
}

/// The connection's credit for sending, as the peer grants it (RFC 9000 section 4.1).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SendCredit {
    limit: u64,
    used: u64,
}

impl SendCredit {
    pub(crate) fn limit(self) -> u64 {
        self.limit
    }

    /// New bytes that may still be sent.
    pub(crate) fn left(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Takes note of a limit; RFC 9000 section 4.1: smaller ones are ignored.
    pub(crate) fn raise(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    pub(crate) fn spend(&mut self, len: u64) {
        self.used += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    /// RFC 9000 section 4.2.
    #[test]
    fn credit_comes_back_by_the_quarter() {
        let mut w = RecvWindow::new(1000, 1000);
        w.consume(249);
        assert!(!w.is_due());
        w.consume(1);
        assert!(w.is_due());
        assert_eq!(w.refresh(at(0), RTT), 1250);
        assert!(w.is_due(), "until it is written");
        w.on_sent();
        assert!(!w.is_due());
        w.on_lost();
        assert!(w.is_due());
        assert_eq!(w.refresh(at(0), RTT), 1250);
    }

    #[test]
    fn the_window_doubles_when_read_within_two_round_trips() {
        let mut w = RecvWindow::new(1000, 3000);
        w.consume(500);
        w.refresh(at(0), RTT);
        // Half a window in 40 ms: a whole one in 80.
        w.consume(500);
        assert_eq!(w.refresh(at(40), RTT), 1000 + 2000);
        // Half a window in 60 ms: a whole one in 120.
        w.consume(1000);
        assert_eq!(w.refresh(at(100), RTT), 2000 + 2000);
        w.consume(1000);
        assert_eq!(w.refresh(at(101), RTT), 3000 + 3000);
        w.consume(1000);
        w.refresh(at(102), RTT);
        assert_eq!(w.window(), 3000);
    }

    #[test]
    fn two_round_trips_are_not_less_than_two() {
        let mut w = RecvWindow::new(1000, 3000);
        w.consume(500);
        w.refresh(at(0), RTT);
        w.consume(500);
        w.refresh(at(50), RTT);
        assert_eq!(w.window(), 1000);
    }

    /// A frame that is written again tells the present limit, and measures nothing.
    #[test]
    fn less_than_a_quarter_does_not_begin_a_new_measurement() {
        let mut w = RecvWindow::new(1000, 3000);
        w.consume(500);
        w.refresh(at(0), RTT);
        w.consume(10);
        assert_eq!(w.refresh(at(80), RTT), 1510);
        // Half a window in 90 ms, though nearly all of it in the last 10.
        w.consume(490);
        w.refresh(at(90), RTT);
        assert_eq!(w.window(), 1000);
    }

    #[test]
    fn a_tiny_round_trip_does_not_hold_the_window_down() {
        let mut w = RecvWindow::new(1 << 20, 1 << 24);
        let rtt = Duration::from_micros(40);
        for step in 0..20 {
            w.consume(w.window() / 4);
            w.refresh(Instant::from_nanos(step * 250_000), rtt);
        }
        // A GiB each second; a window lasts 2 ms or more.
        assert!(w.window() >= 2 << 20);
    }

    #[test]
    fn smaller_limits_are_ignored() {
        let mut c = SendCredit::default();
        c.raise(10);
        c.raise(5);
        c.spend(4);
        assert_eq!((c.limit(), c.left()), (10, 6));
    }
}
