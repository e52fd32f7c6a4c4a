//! The controller of RFC 9002 section 7.

use crate::cc::window::Window;
use crate::cc::windowed::{Signal, Windowed};
use crate::cc::{AckEvent, ControllerConfig};

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
}

impl Windowed for NewReno {
    fn base(&self) -> &Window {
        &self.window
    }

    fn base_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    fn grow(&mut self, ack: &AckEvent<'_>) {
        let acked = self.window.on_ack(ack);
        // RFC 9002 section 7.3.3: at most one datagram per window acknowledged.
        self.acked += self.window.slow_start(acked);
        while self.acked >= self.window.cwnd() {
            self.acked -= self.window.cwnd();
            self.window.grow(self.window.mss());
        }
    }

    fn cut(&mut self, signal: &Signal) {
        // RFC 9002 sections 7.3.1 and 7.3.2, kLossReductionFactor of appendix B.1.
        self.window.cut(signal, self.window.cwnd() / 2);
        self.acked = 0;
    }

    fn forget(&mut self) {
        self.acked = 0;
    }
}

#[cfg(test)]
mod tests {
    use crate::cc::testing::{MSS, Path};
    use crate::cc::{Algorithm, Congestion, Phase};

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
