//! What a link does by the clock: outages and changes of rate.

use super::rate::Rate;
use core::ops::Range;
use tquic_core::time::{Duration, Instant, nanos};

/// Times at which a link is down, and rates from given times on. The clock is the link's: its zero
/// is the start of the simulation, or the first packet that the relay sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Spans in which the link drops all that enters it.
    pub outages: Vec<Range<Instant>>,
    /// A recurring outage.
    pub blackhole: Option<OnOff>,
    /// From each time on the given rate instead of the link's own (`None` is unlimited). In order of
    /// time. A packet on the wire finishes at its old rate.
    pub rates: Vec<(Instant, Option<Rate>)>,
}

/// A link that works for `on`, then drops everything for `off`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnOff {
    /// How long it works.
    pub on: Duration,
    /// How long it drops.
    pub off: Duration,
    /// How often it goes down; `None` is for ever.
    pub repeat: Option<u64>,
}

impl OnOff {
    fn is_down(self, now: Instant) -> bool {
        let (on, off) = (nanos(self.on), nanos(self.off));
        let period = on.saturating_add(off).max(1);
        let round = now.as_nanos() / period;
        now.as_nanos() % period >= on && self.repeat.is_none_or(|times| round < times)
    }
}

impl Schedule {
    /// Whether what enters at `now` is dropped.
    pub fn is_down(&self, now: Instant) -> bool {
        self.blackhole.is_some_and(|hole| hole.is_down(now))
            || self.outages.iter().any(|span| span.contains(&now))
    }

    /// The rate in force at `now`, where `base` is the link's own.
    pub fn rate(&self, now: Instant, base: Option<Rate>) -> Option<Rate> {
        let past = self.rates.partition_point(|&(from, _)| from <= now);
        past.checked_sub(1).and_then(|last| self.rates.get(last)).map_or(base, |&(_, rate)| rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn blackhole_follows_its_rhythm() {
        let mut hole =
            OnOff { on: Duration::from_secs(5), off: Duration::from_secs(2), repeat: None };
        let down =
            |hole: OnOff| [0, 4999, 5000, 6999, 7000, 12_000, 14_000].map(|t| hole.is_down(at(t)));
        assert_eq!(down(hole), [false, false, true, true, false, true, false]);
        hole.repeat = Some(1);
        assert_eq!(down(hole), [false, false, true, true, false, false, false]);
    }

    #[test]
    fn rates_change_on_time() {
        let schedule = Schedule {
            outages: vec![at(1)..at(2)],
            rates: vec![(at(10), Some(Rate::mbps(1))), (at(20), None)],
            ..Schedule::default()
        };
        let base = Some(Rate::mbps(100));
        assert_eq!(schedule.rate(at(9), base), base);
        assert_eq!(schedule.rate(at(10), base), Some(Rate::mbps(1)));
        assert_eq!(schedule.rate(at(99), base), None);
        assert!(schedule.is_down(at(1)) && !schedule.is_down(at(2)));
    }
}
