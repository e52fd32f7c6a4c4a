//! Time as the caller tells it: a point on a monotonic clock of the caller's choosing.
//!
//! The core never reads a clock. The socket layer passes the operating system's monotonic time,
//! the simulator passes virtual time.

use core::ops::{Add, AddAssign, Sub};
pub use core::time::Duration;

/// A point in time: nanoseconds since an arbitrary epoch fixed by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);
    /// Later than every deadline.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The next whole multiple of `grain`, which is not zero, since the epoch.
    pub fn round_up(self, grain: Duration) -> Self {
        Self(self.0.checked_next_multiple_of(nanos(grain)).unwrap_or(u64::MAX))
    }

    /// `self - back`, not before the epoch.
    pub fn saturating_sub(self, back: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(back)))
    }
}

/// A duration in nanoseconds, saturated at `u64::MAX` (584 years).
pub fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(nanos(d)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub for Instant {
    type Output = Duration;
    /// Saturates at zero: clocks that step back must not end a process.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Instant::MAX + Duration::from_secs(1), Instant::MAX);
        assert_eq!(Instant::ZERO - Instant::MAX, Duration::ZERO);
        assert_eq!(Instant::from_nanos(5).saturating_sub(Duration::from_nanos(9)), Instant::ZERO);
        assert_eq!(Instant::MAX.round_up(Duration::from_millis(64)), Instant::MAX);
    }

    #[test]
    fn whole_multiples_stay_as_they_are() {
        let (grain, at) = (Duration::from_nanos(64), Instant::from_nanos);
        assert_eq!(at(128).round_up(grain), at(128));
        assert_eq!(at(129).round_up(grain), at(192));
    }
}
