//! Memory of connections that are gone goes back to the operating system.
//!
//! An allocator keeps what was freed below what is still used. Without this a peer that had a server
//! hold hundreds of megabytes once would have it hold them for ever.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tquic_core::time::{Duration, Instant};
use tquic_net::os;

use super::clock;

/// Where one connection goes others often follow, and what is free between those that stay would
/// have to be looked at piece by piece: so long no other must have gone,
const GATHER: Duration = Duration::from_secs(1);
/// or this since the first. Also the time between two times, in the whole process.
const PAUSE: Duration = Duration::from_secs(10);
/// And so many times as long as it took.
const SHARE: u32 = 100;

/// When a shard of this process may do it next.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// When a shard looks for memory to give back.
#[derive(Debug, Default)]
pub(super) struct Trim {
    at: Option<Instant>,
    /// When it will be done even if connections go on and on.
    at_last: Instant,
}

impl Trim {
    /// A connection is gone.
    pub fn on_gone(&mut self, now: Instant) {
        if self.at.is_none() {
            self.at_last = now + PAUSE;
        }
        self.at = Some(self.at_last.min(now + GATHER).max(self.at.unwrap_or(now)));
    }

    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    pub fn on_timeout(&mut self, now: Instant) {
        self.on_timeout_with(now, &NEXT, || {
            let begun = clock();
            os::trim_heap();
            clock() - begun
        });
    }

    fn on_timeout_with(&mut self, now: Instant, next: &AtomicU64, trim: impl FnOnce() -> Duration) {
        if self.at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let due = next.load(Relaxed);
        let again = (now + PAUSE).as_nanos();
        // One of several shards that come at the same time.
        if due > now.as_nanos() || next.compare_exchange(due, again, Relaxed, Relaxed).is_err() {
            self.at = Some(Instant::from_nanos(next.load(Relaxed)));
            return;
        }
        next.fetch_max((now + trim() * SHARE).as_nanos(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    /// Whether it is done at that time, when it takes so many milliseconds.
    fn done(trim: &mut Trim, next: &AtomicU64, now: Instant, millis: u64) -> bool {
        let mut done = false;
        trim.on_timeout_with(now, next, || {
            done = true;
            Duration::from_millis(millis)
        });
        done
    }

    #[test]
    fn a_second_after_the_last_has_gone_and_then_not_for_a_while() {
        let (mut trim, next) = (Trim::default(), AtomicU64::new(0));
        assert!(!done(&mut trim, &next, at(1), 0), "nobody has gone");
        trim.on_gone(at(1));
        trim.on_gone(at(2));
        assert_eq!(trim.at(), Some(at(3)));
        assert!(!done(&mut trim, &next, at(2), 0));
        assert!(done(&mut trim, &next, at(3), 1));
        assert_eq!(trim.at(), None);
        trim.on_gone(at(4));
        assert!(!done(&mut trim, &next, at(5), 1));
        assert_eq!(trim.at(), Some(at(13)));
        trim.on_gone(at(6));
        assert_eq!(trim.at(), Some(at(13)), "not sooner");
        assert!(done(&mut trim, &next, at(13), 1));
    }

    #[test]
    fn those_who_come_and_go_do_not_put_it_off() {
        let (mut trim, next) = (Trim::default(), AtomicU64::new(0));
        (1..11).for_each(|second| trim.on_gone(at(second)));
        assert_eq!(trim.at(), Some(at(11)));
        trim.on_gone(at(11));
        assert!(done(&mut trim, &next, at(11), 1));
    }

    #[test]
    fn one_of_several_shards_at_a_time() {
        let (mut one, mut other, next) = (Trim::default(), Trim::default(), AtomicU64::new(0));
        one.on_gone(at(0));
        other.on_gone(at(0));
        assert!(done(&mut one, &next, at(1), 1));
        assert!(!done(&mut other, &next, at(1), 1));
        assert_eq!(other.at(), Some(at(11)), "what it freed later");
    }

    #[test]
    fn what_takes_long_is_done_seldom() {
        let (mut trim, next) = (Trim::default(), AtomicU64::new(0));
        trim.on_gone(at(0));
        assert!(done(&mut trim, &next, at(1), 200));
        trim.on_gone(at(2));
        assert!(!done(&mut trim, &next, at(3), 1));
        assert_eq!(trim.at(), Some(at(21)));
    }
}
