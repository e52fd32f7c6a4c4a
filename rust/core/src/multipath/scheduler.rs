//! Which path the next train goes to: schedulers by name.

use core::num::NonZeroU32;

use crate::path::Path;
use crate::time::nanos;

/// What puts the paths in order for each train: the first with room in its window gets it. Paths that
/// must not be used, or only when no other can be, are left out before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// The smallest smoothed round-trip time first. The default.
    #[default]
    MinRtt,
    /// The path that has waited longest for its turn first.
    RoundRobin,
    /// The path that has sent least for its weight first. Weights are capacities in Mbit/s; where none
    /// is set, the delivery rate.
    Weighted,
    /// The path on which a packet sent now arrives first, by what is in flight there and the
    /// delivery rate: large transfers fill all paths evenly.
    Aggregate,
    /// As [`Self::MinRtt`], but slow paths stay unused while they would keep the peer's flow control
    /// window occupied for too long.
    Blest,
    /// As [`Self::MinRtt`], but slow paths stay unused while what is left would be through sooner by
    /// waiting for the fast one.
    Ecf,
    /// As [`Self::MinRtt`], and everything is sent on every path: what a path has room for beyond new
    /// data, it repeats of the others.
    Redundant,
}

impl Scheduler {
    /// All, with their names.
    pub const ALL: [(&str, Self); 7] = [
        ("minrtt", Self::MinRtt),
        ("roundrobin", Self::RoundRobin),
        ("weighted", Self::Weighted),
        ("aggregate", Self::Aggregate),
        ("blest", Self::Blest),
        ("ecf", Self::Ecf),
        ("redundant", Self::Redundant),
    ];

    /// The scheduler of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, scheduler)| *scheduler)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    /// The path with the smallest goes first.
    pub(crate) fn rank(self, path: &Path) -> u64 {
        let srtt = nanos(path.recovery.rtt().smoothed());
        match self {
            Self::MinRtt | Self::Blest | Self::Ecf | Self::Redundant => srtt,
            Self::RoundRobin => path.turns.last,
            Self::Weighted => path.turns.served,
            Self::Aggregate => {
                // Rate is window per round trip, so this much time for what is in flight.
                let queue = u128::from(path.recovery.bytes_in_flight()) * u128::from(srtt)
                    / u128::from(path.recovery.cwnd().max(1));
                u64::try_from(queue).unwrap_or(u64::MAX).saturating_add(srtt / 2)
            }
        }
    }
}

/// What schedulers remember of a path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    /// Capacity in Mbit/s that somebody set.
    pub weight: Option<NonZeroU32>,
    /// Number of the last train that it got.
    pub last: u64,
    /// Nanoseconds that its trains took at its rate; a path that joins begins where the others are.
    pub served: u64,
}

impl Turns {
    /// It got train number `turn`, of so many bytes; it delivers `rate` bytes per second.
    pub fn on_train(&mut self, turn: u64, bytes: usize, rate: u64) {
        self.last = turn;
        let rate = self.weight.map_or(rate, |weight| u64::from(weight.get()) * 125_000);
        // Nanoseconds that the train takes at this rate.
        let served = (bytes as u64).saturating_mul(1_000_000_000) / rate.max(1);
        self.served = self.served.saturating_add(served);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_there_and_back() {
        for (name, scheduler) in Scheduler::ALL {
            assert_eq!((Scheduler::named(name), scheduler.name()), (Some(scheduler), name));
        }
        assert_eq!(Scheduler::named("fastest"), None);
        assert_eq!(Scheduler::default().name(), "minrtt");
    }

    #[test]
    fn weights_divide_what_was_served() {
        let weight = |mbit| Turns { weight: NonZeroU32::new(mbit), ..Turns::default() };
        let (mut light, mut heavy, mut measured) = (weight(1), weight(3), weight(0));
        light.on_train(1, 1000, 7);
        heavy.on_train(2, 3000, 7);
        measured.on_train(3, 6000, 750_000);
        assert_eq!((light.last, heavy.last), (1, 2));
        assert_eq!((light.served, measured.served), (heavy.served, heavy.served));
    }
}
