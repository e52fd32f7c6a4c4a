//! Latencies, all of them: percentiles are exact.

/// Nanoseconds; more than four seconds count as that.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// With room for `count`.
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Puts one down.
    pub fn record(&mut self, elapsed: std::time::Duration) {
        self.0.push(u32::try_from(elapsed.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Percentiles in microseconds; `None` without any latency.
    pub fn percentiles(mut self) -> Option<[(&'static str, f64); 5]> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        let at = |q: f64| {
            let rank = (self.0.len() as f64 * q).ceil() as usize;
            f64::from(self.0[rank.saturating_sub(1).min(last)]) / 1e3
        };
        Some([
            ("p50", at(0.5)),
            ("p90", at(0.9)),
            ("p99", at(0.99)),
            ("p99_9", at(0.999)),
            ("max", at(1.0)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_known_values() {
        let mut latencies = Latencies::default();
        assert!(latencies.clone().percentiles().is_none());
        (1..=1000).rev().for_each(|us| latencies.record(std::time::Duration::from_micros(us)));
        let values = latencies.percentiles().unwrap().map(|(_, us)| us);
        assert_eq!(values, [500.0, 900.0, 990.0, 999.0, 1000.0]);
    }
}
