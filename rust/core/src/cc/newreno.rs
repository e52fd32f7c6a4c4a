//! The controller of RFC 9002 section 7.

use crate::cc::window::Window;
use crate::cc::{
    AckEvent, Algorithm, ControllerConfig, DeliverySnapshot, EcnEvent, Inheritance, LossEvent,
    Phase,
};
use crate::recovery::Rtt;
use crate::time::Instant;

/// NewReno: half the window per congestion event, one datagram more per window acknowledged.
#[derive(Clone, Debug)]
pub struct NewReno {
    window: Window,
    /// Bytes acknowledged towards the next datagram of growth.
    acked: u64,
}

impl NewReno {
    /// A controller for a new path.
    pub fn new(config: &ControllerConfig) -> Self {
        Self { window: Window::new(config), acked: 0 }
    }

    fn cut(&mut self, now: Instant, time_sent: Instant, flight: u64, undoable: bool) -> bool {
        if self.window.is_covered(time_sent) {
            if !undoable {
                self.window.forbid_undo();
            }
            return false;
        }
        // RFC 9002 sections 7.3.1 and 7.3.2, kLossReductionFactor of appendix B.1.
        self.window.cut(now, self.window.cwnd() / 2, flight, undoable);
        self.acked = 0;
        true
    }
}

impl Algorithm for NewReno {
    fn on_sent(&mut self, _now: Instant, bytes: u64, snapshot: &DeliverySnapshot) {
        self.window.on_sent(bytes, snapshot.tx_in_flight);
    }

    fn on_ack(&mut self, ack: &AckEvent<'_>) {
        let mut acked = self.window.on_ack(ack);
        if self.window.in_slow_start() {
            let room = self.window.ssthresh().map_or(acked, |t| t - self.window.cwnd());
            let grown = acked.min(room);
            self.window.grow(grown);
            acked -= grown;
        }
        // RFC 9002 section 7.3.3: at most one datagram per window acknowledged.
        self.acked += acked;
        while self.acked >= self.window.cwnd() {
            self.acked -= self.window.cwnd();
            self.window.grow(self.window.mss());
        }
    }

    fn on_packet_lost(&mut self, loss: &LossEvent) -> bool {
        self.cut(loss.now, loss.time_sent, loss.prior_in_flight, true)
    }

    fn on_ecn(&mut self, report: &EcnEvent<'_>) -> bool {
        report.ce > 0 && self.cut(report.now, report.time_sent, report.in_flight, false)
    }

    fn on_persistent_congestion(&mut self, now: Instant) {
        self.window.collapse(now);
        self.acked = 0;
    }

    fn undo(&mut self) -> bool {
        self.window.undo()
    }

    fn available(&self, in_flight: u64) -> u64 {
        self.window.available(in_flight)
    }

    fn window(&self) -> u64 {
        self.window.cwnd()
    }

    fn ssthresh(&self) -> Option<u64> {
        self.window.ssthresh()
    }

    fn phase(&self) -> Phase {
        self.window.phase()
    }

    fn recovery_start(&self) -> Option<Instant> {
        self.window.recovery_start()
    }

    fn pacing_rate(&self, rtt: &Rtt) -> Option<u64> {
        self.window.pacing_rate(rtt)
    }

    fn set_max_datagram(&mut self, bytes: u64) {
        self.window.set_max_datagram(bytes);
    }

    fn inherit(&mut self, past: &Inheritance<'_>) {
        self.window.inherit(past);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cc::Congestion;
    use crate::cc::testing::{MSS, Path};

    #[test]
    fn slow_start_doubles_each_round() {
        let mut p = Path::new(Congestion::NewReno, 50);
        for factor in [2, 4, 8, 16] {
            p.round();
            assert_eq!(p.cc.window(), 10 * MSS * factor);
        }
        assert_eq!(p.cc.phase(), Phase::SlowStart);
    }

    /// RFC 9002 sections 7.3.1 to 7.3.3.
    #[test]
    fn one_cut_per_round_trip_and_one_datagram_per_window() {
        let mut p = Path::new(Congestion::NewReno, 50);
        p.round();
        p.fill();
        assert!(p.lose(1));
        assert!(!p.lose(3), "same flight, same event");
        assert_eq!(p.cc.window(), 10 * MSS);
        assert_eq!(p.cc.phase(), Phase::Recovery);
        p.round();
        p.round();
        assert_eq!(p.cc.phase(), Phase::CongestionAvoidance);
        let before = p.cc.window();
        p.round();
        assert_eq!(p.cc.window(), before + MSS);
    }

    #[test]
    fn window_never_falls_below_two_datagrams() {
        let mut p = Path::new(Congestion::NewReno, 50);
        for _ in 0..10 {
            p.fill();
            p.lose(1);
            p.round();
        }
        assert!(p.cc.window() >= 2 * MSS);
        p.cc.on_persistent_congestion(p.now);
        assert_eq!(p.cc.window(), 2 * MSS);
    }

    #[test]
    fn idle_window_does_not_grow() {
        let mut p = Path::new(Congestion::NewReno, 50);
        for _ in 0..10 {
            p.round_of(3);
        }
        assert_eq!(p.cc.window(), 10 * MSS, "three packets per round do not use ten");
    }

    #[test]
    fn persistent_congestion_resets_the_recovery_period() {
        let mut p = Path::new(Congestion::NewReno, 50);
        p.fill();
        p.lose(1);
        p.cc.on_persistent_congestion(p.now);
        assert_eq!(p.cc.recovery_start(), None);
        assert_eq!(p.cc.phase(), Phase::SlowStart);
    }

    #[test]
    fn undo_restores_the_larger_of_current_and_saved() {
        let mut p = Path::new(Congestion::NewReno, 50);
        p.round();
        p.fill();
        p.lose(1);
        p.cc.undo();
        assert_eq!(p.cc.window(), 20 * MSS);
        assert_eq!(p.cc.ssthresh(), None);
        p.cc.undo();
        assert_eq!(p.cc.window(), 20 * MSS, "nothing left to take back");
    }

    #[test]
    fn ecn_cut_is_never_undone() {
        let mut p = Path::new(Congestion::NewReno, 50);
        p.fill();
        assert!(p.mark());
        p.cc.undo();
        assert_eq!(p.cc.window(), 5 * MSS);
        // A mark within a loss's recovery period confirms the congestion.
        p.round();
        p.round();
        p.fill();
        p.lose(1);
        let cut = p.cc.window();
        assert!(!p.mark());
        p.cc.undo();
        assert_eq!(p.cc.window(), cut);
    }

    #[test]
    fn initial_window_follows_the_datagram_size_until_used() {
        let mut p = Path::new(Congestion::NewReno, 50);
        p.cc.set_max_datagram(1500);
        assert_eq!(p.cc.window(), 14_720);
        p.cc.set_max_datagram(9000);
        assert_eq!(p.cc.window(), 18_000);
        p.cc.set_max_datagram(1200);
        assert_eq!(p.cc.window(), 12_000);
    }
}
