//! Coupled congestion control: the paths of a connection together take no more of a link that they
//! share than one connection with one path would, and where they share none, use those best that are
//! least congested. Windows fall and grow as with NewReno, but for how much.
//!
//! - LIA: RFC 6356 section 3.
//! - OLIA: Khalili, Gast, Popovic, Le Boudec: MPTCP is not Pareto-optimal, IEEE/ACM ToN 21(5), 2013;
//!   draft-khalili-mptcp-congestion-control-05.
//! - BALIA: Peng, Walid, Hwang, Low: Multipath TCP: Analysis, Design, and Implementation, IEEE/ACM
//!   ToN 24(1), 2016; draft-walid-mptcp-congestion-control-04.

use crate::cc::window::Window;
use crate::cc::windowed::{Signal, Windowed};
use crate::cc::{AckEvent, ControllerConfig};
use crate::recovery::Rtt;

/// Which of the algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coupling {
    /// Linked increases.
    Lia,
    /// Opportunistic linked increases.
    Olia,
    /// Balanced linked adaptation.
    Balia,
}

/// What a path contributes: its window in packets, its round-trip time in seconds, and the packets
/// that it carries between losses.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    window: f64,
    rtt: f64,
    between_losses: f64,
}

/// What the coupling leaves to a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Packets that the window grows by for each packet acknowledged.
    increase: f64,
    /// The part of the window that a loss takes.
    decrease: f64,
}

impl Coupling {
    /// The share of the path `own` among `all` paths of the connection, itself included.
    pub fn share(self, all: &[Member], own: &Member) -> Share {
        let rate = |m: &Member| m.window / m.rtt;
        let total_rate: f64 = all.iter().map(rate).sum();
        let half = 0.5;
        match self {
            Self::Lia => {
                // RFC 6356 section 3: alpha = w_total max(w/rtt²) / (Σ w/rtt)², and no more than
                // a connection of its own would take.
                let best = all.iter().map(|m| rate(m) / m.rtt).fold(0.0, f64::max);
                let increase = best / (total_rate * total_rate);
                Share { increase: increase.min(1.0 / own.window), decrease: half }
            }
            Self::Olia => {
                let increase = rate(own) / own.rtt / (total_rate * total_rate);
                let shift = shift(all, own) / own.window;
                Share { increase: increase + shift, decrease: half }
            }
            Self::Balia => {
                let most = all.iter().map(rate).fold(0.0, f64::max);
                let lead = most / rate(own);
                let increase = rate(own) / own.rtt / (total_rate * total_rate);
                Share {
                    increase: increase * ((1.0 + lead) / 2.0) * ((4.0 + lead) / 5.0),
                    decrease: half * lead.min(1.5),
                }
            }
        }
    }
}

/// α of OLIA: the best paths that have not the largest windows gain what those with the largest lose.
fn shift(all: &[Member], own: &Member) -> f64 {
    let quality = |m: &Member| m.between_losses * m.between_losses / m.rtt;
    let best = all.iter().map(quality).fold(0.0, f64::max);
    let largest = all.iter().map(|m| m.window).fold(0.0, f64::max);
    // Windows are whole packets in the paper; a difference of less is none.
    let is_large = |m: &Member| m.window + 1.0 > largest;
    let is_best = |m: &Member| quality(m) >= best;
    let poor = all.iter().filter(|m| is_best(m) && !is_large(m)).count();
    if poor == 0 {
        return 0.0;
    }
    let large = all.iter().filter(|m| is_large(m)).count();
    let paths = all.len() as f64;
    match (is_large(own), is_best(own)) {
        (true, _) => -1.0 / (paths * large as f64),
        (false, true) => 1.0 / (paths * poor as f64),
        (false, false) => 0.0,
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Coupled {
    coupling: Coupling,
    window: Window,
    /// As of the last ACK; alone until the first.
    share: Option<Share>,
    /// Growth of less than a byte, either way.
    fraction: f64,
    /// Bytes acknowledged since the last loss, and between the last two.
    since_loss: u64,
    before_loss: u64,
}

impl Coupled {
    /// A controller for a new path.
    pub fn new(coupling: Coupling, config: &ControllerConfig) -> Self {
        Self {
            coupling,
            window: Window::new(config),
            share: None,
            fraction: 0.0,
            since_loss: 0,
            before_loss: 0,
        }
    }

    /// Which of the algorithms.
    pub fn coupling(&self) -> Coupling {
        self.coupling
    }

    /// What the path contributes.
    pub fn member(&self, rtt: &Rtt) -> Member {
        let mss = self.window.mss() as f64;
        Member {
            window: self.window.cwnd() as f64 / mss,
            rtt: rtt.smoothed().as_secs_f64().max(1e-6),
            between_losses: self.since_loss.max(self.before_loss) as f64 / mss,
        }
    }

    /// What the others leave to it, from now on.
    pub fn set_share(&mut self, share: Share) {
        self.share = Some(share);
    }
}

impl Windowed for Coupled {
    fn base(&self) -> &Window {
        &self.window
    }

    fn base_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    fn grow(&mut self, ack: &AckEvent<'_>) {
        self.since_loss += ack.acked_bytes;
        // RFC 6356 section 3: slow start is not coupled.
        let acked = self.window.on_ack(ack);
        let acked = self.window.slow_start(acked);
        let alone = self.window.mss() as f64 / self.window.cwnd() as f64;
        let increase = self.share.map_or(alone, |share| share.increase);
        self.fraction += acked as f64 * increase;
        if self.fraction >= 1.0 {
            self.window.grow(self.fraction as u64);
        } else if self.fraction <= -1.0 {
            self.window.take_back(-self.fraction as u64);
        }
        self.fraction -= self.fraction.trunc();
    }

    fn cut(&mut self, signal: &Signal) {
        let kept = 1.0 - self.share.map_or(0.5, |share| share.decrease);
        self.window.cut(signal, (self.window.cwnd() as f64 * kept) as u64);
        self.fraction = 0.0;
        (self.before_loss, self.since_loss) = (self.since_loss, 0);
    }

    fn forget(&mut self) {
        self.fraction = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cc::testing::{MSS, Path};
    use crate::cc::{Algorithm, Congestion, Controller};

    const ALL: [Coupling; 3] = [Coupling::Lia, Coupling::Olia, Coupling::Balia];

    fn member(window: f64, rtt_ms: f64, between_losses: f64) -> Member {
        Member { window, rtt: rtt_ms / 1000.0, between_losses }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn alone_each_is_newreno() {
        for coupling in ALL {
            let own = member(20.0, 50.0, 400.0);
            let share = coupling.share(&[own], &own);
            assert!(close(share.increase, 1.0 / 20.0), "{coupling:?}: {share:?}");
            assert!(close(share.decrease, 0.5), "{coupling:?}: {share:?}");
        }
    }

    #[test]
    fn two_like_paths_grow_like_one() {
        // Two of 10 packets lose half of one of them, 5 packets, for each loss in 20; one connection
        // of 20 packets loses 10. So half its growth keeps the balance.
        for coupling in ALL {
            let own = member(10.0, 50.0, 100.0);
            let share = coupling.share(&[own, own], &own);
            let in_a_round = 2.0 * own.window * share.increase;
            assert!(close(in_a_round, 0.5), "{coupling:?}: {in_a_round}");
        }
    }

    #[test]
    fn lia_takes_no_more_than_a_path_alone() {
        // RFC 6356 section 3: the second term of the minimum.
        let (small, large) = (member(2.0, 10.0, 1.0), member(50.0, 100.0, 1.0));
        let all = [small, large];
        for own in all {
            let share = Coupling::Lia.share(&all, &own);
            assert!(share.increase <= 1.0 / own.window);
        }
        // α/w_total by hand: max(2/0.0001, 50/0.01) / (2/0.01 + 50/0.1)² = 20000/490000.
        assert!(close(Coupling::Lia.share(&all, &small).increase, 20_000.0 / 490_000.0));
        assert!(close(Coupling::Lia.share(&all, &large).increase, 1.0 / 50.0));
    }

    #[test]
    fn olia_shifts_from_large_windows_to_good_paths() {
        let (good, large) = (member(5.0, 50.0, 900.0), member(20.0, 50.0, 100.0));
        let all = [good, large];
        let base = |m: &Member| m.window / (25.0 * 25.0);
        let share = |m: &Member| Coupling::Olia.share(&all, m).increase;
        assert!(close(share(&good), base(&good) + 0.5 / 5.0));
        assert!(close(share(&large), base(&large) - 0.5 / 20.0));
        // The best has the largest window already: nothing is shifted.
        let all = [member(20.0, 50.0, 900.0), member(5.0, 50.0, 100.0)];
        assert!(close(Coupling::Olia.share(&all, &all[0]).increase, base(&all[0])));
        assert!(close(Coupling::Olia.share(&all, &all[1]).increase, base(&all[1])));
    }

    #[test]
    fn balia_cuts_small_paths_deeper() {
        let (slow, fast) = (member(5.0, 50.0, 1.0), member(20.0, 50.0, 1.0));
        let share = Coupling::Balia.share(&[slow, fast], &slow);
        assert!(close(share.decrease, 0.75), "{share:?}");
        // x_i/(rtt (Σx)²) (1+4)/2 (4+4)/5
        assert!(close(share.increase, 5.0 / 625.0 * 2.5 * 1.6), "{share:?}");
        assert!(close(Coupling::Balia.share(&[slow, fast], &fast).decrease, 0.5));
    }

    #[test]
    fn the_window_follows_its_share() {
        let mut p = Path::new(Congestion::Olia, 50);
        p.fill();
        p.lose(1);
        p.round();
        p.round();
        let before = p.cc.window();
        let Controller::Coupled(c) = &mut p.cc else { unreachable!("built as coupled") };
        c.set_share(Share { increase: 0.5, decrease: 0.25 });
        p.round();
        assert!(p.cc.window().abs_diff(before + before / 2) <= MSS, "{before} {}", p.cc.window());
        let Controller::Coupled(c) = &mut p.cc else { unreachable!("built as coupled") };
        c.set_share(Share { increase: -0.5, decrease: 0.25 });
        let before = p.cc.window();
        p.round();
        assert!(p.cc.window() < before && p.cc.window() >= 2 * MSS);
        let before = p.cc.window();
        p.fill();
        p.lose(1);
        assert_eq!(p.cc.window(), (before as f64 * 0.75) as u64);
    }
}
