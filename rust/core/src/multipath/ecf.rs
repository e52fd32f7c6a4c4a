//! ECF, "earliest completion first": leaves a slow path unused when what is left to send would be
//! through sooner by waiting for the fast one.
//!
//! Lim, Nahum, Towsley, Gibbens: ECF: An MPTCP Path Scheduler to Manage Heterogeneous Paths, CoNEXT
//! 2017, section 4 and algorithm 1, with windows in bytes.

use super::Facts;

/// β of the paper is 1/4: once it waits, it takes so much more to make it stop.
const HYSTERESIS: u128 = 4;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ecf {
    /// It decided to wait, and has not used the slow path since.
    waiting: bool,
}

impl Ecf {
    /// Whether `unsent` bytes should wait for the `fast` path, which has no room now, although the
    /// `slow` one has.
    pub fn waits(&mut self, fast: &Facts, slow: &Facts, unsent: u64) -> bool {
        let (rtt_f, rtt_s) = (u128::from(fast.srtt), u128::from(slow.srtt));
        let (cwnd_f, cwnd_s) = (u128::from(fast.cwnd.max(1)), u128::from(slow.cwnd.max(1)));
        let unsent = u128::from(unsent);
        let margin = u128::from(fast.rttvar.max(slow.rttvar));
        // (1 + k/CWND_f) RTT_f < (1 + waiting β) (RTT_s + δ): the fast path, which has to be waited
        // for, has sent everything before the slow one brings its first.
        let sooner = rtt_f * (unsent.max(cwnd_f) + cwnd_f) * HYSTERESIS
            < cwnd_f * (rtt_s + margin) * (HYSTERESIS + u128::from(self.waiting));
        if !sooner {
            self.waiting = false;
            return false;
        }
        // k/CWND_s RTT_s >= 2 RTT_f + δ: and the slow path alone would take longer.
        let worth = rtt_s * unsent.max(cwnd_s) >= cwnd_s * (2 * rtt_f + margin);
        self.waiting |= worth;
        worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn path(rtt: u64, packets: u64) -> Facts {
        Facts { srtt: rtt * MS, cwnd: packets * 1200, mss: 1200, ..Facts::default() }
    }

    #[test]
    fn a_short_rest_waits_and_a_long_one_does_not() {
        // The example of the paper's section 3: RTTs of 10 and 100 ms.
        let (fast, slow) = (path(10, 10), path(100, 10));
        let mut ecf = Ecf::default();
        // (1 + k/10) 10 ms < 100 ms up to k = 90 packets.
        assert!(ecf.waits(&fast, &slow, 89 * 1200));
        let mut ecf = Ecf::default();
        assert!(!ecf.waits(&fast, &slow, 90 * 1200));
    }

    #[test]
    fn waiting_goes_on_for_a_quarter_more() {
        let (fast, slow) = (path(10, 10), path(100, 10));
        let mut ecf = Ecf::default();
        assert!(ecf.waits(&fast, &slow, 10 * 1200));
        // (1 + k/10) 10 ms < 125 ms.
        assert!(ecf.waits(&fast, &slow, 114 * 1200));
        assert!(!ecf.waits(&fast, &slow, 115 * 1200));
        assert!(!ecf.waits(&fast, &slow, 114 * 1200), "it had stopped");
    }

    #[test]
    fn like_paths_are_used_alike() {
        let mut ecf = Ecf::default();
        assert!(!ecf.waits(&path(20, 10), &path(20, 10), 1200));
        assert!(!ecf.waits(&path(20, 10), &path(35, 10), 1200));
        // The slow path's deviation counts for it.
        let jittery = Facts { rttvar: 30 * MS, ..path(45, 10) };
        assert!(ecf.waits(&path(20, 10), &path(45, 10), 1200));
        assert!(!Ecf::default().waits(&path(20, 10), &jittery, 1200));
    }
}
