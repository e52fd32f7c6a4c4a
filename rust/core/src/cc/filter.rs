//! The smallest value over a sliding window of time.

use crate::time::{Duration, Instant};

/// Keeps three candidates: the smallest, and the smallest of what came after it, and after that.
/// When the first is too old the next takes its place, so that memory does not depend on the number
/// of samples; the answer is never older than the window, and exact for a value that stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowedMin {
    best: [Option<(Instant, Duration)>; 3],
}

impl WindowedMin {
    /// Takes a sample; `window` is how long a sample counts.
    pub fn update(&mut self, now: Instant, sample: Duration, window: Duration) {
        let new = Some((now, sample));
        // A later sample that is no larger makes an earlier one useless.
        match self.best.iter().position(|b| b.is_none_or(|(_, value)| sample <= value)) {
            Some(at) => self.best[at..].fill(new),
            // A larger one still counts once the others are gone.
            None => {}
        }
        while self.best[0].is_some_and(|(at, _)| now - at > window) {
            self.best = [self.best[1], self.best[2], new];
            if self.best[0] == new {
                break;
            }
        }
        // Let the younger candidates be of different quarters of the window, so that one is at hand
        // that is not about to expire as well.
        if let [Some((first, _)), Some((second, _)), Some((third, _))] = self.best {
            if second == first && now - first > window / 4 {
                self.best[1] = new;
                self.best[2] = new;
            } else if third == second && now - second > window / 2 {
                self.best[2] = new;
            }
        }
    }

    /// The smallest sample; `None` before the first.
    pub fn value(&self) -> Option<Duration> {
        self.best[0].map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn minimum_counts_for_the_window_and_no_longer() {
        let mut m = WindowedMin::default();
        assert_eq!(m.value(), None);
        m.update(at(0), Duration::from_millis(10), WINDOW);
        for t in 1..=100 {
            m.update(at(t), Duration::from_millis(20), WINDOW);
            assert_eq!(m.value(), Some(Duration::from_millis(10)));
        }
        m.update(at(101), Duration::from_millis(20), WINDOW);
        assert_eq!(m.value(), Some(Duration::from_millis(20)));
    }

    proptest! {
        /// Never below the true minimum of the window, nor above the newest sample.
        #[test]
        fn value_is_bounded_by_truth_and_newest(
            samples in proptest::collection::vec((0u64..60, 1u64..50), 1..200),
        ) {
            let (mut m, mut now, mut past) = (WindowedMin::default(), 0, Vec::new());
            for (step, value) in samples {
                now += step;
                past.push((now, value));
                m.update(at(now), Duration::from_millis(value), WINDOW);
                let truth = past.iter().filter(|(t, _)| now - t <= 100).map(|(_, v)| *v).min();
                let got = m.value().map(|d| d.as_millis() as u64);
                prop_assert!(got >= truth, "{got:?} {truth:?}");
                prop_assert!(got <= Some(value));
            }
        }
    }
}
