//! Durations by size, in constant memory.

use tquic_core::time::{Duration, nanos};

/// Linear steps per doubling: a value is known to within 1/32.
const STEPS_LOG2: u32 = 5;
const STEPS: u64 = 1 << STEPS_LOG2;
const BUCKETS: usize = ((64 - STEPS_LOG2 as usize) + 1) * STEPS as usize;

/// A log-linear histogram of durations with a relative error of at most 1/32; the largest value and
/// the mean are exact.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, sum: 0, max: 0 }
    }

    /// Adds a duration.
    pub fn record(&mut self, value: Duration) {
        let value = nanos(value);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(value)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// What was added since `earlier`, a former state of this histogram. The largest value is that
    /// of the whole.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let later = self.buckets.iter().zip(&earlier.buckets);
        Self {
            buckets: later.map(|(now, then)| now - then).collect(),
            count: self.count - earlier.count,
            sum: self.sum - earlier.sum,
            max: self.max,
        }
    }

    /// How many durations were added.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The mean; zero if there is none.
    pub fn mean(&self) -> Duration {
        let mean = self.sum.checked_div(u128::from(self.count)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The largest; zero if there is none.
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// A duration that `percent` of a hundred do not exceed; zero if there is none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank =
            ((percent / 100.0 * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_end(index).min(self.max));
            }
        }
        Duration::ZERO
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn bucket_of(value: u64) -> usize {
    let octave = (u64::BITS - value.leading_zeros()).saturating_sub(STEPS_LOG2 + 1);
    (u64::from(octave) * STEPS + (value >> octave)) as usize
}

/// The largest value that falls into bucket `index`.
fn upper_end(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let octave = index / STEPS - 1;
    let step = index - octave * STEPS;
    // The topmost bucket ends at 2^64: one less wraps to the maximum.
    ((u128::from(step) + 1) << octave).saturating_sub(1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_values_within_a_thirty_second() {
        let mut previous = 0;
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) + (1 << shift) / 3, u64::MAX >> (63 - shift)]
            {
                let bucket = bucket_of(value);
                assert!(bucket < BUCKETS && bucket >= previous, "{value}");
                let end = upper_end(bucket);
                assert!(
                    end >= value && (end - value) as f64 <= value as f64 / 32.0,
                    "{value} {end}"
                );
                previous = bucket;
            }
        }
    }

    #[test]
    fn percentiles_of_a_known_set() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(99.0), Duration::ZERO);
        (1..=1000).for_each(|millis| histogram.record(Duration::from_millis(millis)));
        let p50 = histogram.percentile(50.0).as_secs_f64();
        assert!((0.5..0.52).contains(&p50), "{p50}");
        assert_eq!(histogram.max(), Duration::from_secs(1));
        assert_eq!(histogram.mean(), Duration::from_micros(500_500));
    }
}
