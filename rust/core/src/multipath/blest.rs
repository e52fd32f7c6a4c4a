//! BLEST, "blocking estimation": leaves a slow path unused when what is sent there would keep the
//! peer's window occupied for so long that the fast path runs out of it.
//!
//! Ferlin, Alay, Mehani, Boreli: BLEST: Blocking Estimation-based MPTCP Scheduler for Heterogeneous
//! Networks, IFIP Networking 2016, section III.

use super::Facts;
use crate::time::{Duration, Instant};

/// λ in thousandths: where it starts and its bounds, as in the authors' implementation for Linux.
const START: u64 = 1200;
const BOUNDS: (u64, u64) = (1000, 1300);
/// What is added after a round trip in which the window blocked, and taken off after any other.
const WORSE: u64 = 40;
const BETTER: u64 = 10;
/// Round trips of the fast path in one of the slow path are not counted beyond this.
const ROUNDS: u64 = 64;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blest {
    lambda: u64,
    /// When λ was last adapted.
    adapted: Option<Instant>,
    /// The window blocked since.
    blocked: bool,
}

impl Default for Blest {
    fn default() -> Self {
        Self { lambda: START, adapted: None, blocked: false }
    }
}

impl Blest {
    /// The peer's window is full although the fast path has room.
    pub fn on_blocked(&mut self) {
        self.blocked = true;
    }

    /// Whether data should wait for the `fast` path, which has no room now, although the `slow` one
    /// has. `window` is what the peer's flow control lets be under way, all paths together.
    pub fn waits(&mut self, now: Instant, fast: &Facts, slow: &Facts, window: u64) -> bool {
        self.adapt(now, fast.min_rtt);
        // X = MSS_f (CWND_f + (rtts - 1)/2) rtts with rtts = RTT_s/RTT_f: what the fast path, whose
        // window grows by a packet in each round trip, could send in one of the slow path. In
        // thousandths of a round trip, which need not be whole.
        let rounds = slow.srtt.saturating_mul(1000) / fast.srtt.max(1);
        let rounds = u128::from(rounds.min(ROUNDS * 1000));
        let growth = u128::from(fast.mss) * rounds.saturating_sub(1000) / 2000;
        let could_send = (u128::from(fast.cwnd) + growth) * rounds / 1000;
        // λ X > |window| - MSS_s (inflight_s + 1)
        let occupied = slow.in_flight.saturating_add(slow.mss);
        let left = u128::from(window.saturating_sub(occupied));
        could_send * u128::from(self.lambda) > left * 1000
    }

    fn adapt(&mut self, now: Instant, min_rtt: Duration) {
        let since = *self.adapted.get_or_insert(now);
        if now.saturating_since(since) < min_rtt {
            return;
        }
        let (least, most) = BOUNDS;
        self.lambda = match core::mem::take(&mut self.blocked) {
            true => (self.lambda + WORSE).min(most),
            false => (self.lambda - BETTER).max(least),
        };
        self.adapted = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn path(rtt: u64, packets: u64) -> Facts {
        let min_rtt = Duration::from_millis(rtt);
        Facts { srtt: rtt * MS, min_rtt, cwnd: packets * 1000, mss: 1000, ..Facts::default() }
    }

    #[test]
    fn a_window_that_both_can_fill_is_shared() {
        let (fast, slow) = (path(10, 20), path(100, 20));
        // X = (20 + 4.5) * 10 = 245 packets, 294 with λ = 1.2; one more is to be sent.
        let now = Instant::ZERO;
        assert!(Blest::default().waits(now, &fast, &slow, 294_000));
        assert!(!Blest::default().waits(now, &fast, &slow, 295_000));
        // What is in flight on the slow path occupies the window, too.
        let busy = Facts { in_flight: 10_000, ..slow };
        assert!(Blest::default().waits(now, &fast, &busy, 304_000));
        assert!(!Blest::default().waits(now, &fast, &busy, 305_000));
    }

    #[test]
    fn lambda_follows_what_blocks() {
        let (fast, slow) = (path(10, 20), path(100, 20));
        let mut blest = Blest::default();
        let mut now = Instant::ZERO;
        let mut round = |blest: &mut Blest, blocked: bool| {
            if blocked {
                blest.on_blocked();
            }
            blest.waits(now, &fast, &slow, 1);
            now += Duration::from_millis(10);
            blest.lambda
        };
        assert_eq!(round(&mut blest, false), 1200, "the first round trip has just begun");
        assert_eq!(round(&mut blest, true), 1240);
        assert_eq!(round(&mut blest, false), 1230);
        for _ in 0..10 {
            round(&mut blest, true);
        }
        assert_eq!(round(&mut blest, true), 1300);
        for _ in 0..40 {
            round(&mut blest, false);
        }
        assert_eq!(round(&mut blest, false), 1000);
    }
}
