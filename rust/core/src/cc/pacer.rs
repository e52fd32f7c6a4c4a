//! Spreads sending over time in bursts large enough for segmentation offload.

use crate::cc::math::{scale, scale_up};
use crate::time::{Duration, Instant, nanos};

const NANOS: u64 = 1_000_000_000;
/// Time in which nobody asked is made up for by at most this much sending time, or one burst if that
/// is more.
const CATCH_UP: Duration = Duration::from_micros(250);

/// How data is laid out in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that go together.
    pub burst: u64,
    /// Bytes that a late timer is made up for by, beyond the burst that it was for. A host that wakes
    /// late can send that much at once or never.
    pub catch_up: u64,
}

/// A leaky bucket of bytes (RFC 9002 section 7.7) that, once drained, stays shut until a whole
/// burst has accrued: releasing packets one by one would defeat batching.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// Bytes that may be sent; negative after probes, which do not wait.
    credit: i64,
    /// Up to when time has been turned into credit. Fractions of a byte stay in it as time.
    updated: Instant,
    drained: bool,
    /// Somebody was told to wait and has not come back yet.
    waiting: bool,
    /// Somebody came back so late that not all of the time could be made up for.
    forfeited: bool,
}

impl Pacer {
    /// A pacer that owes nothing.
    pub fn new(now: Instant) -> Self {
        Self { credit: 0, updated: now, drained: false, waiting: false, forfeited: false }
    }

    /// Bytes that may be sent, or when to ask again.
    pub fn budget(&mut self, now: Instant, pace: &Pace) -> Result<u64, Instant> {
        self.accrue(now, pace);
        let (rate, burst) = (pace.rate, signed(pace.burst));
        self.waiting = false;
        if self.credit <= 0 || (self.drained && self.credit < burst) {
            let missing = burst.saturating_sub(self.credit).unsigned_abs();
            let wait = Duration::from_nanos(scale_up(missing, NANOS, rate));
            self.waiting = true;
            return Err(self.updated + wait);
        }
        self.drained = false;
        Ok(self.credit.unsigned_abs())
    }

    /// Nothing is in flight: `allowance` bytes may go at once (RFC 9002 section 7.7).
    pub fn restart(&mut self, now: Instant, allowance: u64) {
        let allowance = signed(allowance);
        if self.credit < allowance {
            self.credit = allowance;
            self.updated = now;
        }
        self.drained = false;
        self.waiting = false;
    }

    /// Not the pacer alone stands in the way any more: nobody comes back when it said.
    pub fn stop_waiting(&mut self) {
        self.waiting = false;
    }

    /// Whether a late timer cost sending time since this was last asked.
    pub fn take_forfeited(&mut self) -> bool {
        core::mem::take(&mut self.forfeited)
    }

    /// `bytes` were sent, paced or not. Debt is bounded by `burst`, so that what is sent without
    /// asking cannot hold back later data for long.
    pub fn on_sent(&mut self, bytes: u64, mss: u64, burst: u64) {
        self.credit = self.credit.saturating_sub(signed(bytes)).max(-signed(burst));
        if self.credit < signed(mss) {
            self.drained = true;
        }
    }

    fn accrue(&mut self, now: Instant, pace: &Pace) {
        let Pace { rate, burst, catch_up } = *pace;
        let least = burst.max(scale(rate, nanos(CATCH_UP), NANOS));
        let limit = signed(burst + if self.waiting { least.max(catch_up) } else { least });
        let earned = scale(rate, nanos(now - self.updated), NANOS);
        let credit = self.credit.saturating_add(signed(earned));
        if credit >= limit {
            self.forfeited |= self.waiting && credit > limit;
            // What a restart allowed beyond the limit stays.
            self.credit = self.credit.max(limit);
            self.updated = now;
        } else if earned > 0 {
            self.credit = credit;
            // Only the time that made whole bytes is spent, rounded so that none is used twice.
            let spent = Duration::from_nanos(scale_up(earned, NANOS, rate));
            self.updated = now.min(self.updated + spent);
        }
    }
}

fn signed(bytes: u64) -> i64 {
    // Half the range, so that sums of two stay in it.
    i64::try_from(bytes).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MSS: u64 = 1200;
    const RATE: u64 = 12_000_000; // bytes per second: a burst of 10 packets per ms
    const BURST: u64 = 12_000;
    const PACE: Pace = Pace { rate: RATE, burst: BURST, catch_up: 10 * BURST };

    fn us(us: u64) -> Instant {
        Instant::from_nanos(1_000_000_000 + us * 1000)
    }

    #[test]
    fn drained_pacer_waits_for_a_whole_burst() {
        let mut p = Pacer::new(us(0));
        p.restart(us(0), BURST);
        assert_eq!(p.budget(us(0), &PACE), Ok(BURST));
        p.on_sent(BURST, MSS, BURST);
        assert_eq!(p.budget(us(0), &PACE), Err(us(1000)));
        assert_eq!(p.budget(us(500), &PACE), Err(us(1000)), "half a burst is not released");
        assert_eq!(p.budget(us(1000), &PACE), Ok(BURST));
    }

    #[test]
    fn undrained_credit_is_available_at_once() {
        let mut p = Pacer::new(us(0));
        p.restart(us(0), BURST);
        p.on_sent(5 * MSS, MSS, BURST);
        assert_eq!(p.budget(us(0), &PACE), Ok(5 * MSS));
    }

    #[test]
    fn catch_up_is_bounded() {
        let after = |pace: &Pace, wait: bool, late: u64| {
            let mut p = Pacer::new(us(0));
            p.budget(us(0), pace).unwrap_err();
            if !wait {
                p.stop_waiting();
            }
            p.budget(us(late), pace)
        };
        assert_eq!(after(&PACE, true, 6000), Ok(6 * BURST), "all that the late timer cost");
        assert_eq!(after(&PACE, true, 1_000_000), Ok(11 * BURST));
        assert_eq!(after(&PACE, false, 1_000_000), Ok(2 * BURST), "nobody was kept waiting");
        // Fast links: bursts are capped by size, so a quarter of a millisecond is made up for.
        let fast = Pace { rate: 1_000_000_000, burst: 65_536, catch_up: 0 };
        assert_eq!(after(&fast, true, 1_000_000), Ok(65_536 + 250_000));
    }

    /// What one call allows is there for the next, which may come before anything was sent.
    #[test]
    fn catch_up_outlives_a_question() {
        let mut p = Pacer::new(us(0));
        p.budget(us(0), &PACE).unwrap_err();
        assert_eq!(p.budget(us(6000), &PACE), Ok(6 * BURST));
        assert_eq!(p.budget(us(6000), &PACE), Ok(6 * BURST));
    }

    #[test]
    fn only_a_late_timer_forfeits() {
        let late = |wait: bool, now: u64| {
            let mut p = Pacer::new(us(0));
            p.budget(us(0), &PACE).unwrap_err();
            if !wait {
                p.stop_waiting();
            }
            p.budget(us(now), &PACE).unwrap();
            (p.take_forfeited(), p.take_forfeited())
        };
        assert_eq!(late(true, 10_999), (false, false), "made up for");
        assert_eq!(late(true, 11_001), (true, false), "and told once");
        assert_eq!(late(false, 10_000), (false, false), "the window was full meanwhile");
    }

    #[test]
    fn debt_of_probes_is_bounded() {
        let mut p = Pacer::new(us(0));
        p.on_sent(1_000_000, MSS, BURST);
        assert_eq!(p.budget(us(0), &PACE), Err(us(2000)));
    }

    #[test]
    fn zero_rate_never_divides() {
        let mut p = Pacer::new(us(0));
        assert_eq!(p.budget(us(5), &Pace { rate: 0, ..PACE }), Err(Instant::MAX));
    }

    proptest! {
        /// Over any time, at whatever moments it is asked, the pacer releases no more than the rate
        /// allows plus the catch-up bound, and no less than the rate when asked when it said.
        #[test]
        fn long_run_rate_holds(
            rate in 10_000u64..2_000_000_000,
            catch_up in 0u64..10_000_000,
            lateness in proptest::collection::vec(0u64..300_000, 1..200),
        ) {
            let burst = (rate / 1000).clamp(MSS, 65_536);
            let pace = Pace { rate, burst, catch_up };
            let mut p = Pacer::new(us(0));
            let (mut now, mut sent, mut late_total) = (us(0), 0u64, 0u64);
            for late in &lateness {
                match p.budget(now, &pace) {
                    Ok(bytes) => {
                        prop_assert!(bytes <= burst + burst.max(rate / 4000 + 1).max(catch_up));
                        p.on_sent(bytes, MSS, burst);
                        sent += bytes;
                    }
                    Err(at) => {
                        prop_assert!(at > now);
                        now = at + Duration::from_nanos(*late);
                        late_total += late;
                    }
                }
            }
            let elapsed = nanos(now - us(0));
            let allowed = scale(rate, elapsed, NANOS);
            prop_assert!(sent <= allowed + 1);
            // Lateness within a burst's time is made up for; the rest is lost.
            let lost = scale(rate, late_total, NANOS);
            prop_assert!(sent + lost + 2 * burst + lateness.len() as u64 + 1 >= allowed);
        }
    }
}
