//! The best value over a sliding window (Kathleen Nichols' algorithm).

use crate::time::{Duration, Instant, nanos};

/// A value and when it was seen, in whatever the window counts.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    time: u64,
    value: u64,
}

/// The largest value. Keeps three candidates: the largest, and the largest of what came after it,
/// and after that. When the first is too old the next takes its place, so that memory does not
/// depend on the number of samples; the answer is never older than the window, and exact for a value
/// that stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowedMax([Sample; 3]);

impl WindowedMax {
    /// The maximum as of the last update; 0 before the first.
    pub fn value(&self) -> u64 {
        self.0[0].value
    }

    /// Takes a value. Values older than `window` are forgotten now, not before: when nothing comes
    /// in, the last that is known stays. Time may step back: a packet that waited for its keys is
    /// told with the time when it came. Such a value counts as new.
    pub fn update(&mut self, time: u64, value: u64, window: u64) {
        let new = Sample { time, value };
        let [best, second, third] = &mut self.0;
        if value >= best.value || time.saturating_sub(third.time) > window {
            self.0 = [new; 3];
            return;
        }
        // A later value that is no smaller makes an earlier one useless.
        if value >= second.value {
            (*second, *third) = (new, new);
        } else if value >= third.value {
            *third = new;
        }
        self.expire(new, window);
    }

    fn expire(&mut self, new: Sample, window: u64) {
        let [best, second, third] = &mut self.0;
        let age = new.time.saturating_sub(best.time);
        if age > window {
            (*best, *second, *third) = (*second, *third, new);
            if new.time.saturating_sub(best.time) > window {
                (*best, *second) = (*second, *third);
            }
        } else if second.time == best.time && age > window / 4 {
            // Let the younger candidates be of different quarters of the window, so that one is at
            // hand that is not about to expire as well.
            (*second, *third) = (new, new);
        } else if third.time == second.time && age > window / 2 {
            *third = new;
        }
    }
}

/// The smallest duration over a window of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowedMin(WindowedMax);

impl WindowedMin {
    /// Takes a sample; `window` is how long a sample counts.
    pub fn update(&mut self, now: Instant, sample: Duration, window: Duration) {
        self.0.update(now.as_nanos(), u64::MAX - nanos(sample), nanos(window));
    }

    /// The smallest sample; `None` before the first.
    pub fn value(&self) -> Option<Duration> {
        let inverse = self.0.value();
        (inverse > 0).then(|| Duration::from_nanos(u64::MAX - inverse))
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

    #[test]
    fn window_of_one_cycle_keeps_this_cycle_and_the_one_before() {
        let mut f = WindowedMax::default();
        let at = [(0, 100), (1, 50), (1, 60), (1, 55), (2, 40), (3, 10), (9, 10)];
        let seen = at.map(|(cycle, value)| {
            f.update(cycle, value, 1);
            f.value()
        });
        assert_eq!(seen, [100, 100, 100, 100, 60, 40, 10]);
    }

    #[test]
    fn a_sample_from_before_the_last_counts_as_new() {
        let mut m = WindowedMin::default();
        m.update(at(50), Duration::from_millis(10), WINDOW);
        m.update(at(20), Duration::from_millis(20), WINDOW);
        assert_eq!(m.value(), Some(Duration::from_millis(10)));
        m.update(at(160), Duration::from_millis(30), WINDOW);
        assert_eq!(m.value(), Some(Duration::from_millis(30)));
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
