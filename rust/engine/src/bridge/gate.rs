//! Whether a listener takes on more: not while what waits for the other language waits too long.
//!
//! Two questions, and two answers. *Is this overload, or only a burst, or a moment in which the
//! program did something else?* It is overload if whenever events are taken, for twice the limit on
//! end, the oldest of them has waited longer than the limit: a standing queue, as in `CoDel` (RFC 8289
//! section 4). *How much may then wait?* As much as was taken meanwhile in the time of the limit
//! (Little's law). The age of the oldest event says it too, but too late: it tells of those who came
//! then, not of those behind them.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tquic_core::time::Instant;

/// Events that may wait where there is no overload.
const ANY: usize = usize::MAX;

/// A listener's gate. It is shut while too much waits for the other language, and opens by itself.
#[derive(Debug)]
pub struct Gate {
    waiting: Arc<AtomicUsize>,
    /// Events above which it is shut.
    room: AtomicUsize,
}

impl Gate {
    /// Whether nothing new is taken on now.
    pub fn is_shut(&self) -> bool {
        self.waiting.load(Relaxed) > self.room.load(Relaxed)
    }
}

/// What was found when events were taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub now: Instant,
    /// How long the oldest event has waited.
    pub oldest: Duration,
    /// Events that waited.
    pub waiting: usize,
    /// Events that were taken.
    pub taken: usize,
}

/// Decides about a gate.
pub(super) struct Guard {
    gate: Weak<Gate>,
    limit: Duration,
    /// Events above which the gate is shut, during an overload.
    room: Option<usize>,
    /// Since when the oldest event has always been too old, and events taken since.
    standing: Option<(Instant, usize)>,
    looked: Option<Instant>,
    /// When there was too much the last time.
    late: Instant,
}

impl Guard {
    /// A gate for events of which `waiting` are waiting, at most for about `limit`.
    pub fn new(waiting: &Arc<AtomicUsize>, limit: Duration) -> (Arc<Gate>, Self) {
        let gate = Arc::new(Gate { waiting: waiting.clone(), room: AtomicUsize::new(ANY) });
        let guard = Self {
            gate: Arc::downgrade(&gate),
            limit,
            room: None,
            standing: None,
            looked: None,
            late: Instant::ZERO,
        };
        (gate, guard)
    }

    /// To be called whenever events are taken; false if nobody has the gate any more.
    pub fn look(&mut self, look: Look) -> bool {
        let Some(gate) = self.gate.upgrade() else { return false };
        self.measure(&look);
        // Where the room is used up and nobody waits for long, the program has become faster.
        let is_full = self.room.is_some_and(|room| look.waiting > room);
        let is_late = look.oldest > self.limit || is_full && look.oldest > self.limit / 2;
        if is_late {
            self.late = look.now;
        } else if look.now - self.late >= self.patience() {
            self.room = None;
        }
        gate.room.store(self.room.unwrap_or(ANY), Relaxed);
        true
    }

    /// How long it takes to believe in an overload, and in its end.
    fn patience(&self) -> Duration {
        self.limit.saturating_mul(2)
    }

    fn measure(&mut self, look: &Look) {
        let before = self.looked.replace(look.now);
        if look.oldest <= self.limit {
            self.standing = None;
            return;
        }
        // Two busy moments with nothing to do in between are no standing queue.
        if before.is_none_or(|at| look.now - at > look.oldest.saturating_add(self.patience())) {
            self.standing = None;
        }
        let (since, taken) = self.standing.unwrap_or((look.now, 0));
        let lasted = look.now - since;
        self.standing = if lasted < self.patience() || lasted.is_zero() {
            Some((since, taken.saturating_add(look.taken)))
        } else {
            let room = taken as f64 * self.limit.as_secs_f64() / lasted.as_secs_f64();
            // One at a time at least, or there would be nothing to measure by.
            self.room = Some((room as usize).max(1));
            Some((look.now, look.taken))
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(500);

    /// A program that takes events, and those who come.
    struct Play {
        gate: Arc<Gate>,
        guard: Guard,
        waiting: Arc<AtomicUsize>,
        /// When each event came.
        queue: std::collections::VecDeque<Instant>,
        now: Instant,
        refused: usize,
        worst: Duration,
    }

    impl Play {
        fn new() -> Self {
            let waiting = Arc::new(AtomicUsize::new(0));
            let (gate, guard) = Guard::new(&waiting, LIMIT);
            let now = Instant::from_nanos(1_000_000_000_000);
            let (queue, worst) = (Default::default(), Duration::ZERO);
            Self { gate, guard, waiting, queue, now, refused: 0, worst }
        }

        /// So many come one after another during `time`, in which the program does not look.
        fn come(&mut self, count: u32, time: Duration) {
            for _ in 0..count {
                self.now += time / count;
                if self.gate.is_shut() {
                    self.refused += 1;
                } else {
                    self.queue.push_back(self.now);
                    self.waiting.store(self.queue.len(), Relaxed);
                }
            }
            if count == 0 {
                self.now += time;
            }
        }

        /// The program takes up to `most`.
        fn take(&mut self, most: usize) -> usize {
            let waiting = self.queue.len();
            let Some(&first) = self.queue.front() else { return 0 };
            let taken = most.min(waiting);
            let oldest = self.now - first;
            assert!(self.guard.look(Look { now: self.now, oldest, waiting, taken }));
            self.worst = self.worst.max(oldest);
            self.queue.drain(..taken);
            self.waiting.store(self.queue.len(), Relaxed);
            taken
        }

        /// A program that can do 10,000 a second gets so many times as much for some seconds.
        fn load(&mut self, times: f64, seconds: u64) -> usize {
            let mut served = 0;
            let end = self.now + Duration::from_secs(seconds);
            while self.now < end {
                let taken = self.take(500).max(10);
                served += taken;
                self.come((taken as f64 * times) as u32, Duration::from_micros(100) * taken as u32);
            }
            served
        }
    }

    #[test]
    fn nobody_is_refused_below_capacity() {
        let mut play = Play::new();
        play.load(0.95, 60);
        assert_eq!((play.refused, play.guard.room), (0, None));
    }

    /// Those who are let in wait about as long as the limit says, and as many are served as can be.
    #[test]
    fn what_is_too_much_is_refused_and_the_rest_is_served_in_time() {
        for times in [1.2, 2.0, 10.0] {
            let mut play = Play::new();
            play.load(times, 20);
            let refused = std::mem::take(&mut play.refused);
            play.worst = Duration::ZERO;
            assert!(refused > 0 && play.guard.room.is_some(), "{times}");
            let served = play.load(times, 60);
            assert!(play.worst <= LIMIT * 5 / 4, "{times}: {:?}", play.worst);
            assert!((590_000..=610_000).contains(&served), "{times}: {served}");
            assert!(play.refused > 0, "{times}");
        }
    }

    #[test]
    fn it_ends_by_itself() {
        let mut play = Play::new();
        play.load(3.0, 10);
        play.load(0.5, 3);
        assert_eq!(play.guard.room, None);
        play.refused = 0;
        play.load(0.95, 10);
        assert_eq!(play.refused, 0);
        // And so it does when nobody comes any more: what waits is taken, and there is room again.
        play.load(3.0, 10);
        while play.take(500) > 0 {
            play.come(0, Duration::from_millis(50));
        }
        assert!(!play.gate.is_shut());
    }

    /// A program that stands still has no overload when it goes on, however much has come.
    #[test]
    fn a_pause_or_a_burst_is_no_overload() {
        let mut play = Play::new();
        for _ in 0..5 {
            play.load(0.5, 2);
            // Worked off in a bit more than half a second, which is less than the patience.
            play.come(6_000, LIMIT * 2);
        }
        play.load(0.5, 2);
        assert_eq!((play.refused, play.guard.room), (0, None));
        // Busy moments with nothing in between.
        for _ in 0..50 {
            play.come(1, LIMIT * 2);
            play.come(0, LIMIT * 2);
            play.take(500);
            play.come(0, LIMIT * 10);
        }
        assert_eq!((play.refused, play.guard.room), (0, None));
    }

    /// Few requests that take long: all that waits is taken each time, and worked on for seconds.
    #[test]
    fn slow_work_counts_as_much() {
        let mut play = Play::new();
        for _ in 0..40 {
            let taken = play.take(500).max(1) as u32;
            play.come(2 * taken, Duration::from_millis(600) * taken);
        }
        assert!(play.refused > 0);
        play.worst = Duration::ZERO;
        for _ in 0..40 {
            let taken = play.take(500).max(1) as u32;
            play.come(2 * taken, Duration::from_millis(600) * taken);
        }
        // What is taken at a time waits for each other, and what comes meanwhile for all.
        assert!(play.worst <= Duration::from_secs(2), "{:?}", play.worst);
    }

    /// Little room, measured while each event took long, is not kept when they are quick again.
    #[test]
    fn room_is_not_kept_when_work_becomes_quick() {
        let mut play = Play::new();
        for _ in 0..40 {
            let taken = play.take(500).max(1) as u32;
            play.come(2 * taken, Duration::from_millis(600) * taken);
        }
        assert!(play.guard.room.is_some_and(|room| room < 10), "{:?}", play.guard.room);
        while play.take(500) > 0 {
            play.come(0, Duration::from_millis(1));
        }
        // Bursts of some events, each worked off at once.
        for _ in 0..20 {
            play.come(10, Duration::from_millis(100));
            play.take(500);
        }
        assert_eq!(play.guard.room, None);
    }

    #[test]
    fn a_gate_that_is_gone_needs_no_guard() {
        let Play { gate, mut guard, now, .. } = Play::new();
        drop(gate);
        assert!(!guard.look(Look { now, oldest: LIMIT * 2, waiting: 1, taken: 1 }));
    }
}
